"""What a job writes beside its output: small JSON files, checked field by field when they are read."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from anyback._files import read_bounded, shown
from anyback._kinds import seems
from anyback.errors import JobError
from anyback.numbers import PRECISIONS

__all__ = ["bytes_of", "read_record"]

#: The largest record, in bytes: a mark names no more than a hundred rows.
_MOST_BYTES = 1 << 20

R = TypeVar("R")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_list(value: Any, inside: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(inside, value))


#: The type of a field, as a dataclass writes it -> whether a value of JSON is one, and what the field then holds.
_TYPES: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Any]]] = {
    "str": (lambda v: isinstance(v, str), str),
    "PrecisionName": (lambda v: isinstance(v, str) and v in PRECISIONS, str),
    "int": (_is_count, int),
    "tuple[int, ...]": (lambda v: _is_list(v, _is_count), tuple),
    "dict[str, str]": (lambda v: isinstance(v, dict) and all(isinstance(text, str) for text in v.values()), dict),
    "dict[int, str]": (
        lambda v: isinstance(v, dict) and all(re.fullmatch("[0-9]{1,19}", k) and isinstance(v[k], str) for k in v),
        lambda v: {int(k): text for k, text in v.items()},
    ),
}


def bytes_of(record: Any) -> bytes:
    """Return a dataclass of plain fields as JSON."""
    return (json.dumps(dataclasses.asdict(record), indent=2) + "\n").encode()


def read_record(path: Path, kind: type[R], advice: str) -> R:
    """Return the record in a file, or raise `JobError`.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    kind : type
        A dataclass whose fields have types of the table above.
    advice : str
        What to do where the file is no such record.
    """
    data = read_bounded(path, _MOST_BYTES, JobError)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise JobError(f"{shown(path)} is not JSON{seems(data)}; {advice}") from None
    fields: Mapping[str, str] = {f.name: str(f.type) for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(found, dict) or found.keys() != fields.keys():
        names = ", ".join(sorted(found))[:200] if isinstance(found, dict) else type(found).__name__
        raise JobError(f"{shown(path)}: expected the fields {', '.join(fields)}, found {names!a}; {advice}")
    for name, value in found.items():
        if not _TYPES[fields[name]][0](value):
            raise JobError(f"{shown(path)}: {name} is {ascii(value)[:80]}, expected {fields[name]}; {advice}")
    return kind(**{name: _TYPES[fields[name]][1](value) for name, value in found.items()})
