"""The plan of a network, made and loaded once, and the tiles that it computes."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import array_api_compat
import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.backends import Backend
from anyback.inference._rowwise import rowwise_plan
from anyback.lower import lower
from anyback.network import Network
from anyback.numbers import PrecisionName
from anyback.plan import Plan, Rows, check_rows

__all__ = ["Ready", "chosen_ways", "known", "moved", "ready_for", "remember", "run_tile", "run_tiles", "tile_of"]


class Ready(NamedTuple):
    """A plan, and the function that runs it."""

    plan: Plan
    run: Callable[..., tuple[Array, ...]]

    @property
    def later(self) -> Callable[..., tuple[Array, ...]] | None:
        """The function that takes all rows at once, of a library that computes only when it is asked to; else None."""
        return getattr(self.run, "later", None)


#: The plans that were loaded, for each network as long as it lives. Nothing else keeps any.
_loaded: WeakKeyDictionary[Network, dict[Hashable, Ready | None]] = WeakKeyDictionary()
#: How many entries a network may have before shapes are no longer remembered.
_MOST_PLANS = 100
_loading = threading.RLock()  # a function of the user's that is being compiled may ask another network


def ready_for(
    net: Network,
    backend: Backend,
    precision: PrecisionName,
    dtype: str,
    sample: tuple[int, ...],
    count: int = 1,
    rowwise: bool | None = None,
) -> Ready:
    """Return the plan of a network for inputs of a type and shape, made and loaded once.

    Parameters
    ----------
    net, backend, precision, dtype, sample
        As of `lower`.
    count : int
        How many rows there are, for a network whose rows cannot be computed apart.
    rowwise : bool or None
        Whether the rows of a network of which it is not known are computed apart; None asks the network.
    """
    key = backend, precision, dtype, sample, rowwise
    with _loading:
        plans = _loaded.get(net)
        found = None if plans is None else plans.get(key)
        if found is not None:
            return found
        with backends.scope(backend, precision), backend.one_thread():
            return _made_ready(net, _loaded.setdefault(net, {}), key, count)


def known(net: Network, x: np.ndarray) -> Ready | None:
    """Return the plan that `remember` was given for an array of this type and shape; None where there is none."""
    plans = _loaded.get(net)
    return None if plans is None else plans.get((x.dtype, x.shape))


def remember(net: Network, x: Array, ready: Ready) -> None:
    """Remember which plan computed `x` in one tile, so that for an array of this type and shape nothing is asked again.

    Only of plain arrays of the host, and few, since each shape is remembered for itself.
    """
    if type(x) is np.ndarray and x.dtype.isnative and not x.dtype.hasobject:
        with _loading:
            plans = _loaded.setdefault(net, {})
            if len(plans) < _MOST_PLANS:
                plans[x.dtype, x.shape] = ready


def _made_ready(net: Network, plans: dict[Hashable, Ready | None], key: tuple[Any, ...], count: int) -> Ready:
    """Return the plan for a key, which is made and loaded where it is not among `plans`."""
    backend, precision, dtype, sample, rowwise = key
    if key not in plans:
        # A network from a file is asked; a function of the user's in another is given whole tiles.
        if net.rows is Rows.ANY or (net.rows is Rows.UNKNOWN and net.signature is not None):
            plan = rowwise_plan(net, backend, precision, dtype, sample, rowwise)
        else:
            plan = lower(net, backend, precision, (dtype,), (sample,))
        plans[key] = None if plan is None else Ready(plan, backend.load(plan))
    found = plans[key]
    if found is None and (found := plans.get((*key, count))) is None:
        plan = dataclasses.replace(lower(net, backend, precision, (dtype,), (sample,), rows=count), multiple=count)
        found = plans[(*key, count)] = Ready(plan, backend.load(plan))
    return found


def tile_of(net: Network, rows: Array, precision: PrecisionName | None = None) -> int | None:
    """Return the rows of a tile for inputs like `rows`, a batch on the host; None where rows cannot be computed apart.

    Whoever cuts rows into whole tiles of this number gets the bits that they have together.
    """
    backend = net.backend or backends.backend_of(rows, device=True)
    with backends.scope(backend, precision) as in_force, backend.one_thread():
        dtype = backends.dtype_name(moved(rows[:1, ...], backend).dtype)
        key = net, backend, in_force, dtype, tuple(map(int, rows.shape[1:]))
        ready = ready_for(*key)
        with _loading:
            whole = _loaded[net][*key[1:], None] is None
    return None if whole else ready.plan.tile


def chosen_ways(net: Network) -> dict[str, str]:
    """Return how `predict` multiplies on this processor: for each weight by its shape, the way that was chosen."""
    backend, sample = net.backend, net.usual_sample
    if backend is None or sample is None:
        return {}
    dtype, precision = backends.dtype_name(net.dtype), backends.offered_precision(backend)
    with backend.one_thread():
        return backend.chosen(*ready_for(net, backend, precision, dtype, sample))


def run_tiles(ready: Ready, backend: Backend, rows: Array) -> tuple[Array, ...]:
    """Return the outputs for `rows`, which begin where a tile begins."""
    count, tile = int(rows.shape[0]), ready.plan.tile
    more = -(count % tile) % ready.plan.multiple
    whole = count - count % tile if more else count  # the last tile is filled up, or as short as it is
    cut: list[tuple[Array, ...]] = []
    if whole:
        placed = moved(rows[:whole, ...] if more else rows, backend)
        outputs = [ready.run(placed[i : min(i + tile, whole), ...]) for i in range(0, whole, tile)]
        check_rows(outputs[0])
        # Only now, since some libraries go on computing meanwhile.
        cut = [tuple(backend.first_rows(y, min(tile, whole - i * tile)) for y in ys) for i, ys in enumerate(outputs)]
    if more:  # not before the others are computed: the library may place these rows in the same memory
        cut.append(run_tile(ready, backend, rows[whole:, ...]))
    if len(cut) == 1:
        return cut[0]
    return tuple(backends.array_namespace(parts[0]).concat(parts, axis=0) for parts in zip(*cut, strict=True))


def run_tile(ready: Ready, backend: Backend, rows: Array, placed: Array = None) -> tuple[Array, ...]:
    """Return the outputs for `rows`, no more than a tile; `placed` is what `moved` makes of rows that fill it."""
    count = rows.shape[0]
    if more := -count % ready.plan.multiple:
        placed = moved(_filled(rows, more), backend)
    ys = ready.run(placed)
    check_rows(ys)
    return tuple([backend.first_rows(y, count) for y in ys])


def moved(rows: Array, backend: Backend) -> Array:
    """Return rows on the network's device; rows on the host stay there where the library computes with them as well."""
    if not isinstance(rows, np.ndarray):
        return backends.asarray(rows, backend=backend)
    if not (isinstance(rows, np.memmap) and rows.flags.c_contiguous and rows.dtype.isnative):
        # Memory of another order may take another way to a product; subclasses have ways of their own.
        rows = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("="))
    return backend.put_tile(rows)


def _filled(rows: Array, more: int) -> Array:
    """Return `rows` and so many of zeros, on the device where they are."""
    if not more:
        return rows
    shape = (more, *rows.shape[1:])
    if isinstance(rows, np.ndarray):
        return np.concatenate([rows, np.zeros(shape, rows.dtype)])
    xp = backends.array_namespace(rows)
    return xp.concat([rows, xp.zeros(shape, dtype=rows.dtype, device=array_api_compat.device(rows))], axis=0)
