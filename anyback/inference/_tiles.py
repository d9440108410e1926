"""The plan of a network, made and loaded once, and the tiles that it computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import array_api_compat
import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.backends import Backend
from anyback.lower import lower
from anyback.network import Network
from anyback.plan import Plan

__all__ = ["Ready", "chosen_ways", "moved", "ready_for", "run_tiles"]


class Ready(NamedTuple):
    """A plan, and the function that runs it."""

    plan: Plan
    run: Callable[..., tuple[Array, ...]]


#: The plans that were loaded, for each network as long as it lives. Nothing else keeps any.
_loaded: WeakKeyDictionary[Network, dict[Hashable, Ready]] = WeakKeyDictionary()
_loading = threading.RLock()  # a function of the user's that is being compiled may ask another network


def ready_for(net: Network, backend: Backend, precision: str, dtype: str, sample: tuple[int, ...]) -> Ready:
    """Return the plan of a network for inputs of a type and shape, made and loaded once."""
    key = backend, precision, dtype, sample
    with _loading:
        plans = _loaded.setdefault(net, {})
        if key not in plans:
            plan = lower(net, backend, precision, (dtype,), (sample,))
            plans[key] = Ready(plan, backend.load(plan))
        return plans[key]


def chosen_ways(net: Network) -> dict[str, str]:
    """Return how `predict` multiplies on this processor: for each weight by its shape, the way that was chosen."""
    backend, sample = net.backend, net.usual_sample
    if backend is None or sample is None:
        return {}
    with backends.scope(backend) as precision, backend.one_thread():
        dtype = backends.dtype_name(net.dtype)
        return backend.chosen(ready_for(net, backend, precision, dtype, sample).plan)


def run_tiles(ready: Ready, backend: Backend, rows: Array) -> Array:
    """Return the output for `rows`, which begin where a tile begins."""
    count, tile = int(rows.shape[0]), ready.plan.tile
    rest = count % tile
    outputs = []
    if whole := count - rest:
        placed = moved(rows[:whole, ...] if rest else rows, backend)
        outputs = [ready.run(placed[i : i + tile, ...])[0] for i in range(0, whole, tile)]
    if rest:
        last = _filled(rows[whole:, ...], -rest % ready.plan.multiple)
        outputs.append(ready.run(moved(last, backend))[0])
    # Only now, since some libraries go on computing meanwhile.
    outputs = [backend.first_rows(y, min(tile, count - i * tile)) for i, y in enumerate(outputs)]
    return outputs[0] if len(outputs) == 1 else backends.array_namespace(outputs[0]).concat(outputs, axis=0)


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
