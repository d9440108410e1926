"""Whether a backend can be used, in words."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Status", "Unusable", "first_line"]


@dataclass(frozen=True)
class Status:
    """Whether a backend can be used here, and if not, the reason and the remedy.

    Parameters
    ----------
    name : str
        The backend.
    usable : bool
        True where an array was made, and the result of a first computation on it was right.
    version : str or None
        Version of the library, where it is installed.
    devices : tuple of str
        Devices by the names that `use_backend` takes after the colon; the default one first.
    reason, remedy : str or None
        Why it cannot be used, and the command or the step that mends it; None where it can.
    """

    name: str
    usable: bool
    version: str | None = None
    devices: tuple[str, ...] = ()
    reason: str | None = None
    remedy: str | None = None


class Unusable(Exception):
    """Raised by a probe, with the reason why the library cannot be used and the remedy."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.remedy: str = remedy


def first_line(error: BaseException) -> str:
    """Return an error as one line, short enough for a table."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
