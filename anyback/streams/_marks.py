"""The marks of a job: one for each shard that is there, and the mark of success."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from anyback._files import create, shown, sync_folder, write_whole
from anyback.errors import JobError
from anyback.streams._job import Job
from anyback.streams._records import bytes_of, read_record

__all__ = ["MOST_NAMED", "Done", "Mark", "Place", "Tally"]

#: So many bad rows are named; all are counted.
MOST_NAMED = 100


@dataclass(frozen=True)
class Mark:
    """The mark of a shard, which says that its rows are on the disk.

    Parameters
    ----------
    job : str
        The identity of the job.
    shard : int
        Its number.
    sha256 : str
        Of the bytes of its rows.
    bad : int
        The number of its bad rows.
    bad_rows : dict of int to str
        The first hundred of them, by their number in the input, and what is wrong with each.
    advice : str
        What there is to say about the input; else empty.
    """

    job: str
    shard: int
    sha256: str
    bad: int
    bad_rows: dict[int, str]
    advice: str = ""


@dataclass(frozen=True)
class Done:
    """The mark of success, which says that all shards are on the disk."""

    job: str
    shards: int
    bad: int
    bad_rows: dict[int, str]


R = TypeVar("R", Mark, Done)


@dataclass(frozen=True)
class Place:
    """The folder of a job: `job.json`, `marks/N.json`, `done.json`, and the network where it was saved."""

    folder: Path

    def job(self) -> Job | None:
        """Return the job; None where none was begun."""
        path = self.folder / "job.json"
        if not os.path.lexists(path):
            return None
        advice = f"begin again: remove {shown(self.folder)}"
        begun = read_record(path, Job, advice)
        if wrong := begun.wrong():
            raise JobError(f"{shown(path)}: {wrong}; {advice}")
        return begun

    def begin(self, job: Job) -> bool:
        """Write the job where there is none; return whether it was this process that did."""
        try:
            return create(self.folder / "job.json", bytes_of(job))
        except OSError as cause:
            raise self.unwritable(cause) from None

    def make(self) -> None:
        """Make the folders, and see that their names are on the disk."""
        try:
            for folder in (self.folder.parent, self.folder, self.folder / "marks"):
                if not folder.is_dir():
                    folder.mkdir(exist_ok=True)
                    sync_folder(folder.parent)
        except OSError as cause:
            raise self.unwritable(cause) from None

    def unwritable(self, cause: OSError) -> JobError:
        """Return the error of a folder that cannot be written."""
        return JobError(f"{shown(self.folder)} cannot be written: {cause.strerror or cause}")

    def mark(self, job: Job, i: int) -> Mark | None:
        """Return the mark of shard i; None where there is none."""
        path = self._path(i)
        found = self._read(path, Mark, job, "remove it, and its shard is computed again")
        if found is not None and found.shard != i:
            raise JobError(
                f"{shown(path)} is the mark of shard {found.shard}; remove it, and shard {i} is computed again"
            )
        return found

    def done(self, job: Job) -> Done | None:
        """Return the mark of success; None where there is none."""
        path = self.folder / "done.json"
        found = self._read(path, Done, job, "remove it, and resume the job")
        if found is not None and found.shards != job.shards:
            raise JobError(
                f"{shown(path)} counts {found.shards} shards, expected {job.shards}; remove it, and resume the job"
            )
        return found

    def _read(self, path: Path, kind: type[R], job: Job, advice: str) -> R | None:
        if not os.path.lexists(path):
            return None
        found = read_record(path, kind, advice)
        if found.job != job.id:
            raise JobError(f"{shown(path)} is of another job, {found.job[:16]!a}; {advice}")
        return found

    def put(self, record: Mark | Done) -> None:
        """Write a mark, whole or not at all."""
        path = self._path(record.shard) if hasattr(record, "shard") else self.folder / "done.json"
        write_whole(path, [bytes_of(record)], JobError, alone=True)

    def marked(self, job: Job) -> list[int]:
        """Return the numbers of the shards that have marks, in order, by the names of the files."""
        try:
            names = {entry.name for entry in os.scandir(self.folder / "marks")}
        except OSError as cause:
            raise JobError(f"{shown(self.folder / 'marks')} cannot be read: {cause.strerror or cause}") from None
        return [i for i in range(job.shards) if f"{i}.json" in names]

    def _path(self, i: int) -> Path:
        return self.folder / "marks" / f"{i}.json"


class Tally:
    """What the marks of a job say together, in memory that does not grow with the bad rows."""

    def __init__(self) -> None:
        self.shards: set[int] = set()
        self.bad = 0
        self.bad_rows: dict[int, str] = {}  # the first hundred
        self.advice = ""  # the first that there is

    def add(self, mark: Mark) -> None:
        """Count a mark, unless that of its shard was counted."""
        if mark.shard in self.shards:
            return
        self.shards.add(mark.shard)
        self.bad += mark.bad
        if mark.bad_rows:
            named = self.bad_rows | mark.bad_rows
            self.bad_rows = {row: named[row] for row in sorted(named)[:MOST_NAMED]}
        self.advice = self.advice or mark.advice
