"""How a job begins: described, compared with what is there, and written before anything else."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import operator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyback import backends
from anyback._files import shown, write_whole
from anyback.errors import AnybackError, DataError, JobError
from anyback.inference import predict, tile_of
from anyback.numbers import PrecisionName
from anyback.streams._job import MOST_SHARDS, Job, check_same
from anyback.streams._model import Given, given_network
from anyback.streams._outputs import Output
from anyback.streams._rows import on_host
from anyback.streams._shard import versions_of
from anyback.streams._sources import Source, open_source, stamp_of

__all__ = ["Asked", "begun_job"]

#: Bytes of the input and the output that a shard has unless its rows are given.
_BYTES = 1 << 25
#: A shard may have so many times of them, where that makes it whole chunks of the input.
_TIMES = 8


class Asked(NamedTuple):
    """What `predict_to` was asked for; its fields are arguments of that."""

    net: Any
    source: Any
    shard_rows: int | None
    on_bad: str
    precision: PrecisionName | None
    select: str | None


def begun_job(output: Output, asked: Asked, resume: bool) -> Job:
    """Return the job of an output, begun now or before, or raise `JobError` where it cannot go on."""
    place = output.place
    taken = output.taken()  # asked before the job: what another driver writes meanwhile is behind its job
    begun = place.job()
    if begun is not None and not resume:
        raise JobError(
            f"{shown(output.path)} was begun already; resume it (resume=True, --resume), or begin again: remove "
            f"{shown(place.folder)} and {shown(output.path)}"
        )
    if begun is None and taken:
        raise JobError(f"{shown(output.path)} is there already, and no job of anyback's; remove it, or choose another")
    if begun is not None and asked.shard_rows is None:
        asked = asked._replace(shard_rows=begun.rows)
    given = given_network(asked.net, asked.select)
    source = given.source or str(place.folder / f"network-{given.sha256[:16]}.safetensors")
    job = dataclasses.replace(_described(output, given, asked), network=source)
    if begun is None:
        place.make()
        _save(job, given)
        job = dataclasses.replace(job, part=output.prepare(job))
        if place.begin(job):
            output.begin(job)
            return job
        output.discard(job)  # another driver was faster
        begun = place.job()
        if not resume or begun is None:
            raise JobError(f"{shown(output.path)} was begun by another process just now; resume it")
    job = dataclasses.replace(job, part=begun.part)
    check_same(begun, job, place.folder)
    _save(job, given)
    output.begin(job)
    return job


def _save(job: Job, given: Given) -> None:
    """Save a network beside the output, unless it was."""
    path = Path(job.network)
    if given.source or path.is_file():
        return
    write_whole(path, [given.data], JobError, alone=True)


def _described(output: Output, given: Given, asked: Asked) -> Job:
    """Return a job as it is asked for, without its network's place and its part."""
    net, path, precision = given.net, asked.source, asked.precision
    source = open_source(path)
    if not net.is_batch(np.broadcast_to(np.uint8(0), source.shape)):
        raise DataError(f"{shown(path)} holds one sample, shape {source.shape}; predict takes it: anyback.predict")
    if len(net.outputs) != 1:
        names = net.signature.outputs if net.signature is not None else ("",)
        said = f"{len(net.outputs)} outputs ({', '.join(names)})"
        raise JobError(f"the network has {said}; name one of them: select={names[0]!r}")
    one = np.zeros((1, *source.shape[1:]), source.dtype.newbyteorder("="))
    tile = tile_of(net, one, precision)
    if tile is None:
        raise DataError("the rows of this network cannot be computed apart, so they cannot be computed in shards")
    y = on_host(predict(net, one, precision=precision))
    if y.dtype.kind != "f" and asked.on_bad == "nan":
        raise JobError(f"the outputs are {y.dtype}, which has no nan for bad rows: pass on_bad='raise'")
    backend = net.backend or backends.get_backend()
    with backends.scope(backend, precision) as in_force:
        pass
    rows = _rows_of_shard(source, y, tile, asked.shard_rows)
    if source.shape[0] > rows * MOST_SHARDS:
        raise JobError(f"more than {MOST_SHARDS:,} shards of {rows:,} rows; give a larger shard_rows")
    return Job(
        network="",
        sha256=given.sha256,
        arrays=given.arrays,
        select=given.select,
        input=str(Path(path).resolve()),
        stamp=stamp_of(path),
        shape=source.shape,
        dtype=source.dtype.str,
        output=str(output.path),
        sample=y.shape[1:],
        result=y.dtype.name,
        rows=rows,
        backend=str(backend),
        precision=in_force,
        on_bad=asked.on_bad,
        versions=versions_of(backend),
    )


def _rows_of_shard(source: Source, y: np.ndarray, tile: int, asked: int | None) -> int:
    """Return the rows of a shard: whole tiles, and where that fits whole chunks of the input."""
    if asked is not None:
        with contextlib.suppress(TypeError):
            if operator.index(asked) >= 1:
                return -(-operator.index(asked) // tile) * tile
        raise AnybackError(f"shard_rows: expected a whole number of at least 1, found {str(asked)[:40]}")
    row = source.dtype.itemsize * math.prod(source.shape[1:]) + y.nbytes
    fit, both = _BYTES // max(1, row), math.lcm(tile, source.chunk)
    # A chunk that lies in two shards is read twice. The input is read in pieces, but the output stays in memory.
    whole = both <= _TIMES * fit and both * y.nbytes <= _BYTES
    step = both if whole else tile
    return max(1, fit // step) * step
