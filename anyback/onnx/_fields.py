"""How the fields of a message are read, by their kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from anyback.errors import WeightsError
from anyback.onnx._wire import Field, Wire, floats, signed, varints

__all__ = [
    "Reader",
    "Spec",
    "a_float",
    "a_text",
    "an_int",
    "inside",
    "ints",
    "joined",
    "numbers",
    "raw",
    "some_bytes",
]

#: What a field is called, and how it is read; a field that may be there several times has a list.
Spec: TypeAlias = dict[int, tuple[str, Callable[..., Any], bool]]


class Reader:
    """Reads the messages of a file."""

    def __init__(self, wire: Wire, external: Callable[[Mapping[str, str]], np.ndarray]) -> None:
        self.wire, self.external = wire, external

    def message(self, spec: Spec, start: int, end: int, depth: int) -> dict[str, Any]:
        """Return the known fields of a message by name; the last of those that are there once counts."""
        found: dict[str, Any] = {name: [] for name, _, many in spec.values() if many}
        for part in self.wire.fields(start, end, depth):
            known = spec.get(part.number)
            if known is None:
                continue
            name, read, many = known
            value = read(self, part, depth + 1)
            if many:
                found[name].append(value)
            else:
                found[name] = value
        return found


def _expect(part: Field, *kinds: int) -> None:
    if part.kind not in kinds:
        raise WeightsError(f"a field of number {part.number} is written as another kind of value than it is")


def an_int(reader: Reader, part: Field, depth: int) -> int:
    _expect(part, 0)
    return signed(part.start)


def a_float(reader: Reader, part: Field, depth: int) -> float:
    _expect(part, 5)
    return float(floats(reader.wire.bytes(part.start, part.end), "<f4")[0])


def a_text(reader: Reader, part: Field, depth: int) -> str:
    _expect(part, 2)
    return reader.wire.text(part.start, part.end)


def some_bytes(reader: Reader, part: Field, depth: int) -> bytes:
    _expect(part, 2)
    return bytes(reader.wire.data[part.start : part.end])


def raw(reader: Reader, part: Field, depth: int) -> np.ndarray:
    _expect(part, 2)
    return reader.wire.bytes(part.start, part.end)


def ints(reader: Reader, part: Field, depth: int) -> np.ndarray:
    """Return the numbers of one field of a repeated one: one, a run of them, or packed ones; signed."""
    _expect(part, 0, 2)
    if part.values is not None:
        return part.values.view(np.int64)
    if part.kind == 0:
        return np.asarray([part.start], np.uint64).view(np.int64)
    return varints(reader.wire.bytes(part.start, part.end)).view(np.int64)


def numbers(kind: str) -> Callable[[Reader, Field, int], np.ndarray]:
    """Return what reads numbers of four or eight bytes, packed or not."""

    def read(reader: Reader, part: Field, depth: int) -> np.ndarray:
        _expect(part, 2, 1 if kind == "<f8" else 5)
        return part.values if part.values is not None else floats(reader.wire.bytes(part.start, part.end), kind)

    return read


def inside(make: Callable[[Reader, int, int, int], Any]) -> Callable[[Reader, Field, int], Any]:
    """Return what reads a message inside another."""

    def read(reader: Reader, part: Field, depth: int) -> Any:
        _expect(part, 2)
        return make(reader, part.start, part.end, depth)

    return read


def joined(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)
