"""Attention: each place takes a mean of the values of all places, weighted by how its query fits their keys."""

from __future__ import annotations

import math
from itertools import zip_longest

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import ShapeError
from anyback.ops._op import op
from anyback.ops._travel import Given, Travel, moving
from anyback.ops.softmax import softmax
from anyback.plan import Rows, Shape

__all__ = ["attention"]


def _attended(
    q: Shape | None, k: Shape | None, v: Shape | None, mask: Shape | None = None, *, scale: float
) -> Shape | None:
    if q is None or k is None or v is None:
        return None
    fits = len(q) == len(k) == len(v) == 4 and q[1] == k[1] == v[1] and q[3] == k[3] and k[2] == v[2]
    if not fits or any(s[0] not in (1, q[0]) for s in (k, v)):
        raise ShapeError(
            "attention expected queries (n, heads, queries, size), keys (n, heads, keys, size) and values "
            f"(n, heads, keys, columns), found {tuple(q)}, {tuple(k)} and {tuple(v)}"
        )
    scores = (*q[:3], k[2])
    ones = () if mask is None else (1,) * (4 - len(mask)) + tuple(mask)
    if mask is not None and any(m not in (1, size) for m, size in zip_longest(ones, scores)):
        raise ShapeError(f"attention expected a mask that broadcasts to {scores}, found shape {tuple(mask)}")
    return (*q[:3], v[3])


def _multiply_adds(
    q: Shape | None, k: Shape | None, v: Shape | None, mask: Shape | None = None, *, scale: float
) -> int:
    return 0 if q is None or k is None or v is None else math.prod(q[:3]) * k[2] * (q[3] + v[3])


def _travel(given: Given, scale: float) -> Travel | None:
    rows, fixed = moving(given), [x for x in given if x is not None and x.axis is None]
    if any(x.axis != 0 or len(x.shape) != 4 for x in rows) or given[0] not in rows:
        return None
    if not all(x.fixed and (len(x.shape) < 4 or x.shape[0] == 1) for x in fixed):
        return None  # each row gets other numbers of it
    return Travel(axis=0, joint=not all(x.first for x in rows))


@op(_attended, rows=Rows.ANY, multiply_adds=_multiply_adds, fresh=True, products=True, travels=_travel)
def attention(q: Array, k: Array, v: Array, mask: Array | None = None, *, scale: float) -> Array:
    """Return ``softmax(scale * q @ k.T + mask) @ v`` for each head: scaled dot-product attention.

    Parameters
    ----------
    q : array, real
        The queries, shape (n, heads, queries, size).
    k : array, real
        The keys, shape (n, heads, keys, size), or (1, heads, keys, size) for keys of all rows.
    v : array, real
        The values, shape (n, heads, keys, columns), or with 1 for n.
    mask : array, floating-point, or None
        Of a shape that broadcasts to (n, heads, queries, keys): minus infinity hides a key from a query. A query
        whose keys are all hidden has no answer, nor has one with a score beyond the largest number of its type.
    scale : float
        The factor of all scores.

    Returns
    -------
    array, floating-point
        Shape (n, heads, queries, columns).

    Raises
    ------
    ShapeError
        If the shapes do not go together.

    References
    ----------
    Vaswani et al., "Attention is all you need", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> q, k, v = np.zeros((1, 1, 2, 4)), np.zeros((1, 1, 2, 4)), np.asarray([[[[1.0], [3.0]]]])
    >>> attention(q, k, v, np.asarray([[0.0, -np.inf], [0.0, 0.0]]), scale=0.5)[0, 0]
    array([[1.],
           [2.]])
    """
    xp = array_namespace(q)
    scores = xp.matmul(q * scale, xp.matrix_transpose(k))  # (n, heads, queries, keys)
    if mask is not None:
        scores = scores + mask[(None,) * (4 - mask.ndim) + (...,)]
    return xp.matmul(softmax.formula(scores), v)
