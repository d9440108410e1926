"""`predict_to`: more rows than memory holds, shard by shard, on any executor."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

from anyback._files import shown
from anyback._progress import bar
from anyback.errors import AnybackError, DataError, JobError, ShardError
from anyback.executors import opened
from anyback.inference import Progress
from anyback.network import Network
from anyback.numbers import PrecisionName
from anyback.streams._begin import Asked, begun_job
from anyback.streams._job import Job
from anyback.streams._marks import Done, Mark, Place, Tally
from anyback.streams._outputs import Output, output_at
from anyback.streams._shard import shard
from anyback.streams._sources import stamp_of

__all__ = ["Written", "predict_to"]

#: What gives an executor in a ``with`` block, or None for this process.
Pool: TypeAlias = AbstractContextManager[Executor | None]

#: Shards that an executor is given at a time.
_WAITING = 64
#: So many shards may fail before the others are given up; one where bad rows are to raise.
_MOST_FAILED = 10


@dataclass(frozen=True)
class Written:
    """What `predict_to` did.

    Parameters
    ----------
    out : str
        The output.
    rows : int
        Rows of the input.
    shards, computed : int
        How many shards there are, and how many were computed by this call.
    bad : int
        Bad rows, in all shards that are there.
    bad_rows : dict of int to str
        The first hundred of them, and what is wrong with each.
    done : bool
        Whether all shards are there.
    """

    out: str
    rows: int
    shards: int
    computed: int
    bad: int
    bad_rows: dict[int, str]
    done: bool


def predict_to(
    out: str | os.PathLike[str],
    net: Network | str | os.PathLike[str],
    source: str | os.PathLike[str],
    executor: Executor | int | str | None = None,
    shard_rows: int | None = None,
    resume: bool = False,
    on_bad: str = "nan",
    progress: Progress = True,
    *,
    shards: str | None = None,
    precision: PrecisionName | None = None,
    select: str | None = None,
) -> Written:
    """Write the network's outputs for more rows than memory holds, shard by shard, and go on where it was ended.

    Parameters
    ----------
    out : path-like
        A ``.zarr`` folder, an array of zarr version 3 whose chunk is the shard and where what is missing is nan; or an
        ``.npy`` file, which has its name only after all rows were written. The job lies in the folder ``.anyback``
        inside the first, and in ``NAME.npy.anyback`` beside the second.
    net : Network, str or path-like
        A network, a network's name, or the path of its file. One in memory is saved beside the output first.
    source : path-like
        Inputs, shape (n, ...): an ``.npy`` file, a zarr array (version 2 or 3) or an IDX file. It must not change.
    executor : concurrent.futures.Executor, int, str or None
        What computes shards: any executor whose workers see the files; a number of processes, which are started anew
        where one dies; a name in `anyback.executors.EXECUTORS`; None computes in this process.
    shard_rows : int or None
        Rows of a shard, rounded up to whole tiles, so that bits are those of `predict`. None is what the job was begun
        with, or rows of about 32 MB.
    resume : bool
        Whether to go on where `out` was begun: shards that are there are kept. Nothing may have changed. Where nothing
        was begun, it begins.
    on_bad : str
        Rows with nan, and rows that fail alone: ``"nan"`` writes nan for them, counts them, and names the first
        hundred; ``"raise"`` ends at the first shard with one. Outputs of integers, which have no nan, need ``"raise"``.
    progress : bool or callable
        True shows a bar in a terminal or a notebook, and a line a minute elsewhere; a callable is given (rows done,
        rows in all).
    shards : str or None
        A part of the job, ``"i/n"`` with i from 0 to n - 1, for one of n machines: every n-th shard. It goes on where
        another part began. Whoever writes the last shard finishes the output.
    precision : str or None
        Of matrix products, as of `predict`.
    select : str or None
        The name of the output to write, of a network of several.

    Returns
    -------
    Written
        What was done. `anyback.verify` reads the output again.

    Raises
    ------
    JobError
        If `out` is there already, or was begun with another network, input, precision, version or shard size, which is
        named; or if the network cannot be saved.
    ShardError
        If shards cannot be computed or written. The others are there, and the job can be resumed.
    DataError
        If the input is no array of rows, or the network's rows cannot be computed apart.

    Warns
    -----
    UserWarning
        If there are bad rows, or the input seems to be not scaled.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import anyback as ab
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/x.npy", ab.datasets.digits("test").images)
    ...     done = ab.predict_to(f"{folder}/y.npy", "digits-mlp", f"{folder}/x.npy")
    ...     np.load(f"{folder}/y.npy").shape, done.bad, ab.verify(f"{folder}/y.npy").ok
    ((500, 10), 0, True)
    """
    if on_bad not in ("nan", "raise"):
        raise AnybackError(f"on_bad: expected 'nan' or 'raise', found {str(on_bad)[:40]!r}")
    if not isinstance(source, (str, os.PathLike)):
        raise DataError(
            f"source: expected a path, found {type(source).__name__}; numpy.save('x.npy', x) makes one, and "
            "anyback.predict takes what is in memory"
        )
    output, part, pool = output_at(out), _part(shards), opened(executor)
    asked = Asked(net, source, shard_rows, on_bad, precision, select)
    job = begun_job(output, asked, resume or shards is not None)
    output.tidy()
    done = output.place.done(job)
    if done is None:
        return _computed(output, job, part, pool, progress)
    output.check(job)
    _warn(done.bad, job, "")
    return Written(str(output.path), job.shape[0], job.shards, 0, done.bad, done.bad_rows, True)


def _part(shards: str | None) -> tuple[int, int]:
    """Return which part of how many is asked for."""
    if shards is None:
        return 0, 1
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", str(shards))
    if not found or int(found[1]) >= int(found[2]):
        raise AnybackError(f"shards: expected i/n with i from 0 to n - 1, such as 3/16, found {str(shards)[:40]!r}")
    return int(found[1]), int(found[2])


def _computed(output: Output, job: Job, part: tuple[int, int], workers: Pool, progress: Progress) -> Written:
    """Compute the shards that are not there, and finish the output where all are."""
    place, tally = output.place, Tally()
    _count(place, job, tally)
    mine = range(part[0], job.shards, part[1])
    todo = [i for i in mine if i not in tally.shards]
    failed: dict[int, str] = {}
    limit = 1 if job.on_bad == "raise" else _MOST_FAILED
    with _told(progress, job, mine, todo) as tell, contextlib.closing(_each(workers, job, todo)) as each:
        for i, found in each:
            if isinstance(found, Exception):
                failed[i] = str(found) if isinstance(found, ShardError) else f"shard {i}: {_said(found)}"
                if len(failed) >= limit:
                    break
            else:
                tally.add(found)
                tell(i)
    if failed:
        first = min(failed)
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise ShardError(f"{failed[first]}{more}; the others are kept: mend it, and resume")
    _count(place, job, tally)
    done = len(tally.shards) == job.shards
    if done:
        if stamp_of(job.input) != job.stamp:
            raise JobError(
                f"the input {shown(job.input)} was changed meanwhile; remove {shown(place.folder)}, begin again"
            )
        output.finish(job)
        place.put(Done(job.id, job.shards, tally.bad, tally.bad_rows))
        output.tidy()  # of workers that were killed
    _warn(tally.bad, job, tally.advice)
    return Written(str(output.path), job.shape[0], job.shards, len(todo), tally.bad, tally.bad_rows, done)


def _said(error: Exception) -> str:
    """Return what an executor's own error says."""
    return str(error) if isinstance(error, AnybackError) else f"{type(error).__name__}: {error}".removesuffix(": ")


def _count(place: Place, job: Job, tally: Tally) -> None:
    """Count the marks that are there."""
    for i in place.marked(job):
        if i not in tally.shards and (mark := place.mark(job, i)) is not None:
            tally.add(mark)


def _warn(bad: int, job: Job, advice: str) -> None:
    if bad:
        warnings.warn(f"{bad} of {job.shape[0]} rows are bad; their outputs are nan", stacklevel=4)
    if advice:
        warnings.warn(shown(advice), stacklevel=4)


@contextlib.contextmanager
def _told(progress: Progress, job: Job, mine: Sequence[int], todo: Sequence[int]) -> Iterator[Any]:
    """Give a function to call with the number of each shard that was computed."""
    rows = {i: stop - start for i in mine for start, stop in [job.span(i)]}
    total = sum(rows.values())
    done = total - sum(rows[i] for i in todo)

    def tell(i: int) -> None:
        nonlocal done
        done += rows[i]
        show(done)

    shown_in = (
        bar(total, "row", lines=True, initial=done, unit_scale=True)
        if progress is True
        else contextlib.nullcontext(lambda _: None)
    )
    with shown_in as told:
        show = (lambda done: progress(done, total)) if callable(progress) else told
        yield tell


def _each(workers: Pool, job: Job, todo: Sequence[int]) -> Generator[tuple[int, Mark | Exception]]:
    """Yield each shard with its mark, or with the error, as they come."""
    with workers as pool:
        if pool is None:
            for i in todo:
                try:
                    yield i, shard(job, i, None)
                except ShardError as error:
                    yield i, error
            return
        waiting: dict[Future[Mark], int] = {}
        numbers = iter(todo)
        try:
            while True:
                for i in itertools.islice(numbers, _WAITING - len(waiting)):
                    waiting[pool.submit(shard, job, i)] = i
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    i = waiting.pop(future)
                    try:
                        yield i, future.result()
                    except BrokenExecutor:
                        raise
                    except Exception as error:  # of any executor
                        yield i, error
        except RuntimeError as error:  # as BrokenExecutor is, and what an executor raises that was shut down
            raise JobError(f"the executor broke: {error}; what is there is kept: mend it, and resume") from None
        finally:
            for future in waiting:
                future.cancel()
