"""How an ONNX operator is declared: a function that is named and signed as the operator."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from anyback.ops import KEEP, Op, Rows

__all__ = [
    "OPERATORS",
    "Body",
    "Floats",
    "Host",
    "Ints",
    "Operator",
    "Parameter",
    "TypeName",
    "find",
    "operator",
    "several",
]

# What a parameter is that must be known before the operator runs; every other positional parameter is an array of the
# library that computes.
Ints = Annotated[tuple[int, ...], "ints"]  # a tensor of integers of one axis or none, or an attribute
Floats = Annotated[tuple[float, ...], "floats"]
Host = Annotated[np.ndarray, "host"]  # a tensor of any type, as a NumPy array on the host
TypeName = Annotated[str, "type"]  # a data type by its name, such as "float32"; ONNX writes a number
Body = Annotated[Callable[..., tuple[Any, ...]], "body"]  # a subgraph: takes arrays and returns a tuple of arrays

_KINDS = ("ints", "floats", "host", "type", "body")


@dataclass(frozen=True)
class Parameter:
    """A parameter of an operator.

    Parameters
    ----------
    name : str
        As ONNX names it.
    kind : str
        ``"array"``, or what must be known of it: ``"ints"``, ``"floats"``, ``"host"``, ``"type"`` or ``"body"``.
    default : value
        Its value where it is absent; `inspect.Parameter.empty` where it must be there.
    """

    name: str
    kind: str
    default: Any

    @property
    def required(self) -> bool:
        """Whether it must be there."""
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator of ONNX, from one version of its domain on.

    Parameters
    ----------
    op : Op
        What computes it.
    name, domain : str
        As ONNX names them; the domain of ONNX's own operators is empty.
    since : int
        The first version of the domain in which it means this.
    inputs : tuple of Parameter
        The inputs, in order.
    variadic : Parameter or None
        What any number of further inputs are.
    attributes : mapping of str to Parameter
        The attributes by name.
    several : bool
        Whether the function is told how many outputs are asked for, and returns a tuple of them if more than one.
    host : bool
        Whether the result is on the host: what depends on shapes alone.
    random : bool
        Whether it gives another result each time.
    """

    op: Op
    name: str
    domain: str
    since: int
    inputs: tuple[Parameter, ...]
    variadic: Parameter | None
    attributes: dict[str, Parameter]
    several: bool
    host: bool = False
    random: bool = False

    def input(self, place: int) -> Parameter | None:
        """Return the parameter of an input by its place; None where there is none."""
        return self.inputs[place] if place < len(self.inputs) else self.variadic


#: The operators by domain and name, each by its first version.
OPERATORS: dict[tuple[str, str], dict[int, Operator]] = {}


def find(domain: str, name: str, version: int) -> Operator | None:
    """Return the operator with the greatest first version that is not above `version`; None where there is none."""
    versions = OPERATORS.get((domain, name), {})
    known = [since for since in versions if since <= version]
    return versions[max(known)] if known else None


def operator(
    *,
    name: str | None = None,
    domain: str = "",
    since: int = 1,
    host: bool = False,
    random: bool = False,
    rows: Rows = Rows.ANY,
    **facts: Any,
) -> Callable[[Callable[..., Any]], Op]:
    """Return a decorator that declares an operator and returns an op; see `Operator`, and `Op` for the facts.

    Parameters
    ----------
    name : str or None
        The operator's name; None is that of the function.
    domain : str
        The operator's domain.
    since : int
        The first version of the domain in which it means what the function computes.
    host : bool
        Whether the result is on the host.
    random : bool
        Whether it gives another result each time.
    rows : Rows
        `Rows.UNKNOWN` for an operator whose result has a shape that depends on values: it cannot be traced.
    **facts
        Of the op.
    """

    def declared(compute: Callable[..., Any]) -> Op:
        parameters = _parameters(compute)
        op = Op(compute.__name__, compute, _shape_unknown, rows=rows, casts=KEEP, **facts)
        compute.__qualname__ += ".compute"  # where pickle finds the function, now that the op has its name
        found = Operator(
            op=op,
            name=name or compute.__name__,
            domain=domain,
            since=since,
            inputs=tuple(p for p, kind in parameters if kind is inspect.Parameter.POSITIONAL_OR_KEYWORD),
            variadic=next((p for p, kind in parameters if kind is inspect.Parameter.VAR_POSITIONAL), None),
            attributes={
                p.name: p
                for p, kind in parameters
                if kind is inspect.Parameter.KEYWORD_ONLY and p.name != "outputs"
            },
            several=any(p.name == "outputs" for p, _ in parameters),
            host=host,
            random=random,
        )
        versions = OPERATORS.setdefault((domain, found.name), {})
        if since in versions:
            raise TypeError(f"{domain}.{found.name} of version {since} is declared twice")
        versions[since] = found
        return op

    return declared


def several(results: tuple[Any, ...], outputs: int) -> Any:
    """Return the first `outputs` of an operator's results: one result as it is, more as a tuple."""
    return results[0] if outputs == 1 else results[:outputs]


def _parameters(compute: Callable[..., Any]) -> list[tuple[Parameter, Any]]:
    hints = typing.get_type_hints(compute, include_extras=True)
    return [
        (Parameter(p.name, _kind(hints.get(p.name)), p.default), p.kind)
        for p in inspect.signature(compute).parameters.values()
    ]


def _kind(hint: Any) -> str:
    """Return what an annotation says must be known of a parameter."""
    for choice in (hint, *typing.get_args(hint)):
        said = getattr(choice, "__metadata__", ())
        if said and said[0] in _KINDS:
            return str(said[0])
    return "array"


def _shape_unknown(*shapes: Any, **attributes: Any) -> None:
    return None
