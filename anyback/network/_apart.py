"""Whether the rows of a network may be computed apart, proved call by call."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from anyback.backends import Backend
from anyback.ops import Given, Op, Travel, by_first_axis, moving
from anyback.plan import Rows, Shape

__all__ = ["proved_rows", "travels_in"]


def travels_in(net: Any, shapes: Sequence[Shape | None]) -> list[Travel] | None:
    """Return where the rows are in each value of a network, by number; None where that is not sure.

    Parameters
    ----------
    net : Network
        The network.
    shapes : sequence of (tuple of int or None)
        The whole shape of each value for some number of rows above 1; None where it is no array.
    """
    ports = () if net.signature is None else net.signature.inputs
    if len(net.inputs) != 1 or any(port.host for port in ports) or not shapes[0]:
        return None
    known = [Travel(shapes[0], axis=0, first=True), *(Travel(tuple(x.shape)) for x in net.arrays)]
    for number, call in net.results():
        given = [None if i is None else known[i] for i in call.arguments]
        for result in range(number, number + call.results):
            found = _result(call.op, given, call.attributes, shapes[result], known[0].shape[0])
            if found is None:
                return None
            known.append(found)
    return known


def proved_rows(net: Any, backend: Backend, travels: Sequence[Travel], checked: Collection[int]) -> Rows:
    """Return what is proved of how a row of the outputs depends on the rows of the input.

    Parameters
    ----------
    net : Network
        The network.
    backend : Backend
        What computes.
    travels : sequence of Travel
        As of `travels_in`.
    checked : collection of int
        The numbers of products whose way was chosen by a check.

    Returns
    -------
    Rows
        `Rows.ALONE`: on its own row alone, by calls that compute no other row or give each row its bits at any place.
        `Rows.PRODUCT`: on its own row alone. `Rows.ANY`: nothing is proved.
    """
    if any(travels[i].axis != 0 for i in net.outputs):
        return Rows.ANY
    products = {number for number, call in net.results() if call.op.rows is Rows.PRODUCT}
    steady = backend.rows_apart and products <= set(checked) and not any(value.joint for value in travels)
    return Rows.ALONE if steady else Rows.PRODUCT


def _result(op: Op, given: Given, attributes: Mapping[str, Any], shape: Shape | None, rows: int) -> Travel | None:
    """Return what is known of the first result of an op, of this shape for `rows` rows; None where nothing is.

    Parameters
    ----------
    op : Op
        The op.
    given : sequence of (Travel or None)
        What is known of its arguments; None is an absent one.
    attributes : mapping of str to value
        Its attributes.
    shape : tuple of int or None
        The shape of the result; None where it is no array.
    rows : int
        How many rows there are.
    """
    rule = op.travels or (by_first_axis if op.rows <= Rows.PRODUCT else None)
    if rule is None or shape is None:
        return None
    if all(x is None or x.fixed for x in given):
        return Travel(shape, value=_value(op, given, attributes, shape))
    try:
        found: Travel | None = rule(given, **attributes)
    except Exception:  # of arguments that the op will refuse, or an attribute that the rule does not know
        return None
    if found is None:
        return None
    if found.axis is None:  # of an argument that is not fixed: numbers that depend on how many rows there are
        return None if found.value is None else dataclasses.replace(found, shape=shape)
    if not 0 <= found.axis < len(shape) or shape[found.axis] != rows:
        return None
    first = found.first
    if first is None:
        first = all(x.first for x in moving(given)) and math.prod(shape[: found.axis]) == 1
    return dataclasses.replace(found, shape=shape, first=first)


#: The most numbers of a value that is computed for the proof: the sizes of a shape, and what is made of them.
_FEW = 64


def _value(op: Op, given: Given, attributes: Mapping[str, Any], shape: Shape) -> np.ndarray | None:
    """Return a small value on the host that comes of known values alone."""
    values = [None if x is None else x.value for x in given]
    if math.prod(shape) > _FEW or any(x is not None and v is None for x, v in zip(given, values, strict=True)):
        return None
    try:
        with np.errstate(all="ignore"):
            found = op.compute(*values, **attributes)
    except Exception:  # of whatever it computes: the network will say it
        return None
    return np.asarray(found) if isinstance(found, (np.ndarray, np.generic)) else None
