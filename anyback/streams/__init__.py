"""More rows than memory holds: a job in shards, each written once, whole or not at all.

A job lies on the disk as::

    out.zarr/                 the output, here a zarr array whose chunk is the shard
        zarr.json
        c.0.0  c.1.0  ...     the rows of shard 0, of shard 1, ...
        .anyback/             the job; of out.npy it is the folder out.npy.anyback
            job.json          what is computed from what: first of all
            network-....safetensors   a network that was in memory
            marks/0.json ...  that a shard is there: behind its rows
            done.json         that all are: last

Every file appears whole or not at all, and is on the disk before the next is written. So what has a mark is there,
whatever was killed when, and what has none is computed again.

`Predictor` is for engines that carry the rows themselves.
"""

from anyback.streams._job import Job
from anyback.streams._outputs import OUTPUTS
from anyback.streams._predictor import Predictor
from anyback.streams._run import Written, predict_to
from anyback.streams._shard import shard
from anyback.streams._sources import open_source
from anyback.streams._verify import Verified, verify

__all__ = ["OUTPUTS", "Job", "Predictor", "Verified", "Written", "open_source", "predict_to", "shard", "verify"]
