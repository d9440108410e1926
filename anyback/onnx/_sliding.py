"""Windows of convolutions and poolings as ONNX writes them down, and as the ops take them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from anyback.errors import DataError, ShapeError
from anyback.onnx._types import check_size
from anyback.ops._windows import Pads

__all__ = ["Window", "same_pads", "window"]

#: The most places of a window; each place is a step of its own.
_MOST_PLACES = 1 << 20


@dataclass(frozen=True)
class Window:
    """A window: for each axis its places, the step between windows, the padding, and the distance between places."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pads
    dilation: tuple[int, ...]
    ceil: bool = False


def window(
    operator: str,
    shape: Sequence[int],
    size: Sequence[int],
    strides: Sequence[int] | None,
    pads: Sequence[int] | None,
    dilations: Sequence[int] | None,
    auto_pad: str,
    ceil: int = 0,
) -> Window:
    """Return the window that slides over an array of a shape (n, channels, *axes).

    Parameters
    ----------
    operator : str
        For the error.
    shape : sequence of int
        The shape of the array.
    size, strides, pads, dilations, auto_pad, ceil
        As ONNX has them; pads are all in front, then all behind.
    """
    axes = len(size)
    if len(shape) != axes + 2:
        raise ShapeError(f"{operator}: a window of {axes} axes does not move along an array of shape {tuple(shape)}")
    stride, dilation = tuple(strides or (1,) * axes), tuple(dilations or (1,) * axes)
    around = tuple(pads or (0,) * 2 * axes)
    if len(stride) != axes or len(dilation) != axes or len(around) != 2 * axes:
        raise ShapeError(f"{operator} expected strides, dilations and pads of {axes} axes")
    if min((*size, *stride, *dilation), default=1) < 1 or min(around, default=0) < 0:
        raise ShapeError(f"{operator} expected sizes, strides and dilations from 1 on and pads from 0 on")
    if math.prod(size) > _MOST_PLACES:
        raise DataError(f"{operator} has a window of {tuple(size)}; at most {_MOST_PLACES} places")
    if auto_pad == "NOTSET":
        check_size(
            (shape[1], *[n + a + b for n, a, b in zip(shape[2:], around[:axes], around[axes:], strict=True)]), operator
        )
        padding = tuple(zip(around[:axes], around[axes:], strict=True))
        return Window(tuple(size), stride, padding, dilation, bool(ceil))
    if auto_pad == "VALID":
        return Window(tuple(size), stride, ((0, 0),) * axes, dilation)
    reaches = [apart * (k - 1) + 1 for k, apart in zip(size, dilation, strict=True)]
    totals = [(-(-n // step) - 1) * step + reach - n for n, step, reach in zip(shape[2:], stride, reaches, strict=True)]
    return Window(tuple(size), stride, same_pads(operator, totals, auto_pad), dilation)


def same_pads(operator: str, totals: Sequence[int], auto_pad: str) -> Pads:
    """Return how much is added in front and behind, of so much in all: an odd one behind for SAME_UPPER."""
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise DataError(f"{operator} has auto_pad {auto_pad[:40]!r}; known: NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    halves = [(max(0, n) // 2, max(0, n) - max(0, n) // 2) for n in totals]
    return tuple((low, high) if auto_pad == "SAME_UPPER" else (high, low) for low, high in halves)
