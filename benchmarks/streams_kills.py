"""Kill workers, drivers and whole process groups at random times; count what was lost, computed twice or torn."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import anyback as ab

DRIVER = Path(__file__).with_name("streams_driver.py")
WORKERS = 2
#: Rows of a shard: a tile of the small network.
ROWS = 1920
#: What is killed: a worker more often, since a driver then goes on.
WHAT = (*["worker"] * 8, "driver", "group")
#: The longest that a driver may take, in seconds.
LIMIT = 600


@dataclass
class Counts:
    """What is counted over all jobs."""

    kills: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    shards: int = 0
    #: How often a shard was begun; and of these, how often it was under way when its process was killed.
    begun: int = 0
    under_way: int = 0
    #: How often a driver gave up, since the process of one shard was killed five times.
    given_up: int = 0
    #: Temporary files that were left where a job was finished.
    left_over: int = 0
    # What must not be:
    computed_twice: int = 0  # shards that ended, and ended again
    kept_chunks_touched: int = 0  # files that had a mark and are others now
    more_under_way_than_workers: int = 0
    not_verified: int = 0  # jobs
    other_bits: int = 0  # jobs

    def faults(self) -> int:
        """Return how much is wrong."""
        twice = self.computed_twice + self.kept_chunks_touched + self.more_under_way_than_workers
        return twice + self.not_verified + self.other_bits


def kill(kills: int, folder: Path, seed: int, shards: int = 24, tell: Callable[[str], object] = print) -> Counts:
    """Run jobs, and kill something of each again and again, until there were so many kills.

    Parameters
    ----------
    kills : int
        How many.
    folder : pathlib.Path
        For the input and the outputs.
    seed : int
        Of the random times.
    shards : int
        Of a job.
    tell : callable
        Is given a line for each job.
    """
    rng, counts = random.Random(seed), Counts()
    images = ab.datasets.digits("test").images
    x = images[np.random.default_rng(seed).integers(0, len(images), ROWS * shards - 7)]
    np.save(folder / "x.npy", x)
    expected = ab.predict(ab.load_model("digits-mlp", backend="numpy"), x).tobytes()
    while counts.kills.total() < kills:
        out = folder / f"y{counts.jobs}.{rng.choice(('zarr', 'npy'))}"
        job = one_job(kills - counts.kills.total(), out, rng, expected, in_memory=rng.random() < 0.5)
        for each in dataclasses.fields(Counts):
            setattr(counts, each.name, getattr(counts, each.name) + getattr(job, each.name))
        tell(f"{counts.kills.total()} kills, {counts.jobs} jobs: {as_dict(counts)}")
    return counts


def as_dict(counts: Counts) -> dict[str, Any]:
    """Return counts for a report."""
    return {**dataclasses.asdict(counts), "kills": dict(counts.kills), "faults": counts.faults()}


def one_job(kills: int, out: Path, rng: random.Random, expected: bytes, in_memory: bool) -> Counts:
    """Compute one output in spite of up to so many kills, and check it."""
    counts, log, source = Counts(jobs=1), out.with_suffix(".log"), str(out.with_name("x.npy"))
    kept: dict[str, tuple[int, int]] = {}
    command = [sys.executable, str(DRIVER), str(out), "digits-mlp", source, "--shard-rows", str(ROWS)]
    command += ["--workers", str(WORKERS), "--log", str(log), *(["--in-memory"] if in_memory else [])]
    done = False
    while not done:
        driver = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            kill_some(driver, kills, rng, log, counts)
            said, wrong = driver.communicate(timeout=LIMIT)
            if driver.returncode not in (0, -signal.SIGKILL):
                if "a process ended" not in wrong:
                    raise RuntimeError(f"the driver failed: {wrong[-2000:]}")
                counts.given_up += 1
            done = ", done " in said
            wait_for_group(driver.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)
        counts.kept_chunks_touched += touched(out, kept)
    count_log(log.read_text(), counts)
    check(out, counts, expected)
    return counts


def kill_some(driver: subprocess.Popen[str], kills: int, rng: random.Random, log: Path, counts: Counts) -> None:
    """Kill workers of a driver, and at last itself, at random times until it ends.

    Nine of ten are killed behind a shard that began since the last kill, workers that have computed, so that there is
    something under way or just done, however slow the machine is; the tenth at any time, also before the job is on the
    disk.
    """
    begun = time.monotonic()
    what, at, seen = rng.choice(WHAT), begun, size(log)
    blind = rng.random() < 0.1
    while driver.poll() is None and counts.kills.total() < kills:
        if (now := time.monotonic()) > begun + LIMIT:
            raise RuntimeError("the driver takes too long")
        time.sleep(0.002)
        if not blind and size(log) == seen:
            at = now + rng.uniform(0, 0.3)
            continue
        if now < at:
            continue
        if what == "worker":
            known = set() if blind else {line.split()[2] for line in log.read_text().splitlines()}
            workers = [pid for pid in workers_of(driver.pid) if blind or str(pid) in known]
            if not workers:
                continue  # they are being started
            end(os.kill, rng.choice(workers))
        else:
            end(os.kill if what == "driver" else os.killpg, driver.pid)
        counts.kills[what] += 1
        what, blind = rng.choice(WHAT), rng.random() < 0.1
        at, seen = now + rng.uniform(0, 1), size(log)


def size(path: Path) -> int:
    """Return the bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def workers_of(driver: int) -> list[int]:
    """Return the processes that compute shards for a driver."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == driver and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def end(send: Callable[[int, int], object], process: int) -> None:
    """Send SIGKILL to a process or a group that may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        send(process, signal.SIGKILL)


def wait_for_group(group: int) -> None:
    """Return once no process of a group is left, so that what is seen then is what the next driver finds."""
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            time.sleep(0.003)


def touched(out: Path, kept: dict[str, tuple[int, int]]) -> int:
    """Return how many chunks that had marks are other files now; keep what has a mark."""
    if out.suffix != ".zarr":
        return 0  # its rows lie in one file
    now = {}
    for mark in (out / ".anyback" / "marks").glob("*.json"):
        state = (out / f"c.{mark.stem}.0").stat()
        now[mark.stem] = (state.st_ino, state.st_mtime_ns)
    changed = sum(now.get(name) != state for name, state in kept.items())
    kept.update(now)
    return changed


def count_log(log: str, counts: Counts) -> None:
    """Count the shards that were begun, that ended, and that were under way when their process was killed."""
    lines = [line.split() for line in log.splitlines()]
    begun = Counter(shard for what, shard, _ in lines if what == "begin")
    ended = Counter(shard for what, shard, _ in lines if what == "end")
    counts.shards, counts.begun, counts.under_way = len(begun), begun.total(), begun.total() - ended.total()
    counts.computed_twice = sum(times - 1 for times in ended.values() if times > 1)
    most = counts.kills["worker"] + WORKERS * (counts.kills["driver"] + counts.kills["group"])
    counts.more_under_way_than_workers = max(0, counts.under_way - most)


def check(out: Path, counts: Counts, expected: bytes) -> None:
    """Read a finished output again, and remove it."""
    found = ab.verify(out)
    counts.not_verified = int(not found)
    if out.suffix == ".zarr":
        parts = [np.fromfile(out / f"c.{i}.0", "<f4").reshape(-1, 10) for i in range(found.shards)]
        y = np.concatenate(parts)[: found.rows]
        folder = out
    else:
        y, folder = np.load(out), out.with_name(f"{out.name}.anyback")
    counts.other_bits = int(y.tobytes() != expected)
    counts.left_over = sum(1 for _ in folder.rglob("*.part"))
    shutil.rmtree(folder)
    out.unlink(missing_ok=True) if out.suffix == ".npy" else None


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        print(as_dict(kill(int(sys.argv[1]), Path(place), int(sys.argv[2]), tell=lambda text: print(text, flush=True))))
