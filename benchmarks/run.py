"""Measure everything: every array library of anyback beside every peer, and the goals. ``nox -s bench`` runs it.

The tables that multiply are measured a second time, in a process that is told which kernels OpenBLAS takes: better ones
where it uses less than the processor offers, and where it uses AVX-512, those for AVX2 that most processors take.
Functions side by side are timed in processor time, which does not count what others do on the same core.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import goals
import gpu_rows
import peers

from anyback import bench, datasets, models
from anyback.backends import _machine
from anyback.bench._tables import versions
from anyback.errors import AnybackError

#: What is measured again with other kernels.
AGAIN = ("throughput", "latency")
#: Whose versions are reported beside those of the peers.
PACKAGES = ("onnx",)
DATA = {"digits": datasets.digits, "mnist": datasets.mnist}


def main() -> int:
    """Measure, print, write JSON; return the exit code."""
    asked = arguments()
    bench.restart(asked.threads)
    coretype = os.environ.get("OPENBLAS_CORETYPE")
    warnings.simplefilter("ignore")
    sys.path.append(str(Path(__file__).parents[1] / "tools"))
    runs = {f"OPENBLAS_CORETYPE={coretype}" if coretype else "default": measured(asked)}
    running = _machine.openblas_kernels()
    other = _machine.better_kernels(running, _machine.cpu_flags())
    if other is None and running in _machine._AVX512:
        other = "HASWELL"
    if other and not coretype:
        runs |= again(asked, other)
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    return 0 if all(run["ok"] for run in runs.values()) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="mnist-mlp", choices=sorted(models.NETWORKS))
    parser.add_argument("--what", default=",".join((*bench.TABLES, *goals.TABLES)), help="tables, with commas between")
    parser.add_argument("--backends", help="which, with commas between; default: all that work")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--most", type=int, default=1_000_000, help="the most images")
    parser.add_argument("--json", type=Path, help="the file to write")
    return parser.parse_args()


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    names = asked.what.split(",")
    alone = asked.threads == 1
    report = bench.bench(
        asked.model,
        DATA[models.NETWORKS[asked.model].data]("test").images,
        asked.backends.split(",") if asked.backends else None,
        what=[name for name in names if name not in goals.TABLES],
        threads=asked.threads,
        rounds=asked.rounds,
        most=asked.most,
        peers=peers.ROWS,
        clock=time.process_time if alone else time.perf_counter,
    )
    more = {name: title for name, title in goals.TABLES.items() if name in names}
    on_gpus = {place.package: place.version() for place in gpu_rows.places()} if "gpu" in names else {}
    report = dataclasses.replace(
        report,
        titles={**report.titles, **more},
        results=(*report.results, *goals.measured(list(more), asked.rounds, lambda: DATA["mnist"]("test").images)),
        environment={**report.environment, **versions(PACKAGES), **on_gpus},
    )
    table, rows = goals.judged(report.results, names)
    print(f"{report}\n\n{table}", flush=True)
    return {**report.to_dict(), "goals": rows}


def again(asked: argparse.Namespace, coretype: str) -> dict[str, Any]:
    """Return the run of a process that is told which kernels to use."""
    what = [name for name in asked.what.split(",") if name in AGAIN]
    if not what:
        return {}
    print(f"\nOnce more, with OPENBLAS_CORETYPE={coretype}:\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.json")
        command = [sys.executable, __file__, asked.model, "--what", ",".join(what), "--json", str(path)]
        command += ["--threads", str(asked.threads), "--rounds", str(asked.rounds)]
        command += ["--backends", asked.backends] if asked.backends else []
        subprocess.run(command, env={**os.environ, "OPENBLAS_CORETYPE": coretype}, check=False)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AnybackError as error:
        sys.exit(f"run.py: {error}")
