"""Operators on strings, which are always on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anyback.errors import DataError, ShapeError
from anyback.onnx._operator import Host, Strings, operator, several
from anyback.onnx._regex import Pattern, parsed
from anyback.onnx._text import check_text, each, is_text, texts
from anyback.onnx._types import check_size
from anyback.ops import Rows

__all__ = ["RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"]


def _text(x: Any, operator: str) -> np.ndarray:
    """Return an array of strings as one of Python's, or raise `DataError`."""
    if not is_text(x):
        raise DataError(f"{operator} expected an array of strings, found {getattr(x, 'dtype', type(x).__name__)}")
    return x if x.dtype == object else x.astype(object)


@operator(since=20)
def StringConcat(X: Host, Y: Host) -> np.ndarray:
    """Return strings put behind each other, by broadcasting."""
    x, y = _text(X, "StringConcat"), _text(Y, "StringConcat")
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        raise ShapeError(f"StringConcat cannot broadcast the shapes {x.shape} and {y.shape}") from None
    check_size(shape, "StringConcat")
    lengths = each(len, x, np.int64), each(len, y, np.int64)
    check_text(sum(int(np.broadcast_to(length, shape).sum()) for length in lengths), "StringConcat")
    x, y = np.broadcast_to(x, shape), np.broadcast_to(y, shape)
    return texts((a + b for a, b in zip(x.reshape(-1), y.reshape(-1), strict=True)), shape)


@operator(since=20, rows=Rows.UNKNOWN)
def StringSplit(X: Host, *, delimiter: str = "", maxsplit: int = -1, outputs: int = 1) -> np.ndarray:
    """Return the parts of strings along a new last axis, filled up with empty strings, and how many there are."""
    x = _text(X, "StringSplit")
    parts = [value.split(delimiter or None, maxsplit) for value in x.reshape(-1)]
    most = max(map(len, parts), default=0)
    check_size((*x.shape, most), "StringSplit")
    split = texts((part for row in parts for part in row + [""] * (most - len(row))), (*x.shape, most))
    return several((split, np.asarray([len(row) for row in parts], np.int64).reshape(x.shape)), outputs)


@operator(since=10, rows=Rows.UNKNOWN)
def StringNormalizer(
    X: Host,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str = "",
    stopwords: Strings | None = None,
) -> np.ndarray:
    """Return the strings that are no stop words, in upper or lower case; one empty string where none is left.

    Case is Unicode's, whatever the locale: a setting of the whole process is not changed for a network.
    """
    x = _text(X, "StringNormalizer")
    if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[0] != 1):
        raise ShapeError(f"StringNormalizer expected shape (C,) or (1, C), found {x.shape}")
    changes: dict[str, Callable[[str], str]] = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}
    if case_change_action not in changes:
        raise DataError(
            f"StringNormalizer has case_change_action {case_change_action[:40]!r}; known: {', '.join(changes)}"
        )
    compared: Callable[[str], str] = str if is_case_sensitive else str.lower
    stops = {compared(word) for word in stopwords or ()}
    kept = [changes[case_change_action](word) for word in x.reshape(-1) if compared(word) not in stops] or [""]
    return texts(kept, (len(kept),) if x.ndim == 1 else (1, len(kept)))


def _prepare_match(*, pattern: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Pattern]]:
    if pattern is None:
        raise DataError("RegexFullMatch has no pattern")
    return {}, {"program": parsed(pattern)}


@operator(since=20, prepare=_prepare_match)
def RegexFullMatch(X: Host, *, program: Pattern) -> np.ndarray:
    """Return whether all of a string matches the pattern."""
    x = _text(X, "RegexFullMatch")
    return np.asarray(program.full_matches(x.reshape(-1).tolist()), bool).reshape(x.shape)
