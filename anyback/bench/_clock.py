"""Clocks: a process held to a few cores, functions timed in turn, and functions in processes of their own."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from anyback.backends.base import first_line
from anyback.errors import AnybackError

__all__ = ["cores", "fresh_process", "in_child", "pinned", "reason", "restart", "rounds"]

#: Says to a restarted process how many threads it was given, and which cores there are in all.
_THREADS, _CORES = "ANYBACK_BENCH_THREADS", "ANYBACK_BENCH_CORES"
#: What the libraries read when they are loaded: OpenMP, OpenBLAS, MKL, Accelerate, numexpr, and XLA on a CPU.
_LIMITS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
    "NPROC",
)
#: Shortest time that is read off a clock: faster functions are called several times in a row.
_SHORTEST = 2e-3


def cores() -> list[int]:
    """Return the cores that there are, also inside a process that was held to a few of them."""
    if os.environ.get(_CORES):
        return [int(core) for core in os.environ[_CORES].split(",")]
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[dict[str, str]]:
    """Hold this process to as many cores as threads, and give the environment that holds its children so.

    Parameters
    ----------
    threads : int
        How many.

    Yields
    ------
    dict of str to str
        Environment variables for `subprocess`.

    Raises
    ------
    AnybackError
        If there are not as many cores.
    """
    there = cores()
    if not 1 <= threads <= len(there):
        raise AnybackError(f"threads: expected 1 to {len(there)}, the cores that there are, found {threads}")
    environment = {**os.environ, **dict.fromkeys(_LIMITS, str(threads)), _THREADS: str(threads)}
    environment[_CORES] = ",".join(map(str, there))
    if not hasattr(os, "sched_setaffinity"):
        yield environment
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, there[:threads])  # children inherit it, and libraries count their threads by it
    try:
        yield environment
    finally:
        os.sched_setaffinity(0, before)


def restart(threads: int) -> None:
    """Run the command that started this process again, held to a few cores; do nothing where it is so held.

    Libraries start their threads when they are loaded, so it must be settled before.

    Parameters
    ----------
    threads : int
        How many.

    Raises
    ------
    AnybackError
        If there are not as many cores.
    """
    if os.environ.get(_THREADS) == str(threads):
        return
    command = [sys.executable, *sys.orig_argv[1:]]
    with pinned(threads) as environment:
        sys.stdout.flush()
        if os.name == "nt":  # where execve returns to the shell before the work is done
            sys.exit(subprocess.run(command, env=environment, check=False).returncode)
        os.execve(sys.executable, command, environment)


def rounds(
    functions: Mapping[str, Callable[[], object]], count: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Time functions in turn, each once in each round, in an order that is drawn anew.

    Parameters
    ----------
    functions : mapping of str to callable
        What to time. Each is called a few times before.
    count : int
        Number of rounds.
    clock : callable
        Returns seconds: `time.process_time` counts those of this process alone, in all of its threads.

    Returns
    -------
    dict of str to list of float
        Seconds of one call, for each round.

    Examples
    --------
    >>> times = rounds({"add": lambda: 1 + 1, "sort": lambda: sorted(range(1000))}, 3)
    >>> len(times["add"]), len(times["sort"])
    (3, 3)
    """
    repeats = {name: _repeats(function, clock) for name, function in functions.items()}
    times: dict[str, list[float]] = {name: [] for name in functions}
    draw = random.Random(0)
    for _ in range(count):
        order = list(functions)
        draw.shuffle(order)  # nobody always runs behind the one that empties the caches
        gc.collect()
        gc.disable()
        try:
            for name in order:
                times[name].append(_clocked(functions[name], repeats[name], clock))
        finally:
            gc.enable()
    return times


def _clocked(function: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """Return the seconds of one call, the mean of some in a row."""
    started = clock()
    for _ in range(repeats):
        function()
    return (clock() - started) / repeats


def _repeats(function: Callable[[], object], clock: Callable[[], float]) -> int:
    """Warm a function up, and return how many calls take long enough for the clock."""
    function()
    fastest = min(_clocked(function, 1, clock) for _ in range(2))
    return max(1, math.ceil(_SHORTEST / max(fastest, 1e-7)))


# -- Processes of their own ---------------------------------------------------------------------------

_CHILD = "import json, sys; from anyback.bench import _children; \
print('\\n' + json.dumps(getattr(_children, sys.argv[1])(**json.loads(sys.argv[2]))))"


def in_child(name: str, threads: int = 1, **arguments: Any) -> Any:
    """Return what a function of `_children` returns in a process of its own, held to a few cores."""
    with pinned(threads) as environment:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _CHILD, name, json.dumps(arguments)],
            capture_output=True,
            text=True,
            env=_findable(environment),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise AnybackError(f"the process of its own failed: {last[0][:200]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def fresh_process(code: str, threads: int = 1, folder: Path | None = None) -> tuple[float, str]:
    """Return the seconds from the start of a Python process to the first line that it prints, and that line.

    Python's compiled files are kept in `folder`, where there is one, whatever the environment says of them.
    """
    with pinned(threads) as environment:
        if folder is not None:
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            environment["PYTHONPYCACHEPREFIX"] = str(folder)
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=_findable(environment),
        ) as child:
            line = child.stdout.readline() if child.stdout else ""
            seconds = time.perf_counter() - started
            _, stderr = child.communicate()
    if child.returncode:
        last = stderr.strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
        raise AnybackError(f"a fresh process failed: {last[0][:200]}")
    return seconds, line.strip()


def _findable(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment with this anyback on the path, however the parent came to it."""
    here = str(Path(__file__).parents[2])
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, (here, environment.get("PYTHONPATH"))))}


def reason(error: BaseException) -> str:
    """Return why a row could not be measured, in a line."""
    return str(error) if isinstance(error, AnybackError) else first_line(error)
