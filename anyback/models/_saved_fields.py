"""The fields of what a file says of a network: each of a known type and a bounded size, or one error in one line."""

from __future__ import annotations

import collections
import json
from collections.abc import Collection
from typing import Any

from anyback.errors import WeightsError
from anyback.network import Port, Sample, Signature

__all__ = ["a_list", "a_number", "a_text", "an_object", "classes_of", "input_shapes", "parsed_json", "signature_of"]

_LONGEST_TEXT = 1_000
_MOST_AXES = 32
_MOST_SAMPLES = 16
_MOST_PORTS = 1_000
_MOST_CLASSES = 1 << 20
_LARGEST_SIZE = 1 << 31


def parsed_json(text: str) -> Any:
    """Return JSON as plain data: without names that are there twice, and without what is no number of JSON."""
    try:
        # Nesting ends where Python's own does; what is not of a known form is refused by those who ask, at any depth.
        return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refused_constant)
    except WeightsError:  # which is a ValueError too
        raise
    except (ValueError, RecursionError):
        raise WeightsError("expected JSON") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = collections.Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise WeightsError(f"{ascii(twice)[:40]} is there twice")
    return found


def _refused_constant(name: str) -> Any:
    raise WeightsError(f"{name} is no number of JSON")


def an_object(value: Any, names: Collection[str], where: str) -> dict[str, Any]:
    """Return an object that has these names and no other."""
    if not isinstance(value, dict) or value.keys() != set(names):
        raise WeightsError(f"{where}: expected an object with {', '.join(names)}")
    return value


def a_list(value: Any, most: int, where: str) -> list[Any]:
    """Return a list of at most so many values."""
    if not isinstance(value, list) or len(value) > most:
        raise WeightsError(f"{where}: expected a list of at most {most:,} values")
    return value


def a_number(value: Any, end: int, where: str) -> int:
    """Return the number of a value that is there already."""
    if type(value) is not int or not 0 <= value < end:
        raise WeightsError(f"{where}: expected the number of an earlier value, below {end}, found {ascii(value)[:20]}")
    return value


def a_text(value: Any, where: str, *, printable: bool = False) -> str:
    """Return a short text without half characters; `printable` also without what a terminal would obey."""
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or (printable and not value.isprintable()):
        raise WeightsError(f"{where}: expected a text of at most {_LONGEST_TEXT:,} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WeightsError(f"{where}: a text with half a character") from None
    return value


def _size(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST_SIZE:
        raise WeightsError(f"{where}: expected sizes from 0 to 2**31 - 1, found {ascii(value)[:20]}")
    return value


def input_shapes(value: Any) -> tuple[tuple[Sample, ...], ...]:
    """Return the shapes that one sample of each input may have."""
    found = []
    for samples in a_list(value, _MOST_PORTS, "inputs"):
        shapes = [a_list(sample, _MOST_AXES, "inputs") for sample in a_list(samples, _MOST_SAMPLES, "inputs")]
        found.append(tuple(tuple(None if n is None else _size(n, "inputs") for n in shape) for shape in shapes))
    if not found:
        raise WeightsError("inputs: expected at least one")
    return tuple(found)


def signature_of(value: Any, inputs: int, outputs: int) -> Signature | None:
    """Return the names of inputs and outputs, where the file has them."""
    if value is None:
        return None
    value = an_object(value, ("inputs", "outputs"), "signature")
    ports = tuple(_port(port) for port in a_list(value["inputs"], _MOST_PORTS, "signature"))
    names = tuple(a_text(name, "signature") for name in a_list(value["outputs"], _MOST_PORTS, "signature"))
    if (len(ports), len(names)) != (inputs, outputs) or len({p.name for p in ports}) != inputs:
        raise WeightsError(f"signature: expected names of {inputs} inputs and {outputs} outputs")
    return Signature(ports, names)


def classes_of(value: Any) -> tuple[Any, ...] | None:
    """Return what the outputs stand for, where the file says so."""
    return None if value is None else tuple(_label(label) for label in a_list(value, _MOST_CLASSES, "classes"))


def _port(value: Any) -> Port:
    where = "signature"
    value = an_object(value, ("name", "dtype", "shape", "host", "kind"), where)
    shape = value["shape"]
    if shape is not None:
        sizes = a_list(shape, _MOST_AXES, where)
        shape = tuple(n if n is None else a_text(n, where) if isinstance(n, str) else _size(n, where) for n in sizes)
    if type(value["host"]) is not bool or value["kind"] not in ("tensor", "sequence", "optional"):
        raise WeightsError("signature: expected host to be true or false, and a known kind")
    return Port(a_text(value["name"], where), a_text(value["dtype"], where), shape, value["host"], value["kind"])


def _label(value: Any) -> Any:
    if isinstance(value, str):
        return a_text(value, "classes")
    if not isinstance(value, (bool, int, float)) or not abs(value) < 1 << 63:
        raise WeightsError("classes: expected texts or numbers")
    return value
