"""More rows than memory holds: speed beside a plain loop, memory, kills, and one job on three engines.

``nox -s streams-bench`` runs all of it and writes `benchmarks/reports/streams.json`; the words of `--what` choose among
the tables. Everything computes by `predict`, which multiplies in one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import streams_kills
from streams_kills import DRIVER, wait_for_group

import anyback as ab
from anyback._show import Table, json_text
from anyback.bench._tables import where
from anyback.executors import Processes, opened

PACKAGES = ("numpy", "zarr", "dask", "distributed", "ray")
#: Rows of a chunk of the input: 15 MB of bytes.
CHUNK = 19_200


def main() -> int:
    """Measure, print, write JSON; return the exit code, which is 1 where an answer or a count is wrong."""
    asked = arguments()
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for name in asked.what.split(","):
            began = time.monotonic()
            found[name] = MEASURES[name](Path(folder), asked)
            found[name]["minutes"] = round((time.monotonic() - began) / 60, 1)
            found[name]["load"] = f"{os.getloadavg()[0]:.1f}"
            if asked.json:  # each when it is there
                asked.json.parent.mkdir(parents=True, exist_ok=True)
                before = json.loads(asked.json.read_text(encoding="utf-8")) if asked.json.exists() else {}
                whole = {**before, **found, "environment": where(PACKAGES)}
                asked.json.write_text(json_text(whole, 1) + "\n", encoding="utf-8")
    return 0 if all(table["ok"] for table in found.values()) else 1


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", default=",".join(MEASURES), help="tables, with commas between")
    parser.add_argument("--rows", type=int, default=2_000_000, help="of the speed table and the job on three engines")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--folder", type=Path, help="where to put input and outputs; else the system's place")
    parser.add_argument("--json", type=Path, help="the file to write")
    return parser.parse_args()


def images(folder: Path, rows: int) -> Path:
    """Write a zarr array of so many images of MNIST's test set, in a random order; return its path."""
    import zarr

    path = folder / f"x{rows}.zarr"
    if not path.exists():
        known = ab.datasets.mnist("test").images.reshape(-1, 784)
        rng = np.random.default_rng(0)
        array = zarr.create_array(path, shape=(rows, 784), chunks=(CHUNK, 784), dtype="uint8")
        for start in range(0, rows, CHUNK):
            stop = min(start + CHUNK, rows)
            array[start:stop] = known[rng.integers(0, len(known), stop - start)]
    return path


def digest(y: np.ndarray) -> str:
    """Return a hash of the bytes of an array, also of one that lies in a file."""
    whole = hashlib.sha256()
    for start in range(0, len(y), CHUNK):
        whole.update(np.ascontiguousarray(y[start : start + CHUNK]))
    return whole.hexdigest()


def by_hand(source: Path, out: Path) -> None:
    """Compute chunk by chunk with one thread, into a memory map: what has no resume, no marks and no bad rows."""
    import zarr

    net, x = ab.load_model("mnist-mlp", backend="numpy"), zarr.open(source, mode="r")
    y = np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=(x.shape[0], 10))
    for start in range(0, len(y), CHUNK):
        stop = min(start + CHUNK, len(y))
        y[start:stop] = ab.predict(net, x[start:stop], workers=1)
    y.flush()


# -- Speed --------------------------------------------------------------------------------------------

#: Row -> what it is measured beside, and the least ratio that is wanted.
GOALS = {
    "one process, one thread": ("a plain loop", 0.9),
    "two processes": ("a plain loop", 1.2),
    "Dask's get_executor, two workers": ("a plain loop", 0.95),
    "predict on a Dask array": ("map_blocks by hand", 0.95),
}


def speed(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Time the engines in turn, in an order that is drawn anew in each round."""
    source = images(folder, asked.rows)
    with contextlib.ExitStack() as stack:
        ways = dict(ways_of(folder, source, stack))
        for run in ways.values():  # starts what is started once, and fills the cache of files
            run()
        times: dict[str, list[float]] = {name: [] for name in ways}
        answers: dict[str, set[str]] = {name: set() for name in ways}
        rng = random.Random(asked.seed)
        for _ in range(asked.rounds):
            for name in rng.sample(list(ways), len(ways)):
                began = time.perf_counter()
                y = ways[name]()
                times[name].append(time.perf_counter() - began)
                answers[name].add(digest(y))
    rows, lines = {}, []
    for name, seconds in times.items():
        measure, goal = GOALS.get(name, ("a plain loop", None))
        ratios = [a / b for a, b in zip(times[measure], seconds, strict=True)]
        ratio, best = statistics.median(ratios), min(times[measure]) / min(seconds)
        met = None if goal is None else max(ratio, best) >= goal
        rows[name] = {"seconds": min(seconds), "beside": measure, "ratio": ratio, "ratio of least": best, "goal": goal}
        rows[name] |= {"met": met, "all": seconds, "spread": max(seconds) / min(seconds)}
        said = ("", "") if goal is None else (f"≥ {goal}", "reached" if met else "MISSED")
        lines.append((name, f"{min(seconds):.2f} s", measure, f"{ratio:.2f}", f"{best:.2f}", *said))
    title = f"{asked.rows:,} × 784 bytes in zarr, mnist-mlp; times as fast as the row beside it"
    print(
        Table(("", "least", "beside", "median", "of least", "goal", ""), lines, title, (), left=(0, 2, 6)), flush=True
    )
    same = len(set().union(*answers.values())) == 1
    return {"rows": asked.rows, "rounds": asked.rounds, "results": rows, "same_bits": same, "ok": same}


def ways_of(folder: Path, source: Path, stack: contextlib.ExitStack) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Yield each way to compute all rows, by its name; each returns what it wrote."""
    import dask.array as da
    import zarr

    def loop() -> np.ndarray:
        by_hand(source, folder / "loop.npy")
        return np.load(folder / "loop.npy", mmap_mode="r")

    def job(executor: Any) -> Callable[[], np.ndarray]:
        def run() -> np.ndarray:
            out = folder / "job.npy"
            out.unlink(missing_ok=True)
            shutil.rmtree(folder / "job.npy.anyback", ignore_errors=True)
            ab.predict_to(out, "mnist-mlp", source, executor, progress=False)
            return np.load(out, mmap_mode="r")

        return run

    yield "a plain loop", loop
    yield "one process, one thread", job(stack.enter_context(ThreadPoolExecutor(1)))
    yield "one process", job(None)
    yield "two processes", job(stack.enter_context(Processes(2)))
    from distributed import Client, LocalCluster

    cluster = stack.enter_context(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None))
    client = stack.enter_context(Client(cluster, set_as_default=False))
    yield "Dask's get_executor, two workers", job(client.get_executor())
    with contextlib.suppress(ImportError):
        import ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        stack.callback(ray.shutdown)
        yield "Ray's tasks, two workers", job(stack.enter_context(opened("ray")))
    net = ab.load_model("mnist-mlp", backend="numpy")
    x = da.from_zarr(zarr.open(source, mode="r"))
    there = net.to("dask")

    def in_blocks() -> np.ndarray:
        y = x.map_blocks(lambda b: ab.predict(net, b, workers=1), dtype="float32", chunks=(x.chunks[0], (10,)))
        return np.asarray(y.compute(scheduler="threads", num_workers=2))

    yield "map_blocks by hand", in_blocks
    yield (
        "predict on a Dask array",
        lambda: np.asarray(ab.predict(there, x).compute(scheduler="threads", num_workers=2)),
    )


# -- Memory -------------------------------------------------------------------------------------------


def memory(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure the anonymous memory of a driver and its workers, at most, for one and for eight million rows."""
    rows, lines = {}, []
    for engine in ("none", "processes"):
        peaks = {}
        for millions in (1, 8):
            count = millions * 1_000_000
            source, out = folder / f"m{millions}.npy", folder / f"m{millions}-out.npy"
            np.lib.format.open_memmap(source, mode="w+", dtype=np.uint8, shape=(count, 64)).flush()
            shutil.rmtree(folder / f"{out.name}.anyback", ignore_errors=True)
            out.unlink(missing_ok=True)
            command = [sys.executable, str(DRIVER), str(out), "digits-mlp", str(source), "--engine", engine]
            driver = subprocess.Popen([*command, "--shard-rows", "50000"], start_new_session=True)
            peaks[millions] = peak(driver)
            if driver.returncode:
                raise RuntimeError("the driver failed")
        grown = peaks[8] - peaks[1]
        rows[engine] = {"bytes": peaks, "grown": grown, "met": grown <= 10_000_000}
        said = "reached" if rows[engine]["met"] else "MISSED"
        sizes = [f"{peaks[m] / 1e6:.1f} MB" for m in (1, 8)]
        lines.append((f"executor: {engine}", *sizes, f"{grown / 1e6:+.1f} MB", "≤ 10 MB", said))
    title = "Anonymous memory (RssAnon), at most, of the largest process; digits-mlp, rows of 64 bytes, .npy"
    print(Table(("", "1 million rows", "8 million", "more", "goal", ""), lines, title, (), left=(0, 5)), flush=True)
    return {"results": rows, "ok": all(row["met"] for row in rows.values())}


def peak(driver: subprocess.Popen[Any]) -> int:
    """Return the largest RssAnon that any process of a driver's group has until it ends, in bytes."""
    most = 0
    while driver.poll() is None:
        for pid in (driver.pid, *streams_kills.workers_of(driver.pid)):
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                most = max(most, 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1]))
        time.sleep(0.02)
    return most


# -- Kills, and one job on three engines --------------------------------------------------------------


def kills(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Kill at random times, and count."""
    place = folder / "kills"
    place.mkdir()
    counts = streams_kills.kill(asked.kills, place, asked.seed, tell=lambda text: print(text, flush=True))
    return {**streams_kills.as_dict(counts), "seed": asked.seed, "ok": not counts.faults()}


def relay(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Begin a job with Dask, kill it, resume with Ray, kill it, finish with processes; compare with one process."""
    source, out = images(folder, asked.rows), folder / "relay.zarr"
    marks = out / ".anyback" / "marks"
    steps: list[dict[str, Any]] = []
    log = folder / "relay.log"
    for engine, part in (("dask", 0.3), ("ray", 0.65), ("processes", 2.0)):
        command = [sys.executable, str(DRIVER), str(out), "mnist-mlp", str(source), "--engine", engine]
        driver = subprocess.Popen([*command, "--log", str(log)], start_new_session=True)
        while driver.poll() is None:
            there, total = len(list(marks.glob("*.json"))), shards_of(out)
            if total and there >= part * total:
                os.killpg(driver.pid, signal.SIGKILL)
                break
            time.sleep(0.01)
        driver.wait()
        wait_for_group(driver.pid)
        time.sleep(2)  # Ray's own processes end by themselves, behind their driver
        steps.append({"engine": engine, "exit": driver.returncode, "marks": len(list(marks.glob("*.json")))})
        print(steps[-1], flush=True)
    import zarr

    by_hand(source, folder / "one.npy")
    one, found = np.load(folder / "one.npy", mmap_mode="r"), zarr.open(out, mode="r")
    whole = hashlib.sha256()
    for start in range(0, len(one), CHUNK):
        whole.update(np.ascontiguousarray(found[start : start + CHUNK]))
    same, sound = whole.hexdigest() == digest(one), bool(ab.verify(out))
    lines = [line.split() for line in log.read_text().splitlines()]
    begun, ended = (sum(line[0] == word for line in lines) for word in ("begin", "end"))
    counts = {"shards": shards_of(out), "begun": begun, "under_way_when_killed": begun - ended}
    print(f"{asked.rows:,} rows, {counts}: verified {sound}, the bits of one process {same}", flush=True)
    in_turn = [step["exit"] for step in steps] == [-signal.SIGKILL, -signal.SIGKILL, 0]
    return {"rows": asked.rows, "steps": steps, **counts, "verified": sound, "same_bits": same} | {
        "ok": sound and same and in_turn and begun - shards_of(out) <= begun - ended
    }


def shards_of(out: Path) -> int:
    """Return how many shards the job of an output has; 0 where there is none yet."""
    path = out / ".anyback" / "job.json"
    if not path.exists():
        return 0
    job = json.loads(path.read_text(encoding="utf-8"))
    return -(-job["shape"][0] // job["rows"])


MEASURES: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "speed": speed,
    "memory": memory,
    "relay": relay,
    "kills": kills,
}

if __name__ == "__main__":
    sys.exit(main())
