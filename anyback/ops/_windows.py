"""Windows of convolutions and poolings: how many there are, and the numbers at each place of a window."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import ShapeError
from anyback.plan import Shape

__all__ = ["Pads", "padded", "seen", "spatial"]

#: How much is added in front of and behind each axis.
Pads = tuple[tuple[int, int], ...]


def spatial(
    name: str, axes: Shape, size: Shape, stride: Shape, padding: Pads, dilation: Shape, ceil: bool = False
) -> Shape:
    """Return how many windows there are along each axis, or raise `ShapeError` where none fits.

    Parameters
    ----------
    name : str
        The op, for the error.
    axes : tuple of int
        The sizes of the axes that windows move along.
    size, stride, dilation : tuple of int
        For each axis: the places of the window, the step between windows, and the distance between places.
    padding : tuple of (int, int)
        What is added in front and behind.
    ceil : bool
        Whether a last window may begin inside the padded axis and reach beyond its end.

    Returns
    -------
    tuple of int
    """
    if not len(axes) == len(size) == len(stride) == len(padding) == len(dilation):
        raise ShapeError(f"{name}: a window of {len(size)} axes does not move along {len(axes)} axes")
    found = []
    for axis, k, step, (before, behind), apart in zip(axes, size, stride, padding, dilation, strict=True):
        room = axis + before + behind - apart * (k - 1) - 1
        count = -(-room // step) + 1 if ceil else room // step + 1
        # A window that would begin in the padding behind sees nothing of the array.
        count = count - 1 if ceil and (count - 1) * step >= axis + before else count
        if count < 1:
            raise ShapeError(f"{name}: a window of {size} does not fit into {axes} with padding {padding}")
        found.append(count)
    return tuple(found)


def padded(x: Array, padding: Pads, value: float) -> Array:
    """Return an array (n, channels, *axes) with `value` in front of and behind its last axes."""
    xp = array_namespace(x)
    for axis, widths in enumerate(padding, start=x.ndim - len(padding)):
        parts = [x]
        for place, width in zip((0, 2), widths, strict=True):
            if width:
                shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
                filling = xp.full(shape, value, dtype=x.dtype, **_placed(x))
                parts.insert(min(place, len(parts)), filling)
        x = xp.concat(parts, axis=axis) if len(parts) > 1 else x
    return x


def _placed(x: Array) -> dict[str, Any]:
    """Return the keyword that puts a new array on the device of `x`; none where `x` names no device, as when traced."""
    device = getattr(x, "device", None)  # a function of array-api-compat would not pass through torch.compile
    return {} if device is None else {"device": device}


def seen(x: Array, size: Shape, stride: Shape, dilation: Shape, count: Shape) -> Iterator[Array]:
    """Yield for each place of the window, in order, the numbers there of all windows: shape (n, channels, *count).

    `x` has the shape (n, channels, *axes), padding included.
    """
    for place in itertools.product(*map(range, size)):
        cuts = [
            slice(at * apart, at * apart + (n - 1) * step + 1, step)
            for at, apart, step, n in zip(place, dilation, stride, count, strict=True)
        ]
        yield x[(slice(None), slice(None), *cuts)]
