"""The arrays inside whatever the user wrote, at any depth."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable
from typing import Any

import array_api_compat

from anyback._typing import Array
from anyback.network._graph import Network

__all__ = ["arrays_in", "map_arrays"]


def map_arrays(value: Any, function: Callable[[Array], Array]) -> Any:
    """Return a value with `function` applied to each array inside; the value itself where nothing changes.

    Arrays are found in networks, tuples, lists, dicts, dataclasses, ``functools.partial`` and bound methods, at any
    depth. Everything else is passed on as it is.
    """
    if array_api_compat.is_array_api_obj(value):
        return function(value)
    if isinstance(value, Network):
        return _unless_same(value, value.arrays, value.map(function))
    if isinstance(value, (tuple, list)):
        items = [map_arrays(item, function) for item in value]
        if all(a is b for a, b in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        changed = {key: map_arrays(item, function) for key, item in value.items()}
        return value if all(changed[key] is value[key] for key in value) else changed
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        found = map_arrays(parts, function)
        return value if found is parts else functools.partial(found[0], *found[1], **found[2])
    if isinstance(value, types.MethodType):
        owner = map_arrays(value.__self__, function)
        return value if owner is value.__self__ else types.MethodType(value.__func__, owner)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _map_fields(value, function)
    return value


def _unless_same(value: Network, before: tuple[Array, ...], after: Network) -> Network:
    return value if all(a is b for a, b in zip(before, after.arrays, strict=True)) else after


def _map_fields(value: Any, function: Callable[[Array], Array]) -> Any:
    fields = dataclasses.fields(value)
    before = {f.name: getattr(value, f.name) for f in fields if hasattr(value, f.name)}
    after = {name: map_arrays(item, function) for name, item in before.items()}
    changed = {name: item for name, item in after.items() if item is not before[name]}
    if not changed:
        return value
    made = {f.name for f in fields if f.init}
    copy = dataclasses.replace(value, **{name: item for name, item in changed.items() if name in made})
    for name in changed.keys() - made:
        object.__setattr__(copy, name, changed[name])
    return copy


def arrays_in(value: Any) -> tuple[Array, ...]:
    """Return the arrays inside a value, in the order in which `map_arrays` comes to them."""
    found: list[Array] = []

    def keep(x: Array) -> Array:
        found.append(x)
        return x

    map_arrays(value, keep)
    return tuple(found)
