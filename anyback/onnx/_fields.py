"""Reading the fields of a message, by their kinds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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
    "sizes",
    "some_bytes",
    "texts",
]

#: The number of a field -> its name, the function that reads it, and whether it may be repeated: then it has a list.
Spec: TypeAlias = dict[int, tuple[str, Callable[..., Any], bool]]


class Reader:
    """Reads the messages of a file."""

    def __init__(self, wire: Wire, external: Callable[[Mapping[str, str]], np.ndarray]) -> None:
        self.wire, self.external = wire, external

    def message(self, spec: Spec, start: int, end: int, depth: int, texts: int = 0) -> dict[str, Any]:
        """Return the known fields of a message by name.

        A field that may be repeated is a list, empty where it is absent. Of any other field the last one counts.
        `texts` is as in `Wire.fields`.
        """
        found: dict[str, Any] = defaultdict(list)
        for part in self.wire.fields(start, end, depth, texts):
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
    if part.kind != 2:
        _expect(part, 2)
    return reader.wire.text(part.start, part.end)


def texts(reader: Reader, part: Field, depth: int) -> Sequence[str]:
    """Return the texts of one field of a repeated one: one, or a run of them."""
    return part.values if part.values is not None else (a_text(reader, part, depth),)


def some_bytes(reader: Reader, part: Field, depth: int) -> bytes:
    _expect(part, 2)
    return bytes(reader.wire.data[part.start : part.end])


def raw(reader: Reader, part: Field, depth: int) -> np.ndarray:
    _expect(part, 2)
    return reader.wire.bytes(part.start, part.end)


def ints(reader: Reader, part: Field, depth: int) -> np.ndarray | int:
    """Return the numbers of one field of a repeated one: one, a run of them, or packed ones; signed."""
    if part.values is not None:
        found: np.ndarray = part.values.view(np.int64)
        return found
    if part.kind == 0:
        return signed(part.start)
    _expect(part, 2)
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


def joined(parts: list[Any], dtype: Any) -> np.ndarray:
    """Return the numbers of a repeated field in one array: numbers, and arrays of them."""
    if len(parts) == 1 and isinstance(parts[0], np.ndarray):
        return parts[0]
    if all(isinstance(part, int) for part in parts):
        return np.asarray(parts, dtype)
    return np.concatenate([np.atleast_1d(np.asarray(part, getattr(part, "dtype", dtype))) for part in parts])


def sizes(parts: list[Any]) -> tuple[int, ...]:
    """Return the few numbers of a repeated field, such as a shape."""
    if all(isinstance(part, int) for part in parts):
        return tuple(parts)
    found: list[int] = joined(parts, np.int64).tolist()
    return tuple(found)
