"""Operators of ONNX as a test calls them: by name, with ONNX's attributes, on any library."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
from conftest import Library

import anyback.onnx.operators
from anyback._typing import Array
from anyback.onnx._bodies import converted
from anyback.onnx._operator import find

ML = "ai.onnx.ml"

for module in pkgutil.iter_modules(anyback.onnx.operators.__path__):
    importlib.import_module(f"anyback.onnx.operators.{module.name}")


def bound(
    name: str, *inputs: Any, lib: Library | None = None, domain: str = ML, version: int = 5, **attributes: Any
) -> tuple[Any, list[Any], dict[str, Any]]:
    """Return the function of an operator, its arguments on a library (strings stay on the host), and attributes."""
    found = find(domain, name, version)
    assert found is not None, f"{domain}.{name} of version {version}"
    inner = {key: attributes.pop(key) for key in ("outputs", "wanted") if key in attributes}
    arrays, rest = found.ready(attributes)

    def put(x: Any) -> Any:
        return x if lib is None or x is None or x.dtype == object else lib.asarray(x, dtype=None)

    named = zip(inputs, [*found.inputs, *[None] * len(inputs)], strict=False)
    given = [put(x if x is None or p is None or not p.turned else np.swapaxes(x, -1, -2)) for x, p in named]
    if found.variadic is None:
        given += [p.default for p in found.inputs[len(given) :]]
    return found.op.compute, given + [put(a) for a in arrays], rest | inner


def applied(name: str, *inputs: Any, lib: Library | None = None, **attributes: Any) -> Any:
    """Return the results of an operator as NumPy arrays."""
    compute, arguments, rest = bound(name, *inputs, lib=lib, **attributes)
    result = compute(*arguments, **rest)
    if isinstance(result, tuple):
        return tuple(on_host(y, lib) for y in result)
    return on_host(result, lib)


def on_host(y: Array, lib: Library | None) -> Any:
    return y if y is None or isinstance(y, np.ndarray) or lib is None else lib.to_numpy(y)


def text(*values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return an array of strings."""
    made = np.asarray(values, object)
    return made if shape is None else made.reshape(shape)


def called(name: str, *inputs: Any, lib: Library, version: int = 27, **attributes: Any) -> Any:
    """Return the results of one of ONNX's own operators as NumPy arrays; inputs that must be known stay on the host."""
    found = find("", name, version)
    assert found is not None, f"{name} of version {version}"

    def put(place: int, x: Any) -> Any:
        parameter = found.input(place)
        assert parameter is not None, f"{name} takes no input {place}"
        if x is None or parameter.kind != "array":
            return converted(np.asarray(x), parameter.kind) if x is not None else x
        return lib.asarray(x, dtype=None)

    with np.errstate(all="ignore"):
        result = found.op.compute(*[put(place, x) for place, x in enumerate(inputs)], **attributes)
        if isinstance(result, tuple):
            return tuple(on_host(y, lib) for y in result)
        return on_host(result, lib)
