"""One pure job: a shard of rows, from the input's files to the output's, and its mark."""

from __future__ import annotations

import importlib.metadata

import numpy as np

from anyback import backends
from anyback.errors import ShardError
from anyback.inference import tile_of
from anyback.streams._job import Job
from anyback.streams._marks import MOST_NAMED, Mark
from anyback.streams._model import loaded_network
from anyback.streams._outputs import digest, fill_value, output_at
from anyback.streams._rows import computed
from anyback.streams._sources import open_source

__all__ = ["shard", "versions_of"]


def shard(job: Job, i: int, workers: int | None = 1) -> Mark:
    """Compute and write shard i of a job, unless its mark is there.

    It may be called in any process that sees the files, in any order, more than once, and by several at a time: the
    same bytes are written.

    Parameters
    ----------
    job : Job
        What is computed from what.
    i : int
        The number of the shard, from 0.
    workers : int or None
        Batches to compute at a time, each by a thread, as of `predict`.

    Returns
    -------
    Mark
        Which is on the disk, behind the rows.

    Raises
    ------
    ShardError
        If the shard cannot be computed or written, or holds bad rows and these are to raise. There is no mark then.
    """
    if not 0 <= i < job.shards:
        raise ShardError(f"shard {i}: expected 0 to {job.shards - 1}")
    output = output_at(job.output)
    if (found := output.place.mark(job, i)) is not None:
        return found
    start, stop = job.span(i)
    try:
        return _written(job, i, workers)
    except Exception as error:
        said = str(error) if isinstance(error, ShardError) else f"{type(error).__name__}: {error}"
        raise ShardError(f"shard {i}, rows {start} to {stop - 1}: {said}") from error


def _written(job: Job, i: int, workers: int | None) -> Mark:
    start, stop = job.span(i)
    net = loaded_network(job.network, job.sha256, job.arrays, job.select, job.backend)
    if (versions := versions_of(backends.resolve(job.backend))) != job.versions:
        raise ShardError(f"this worker has {versions}, expected {job.versions}; install the same versions everywhere")
    source = open_source(job.input)
    if source.shape != job.shape or source.dtype.str != job.dtype:
        raise ShardError(f"the input is now {source.dtype} {source.shape}, expected {job.dtype} {job.shape}")
    result = np.dtype(job.result)
    y = np.full((stop - start, *job.sample), fill_value(result), result)
    bad: dict[int, str] = {}
    advice = ""
    tile = tile_of(net, np.zeros((1, *job.shape[1:]), source.dtype.newbyteorder("=")), job.precision) or job.rows
    for first, x in source.pieces(start, stop, tile):
        found = computed(net, x, y[first - start : first - start + len(x)], job.precision, workers)
        bad |= {first + row: why for row, why in found.bad.items()}
        advice = advice or found.advice
        if bad and job.on_bad == "raise":
            raise ShardError(f"{len(bad)} bad rows; the first: row {min(bad)}, {bad[min(bad)]}")
    output = output_at(job.output)
    output.write(job, i, y)
    mark = Mark(job.id, i, digest(y), len(bad), {row: bad[row] for row in sorted(bad)[:MOST_NAMED]}, advice)
    output.place.put(mark)
    return mark


def versions_of(backend: backends.Backend) -> dict[str, str]:
    """Return the versions that decide the bits, by the name of the package."""
    try:
        anyback = importlib.metadata.version("anyback")
    except importlib.metadata.PackageNotFoundError:
        anyback = "not installed"  # imported from the folder of its source
    found = {"anyback": anyback, "numpy": np.__version__}
    return {**found, backend.package: backend.version()} if backend.package else found
