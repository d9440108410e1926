"""The tables: what is measured of the work, each by a function that returns its rows."""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from anyback import backends, inference
from anyback.backends import Backend
from anyback.backends._machine import environment
from anyback.bench._asked import FEW, Asked
from anyback.bench._clock import cores, in_child, reason, rounds
from anyback.bench._fresh import BARE, first_answers, import_times
from anyback.bench._report import Report, Result
from anyback.bench._rows import rows
from anyback.bench._work import Row, Work
from anyback.errors import AnybackError

__all__ = ["TABLES", "Table", "bench", "versions", "where"]

#: Seconds that one measurement of growth may take; larger inputs are left out.
_LONGEST = 6.0
#: How much faster two threads must make bare products for two cores to count as free.
_TWO_CORES = 1.7


def bench(
    model: str,
    images: np.ndarray,
    backends: Sequence[str] | None = None,
    *,
    what: Sequence[str] = ("throughput",),
    threads: int = 1,
    rounds: int = 15,
    most: int = 1_000_000,
    pixels: float | None = None,
    peers: Sequence[Row] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Report:
    """Measure a network on array libraries, the book's way, by hand, and beside peers.

    Call `restart` first: libraries start their threads when they are loaded.

    Parameters
    ----------
    model : str
        A network's name, or a weights file. The floor, the book's way and what is written by hand are linear layers
        with sigmoids between them and softmax at the end: beside another network, these rows say that they are not
        measured, and ratios are taken to the first row that is.
    images : numpy.ndarray, integer
        Shape (n, ...).
    backends : sequence of str or None
        Which, such as ``["numpy", "torch:cuda:1"]``; None is every library that can be used here.
    what : sequence of str
        Tables, from `TABLES`.
    threads : int
        How many threads each row may use.
    rounds : int
        Rounds of each table; of what takes seconds, a few are enough.
    most : int
        The largest number of images in the tables of growth and memory.
    pixels : float or None
        The largest pixel value; None is the network's own for a name, and 1 for a file.
    peers : sequence of Row
        More rows.
    clock : callable
        Returns seconds. `time.process_time` does not count what others do on the same cores; it is for one thread, on
        the host.

    Returns
    -------
    Report
        Prints as tables with bars.

    Raises
    ------
    AnybackError
        If a table is unknown, or a number is below 1.
    BackendError
        If a backend cannot be used.
    DataError
        If the images are no integers.

    Examples
    --------
    >>> import anyback as ab
    >>> images = ab.datasets.digits("test").images
    >>> report = bench("digits-mlp", images, ["numpy"], rounds=1)
    >>> report.ok, next(row.ratio for row in report.results if row.group == "floor")
    (True, 1.0)
    """
    if unknown := [name for name in what if name not in TABLES]:
        raise AnybackError(f"unknown table {unknown[0][:40]!r}; known: {', '.join(TABLES)}")
    for name, number in (("threads", threads), ("rounds", rounds), ("most", most)):
        if number < 1:
            raise AnybackError(f"{name}: expected a whole number of at least 1, found {number}")
    places = _places(backends)
    # Windows removes no file that is mapped into memory.
    with threadpool_limits(threads), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        work = Work.of(model, images, pixels, threads)
        asked = Asked(work, places, peers, rounds, most, pixels, Path(folder), clock)
        results = [result for name in what for result in TABLES[name].measure(asked)]
    titles = {name: TABLES[name].titled(asked) for name in dict.fromkeys(what)}
    packages = [*(place.package for place in places), *(row.package for row in peers)]
    return Report(model, len(work.x), threads, rounds, titles, tuple(results), where(packages))


def _places(specs: Sequence[str] | None) -> list[Backend]:
    if specs is not None:
        return [backends.resolve(spec) for spec in specs]
    return [backends.ROWS[name]() for name, status in backends.available_backends().items() if status.usable]


def where(packages: Iterable[str]) -> dict[str, str]:
    """Return the day, the machine, how busy it is, and the versions of what is measured."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    day = {"date": time.strftime("%Y-%m-%d")}
    return {**day, **environment(), "cores": str(len(cores())), "load": load, **versions(packages)}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is named; empty names are left out."""
    found = {}
    for package in dict.fromkeys(filter(None, packages)):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


# -- Rows side by side --------------------------------------------------------------------------------


def _throughput(asked: Asked) -> list[Result]:
    return _side_by_side(asked, "throughput", asked.work)


def _latency(asked: Asked) -> list[Result]:
    return _side_by_side(asked, "latency", asked.work.first(1))


def _side_by_side(asked: Asked, table: str, work: Work) -> list[Result]:
    """Time the rows of a table that give the right answer; the first is the measure, and the fastest come first."""
    chosen = [row for row in (*rows(asked.places), *asked.peers) if table in row.tables]
    ready: dict[str, Callable[[], Any]] = {}
    failed = []
    for row in chosen:
        try:
            run = row.prepare(work)
            # The floor gives no answer.
            fault = "" if row.group == "floor" else work.fault(run())
        except Exception as error:  # whatever a library throws belongs into its row, not over the others
            failed.append(Result(table, row.name, row.group, note=f"not measured: {reason(error)}"))
            continue
        if fault:
            failed.append(Result(table, row.name, row.group, note=fault, wrong=True))
        else:
            ready[row.name] = run
    times = rounds(ready, asked.rounds, asked.clock)
    if not times:
        return failed
    measure = next(times[row.name] for row in chosen if row.name in times)
    timed = [Result.timed(table, row.name, row.group, times[row.name], measure) for row in chosen if row.name in times]
    return sorted(timed, key=lambda result: result.ratio or 0.0) + failed


# -- One backend at a time ----------------------------------------------------------------------------


def _each(table: str, measure: Callable[[Asked, Backend], list[Result]]) -> Callable[[Asked], list[Result]]:
    """Return a function that measures every backend, and says of those that fail why."""

    def all_of(asked: Asked) -> list[Result]:
        found = []
        for place in asked.places:
            try:
                found += measure(asked, place)
            except Exception as error:
                found.append(Result(table, f"anyback {place}", "anyback", note=f"not measured: {reason(error)}"))
        return found

    return all_of


def _growth(asked: Asked, place: Backend) -> list[Result]:
    """Time predicting 1, 10, ... images of a file; a result is the time of one image."""
    net, x = asked.work.net.to(place), np.load(asked.many(), mmap_mode="r")

    def run(n: int) -> Callable[[], Any]:
        return lambda: backends.to_numpy(inference.predict(net, x[:n]))

    sizes = [10**k for k in range(len(str(asked.most))) if 10**k <= asked.most]
    functions, left_out, each = {}, [], 0.0
    for n in sizes:
        if n > 10_000 and each * n > _LONGEST:
            left_out.append(n)
            continue
        functions[n] = run(n)
        each = rounds({"": functions[n]}, 1)[""][0] / n if n >= 1000 else 0.0
    times = rounds({str(n): function for n, function in functions.items()}, min(asked.rounds, FEW))
    per_image = {n: [t / n for t in times[str(n)]] for n in functions}
    measure = per_image[min(10_000, max(functions))]
    notes = {n: f"left out: a round would take more than {_LONGEST:.0f} s" for n in left_out}
    return [Result.timed("growth", _sized(place, n), "anyback", per_image[n], measure) for n in functions] + [
        Result("growth", _sized(place, n), "anyback", note=note) for n, note in notes.items()
    ]


def _sized(place: Backend, n: int) -> str:
    return f"anyback {place}, {n:,} image{'s' if n > 1 else ''}"


def _memory(asked: Asked, place: Backend) -> list[Result]:
    found = in_child(
        "memory",
        asked.work.threads,
        model=asked.work.model,
        pixels=asked.pixels,
        backend=str(place),
        path=str(asked.many()),
    )
    beyond = found["peak"] - found["before"] - found["output"]
    return [Result("memory", f"anyback {place}", "anyback", float(max(beyond, 0)), "bytes")]


def _workers(asked: Asked, place: Backend) -> list[Result]:
    if len(cores()) < 2:
        raise AnybackError("there is one core only")
    path = asked.folder / "some.npy"
    if not path.exists():
        np.save(path, np.load(asked.many(), mmap_mode="r")[:100_000])
    found = in_child(
        "workers",
        2,
        model=asked.work.model,
        pixels=asked.pixels,
        backend=str(place),
        path=str(path),
        count=min(asked.rounds, 2 * FEW + 1),
    )
    return _speed_up(str(place), found)


def _speed_up(place: str, found: dict[str, Any]) -> list[Result]:
    """Return the rows of two workers beside one; withheld where even bare products found no second core."""
    bare, one, two = (
        Result.timed("workers", f"anyback {place}, {name}", "anyback", found[times], found[measure])
        for name, times, measure in (
            ("bare products", "bare_two", "bare_one"),
            ("one worker", "one", "one"),
            ("two workers", "two", "one"),
        )
    )
    gain, possible = (1 / (result.ratio or 1.0) for result in (two, bare))
    bits = "same bits" if found["same"] else "OTHER BITS"
    if possible < _TWO_CORES:
        note = f"not measured: no second core was free: bare products gained {possible:.2f} times from it; {bits}"
        return [Result("workers", two.name, "anyback", note=note, wrong=not found["same"])]
    note = f"{gain:.2f} times as fast, bare products {possible:.2f} times; {bits}"
    return [one, replace(two, note=note, wrong=not found["same"])]


@dataclass(frozen=True)
class Table:
    """One table: what it shows, in words with fields of what was asked for, what measures it, what ratios are taken to.

    Where the ratio is to a row by hand, it is to the first row of anyback for a network that has no such rows.
    """

    title: str
    measure: Callable[[Asked], list[Result]]
    by_hand: str = ""

    def titled(self, asked: Asked) -> str:
        """Return the title for what was asked for."""
        title = self.title.format(asked)
        if not self.by_hand:
            return title
        return f"{title}; ratio to {self.by_hand if asked.work.layers else 'the first row of anyback'}"


#: What can be measured, by name.
TABLES: MappingProxyType[str, Table] = MappingProxyType(
    {
        "throughput": Table("{0.work.model}: pixels to probabilities, {0.count:,} images", _throughput, "the floor"),
        "latency": Table("One image at a time", _latency, "the book's bare function, which is given floats"),
        "growth": Table(
            "Growth: time of one image out of so many in a file; ratio to that of 10,000", _each("growth", _growth)
        ),
        "memory": Table("Memory beyond the output, predicting {0.most:,} images of a file", _each("memory", _memory)),
        "workers": Table("Two workers on two cores; ratio to one worker", _each("workers", _workers)),
        "import": Table("Importing, in fresh processes; ratio to array_api_compat.numpy", import_times),
        "first": Table(
            "From the start of Python to the first answer, in fresh processes: processor time", first_answers, BARE
        ),
    }
)
