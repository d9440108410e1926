"""Looking at the values of an input on the host: what of them is worth a warning."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.network import Network

__all__ = ["Seen", "look", "nan_in", "unscaled"]


class Seen(NamedTuple):
    """What the floating-point numbers of a batch on the host hold."""

    nan_rows: int = 0
    largest: float = -math.inf


def look(rows: Array) -> Seen:
    """Look at a NumPy array; arrays elsewhere are not looked at, since that moves them."""
    if not isinstance(rows, np.ndarray) or rows.dtype.kind != "f" or not rows.size:
        return Seen()
    # Is nan where one of them is, at a tenth of the time of looking for nan in each. Of one row a look is quicker.
    largest = rows.item(rows.argmax()) if len(rows) == 1 and rows.flags.c_contiguous else float(rows.max())
    if not math.isnan(largest):
        return Seen(0, largest)
    nan = np.isnan(rows)
    nan_rows = int(np.sum(np.any(nan, axis=tuple(range(1, rows.ndim)))))
    return Seen(nan_rows, float(np.max(rows, where=~nan, initial=-math.inf)))


def nan_in(rows: np.ndarray, start: int) -> str | None:
    """Return what to say of rows with nan among `rows`, the first of which has number `start`."""
    count = look(rows).nan_rows
    if not count:
        return None
    return f"nan in {count} of the rows {start:,} to {start + len(rows) - 1:,} of the input; their outputs are nan"


def unscaled(net: Network, largest: float) -> str | None:
    """Return what to say where the input held floating-point numbers up to `largest`, as pixels that nobody scaled do.

    That is where they are nearer to the largest pixel value than to 1, in ratio.
    """
    if not 1 < largest < math.inf or net.largest_pixel is None or not backends.is_concrete(net.largest_pixel):
        return None
    pixel = float(backends.to_numpy(net.largest_pixel))
    if largest**2 <= pixel:
        return None
    return (
        f"the input holds floating-point numbers up to {largest:.6g}, which this network takes as they are; it divides "
        f"integers alone, by {pixel:.6g}: pass pixels from 0 to 1, or as integers, for example x.astype('uint8')"
    )
