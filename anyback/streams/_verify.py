"""Whether an output is what its marks say: every byte is read again."""

from __future__ import annotations

import os
from dataclasses import dataclass

from anyback._files import shown
from anyback.errors import JobError
from anyback.streams._marks import Tally
from anyback.streams._outputs import output_at, sha256_of

__all__ = ["Verified", "verify"]


@dataclass(frozen=True)
class Verified:
    """What `verify` found.

    Parameters
    ----------
    out : str
        The output.
    rows, shards : int
        How many there are to be.
    missing : tuple of int
        Shards without a mark.
    wrong : dict of int to str
        Shards whose rows are not those of their mark, and why.
    bad : int
        Bad rows.
    bad_rows : dict of int to str
        The first hundred of them, and why.
    done : bool
        Whether the mark of success is there.
    """

    out: str
    rows: int
    shards: int
    missing: tuple[int, ...]
    wrong: dict[int, str]
    bad: int
    bad_rows: dict[int, str]
    done: bool

    @property
    def ok(self) -> bool:
        """Whether all is there, and as it was computed."""
        return self.done and not self.missing and not self.wrong

    def __bool__(self) -> bool:
        return self.ok


def verify(out: str | os.PathLike[str]) -> Verified:
    """Return whether the output of `predict_to` is whole: the bytes of every shard against the hash in its mark.

    Parameters
    ----------
    out : path-like
        The output, finished or not.

    Returns
    -------
    Verified
        True in a condition where all is there and as it was computed.

    Raises
    ------
    JobError
        If there is no job there, or one of its files is damaged.
    """
    output = output_at(out)
    place = output.place
    job = place.job()
    if job is None:
        raise JobError(f"{shown(out)} is no output of predict_to: there is no {shown(place.folder / 'job.json')}")
    output.check(job)
    done = place.done(job)
    marked = place.marked(job)
    missing = list({*range(job.shards)} - {*marked})
    wrong, tally = {}, Tally()
    for i in marked:
        mark = place.mark(job, i)
        if mark is None:  # removed meanwhile
            missing.append(i)
            continue
        tally.add(mark)
        try:
            if sha256_of(output.read(job, i)) != mark.sha256:
                wrong[i] = "other bytes than those of its mark"
        except JobError as error:
            wrong[i] = str(error)
    return Verified(
        out=str(output.path),
        rows=job.shape[0],
        shards=job.shards,
        missing=tuple(sorted(missing)),
        wrong=wrong,
        bad=tally.bad,
        bad_rows=tally.bad_rows,
        done=done is not None,
    )
