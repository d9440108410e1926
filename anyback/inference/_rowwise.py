"""Whether the rows of a network may be computed apart, where that is not proved: the network itself is asked."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.backends import Backend
from anyback.errors import BackendError
from anyback.lower import lower
from anyback.network import Network
from anyback.numbers import PrecisionName
from anyback.plan import Plan, Rows

__all__ = ["rowwise_plan"]

#: How many different rows there are in a tile by which it is found out whether a row keeps its bits.
_DIFFERENT = 16
#: Rows of numbers of 4 bytes begin at 16 places of 64 bytes, which are as wide as any register.
_ALIGNED = 17


def rowwise_plan(
    net: Network, backend: Backend, precision: PrecisionName, dtype: str, sample: tuple[int, ...], wish: bool | None
) -> Plan | None:
    """Return the plan of a network of which it is not known how rows depend on each other.

    Its rows are computed apart where lowering proves that they may be, or an experiment says so: evidence, not proof.

    Parameters
    ----------
    net, backend, precision, dtype, sample
        As of `lower`.
    wish : bool or None
        True cuts the rows in any case, False never; None makes the experiment.

    Returns
    -------
    Plan or None
        None where all rows must be computed at once.

    Raises
    ------
    ShapeError
        If an op does not take such samples.

    Warns
    -----
    UserWarning
        If the experiment says that all rows must be computed at once.
    """
    if wish is False:
        return None
    net.shapes((1, *sample))  # raises ShapeError for a sample that ops do not take, whatever the number of rows
    fixed = _declared_rows(net)
    # Of as many rows as its file says; an export of one row may take any number.
    for rows in dict.fromkeys((None if fixed == 1 else fixed, fixed)):
        try:
            plan = lower(net, backend, precision, (dtype,), (sample,), rows=rows)
        except BackendError:
            raise
        except Exception:  # of any library: it does not take so many rows
            continue
        if rows is not None:
            plan = dataclasses.replace(plan, multiple=rows)
        # One row alone depends on no other.
        proved = plan.rows < Rows.ANY  # then it is to be seen alone how they keep their bits
        if rows == 1 or (wish is True and not proved) or (proved and (plan.tile == 1 or backend.checks_plans)):
            return plan
        if plan.tile == 1:
            trio = lower(net, backend, precision, (dtype,), (sample,), rows=3)
            if _are_apart(trio, backend.load(trio), backend.load(plan)):
                return plan
            continue
        # Rows are not filled up further than the ways of products need: what is computed without is to be seen.
        ways = [backend.way(precision, step.product) for step in plan.steps if step.product is not None]
        least = dataclasses.replace(plan, multiple=backend.multiple(Rows.PRODUCT, ways, plan.tile))
        found = _checked(plan, backend.load(least), rows, least.multiple)
        if found is not None:
            return found
        if proved:  # each by itself
            return lower(net, backend, precision, (dtype,), (sample,), rows=1)
    warnings.warn(
        "the outputs of a row of this network depend on the other rows, or on how many there are: all rows are "
        "computed at once; pass rowwise=True if they do not, or rowwise=False to say that they do",
        stacklevel=2,
    )
    return None


def _declared_rows(net: Network) -> int | None:
    """Return how many rows the network's file says that it takes; None where it may be any number."""
    shape = net.signature.inputs[0].shape if net.signature is not None else None
    return shape[0] if shape and isinstance(shape[0], int) else None


def _checked(plan: Plan, run: Callable[..., tuple[Array, ...]], fixed: int | None, least: int) -> Plan | None:
    """Return a plan as its rows may be cut; None where they may not be. `fixed` is the number that must be computed.

    `run` computes it with rows filled up to a multiple of `least`.

    Rows are moved to other places, among others and beside nan, and must keep their bits; there must be as many outputs
    as rows. A plan of a number of rows that its file says needs no more. Else a row alone must give nearly the same;
    where it has the same bits, any number of rows may be computed.

    Where it is proved that rows do not depend on each other, bits alone are in question: then one tile is enough, in
    which each of some rows is at many places. Where each row is computed by calls of its own, they differ in where the
    row begins in memory: of `_ALIGNED` rows, two begin alike.
    """
    rows, proved, alike = _plausible(plan), plan.rows < Rows.ANY, plan.rows is Rows.ALONE
    count = min(_ALIGNED, len(rows)) if alike else len(rows)
    places = np.random.default_rng(1).integers(0, 1 if alike else _DIFFERENT, count) if proved else np.arange(count)
    rows = rows[places % len(rows)]
    try:
        whole = _outputs(plan.backend, run, rows)
        if any(y.shape[:1] != (len(rows),) for y in whole):
            return None
        if not (_same_at_each_place(whole, places) if proved else _same_elsewhere(plan, run, rows, whole)):
            return None
        if plan.multiple == plan.tile == fixed:
            return plan
        alone = [_outputs(plan.backend, run, rows[i : i + 1], least) for i in (0, len(rows) - 1)]
    except Exception:  # of any library, for what cannot be computed with another number of rows
        return None
    first, last = alone
    near = all(
        y.shape[:1] == (1,) and _near(y, all_y, at)
        for at, ys in ((0, first), (len(rows) - 1, last))
        for y, all_y in zip(ys, whole, strict=True)
    )
    if not near:
        return None
    some = rows[: 2 * _DIFFERENT + 1 if proved and not alike else len(rows) // 2 + 1]
    same = _same([y[:1] for y in whole], first) and _same([y[-1:] for y in whole], last)
    same = same and _same([y[: len(some)] for y in whole], _outputs(plan.backend, run, some, least))
    if alike and not same:
        return None
    return dataclasses.replace(plan, multiple=least if same else plan.tile)


def _are_apart(plan: Plan, run: Callable[..., tuple[Array, ...]], alone: Callable[..., tuple[Array, ...]]) -> bool:
    """Return whether three rows give nearly what each gives alone, and nan in one of them leaves the others alone."""
    rows = _plausible(plan)
    changed = rows.copy()
    if rows.dtype.kind == "f":
        changed[1] = np.nan
    try:
        ones = [_outputs(plan.backend, alone, rows[i : i + 1]) for i in range(3)]
        for given, kept in ((rows, (0, 1, 2)), (changed, (0, 2))):
            whole = _outputs(plan.backend, run, given)
            if any(y.shape[:1] != (3,) for y in whole) or any(y.shape[:1] != (1,) for ys in ones for y in ys):
                return False
            if not all(_near(one, y, i) for i in kept for one, y in zip(ones[i], whole, strict=True)):
                return False
    except Exception:  # of any library, for what cannot be computed with another number of rows
        return False
    return True


def _near(one: np.ndarray, whole: np.ndarray, place: int) -> bool:
    """Return whether what a row gives alone is nearly what it gives at a place among others."""
    near = np.allclose(
        one, whole[place : place + 1], rtol=1e-4, atol=1e-4 * _size(whole[place : place + 1]), equal_nan=True
    )
    return bool(near)


def _same_at_each_place(whole: Sequence[np.ndarray], places: np.ndarray) -> bool:
    """Return whether equal rows, which have the same number in `places`, have equal bits."""
    _, first, numbers = np.unique(places, return_index=True, return_inverse=True)
    bits = [np.ascontiguousarray(y).reshape(len(y), -1).view(np.uint8) for y in whole]
    return all(bool(np.all(y == y[first[numbers]])) for y in bits)


def _same_elsewhere(
    plan: Plan, run: Callable[..., tuple[Array, ...]], rows: np.ndarray, whole: Sequence[np.ndarray]
) -> bool:
    """Return whether rows keep their bits at other places, and beside others."""
    moved = np.roll(rows, 1 + len(rows) // 3, axis=0)
    if not _same(whole, _back(_outputs(plan.backend, run, moved), len(rows))):
        return False
    return len(rows) <= 2 or _same_beside_others(plan, run, rows, whole)


def _same_beside_others(
    plan: Plan, run: Callable[..., tuple[Array, ...]], rows: np.ndarray, whole: Sequence[np.ndarray]
) -> bool:
    """Return whether another row in the middle leaves the bits of the others alone, also one of nan."""
    middle = len(rows) // 2
    others = np.arange(len(rows)) != middle
    for value in (rows[0], np.nan) if rows.dtype.kind == "f" else (rows[0],):
        changed = rows.copy()
        changed[middle] = value
        found = _outputs(plan.backend, run, changed)
        if not _same([y[others] for y in whole], [y[others] for y in found]):
            return False
    return True


def _plausible(plan: Plan) -> np.ndarray:
    """Return a tile of rows, all different: numbers of the size of pixels, or small integers."""
    rng = np.random.default_rng(0)
    shape = (plan.tile, *plan.shapes[0])
    dtype = np.dtype(plan.dtypes[0]) if hasattr(np, plan.dtypes[0]) else np.dtype(np.float32)
    numbers = rng.standard_normal(shape) if dtype.kind in "fc" else rng.integers(0, 2, shape)
    return numbers.astype(dtype)


def _outputs(
    backend: Backend, run: Callable[..., tuple[Array, ...]], rows: np.ndarray, multiple: int = 1
) -> list[np.ndarray]:
    """Return the outputs of rows, which are filled up to a multiple of a number."""
    filled = np.concatenate([rows, np.zeros((-len(rows) % multiple, *rows.shape[1:]), rows.dtype)])
    with np.errstate(all="ignore"):
        found = run(backend.put_tile(filled))
        return [np.asarray(backends.to_numpy(backend.first_rows(y, len(rows)))) for y in found]


def _back(outputs: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    return [np.roll(y, -(1 + count // 3), axis=0) for y in outputs]


def _same(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(some, others, strict=True))


def _size(y: np.ndarray) -> float:
    finite = np.abs(y[np.isfinite(y)]) if y.dtype.kind == "f" else np.abs(y)
    return float(np.max(finite, initial=1.0))
