"""What all builders of networks from named arrays do: say what is wrong with the arrays, and scale pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anyback.activations import Activation
from anyback.errors import WeightsError
from anyback.layers import Pixels
from anyback.numbers import FLOATS, dtype_name

__all__ = ["Activation", "Arrays", "name_faults", "pixels_layers", "refuse", "shown_name", "type_fault"]

Arrays = Mapping[str, np.ndarray]

#: What to do about numbers of other types.
_CAST = " (dtype=... casts)"


def shown_name(name: str) -> str:
    """Return a name from a file for a message: short, and with nothing in it that a terminal would obey."""
    return ascii(name)[1:-1][:40]


def name_faults(arrays: Arrays, wanted: Sequence[str], says: Callable[[list[str]], str]) -> list[str]:
    """Return, in words, which arrays are missing and which are not expected.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        The arrays that are there.
    wanted : sequence of str
        The names that are expected.
    says : callable
        Takes the names that are not expected, and returns which are.

    Returns
    -------
    list of str
    """
    faults = []
    if missing := [name for name in wanted if name not in arrays]:
        faults.append(f"missing {', '.join(missing[:20])}")
    if extra := [name for name in arrays if name not in wanted]:
        found = ", ".join(shown_name(name) for name in extra[:20])
        faults.append(f"unexpected {found} (expected names are {says(extra)})")
    return faults


def type_fault(arrays: Arrays, name: str, first: str) -> str | None:
    """Return, in words, why an array is not of the floating-point type `first`, that of the first array; else None."""
    dtype = dtype_name(arrays[name].dtype)
    if dtype not in FLOATS:
        return f"{name}: expected a floating-point type, found {dtype}{_CAST}"
    return None if dtype == first else f"{name}: expected {first} as the first array, found {dtype}{_CAST}"


def refuse(faults: Sequence[str]) -> None:
    """Raise `WeightsError` with all faults where there is one."""
    if faults:
        raise WeightsError(f"the weights do not make a network: {'; '.join(faults)}")


def pixels_layers(largest: Any, dtype: np.dtype) -> list[Any]:
    """Return the layer that divides integers by the largest pixel value; no layer where `largest` is None.

    Raises
    ------
    WeightsError
        If `largest` is not a number above 0.
    """
    if largest is None:
        return []
    if not isinstance(largest, (int, float)) or not 0 < largest < float("inf"):
        raise WeightsError(f"pixels: expected the largest pixel value, such as 255, found {str(largest)[:40]}")
    return [Pixels(np.asarray(largest, dtype=dtype))]
