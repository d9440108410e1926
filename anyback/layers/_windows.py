"""Layers whose windows move over images: convolution and pooling."""

from __future__ import annotations

from dataclasses import dataclass

from anyback._typing import Array
from anyback.errors import ShapeError
from anyback.layers._base import LayerBase, Padding, Sizes, check_array, check_weight, pads, set_window, sizes
from anyback.network import Builder
from anyback.ops import OPS

__all__ = ["AveragePool", "Conv", "GlobalAveragePool", "MaxPool"]


@dataclass(frozen=True, eq=False)
class Conv(LayerBase):
    """A convolution over one to three axes: (n, in_channels, *axes) to (n, out_channels, *windows).

    Parameters
    ----------
    weight : array, floating-point
        Shape (out_channels, in_channels / groups, *window), as the book's, PyTorch's and ONNX's.
    bias : array, floating-point, or None
        Shape (out_channels,).
    stride, dilation : int or tuple of int
        The step between windows, and the distance between the places of a window; one number, or one for each axis.
    padding : int, tuple of int or tuple of (int, int)
        How many zeros are added at both ends of all axes; or a number, or a pair, for each axis.
    groups : int
        The number of groups that the channels are cut into; each filter takes one group.

    Raises
    ------
    DataError
        If the weight is not floating-point.
    ShapeError
        If the weight has fewer than three or more than five axes, the bias does not have shape (out_channels,), a
        number is negative or not whole, or `groups` does not divide the filters.

    Examples
    --------
    >>> import numpy as np
    >>> Conv(np.ones((4, 1, 3, 3)), padding=1)(np.ones((5, 1, 28, 28))).shape
    (5, 4, 28, 28)
    """

    weight: Array
    bias: Array | None = None
    stride: Sizes = 1
    padding: Padding = 0
    dilation: Sizes = 1
    groups: int = 1

    def __post_init__(self) -> None:
        check_weight(self.weight, "(out_channels, in_channels / groups, *window), of one to three axes", 3, 4, 5)
        check_array("bias", self.bias, (self.weight.shape[0],), self.weight)
        axes = self.weight.ndim - 2
        object.__setattr__(self, "stride", sizes("stride", self.stride, axes))
        object.__setattr__(self, "dilation", sizes("dilation", self.dilation, axes))
        object.__setattr__(self, "padding", pads(self.padding, axes))
        (groups,) = sizes("groups", self.groups, 1)
        if self.weight.shape[0] % groups:
            raise ShapeError(
                f"groups: expected a number that divides {self.weight.shape[0]} filters, found {self.groups}"
            )

    def calls(self, given: int, into: Builder) -> int:
        """Call `conv`."""
        return into.call(
            OPS["conv"],
            given,
            into.array(self.weight),
            into.array(self.bias),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


@dataclass(frozen=True)
class MaxPool(LayerBase):
    """The largest number of each window: (n, channels, *axes) to (n, channels, *windows).

    Parameters
    ----------
    size : tuple of int
        The size of the window along each axis.
    stride : int, tuple of int or None
        The step between windows; None is the size of the window.
    padding : int, tuple of int or tuple of (int, int)
        How many places are added at the ends of the axes; they never count as the largest.
    dilation : int or tuple of int
        The distance between the places of a window.
    ceil : bool
        Whether a last window may reach beyond the padding.

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool((2, 2))(np.ones((5, 4, 28, 28))).shape
    (5, 4, 14, 14)
    """

    size: tuple[int, ...]
    stride: Sizes | None = None
    padding: Padding = 0
    dilation: Sizes = 1
    ceil: bool = False

    def __post_init__(self) -> None:
        set_window(self)
        object.__setattr__(self, "dilation", sizes("dilation", self.dilation, len(self.size)))

    def calls(self, given: int, into: Builder) -> int:
        """Call `max_pool`."""
        fields = ("size", "stride", "padding", "dilation", "ceil")
        return into.call(OPS["max_pool"], given, **{name: getattr(self, name) for name in fields})


@dataclass(frozen=True)
class AveragePool(LayerBase):
    """The mean of each window: (n, channels, *axes) to (n, channels, *windows).

    Parameters
    ----------
    size : tuple of int
        The size of the window along each axis.
    stride : int, tuple of int or None
        The step between windows; None is the size of the window.
    padding : int, tuple of int or tuple of (int, int)
        How many zeros are added at the ends of the axes.
    ceil : bool
        Whether a last window may reach beyond the padding.
    count_padding : bool
        Whether the zeros of the padding count in the mean.

    Examples
    --------
    >>> import numpy as np
    >>> AveragePool((2, 2))(np.ones((5, 4, 28, 28))).shape
    (5, 4, 14, 14)
    """

    size: tuple[int, ...]
    stride: Sizes | None = None
    padding: Padding = 0
    ceil: bool = False
    count_padding: bool = True

    def __post_init__(self) -> None:
        set_window(self)

    def calls(self, given: int, into: Builder) -> int:
        """Call `average_pool`."""
        fields = ("size", "stride", "padding", "ceil", "count_padding")
        return into.call(OPS["average_pool"], given, **{name: getattr(self, name) for name in fields})


@dataclass(frozen=True)
class GlobalAveragePool(LayerBase):
    """The mean of each channel, whatever the size of the images: (n, channels, *axes) to (n, channels, *ones).

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAveragePool()(np.ones((5, 4, 28, 28))).shape
    (5, 4, 1, 1)
    """

    def calls(self, given: int, into: Builder) -> int:
        """Call `global_average_pool`."""
        return into.call(OPS["global_average_pool"], given)
