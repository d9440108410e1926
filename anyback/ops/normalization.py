"""Normalization, in the standard alone."""

from __future__ import annotations

import math

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import ShapeError
from anyback.ops._op import op
from anyback.plan import Rows, Shape

__all__ = ["batch_norm", "layer_norm"]


def _channels(x: Shape | None, mean: Shape, *others: Shape | None, epsilon: float) -> Shape | None:
    if x is not None and (len(x) < 2 or x[1] != mean[0]):
        raise ShapeError(f"batch_norm expected shape (n, {mean[0]}, ...), found {tuple(x)}")
    return x


@op(_channels, rows=Rows.ALONE, fresh=True, trained=("weight", "bias"))
def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    epsilon: float,
) -> Array:
    """Return ``(x - mean) / sqrt(variance + epsilon) * weight + bias``, channel by channel.

    Parameters
    ----------
    x : array, real
        Shape (n, channels, ...).
    mean, variance : array, floating-point
        Of the training data, shape (channels,).
    weight, bias : array, floating-point, or None
        Shape (channels,).
    epsilon : float
        What keeps the root away from 0.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Raises
    ------
    ShapeError
        If `x` has another number of channels.

    References
    ----------
    Ioffe, Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift",
    2015.

    Examples
    --------
    >>> import numpy as np
    >>> batch_norm(np.asarray([[3.0, 8.0]]), np.asarray([1.0, 2.0]), np.asarray([4.0, 9.0]), epsilon=0.0)
    array([[1., 2.]])
    """
    xp = array_namespace(x)
    shape = (1, -1, *[1] * (x.ndim - 2))
    factor = 1 / xp.sqrt(variance + epsilon)
    factor = factor if weight is None else factor * weight
    y = (x - xp.reshape(mean, shape)) * xp.reshape(factor, shape)
    return y if bias is None else y + xp.reshape(bias, shape)


def _features(
    x: Shape | None, weight: Shape | None = None, bias: Shape | None = None, *, shape: Shape, epsilon: float
) -> Shape | None:
    # There must be an axis in front of `shape`: else the rows would be among the numbers that are averaged.
    if x is not None and (len(x) <= len(shape) or tuple(x[len(x) - len(shape) :]) != tuple(shape)):
        raise ShapeError(f"layer_norm expected shape (n, ..., {', '.join(map(str, shape))}), found {tuple(x)}")
    return x


@op(_features, rows=Rows.ALONE, fresh=True, trained=("weight", "bias"))
def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, shape: Shape, epsilon: float
) -> Array:
    """Return ``(x - mean) / sqrt(variance + epsilon) * weight + bias``; mean and variance are taken over the last axes.

    Parameters
    ----------
    x : array, real
        Shape (n, ..., *shape).
    weight, bias : array, floating-point, or None
        Of `shape`.
    shape : tuple of int
        The last axes.
    epsilon : float
        What keeps the root away from 0.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Raises
    ------
    ShapeError
        If the last axes of `x` are not `shape`, or there is no axis of rows before them.

    References
    ----------
    Ba, Kiros, Hinton, "Layer normalization", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> layer_norm(np.asarray([[1.0, 3.0]]), shape=(2,), epsilon=0.0)
    array([[-1.,  1.]])
    """
    xp, axes, size = array_namespace(x), tuple(range(x.ndim - len(shape), x.ndim)), math.prod(shape)
    centred = x - xp.sum(x, axis=axes, keepdims=True) / size
    variance = xp.sum(xp.square(centred), axis=axes, keepdims=True) / size
    y = centred / xp.sqrt(variance + epsilon)
    # Weight and bias take the axes of `y`, since JAX may be told to refuse to add any.
    wide = (1,) * (x.ndim - len(shape)) + tuple(shape)
    y = y if weight is None else y * xp.reshape(weight, wide)
    return y if bias is None else y + xp.reshape(bias, wide)
