"""A bar for those who watch: one rule for what is downloaded and what is computed."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["bar"]


@contextlib.contextmanager
def bar(total: int, unit: str, *, lines: bool = False, **options: Any) -> Iterator[Callable[[int], object]]:
    """Show a progress bar where there is a terminal or a notebook, and nothing or a line a minute elsewhere.

    Parameters
    ----------
    total : int
        How much there is to do, in `unit`.
    unit : str
        What is counted.
    lines : bool
        Whether a line a minute goes to standard error where there is no terminal and no notebook, as for a log.
    **options
        More for tqdm.

    Yields
    ------
    callable
        Call it with how much is done.
    """
    # There may be no standard error at all, as where it was closed before this process began.
    if not ((sys.stderr and sys.stderr.isatty()) or "ipykernel" in sys.modules):
        yield _lines(total, unit, options.get("initial", 0)) if lines and sys.stderr else lambda done: None
        return
    with _tqdm()(total=total, unit=unit, **options) as shown:
        yield lambda done: shown.update(done - shown.n)


def _lines(total: int, unit: str, initial: int) -> Callable[[int], object]:
    """Return what prints how much is done, how fast, and the time left, once a minute."""
    begun = last = time.monotonic()

    def show(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _A_MINUTE:
            return
        last, rate = now, max(done - initial, 1) / (now - begun)
        left = datetime.timedelta(seconds=round((total - done) / rate))
        said = f"{done:,} of {total:,} {unit}s, {rate:,.0f} a second, {left} left"
        with contextlib.suppress(OSError):
            print(f"anyback: {said}", file=sys.stderr, flush=True)

    return show


#: Seconds between two lines.
_A_MINUTE = 60


def _tqdm() -> Any:
    """Return tqdm's class of a bar: with widgets in a notebook that has them, of text elsewhere.

    tqdm.auto chooses so too, but warns in a notebook without widgets, and changes the process's filters of warnings.
    """
    if "ipykernel.zmqshell" in sys.modules and importlib.util.find_spec("ipywidgets"):
        from tqdm.notebook import tqdm as widget

        return widget
    from tqdm import tqdm as text

    # Without the thread that would draw a bar again that stands still: not everywhere can one be started.
    return type("Bar", (text,), {"monitor_interval": 0})
