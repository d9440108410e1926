"""What layers compute, as functions of arrays: stateless; checked here, computed by the backend of the arrays."""

from __future__ import annotations

from anyback._typing import Array
from anyback.backends import array_namespace, backend_of, common_float, is_float
from anyback.errors import ShapeError

__all__ = ["linear"]


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
    xp = array_namespace(x, weight)
    if x.ndim not in (1, 2) or x.shape[-1] != weight.shape[0]:
        raise ShapeError(
            f"linear expected shape (n, {weight.shape[0]}) or ({weight.shape[0]},), found {tuple(x.shape)}"
        )
    if x.dtype != weight.dtype and is_float(x):  # here, since some libraries multiply only what is of one type
        common = common_float(xp, x.dtype, weight.dtype)
        x, weight = (a if a.dtype == common else xp.astype(a, common) for a in (x, weight))
    return backend_of(x).linear(x, weight, bias)
