"""The job as data: what is computed from what, and whether that is what an output was begun with."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from anyback._files import shown
from anyback.errors import JobError
from anyback.numbers import NUMBERS, PrecisionName

__all__ = ["MOST_SHARDS", "Job", "check_same"]

#: The version of what lies beside an output. A reader takes its own version alone.
FORMAT = 1
#: Each is a file.
MOST_SHARDS = 1 << 20


@dataclass(frozen=True)
class Job:
    """What `shard` needs to compute any shard: data that pickles, and JSON beside the output.

    Parameters
    ----------
    network : str
        A name, or the path of a file.
    sha256, arrays : str
        The SHA-256 of that file, and a hash of the network's arrays, which may lie in other files.
    select : str
        The name of the output that is written, for a network of several outputs; else empty.
    input, output : str
        Paths.
    stamp : str
        A hash of the sizes and times of the input's files.
    shape, dtype
        Of the input.
    sample, result
        The shape of a row of the output, and its dtype.
    rows : int
        Of a shard: a whole number of tiles.
    backend, precision : str
        What computes.
    on_bad : str
        ``"nan"`` or ``"raise"``.
    versions : dict of str to str
        Of anyback, NumPy and the library that computes.
    part : str
        The file in the job's folder that becomes the output, where that is a file.
    format : int
        Of this record.
    """

    network: str
    sha256: str
    arrays: str
    select: str
    input: str
    stamp: str
    shape: tuple[int, ...]
    dtype: str
    output: str
    sample: tuple[int, ...]
    result: str
    rows: int
    backend: str
    precision: PrecisionName
    on_bad: str
    versions: dict[str, str]
    part: str = ""
    format: int = FORMAT

    def __post_init__(self) -> None:
        for name in ("shape", "sample"):  # JSON has lists
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def id(self) -> str:
        """What every mark carries: a hash of all that decides the bits, and not of where files lie."""
        fields = {name: getattr(self, name) for name in (*_SAME, "part")}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.shape[0] // self.rows)

    def wrong(self) -> str:
        """Return what is wrong with a job from a file; else nothing."""
        if self.format != FORMAT:
            return f"format {self.format}, expected {FORMAT}"
        if not 1 <= len(self.shape) <= 64 or len(self.sample) > 63 or self.rows < 1 or self.shards > MOST_SHARDS:
            return f"shape {self.shape[:5]} in shards of {self.rows} rows"
        if self.result not in NUMBERS or self.result == "bfloat16":
            return f"outputs of type {self.result[:20]!a}"
        if not re.fullmatch(r"(rows-[0-9a-f]{16}\.npy)?", self.part):  # and no path to elsewhere
            return f"part {self.part[:40]!a}"
        return ""

    def span(self, i: int) -> tuple[int, int]:
        """Return the first row of shard i, and the row behind its last."""
        return i * self.rows, min((i + 1) * self.rows, self.shape[0])


#: The fields that must stay the same when a job is resumed, each in words.
_SAME = {
    "format": "version of anyback's marks",
    "sha256": "network",
    "arrays": "network",
    "select": "network",
    "stamp": "input",
    "shape": "input",
    "dtype": "input",
    "sample": "network",
    "result": "network",
    "rows": "shard size",
    "backend": "backend",
    "precision": "precision",
    "versions": "version",
}


def check_same(begun: Job, now: Job, folder: Path) -> None:
    """Raise `JobError` where an output was begun with something else; the first field that differs is named."""
    for name, word in _SAME.items():
        was, found = getattr(begun, name), getattr(now, name)
        if was == found:
            continue
        said = f"{name}: {_short(was)}, now {_short(found)}"
        raise JobError(
            f"{shown(now.output)} was begun with another {word} ({said}); resume "
            f"with what it was begun with, or begin again: remove {shown(folder)} and {shown(now.output)}"
        )


def _short(value: object) -> str:
    text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
    most = 400 if isinstance(value, dict) else 80
    return shown(text if len(text) <= most else f"{text[:16]}...")
