"""Settings of a whole process, held by several threads at once: the first sets them, the last puts them back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager

from anyback.errors import BackendError

__all__ = ["Setting"]


class Setting:
    """One setting of a library that holds for the whole process.

    Parameters
    ----------
    name : str
        What is set, for the error.
    change : callable
        Sets a value and returns a function that puts back what was there before.
    """

    def __init__(self, name: str, change: Callable[..., Callable[[], object]]) -> None:
        self._name, self._change = name, change
        self._lock = threading.Lock()
        self._holders = 0
        self._value: Hashable = None
        self._put_back: Callable[[], object] = lambda: None

    def held(self, value: Hashable) -> AbstractContextManager[None]:
        """Hold the setting at `value` inside a ``with`` block.

        Raises
        ------
        BackendError
            If another thread holds it at another value.
        """
        return _Held(self, value)

    def enter(self, value: Hashable) -> None:
        """Hold the setting once more; set it where nobody does yet."""
        with self._lock:
            if self._holders and value != self._value:
                raise BackendError(
                    f"{self._name} is one setting for the whole process, and another call holds it at {self._value!r}; "
                    f"{value!r} has to wait until that has ended"
                )
            if not self._holders:
                self._put_back, self._value = self._change(value), value
            self._holders += 1

    def leave(self) -> None:
        """Hold the setting once less, and put back what was there before where nobody holds it any more."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._put_back()


class _Held:
    # A class, since a generator costs two microseconds more, and one image on NumPy should take no more than twenty.
    __slots__ = ("_setting", "_value")

    def __init__(self, setting: Setting, value: Hashable) -> None:
        self._setting, self._value = setting, value

    def __enter__(self) -> None:
        self._setting.enter(self._value)

    def __exit__(self, *error: object) -> None:
        self._setting.leave()
