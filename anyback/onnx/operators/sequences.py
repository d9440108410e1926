"""Sequences, which are lists of arrays, and optional values, which may be None."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError, ShapeError
from anyback.onnx._arrays import beside
from anyback.onnx._operator import Body, Host, Ints, TypeName, operator, several

__all__ = [
    "ConcatFromSequence",
    "Optional",
    "OptionalGetElement",
    "OptionalHasElement",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "SequenceMap",
    "SplitToSequence",
]

#: A list of arrays.
Sequence = list[Any]


def _place(position: Ints, length: int, operator: str) -> int:
    """Return a place in a sequence that may be counted from the end."""
    if len(position) != 1 or not -length <= position[0] < length:
        raise DataError(f"{operator}: expected one place in a sequence of {length}, found {position}")
    return position[0] % length


@operator()
def SequenceEmpty(*, dtype: TypeName | None = None) -> Sequence:
    """Return a sequence of nothing."""
    return []


@operator()
def SequenceConstruct(*inputs: Array) -> Sequence:
    """Return a sequence of arrays."""
    return list(inputs)


@operator()
def SequenceAt(input_sequence: Sequence, position: Ints) -> Array:
    """Return what lies at a place."""
    return input_sequence[_place(position, len(input_sequence), "SequenceAt")]


@operator()
def SequenceInsert(input_sequence: Sequence, tensor: Array, position: Ints | None = None) -> Sequence:
    """Return the sequence with an array before a place, or at the end."""
    length = len(input_sequence)
    at = length if position is None else _place(position, length + 1, "SequenceInsert")
    # Counted from the end, -1 is the place before the last.
    at = at - 1 if position is not None and position[0] < 0 else at
    return [*input_sequence[:at], tensor, *input_sequence[at:]]


@operator()
def SequenceErase(input_sequence: Sequence, position: Ints | None = None) -> Sequence:
    """Return the sequence without what lies at a place, or at the end."""
    at = _place((-1,) if position is None else position, len(input_sequence), "SequenceErase")
    return [*input_sequence[:at], *input_sequence[at + 1 :]]


@operator(host=True)
def SequenceLength(input_sequence: Sequence) -> np.ndarray:
    """Return the number of arrays."""
    return np.asarray(len(input_sequence), np.int64)


@operator()
def ConcatFromSequence(input_sequence: Sequence, *, axis: int, new_axis: int = 0) -> Array:
    """Return the arrays one behind the other, along an axis or a new one."""
    if not input_sequence:
        raise DataError("ConcatFromSequence: expected arrays, found an empty sequence")
    parts = _of_one_library(input_sequence)
    xp = array_namespace(*parts)
    return xp.stack(parts, axis=axis) if new_axis else xp.concat(parts, axis=axis)


def _of_one_library(parts: Sequence) -> Sequence:
    """Return arrays of which some may be constants of the host."""
    device = next((x for x in parts if not isinstance(x, (np.ndarray, np.generic))), None)
    if device is None:
        return parts
    return [beside(np.asarray(x), device) if isinstance(x, (np.ndarray, np.generic)) else x for x in parts]


@operator()
def SplitToSequence(input: Array, split: Host | None = None, *, axis: int = 0, keepdims: int = 1) -> Sequence:
    """Return parts along an axis: of these sizes, of one size but for the last, or of one."""
    if not -input.ndim <= axis < input.ndim:
        raise ShapeError(f"SplitToSequence: there is no axis {axis} in an array of {input.ndim}")
    at = axis % input.ndim
    total, before = input.shape[at], (slice(None),) * at
    if split is None and not keepdims:
        return [input[(*before, number, ...)] for number in range(total)]
    if split is None or not split.ndim:
        size = 1 if split is None else int(split)
        if size < 1:
            raise ShapeError(f"SplitToSequence: expected a size from 1 on, found {size}")
        sizes = [min(size, total - start) for start in range(0, total, size)]
    else:
        sizes = [int(size) for size in split]
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise ShapeError(f"SplitToSequence: expected sizes that add up to {total}, found {sizes}")
    ends = np.cumsum(sizes).tolist()
    return [input[(*before, slice(end - size, end), ...)] for size, end in zip(sizes, ends, strict=True)]


@operator()
def SequenceMap(input_sequence: Sequence, *additional_inputs: Any, body: Body, outputs: int) -> Any:
    """Return what a body makes of each array of a sequence, and of those at the same place of other sequences."""
    results: list[Sequence] = [[] for _ in range(body.outputs)]
    for number, x in enumerate(input_sequence):
        others = [part[number] if isinstance(part, list) else part for part in additional_inputs]
        for found, y in zip(results, body(x, *others), strict=True):
            found.append(y)
    return several(tuple(results), outputs)


@operator()
def Optional(input: Any = None, *, type: Any = None) -> Any:
    """Return a value, or None."""
    return input


@operator()
def OptionalGetElement(input: Any) -> Any:
    """Return the value, which must be there."""
    if input is None:
        raise DataError("OptionalGetElement: expected a value, found none")
    return input


@operator(host=True)
def OptionalHasElement(input: Any = None) -> np.ndarray:
    """Return whether there is a value."""
    return np.asarray(input is not None)
