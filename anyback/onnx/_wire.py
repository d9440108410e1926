"""The wire format of protocol buffers: messages of numbered fields of a few kinds.

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from anyback.errors import WeightsError

__all__ = ["Field", "Wire", "floats", "signed", "varints"]

#: The most fields of a file, and how deep messages may lie in each other.
MOST_FIELDS, DEEPEST = 5_000_000, 64
#: Repeated numbers that are read one by one before they are read as an array.
_FEW = 16
#: The most bytes that are looked at together.
_CHUNK = 1 << 16

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


class Field(NamedTuple):
    """A field of a message.

    Parameters
    ----------
    number : int
        As the format numbers it.
    kind : int
        How it is written: 0 a number of variable length, 1 eight bytes, 2 bytes with their length, 5 four bytes.
    start, end : int
        Where its bytes are; of a number of variable length `start` is the number itself.
    values : numpy.ndarray, list of str or None
        The numbers or the texts of a repeated field that were read together.
    """

    number: int
    kind: int
    start: int
    end: int
    values: Any = None


#: Makes a `Field` of a tuple, in half of the time.
_new = tuple.__new__


@dataclass(eq=False)
class Wire:
    """The bytes of a file, and the number of fields that were read from it.

    Parameters
    ----------
    data : bytes, mmap or memoryview
        The whole file.
    """

    data: Any
    count: int = 0

    def __post_init__(self) -> None:
        self._bytes = np.frombuffer(self.data, np.uint8)

    def bytes(self, start: int, end: int) -> np.ndarray:
        """Return bytes of the file as an array, without copying."""
        return self._bytes[start:end]

    def text(self, start: int, end: int) -> str:
        """Return a name or another text, or raise `WeightsError` where it is not UTF-8."""
        try:
            return str(self.data[start:end], "utf-8")
        except UnicodeDecodeError:
            raise WeightsError(f"a text at byte {start:,} is not UTF-8") from None

    def fields(self, start: int, end: int, depth: int, texts: int = 0) -> list[Field]:
        """Return the fields of a message, or raise `WeightsError` where the bytes are none.

        Parameters
        ----------
        start, end : int
            Where the message is.
        depth : int
            How many messages lie around it.
        texts : int
            The number of a field that is a list of texts, of which there may be thousands; 0 is none.
        """
        if depth > DEEPEST:
            raise WeightsError(f"its messages lie more than {DEEPEST} deep in each other")
        data, at, room = self.data, start, MOST_FIELDS - self.count
        found: list[Field] = []
        last, same = -1, 0
        run: list[Any]
        while at < end:
            # Most numbers take one byte: it is read here, without a call.
            first, tag = at, data[at]
            if tag < 0x80:
                at += 1
            else:
                tag, at = self._varint(at, end)
            number, kind = tag >> 3, tag & 7
            if number == 0 or number >= 1 << 29:
                raise WeightsError(f"a field at byte {first:,} has the number {number}")
            if kind in (_BYTES, _VARINT):
                if at < end and data[at] < 0x80:
                    value, at = data[at], at + 1
                else:
                    value, at = self._varint(at, end)
                if kind == _VARINT:
                    found.append(_new(Field, (number, kind, value, at, None)))
                    value = 0
            elif kind in (_FOUR, _EIGHT):
                value = 8 if kind == _EIGHT else 4
            else:
                raise WeightsError(f"a field at byte {first:,} is of the kind {kind}, which is not used any more")
            if kind != _VARINT:
                if value > end - at:
                    raise WeightsError(f"a field at byte {first:,} is longer than what it lies in")
                found.append(_new(Field, (number, kind, at, at + value, None)))
                at += value
            if len(found) > room:
                raise WeightsError(f"it has more than {MOST_FIELDS:,} fields")
            same = same + 1 if tag == last else 0
            last = tag
            if same >= _FEW and tag < 0x80 and at < end and data[at] == tag:
                if kind != _BYTES:
                    run, at = self._run(tag, at, end)
                elif number == texts:
                    run, at = self._texts(tag, at, end)
                else:
                    continue
                room -= sum(map(len, run)) - len(run)
                found.extend(_new(Field, (number, kind, 0, 0, values)) for values in run)
                same = 0
        self.count = MOST_FIELDS - room + len(found)
        return found

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """Return a number of variable length, and the place of the byte behind it."""
        data, value, shift, first = self.data, 0, 0, at
        while at < end:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 1 << 64:
                    break
                return value, at
            shift += 7
            if shift >= 70:
                break
        raise WeightsError(f"a number at byte {first:,} does not end")

    def _texts(self, tag: int, at: int, end: int) -> tuple[list[list[str]], int]:
        """Return the texts that each follow this tag, and the place of the first other byte."""
        data, found = self.data, list[str]()
        known: dict[bytes, str] = {}  # there are thousands, but of few kinds
        while at < end and data[at] == tag and len(found) < MOST_FIELDS:
            size, behind = (data[at + 1], at + 2) if at + 1 < end and data[at + 1] < 0x80 else self._varint(at + 1, end)
            if size > end - behind:
                raise WeightsError(f"a field at byte {at:,} is longer than what it lies in")
            at = behind + size
            piece = bytes(data[behind:at])
            if (text := known.get(piece)) is None:
                text = self.text(behind, at)
                if size < 0x80:
                    known[piece] = text
            found.append(text)
        return [found], at

    def _run(self, tag: int, at: int, end: int) -> tuple[list[np.ndarray], int]:
        """Return the numbers of a repeated field with a tag for each, as arrays, and the place of the next byte."""
        runs = []
        while at < end:
            part = self._bytes[at : min(end, at + _CHUNK)]
            values, used = _tagged_varints(tag, part) if tag & 7 == _VARINT else _tagged_bytes(tag, part)
            if not len(values):
                break
            runs.append(values)
            at += used
        return runs, at


def _tagged_varints(tag: int, part: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the numbers of variable length that each follow a tag of one byte, and how many bytes they take."""
    ends = np.flatnonzero(part < 0x80)  # of tags and of numbers in turn
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    pairs = len(ends) // 2
    tags, numbers = starts[: 2 * pairs : 2], starts[1 : 2 * pairs : 2]
    good = (ends[: 2 * pairs : 2] == tags) & (part[tags] == tag) & (ends[1 : 2 * pairs : 2] - numbers < 10)
    count = pairs if good.all() else int(np.argmin(good))
    if not count:
        return np.empty(0, np.uint64), 0
    behind = ends[1 : 2 * count : 2]
    return _decoded(part, numbers[:count], behind[:count]), int(behind[count - 1]) + 1


def _tagged_bytes(tag: int, part: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the numbers of four or eight bytes that each follow a tag of one byte, and how many bytes they take."""
    size = 8 if tag & 7 == _EIGHT else 4
    count = len(part) // (size + 1)
    table = part[: count * (size + 1)].reshape(count, size + 1)
    good = table[:, 0] == tag
    count = count if good.all() else int(np.argmin(good))
    kind = np.dtype("<f8" if size == 8 else "<f4")
    return np.ascontiguousarray(table[:count, 1:]).view(kind).reshape(-1), count * (size + 1)


def varints(part: np.ndarray) -> np.ndarray:
    """Return numbers of variable length, one behind the other, as unsigned integers."""
    ends = np.flatnonzero(part < 0x80)
    if len(part) and (not len(ends) or ends[-1] != len(part) - 1):
        raise WeightsError("a list of numbers does not end where it should")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) if len(ends) else ends
    if np.any(ends - starts >= 10):
        raise WeightsError("a number of a list has more than 10 bytes")
    return _decoded(part, starts, ends)


def _decoded(part: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    values = np.zeros(len(starts), np.uint64)
    for place in range(int(np.max(ends - starts, initial=0)) + 1):
        here = starts + place <= ends
        values[here] |= (part[starts[here] + place].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * place)
    return values


def floats(part: np.ndarray, kind: str) -> np.ndarray:
    """Return numbers of four or eight bytes, one behind the other, without copying."""
    dtype = np.dtype(kind)
    if len(part) % dtype.itemsize:
        raise WeightsError("a list of numbers does not end where it should")
    return part.view(dtype)


def signed(value: int) -> int:
    """Return a number of variable length as the signed integer that it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value
