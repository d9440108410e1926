"""Strings: NumPy arrays of Python's, always on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from anyback.errors import DataError

__all__ = ["MOST_TEXT", "check_text", "each", "is_text", "texts"]

#: The most characters that an operator makes.
MOST_TEXT = 1 << 28


def is_text(x: object) -> bool:
    """Return whether `x` holds strings."""
    return isinstance(x, np.ndarray) and x.dtype.kind in "OU"


def texts(values: Iterable[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of Python objects of a shape."""
    found = list(values)
    made = np.empty(len(found), object)
    made[:] = found
    return made.reshape(shape)


def each(function: Callable[[Any], Any], x: np.ndarray, dtype: Any = object) -> np.ndarray:
    """Return a function of every string."""
    values = [function(value) for value in np.reshape(x, -1).tolist()]
    return texts(values, x.shape) if dtype is object else np.asarray(values, dtype).reshape(x.shape)


def check_text(characters: int, operator: str) -> None:
    """Raise `DataError` where an operator would make more than `MOST_TEXT` characters."""
    if characters > MOST_TEXT:
        raise DataError(f"{operator} would make {characters} characters; at most {MOST_TEXT}")
