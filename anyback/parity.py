"""One network on every array library, compared: does it answer the same there as here.

Each library runs the network on the same inputs, and is compared with float64 NumPy. A row breaks the contract where a
label differs although `certify` proves that no rounding can change it, where probabilities are off by more than
`TOLERANCE` at full precision, where bits depend on how the work is cut, or where weights arrive changed.
"""

from __future__ import annotations

import html
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from anyback import backends, functional, inference, models
from anyback._typing import Array
from anyback.activations import identity, relu, sigmoid, softmax, tanh
from anyback.backends import Backend
from anyback.backends._machine import environment
from anyback.bounds import Certificate, certify, round_to
from anyback.errors import AnybackError, BackendError, DataError
from anyback.layers import Flatten, Linear, Pixels, Sequential

__all__ = ["BATCH_SIZES", "TOLERANCE", "Report", "Row", "parity"]

#: How far probabilities of a float32 network may be from those in float64, at full precision.
TOLERANCE = 2e-6
BATCH_SIZES = (1, 7, 100, 256, 1000, 10_000)
#: Significant bits of the operands of products, where a GPU's are simulated.
_SIMULATED = {"tf32": 11, "bf16": 8}


@dataclass(frozen=True)
class Row:
    """One library and device, compared with the reference.

    Parameters
    ----------
    backend, device, version, precision : str
        What computed.
    usable : bool
        False where it could not be used; `reason` says why.
    simulated : bool
        True where NumPy imitates a GPU's rounding of the operands of products.
    accuracy : float or None
        Share of labels that are right, where the true ones are known.
    differing : int
        Labels that differ from the reference.
    undecided : int
        Those of them that rounding may change, proven by `certify`; the others break the contract.
    smallest_margin : float or None
        The smallest winning margin among the differing labels, in probability, by the reference.
    max_error, max_ulp : float
        Largest difference of a probability from the reference, absolute and in units in the last place of float32.
    unstable_rows : int
        Rows whose bits differ between batch sizes, or when other rows are around.
    seconds : float
        Time of one run over all inputs, after a first.
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
    """Rows of a comparison, and where they were made.

    Parameters
    ----------
    model : str
        What was run.
    total : int
        Number of inputs.
    precision : str
        Precision of matrix products asked for.
    undecided : dict of str to int
        For each precision, how many labels rounding may change, proven by `certify`.
    rows : tuple of Row
        One for each library and device, and the simulated ones.
    environment : dict of str to str
        Machine and versions.
    """

    model: str
    total: int
    precision: str
    undecided: dict[str, int]
    rows: tuple[Row, ...]
    environment: dict[str, str]

    @property
    def ok(self) -> bool:
        """Whether something was compared, and no row breaks the contract."""
        return self.compared > 0 and not any(row.broken for row in self.rows)

    @property
    def compared(self) -> int:
        """The number of libraries and devices that were measured."""
        return sum(row.usable and not row.simulated for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dicts, for JSON."""
        record = {**asdict(self), "tolerance": TOLERANCE, "batch_sizes": list(BATCH_SIZES), "ok": self.ok}
        for row in record["rows"]:  # JSON has no infinity
            row |= {k: None for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
        return record

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return the header and the cells, in words."""
        header = ("backend", "precision", "accuracy", "labels differ", "max error", "max ulp", "bits differ", "time")
        return header, [_cells(row) for row in self.rows]

    def notes(self) -> list[str]:
        """Return what there is to say of single rows, a line each: first what is wrong."""
        said = [f"{_place(row)}: BROKEN: {'; '.join(row.broken)}" for row in self.rows if row.broken]
        said += [
            f"{_place(row)}, {row.precision}: {row.differing} labels differ, {row.undecided} of them undecided at this "
            f"precision; smallest margin {row.smallest_margin:.1g}"
            for row in self.rows
            if row.smallest_margin is not None
        ]
        return said + [f"{_place(row)}: not usable: {row.reason}" for row in self.rows if not row.usable]

    def summary(self) -> str:
        """Return one line: what was compared, and the verdict."""
        verdict = "agreement" if self.ok else "NO AGREEMENT" if self.compared else "NOTHING WAS COMPARED"
        open_labels = ", ".join(f"{count} at {name}" for name, count in self.undecided.items())
        return (
            f"{self.model}, {self.total:,} inputs: {self.compared} libraries and devices against float64 NumPy: "
            f"{verdict}; labels that rounding may change: {open_labels}"
        )

    def __str__(self) -> str:
        header, cells = self.table()
        widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [header, *cells]]
        return "\n".join([self.summary(), *lines, *self.notes()])

    def _repr_html_(self) -> str:
        header, cells = self.table()
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in cells)
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes())
        return (
            f"<p>{html.escape(self.summary())}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{f'<ul>{notes}</ul>' if notes else ''}"
        )


def parity(
    net_or_path: Sequential | str | os.PathLike[str],
    x: Any,
    labels: Any = None,
    backends: Sequence[str] | None = None,
    *,
    precision: str | None = None,
    simulate: bool = True,
) -> Report:
    """Run a network on array libraries and compare each with float64 NumPy.

    Parameters
    ----------
    net_or_path : Sequential, str or path-like
        A network, its name, or a weights file.
    x : array or list
        Inputs, shape (n, in_features).
    labels : array or list, integer, or None
        The true labels, for the accuracy.
    backends : sequence of str or None
        Which, such as ``["numpy", "torch:cuda:1"]``; None is every library and device that can be used here.
    precision : str or None
        Precision of matrix products; None is the current. A library that does not offer it keeps a row that says so.
    simulate : bool
        Whether to add rows that imitate a GPU's TF32 and bfloat16 products.

    Returns
    -------
    Report
        Prints as a table; ``report.ok`` is the verdict.

    Raises
    ------
    WeightsError
        If there is no such network.
    DataError
        If the inputs or the labels do not fit the network.

    Examples
    --------
    >>> import anyback as ab
    >>> test = ab.datasets.digits("test")
    >>> report = parity("digits-mlp", test.images, test.labels, backends=["numpy"])
    >>> report.ok, report.rows[0].differing
    (True, 0)
    """
    if isinstance(net_or_path, Sequential):
        title, net = "network", net_or_path.to("numpy")
    else:
        title, net = os.fspath(net_or_path), models.load_model(net_or_path, backend="numpy")
    case = _Case.of(net, x, labels, precision)
    rows = [_measured(case, *place) for place in _places(backends)]
    if simulate and net.dtype == np.float32:  # other types are multiplied as they are
        rows += [_simulated(case, name, bits) for name, bits in _SIMULATED.items()]
    undecided = {name: proof.undecided for name, proof in case.proofs.items()}
    return Report(title, len(case.x), case.precision, undecided, tuple(rows), environment())


@dataclass(frozen=True, eq=False)
class _Case:
    """What every row is compared with."""

    net: Sequential
    x: np.ndarray
    truth: np.ndarray | None
    precision: str
    reference: np.ndarray
    proofs: dict[str, Certificate]

    @staticmethod
    def of(net: Sequential, x: Any, labels: Any, precision: str | None) -> _Case:
        x = backends.to_numpy(x)
        x = x if net.is_batch(x) else x[None]
        if not len(x):
            raise DataError("inputs: expected at least one, found none")
        truth = None if labels is None else inference.checked_labels(labels, len(x))
        name = precision or backends.get_precision()
        proofs = {p: certify(net, x, precision=p) for p in dict.fromkeys(("highest", name, *_SIMULATED))}
        return _Case(net, x, truth, name, _reference(net, x), proofs)


def _reference(net: Sequential, x: np.ndarray) -> np.ndarray:
    """Return the outputs in float64 by NumPy alone, without the code that is compared, wherever that is possible."""
    y = np.asarray(x)
    for layer in net.layers:
        match layer:
            case Flatten(shape=shape):
                y = y.reshape(len(y), -1) if y.shape[1:] == shape else y
            case Pixels(largest=largest):
                y = y / float(largest) if y.dtype.kind in "iub" else y
            case Linear(weight=weight, bias=bias, largest=largest):
                y = y.astype(np.float64) / (1 if largest is None or y.dtype.kind == "f" else float(largest))
                y = y @ weight.astype(np.float64)
                y = y if bias is None else y + bias.astype(np.float64)
            case _ if by_hand := next((f for known, f in _BY_HAND if layer is known), None):
                y = by_hand(y)
            case _:  # a layer that has no independent form: float64 is still another arithmetic
                wide = net.to(dtype="float64")
                return backends.to_numpy(inference.predict(wide, x.astype(np.float64) if x.dtype.kind == "f" else x))
    return np.asarray(y)


def _softmax_by_hand(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


_BY_HAND: tuple[tuple[Callable[[Array], Array], Callable[[np.ndarray], np.ndarray]], ...] = (
    (identity, lambda x: x),
    (relu, lambda x: np.maximum(x, 0)),
    (sigmoid, lambda x: np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), 1 - 1 / (1 + np.exp(-np.abs(x))))),
    (tanh, np.tanh),
    (softmax, _softmax_by_hand),
)


# -- Rows ---------------------------------------------------------------------------------------------


def _places(specs: Sequence[str] | None) -> list[tuple[Backend | str, Row]]:
    """Return what to run: a backend, or the reason why not, and the row to fill in."""
    places: list[tuple[Backend | str, Row]] = []
    if specs is not None:
        specs = [specs] if isinstance(specs, str) else specs
        if not specs:
            raise BackendError(f"backends: expected at least one; known: {', '.join(backends.ROWS)}")
        for spec in specs:
            name, _, device = spec.partition(":")
            try:
                places.append((backends.resolve(spec), Row(name, device)))
            except AnybackError as error:
                if name not in backends.ROWS:
                    raise
                # Asked for by name, so that its absence is a failure.
                reason = str(error)
                places.append((reason, Row(name, device, usable=False, reason=reason, broken=("cannot be used",))))
        return places
    for name, status in backends.available_backends().items():
        if not status.usable:
            reason = f"{status.reason}. {status.remedy}"
            places.append((reason, Row(name, version=status.version or "", usable=False, reason=reason)))
        kind = backends.ROWS[name]
        for device in status.devices[:1] if kind.same_devices else status.devices:
            places.append((kind(device), Row(name, device)))
    return places


def _measured(case: _Case, backend: Backend | str, row: Row) -> Row:
    """Return the row of a library, filled in."""
    if isinstance(backend, str):
        return row
    row = replace(row, version=backend.version(), precision=case.precision)
    try:
        if case.precision != "highest" and case.precision not in backend.offered():
            offers = ", ".join(backend.offered())
            return replace(row, usable=False, reason=f"offers precision {offers}, not {case.precision}")
        try:
            net, x = case.net.to(backend), backends.asarray(case.x, backend=backend)
        except BackendError as error:  # it lacks the type of the numbers
            return replace(row, usable=False, reason=str(error))
        row = replace(row, device=net.backend.device or "" if net.backend else row.device)
        moved = _changed_weights(case.net, net)
        inference.predict(net, x, precision=case.precision)
        started = time.perf_counter()
        y = inference.predict(net, x, precision=case.precision)
        backend.wait(y)
        found = backends.to_numpy(y)
        row = replace(row, seconds=time.perf_counter() - started)
        unstable = _unstable_rows(case, net, found)
    except Exception as error:  # whatever a library throws belongs into its row, not over the others
        return replace(row, broken=(f"{type(error).__name__}: {str(error)[:200]}",))
    return _judged(case, replace(row, unstable_rows=unstable), found, moved)


def _simulated(case: _Case, name: str, bits: int) -> Row:
    """Return the row of NumPy with the operands of each product rounded as a GPU would."""

    def rounded(layer: Any) -> Any:
        if not isinstance(layer, Linear):
            return layer

        def linear(x: np.ndarray) -> np.ndarray:
            scaled = layer.integer_weight
            weight = layer.weight if scaled is None or x.dtype.kind == "f" else scaled
            return functional.linear(round_to(x.astype(weight.dtype), bits), round_to(weight, bits), layer.bias)

        return linear

    net = Sequential(tuple(rounded(layer) for layer in case.net.layers))
    row = Row("numpy", "cpu", np.__version__, name, simulated=True)
    started = time.perf_counter()
    found = net(case.x)
    return _judged(case, replace(row, seconds=time.perf_counter() - started), found, ())


def _changed_weights(ours: Sequential, theirs: Sequential) -> tuple[str, ...]:
    """Return which arrays arrived with other bits than were sent."""
    back = [backends.to_numpy(x) for x in theirs.arrays]
    return tuple(
        f"array {i} of shape {sent.shape} arrived changed"
        for i, (sent, came) in enumerate(zip(ours.arrays, back, strict=True))
        if (sent.dtype, sent.shape, sent.tobytes()) != (came.dtype, came.shape, came.tobytes())
    )


def _unstable_rows(case: _Case, net: Sequential, found: np.ndarray) -> int:
    """Return how many rows have other bits in other batches, from the host, or with other rows around."""
    unstable = np.zeros(len(found), dtype=bool)
    for size in BATCH_SIZES:
        again = backends.to_numpy(inference.predict(net, case.x, size, precision=case.precision))
        unstable |= _bits_differ(again, found)
    for start in {start for start in (1, 13, len(found) // 2) if start < len(found)}:
        part = slice(start, start + 300)
        again = backends.to_numpy(inference.predict(net, case.x[part], precision=case.precision))
        unstable[part] |= _bits_differ(again, found[part])
    return int(unstable.sum())


def _bits_differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8) for x in (a, b))
    return np.any(a != b, axis=1)


def _judged(case: _Case, row: Row, found: np.ndarray, faults: tuple[str, ...]) -> Row:
    """Return the row with its differences from the reference, and what of them breaks the contract."""
    true = case.reference
    if found.shape != true.shape:
        return replace(row, broken=(*faults, f"shape {found.shape}, expected {true.shape}"))
    labels, expected = _labels(found), _labels(true)
    differ = labels != expected
    wrong = differ & case.proofs[row.precision].decided
    error = np.where(np.isnan(found) & np.isnan(true), 0, np.abs(found.astype(np.float64) - true))
    ulp = error / np.spacing(np.maximum(np.abs(true), np.finfo(np.float32).tiny).astype(np.float32))
    max_error = float(np.max(error, initial=0.0)) if not np.isnan(error).any() else math.inf
    if wrong.any():
        faults += (f"{int(wrong.sum())} labels differ beyond rounding, first in row {int(np.argmax(wrong))}",)
    single = case.net.dtype is not None and case.net.dtype == np.float32
    if row.precision == "highest" and single and not max_error <= TOLERANCE:
        faults += (f"probabilities off by {max_error:.2g}, more than {TOLERANCE:.0e} at full precision",)
    if row.unstable_rows:
        faults += (f"the bits of {row.unstable_rows} rows depend on how the work is cut",)
    ordered = np.sort(true, axis=1)
    margins = ordered[:, -1] - ordered[:, -2] if true.shape[1] > 1 else np.abs(true[:, 0] - 0.5)
    return replace(
        row,
        accuracy=None if case.truth is None else float(np.mean(labels == case.truth)),
        differing=int(differ.sum()),
        undecided=int((differ & ~wrong).sum()),
        smallest_margin=float(margins[differ].min()) if differ.any() else None,
        max_error=max_error,
        max_ulp=float(np.max(ulp, initial=0.0)),
        broken=faults,
    )


def _labels(y: np.ndarray) -> np.ndarray:
    return np.argmax(y, axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(np.int64)


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
