"""Measure everything: every array library of anyback beside every peer. ``nox -s bench`` runs it.

Where OpenBLAS uses kernels below what the processor offers, the tables that multiply are measured a second time, in a
process that is told better.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import peers

from anyback import bench, datasets, models
from anyback.backends import _machine
from anyback.errors import AnybackError

DATA = {"digits": datasets.digits, "mnist": datasets.mnist}


def main() -> int:
    """Measure, print, write JSON; return the exit code."""
    asked = arguments()
    bench.restart(asked.threads)
    coretype = os.environ.get("OPENBLAS_CORETYPE")
    runs = {f"OPENBLAS_CORETYPE={coretype}" if coretype else "default": measured(asked)}
    better = _machine.better_kernels(_machine.openblas_kernels(), _machine.cpu_flags())
    if better and not coretype:
        runs |= again(asked, better)
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    return 0 if all(run["ok"] for run in runs.values()) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="mnist-mlp", choices=sorted(models.NETWORKS))
    parser.add_argument("--what", default=",".join(bench.TABLES), help="tables, with commas between")
    parser.add_argument("--backends", help="which, with commas between; default: all that work")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--most", type=int, default=1_000_000, help="the most images")
    parser.add_argument("--json", type=Path, help="the file to write")
    return parser.parse_args()


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    report = bench.bench(
        asked.model,
        DATA[models.NETWORKS[asked.model].data]("test").images,
        asked.backends.split(",") if asked.backends else None,
        what=asked.what.split(","),
        threads=asked.threads,
        rounds=asked.rounds,
        most=asked.most,
        peers=peers.ROWS,
    )
    print(report, flush=True)
    return report.to_dict()


def again(asked: argparse.Namespace, coretype: str) -> dict[str, Any]:
    """Return the run of a process that is told which kernels to use."""
    what = [name for name in asked.what.split(",") if name in ("throughput", "latency")]
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
