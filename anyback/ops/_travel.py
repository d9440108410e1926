"""How rows travel through the values of a network: the proof that a row of the output depends on its own row alone.

An op that is no op of rows by itself, such as a reshape to any shape, may say where the rows of its arguments are in
its result. What is not surely true is left unsaid: then the network is asked by an experiment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from anyback.plan import Shape

__all__ = ["Given", "Travel", "by_first_axis", "moving", "one_by_one", "together"]


@dataclass(frozen=True, eq=False)
class Travel:
    """What is known of a value, for any number of rows.

    Parameters
    ----------
    shape : tuple of int
        Its shape at some number of rows. No other axis than that of the rows has another size at another number.
    axis : int or None
        The axis of the rows: what lies at place i of it depends on row i of the input and on nothing else. None is a
        value that does not depend on the input, nor, but for `counts`, on how many rows there are.
    first : bool or None
        Whether in memory the rows lie one behind the other, so that the distances within a row do not depend on how
        many there are. None, of a result, is that they do where its arguments' do, and no axis is before theirs.
    joint : bool
        Whether a library may compute a row in another way at another place, or among another number of rows.
    value : numpy.ndarray or None
        The numbers of a value on the host, where they are known.
    counts : numpy.ndarray or None
        Of bool: which of these numbers are the number of rows; None is none of them.
    """

    shape: Shape = ()
    axis: int | None = None
    first: bool | None = None
    joint: bool = False
    value: Any = None
    counts: Any = None

    @property
    def fixed(self) -> bool:
        """Whether it is the same for any rows, and for any number of them."""
        return self.axis is None and (self.counts is None or not self.counts.any())

    def of_rows(self, rows: int) -> Shape:
        """Return the shape for some number of rows."""
        return self.shape if self.axis is None else (*self.shape[: self.axis], rows, *self.shape[self.axis + 1 :])


#: What is known of the arguments of an op, in order; None is an absent one.
Given: TypeAlias = Sequence[Travel | None]


def moving(given: Given) -> list[Travel]:
    """Return what of some values depends on rows."""
    return [x for x in given if x is not None and x.axis is not None]


def together(given: Given, **attributes: Any) -> Travel | None:
    """Say where the rows are in a result each number of which comes of the numbers at its place: all are broadcast."""
    rows, present = moving(given), [x for x in given if x is not None]
    behind = {len(x.shape) - (x.axis or 0) for x in rows}
    if len(behind) != 1 or not all(x.fixed for x in present if x.axis is None):
        return None
    (back,) = behind
    if any(x.axis is None and x.shape[-back:][:1] not in ((), (1,)) and len(x.shape) >= back for x in present):
        return None  # each row gets other numbers of it
    return Travel(axis=max(len(x.shape) for x in present) - back)


def one_by_one(given: Given, **attributes: Any) -> Travel | None:
    """Say that each number of the first argument becomes one number, with the help of single numbers."""
    first, *others = given
    if (
        first is None
        or first.axis is None
        or not all(x is None or (x.fixed and math.prod(x.shape) == 1) for x in others)
    ):
        return None
    return Travel(axis=first.axis)


def by_first_axis(given: Given, **attributes: Any) -> Travel | None:
    """Say that the rows stay on the first axis, where the first argument alone has them, and has them there."""
    first, *others = given
    if first is None or first.axis != 0 or not all(x is None or x.fixed for x in others):
        return None
    return Travel(axis=0, joint=not first.first)
