"""How rows travel through operators that move numbers: the rules by which rows are proved to stay apart.

A rule takes what is known of the parameters, in the operator's order, and its attributes; see `Travel`. It says nothing
of an operator that may mix rows, and of one whose result may depend on how many rows there are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback.ops import Given, Travel, moving

__all__ = [
    "Prepared",
    "alone",
    "axes_of",
    "cast",
    "constant",
    "cut",
    "expanded",
    "filled",
    "flattened",
    "joined",
    "parted",
    "picked",
    "reshaped",
    "shape_of",
    "squeezed",
    "stays",
    "transposed",
    "triangle",
    "turned",
    "unsqueezed",
    "with_axes",
]


@dataclass(frozen=True, eq=False)
class Prepared:
    """The rule of an operator some of whose parameters are known beforehand: `places` as of `_bodies.prepared`."""

    rule: Callable[..., Travel | None]
    places: tuple[tuple[int | None, Any], ...]

    def __call__(self, given: Given, **attributes: Any) -> Travel | None:
        parameters = [given[place] if place is not None else _known(value) for place, value in self.places]
        return self.rule(parameters, **attributes)


def _known(value: Any) -> Travel | None:
    """Return what is known of a value that was known beforehand."""
    if value is None:
        return None
    found = np.asarray(value)
    return Travel(found.shape, value=found)


def alone(given: Given) -> Travel | None:
    """Return the first parameter where it alone has rows, and all others are the same for any rows."""
    first, *others = given
    if first is None or first.axis is None or not all(x is None or x.fixed for x in others):
        return None
    return first


def _counts(x: Travel) -> np.ndarray:
    assert x.value is not None
    return np.zeros(x.value.shape, bool) if x.counts is None else x.counts


def _picked(x: Travel | None, pick: Callable[[np.ndarray], np.ndarray]) -> Travel | None:
    """Return what is known of numbers that are known, some of them the number of rows, in another order or shape."""
    if x is None or x.axis is not None or x.value is None:
        return None
    return Travel(value=np.asarray(pick(x.value)), counts=np.asarray(pick(_counts(x))))


def _ints(x: Travel | None) -> tuple[int, ...] | None:
    """Return a parameter as integers, none of which is the number of rows; None where that is not known."""
    if x is None or not x.fixed or x.value is None:
        return None
    return tuple(map(int, x.value.reshape(-1).tolist()))


def axes_of(x: Travel | None, rank: int) -> tuple[int, ...] | None:
    """Return a parameter as numbers of axes from 0 on."""
    found = _ints(x)
    return None if found is None or any(not -rank <= i < rank for i in found) else tuple(i % rank for i in found)


def with_axes(given: Given, axes: Sequence[int] | None) -> tuple[Travel | None, Travel | None]:
    """Return an array and its axes, which are an attribute of old versions and a parameter of new ones."""
    x, along = (*given, None)[:2]
    return x, along if axes is None else _known(axes)


# -- The same numbers ------------------------------------------------------------------------------------


def stays(given: Given, **attributes: Any) -> Travel | None:
    """Say that the first argument passes unchanged; further ones only say where it goes."""
    x = given[0] if given else None
    return None if x is None or not (x.fixed or x.axis is not None) else dataclasses.replace(x, joint=False)


def constant(given: Given, **attributes: Any) -> Travel | None:
    """Say nothing: what has fixed arguments alone is fixed before a rule is asked."""
    return None


def turned(given: Given, **attributes: Any) -> Travel | None:
    """Say where rows are when the last two axes are swapped."""
    x = given[0]
    rank = 0 if x is None else len(x.shape)
    return None if rank < 2 else transposed(given, perm=(*range(rank - 2), rank - 1, rank - 2))


def transposed(given: Given, perm: Sequence[int] | None = None) -> Travel | None:
    x = alone(given)
    if x is None or x.axis is None:
        return None
    order = list(perm) if perm is not None else list(range(len(x.shape)))[::-1]
    if sorted(order) != list(range(len(x.shape))):
        return None
    return Travel(axis=order.index(x.axis), first=x.first)


def shape_of(given: Given, start: int = 0, end: int | None = None) -> Travel | None:
    x = given[0]
    if x is None or x.axis is None:
        return None
    counts = np.arange(len(x.shape)) == x.axis
    return Travel(value=np.asarray(x.shape, np.int64)[start:end], counts=counts[start:end])


def cast(given: Given, to: str = "", **attributes: Any) -> Travel | None:
    x = given[0]
    if x is not None and x.axis is None:  # the number of rows is the same number in any type of so many bits
        return _picked(x, lambda v: v) if to == "int64" else None
    return None if alone(given) is None or x is None else Travel(axis=x.axis)


def reshaped(given: Given, allowzero: int = 0) -> Travel | None:
    x, target = given
    if x is None or target is None or target.value is None or target.axis is not None:
        return None
    if x.axis is None:
        return _picked(x, lambda v: v.reshape(_ints(target) or ())) if _ints(target) is not None else None
    before, behind = math.prod(x.shape[: x.axis]), math.prod(x.shape[x.axis + 1 :])
    counts = _counts(target).reshape(-1).tolist()
    sizes = target.value.reshape(-1).tolist()
    for i, size in enumerate(sizes):
        if size == 0 and not allowzero:  # the size of the axis of this number
            counts[i], sizes[i] = i == x.axis, x.shape[i] if i < len(x.shape) else 0
    if sum(counts) > 1:
        return None
    axis = counts.index(True) if any(counts) else None
    left = [i for i, size in enumerate(sizes) if size == -1]
    if axis is None:  # what is left must be the rows
        if len(left) != 1:
            return None
        axis, left = left[0], []
    others = [size for i, size in enumerate(sizes) if i != axis and i not in left]
    if len(left) > 1 or min(others, default=1) < 1 or (before * behind) % math.prod(others):
        return None
    for i in left:
        sizes[i] = before * behind // math.prod(others)
    if math.prod(sizes[:axis]) != before or math.prod(sizes[axis + 1 :]) != behind:
        return None
    # A view, or a copy in the order of the axes.
    return Travel(axis=axis, first=bool(x.first) and before == 1)


def flattened(given: Given, axis: int = 1) -> Travel | None:
    x = alone(given)
    if x is None or x.axis is None:
        return None
    at = axis + len(x.shape) if axis < 0 else axis
    return Travel(axis=0) if at == x.axis + 1 and math.prod(x.shape[: x.axis]) == 1 else None


def squeezed(given: Given, axes: Sequence[int] | None = None) -> Travel | None:
    x, along = with_axes(given, axes)
    if x is None:
        return None
    gone = axes_of(along, len(x.shape))
    if gone is None:  # all axes of size 1: that of one row too
        return None
    if x.axis is None:
        return _picked(x, lambda v: np.squeeze(v, gone))
    if x.axis in gone:
        return None
    return Travel(axis=x.axis - sum(i < x.axis for i in gone), first=x.first)


def unsqueezed(given: Given, axes: Sequence[int] | None = None) -> Travel | None:
    x, along = with_axes(given, axes)
    if x is None or along is None:
        return None
    new = axes_of(along, len(x.shape) + math.prod(along.shape))
    if new is None or len(set(new)) != len(new):
        return None
    if x.axis is None:
        return _picked(x, lambda v: np.expand_dims(v, new))
    kept = [i for i in range(len(x.shape) + len(new)) if i not in new]
    return Travel(axis=kept[x.axis], first=x.first)


def expanded(given: Given) -> Travel | None:
    x, shape = given
    if x is None or shape is None or shape.axis is not None or shape.value is None:
        return None
    sizes, counts = shape.value.reshape(-1).tolist(), _counts(shape).reshape(-1).tolist()
    rank = max(len(sizes), len(x.shape))
    there = [i + rank - len(sizes) for i, is_count in enumerate(counts) if is_count]
    if x.axis is None:
        if len(there) != 1 or not x.fixed:
            return None
        (axis,) = there
        own = axis - (rank - len(x.shape))
        return Travel(axis=axis, first=axis == 0) if own < 0 or x.shape[own] == 1 else None
    axis = x.axis + rank - len(x.shape)
    own = axis - (rank - len(sizes))
    stays = there == [axis] or (not there and (own < 0 or sizes[own] == 1))
    return Travel(axis=axis) if stays else None


def filled(given: Given, **attributes: Any) -> Travel | None:
    shape = given[0]
    if shape is None or shape.axis is not None or shape.value is None:
        return None
    there = np.flatnonzero(_counts(shape).reshape(-1)).tolist()
    return Travel(axis=there[0], first=there[0] == 0) if len(there) == 1 else None


# -- Parts -----------------------------------------------------------------------------------------------


def joined(given: Given, axis: int) -> Travel | None:
    present = [x for x in given if x is not None]
    rank = len(present[0].shape)
    rows = moving(present)
    if not rows:  # numbers, some of which are the number of rows
        if any(x.value is None or x.axis is not None for x in present) or not -rank <= axis < rank:
            return None
        values = [x.value for x in present if x.value is not None]
        return Travel(value=np.concatenate(values, axis), counts=np.concatenate([_counts(x) for x in present], axis))
    same = {x.axis for x in rows}
    if len(rows) < len(present) or len(same) != 1 or not -rank <= axis < rank or axis % rank in same:
        return None
    return Travel(axis=rows[0].axis)


def parted(given: Given, axis: int = 0, **attributes: Any) -> Travel | None:
    x = alone(given)
    if x is None or not -len(x.shape) <= axis < len(x.shape) or axis % len(x.shape) == x.axis:
        return None
    return Travel(axis=x.axis, first=x.first)


def cut(given: Given) -> Travel | None:
    x, starts, ends, axes, steps = (*given, None, None)[:5]
    if x is None:
        return None
    if axes is None and starts is not None:
        axes = Travel(starts.shape, value=np.arange(math.prod(starts.shape)))
    along, cuts = axes_of(axes, len(x.shape)), [_ints(v) for v in (starts, ends)]
    by = (1,) * len(along or ()) if steps is None else _ints(steps)
    if along is None or by is None or None in cuts or x.axis in along:
        return None
    if x.axis is not None:
        return Travel(axis=x.axis, first=x.first)
    if min(by, default=1) < 1:
        return None
    parts = [slice(None)] * len(x.shape)
    for at, start, end, step in zip(along, cuts[0] or (), cuts[1] or (), by, strict=True):
        parts[at] = slice(start, end, step)
    return _picked(x, lambda v: v[tuple(parts)])


def picked(given: Given, axis: int = 0) -> Travel | None:
    data, indices = given
    if data is None or indices is None or not -len(data.shape) <= axis < len(data.shape):
        return None
    at = axis % len(data.shape)
    if indices.axis is not None:  # rows of places in a table
        return Travel(axis=at + indices.axis) if data.fixed else None
    if not indices.fixed:
        return None
    if data.axis is None:
        where = indices.value
        return None if where is None else _picked(data, lambda v: v.take(where, axis=at))
    if at == data.axis:
        return None
    return Travel(axis=data.axis if data.axis < at else data.axis + len(indices.shape) - 1)


def triangle(given: Given, **attributes: Any) -> Travel | None:
    x = alone(given)
    return None if x is None or x.axis is None or x.axis >= len(x.shape) - 2 else Travel(axis=x.axis)
