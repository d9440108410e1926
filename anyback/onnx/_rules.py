"""How rows travel through operators: for each by its name, the rule by which they are proved to stay apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anyback.onnx import _travels as moves
from anyback.onnx._travels import alone, axes_of, with_axes
from anyback.ops import Given, Travel, by_first_axis, moving, together

__all__ = ["RULES"]


def _matmul(given: Given) -> Travel | None:
    if len(given) != 2 or any(x is None or len(x.shape) < 2 for x in given):
        return None
    a, b = (x for x in given if x is not None)
    rank, rows = max(len(a.shape), len(b.shape)), moving(given)
    behind = {len(x.shape) - (x.axis or 0) for x in rows}
    if len(behind) != 1 or not all(x.fixed for x in (a, b) if x.axis is None):
        return None
    (back,) = behind
    if back > 2:  # a stack: each matrix of it is multiplied by itself
        fits = all(x.axis is not None or len(x.shape) < back or x.shape[-back] == 1 for x in (a, b))
        return Travel(axis=rank - back, joint=not all(x.first for x in rows)) if fits else None
    # Rows of the left matrix, or columns of the right one.
    return Travel(axis=rank - back, joint=True) if rows == [a if back == 2 else b] else None


def _gemm(given: Given, transA: int = 0, **attributes: Any) -> Travel | None:
    a, b, c = (*given, None)[:3]
    if a is None or a.axis != 0 or len(a.shape) != 2 or transA or b is None or not b.fixed:
        return None
    if c is not None and not (c.fixed and c.shape[:-1] in ((), (1,))):
        return None
    return Travel(axis=0, joint=True)


def _along(given: Given, axis: int = -1) -> Travel | None:
    x = alone(given)
    if x is None or not -len(x.shape) <= axis < len(x.shape) or axis % len(x.shape) == x.axis:
        return None
    return Travel(axis=x.axis, joint=not x.first)


def _from_axis(given: Given, axis: int = -1, **attributes: Any) -> Travel | None:
    """Say where rows are when numbers are normalized along all axes from one on, and scaled by arrays."""
    x = alone(given)
    if x is None or x.axis is None or not -len(x.shape) <= axis < len(x.shape) or axis % len(x.shape) <= x.axis:
        return None
    scales = [len(v.shape) for v in given[1:] if v is not None]
    return Travel(axis=x.axis, joint=not x.first) if max(scales, default=0) < len(x.shape) - x.axis else None


def _reduced(
    given: Given, axes: Sequence[int] | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Travel | None:
    x, along = with_axes(given, axes)
    if x is None or x.axis is None:
        return None
    gone = axes_of(along, len(x.shape))
    if not gone or x.axis in gone:  # none is all of them
        return None
    axis = x.axis if keepdims else x.axis - sum(i < x.axis for i in set(gone))
    return Travel(axis=axis, joint=not x.first)


#: The rules by the names of the operators' functions, which are others for versions that compute other things.
RULES: Mapping[str, Callable[..., Travel | None]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Sum", "Mean", "Max", "Min", "PRelu", "SwiGLU"), together),
    **dict.fromkeys(("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Where"), together),
    **dict.fromkeys(("And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor"), together),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"), _reduced),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare"), _reduced),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _along),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _from_axis),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "DepthToSpace", "SpaceToDepth"), by_first_axis),
    "Cast": moves.cast,
    "Concat": moves.joined,
    "ConstantOfShape": moves.filled,
    "Expand": moves.expanded,
    "Flatten": moves.flattened,
    "Gather": moves.picked,
    "Gemm": _gemm,
    "Identity": moves.stays,
    "MatMul": _matmul,
    "Range": moves.constant,
    "Reshape": moves.reshaped,
    "Shape": moves.shape_of,
    "Slice": moves.cut,
    "Split": moves.parted,
    "Squeeze": moves.squeezed,
    "Transpose": moves.transposed,
    "Trilu": moves.triangle,
    "Unsqueeze": moves.unsqueezed,
}
