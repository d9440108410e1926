"""Sums and products of whole values: a fully connected layer, residuals, scales."""

from __future__ import annotations

import dataclasses
import math

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import ShapeError
from anyback.numbers import FLOATS, dtype_name
from anyback.ops._casts import PRODUCTS
from anyback.ops._op import op, same
from anyback.ops._travel import Given, Travel, by_first_axis, together
from anyback.plan import Casts, Rows, Shape

__all__ = ["add", "dense", "linear", "pixels", "scale"]


def _linear_shape(x: Shape | None, weight: Shape, bias: Shape | None = None) -> Shape | None:
    if x is None:
        return None
    if len(x) not in (1, 2) or x[-1] != weight[0]:
        raise ShapeError(f"linear expected shape (n, {weight[0]}) or ({weight[0]},), found {tuple(x)}")
    return (*x[:-1], weight[1])


@op(
    _linear_shape,
    rows=Rows.PRODUCT,
    casts=PRODUCTS,
    takes=lambda weight, bias=None: ((weight[0],),),
    multiply_adds=lambda x, weight, bias=None: math.prod(x[:-1]) * math.prod(weight),
    fresh=True,
    products=True,
    trained=("weight", "bias"),
)
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return ``x @ weight + bias``.

    Parameters
    ----------
    x : array, real
        One sample, shape (in_features,), or a batch, shape (n, in_features). Integers and booleans are cast to
        the dtype of `weight`.
    weight : array, floating-point
        Shape (in_features, out_features).
    bias : array, floating-point, or None
        Shape (out_features,).

    Returns
    -------
    array, floating-point
        Shape (out_features,) or (n, out_features).

    Raises
    ------
    ShapeError
        If `x` is neither a sample nor a batch of samples.
    BackendError
        If the arrays belong to different libraries.

    Examples
    --------
    >>> import numpy as np
    >>> linear(np.asarray([1.0, 0.5]), np.asarray([[0.1, 0.3], [0.2, 0.4]]), np.asarray([0.1, 0.2]))
    array([0.3, 0.7])
    """
    # The function, not the operator: only the function promotes as the standard says on every library.
    y = array_namespace(x).matmul(x, weight)  # (n, out_features)
    if bias is None:
        return y
    # The bias takes the axes of `y`, since JAX may be told to refuse to add any.
    return y + (bias if y.ndim == 1 else bias[None, ...])


def _dense_shape(x: Shape | None, weight: Shape, bias: Shape | None = None) -> Shape | None:
    if x is None:
        return None
    if len(x) < 2 or x[-1] != weight[0]:
        raise ShapeError(f"dense expected shape (n, ..., {weight[0]}), found {tuple(x)}")
    return (*x[:-1], weight[1])


def _dense_travel(given: Given) -> Travel | None:
    found = by_first_axis(given)
    if found is None or given[0] is None:
        return None
    # Of vectors there is one product of all rows; a matrix of each is multiplied by itself.
    return dataclasses.replace(found, joint=found.joint or len(given[0].shape) == 2)


@op(
    _dense_shape,
    rows=Rows.ANY,
    casts=PRODUCTS,
    multiply_adds=lambda x, weight, bias=None: math.prod(x[:-1]) * math.prod(weight),
    fresh=True,
    products=True,
    trained=("weight", "bias"),
    travels=_dense_travel,
)
def dense(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return ``x @ weight + bias`` along the last axis, for rows of several vectors, such as the words of a text.

    Parameters
    ----------
    x : array, real
        Shape (n, ..., in_features). Integers and booleans are cast to the dtype of `weight`.
    weight : array, floating-point
        Shape (in_features, out_features).
    bias : array, floating-point, or None
        Shape (out_features,).

    Returns
    -------
    array, floating-point
        Shape (n, ..., out_features).

    Raises
    ------
    ShapeError
        If the last axis of `x` is not `in_features`, or it is the only one.
    BackendError
        If the arrays belong to different libraries.

    Examples
    --------
    >>> import numpy as np
    >>> dense(np.ones((5, 7, 3)), np.ones((3, 2))).shape
    (5, 7, 2)
    """
    y = array_namespace(x).matmul(x, weight)  # (n, ..., out_features)
    return y if bias is None else y + bias[(None,) * (y.ndim - 1) + (...,)]


def _add_shape(x: Shape | None, y: Shape | None) -> Shape | None:
    if x is None or y is None:
        return None
    if tuple(x) != tuple(y):
        raise ShapeError(f"add expected two arrays of one shape, found {tuple(x)} and {tuple(y)}")
    return x


@op(_add_shape, rows=Rows.ALONE, fresh=True, travels=together)
def add(x: Array, y: Array) -> Array:
    """Return ``x + y`` for two arrays of one shape, as where the branches of a residual join.

    Parameters
    ----------
    x, y : array, real
        Any one shape.

    Returns
    -------
    array, floating-point
        The same shape.

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> add(np.asarray([1.0, 2.0]), np.asarray([0.5, 0.5]))
    array([1.5, 2.5])
    """
    return x + y


@op(same, rows=Rows.ALONE, fresh=True)
def scale(x: Array, factor: float = 1.0) -> Array:
    """Return ``factor * x``.

    Parameters
    ----------
    x : array, real
        Any shape.
    factor : float
        The factor of every number.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> scale(np.asarray([1.0, 2.0]), 0.5)
    array([0.5, 1. ])
    """
    return x * factor


def _scaled_type(default: str, x: str | None, largest: str | None) -> str | None:
    return x if x is None or "float" in x else largest


@op(same, rows=Rows.ALONE, casts=Casts(None, _scaled_type))
def pixels(x: Array, largest: Array) -> Array:
    """Return integers divided by the largest pixel value, floating-point numbers unchanged, and booleans as 0 and 1.

    Parameters
    ----------
    x : array, real
        Any shape.
    largest : array, floating-point
        Shape (): the largest pixel value, such as 255. Integers are cast to its dtype.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> pixels(np.asarray([0, 51, 255], dtype=np.uint8), np.asarray(255.0, dtype=np.float32))
    array([0. , 0.2, 1. ], dtype=float32)
    """
    if dtype_name(x.dtype) in FLOATS:
        return x
    numbers = array_namespace(x, largest).astype(x, largest.dtype)
    return numbers if dtype_name(x.dtype) == "bool" else numbers / largest
