"""The shapes of results as far as they are known, and limits for results that a file's constants can make huge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anyback.errors import ShapeError
from anyback.onnx._operator import Operator
from anyback.onnx._types import MOST_COPIES, broadcast_shape, check_size

__all__ = ["check_known", "together"]

Shapes = Sequence[tuple[int, ...]]

#: Operators whose result has the shape that their arrays broadcast to.
_BROADCAST = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "PRelu", "Sum", "Mean", "Max", "Min", "Where", "SwiGLU"),
    *("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Xor"),
    *("BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor"),
)


def _matmul(shapes: Shapes, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    a, b = shapes[0], shapes[1]
    if len(a) < 2 or len(b) < 2:
        return max(a[:-1], b[:-2] + b[-1:], key=math.prod)
    return (*broadcast_shape((a[:-2], b[:-2]), "MatMul"), a[-2], b[-1])


def _gemm(shapes: Shapes, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    a, b = (shape[::-1] if attributes.get(f"trans{k}") else shape for k, shape in zip("AB", shapes, strict=False))
    return a[0], b[-1]


def _gather(shapes: Shapes, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    data, indices = shapes
    at = attributes.get("axis", 0)
    return (*data[:at], *indices, *(data[at:][1:]))


def _gather_nd(shapes: Shapes, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    data, indices = shapes
    return (*indices[:-1], *data[attributes.get("batch_dims", 0) + indices[-1] :])


def _concat(shapes: Shapes, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    return (sum(map(math.prod, shapes)),)


def together(*shapes: tuple[int, ...] | None, **attributes: Any) -> tuple[int, ...] | None:
    """Return the shape that shapes broadcast to; None where one is not known, or they do not fit."""
    try:
        return None if None in shapes else broadcast_shape([s for s in shapes if s is not None], "")
    except ShapeError:  # the operator raises it when the network runs
        return None


_GROWING: dict[str, Callable[[Shapes, Mapping[str, Any]], tuple[int, ...]]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Concat": _concat,
    **{name: lambda shapes, attributes, name=name: broadcast_shape(shapes, name) for name in _BROADCAST},  # type: ignore[misc]
}


def check_known(operator: Operator, arguments: Sequence[Any], attributes: Mapping[str, Any]) -> None:
    """Raise `DataError` where an operator would make a huge array of known values.

    Operators that check the size of their results themselves, or whose results are no larger than their inputs, are not
    checked here.
    """
    shape = _GROWING.get(operator.name) if not operator.domain else None
    if shape is not None:
        shapes = [tuple(x.shape) for x in arguments if hasattr(x, "shape")]
        check_size(shape(shapes, attributes), operator.name, MOST_COPIES)
