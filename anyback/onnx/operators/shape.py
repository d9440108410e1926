"""Operators that give the same numbers in another shape or order, and the shapes themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError, ShapeError
from anyback.onnx._arrays import axis_of
from anyback.onnx._operator import Host, Ints, operator, several
from anyback.onnx._types import MOST_COPIES, broadcast_shape, check_size

__all__ = [
    "CenterCropPad",
    "Concat",
    "Concat_1",
    "Constant",
    "ConstantOfShape",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Identity",
    "Reshape",
    "Shape",
    "Size",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Tile_1",
    "Transpose",
    "Unsqueeze",
]


@operator(host=True)
def Shape(data: Array, *, start: int = 0, end: int | None = None) -> np.ndarray:
    """Return the shape, or a part of it, as a NumPy array."""
    return np.asarray(data.shape[start:end], np.int64)


@operator(host=True)
def Size(data: Array) -> np.ndarray:
    """Return the number of numbers, as a NumPy array."""
    return np.asarray(math.prod(data.shape), np.int64)


@operator(host=True)
def Constant(
    *,
    value: Host | None = None,
    sparse_value: Host | None = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
    value_string: str | None = None,
    value_strings: Sequence[str] | None = None,
) -> Any:
    """Return a constant."""
    if value is not None or sparse_value is not None:
        return value if value is not None else sparse_value
    if value_string is not None or value_strings is not None:
        return np.asarray(value_string if value_string is not None else list(value_strings or ()), object)
    if value_float is not None or value_floats is not None:
        return np.asarray(value_float if value_float is not None else value_floats, np.float32)
    if value_int is None and value_ints is None:
        raise DataError("Constant: expected a value, found none")
    return np.asarray(value_int if value_int is not None else value_ints, np.int64)


@operator(host=True)
def ConstantOfShape(input: Ints, *, value: Host | None = None) -> np.ndarray:
    """Return one number in a shape."""
    check_size(input, "ConstantOfShape", MOST_COPIES)
    number = np.zeros(1, np.float32) if value is None else value
    if number.size != 1:
        raise ShapeError(f"ConstantOfShape: expected one number, found shape {number.shape}")
    return np.broadcast_to(number.reshape(()), input)


@operator()
def Identity(input: Any) -> Any:
    """Return what is given."""
    return input


@operator()
def Reshape(data: Array, shape: Ints, *, allowzero: int = 0) -> Array:
    """Return the numbers in another shape; 0 keeps a size, -1 is what is left."""
    wanted, count = shape, math.prod(data.shape)
    if not allowzero and 0 in shape:
        shape = tuple(size or (data.shape[i] if i < data.ndim else 0) for i, size in enumerate(shape))
    if shape.count(-1) == 1:
        rest = math.prod(size for size in shape if size != -1)
        shape = tuple((count // rest if rest else 0) if size == -1 else size for size in shape)
    if min(shape, default=0) < 0 or (math.prod(shape) != count and not math.isnan(count)):
        raise ShapeError(f"Reshape: shape {tuple(data.shape)} cannot become {wanted}")
    xp = array_namespace(data)
    # Dask merges axes or cuts one, and not both at a time.
    plain = math.isnan(count) or _merges_or_cuts(tuple(data.shape), shape)
    return xp.reshape(data if plain else xp.reshape(data, (-1,)), shape)


def _merges_or_cuts(old: Sequence[int], new: Sequence[int]) -> bool:
    """Return whether each axis of a shape is a product of axes of the other, in order; axes of size 1 do not count."""
    a, b = ([size for size in shape if size != 1] for shape in (old, new))
    while a and b:
        few, many = (a, b) if a[0] >= b[0] else (b, a)
        size, left = few.pop(0), 1
        while many and left < size:
            left *= many.pop(0)
        if left != size:
            return False
    return True


@operator()
def Flatten(input: Array, *, axis: int = 1) -> Array:
    """Return the axes before `axis` as one, and the others as another."""
    at = axis if axis == input.ndim else axis_of(axis, input.ndim, "Flatten")
    return array_namespace(input).reshape(input, (math.prod(input.shape[:at]), math.prod(input.shape[at:])))


@operator()
def Transpose(data: Array, *, perm: Ints | None = None) -> Array:
    """Return the axes in another order; reversed where none is given."""
    order = tuple(range(data.ndim))[::-1] if perm is None else perm
    return array_namespace(data).permute_dims(data, order)


@operator()
def Squeeze(data: Array, axes: Ints | None = None) -> Array:
    """Return the array without axes of size 1."""
    shape = data.shape
    gone = (
        {i for i, size in enumerate(shape) if size == 1}
        if axes is None
        else {axis_of(axis, len(shape), "Squeeze") for axis in axes}
    )
    if any(shape[i] != 1 for i in gone):
        raise ShapeError(f"Squeeze: expected axes of size 1, found axes {axes} of shape {tuple(shape)}")
    return array_namespace(data).reshape(data, tuple(size for i, size in enumerate(shape) if i not in gone))


@operator()
def Unsqueeze(data: Array, axes: Ints) -> Array:
    """Return the array with more axes of size 1."""
    rank = data.ndim + len(axes)
    new = {axis_of(axis, rank, "Unsqueeze") for axis in axes}
    if len(new) != len(axes):
        raise ShapeError(f"Unsqueeze: expected axes that differ, found {axes}")
    sizes = iter(data.shape)
    return array_namespace(data).reshape(data, tuple(1 if i in new else next(sizes) for i in range(rank)))


@operator()
def Expand(input: Array, shape: Ints) -> Array:
    """Return the array broadcast with a shape."""
    check_size(shape, "Expand", MOST_COPIES)
    whole = broadcast_shape((input.shape, shape), "Expand")
    check_size(whole, "Expand", MOST_COPIES)
    return array_namespace(input).broadcast_to(input, whole)


@operator(since=6)
def Tile(input: Array, repeats: Ints) -> Array:
    """Return the array repeated along each axis."""
    if len(repeats) != input.ndim:
        raise ShapeError(f"Tile: expected {input.ndim} numbers of copies, found {repeats}")
    check_size([size * many for size, many in zip(input.shape, repeats, strict=True)], "Tile", MOST_COPIES)
    return array_namespace(input).tile(input, repeats)


@operator(since=1, name="Tile")
def Tile_1(input: Array, tiles: Ints, axis: Ints) -> Array:
    """Return the array repeated along one axis."""
    at = axis_of(axis[0], input.ndim, "Tile")
    repeats = tuple(tiles[0] if i == at else 1 for i in range(input.ndim))
    return Tile.compute(input, repeats)


@operator(since=4)
def Concat(*inputs: Array, axis: int) -> Array:
    """Return arrays one behind the other along an axis."""
    if len(inputs) == 1:
        return inputs[0]
    if len({id(x) for x in inputs}) < len(inputs):  # one array several times, such as again and again by a hostile file
        check_size((sum(math.prod(x.shape) for x in inputs),), "Concat", MOST_COPIES)
    return array_namespace(*inputs).concat(inputs, axis=axis)


@operator(since=1, name="Concat")
def Concat_1(*inputs: Array, axis: int = 1) -> Array:
    """Return arrays one behind the other along an axis."""
    return Concat.compute(*inputs, axis=axis)


@operator()
def Split(
    input: Array, split: Ints | None = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int
) -> Any:
    """Return parts along an axis: of these sizes, or of one size but for the last."""
    at = axis_of(axis, input.ndim, "Split")
    total = input.shape[at]
    if split is None:
        count = num_outputs or outputs
        size = -(-total // count)
        split = tuple(max(0, min(size, total - i * size)) for i in range(count))
    if sum(split) != total or min(split, default=0) < 0:
        raise ShapeError(f"Split: expected sizes that add up to {total}, found {split}")
    parts, start, before = [], 0, (slice(None),) * at
    for size in split[:outputs]:
        parts.append(input[(*before, slice(start, start + size), ...)])
        start += size
    return several(tuple(parts), outputs)


@operator()
def DepthToSpace(input: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Return blocks of channels as blocks of pixels."""
    xp, (n, c, h, w), b = array_namespace(input), input.shape, blocksize
    if mode == "DCR":
        parts, order = (n, b, b, c // b**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        parts, order = (n, c // b**2, b, b, h, w), (0, 1, 4, 2, 5, 3)
    return xp.reshape(xp.permute_dims(xp.reshape(input, parts), order), (n, c // b**2, h * b, w * b))


@operator()
def SpaceToDepth(input: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Return blocks of pixels as blocks of channels."""
    xp, (n, c, h, w), b = array_namespace(input), input.shape, blocksize
    blocks = xp.reshape(input, (n, c, h // b, b, w // b, b))
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return xp.reshape(xp.permute_dims(blocks, order), (n, c * b**2, h // b, w // b))


@operator()
def CenterCropPad(input_data: Array, shape: Ints, *, axes: Ints | None = None) -> Array:
    """Return the middle of axes that are too long, and zeros around those that are too short."""
    xp, data = array_namespace(input_data), input_data
    for axis, size in zip(range(data.ndim) if axes is None else axes, shape, strict=True):
        at, found = axis_of(axis, data.ndim, "CenterCropPad"), data.shape[axis]
        if size <= found:
            start = (found - size) // 2
            data = data[(*(slice(None),) * at, slice(start, start + size), ...)]
        else:
            ends = [
                (*data.shape[:at], k, *data.shape[at + 1 :]) for k in ((size - found) // 2, -(-(size - found) // 2))
            ]
            check_size((*data.shape[:at], size, *data.shape[at + 1 :]), "CenterCropPad")
            before, behind = (xp.zeros_like(xp.broadcast_to(data[(0,) * data.ndim], end)) for end in ends)
            data = xp.concat([before, data, behind], axis=at)
    return data
