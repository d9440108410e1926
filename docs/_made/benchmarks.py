"""The tables of `benchmarks.md`, from the committed reports: no number of a measurement is typed by hand."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anyback.bench import Result
from anyback.bench._report import amount

REPORTS = Path(__file__).parents[2] / "benchmarks" / "reports"

#: Report -> the command that writes it.
COMMANDS = {
    "bench-cpu": "nox -s bench",
    "onnx-bench": "nox -s onnx-bench",
    "onnx-files": "nox -s onnx-files",
    "streams": "nox -s streams-bench",
}

#: What the kills of jobs left, in words.
KILLS = {
    "shards": "shards",
    "begun": "begun, again behind a kill",
    "under_way": "under way when something was killed",
    "computed_twice": "with a mark, and computed again",
    "kept_chunks_touched": "chunks with a mark that changed",
    "not_verified": "outputs that `verify` refused",
    "other_bits": "outputs with other bits",
}


def make(docs: Path) -> None:
    """Write one file for each report into ``made/``, which `benchmarks.md` includes."""
    folder = docs / "made"
    folder.mkdir(exist_ok=True)
    for name, command in COMMANDS.items():
        path = REPORTS / f"{name}.json"
        report = json.loads(path.read_text(encoding="utf-8"))
        runs = [report] if "environment" in report else list(report.values())
        lines: list[str] = []
        for run in runs:
            lines += where(run, path, command)
            lines += files(run) if "files" in run else jobs(run) if "kills" in run else rows(run)
        (folder / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def date_of(report: dict[str, Any], path: Path) -> str:
    """Return when a report was made, as it says; of an older one, when it was committed."""
    if date := report["environment"].get("date"):
        return f"Measured on {date}"
    command = ["git", "log", "-1", "--format=%cs", "--", path.name]
    try:
        date = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # in an sdist
        date = ""
    return f"Committed on {date}" if date else "On a day that the report does not say"


def where(report: dict[str, Any], path: Path, command: str) -> Iterator[str]:
    """Yield when and on what a report was made."""
    said = dict(report["environment"])
    machine = ", ".join(
        f"{key} {said.pop(key)}" for key in ("processor", "cores", "gpu", "system", "blas") if key in said
    )
    said.pop("date", None)
    load = said.pop("load", None)
    threads = f", threads: {report['threads']}, rounds: {report['rounds']}" if "threads" in report else ""
    busy = f", load of the machine {load}" if load else ""
    yield f"{date_of(report, path)} by `{command}`: {machine}{threads}{busy}."
    yield f"Versions: {', '.join(f'{name} {version}' for name, version in said.items())}."
    yield ""


def rows(report: dict[str, Any]) -> Iterator[str]:
    """Yield a table for each table of a report of ``anyback.bench``'s kind."""
    known = set(Result.__dataclass_fields__)
    for name, title in report["titles"].items():
        found = [row for row in report["results"] if row["table"] == name]
        if not any(row["value"] for row in found):
            continue
        goals = any(row.get("goal") for row in found)
        yield from (f"### {title}", "")
        yield f"| | measured | ratio |{' goal |' if goals else ''}"
        yield f"| --- | ---: | ---: |{' ---: |' if goals else ''}"
        for row in found:
            result = Result(**{key: value for key, value in row.items() if key in known})
            ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
            value = "" if result.value is None else amount(result.value, result.unit or "s")
            label = f"**{result.name}**" if result.group == "anyback" else result.name
            yield f"| {label} | {value} | {ratio} |{f' {goal_of(row)} |' if goals else ''}"
        yield ""
        notes = [f"{row['name']}: {row['note']}" for row in found if row["note"]]
        yield from (f"- {note}" for note in notes)
        yield ""
    if "goals" in report:
        yield from ("### Goals", "", "| | ratio | goal | |", "| --- | ---: | ---: | --- |")
        for goal in report["goals"]:
            ratio = "" if goal["ratio"] is None else f"{goal['ratio']:.2f}"
            judged = {None: "not measured", True: "reached", False: "missed"}[goal["met"]]
            yield f"| {goal['work']} | {ratio} | {goal['goal']:g} | {judged} |"
        yield ""


def goal_of(row: dict[str, Any]) -> str:
    """Return the most that a row may be, and whether it is."""
    if row.get("goal") is None:
        return ""
    goal = amount(row["goal"], row["unit"]) if row["ratio"] is None else f"{row['goal']:g}"
    return f"{goal}, {'met' if row['met'] else 'missed'}"


def files(report: dict[str, Any]) -> Iterator[str]:
    """Yield the table of real ONNX files: how far each library is from float64."""
    libraries = list(report["files"][0]["libraries"])
    yield from (f"### {report['title']}", "")
    yield f"| file | operators | {' | '.join(libraries)} | ONNX Runtime |"
    yield f"| --- | ---: | {'---: | ' * (len(libraries) + 1)}"
    for file in report["files"]:
        offs = [*(file["libraries"].get(name, {}) for name in libraries), file["runtime"]]
        cells = ["" if one.get("off") is None else f"{one['off']:.0e}" for one in offs]
        yield f"| {file['name']} | {file['operators']} | {' | '.join(cells)} |"
    yield ""


def jobs(report: dict[str, Any]) -> Iterator[str]:
    """Yield the tables of jobs in shards: how fast, in how much memory, and what kills cost."""
    speed, memory, kills, relay = (report[name] for name in ("speed", "memory", "kills", "relay"))
    yield from (f"### {speed['rows']:,} images of 784 bytes in zarr: rows a second beside a plain loop", "")
    yield from ("| | seconds | ratio | goal |", "| --- | ---: | ---: | ---: |")
    for name, row in speed["results"].items():
        goal = "" if row["goal"] is None else f"at least {row['goal']}, {'met' if row['met'] else 'missed'}"
        yield f"| {name} | {statistics.median(row['seconds']):.2f} | {row['ratio']:.2f} | {goal} |"
    yield from ("", "### Memory that grows with rows", "", "| | from 1 to 8 million rows |", "| --- | ---: |")
    for name, row in memory["results"].items():
        yield f"| {'one process' if name == 'none' else name} | {row['grown'] / 1e6:.1f} MB |"
    total = sum(kills["kills"].values())
    yield from ("", f"### {total} kills of {kills['jobs']} jobs", "", "| | |", "| --- | ---: |")
    yield from (f"| kills of a {name} | {count} |" for name, count in kills["kills"].items())
    for name, words in KILLS.items():
        yield f"| {words} | {kills[name]} |"
    engines = ", then ".join(f"{step['engine']} to {step['marks']}" for step in relay["steps"])
    whole = "verified, with the bits of one process" if relay["verified"] and relay["same_bits"] else "not whole"
    yield from (
        "",
        f"One job of {relay['rows']:,} rows in {relay['shards']} shards, on three engines: {engines}; {whole}.",
        "",
    )
