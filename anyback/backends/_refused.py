"""What is no array of numbers, or more than one: named by its type, with what to pass instead."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any

import array_api_compat
import numpy as np

from anyback.errors import DataError

__all__ = ["check_host", "is_plain", "refused"]

#: NumPy's own arrays and those whose class says only where the memory is. Others say more: which values count, what
#: unit they have, what ``*`` does. Whatever dropped that would answer another question.
_PLAIN = (np.ndarray, np.memmap, np.recarray)


def _has_numbers(x: object) -> bool:
    """Return whether `x` offers its numbers; NumPy would read whatever can be counted and indexed, item by item."""
    if isinstance(x, (str, bytes)):
        return False
    if isinstance(x, (Number, Sequence)):
        return True
    if any(hasattr(x, name) for name in ("__array__", "__array_interface__", "__array_struct__")):
        return True
    try:
        memoryview(x)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


#: How to recognise what people pass in place of an array of numbers, and what to do about it. The first row that fits
#: counts.
_CURES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda x: x is None, "pass an array, or a list of numbers"),
    (lambda x: isinstance(x, (str, bytes, os.PathLike)), "read the file before, for example with numpy.load(path)"),
    (lambda x: isinstance(x, np.ma.MaskedArray), "say what masked values count as, for example x.filled(0)"),
    (lambda x: isinstance(x, np.ndarray), "pass its numbers alone: numpy.asarray(x)"),
    (lambda x: hasattr(x, "toarray"), "it is sparse; pass x.toarray()"),
    (lambda x: hasattr(x, "todense"), "it is sparse; pass x.todense()"),
    (lambda x: isinstance(x, Iterator), "pass numpy.asarray(list(x))"),
    (lambda x: hasattr(x, "images") and hasattr(x, "labels"), "pass its images, x.images, and its labels apart"),
    (lambda x: isinstance(x, Mapping), "pass one of its values"),
    (_has_numbers, "make one with anyback.asarray(x)"),
)


def refused(x: object, why: str | None = None) -> DataError:
    """Return the error for what is no plain array of numbers; `why` says what is wrong with it and what to pass."""
    cure = why or next((cure for fits, cure in _CURES if fits(x)), "pass an array, or a list of numbers")
    kind = "None" if x is None else type(x).__name__
    return DataError(f"expected an array of numbers, found {kind[:40]}; {cure}")


def is_plain(x: object) -> bool:
    """Return whether the class of an array adds nothing to its numbers; of most other classes nothing is known."""
    if isinstance(x, np.ndarray):
        return type(x) in _PLAIN
    return not array_api_compat.is_pydata_sparse_array(x) and type(x).__name__ != "MaskedTensor"  # torch.masked's


def check_host(x: object) -> None:
    """Raise `DataError` where NumPy would make no array of `x`, or drop what an array inside a list says."""
    if isinstance(x, (list, tuple)):
        for kind, item in {type(item): item for item in x}.items():  # one of each type: most are numbers
            if issubclass(kind, (list, tuple)):
                for row in x:
                    if type(row) is kind:
                        check_host(row)
            elif not is_plain(item):
                raise refused(item)
    elif not (is_plain(x) and _has_numbers(x)):
        raise refused(x)
