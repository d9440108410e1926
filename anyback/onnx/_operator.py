"""How an ONNX operator is declared: a function that is named and signed as the operator."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np

from anyback.errors import DataError
from anyback.ops import Op, Rows, same
from anyback.plan import Casts

__all__ = [
    "HINTS",
    "OPERATORS",
    "Body",
    "Floats",
    "Host",
    "Ints",
    "Operator",
    "Parameter",
    "Prepared",
    "Strings",
    "Subgraph",
    "Turned",
    "TypeName",
    "find",
    "operator",
    "several",
]


class Subgraph(Protocol):
    """A subgraph, as the function of an operator calls it."""

    @property
    def outer(self) -> Sequence[Any]:
        """The values of the outer network that it uses."""

    @property
    def outputs(self) -> int:
        """How many outputs it has."""

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Return the outputs."""


# What a parameter is that must be known before the operator runs; every other positional parameter is an array of the
# library that computes.
Ints = Annotated[tuple[int, ...], "ints"]  # a tensor of integers of one axis or none, or an attribute
Floats = Annotated[tuple[float, ...], "floats"]
Host = Annotated[np.ndarray, "host"]  # a tensor of any type, as a NumPy array on the host
TypeName = Annotated[str, "type"]  # a data type by its name, such as "float32"; ONNX writes a number
Body = Annotated[Subgraph, "body"]
Strings = tuple[str, ...]  # an attribute
# An array that arrives with its last two axes swapped; weights once, so that their rows lie together in memory.
Turned = Annotated[Any, "turned"]
# An array that `prepare` makes of the attributes, once: no input of ONNX's, but an argument behind them.
Prepared = Annotated[Any, "prepared"]


def _type_unknown(default: str, *names: str | None) -> None:
    return None


#: Every type passes as it is; what comes out is not known beforehand.
_AS_THEY_COME = Casts(None, _type_unknown)
_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_KINDS = ("ints", "floats", "host", "type", "body", "prepared", "turned")


@dataclass(frozen=True)
class Parameter:
    """A parameter of an operator.

    Parameters
    ----------
    name : str
        As ONNX names it.
    kind : str
        ``"array"``, or what must be known of it: ``"ints"``, ``"floats"``, ``"host"``, ``"type"`` or ``"body"``; or
        ``"prepared"``, an array that is made of the attributes.
    default : value
        Its value where it is absent; `inspect.Parameter.empty` where it must be there.
    turned : bool
        Whether it is an array that arrives with its last two axes swapped.
    """

    name: str
    kind: str
    default: Any
    turned: bool = False

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
    loop : bool
        Whether it has one body, and its third input and those behind are what the body is given at the first step,
        behind the number of the step and a condition. The function is told whether the body never ends the loop, and
        whether the body takes the condition on the host.
    wanted : bool
        Whether the function may be told, by a tuple of bools, which of the outputs anyone uses: it returns None for the
        others.
    held : bool
        Whether the function is told, by a tuple of names, the types of its inputs that arrays hold in another type.
    multiplied : bool
        Whether its first input is multiplied, as rows, by the array `weight` of `prepare` before anything else. That
        product may then be a call of its own: the function is given the product, and None for the weight.
    prepare : callable or None
        Takes the attributes by name and returns what they become, once for a node: the arrays by the names of the
        parameters in `prepared`, and the attributes with which the function is called in place of ONNX's.
    prepared : tuple of Parameter
        Parameters behind the inputs, in order: the arrays that `prepare` makes. One that it leaves out has its default.
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
    loop: bool = False
    wanted: bool = False
    held: bool = False
    multiplied: bool = False
    prepare: Callable[..., tuple[dict[str, np.ndarray], dict[str, Any]]] | None = None
    prepared: tuple[Parameter, ...] = ()

    def input(self, place: int) -> Parameter | None:
        """Return the parameter of an input by its place; None where there is none."""
        return self.inputs[place] if place < len(self.inputs) else self.variadic

    def ready(self, attributes: Mapping[str, Any]) -> tuple[tuple[np.ndarray | None, ...], dict[str, Any]]:
        """Return the arrays that follow the inputs, and the attributes to call the function with.

        Every input must be given to a function with such arrays, an absent one as None or its default.
        """
        if self.prepare is None:
            return (), dict(attributes)
        arrays, rest = self.prepare(**attributes)
        return tuple(arrays.get(p.name, p.default if not p.required else None) for p in self.prepared), rest


#: Attributes of old versions that say which memory may be used again: no result depends on them.
HINTS = ("consumed_inputs",)

#: The operators by domain and name, each by its first version.
OPERATORS: dict[tuple[str, str], dict[int, Operator]] = {}


def find(domain: str, name: str, version: int) -> Operator | None:
    """Return the operator with the greatest first version that is not above `version`; None where there is none."""
    versions, last = OPERATORS.get((domain, name), {}), 0
    for since in versions:
        if last < since <= version:
            last = since
    return versions.get(last)


def operator(
    *,
    name: str | None = None,
    domain: str = "",
    since: int = 1,
    host: bool = False,
    random: bool = False,
    loop: bool = False,
    rows: Rows = Rows.ANY,
    elementwise: bool = False,
    shape: Callable[..., Any] | None = None,
    multiplied: bool = False,
    prepare: Callable[..., tuple[dict[str, np.ndarray], dict[str, Any]]] | None = None,
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
    loop : bool
        Whether its body is that of a loop; see `Operator`.
    rows : Rows
        `Rows.UNKNOWN` for an operator whose result has a shape that depends on values: it cannot be traced.
    elementwise : bool
        Whether each number of the result comes from the number of the first input at the same place alone.
    shape : callable or None
        What is known of the shape of the result; see `Op`. None is nothing, or all where it is elementwise.
    multiplied : bool
        Whether the first input is multiplied by a table; see `Operator`.
    prepare : callable or None
        A function whose keyword-only parameters are ONNX's attributes, where they are tables that must become arrays:
        it is called once, when the file is loaded; see `Operator`. NumPy arrays of numbers that it returns become
        arrays of the network; what it returns as attributes can be pickled.
    **facts
        Of the op.
    """

    def declared(compute: Callable[..., Any]) -> Op:
        parameters = _parameters(compute)
        known, depends = (same, Rows.ALONE) if elementwise else (shape or _shape_unknown, rows)
        op = Op(compute.__name__, compute, known, depends, casts=_AS_THEY_COME, **facts)
        compute.__qualname__ += ".compute"  # where pickle finds the function, now that the op has its name
        given = parameters if prepare is None else _parameters(prepare)
        inner = ("condition_on_host", "endless", "held", "outputs", "wanted")
        found = Operator(
            op=op,
            name=name or compute.__name__,
            domain=domain,
            since=since,
            inputs=tuple(p for p, kind in parameters if kind is _POSITIONAL and p.kind != "prepared"),
            variadic=next((p for p, kind in parameters if kind is inspect.Parameter.VAR_POSITIONAL), None),
            attributes={
                p.name: p for p, kind in given if kind is inspect.Parameter.KEYWORD_ONLY and p.name not in inner
            },
            several=any(p.name == "outputs" for p, _ in parameters),
            host=host,
            random=random,
            loop=loop,
            wanted=any(p.name == "wanted" for p, _ in parameters),
            held=any(p.name == "held" for p, _ in parameters),
            multiplied=multiplied,
            prepare=prepare,
            prepared=tuple(p for p, _ in parameters if p.kind == "prepared"),
        )
        versions = OPERATORS.setdefault((domain, found.name), {})
        if since in versions:
            raise TypeError(f"{domain}.{found.name} of version {since} is declared twice")
        versions[since] = found
        return op

    return declared


def several(results: tuple[Any, ...], outputs: int) -> Any:
    """Return the first `outputs` of an operator's results: one result as it is, more as a tuple.

    Raises
    ------
    DataError
        If there are fewer.
    """
    if outputs > len(results):
        raise DataError(f"it gives {len(results)} outputs, and is asked for {outputs}")
    return results[0] if outputs == 1 else results[:outputs]


def _parameters(compute: Callable[..., Any]) -> list[tuple[Parameter, Any]]:
    hints = typing.get_type_hints(compute, include_extras=True)
    found = []
    for p in inspect.signature(compute).parameters.values():
        kind = _kind(hints.get(p.name))
        turned = kind == "turned"
        found.append((Parameter(p.name, "array" if turned else kind, p.default, turned), p.kind))
    return found


def _kind(hint: Any) -> str:
    """Return what an annotation says must be known of a parameter."""
    for choice in (hint, *typing.get_args(hint)):
        said = getattr(choice, "__metadata__", ())
        if said and said[0] in _KINDS:
            return str(said[0])
    return "array"


def _shape_unknown(*shapes: Any, **attributes: Any) -> None:
    return None
