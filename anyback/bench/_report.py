"""What was measured: results, and the tables and bars that show them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from anyback._show import Table, finite

__all__ = ["Report", "Result", "amount"]

#: Characters of a bar for a ratio of 1, and the longest bar.
_ONE, _LONGEST = 10, 30
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True)
class Result:
    """One row of a table.

    Parameters
    ----------
    table, name, group : str
        Where it belongs.
    value : float or None
        The median, in `unit`; None where it was not measured, and `note` says why.
    unit : str
        ``"s"`` or ``"bytes"``.
    ratio : float or None
        The median of the ratios to the table's first row, each of one round.
    spread : float
        Half of the ratios lie within so much of each other, as a share of `ratio`.
    note : str
        What there is to say.
    wrong : bool
        True where it gives another answer than anyback, and was not timed.
    times : tuple of float
        What was measured in each round, in `unit`.
    """

    table: str
    name: str
    group: str
    value: float | None = None
    unit: str = "s"
    ratio: float | None = None
    spread: float = 0.0
    note: str = ""
    wrong: bool = False
    times: tuple[float, ...] = field(default=(), repr=False)

    @staticmethod
    def timed(
        table: str, name: str, group: str, times: Sequence[float], measure: Sequence[float], **more: Any
    ) -> Result:
        """Return the result of times, one for each round, beside those of the row that is the table's measure.

        Of another `unit`, they are what is measured in it.
        """
        ratios = sorted(t / m for t, m in zip(times, measure, strict=True))
        ratio = statistics.median(ratios)
        spread = (ratios[(3 * len(ratios)) // 4] - ratios[len(ratios) // 4]) / ratio
        given = {"unit": "s", **more}
        return Result(
            table, name, group, statistics.median(times), ratio=ratio, spread=spread, times=tuple(times), **given
        )


@dataclass(frozen=True)
class Report:
    """Everything that was measured, and where.

    Parameters
    ----------
    model : str
        The network.
    images, threads, rounds : int
        How many of each.
    titles : dict of str to str
        What each table shows.
    results : tuple of Result
        The rows of all tables.
    environment : dict of str to str
        Machine and versions.
    """

    model: str
    images: int
    threads: int
    rounds: int
    titles: dict[str, str]
    results: tuple[Result, ...]
    environment: dict[str, str]

    @property
    def ok(self) -> bool:
        """Whether every row that was run gave anyback's answer."""
        return not any(result.wrong for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but single rounds as plain numbers, strings, lists and dicts, for JSON."""
        found = asdict(self)
        for result in found["results"]:
            del result["times"]
        return finite({**found, "ok": self.ok})

    def __str__(self) -> str:
        tables = [
            f"{title}\n\n{_table([result for result in self.results if result.table == name])}"
            for name, title in self.titles.items()
        ]
        where = f"{self.environment['processor']}; {self.environment['blas']}; threads: {self.threads}"
        return "\n\n".join([*tables, where])


def _table(results: Sequence[Result]) -> Table:
    """Return a table of what was measured, with bars, and a note for each row that has one."""
    measured = [result for result in results if result.value is not None]
    unit = "memory" if any(result.unit == "bytes" for result in measured) else "time"
    notes = [f"{r.name}: {'WRONG: ' if r.wrong else ''}{r.note}" for r in results if r.note]
    header = ("", unit, "ratio", "") if measured else ()
    return Table(header, [_cells(result) for result in measured], notes=notes, left=(0, 3))


def _cells(result: Result) -> tuple[str, ...]:
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
    return result.name, amount(result.value or 0.0, result.unit), ratio, _bar(result.ratio)


def _bar(ratio: float | None) -> str:
    """Return a bar of block characters, an eighth of a character being the smallest step."""
    eighths = round(8 * _ONE * (ratio or 0.0))
    if eighths > 8 * _LONGEST:
        return "█" * (_LONGEST - 1) + "▶"
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def amount(value: float, unit: str) -> str:
    """Return a time or a size in at most eight characters."""
    if unit == "bytes":
        return f"{value / 1e6:,.1f} MB"
    for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e9:.3g} ns"
