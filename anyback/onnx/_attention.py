"""Attention: splitting into heads, scores, masks, and a softmax that allows for queries all of whose keys are hidden.

Half types are computed in float32 and rounded once. Each operand is multiplied by the root of the scale, so that
neither the operands nor the scores overflow where the result does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import array_api_compat

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import ShapeError
from anyback.onnx._arrays import index_dtype, narrowed, widened

__all__ = ["grouped_product", "hidden_as_zero", "masked", "padded", "scaled_scores", "split_heads", "visible"]


def split_heads(x: Array, heads: int | None, what: str) -> Array:
    """Return an array with an axis of heads: (n, heads, length, size) as it is, or (n, length, heads * size) divided.

    Raises
    ------
    ShapeError
        If the array has another number of axes, or its last one cannot be divided into so many heads.
    """
    if x.ndim == 4:
        if heads is not None and heads != x.shape[1]:
            raise ShapeError(f"{what}: expected {heads} heads, found shape {tuple(x.shape)}")
        return x
    if x.ndim != 3 or not heads or heads < 0 or x.shape[2] % heads:
        raise ShapeError(
            f"{what}: expected shape (n, heads, length, size), or (n, length, heads * size) and the number of heads; "
            f"found {tuple(x.shape)} and {heads} heads"
        )
    xp, (n, length, size) = array_namespace(x), x.shape
    return xp.permute_dims(xp.reshape(x, (n, length, heads, size // heads)), (0, 2, 1, 3))


def grouped_product(x: Array, y: Array) -> Array:
    """Return products of matrices of each head; a head of `y` serves several neighbouring heads of `x`.

    Parameters
    ----------
    x : array
        (n, heads, rows, inner).
    y : array
        (n, fewer, inner, columns), where `fewer` divides `heads`.

    Returns
    -------
    array
        (n, heads, rows, columns).
    """
    xp, (n, heads, rows, inner), fewer = array_namespace(x, y), x.shape, y.shape[1]
    if fewer == heads:
        return xp.matmul(x, y)
    # All heads of `x` that share a head of `y` are stacked into one matrix, so that `y` is not repeated. Each step only
    # splits axes or only merges them, since Dask cannot do both at once.
    many, columns = heads // fewer, y.shape[3]
    together = xp.reshape(xp.reshape(x, (n, fewer, many, rows, inner)), (n, fewer, many * rows, inner))
    product = xp.reshape(xp.matmul(together, y), (n, fewer, many, rows, columns))
    return xp.reshape(product, (n, heads, rows, columns))


def scaled_scores(q: Array, k: Array, v: Array, factor: float | None, operator: str) -> Array:
    """Return the scores of all queries and keys, (n, heads, queries, keys), at least in float32.

    Parameters
    ----------
    q, k, v : array
        (n, heads, queries, size), (n, fewer, keys, size) and (n, fewer, keys, columns).
    factor : float or None
        The factor of the scores; None is ``1 / sqrt(size)``.
    operator : str
        The operator's name, for the error.
    """
    good = q.ndim == k.ndim == v.ndim == 4 and q.shape[0] == k.shape[0] == v.shape[0] and q.shape[3] == k.shape[3]
    if not good or tuple(k.shape[1:3]) != tuple(v.shape[1:3]) or not k.shape[1] or q.shape[1] % k.shape[1]:
        raise ShapeError(
            f"{operator}: expected queries (n, heads, queries, size), keys (n, fewer, keys, size) and values "
            f"(n, fewer, keys, columns), where fewer divides heads; found {tuple(q.shape)}, {tuple(k.shape)} and "
            f"{tuple(v.shape)}"
        )
    xp = array_namespace(q, k)
    by = 1 / math.sqrt(max(q.shape[3], 1)) if factor is None else factor
    root = math.sqrt(abs(by))
    return grouped_product(widened(q) * math.copysign(root, by), xp.matrix_transpose(widened(k) * root))


def visible(
    scores: Array, *, causal: bool, left: int, right: int, past: int = 0, lengths: Array | None = None
) -> Array | None:
    """Return which keys each query may attend, by their places; None where every query may attend all keys.

    Parameters
    ----------
    scores : array
        (n, heads, queries, keys).
    causal : bool
        Whether keys behind the query are hidden.
    left, right : int
        How many keys before and behind the query it may attend; -1 is any number.
    past : int
        How many keys lie before the first query.
    lengths : array or None
        (n,): how many keys of each row are real; those behind are filling. The queries belong to the last real keys.

    Returns
    -------
    array or None
        Of bools: (queries, keys) or (n, 1, queries, keys).
    """
    right = 0 if causal else right
    if left < 0 and right < 0 and lengths is None:
        return None
    xp, (queries, keys) = array_namespace(scores), scores.shape[-2:]
    kind, device = index_dtype(scores), array_api_compat.device(scores)
    key = xp.arange(keys, dtype=kind, device=device)
    query = xp.reshape(xp.arange(queries, dtype=kind, device=device), (queries, 1)) + past
    parts = []
    if lengths is not None:
        many = xp.reshape(xp.astype(lengths, kind), (-1, 1, 1, 1))
        query = query + many - queries
        parts.append(key < many)
    if right >= 0:
        parts.append(key <= query + right)
    if left >= 0:
        parts.append(key >= query - left)
    found = parts[0]
    for part in parts[1:]:
        found = found & part
    return found


def padded(mask: Array, keys: int) -> Array:
    """Return a mask (bools, or numbers to be added) extended to `keys` keys; the added keys are hidden."""
    xp, missing = array_namespace(mask), keys - mask.shape[-1]
    if missing < 0 or mask.ndim > 4:
        raise ShapeError(f"Attention: expected a mask of at most 4 axes for {keys} keys, found {tuple(mask.shape)}")
    if not missing:
        return mask
    fill = False if mask.dtype == xp.bool else -math.inf
    rest = xp.full((*mask.shape[:-1], missing), fill, dtype=mask.dtype, device=array_api_compat.device(mask))
    return xp.concat([mask, rest], axis=-1)


def hidden_as_zero(scores: Array) -> Array:
    """Return the softmax of scores along the last axis; 0 where all scores of a query are minus infinity."""
    if 0 in scores.shape:
        return scores
    xp = array_namespace(scores)
    top = xp.max(scores, axis=-1, keepdims=True)
    powers = xp.exp(scores - xp.where(top == -math.inf, xp.zeros_like(top), top))
    total = xp.sum(powers, axis=-1, keepdims=True)
    return powers / xp.where(total == 0, xp.ones_like(total), total)


def masked(scores: Array, masks: Sequence[Array | None]) -> Array:
    """Return scores with masks applied: minus infinity where a mask hides a key, whatever the score."""
    xp = array_namespace(scores)
    for mask in masks:
        if mask is None:
            continue
        if mask.dtype == xp.bool:
            shown = mask
        else:
            bias = narrowed(mask, scores.dtype)
            shown, scores = bias != -math.inf, scores + bias
        scores = xp.where(shown, scores, xp.full_like(scores, -math.inf))
    return scores
