"""Settings of a whole process, held by several threads at once: the first sets them, the last puts them back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Hashable, Iterator

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

    @contextlib.contextmanager
    def held(self, value: Hashable) -> Iterator[None]:
        """Hold the setting at `value` inside a ``with`` block.

        Raises
        ------
        BackendError
            If another thread holds it at another value.
        """
        with self._lock:
            if self._holders and value != self._value:
                raise BackendError(
                    f"{self._name} is one setting for the whole process, and another call holds it at {self._value!r}; "
                    f"{value!r} has to wait until that has ended"
                )
            if not self._holders:
                self._put_back, self._value = self._change(value), value
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._put_back()
