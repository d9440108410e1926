"""The summary of a network: a line for each call, for one sample."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anyback import _show
from anyback.network._call import Call, known, taken
from anyback.network._shapes import measured_shapes, usual_shapes
from anyback.plan import Rows, Shape

#: Ops that compute nothing: they return a constant, or their input on another device or in another type.
_MOVES = ("constant", "received", "to_device", "to_host")

__all__ = ["Summary", "summary_of", "table_of", "trained_arguments"]


@dataclass(frozen=True)
class Summary:
    """One call in numbers: its shapes for one sample, its parameters and its multiply-adds.

    Parameters
    ----------
    name : str
        The name of the op, or of the call where it has its own.
    input, output : tuple of int or None
        Shapes of one sample; None where they are not known.
    parameters : int
        How many trained numbers the call uses; an array that several calls use counts at the first.
    multiply_adds : int
        How many products of numbers the call adds up.
    """

    name: str
    input: Shape | None
    output: Shape | None
    parameters: int
    multiply_adds: int

    def cells(self) -> tuple[str, ...]:
        """Return the fields as texts; empty where a field is 0 or not known."""
        shapes = ["×".join(map(str, shape)) if shape else "" for shape in (self.input, self.output)]
        return (self.name, *shapes, *(f"{count:,}" if count else "" for count in (self.parameters, self.multiply_adds)))


def trained_arguments(call: Call) -> list[int]:
    """Return the numbers of the arguments that were trained; for a function of the user's, of all arguments."""
    if call.op.trained:
        names = list(inspect.signature(call.op.compute).parameters)
        return [i for name, i in zip(names, call.arguments, strict=False) if i is not None and name in call.op.trained]
    return [i for i in call.arguments if i is not None] if call.op.rows is Rows.UNKNOWN else []


def summary_of(net: Any) -> tuple[Summary, ...]:
    """Return the summary of each call of a network for one sample."""
    shapes = _seen_shapes(net)
    counted: set[int] = set()  # an array that is used twice counts once
    rows = []
    for number, call in net.results():
        trained = [i for i in trained_arguments(call) if net.array_of(i) is not None and i not in counted]
        counted.update(trained)
        given = [None if i is None else shapes[i] for i in call.arguments]
        given = given or [None]  # a constant takes no argument
        if given[0] is None and (sample := taken(call.op, given, call.attributes)):
            given[0] = (1, *sample)
        rows.append(
            Summary(
                name=call.name or call.op.name,
                input=None if given[0] is None else tuple(given[0][1:]),
                output=None if shapes[number] is None else tuple(shapes[number][1:]),
                parameters=sum(math.prod(shapes[i]) for i in trained),
                multiply_adds=0 if given[0] is None else call.op.multiply_adds(*given, **call.attributes),
            )
        )
    return tuple(rows)


def _seen_shapes(net: Any) -> list[Any]:
    """Return the whole shapes of all values for one usual sample; those that ops do not say are found by computing."""
    shapes = usual_shapes(net)
    samples = [known(sample[-1]) if sample else None for sample in net.inputs]
    if net.rows is not Rows.ANY or net.backend is None or None in samples or None not in shapes:
        return shapes
    types = [port.dtype for port in net.signature.inputs] if net.signature is not None else ["float32"] * len(samples)
    try:
        inputs = [((1, *sample), dtype) for sample, dtype in zip(samples, types, strict=True) if sample is not None]
        return measured_shapes(net, net.backend, inputs)
    except Exception:  # of any library: the shapes that are known still make a table
        return shapes


def table_of(rows: Sequence[Summary], title: str) -> _show.Table:
    """Return the table of a summary, with the sums in the last line."""
    total = Summary("total", None, None, sum(r.parameters for r in rows), sum(r.multiply_adds for r in rows))
    header = ("layer", "input", "output", "parameters", "multiply-adds")
    return _show.Table(header, [row.cells() for row in (*rows, total) if row.name not in _MOVES], title)
