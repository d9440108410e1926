"""The shapes of results as far as they are known, and limits for results that a file's constants can make huge.

Shapes are those for `ROWS` rows, so that sizes which do not depend on the rows can be told from the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anyback.errors import ShapeError
from anyback.onnx._operator import Operator
from anyback.onnx._types import MOST_COPIES, broadcast_shape, check_size
from anyback.onnx._values import Known, Value, is_fixed, sizes_of

__all__ = ["PICKING", "check_known", "result_shapes", "together"]

#: Operators that pick numbers or put them in another order. Of sizes that depend on the rows they give the right ones.
PICKING = ("Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze")

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


# -- Shapes of results ------------------------------------------------------------------------------------


def result_shapes(
    operator: Operator, given: Sequence[Value | None], attributes: Mapping[str, Any], count: int
) -> Sequence[tuple[int, ...] | None]:
    """Return the shapes of the first `count` results, for `ROWS` rows; None for each that is not known.

    Parameters
    ----------
    operator : Operator
        An operator of ONNX's own domain.
    given : sequence of (value or None)
        Its inputs.
    attributes : mapping of str to value
        Its attributes, without those that are absent.
    count : int
        How many results are used.
    """
    rule = _SHAPES.get(operator.name)
    shapes = [_shape_of(value) for value in given]
    if rule is None or not shapes or shapes[0] is None:
        return [None] * count
    ints = [_ints(value) for value in given]
    try:
        found = rule(shapes, ints, attributes)
    except (IndexError, TypeError, ValueError, ShapeError):  # the operator raises it when the network runs
        return [None] * count
    return [*(found if isinstance(found, list) else [found]), *[None] * count][:count]


def _shape_of(value: Value | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    return tuple(getattr(value.value, "shape", ())) if isinstance(value, Known) else value.shape


def _ints(value: Value | None) -> list[int] | None:
    """Return integers of a value of one axis or none, where they are known; else None."""
    sizes = sizes_of(value)
    return sizes.reshape(-1).tolist() if getattr(sizes, "ndim", 2) < 2 and sizes.dtype.kind in "iu" else None


def _same_shape(shapes: Any, ints: Any, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(shapes[0])


def _gathered(shapes: Any, ints: Any, attributes: Mapping[str, Any]) -> tuple[int, ...] | None:
    data, indices = shapes
    at = range(len(data))[attributes.get("axis", 0)]
    return None if indices is None else (*data[:at], *indices, *data[at + 1 :])


def _multiplied(shapes: Any, ints: Any, attributes: Mapping[str, Any]) -> tuple[int, ...] | None:
    if shapes[1] is None or min(map(len, shapes)) < 2 or shapes[0][-1] != shapes[1][-2]:
        return None
    return _matmul(shapes, attributes)


def _transposed(shapes: Any, ints: Any, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    perm = attributes.get("perm") or range(len(shapes[0]))[::-1]
    return tuple(shapes[0][axis] for axis in perm)


def _axes(ints: Any, attributes: Mapping[str, Any], rank: int) -> set[int]:
    """Return the axes of a second input, or of the attribute of old versions; `TypeError` where they are not known."""
    return {range(rank)[axis] for axis in (ints[1] if len(ints) > 1 else attributes["axes"])}


def _squeezed(shapes: Any, ints: Any, attributes: Mapping[str, Any]) -> tuple[int, ...] | None:
    if len(ints) == 1 and "axes" not in attributes:
        return None  # every axis of size 1, of which that of the rows may be one
    gone = _axes(ints, attributes, len(shapes[0]))
    return tuple(size for axis, size in enumerate(shapes[0]) if axis not in gone)


def _unsqueezed(shapes: Any, ints: Any, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    rank = len(shapes[0]) + len(ints[1] if len(ints) > 1 else attributes["axes"])
    new, sizes = _axes(ints, attributes, rank), iter(shapes[0])
    return tuple(1 if axis in new else next(sizes) for axis in range(rank))


def _split(shapes: Any, ints: Any, attributes: Mapping[str, Any]) -> list[tuple[int, ...]] | None:
    sizes = ints[1] if len(ints) > 1 else attributes.get("split")
    at = range(len(shapes[0]))[attributes.get("axis", 0)]
    return None if sizes is None else [(*shapes[0][:at], size, *shapes[0][at + 1 :]) for size in sizes]


def _put_together(shapes: Any, ints: Any, attributes: Mapping[str, Any]) -> tuple[int, ...] | None:
    if None in shapes:
        return None
    at = range(len(shapes[0]))[attributes.get("axis", 1)]
    return (*shapes[0][:at], sum(shape[at] for shape in shapes), *shapes[0][at + 1 :])


def _reshaped(shapes: Any, ints: Any, attributes: Mapping[str, Any]) -> tuple[int, ...] | None:
    target = ints[1] if len(ints) > 1 else attributes.get("shape")
    if target is None or (0 in target and attributes.get("allowzero")):
        return None
    wanted = [shapes[0][place] if size == 0 else size for place, size in enumerate(target)]
    rest, count = math.prod(size for size in wanted if size != -1), math.prod(shapes[0])
    if -1 in wanted and rest > 0 and count % rest == 0:
        wanted[wanted.index(-1)] = count // rest
    if math.prod(wanted) != count or min(wanted) < 0 or _of_rows(wanted) % _of_rows(shapes[0]):
        return None  # also where an axis is a part of the rows: it would pass for one of a fixed size
    return tuple(wanted)


def _of_rows(shape: Sequence[int]) -> int:
    """Return the product of the sizes that depend on the rows."""
    return math.prod(size for size in shape if not is_fixed(size))


_SHAPES: dict[str, Callable[[Any, Any, Mapping[str, Any]], Any]] = {
    **dict.fromkeys(("Cast", "Identity", "LayerNormalization", "LogSoftmax", "Softmax"), _same_shape),
    "Concat": _put_together,
    "Gather": _gathered,
    "MatMul": _multiplied,
    "Reshape": _reshaped,
    "Split": _split,
    "Squeeze": _squeezed,
    "Transpose": _transposed,
    "Unsqueeze": _unsqueezed,
}
