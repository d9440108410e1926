"""What is known of the types of a network's values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anyback import backends
from anyback.network._call import Call
from anyback.ops import known_op
from anyback.plan import Rows

__all__ = ["of_one_float", "value_types"]


def value_types(net: Any, dtypes: Sequence[str]) -> list[str | None]:
    """Return the name of the dtype of each value, by number; None where it is not known.

    Parameters
    ----------
    net : Network
        The network.
    dtypes : sequence of str
        The dtype of each input.

    Returns
    -------
    list of (str or None)
    """
    found: list[str | None] = [*dtypes, *(backends.dtype_name(x.dtype) for x in net.arrays)]
    default = "float32"
    if net.arrays:
        default = backends.dtype_name(backends.backend_of(net.arrays[0]).default_float(net.arrays[0]))
    for call in net.calls:
        known = [None if i is None else found[i] for i in call.arguments]
        result = None if call.op.rows >= Rows.ANY else call.op.casts.result(default, *known)
        found.extend([result] * call.results)
    return found


def of_one_float(types: Sequence[str | None], number: int, call: Call) -> bool:
    """Return whether an op of the table takes and gives one floating-point type here: then nothing is to be cast.

    `types` are those of all values, and `number` is that of the first that the call gives. An op that is not in the
    table may compute in another type, and its result is cast.
    """
    if not known_op(call.op):
        return False
    found = {types[i] for i in (*call.arguments, *range(number, number + call.results)) if i is not None}
    return found in ({"float32"}, {"float64"})
