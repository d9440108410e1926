"""How fast anyback is to be, and what only this is measured for: networks from ONNX files, memory, loading, GPUs.

A goal is a ratio to what else there is: the median over the rounds, of the fastest of some rows to the fastest of
others in the same round.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gpu_rows
import numpy as np
import onnx_rows

from anyback import bench
from anyback._show import Table
from anyback.backends import _machine
from anyback.bench import Result, Work
from anyback.bench._fresh import by_hand

__all__ = ["TABLES", "Goal", "goals", "judged", "measured"]

#: Table -> what it shows.
TABLES = {
    "networks": "Networks from ONNX files; ratio to ONNX Runtime of one thread",
    "peak": "Memory beyond weights and output, loading ResNet-18 and computing one image; ratio to ONNX Runtime",
    "loading": "Loading a file and lowering for `predict`; ratio to one pass over 100 images",
    "gpu": "On a GPU, images and results there; ratio to the first row of a network",
}
LIBRARIES = onnx_rows.LIBRARIES
Images = Callable[[], np.ndarray]
#: Rounds of what takes a process of its own.
FEW = 5


@dataclass(frozen=True)
class Goal:
    """One goal; `against` is empty where the ratio of the table is judged."""

    work: str
    table: str
    rows: tuple[str, ...]
    against: tuple[str, ...]
    most: float

    def ratio(self, results: Sequence[Result]) -> float | None:
        """Return the median of the ratios of the rounds; None where one of both was not measured."""
        ours, theirs = (self._fastest(results, names) for names in (self.rows, self.against))
        if ours is None or not self.against:
            return None if ours is None else ours.ratio
        return None if theirs is None else statistics.median(map(_quotient, ours.times, theirs.times))

    def _fastest(self, results: Sequence[Result], names: Sequence[str]) -> Result | None:
        found = [r for r in results if r.table == self.table and r.name in names and r.value is not None]
        return min(found, key=lambda result: result.value or 0.0, default=None)


def _quotient(x: float, y: float) -> float:
    return x / y


def goals() -> Iterator[Goal]:
    """Yield the goals, for the kernels of OpenBLAS that run here."""
    floor = 1.15 if _machine.openblas_kernels() in _machine._AVX512 else 1.30
    hand = {
        "torch": ("PyTorch eager by hand", "PyTorch eager by hand, tiles", "torch.compile by hand, tiles"),
        "jax": ("jax.jit by hand", "jax.jit by hand, lax.map of tiles"),
    }
    many, ours = "mnist-mlp, 10,000 images", tuple(f"anyback {library}" for library in LIBRARIES)
    bare = "floor: bare products, a cast, an exp each"
    yield Goal(f"{many}: NumPy to the floor", "throughput", ("anyback numpy",), (bare,), floor)
    for library, rows in hand.items():
        yield Goal(f"{many}: {library} to its best by hand", "throughput", (f"anyback {library}",), rows, 1.05)
    yield Goal(f"{many}: the fastest to ONNX Runtime in tiles", "throughput", ours, ("ONNX Runtime, tiles",), 1.0)
    for row, against, most in (
        ("numpy, net(x)", "book, bare function on floats", 1.5),
        ("torch, net(x)", "PyTorch eager by hand", 1.3),
        ("jax, net(x)", "jax.jit by hand", 1.2),
        ("numpy, predict", "book, bare function on floats", 3.0),
    ):
        yield Goal(f"one image: {row}, to {against}", "latency", (f"anyback {row}",), (against,), most)
    for library in LIBRARIES:
        row = f"anyback {library}, two workers"
        yield Goal(f"two workers on two cores to one: {library}", "workers", (row,), (), round(1 / 1.8, 3))
    own = {"torch": "PyTorch itself", "jax": "jax.jit by hand"}
    for name, most in zip(onnx_rows.NETWORKS, (1.2, 1.8, 4.0, 2.0), strict=True):
        for library in LIBRARIES:
            to, limit = (own[library], 1.1) if library in own else ("ONNX Runtime", most)
            rows = (f"{name}: anyback {library}, net(x)",)
            yield Goal(f"{name}: {library} to {to}", "networks", rows, (f"{name}: {to}",), limit)
    name = next(iter(onnx_rows.NETWORKS))
    best = tuple(f"{name}: anyback {library}, net(x)" for library in LIBRARIES)
    yield Goal(f"{name}: the fastest to ONNX Runtime", "networks", best, (f"{name}: ONNX Runtime",), 1.0)
    for row in ours:
        yield Goal(f"memory on ResNet-18 to ONNX Runtime: {row}", "peak", (row,), ("ONNX Runtime",), 1.2)
    for row, library in zip(ours, LIBRARIES, strict=True):
        yield Goal(f"first answer to {by_hand(library)}: {row}", "first", (row,), (by_hand(library),), 1.2)
    for name in onnx_rows.NETWORKS:
        for row in ours:
            yield Goal(f"loading of one pass, {name}: {row}", "loading", (f"{name}: {row}",), (), 0.1)
    for name in (*(f"mnist-mlp, {n:,} images" for n in gpu_rows.COUNTS), gpu_rows.RESNET):
        for library in gpu_rows.LIBRARIES:
            if (name, library) == (gpu_rows.RESNET, "cupy"):  # which has no convolution to write one by hand with
                continue
            rows = tuple(f"{name}: {library} {way}" for way in gpu_rows.BY_HAND)
            work = f"{name}, on a GPU: {library} to its best by hand"
            yield Goal(work, "gpu", (f"{name}: anyback {library}",), rows, 1.05)


def judged(results: Sequence[Result], what: Sequence[str]) -> tuple[Table, list[dict[str, object]]]:
    """Return the table of the goals of some tables, and its rows for JSON."""
    cells, rows = [], []
    for goal in (goal for goal in goals() if goal.table in what):
        ratio = goal.ratio(results)
        met = None if ratio is None else ratio <= goal.most
        said = "not measured" if ratio is None else f"{ratio:.2f}"
        cells.append((goal.work, said, f"{goal.most:g}", {None: "", True: "reached", False: "MISSED"}[met]))
        rows.append({"work": goal.work, "table": goal.table, "ratio": ratio, "goal": goal.most, "met": met})
    reached, known = sum(bool(row["met"]) for row in rows), sum(row["met"] is not None for row in rows)
    title = f"{reached} of {known} goals are reached"
    if known < len(rows):
        title += f", {len(rows) - known} not measured"
    return Table(("", "ratio", "goal", ""), cells, title, left=(0, 3)), rows


# -- The tables -----------------------------------------------------------------------------------


def measured(what: Sequence[str], count: int, images: Images) -> list[Result]:
    """Return the rows of those of `TABLES` that are asked for; `images` are those of the book's network."""
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        files = onnx_rows.Files(Path(folder), None)
        return [result for name in what if name in TABLES for result in MEASURES[name](files, count, images)]


def networks(files: onnx_rows.Files, count: int, _: object) -> Iterator[Result]:
    for name in onnx_rows.NETWORKS:
        found = onnx_rows.network_rows(files, name)
        times = bench.rounds(found.functions, count, clock=time.process_time)
        measure = next(iter(times.values()))
        for row, each in times.items():
            group = "anyback" if row in found.libraries else "peer"
            yield Result.timed("networks", f"{name}: {row}", group, each, measure)
        for line in found.failed:
            yield Result("networks", f"{name}: {line.name}", line.group, note=line.note, wrong=line.wrong)


def peak(files: onnx_rows.Files, count: int, _: object) -> Iterator[Result]:
    big, small = (files.path(name) for name in list(onnx_rows.NETWORKS)[:2])
    rows = {"ONNX Runtime": "peer", **{f"anyback {library}": "anyback" for library in LIBRARIES}}
    found: Mapping[str, list[float]] = {row: [] for row in rows}
    for _ in range(min(count, FEW)):
        for row, each in found.items():
            each.append(max(1, onnx_rows.in_process("running", big, row, small)))
    for row, each in found.items():
        yield Result.timed("peak", row, rows[row], each, found["ONNX Runtime"], unit="bytes")


def loading(files: onnx_rows.Files, count: int, _: object) -> Iterator[Result]:
    for name in onnx_rows.NETWORKS:
        for library in LIBRARIES:
            words = f"{library} {min(count, FEW)} {name}"
            loads, passes = onnx_rows.in_process("ready", files.path(name), words, files.path("small steps"))
            yield Result.timed("loading", f"{name}: anyback {library}", "anyback", loads, passes)


def gpu(files: onnx_rows.Files, count: int, images: Images) -> Iterator[Result]:
    places = gpu_rows.places()
    if not places:
        yield Result("gpu", "a GPU", "anyback", note="not measured: CuPy, PyTorch and JAX find none here")
        return
    yield from gpu_rows.measured(files, Work.of("mnist-mlp", images()), count, places)


MEASURES: Mapping[str, Callable[[onnx_rows.Files, int, Images], Iterator[Result]]] = {
    "networks": networks,
    "peak": peak,
    "loading": loading,
    "gpu": gpu,
}
