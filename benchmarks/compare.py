"""Compare a run with the committed one: ``python benchmarks/compare.py build/bench.json``.

Ratios are compared, never times: the machine, and who else is on it, cancel out of a ratio far better than out of a
time. Still they differ between processors, so what is said of another machine is a hint. Exit code 1 where a row of
anyback is slower by more than `LIMIT`, 2 where nothing can be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPORTS = Path(__file__).parent / "reports"
LIMIT = 0.10

Key = tuple[str, str, str]


def main() -> int:
    """Print the rows that changed; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=Path("build/bench.json"))
    parser.add_argument("--with", dest="committed", type=Path, default=REPORTS / "bench-cpu.json")
    asked = parser.parse_args()
    try:
        new, old = (json.loads(path.read_text(encoding="utf-8")) for path in (asked.run, asked.committed))
        here, there = (next(iter(runs.values()))["environment"]["processor"] for runs in (new, old))
        fresh, known = dict(ratios(new)), dict(ratios(old))
    except OSError as error:
        return impossible(f"{error.filename}: {error.strerror}")
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return impossible(f"{asked.run} or {asked.committed} is no report of run.py")
    if here != there:
        print(f"another machine: {here}; the committed ratios are of {there}")
    shared, missing, slower = compared(fresh, known)
    for key in missing:
        print(f"not measured: {' / '.join(key)}")
    for key, was, now in slower:
        print(f"slower by {now / was - 1:.0%}: {' / '.join(key)}: {was:.2f} -> {now:.2f}")
    print(f"{len(shared)} rows of anyback compared, {len(slower)} slower by more than {LIMIT:.0%}")
    return impossible("they share no row") if not shared else 1 if slower else 0


def impossible(why: str) -> int:
    print(f"compare.py: {why}", file=sys.stderr)
    return 2


def ratios(runs: dict[str, Any]) -> Iterator[tuple[Key, float]]:
    """Yield (run, table, row) and the ratio of each row of anyback, and of each goal."""
    for run, report in runs.items():
        for row in report["results"]:
            if row["group"] == "anyback" and row["ratio"]:
                yield (run, row["table"], row["name"]), row["ratio"]
        for goal in report.get("goals", ()):
            if goal["ratio"]:
                yield (run, "goals", goal["work"]), goal["ratio"]


def compared(
    new: dict[Key, float], old: dict[Key, float]
) -> tuple[list[Key], list[Key], list[tuple[Key, float, float]]]:
    """Return the rows in both, those only in `old`, and those slower by more than `LIMIT` with both ratios.

    Of a run that is only in `old`, such as one of other kernels, nothing is missing.
    """
    shared = [key for key in old if key in new]
    slower = [(key, old[key], new[key]) for key in shared if new[key] > (1 + LIMIT) * old[key]]
    runs = {key[0] for key in new}
    return shared, [key for key in old if key not in new and key[0] in runs], slower


if __name__ == "__main__":
    sys.exit(main())
