"""The part of a network that computes some of its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anyback.errors import DataError
from anyback.network._builder import Builder

__all__ = ["selected"]


def selected(net: Any, values: Sequence[int | str]) -> tuple[Any, ...]:
    """Return the fields of the network that returns these values, by number or name of output; see `Network.select`."""
    numbers = tuple(_number_of(net, value) for value in values)
    names = tuple(f"value {value}" if isinstance(value, int) else value for value in values)
    signature = None if net.signature is None else net.signature.chosen(names)
    needed, kept = set(numbers), []
    for number, call in reversed(list(net.results())):
        if needed & set(range(number, number + call.results)):
            kept.append((number, call))
            needed.update(i for i in call.arguments if i is not None)
    into = Builder(len(net.inputs))
    new: dict[int, int | None] = {i: i for i in range(len(net.inputs))}
    for number, call in reversed(kept):
        for i in call.arguments:
            if i is not None and (x := net.array_of(i)) is not None:
                new[i] = into.array(x)
        found = into.copy(call, [None if i is None else new[i] for i in call.arguments])
        new |= {number + k: found + k for k in range(call.results)}
    outputs = [new[i] if (x := net.array_of(i)) is None else into.array(x) for i in numbers]
    return (*into.fields([i or 0 for i in outputs], net.inputs), signature, net.classes)


def _number_of(net: Any, value: int | str) -> int:
    """Return the number of a value that is given by its number, or by the name of an output."""
    if not isinstance(value, str):
        return value
    names = () if net.signature is None else net.signature.outputs
    if value not in names:
        known = f"known: {', '.join(names)}" if names else "its outputs have no names"
        raise DataError(f"the network has no output {value[:80]!r}; {known}")
    return int(net.outputs[names.index(value)])
