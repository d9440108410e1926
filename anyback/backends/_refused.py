"""Values that are refused because they are no plain array of numbers, and the advice what to pass instead."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any

import array_api_compat
import numpy as np

from anyback.errors import DataError

__all__ = ["check_host", "is_plain", "refused"]

#: Classes of NumPy arrays that add no meaning to the numbers. Other classes do: they say which values are valid, their
#: unit, or what ``*`` does. An answer that ignored this would be the answer to another question, so they are refused.
_PLAIN = (np.ndarray, np.memmap, np.recarray)


def _has_numbers(x: object) -> bool:
    """Return whether `x` is a number, a sequence, or has a buffer or NumPy's array protocols."""
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


#: Tests for values that people pass in place of an array of numbers, and the advice for each. The first that is true
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
    """Return the error for a value that is no plain array of numbers; `why` replaces the advice of the table."""
    cure = why or next((cure for fits, cure in _CURES if fits(x)), "pass an array, or a list of numbers")
    kind = "None" if x is None else type(x).__name__
    return DataError(f"expected an array of numbers, found {kind[:40]}; {cure}")


def is_plain(x: object) -> bool:
    """Return whether the class of an array adds no meaning to its numbers; other libraries' classes are trusted."""
    if isinstance(x, np.ndarray):
        return type(x) in _PLAIN
    return not array_api_compat.is_pydata_sparse_array(x) and type(x).__name__ != "MaskedTensor"  # torch.masked's


def check_host(x: object) -> None:
    """Raise `DataError` where `x`, or an array in the list `x`, is no plain array of numbers."""
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
