"""A network's calls as plain data, for the metadata of a file. `anyback.models` makes the network of them again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from anyback import backends, weights
from anyback._files import shown
from anyback.errors import AnybackError, WeightsError
from anyback.ops import array_parameters, checked_attributes, known_op
from anyback.plan import Rows

__all__ = ["NETWORK_TEXT", "VERSION", "write_network"]

#: The name of the text in a file's metadata that holds the calls.
NETWORK_TEXT = "anyback.network"
#: The version of the data's form. A reader takes its own version alone.
VERSION = 1


def write_network(net: Any, path: str | os.PathLike[str]) -> None:
    """Write a network to a file, or raise `WeightsError`; see `Network.save`."""
    if not isinstance(path, (str, os.PathLike)):
        raise WeightsError(f"expected a path, found {type(path).__name__}")
    if Path(path).suffix.lower() != ".safetensors":
        raise WeightsError(
            f"{shown(path)}: a network is kept as .safetensors, found the suffix {Path(path).suffix!r}; give the file "
            "the suffix .safetensors"
        )
    try:
        record, arrays = _record_of(net)
        text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    except AnybackError as error:
        raise WeightsError(f"{shown(path)}: {error}") from None
    weights.write_file(path, arrays, {NETWORK_TEXT: text})


def _record_of(net: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a network as plain data, and its arrays by the names that the data calls them."""
    _check_ops(net)
    names = _names_of_arrays(net)
    arrays, entries = {}, []
    for name, x in zip(names, net.arrays, strict=True):
        array = backends.to_numpy(x)
        # In C order: a library may sum a product in another order where the weight's memory has another order.
        turned = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
        arrays[name] = array.T if turned else array
        entries.append({"name": name, "turned": turned})
    if unfit := [name for name, x in arrays.items() if not _is_finite(x)]:
        raise WeightsError(f"nan or infinite numbers in {', '.join(unfit[:5])}, which no file of weights is read with")
    sequential = net.signature is None and hasattr(net, "layers")
    return {
        "version": VERSION,
        "class": "Sequential" if sequential else "Network",
        "inputs": [[list(sample) for sample in samples] for samples in net.inputs],
        "arrays": entries,
        "calls": [_call(net, place, call) for place, call in enumerate(net.calls, start=1)],
        "outputs": list(net.outputs),
        "signature": None if net.signature is None else _signature(net.signature),
        "classes": None if net.classes is None else _labels(net.classes),
    }, arrays


def _check_ops(net: Any) -> None:
    """Raise `WeightsError` where calls are not of ops of the table; the error names all of them."""
    from anyback.network._graph import is_network  # not at the top: that module imports this one

    if not is_network(net):
        raise WeightsError(
            f"{type(net).__name__} computes something else than its calls when it is called, and a file holds no code; "
            "save the networks inside it"
        )
    if several := [call.op.name for call in net.calls if call.results != 1]:
        raise WeightsError(f"a call of {several[0]} gives several values, for which a file has no place")
    unknown = [call for call in net.calls if not known_op(call.op)]
    if not unknown:
        return
    names = ", ".join(dict.fromkeys(call.op.name for call in unknown[:20]))
    if net.signature is not None:
        raise WeightsError(f"operators of the network's file are not in the table of ops: {names}; keep that file")
    if any(call.op.rows is Rows.UNKNOWN for call in unknown):
        raise WeightsError(
            f"a file holds no code, and these are functions of yours: {names}; save the network without them, and put "
            "them back when it is loaded: Sequential(anyback.load_model(path), function)"
        )
    raise WeightsError(
        f"not in the table of ops: {names}; add each to it, in the program that loads the file too: "
        "anyback.ops.OPS[name] = op"
    )


def _names_of_arrays(net: Any) -> list[str]:
    """Return a name for each array: by the first call that takes it."""
    found: dict[int, str] = {}
    for place, call in enumerate(net.calls, start=1):
        for parameter, number in zip(array_parameters(call.op), call.arguments, strict=False):
            if net.array_of(number) is not None:
                found.setdefault(number, f"{call.op.name}_{place}_{parameter}")
    numbers = range(len(net.inputs), net.first_result)
    return [found.get(number, f"array_{number}") for number in numbers]


def _is_finite(x: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):
        return x.dtype.kind in "biu" or bool(np.all(np.isfinite(x)))


def _call(net: Any, place: int, call: Any) -> dict[str, Any]:
    weighted = call.op.trained or call.op.name == "pixels"
    for parameter, i in list(zip(array_parameters(call.op), call.arguments, strict=False))[1:]:
        if weighted and i is not None and net.array_of(i) is None:
            raise WeightsError(
                f"call {place}, {call.op.name}: its {parameter} is computed, and a file keeps it as an array"
            )
    try:
        attributes = checked_attributes(call.op, call.attributes)
    except AnybackError as error:
        raise WeightsError(f"call {place}, {call.op.name}: {error}") from None
    return {
        "op": call.op.name,
        "arguments": list(call.arguments),
        "attributes": attributes,
        "name": call.name,
        "source": call.source,
    }


def _signature(signature: Any) -> dict[str, Any]:
    ports = [
        {
            "name": port.name,
            "dtype": port.dtype,
            "shape": None if port.shape is None else list(port.shape),
            "host": port.host,
            "kind": port.kind,
        }
        for port in signature.inputs
    ]
    return {"inputs": ports, "outputs": list(signature.outputs)}


def _labels(classes: Iterable[Any]) -> list[Any]:
    """Return the classes as plain values, or raise `WeightsError`."""
    plain = [label.item() if isinstance(label, np.generic) else label for label in classes]
    for label in plain:
        if not isinstance(label, (str, int, float)) or (isinstance(label, (int, float)) and not abs(label) < 2**63):
            raise WeightsError(f"classes: expected texts or finite numbers, found {type(label).__name__}")
    return plain
