"""Measure networks from ONNX files beside ONNX Runtime and the package onnx: ``nox -s onnx-bench``.

A row is timed in processor time, which does not count what others do on the same core: once in each round, in an order
that is drawn anew, beside the row that is the table's measure. Every row that answers must answer as ONNX Runtime does.
The goals beside the rows are ratios of the fastest rounds, seconds or bytes; a missed one is listed below the tables.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_rows
from onnx_rows import Line

from anyback import bench
from anyback._show import Table, json_text
from anyback.bench._tables import where

#: Rounds of what takes a process of its own.
FEW = 5
#: Whose versions are reported, beside those of the machine.
PACKAGES = ("jax", "torch", "onnx", "onnxruntime", "skl2onnx", "scikit-learn")
TITLES = {
    "voice": "One frame of a voice detector (silero-vad 6.2.3); ratio to ONNX Runtime of one thread",
    "steps": f"{onnx_rows.STEPS} steps on arrays of 8 numbers, NumPy; ratio to the same kernels in a loop of Python",
    "loading": "Loading a file, each time in a fresh process that has loaded a small one; ratio to onnx.load",
    "memory": "Memory of the process beyond the file's size, at most, while it is loaded",
    "modules": "Modules that loading imports beyond anyback's, and beyond those of loading any other network",
    "compiling": "The first net(x) on JAX: processor time beyond that of the second",
}


def main() -> int:
    """Measure, print, write JSON; return the exit code, which is 1 where an answer is wrong."""
    asked = arguments()
    bench.restart(1)
    warnings.simplefilter("ignore")
    sys.path.append(str(Path(__file__).parents[1] / "tools"))
    names = asked.what.split(",")
    if unknown := [name for name in names if name not in TITLES]:
        sys.exit(f"onnx_networks.py: unknown table {unknown[0]!r}; known: {', '.join(TITLES)}")
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        files = onnx_rows.Files(Path(folder), asked.packages)
        for name in names:
            found = list(MEASURES[name](files, asked.rounds))
            print(f"{table(TITLES[name], found)}\n", flush=True)
            lines += found
    with_goals = [line for line in lines if line.goal is not None]
    missed = [line for line in with_goals if not line.met]
    for line in missed:
        print(f"missed: {line.table}: {line.name}: {line.judged}, goal {line.goal_said}")
    print(f"{len(with_goals) - len(missed)} of {len(with_goals)} goals are reached")
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json_text({"default": report(lines, names, asked.rounds)}, 1) + "\n", encoding="utf-8")
    return 1 if any(line.wrong for line in lines) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, help="the folder that packages with files are installed in")
    parser.add_argument("--what", default=",".join(TITLES), help="tables, with commas between")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="the file to write")
    return parser.parse_args()


def report(lines: Sequence[Line], names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return everything for JSON, in the words of `run.py`."""
    return {
        "threads": 1,
        "rounds": rounds,
        "titles": {name: TITLES[name] for name in names},
        "results": [{**dataclasses.asdict(line), "met": line.met} for line in lines],
        "environment": where(PACKAGES),
        "ok": not any(line.wrong for line in lines),
    }


def table(title: str, lines: Sequence[Line]) -> Table:
    cells = []
    for line in lines:
        least = "" if line.least is None else line.said(line.least)
        ratios = ["" if x is None else f"{x:.2f}" for x in (line.least_ratio, line.ratio)]
        met = "" if line.met is None else "reached" if line.met else "MISSED"
        cells.append((line.name, least, *ratios, line.goal_said, met))
    notes = [f"{line.name}: {'WRONG: ' if line.wrong else ''}{line.note}" for line in lines if line.note]
    return Table(("", "least", "ratio", "median of ratios", "goal", ""), cells, title, notes, left=(0, 5))


def timed(
    name: str,
    functions: Mapping[str, Callable[[], object]],
    count: int,
    goals: Mapping[str, float],
    groups: Mapping[str, str] | None = None,
    steps: int = 1,
) -> list[Line]:
    """Time functions, the first of which is the measure; `goals` are ratios. A time is that of one of `steps`."""
    return lines_of(name, bench.rounds(functions, count, clock=time.process_time), goals, groups, steps)


def lines_of(
    name: str,
    times: Mapping[str, Sequence[float]],
    goals: Mapping[str, float],
    groups: Mapping[str, str] | None = None,
    steps: int = 1,
) -> list[Line]:
    """Return the lines of times, one for each round."""
    measure, found = next(iter(times.values())), []
    for row, seconds in times.items():
        each = [t / steps for t in seconds]
        result = bench.Result.timed(name, row, (groups or {}).get(row, "peer"), each, [t / steps for t in measure])
        found.append(Line.of(result, min(each), min(seconds) / min(measure), goals.get(row)))
    return found


# -- The tables -----------------------------------------------------------------------------------


def voice(files: onnx_rows.Files, count: int) -> Iterable[Line]:
    found = onnx_rows.voice_rows(files)
    goals = {"anyback numpy, net(x)": 20.0, "anyback jax, under jit": 5.0}
    yield from timed("voice", found.functions, count, goals, dict.fromkeys(found.libraries, "anyback"))
    yield from (dataclasses.replace(line, table="voice") for line in found.failed)


def small_steps(files: onnx_rows.Files, count: int) -> Iterable[Line]:
    functions = onnx_rows.step_rows(files)
    groups = dict.fromkeys(("net.program", "net(x)"), "anyback")
    return timed("steps", functions, count, {"net.program": 3.0}, groups, onnx_rows.STEPS)


def loading(files: onnx_rows.Files, count: int) -> Iterable[Line]:
    draw = random.Random(0)
    for name in onnx_rows.LOADED:
        times: dict[str, list[float]] = {row: [] for row in onnx_rows.LOADERS}
        for _ in range(min(count, FEW)):
            for row in draw.sample(onnx_rows.LOADERS, len(onnx_rows.LOADERS)):
                times[row].append(onnx_rows.in_process("loading", files.path(name), row, files.path("small steps")))
        said = {f"{name}: {row}": seconds for row, seconds in times.items()}
        goals = {f"{name}: anyback.onnx.load": 0.3}
        yield from lines_of("loading", said, goals, {row: "anyback" for row in said if ": anyback" in row})


def memory(files: onnx_rows.Files, count: int) -> Iterable[Line]:
    for name in onnx_rows.LOADED:
        size = files.path(name).stat().st_size
        for row, goal in (("anyback.onnx.load", 50e6), ("onnx.load", None)):
            found = [onnx_rows.in_process("memory", files.path(name), row) - size for _ in range(min(count, FEW))]
            group = "anyback" if goal else "peer"
            note = f"{size / 1e6:,.1f} MB on the disk" if goal else ""
            yield Line("memory", f"{name}: {row}", group, min(found), "bytes", min(found), goal=goal, note=note)


def modules(files: onnx_rows.Files, count: int) -> Iterable[Line]:
    for name in onnx_rows.LOADED:
        found = onnx_rows.in_process("modules", files.path(name), "anyback.onnx.load")
        note = ", ".join(found)
        yield Line("modules", name, "anyback", len(found), "", len(found), goal=0, note=note[:400])


def compiling(files: onnx_rows.Files, count: int) -> Iterable[Line]:
    for name in onnx_rows.COMPILED:
        found = sorted(onnx_rows.in_process("compiling", files.path(name), name) for _ in range(min(count, FEW)))
        yield Line("compiling", name, "anyback", found[len(found) // 2], "s", found[0], goal=10.0)


MEASURES: dict[str, Callable[[onnx_rows.Files, int], Iterable[Line]]] = {
    "voice": voice,
    "steps": small_steps,
    "loading": loading,
    "memory": memory,
    "modules": modules,
    "compiling": compiling,
}


if __name__ == "__main__":
    sys.exit(main())
