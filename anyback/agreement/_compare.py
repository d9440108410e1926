"""Comparing: each library runs the network on the same inputs, and its outputs are compared with the oracle's."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from anyback import backends, inference, models
from anyback.agreement._oracle import Case
from anyback.agreement._report import BATCH_SIZES, Report, Row
from anyback.agreement._simulated import simulated
from anyback.backends import Backend
from anyback.backends._machine import environment
from anyback.errors import AnybackError, BackendError
from anyback.network import Network, checked_network
from anyback.numbers import PRECISIONS, PrecisionName

__all__ = ["parity"]

#: The fewest rows that are computed again for each batch size, and the most multiply-adds of more rows than these.
_FEWEST_REPEATED, _MOST_REPEATED = 2000, 1 << 31


def parity(
    net_or_path: Network | str | os.PathLike[str],
    x: Any,
    labels: Any = None,
    backends: Sequence[str] | None = None,
    *,
    precision: PrecisionName | None = None,
    simulate: bool = True,
) -> Report:
    """Run a network on array libraries and compare each with float64 NumPy.

    Parameters
    ----------
    net_or_path : Network, str or path-like
        A network, its name, or a weights file.
    x : array or list
        Inputs, shape (n, in_features).
    labels : array or list, or None
        The true labels, as in `evaluate`, for the accuracy. Outputs that are numbers have no accuracy.
    backends : sequence of str or None
        The backends to compare, such as ``["numpy", "torch:cuda:1"]``; None is every library and device that can be
        used here.
    precision : str or None
        Precision of matrix products; None is the current. For a library that does not offer it, the report says so.
    simulate : bool
        Whether NumPy also imitates a GPU's TF32 and bfloat16 products, as two more lines of the report.

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
    net: Network
    if isinstance(net_or_path, (str, os.PathLike)):
        title, net = os.fspath(net_or_path), models.load_model(net_or_path, backend="numpy")
    else:
        title, net = "network", checked_network(net_or_path).to("numpy")
    case = Case.of(net, x, labels, precision)
    rows = [_measured(case, *place) for place in _places(backends)]
    if simulate and net.dtype == np.float32:  # other types are multiplied as they are
        rows += [_simulated(case, name, p.significant) for name, p in PRECISIONS.items() if p.significant]
    undecided = {name: proof.undecided for name, proof in case.proofs.items()}
    return Report(
        title, len(case.x), case.precision, undecided, tuple(rows), environment(), case.tolerance, case.unproven
    )


# -- One library --------------------------------------------------------------------------------------


def _places(specs: Sequence[str] | None) -> list[tuple[Backend | str, Row]]:
    """Return for each place a backend, or the reason why it cannot be used, and the entry of the report to fill in."""
    places: list[tuple[Backend | str, Row]] = []
    if specs is not None:
        specs = [specs] if isinstance(specs, str) else specs
        if not specs:
            raise BackendError(f"backends: expected at least one; known: {', '.join(backends.ROWS)}")
        for spec in specs:
            name, _, device = backends.meant(spec.strip()).partition(":")
            try:
                places.append((backends.resolve(spec), Row(name, device)))
            except AnybackError as error:
                if name not in backends.ROWS:
                    raise
                # It was asked for by name, so its absence is a failure.
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


def _measured(case: Case, backend: Backend | str, row: Row) -> Row:
    """Return the entry of a library in the report, filled in."""
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
    except Exception as error:  # of any library: it goes into the library's own entry, and the others are compared
        return replace(row, broken=(f"{type(error).__name__}: {str(error)[:200]}",))
    return _judged(case, replace(row, unstable_rows=unstable), found, moved)


def _simulated(case: Case, name: str, bits: int) -> Row:
    """Return the entry of NumPy with the operands of each product rounded to `bits` significant bits, as on a GPU."""
    row = Row("numpy", "cpu", np.__version__, name, simulated=True)
    started = time.perf_counter()
    found = simulated(case.net, case.x, bits)
    return _judged(case, replace(row, seconds=time.perf_counter() - started), found, ())


def _changed_weights(ours: Network, theirs: Network) -> tuple[str, ...]:
    """Return the faults of weights that arrived on a library with other bits than were sent, in words."""
    back = [backends.to_numpy(x) for x in theirs.arrays]
    return tuple(
        f"array {i} of shape {sent.shape} arrived changed"
        for i, (sent, came) in enumerate(zip(ours.arrays, back, strict=True))
        if (sent.dtype, sent.shape, sent.tobytes()) != (came.dtype, came.shape, came.tobytes())
        # Integers may be in another type, as JAX has only those of 32 bits unless told otherwise.
        and not (sent.dtype.kind in "iu" and came.dtype.kind in "iu" and np.array_equal(sent, came))
    )


def _unstable_rows(case: Case, net: Network, found: np.ndarray) -> int:
    """Return how many rows have other bits in other batch sizes, as arrays of the host, or with other rows around."""
    unstable = np.zeros(len(found), dtype=bool)
    count = min(len(found), _rows_to_repeat(case.net, case.x.shape[1:]))
    for size in BATCH_SIZES:
        again = backends.to_numpy(inference.predict(net, case.x[:count], size, precision=case.precision))
        unstable[:count] |= _bits_differ(again, found[:count])
    for start in {start for start in (1, 13, len(found) // 2) if start < len(found)}:
        part = slice(start, start + 300)
        again = backends.to_numpy(inference.predict(net, case.x[part], precision=case.precision))
        unstable[part] |= _bits_differ(again, found[part])
    return int(unstable.sum())


def _rows_to_repeat(net: Network, sample: tuple[int, ...]) -> int:
    """Return how many of the first rows are computed again for each batch size: fewer where one row is more work."""
    shapes = net.shapes((1, *sample))
    work = 0
    for call in net.calls:
        given = [None if i is None else shapes[i] for i in call.arguments]
        work += call.op.multiply_adds(*given, **call.attributes) if given and given[0] else 0
    return max(_FEWEST_REPEATED, _MOST_REPEATED // max(1, work))


def _bits_differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8) for x in (a, b))
    return np.any(a != b, axis=1)


def _judged(case: Case, row: Row, found: np.ndarray, faults: tuple[str, ...]) -> Row:
    """Return the entry with its differences from the reference, and those of them that break the contract."""
    true = case.reference
    if found.shape != true.shape:
        return replace(row, broken=(*faults, f"shape {found.shape}, expected {true.shape}"))
    row = replace(row, broken=faults)
    if case.task.classes:
        row = _labelled(case, row, found)
    error = np.where(np.isnan(found) & np.isnan(true), 0, np.abs(found.astype(np.float64) - true))
    ulp = error / np.spacing(np.maximum(np.abs(true), np.finfo(np.float32).tiny).astype(np.float32))
    max_error = float(np.max(error, initial=0.0)) if not np.isnan(error).any() else math.inf
    faults = row.broken
    single = case.net.dtype is not None and case.net.dtype == np.float32
    if row.precision == "highest" and single and not max_error <= case.tolerance:
        what = "probabilities" if case.task.classes else "numbers"
        faults += (f"{what} off by {max_error:.2g}, more than {case.tolerance:.0e} at full precision",)
    if row.unstable_rows:
        faults += (f"the bits of {row.unstable_rows} rows depend on how the work is cut",)
    return replace(row, max_error=max_error, max_ulp=float(np.max(ulp, initial=0.0)), broken=faults)


def _labelled(case: Case, row: Row, found: np.ndarray) -> Row:
    """Return the entry with the labels that differ from the reference's; those that are decided break the contract."""
    task = case.task.one_each
    differ = task.labels(found) != task.labels(case.reference)
    wrong = differ & case.decided(row.precision)
    said = f"{int(wrong.sum())} labels differ beyond rounding, first in row {int(np.argmax(wrong))}"
    return replace(
        row,
        accuracy=case.accuracy(found),
        differing=int(differ.sum()),
        undecided=int((differ & ~wrong).sum()),
        smallest_margin=float(task.margins(case.reference)[differ].min()) if differ.any() else None,
        broken=(*row.broken, said) if wrong.any() else row.broken,
    )
