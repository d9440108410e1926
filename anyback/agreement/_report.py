"""The report: an entry for each library and device, and its forms as text, HTML and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from anyback._show import Table, finite

__all__ = ["BATCH_SIZES", "TOLERANCE", "Report", "Row"]

#: How far the outputs of a float32 network may be from those in float64, at full precision.
TOLERANCE = 2e-6
#: The batch sizes in each of which every row must have the same bits.
BATCH_SIZES = (1, 7, 100, 256, 1000, 10_000)


@dataclass(frozen=True)
class Row:
    """The entry of one library and device: its differences from the reference.

    Parameters
    ----------
    backend, device, version, precision : str
        The library, its device, its version, and the precision of its products.
    usable : bool
        False where it could not be used; `reason` says why.
    simulated : bool
        True where NumPy imitates a GPU's rounding of the operands of products.
    accuracy : float or None
        Share of labels that are right; None where the true labels are not known.
    differing : int
        Labels that differ from the reference.
    undecided : int
        How many of these `certify` leaves undecided; the others break the contract.
    smallest_margin : float or None
        The smallest winning margin among the differing labels, in probability, by the reference.
    max_error, max_ulp : float
        Largest difference of an output from the reference, absolute and in units in the last place of float32.
    unstable_rows : int
        How many rows of the input have other bits in another batch size, or with other rows around.
    seconds : float
        Time of one run over all inputs, after a first run.
    broken : tuple of str
        What breaks the contract, in words.
    """

    backend: str
    device: str = ""
    version: str = ""
    precision: str = ""
    usable: bool = True
    reason: str = ""
    simulated: bool = False
    accuracy: float | None = None
    differing: int = 0
    undecided: int = 0
    smallest_margin: float | None = None
    max_error: float = 0.0
    max_ulp: float = 0.0
    unstable_rows: int = 0
    seconds: float = 0.0
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The results of a comparison, and the machine that they were computed on.

    Parameters
    ----------
    model : str
        The name or the file of the network.
    total : int
        Number of inputs.
    precision : str
        Precision of matrix products asked for.
    undecided : dict of str to int
        For each precision, how many labels `certify` leaves undecided; empty where there are no labels.
    rows : tuple of Row
        An entry for each library and device, then the simulated ones.
    environment : dict of str to str
        Machine and versions.
    tolerance : float
        The largest error of an output at full precision; where outputs may be above 1, in proportion to the largest.
    unproven : str
        Why there are no proofs although the outputs have labels; else empty.
    """

    model: str
    total: int
    precision: str
    undecided: dict[str, int]
    rows: tuple[Row, ...]
    environment: dict[str, str]
    tolerance: float = TOLERANCE
    unproven: str = ""

    @property
    def ok(self) -> bool:
        """Whether at least one library was compared, and none breaks the contract."""
        return self.compared > 0 and not any(row.broken for row in self.rows)

    @property
    def compared(self) -> int:
        """The number of libraries and devices that were measured."""
        return sum(row.usable and not row.simulated for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dicts, for JSON."""
        return finite({**asdict(self), "batch_sizes": list(BATCH_SIZES), "ok": self.ok})

    def table(self) -> Table:
        """Return the report as a table, with the summary above it and the notes below."""
        header = ("backend", "precision", "accuracy", "labels differ", "max error", "max ulp", "bits differ", "time")
        return Table(header, [_cells(row) for row in self.rows], self.summary(), self.notes())

    def notes(self) -> list[str]:
        """Return the remarks on single libraries, a line each: first what breaks the contract."""
        said = [f"{_place(row)}: BROKEN: {'; '.join(row.broken)}" for row in self.rows if row.broken]
        said += [
            f"{_place(row)}, {row.precision}: {row.differing} labels differ, {row.undecided} of them undecided at this "
            f"precision; smallest margin {row.smallest_margin:.1g}"
            for row in self.rows
            if row.smallest_margin is not None
        ]
        said += [f"nothing is proven of labels: {self.unproven}"] if self.unproven else []
        return said + [f"{_place(row)}: not usable: {row.reason}" for row in self.rows if not row.usable]

    def summary(self) -> str:
        """Return one line that says what was compared, and the verdict."""
        verdict = "agreement" if self.ok else "NO AGREEMENT" if self.compared else "NOTHING WAS COMPARED"
        open_labels = ", ".join(f"{count} at {name}" for name, count in self.undecided.items())
        return (
            f"{self.model}, {self.total:,} inputs: {self.compared} libraries and devices against float64 NumPy: "
            f"{verdict}{'; labels that rounding may change: ' if open_labels else ''}{open_labels}"
        )

    def __str__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()


# -- Words --------------------------------------------------------------------------------------------


def _place(row: Row) -> str:
    return f"{row.backend}{f':{row.device}' if row.device else ''}{' simulated' if row.simulated else ''}"


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{_place(row)} {row.version}".rstrip()
    if not row.usable:
        return (f"{name} {'BROKEN' if row.broken else 'not usable'}", *"-------")
    return (
        f"{name} BROKEN" if row.broken else name,
        row.precision,
        "-" if row.accuracy is None else f"{row.accuracy:.4f}",
        str(row.differing),
        f"{row.max_error:.1e}",
        f"{row.max_ulp:,.0f}",
        "-" if row.simulated else str(row.unstable_rows),
        _duration(row.seconds),
    )


def _duration(seconds: float) -> str:
    """Return a time in at most seven characters."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{1e3 * seconds:.{3 if seconds >= 1e-3 else 2}g} ms"
