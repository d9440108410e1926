"""Numbers as integers or short floats with a scale and a zero point, and products of such integers.

An integer stands for the number ``(integer - zero point) * scale``. Integers of 8 bits are multiplied as float32: less
their zero point they are at most 255 in size, so that a sum of `_DEPTH` products is below 2**24 and exact. Longer sums
are cut into parts of that length, which are added as int32. So nothing here needs float64, and products in TF32 or
bfloat16 are exact too, which hold integers up to 256.
"""

from __future__ import annotations

import math
from typing import Any

from anyback._typing import Array
from anyback.backends import array_namespace, is_float
from anyback.errors import DataError, ShapeError
from anyback.numbers import dtype_name
from anyback.onnx._arrays import widened
from anyback.onnx._exact import exact_conv, exact_product
from anyback.onnx._operator import Ints, TypeName, operator, several
from anyback.onnx._sliding import window
from anyback.onnx._types import cast, integer_range
from anyback.onnx.operators.cast import Cast

__all__ = [
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
]


def _spread(part: Array, shape: tuple[int, ...], axis: int, block: int, operator: str) -> Array:
    """Return scales or zero points so that they broadcast: one, one for each place of an axis, or one for a block."""
    xp = array_namespace(part)
    if math.prod(part.shape) == 1:
        return xp.reshape(part, (1,) * len(shape))
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{operator}: there is no axis {axis} in an array of shape {shape}")
    at = axis % len(shape)
    if not block:
        if tuple(part.shape) != (shape[at],):
            raise ShapeError(f"{operator} expected one scale, or {shape[at]} along axis {axis}, found {part.shape}")
        return xp.reshape(part, tuple(-1 if i == at else 1 for i in range(len(shape))))
    blocks = (*shape[:at], -(-shape[at] // block), *shape[at + 1 :])
    if tuple(part.shape) != blocks:
        raise ShapeError(f"{operator} expected scales of shape {blocks} for blocks of {block}, found {part.shape}")
    each = xp.broadcast_to(xp.expand_dims(part, axis=at + 1), (*blocks[: at + 1], block, *blocks[at + 1 :]))
    whole = xp.reshape(each, (*blocks[:at], blocks[at] * block, *blocks[at + 1 :]))
    return whole[(*[slice(None)] * at, slice(0, shape[at]), ...)]


def _stored(y: Array, zero: Array | None, to: str, operator: str, saturate: bool = True) -> Array:
    """Return quotients by a scale in a type that numbers are quantized to; nan becomes the least integer."""
    xp, wide = array_namespace(y), widened(y)
    shift = None if zero is None else xp.astype(zero, wide.dtype)
    bounds = integer_range(to)
    if bounds is None:
        if to == "float4e2m1" and shift is not None:
            wide = wide + shift
        return Cast.compute(wide, to=to, saturate=saturate)
    low, high = bounds
    if high >= 1 << 16:
        raise DataError(f"{operator} gives integers of at most 16 bits, or short floats, not {to}")
    wide = xp.round(wide) if shift is None else xp.round(wide) + shift
    wide = xp.where(wide > low, wide, xp.full_like(wide, float(low)))
    return cast(xp.minimum(wide, xp.full_like(wide, float(high))), to, operator)


def _type_of(x: Array, held: tuple[str, ...], place: int) -> str:
    """Return the type of an input by ONNX's name."""
    return (held[place] if place < len(held) else "") or dtype_name(x.dtype)


@operator(since=10, types=("precision",))
def QuantizeLinear(
    x: Array,
    y_scale: Array,
    y_zero_point: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: TypeName | None = None,
    precision: TypeName | None = None,
    saturate: int = 1,
    held: tuple[str, ...] = (),
) -> Array:
    """Return numbers divided by their scale, rounded to nearest with ties to even, plus a zero point, within a type.

    The type is that of the zero point, or else `output_dtype`, or else uint8.
    """
    xp, shape = array_namespace(x, y_scale), tuple(x.shape)
    to = output_dtype or "uint8"
    if y_zero_point is not None:
        to = _type_of(y_zero_point, held, 2)
        if output_dtype not in (None, to):
            raise DataError(f"QuantizeLinear has a zero point of {to}, and output_dtype {output_dtype}")
        y_zero_point = _spread(y_zero_point, shape, axis, block_size, "QuantizeLinear")
    divisor = y_scale if precision is None else cast(y_scale, precision, "QuantizeLinear")
    divisor = _spread(divisor, shape, axis, block_size, "QuantizeLinear")
    return _stored(xp.astype(x, divisor.dtype) / divisor, y_zero_point, to, "QuantizeLinear", bool(saturate))


@operator(since=10, types=("output_dtype",))
def DequantizeLinear(
    x: Array,
    x_scale: Array,
    x_zero_point: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: TypeName | None = None,
) -> Array:
    """Return quantized numbers less their zero point, times their scale."""
    xp, shape = array_namespace(x, x_scale), tuple(x.shape)
    factor = widened(_spread(x_scale, shape, axis, block_size, "DequantizeLinear"))
    long = dtype_name(x.dtype) in ("int32", "int64")  # a float may not hold these before the difference
    y = x if long else xp.astype(x, factor.dtype)
    if x_zero_point is not None:
        y = y - xp.astype(_spread(x_zero_point, shape, axis, block_size, "DequantizeLinear"), y.dtype)
    y = xp.astype(y, factor.dtype) * factor
    return Cast.compute(y, to=output_dtype) if output_dtype is not None else xp.astype(y, x_scale.dtype)


@operator(since=11)
def DynamicQuantizeLinear(x: Array, *, outputs: int = 1) -> Any:
    """Return numbers as uint8, with the scale and the zero point that their own range gives; 0 is always in it."""
    if 0 in x.shape:
        raise ShapeError(f"DynamicQuantizeLinear expected at least one number, found shape {tuple(x.shape)}")
    xp = array_namespace(x)
    least, largest = xp.min(x), xp.max(x)
    none = xp.zeros_like(least)
    least, largest = xp.minimum(least, none), xp.maximum(largest, none)
    flat = least == largest
    unit = xp.where(flat, xp.ones_like(least), (largest - least) / 255)
    zero = xp.round(-least / unit)
    zero = xp.minimum(xp.maximum(zero, none), xp.full_like(zero, 255.0))
    return several((_stored(x / unit, zero, "uint8", "DynamicQuantizeLinear"), unit, cast(zero, "uint8")), outputs)


# -- Products of integers ------------------------------------------------------------------------------


def _along_rows(part: Array) -> Array:
    """Return one number, or one for each row of a matrix, so that it broadcasts with the matrix."""
    return array_namespace(part).reshape(part, (-1, 1)) if part.ndim == 1 and part.shape[0] > 1 else part


def _by_filter(part: Array, rank: int) -> Array:
    """Return one number, or one for each filter, so that it broadcasts with filters or with their results."""
    return array_namespace(part).reshape(part, (-1, *[1] * (rank - 1)))


def _centred(x: Array, zero: Array | None, operator: str) -> Array:
    """Return integers of 8 bits less a zero point, as float32, which holds them exactly; short floats as they are."""
    xp = array_namespace(x)
    if not is_float(x) and dtype_name(x.dtype) not in ("int8", "uint8"):
        raise DataError(f"{operator} expected integers of 8 bits, found {dtype_name(x.dtype)}")
    y = xp.astype(x, xp.float32)
    return y if zero is None else y - xp.astype(zero, xp.float32)


@operator(since=10)
def MatMulInteger(A: Array, B: Array, a_zero_point: Array | None = None, b_zero_point: Array | None = None) -> Array:
    """Return the product of matrices of integers less their zero points, as int32."""
    rows = None if a_zero_point is None else _along_rows(a_zero_point)
    return exact_product(_centred(A, rows, "MatMulInteger"), _centred(B, b_zero_point, "MatMulInteger"))


@operator(since=10)
def QLinearMatMul(
    a: Array,
    a_scale: Array,
    a_zero_point: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    *,
    held: tuple[str, ...] = (),
) -> Array:
    """Return the product of quantized matrices, quantized; rows of `a` and columns of `b` may have a scale each."""
    left = _centred(a, _along_rows(a_zero_point), "QLinearMatMul")
    right = _centred(b, b_zero_point, "QLinearMatMul")
    xp = array_namespace(left, right)
    product = xp.matmul(left, right) if is_float(a) or is_float(b) else exact_product(left, right)
    factor = _along_rows(widened(a_scale)) * widened(b_scale) / _along_rows(widened(y_scale))
    y = xp.astype(product, factor.dtype)
    factor = xp.reshape(factor, ()) if math.prod(factor.shape) == 1 else factor
    to = _type_of(y_zero_point, held, 7)
    zero = _along_rows(y_zero_point)
    zero = xp.reshape(zero, ()) if math.prod(zero.shape) == 1 else zero
    return _stored(y * factor, zero, to, "QLinearMatMul")


def _convolved(
    operator: str,
    x: Array,
    w: Array,
    x_zero: Array | None,
    w_zero: Array | None,
    attributes: dict[str, Any],
) -> Array:
    """Return the convolution of integers less their zero points, as int32: beyond an image lies its zero point."""
    size, group = tuple(w.shape[2:]), attributes["group"]
    if attributes["kernel_shape"] is not None and tuple(attributes["kernel_shape"]) != size:
        raise ShapeError(f"{operator}: the window is {size} by the weights, not {attributes['kernel_shape']}")
    if x.ndim != w.ndim or x.shape[1] != w.shape[1] * group:
        raise ShapeError(f"{operator} expected {w.shape[1] * group} channels, found shape {tuple(x.shape)}")
    placed = [attributes[name] for name in ("strides", "pads", "dilations", "auto_pad")]
    found = window(operator, x.shape, size, *placed)
    images = _centred(x, None if x_zero is None else array_namespace(x_zero).reshape(x_zero, ()), operator)
    filters = _centred(w, None if w_zero is None else _by_filter(w_zero, w.ndim), operator)
    return exact_conv(images, filters, found, group)


@operator(since=10)
def ConvInteger(
    x: Array,
    w: Array,
    x_zero_point: Array | None = None,
    w_zero_point: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Return the cross-correlation of images of integers with filters of integers, as int32; see `Conv`."""
    window = {"auto_pad": auto_pad, "dilations": dilations, "kernel_shape": kernel_shape, "pads": pads}
    return _convolved("ConvInteger", x, w, x_zero_point, w_zero_point, {**window, "group": group, "strides": strides})


@operator(since=10)
def QLinearConv(
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    w: Array,
    w_scale: Array,
    w_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    B: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Return the convolution of quantized images with quantized filters, quantized; filters may have a scale each.

    The bias `B` is int32, with the product of both scales as its scale.
    """
    window = {"auto_pad": auto_pad, "dilations": dilations, "kernel_shape": kernel_shape, "pads": pads}
    more = {**window, "group": group, "strides": strides}
    sums = _convolved("QLinearConv", x, w, x_zero_point, w_zero_point, more)
    xp, rank = array_namespace(x, w), x.ndim - 1  # behind the axis of the rows
    if B is not None:
        sums = sums + _by_filter(B, rank)
    factor = _by_filter(widened(x_scale) * widened(w_scale) / widened(y_scale), rank)
    y = xp.astype(sums, factor.dtype) * factor
    return _stored(y, xp.reshape(y_zero_point, ()), dtype_name(y_zero_point.dtype), "QLinearConv")
