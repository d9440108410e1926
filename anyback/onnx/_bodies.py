"""Operators whose parameters are not all arrays: some are known values, some are bodies that use outer values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback.network import Call, Network
from anyback.onnx._plumbing import on_host
from anyback.onnx._travels import Prepared
from anyback.ops import Op

__all__ = ["Closure", "converted", "known_parameter", "prepared"]


@dataclass(frozen=True, eq=False)
class Closure:
    """A body, with the values of the outer network that it uses.

    Parameters
    ----------
    net : Network
        Takes the body's own inputs, then the outer values.
    outer : sequence of array
        The outer values.
    """

    net: Network
    outer: Sequence[Any]

    @property
    def inputs(self) -> int:
        """The number of the body's own inputs."""
        return len(self.net.inputs) - len(self.outer)

    @property
    def outputs(self) -> int:
        """The number of outputs."""
        return len(self.net.outputs)

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Return the outputs for the body's own inputs."""
        return self.net.program([*inputs, *self.outer])


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Calls an operator's function, some of whose parameters are known values.

    Parameters
    ----------
    compute : callable
        The operator's function.
    places : tuple
        For each positional parameter of the function: the place of its argument and the kind that it is converted to,
        or None and the known value.
    outer : mapping of str to slice
        For each body, by the name of its parameter, the places of its outer values among the arguments.
    """

    compute: Any
    places: tuple[tuple[int | None, Any], ...]
    outer: Mapping[str, slice]

    def __call__(self, *arguments: Any, **attributes: Any) -> Any:
        given = [value if place is None else converted(arguments[place], value) for place, value in self.places]
        for name, where in self.outer.items():
            attributes[name] = Closure(attributes[name], arguments[where])
        return self.compute(*given, **attributes)


def prepared(op: Op, places: Sequence[tuple[int | None, Any]], outer: Mapping[str, slice], **facts: Any) -> Op:
    """Return an operator's op for one call: see `_Prepared`."""
    travels = None if op.travels is None or outer else Prepared(op.travels, tuple(places))
    compute = _Prepared(op.compute, tuple(places), dict(outer))
    return dataclasses.replace(op, compute=compute, travels=travels, **facts)


def known_parameter(call: Call, place: int) -> Any:
    """Return the known value of a positional parameter of an operator's function; None where it is an argument."""
    places = call.op.compute.places if isinstance(call.op.compute, _Prepared) else ()
    return places[place][1] if place < len(places) and places[place][0] is None else None


def converted(x: Any, kind: str) -> Any:
    """Return a value in the form of a parameter's kind: an array as it is, a tuple of numbers, or a NumPy array."""
    if kind == "array" or x is None:
        return x
    x = on_host(x)
    if kind == "ints":
        return tuple(map(int, np.reshape(x, -1).tolist()))
    return tuple(map(float, np.reshape(x, -1))) if kind == "floats" else np.asarray(x)
