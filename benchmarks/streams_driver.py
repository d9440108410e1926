"""A driver of one job, in a process of its own, so that it can be killed: ``streams_driver.py OUT MODEL SOURCE ...``.

Each shard that begins or ends is a line of the log, ``begin 17 4711`` with the process that computes it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import anyback as ab
from anyback.executors import opened


class Logged(Executor):
    """An executor that computes on another, and logs where each task begins and ends."""

    def __init__(self, inner: Executor, log: str) -> None:
        self._inner, self._log = inner, log

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        return self._inner.submit(logged, self._log, function, *args, **named)


def logged(log: str, function: Callable[..., Any], job: Any, i: int) -> Any:
    """Compute a shard, where it is computed, with a line before and behind."""
    write(log, f"begin {i} {os.getpid()}")
    found = function(job, i)
    write(log, f"end {i} {os.getpid()}")
    return found


def write(log: str, line: str) -> None:
    """Append a line, whole: every process has the file open for itself."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@contextlib.contextmanager
def executor(name: str, workers: int) -> Iterator[Executor | None]:
    """Give the executor of a name with so many workers on this machine."""
    if name == "none":
        yield None
    elif name == "processes":
        with opened(workers) as pool:
            yield pool
    elif name == "dask":
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client.get_executor()
    else:
        import ray

        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        with opened(name) as pool:
            yield pool


def main() -> None:
    """Compute what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("out", "model", "source"):
        parser.add_argument(name)
    parser.add_argument("--engine", choices=("none", "processes", "dask", "ray"), default="processes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-rows", type=int)
    parser.add_argument("--in-memory", action="store_true", help="give the network itself, which is then saved")
    parser.add_argument("--log")
    asked = parser.parse_args()
    model: Any = ab.load_model(asked.model) if asked.in_memory else asked.model
    warnings.simplefilter("ignore")
    with executor(asked.engine, asked.workers) as pool:
        used = pool if pool is None or asked.log is None else Logged(pool, asked.log)
        done = ab.predict_to(asked.out, model, asked.source, used, asked.shard_rows, True, progress=False)
    print(f"computed {done.computed} of {done.shards}, {'done' if done.done else 'not done'}", Path(asked.out).name)


if __name__ == "__main__":
    main()
