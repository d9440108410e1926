"""More rows than memory holds: a job in shards, each written once, whole or not at all.

A job lies on the disk as::

    out.zarr/                 the output, here a zarr array whose chunk is the shard
        zarr.json
        c.0.0  c.1.0  ...     the rows of shard 0, of shard 1, ...
        .anyback/             the job; for out.npy it is the folder out.npy.anyback
            job.json          what is computed from what; written first
            network-....safetensors   the network, if it was in memory
            marks/0.json ...  a mark for each shard; written after the rows of the shard
            done.json         the mark of success; written last

Every file appears whole or not at all, and is on the disk before the next is written. So the rows of a shard that has a
mark are on the disk, whichever process was killed at whatever time, and a shard without a mark is computed again.

`Predictor` is for engines that carry the rows themselves.

Examples
--------
>>> import json, tempfile
>>> from pathlib import Path
>>> import anyback as ab, numpy as np
>>> list(OUTPUTS)
['.zarr', '.npy']
>>> with tempfile.TemporaryDirectory() as folder:
...     source, out = Path(folder, "x.npy"), Path(folder, "y.npy")
...     np.save(source, ab.datasets.digits("test").images)
...     rows = open_source(source).shape
...     written = predict_to(out, "digits-mlp", source, progress=False)
...     found = verify(out)
...     job = Job(**json.loads(Path(folder, "y.npy.anyback", "job.json").read_text()))
...     mark = shard(job, 0)  # its mark is there: nothing is computed again
>>> rows, isinstance(written, Written), written.computed, written.done
((500, 8, 8), True, 1, True)
>>> isinstance(found, Verified), found.ok, job.shards, mark.bad
(True, True, 1, 0)
"""

from anyback.streams._job import Job
from anyback.streams._outputs import OUTPUTS
from anyback.streams._predictor import Predictor
from anyback.streams._run import Written, predict_to
from anyback.streams._shard import shard
from anyback.streams._sources import open_source
from anyback.streams._verify import Verified, verify

__all__ = ["OUTPUTS", "Job", "Predictor", "Verified", "Written", "open_source", "predict_to", "shard", "verify"]
