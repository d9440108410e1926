"""Counts of n-grams."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import array_api_compat
import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError, ShapeError
from anyback.onnx._operator import Floats, Ints, Prepared, Strings, operator
from anyback.onnx._scores import table
from anyback.onnx._text import each, is_text
from anyback.onnx._types import check_size

__all__ = ["TfIdfVectorizer"]

#: The most items of an n-gram.
MOST_ITEMS = 64


def _prepare(
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Ints,
    ngram_indexes: Ints,
    pool_int64s: Ints | None = None,
    pool_strings: Strings | None = None,
    weights: Floats | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the n-grams as a machine: from a state, by an item, to another state.

    An item is its place in the sorted vocabulary. A move is the number ``state * items + item``, in a sorted table
    beside the state that it leads to; state 0 is the start. `gram` says which n-gram of the pool ends in a state.
    """
    name = "TfIdfVectorizer"
    if mode not in ("TF", "IDF", "TFIDF"):
        raise DataError(f"{name} has mode {mode[:40]!r}; expected TF, IDF or TFIDF")
    if not 1 <= min_gram_length <= max_gram_length <= MOST_ITEMS or not 0 <= max_skip_count <= 1024:
        found = f"{name} has lengths from {min_gram_length} to {max_gram_length} and {max_skip_count} skips"
        raise DataError(f"{found}; at most {MOST_ITEMS} and 1024")
    text = pool_strings is not None and len(pool_strings) > 0
    pool = list(pool_strings or ()) if text else table(pool_int64s, "int64").tolist()
    items = {item: i for i, item in enumerate(sorted(set(pool)))}
    columns = table(ngram_indexes, "int64")
    starts = [*table(ngram_counts, "int64").tolist(), len(pool)]
    if any(not 0 <= a <= b for a, b in pairwise(starts)) or (len(columns) and columns.min() < 0):
        raise DataError(f"{name} has ngram_counts {starts[:-1][:8]} that fall or pass the pool, or a negative index")
    moves: dict[int, int] = {}
    grams: list[int] = [-1]
    number = 0
    for length, (start, end) in enumerate(pairwise(starts), 1):
        for place in range(start, end - length + 1, length):
            if min_gram_length <= length <= max_gram_length:
                state = 0
                for item in pool[place : place + length]:
                    key = state * len(items) + items[item]
                    if key not in moves:
                        moves[key] = len(grams)
                        grams.append(-1)
                    state = moves[key]
                grams[state] = number
            number += 1
    if number > len(columns):
        raise DataError(f"{name} has {len(columns)} indexes of {number} n-grams")
    size = int(columns.max(initial=-1)) + 1
    check_size((size,), name)
    by_key = sorted(moves.items())
    gram = np.asarray(grams, np.int64)
    arrays = {
        "moves": np.asarray([key for key, _ in by_key], np.int64),
        "states": np.asarray([state for _, state in by_key], np.int64),
        # One more column than there are counts everything else.
        "column": np.where(gram < 0, size, columns[np.maximum(gram, 0)] if len(columns) else size),
    }
    if not text:
        arrays["vocabulary"] = np.asarray(list(items), np.int64)
    if mode != "TF" and weights is not None and len(weights):
        factors = np.ones(size, np.float32)
        factors[columns] = table(weights, "float32", len(columns), f"weights of {name}")
        arrays["weights"] = factors
    lengths = (min_gram_length, max_gram_length)
    rest = {"items": items if text else None, "lengths": lengths, "skips": max_skip_count, "size": size}
    return arrays, {**rest, "many": len(items), "once": mode == "IDF"}


@operator(since=9, prepare=_prepare)
def TfIdfVectorizer(
    X: Array,
    moves: Prepared,
    states: Prepared,
    column: Prepared,
    vocabulary: Prepared | None = None,
    weights: Prepared | None = None,
    *,
    items: dict[str, int] | None,
    lengths: tuple[int, int],
    many: int,
    once: bool,
    size: int,
    skips: int,
) -> Array:
    """Return how often each n-gram of the pool is in a row, with up to so many items skipped between its items."""
    if X.ndim not in (1, 2):
        raise ShapeError(f"TfIdfVectorizer expected shape (C,) or (n, C), found {tuple(X.shape)}")
    rows = 1 if X.ndim == 1 else X.shape[0]
    check_size((rows, size + 1), "TfIdfVectorizer")
    if is_text(X) != (items is not None):
        raise DataError("TfIdfVectorizer expected strings where its pool has strings, else integers")
    if items is not None:
        X = each(lambda item: items.get(item, -1), X, np.int64)
    xp = array_namespace(X, moves)
    x = xp.reshape(X, (rows, X.shape[-1]))
    x = x if x.dtype == moves.dtype else xp.astype(x, moves.dtype)
    if vocabulary is not None:
        x = _place(vocabulary, x)
    least, most = lengths
    found = []
    for distance in range(1, skips + 2):
        # Of a single item nothing can be skipped: counted once.
        shortest = least if distance == 1 else max(least, 2)
        state, known = None, None
        for length in range(1, most + 1):
            span = x.shape[1] - distance * (length - 1)
            if span <= 0 or moves.shape[0] == 0:
                break
            start = distance * (length - 1)
            item = x[:, start : start + span]
            if state is None or known is None:
                known, key = item >= 0, item
            else:
                known, key = known[:, :span] & (item >= 0), state[:, :span] * many + item
            place = _place(moves, key)
            known = known & (place >= 0)
            state = xp.reshape(
                xp.take(states, xp.reshape(xp.where(known, place, xp.zeros_like(place)), (-1,)), axis=0), place.shape
            )
            if length >= shortest:
                hit = xp.reshape(xp.take(column, xp.reshape(state, (-1,)), axis=0), state.shape)
                found.append(xp.where(known, hit, xp.zeros_like(hit) + size))
    y = _counts(found, rows, size, x)
    if once:
        y = xp.astype(y > 0, xp.float32)
    y = y if weights is None else y * weights
    return xp.reshape(y, (size,)) if X.ndim == 1 else y


def _place(sorted_values: Array, x: Array) -> Array:
    """Return the place of each number in a sorted table, or -1."""
    xp = array_namespace(sorted_values, x)
    flat = xp.reshape(x, (-1,))
    if sorted_values.shape[0] == 0:
        return xp.zeros_like(x) - 1
    place = xp.astype(xp.searchsorted(sorted_values, flat), x.dtype)
    place = xp.where(place < sorted_values.shape[0], place, xp.zeros_like(place))
    place = xp.where(xp.take(sorted_values, place, axis=0) == flat, place, xp.zeros_like(place) - 1)
    return xp.reshape(place, x.shape)


def _counts(found: list[Array], rows: int, size: int, like: Array) -> Array:
    """Return how often each column is in each row, as float32: by sorting, since all numbers may be the same one."""
    xp, device = array_namespace(like), array_api_compat.device(like)
    if not found:
        return xp.zeros((rows, size), dtype=xp.float32, device=device)
    columns = xp.concat(found, axis=1)
    first = xp.arange(rows, dtype=columns.dtype, device=device) * (size + 1)
    keys = xp.sort(xp.reshape(columns + first[:, None], (-1,)))
    edges = xp.searchsorted(keys, xp.arange(rows * (size + 1) + 1, dtype=keys.dtype, device=device))
    counts = xp.reshape(edges[1:] - edges[:-1], (rows, size + 1))
    return xp.astype(counts[:, :size], xp.float32)
