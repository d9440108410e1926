"""Outputs that are written shard by shard: a zarr array whose chunk is the shard, and an .npy file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import math
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from anyback._files import open_regular, remove_left_parts, rename, shown, sync, sync_folder, write_all, write_whole
from anyback.errors import JobError, ShardError
from anyback.streams._job import Job
from anyback.streams._marks import Place

__all__ = ["OUTPUTS", "Npy", "Output", "Zarr", "digest", "fill_value", "output_at", "sha256_of"]

_AT_A_TIME = 1 << 20  # bytes that are read at a time


def fill_value(dtype: np.dtype[Any]) -> Any:
    """Return what stands for a missing number: nan, or of integers the number farthest from 0."""
    if dtype.kind == "f":
        return np.asarray(np.nan, dtype)
    if dtype.kind == "b":
        return np.asarray(False)
    limits = np.iinfo(dtype)
    return np.asarray(limits.max if dtype.kind == "u" else limits.min, dtype)


@dataclass(frozen=True)
class Output:
    """Where the rows of a job go.

    Parameters
    ----------
    path : pathlib.Path
        What is asked for.
    """

    path: Path
    suffix: ClassVar[str] = ""

    @property
    def place(self) -> Place:
        """The folder of the job."""
        raise NotImplementedError

    def taken(self) -> bool:
        """Return whether something lies at the path, beside what belongs to the job's folder."""
        raise NotImplementedError

    def prepare(self, job: Job) -> str:
        """Make what must be there before the job is; return the name of the part."""
        return ""

    def discard(self, job: Job) -> None:
        """Remove what was prepared for a job that another began."""

    def begin(self, job: Job) -> None:
        """Make the rest of the output, after the job was written. It may be called again."""

    def write(self, job: Job, i: int, rows: np.ndarray) -> None:
        """Write the rows of shard i, and return once they are on the disk."""
        raise NotImplementedError

    def read(self, job: Job, i: int) -> Iterator[bytes]:
        """Yield the bytes of the rows of shard i, or raise `JobError` where they are not there."""
        raise NotImplementedError

    def finish(self, job: Job) -> None:
        """Give the output its name, after the last mark was written. It may be called again."""

    def tidy(self) -> None:
        """Remove the temporary files of processes that are no more."""
        for folder in (self.place.folder, self.place.folder / "marks"):
            remove_left_parts(folder)

    def check(self, job: Job) -> None:
        """Raise `JobError` where the output is not of the shape and type of the job."""
        raise NotImplementedError


def _result(job: Job) -> np.dtype[Any]:
    return np.dtype(job.result).newbyteorder("<")


def sha256_of(parts: Iterator[bytes]) -> str:
    """Return the hash of bytes that come part by part."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def digest(rows: np.ndarray) -> str:
    """Return the hash of rows as they are written."""
    return hashlib.sha256(_bytes(rows, rows.dtype.newbyteorder("<"))).hexdigest()


# -- zarr ---------------------------------------------------------------------------------------------


class Zarr(Output):
    """A zarr array of version 3: `zarr.json`, and a file `c.N.0` of plain numbers for each shard."""

    suffix: ClassVar[str] = ".zarr"

    @property
    def place(self) -> Place:
        return Place(self.path / ".anyback")

    def taken(self) -> bool:
        if not self.path.is_dir():
            return os.path.lexists(self.path)
        # Beside the job's folder there may be temporary files, of which nothing remains.
        try:
            return any(not path.name.startswith(".anyback") for path in self.path.iterdir())
        except OSError as cause:
            raise JobError(f"{shown(self.path)} cannot be read: {cause.strerror or cause}") from None

    def begin(self, job: Job) -> None:
        try:
            self.check(job)
        except JobError:  # not there yet
            write_whole(self.path / "zarr.json", [_description(job)], JobError, alone=True)

    def write(self, job: Job, i: int, rows: np.ndarray) -> None:
        dtype = _result(job)
        missing = (job.rows - len(rows)) * math.prod(job.sample) * dtype.itemsize
        fill = np.full(_AT_A_TIME // dtype.itemsize, fill_value(dtype), dtype).tobytes()
        rest = (fill[: min(len(fill), missing - at)] for at in range(0, missing, len(fill)))
        write_whole(self._chunk(job, i), itertools.chain([_bytes(rows, dtype)], rest), ShardError, alone=True)

    def read(self, job: Job, i: int) -> Iterator[bytes]:
        start, stop = job.span(i)
        dtype, path = _result(job), self._chunk(job, i)
        sample = math.prod(job.sample) * dtype.itemsize
        with _opened(path) as stream:
            if os.fstat(stream.fileno()).st_size != job.rows * sample:
                raise JobError(f"{shown(path)} has another size than a chunk")
            yield from _parts(stream, (stop - start) * sample, path)
            fill = fill_value(dtype).tobytes()
            while rest := stream.read(_AT_A_TIME - _AT_A_TIME % len(fill)):
                if rest != fill * (len(rest) // len(fill)):
                    raise JobError(f"{shown(path)} holds something behind the last row")

    def tidy(self) -> None:
        super().tidy()
        remove_left_parts(self.path)

    def check(self, job: Job) -> None:
        path = self.path / "zarr.json"
        with _opened(path) as stream:
            if stream.read(1 << 20) != _description(job):
                raise JobError(f"{shown(path)} does not describe the array of the job")

    def _chunk(self, job: Job, i: int) -> Path:
        return self.path / ".".join(["c", str(i), *("0" for _ in job.sample)])


def _description(job: Job) -> bytes:
    dtype = np.dtype(job.result)
    fill = "NaN" if dtype.kind == "f" else fill_value(dtype).item()
    array = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [job.shape[0], *job.sample],
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [job.rows, *job.sample]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill,
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"}
        ],
        "attributes": {},
    }
    return (json.dumps(array, indent=2) + "\n").encode()


# -- .npy ---------------------------------------------------------------------------------------------


class Npy(Output):
    """An .npy file, which has its name once all rows are there; the job lies beside it."""

    suffix: ClassVar[str] = ".npy"

    @property
    def place(self) -> Place:
        return Place(self.path.with_name(f"{self.path.name}.anyback"))

    def taken(self) -> bool:
        return os.path.lexists(self.path)

    def prepare(self, job: Job) -> str:
        # Made by whoever begins the job, before it, and never again: what a slower driver made would have no rows.
        part = self.place.folder / f"rows-{secrets.token_hex(8)}.npy"
        header = _header(job)
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            try:
                write_all(descriptor, header)
                os.ftruncate(descriptor, len(header) + _size(job))
                os.fsync(descriptor)  # not by its name, which another driver that has begun the job may remove
            finally:
                os.close(descriptor)
        except OSError as cause:
            raise self.place.unwritable(cause) from None
        return part.name

    def discard(self, job: Job) -> None:
        with contextlib.suppress(OSError):  # the next driver removes it
            (self.place.folder / job.part).unlink()

    def begin(self, job: Job) -> None:
        if not job.part:
            path = self.place.folder / "job.json"
            raise JobError(f"{shown(path)} names no part; begin again: remove {shown(self.place.folder)}")
        # What was prepared for a job that was never written, or that will be discarded.
        for path in self.place.folder.glob("rows-*.npy"):
            if path.name != job.part:
                with contextlib.suppress(OSError):
                    path.unlink()

    def write(self, job: Job, i: int, rows: np.ndarray) -> None:
        path = self.place.folder / job.part
        try:
            try:
                self._write(path, job, i, rows)
            except FileNotFoundError:
                if not self.taken():
                    raise ShardError(
                        f"{shown(path)} is gone; remove {shown(self.place.folder)}, and begin again"
                    ) from None
                if self.place.mark(job, i) is None:  # of a finished output, to be computed again
                    self.check(job)
                    self._write(self.path, job, i, rows)
        except OSError as cause:
            raise ShardError(f"{shown(path)} cannot be written: {cause.strerror or cause}") from None

    def _write(self, path: Path, job: Job, i: int, rows: np.ndarray) -> None:
        descriptor = open_regular(path, os.O_WRONLY)
        try:
            os.lseek(descriptor, len(_header(job)) + job.span(i)[0] * _row(job), os.SEEK_SET)
            write_all(descriptor, _bytes(rows, _result(job)))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, job: Job, i: int) -> Iterator[bytes]:
        start, stop = job.span(i)
        path = self.path if self.taken() else self.place.folder / job.part
        with _opened(path) as stream:
            stream.seek(len(_header(job)) + start * _row(job))
            yield from _parts(stream, (stop - start) * _row(job), path)

    def finish(self, job: Job) -> None:
        part = self.place.folder / job.part
        try:
            with contextlib.suppress(FileNotFoundError):  # another driver, or an earlier run, was faster
                rename(part, self.path)
            sync(self.path)
            sync_folder(self.path.parent)
        except OSError as cause:
            raise JobError(f"{shown(self.path)} cannot be written: {cause.strerror or cause}") from None

    def check(self, job: Job) -> None:
        path = self.path if self.taken() else self.place.folder / job.part
        header = _header(job)
        with _opened(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if stream.read(len(header)) != header or size != len(header) + _size(job):
                raise JobError(f"{shown(path)} is not the array of the job")


def _header(job: Job) -> bytes:
    stream = io.BytesIO()
    shape = (job.shape[0], *job.sample)
    header = {"descr": np.lib.format.dtype_to_descr(_result(job)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def _row(job: Job) -> int:
    return math.prod(job.sample) * np.dtype(job.result).itemsize


def _size(job: Job) -> int:
    return job.shape[0] * _row(job)


# -- Both ---------------------------------------------------------------------------------------------


def _bytes(rows: np.ndarray, dtype: np.dtype[Any]) -> memoryview:
    return np.ascontiguousarray(rows, dtype=dtype).reshape(-1).view(np.uint8).data


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as stream:
            yield stream
    except OSError as cause:
        raise JobError(f"{shown(path)} cannot be read: {cause.strerror or cause}") from None


def _parts(stream: io.BufferedReader, count: int, path: Path) -> Iterator[bytes]:
    while count:
        part = stream.read(min(count, _AT_A_TIME))
        if not part:
            raise JobError(f"{shown(path)} is cut off")
        count -= len(part)
        yield part


#: The formats by suffix.
OUTPUTS: dict[str, type[Output]] = {row.suffix: row for row in (Zarr, Npy)}


def output_at(path: str | os.PathLike[str]) -> Output:
    """Return the output at a path, by its suffix; it is not looked at yet."""
    path = Path(path)
    if path.suffix.lower() not in OUTPUTS:
        raise JobError(f"{shown(path)}: unknown suffix {path.suffix!r}; known: {', '.join(OUTPUTS)}")
    try:
        return OUTPUTS[path.suffix.lower()](path.resolve())
    except (OSError, ValueError, RuntimeError) as cause:  # a null character, or links in a circle
        raise JobError(f"{shown(path)} cannot be written: {getattr(cause, 'strerror', None) or cause}") from None
