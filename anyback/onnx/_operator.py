"""The declaration of an ONNX operator: a function with the operator's name and parameters."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np

from anyback.errors import DataError
from anyback.onnx._rules import RULES
from anyback.ops import Op, Rows, one_by_one, same
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


# The annotations of parameters that must be known before the operator runs. Every other positional parameter is an
# array of the library that computes.
Ints = Annotated[tuple[int, ...], "ints"]  # a tensor of integers of one axis or none, or an attribute
Floats = Annotated[tuple[float, ...], "floats"]
Host = Annotated[np.ndarray, "host"]  # a tensor of any type, as a NumPy array on the host
TypeName = Annotated[str, "type"]  # a data type by its name, such as "float32"; ONNX writes a number
Body = Annotated[Subgraph, "body"]
Strings = tuple[str, ...]  # an attribute
# An array that arrives with its last two axes swapped. Weights are swapped once, when the file is loaded.
Turned = Annotated[Any, "turned"]
# An array that `prepare` makes of the attributes when the file is loaded: an argument behind ONNX's inputs.
Prepared = Annotated[Any, "prepared"]


def _type_unknown(default: str, *names: str | None) -> None:
    return None


#: Arguments of every type pass unchanged, and the type of the result is not known beforehand.
_AS_THEY_COME = Casts(None, _type_unknown)
_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_KINDS = ("ints", "floats", "host", "type", "body", "prepared", "turned")


@dataclass(frozen=True)
class Parameter:
    """A parameter of an operator.

    Parameters
    ----------
    name : str
        The name, as ONNX has it.
    kind : str
        ``"array"``; or, for a value that must be known, ``"ints"``, ``"floats"``, ``"host"``, ``"type"`` or ``"body"``;
        or ``"prepared"``, an array that is made of the attributes.
    default : value
        Its value where it is absent; `inspect.Parameter.empty` where it is required.
    turned : bool
        Whether it is an array that arrives with its last two axes swapped.
    """

    name: str
    kind: str
    default: Any
    turned: bool = False

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator of ONNX, from one version of its domain on.

    Parameters
    ----------
    op : Op
        The op that computes it.
    name, domain : str
        The names, as ONNX has them; the domain of ONNX's own operators is empty.
    since : int
        The first version of the domain that this definition holds for.
    inputs : tuple of Parameter
        The inputs, in order.
    variadic : Parameter or None
        The parameter for any number of further inputs; None where there are none.
    attributes : mapping of str to Parameter
        The attributes by name.
    several : bool
        Whether the function takes `outputs`, the number of outputs that are used; above 1 it returns a tuple of them.
    host : bool
        Whether the result is on the host, since it depends on shapes alone.
    random : bool
        Whether each call gives another result.
    loop : bool
        Whether it is a loop. It has one body, whose inputs are the number of the step, a condition, and the values that
        are given at first as the third input and those behind it. The function takes `endless`, whether the body never
        ends the loop, and `condition_on_host`, whether the body takes the condition on the host.
    wanted : bool
        Whether the function takes `wanted`, a tuple of bools: which outputs are used. It returns None for the others.
    held : bool
        Whether the function takes `held`, the ONNX types of inputs that arrays hold in another type.
    multiplied : bool
        Whether the function first multiplies its first input, as rows, by the array `weight` of `prepare`. That product
        may then be a call of its own: the function is given the product, and None for the weight.
    prepare : callable or None
        A function that is called once for a node, with the attributes by name. It returns the arrays by the names of
        the parameters in `prepared`, and the attributes with which the operator's function is called.
    prepared : tuple of Parameter
        The parameters behind the inputs, in order, for the arrays of `prepare`; one that it leaves out has its default.
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


#: Attributes of old versions that say which memory may be overwritten; no result depends on them, so they are ignored.
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
        The operator's name; None is the name of the function.
    domain : str
        The operator's domain.
    since : int
        The first version of the domain that the function holds for.
    host : bool
        Whether the result is on the host.
    random : bool
        Whether each call gives another result.
    loop : bool
        Whether it is a loop; see `Operator`.
    rows : Rows
        `Rows.UNKNOWN` for an operator that cannot be traced, since the shape of its result depends on values.
    elementwise : bool
        Whether each number of the result comes from the number of the first input at the same place alone.
    shape : callable or None
        The op's `shape`; see `Op`. None is an unknown shape, or that of the first input where it is elementwise.
    multiplied : bool
        Whether the first input is multiplied by a weight of `prepare`; see `Operator`.
    prepare : callable or None
        A function whose keyword-only parameters are ONNX's attributes, for attributes that must become arrays; it is
        called once, when the file is loaded; see `Operator`. The NumPy arrays that it returns become arrays of the
        network; the attributes that it returns can be pickled.
    **facts
        Facts of the op.
    """

    def declared(compute: Callable[..., Any]) -> Op:
        parameters = _parameters(compute)
        known, depends = (same, Rows.ALONE) if elementwise else (shape or _shape_unknown, rows)
        travels = None if domain else RULES.get(compute.__name__, one_by_one if elementwise else None)
        op = Op(compute.__name__, compute, known, depends, casts=_AS_THEY_COME, travels=travels, **facts)
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
    """Return the first `outputs` results of an operator: a tuple, or for one output the result itself.

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
    """Return the kind of a parameter by its annotation."""
    for choice in (hint, *typing.get_args(hint)):
        said = getattr(choice, "__metadata__", ())
        if said and said[0] in _KINDS:
            return str(said[0])
    return "array"


def _shape_unknown(*shapes: Any, **attributes: Any) -> None:
    return None
