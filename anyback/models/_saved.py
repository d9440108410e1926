"""From a file that a network was saved to, to the same network: its calls are checked as any hostile file is."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback.errors import AnybackError, WeightsError
from anyback.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    Linear,
    MaxPool,
    Permute,
    Pixels,
    Reshape,
    Scale,
    Sequential,
)
from anyback.models._arrays import Arrays
from anyback.models._saved_fields import (
    a_list,
    a_number,
    a_text,
    an_object,
    classes_of,
    input_shapes,
    parsed_json,
    signature_of,
)
from anyback.network import VERSION, Builder, Network
from anyback.ops import OPS, array_parameters, checked_attributes

__all__ = ["check_shapes", "saved_network"]

#: The layer of each op that has one: making it checks the arrays and the attributes of a call.
_LAYERS: dict[str, Any] = {
    "average_pool": AveragePool,
    "batch_norm": BatchNorm,
    "conv": Conv,
    "flatten": Flatten,
    "global_average_pool": GlobalAveragePool,
    "layer_norm": LayerNorm,
    "linear": Linear,
    "max_pool": MaxPool,
    "permute": Permute,
    "pixels": Pixels,
    "reshape": Reshape,
    "scale": Scale,
}
_FIELDS = ("version", "class", "inputs", "arrays", "calls", "outputs", "signature", "classes")
_MOST_CALLS = 10_000
_MOST_ARRAYS = 20_000
_MOST_NUMBERS = 1 << 40


def saved_network(text: str, arrays: Arrays) -> Network:
    """Return the network that a file holds, on NumPy.

    Parameters
    ----------
    text : str
        What the file says of the network: JSON, as `anyback.network` writes it.
    arrays : mapping of str to numpy.ndarray
        The arrays of the file.

    Returns
    -------
    Network
        A `Sequential` where one was saved.

    Raises
    ------
    WeightsError
        If the text is anything but a network of ops of the table that fit each other and the arrays.
    """
    try:
        return _network(_parsed(text), arrays)
    except AnybackError as error:
        raise WeightsError(f"its network: {error}") from None


def _parsed(text: str) -> dict[str, Any]:
    """Return JSON as plain data, of this version."""
    found = parsed_json(text)
    if not isinstance(found, dict):
        raise WeightsError("expected a JSON object")
    if type(version := found.get("version")) is not int:
        raise WeightsError("expected a version")
    if version != VERSION:
        raise WeightsError(
            f"it is kept in version {ascii(version)[:20]} of the format, and this anyback reads version {VERSION}; "
            "load it with the anyback that saved it, or a newer one"
        )
    return an_object(found, _FIELDS, "the network")


def _network(found: Mapping[str, Any], arrays: Arrays) -> Network:
    if found["class"] not in ("Network", "Sequential"):
        raise WeightsError(f"class: expected Network or Sequential, found {ascii(found['class'])[:40]}")
    inputs = input_shapes(found["inputs"])
    into, values = Builder(0), []
    for samples in inputs:
        sample = samples[-1] if samples else (None,)
        values.append(into.input(None if None in sample else (1, *(size or 0 for size in sample))))
    held = {into.array(x): x for x in _held(found["arrays"], arrays)}
    values += [number for number in held if number is not None]
    for place, call in enumerate(a_list(found["calls"], _MOST_CALLS, "calls"), start=1):
        values.append(_add_call(place, call, values, held, into))
    numbers = a_list(found["outputs"], len(values), "outputs")
    outputs = [values[a_number(i, len(values), "outputs")] for i in numbers]
    signature = signature_of(found["signature"], len(inputs), len(outputs))
    if signature is None and (len(inputs), len(outputs)) != (1, 1):
        raise WeightsError(f"expected names of {len(inputs)} inputs and {len(outputs)} outputs, found none")
    fields = into.fields(outputs, inputs)
    held_arrays, calls, _, ends = fields
    net = Network(held_arrays, calls, inputs, ends, signature, classes_of(found["classes"]))
    check_shapes(net)
    return _sequential(net) if found["class"] == "Sequential" else net


def _held(entries: Any, arrays: Arrays) -> list[np.ndarray]:
    """Return the arrays that the network holds, in its order."""
    found: dict[str, np.ndarray] = {}
    for item in a_list(entries, _MOST_ARRAYS, "arrays"):
        entry = an_object(item, ("name", "turned"), "arrays")
        name = a_text(entry["name"], "arrays")
        if name not in arrays or name in found:
            raise WeightsError(f"arrays: {ascii(name)[:60]} is {'there twice' if name in found else 'not in the file'}")
        if type(entry["turned"]) is not bool:
            raise WeightsError("arrays: expected turned to be true or false")
        found[name] = arrays[name].T if entry["turned"] else arrays[name]
    if extra := [name for name in arrays if name not in found]:
        raise WeightsError(f"the file holds arrays that the network does not: {', '.join(map(ascii, extra[:5]))[:200]}")
    return list(found.values())


def _add_call(place: int, call: Any, values: list[int], held: Mapping[int | None, Any], into: Builder) -> int:
    """Add a call once it is known to be one of an op of the table, and return the number of what it gives."""
    call = an_object(call, ("op", "arguments", "attributes", "name", "source"), f"call {place}")
    name = a_text(call["op"], f"call {place}")
    if name not in OPS:
        raise WeightsError(f"call {place}: unknown op {ascii(name)[:40]}; a newer anyback may know it")
    op, where = OPS[name], f"call {place}, {name}"
    parameters = array_parameters(op)
    given = a_list(call["arguments"], len(parameters), f"{where}: arguments")
    numbers = [None if i is None else values[a_number(i, len(values), where)] for i in given]
    may_be_absent = list(parameters.values())
    if any(i is None and not absent for i, absent in zip(numbers, may_be_absent, strict=False)):
        raise WeightsError(f"{where}: an argument is absent that the op needs")
    if not all(may_be_absent[len(numbers) :]):
        raise WeightsError(f"{where}: expected the arguments {', '.join(parameters)}, found {len(numbers)}")
    if not isinstance(call["attributes"], dict):
        raise WeightsError(f"{where}: expected attributes as an object")
    into.where = where
    try:
        attributes = checked_attributes(op, call["attributes"])
        behind = dict(list(zip(parameters, numbers, strict=False))[1:])
        if name in _LAYERS:
            if any(i is not None and i not in held for i in behind.values()):
                raise WeightsError("expected arrays of the file behind its first argument")
            fields = _LAYERS[name].__dataclass_fields__
            known = {field: value for field, value in attributes.items() if field in fields}
            _LAYERS[name](**{field: held.get(i) for field, i in behind.items()}, **known)
        return into.call(
            op,
            *numbers,
            name=a_text(call["name"], where, printable=True),
            source=a_text(call["source"], where),
            **attributes,
        )
    except AnybackError as error:
        raise WeightsError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
    except (TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError):  # of shapes that no layer checks
        raise WeightsError(f"{where}: its arguments do not fit the op") from None


def check_shapes(net: Network) -> None:
    """Raise an error where the calls do not take what the network says that it takes, or make too much of it."""
    usual = [samples[-1] if samples else (None,) for samples in net.inputs]
    for sample in net.inputs[0] if net.inputs else ():
        shapes = [None if None in s else (1, *(size or 0 for size in s)) for s in (sample, *usual[1:])]
        try:
            found = net.shapes(*shapes, n=1)
        except (TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError) as error:
            said = str(error) if isinstance(error, AnybackError) else "its calls do not fit each other"
            raise WeightsError(f"of an input of shape {sample}: {said}") from None
        for shape in found:
            if shape is not None and math.prod(size for size in shape if size) > _MOST_NUMBERS:
                raise WeightsError(f"of an input of shape {sample}: a value of more than 2**40 numbers")


@dataclass(frozen=True)
class _Part:
    """Calls in a row, which take one value of those before them and give one to those behind."""

    begin: int
    end: int
    given: int
    output: int


def _parts(net: Network) -> Iterator[_Part]:
    """Yield the calls of a network, cut wherever a single value goes on."""
    last_use = {i: place for place, call in enumerate(net.calls) for i in call.arguments}
    last_use[net.outputs[0]] = len(net.calls)
    begin, given, latest = 0, 0, last_use.get(0, -1)
    for place, (number, _) in enumerate(net.results()):
        if place + 1 == len(net.calls):
            yield _Part(begin, place + 1, given, net.outputs[0])
        elif latest <= place and number in last_use:
            yield _Part(begin, place + 1, given, number)
            begin, given, latest = place + 1, number, -1
        latest = max(latest, last_use.get(number, -1))


def _sequential(net: Network) -> Sequential:
    """Return a network of one input and one output as layers."""
    if net.signature is not None or len(net.inputs) != 1 or len(net.outputs) != 1:
        raise WeightsError("a Sequential has one input and one output, without names")
    parts = list(_parts(net))
    layers = [_layer(net, part) for part in parts]
    found = Sequential(*layers, classes=net.classes)
    if found.inputs != net.inputs and layers:  # its first layer was a network that said more than its calls do
        found = Sequential(_as_network(net, parts[0], net.inputs), *layers[1:], classes=net.classes)
    if found.inputs != net.inputs:
        raise WeightsError("the network does not take the samples that it says it takes")
    return found


def _layer(net: Network, part: _Part) -> Any:
    """Return calls as a layer of their op, as the op itself, or as a small network."""
    call = net.calls[part.begin]
    first, *others = call.arguments
    if part.end > part.begin + 1 or first != part.given or call.name or call.source:
        return _as_network(net, part)
    held = [net.array_of(i) for i in others]
    kind = _LAYERS.get(call.op.name)
    if kind is None and not others:
        return functools.partial(call.op, **call.attributes) if call.attributes else call.op
    if kind is None or call.attributes.keys() - kind.__dataclass_fields__.keys():
        return _as_network(net, part)
    if any(x is None and i is not None for x, i in zip(held, others, strict=True)):
        return _as_network(net, part)
    names = list(array_parameters(call.op))[1:]
    return kind(**dict(zip(names, held, strict=False)), **call.attributes)


def _as_network(net: Network, part: _Part, inputs: Any = None) -> Network:
    into = Builder()
    new: dict[int | None, int | None] = {None: None, part.given: 0}
    for place, call in enumerate(net.calls[part.begin : part.end], start=net.first_result + part.begin):
        for i in call.arguments:
            if (x := net.array_of(i)) is not None:
                new[i] = into.array(x)
        new[place] = into.copy(call, [new[i] for i in call.arguments])
    return Network(*into.fields([new[part.output] or 0], inputs))
