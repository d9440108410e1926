"""Layers that normalize."""

from __future__ import annotations

from dataclasses import dataclass

from anyback._typing import Array
from anyback.layers._base import LayerBase, check_array, check_weight, sample_shape
from anyback.network import Builder
from anyback.ops import OPS

__all__ = ["BatchNorm", "LayerNorm"]


@dataclass(frozen=True, eq=False)
class BatchNorm(LayerBase):
    """Batch normalization with mean and variance from training: (n, channels, ...) to the same shape.

    Parameters
    ----------
    mean, variance : array, floating-point
        Shape (channels,).
    weight, bias : array, floating-point, or None
        Shape (channels,).
    epsilon : float
        What is added to the variance.

    Examples
    --------
    >>> import numpy as np
    >>> BatchNorm(np.ones(2), np.ones(2), epsilon=0.0)(np.asarray([[1.0, 3.0]]))
    array([[0., 2.]])
    """

    mean: Array
    variance: Array
    weight: Array | None = None
    bias: Array | None = None
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_weight(self.mean, "(channels,)", 1, name="mean")
        for name in ("variance", "weight", "bias"):
            check_array(name, getattr(self, name), tuple(self.mean.shape), self.mean)

    def calls(self, given: int, into: Builder) -> int:
        """Call `batch_norm`."""
        arrays = [into.array(x) for x in (self.mean, self.variance, self.weight, self.bias)]
        return into.call(OPS["batch_norm"], given, *arrays, epsilon=self.epsilon)


@dataclass(frozen=True, eq=False)
class LayerNorm(LayerBase):
    """Layer normalization over the last axes, which must have `shape`: (n, ..., *shape) to the same shape.

    Parameters
    ----------
    shape : tuple of int
        The last axes.
    weight, bias : array, floating-point, or None
        Of shape `shape`.
    epsilon : float
        What is added to the variance.

    Examples
    --------
    >>> import numpy as np
    >>> LayerNorm((2,), epsilon=0.0)(np.asarray([[1.0, 3.0]]))
    array([[-1.,  1.]])
    """

    shape: tuple[int, ...]
    weight: Array | None = None
    bias: Array | None = None
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", sample_shape(self.shape))
        for name in ("weight", "bias"):
            check_array(name, getattr(self, name), self.shape)

    def calls(self, given: int, into: Builder) -> int:
        """Call `layer_norm`."""
        arrays = into.array(self.weight), into.array(self.bias)
        return into.call(OPS["layer_norm"], given, *arrays, shape=self.shape, epsilon=self.epsilon)
