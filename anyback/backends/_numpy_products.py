"""The products of a tile on NumPy: as stacks of smaller ones, whose rows a BLAS treats alike.

Each function makes a weight ready, and returns what multiplies a tile by it and adds the bias.
"""

from __future__ import annotations

import numpy as np

from anyback._typing import Array
from anyback.backends._blas import QUIET
from anyback.backends._scratch import Scratch, aligned
from anyback.backends._ways import Multiply

__all__ = ["guarded", "one_by_one", "stacked"]

#: Bytes of integers cast to floats that are multiplied while they are in the cache.
_CAST = 3 * 2**18
#: Columns that OpenBLAS takes at a time, and columns of a panel beside its guards, so that it is taken as a whole.
_BLOCK, _PANEL = 8, 280
#: Products with guards that are made at a time.
_STACK = 5

_floats, _wide = Scratch(), Scratch()


def stacked(weight: Array, bias: Array | None, *, rows: int) -> Multiply:
    """Return the product as a stack of products of so many rows each."""
    weight = _native(weight)
    # A short row is added again and again more slowly than a block of rows.
    block = None if bias is None else bias[None].repeat(rows, axis=0)

    @QUIET
    def product(x: Array) -> Array:
        if x.dtype == weight.dtype and not x.shape[0] % rows:  # in as few calls as one image likes best
            y = np.matmul(x.reshape(x.shape[0] // rows, rows, x.shape[1]), weight)
            if block is not None:
                y += block
            return y.reshape(x.shape[0], weight.shape[1])
        y = np.empty((x.shape[0], weight.shape[1]), weight.dtype)
        _multiply(x, weight, rows, y)
        return y if block is None else _added(y, block)

    return product


def guarded(weight: Array, bias: Array | None, *, rows: int) -> Multiply:
    """Return the product with columns of zeros around the whole blocks of 8 columns, as a stack like `stacked`.

    OpenBLAS's kernels for processors with AVX2 take 12 rows as two halves, and in the first and the last whole block of
    columns one half adds its products in another order (https://github.com/OpenMathLib/OpenBLAS/issues/4947). Those two
    blocks are of zeros here: rows that are a multiple of 12 have equal bits in all others.
    """
    weight = _native(weight)
    width, outputs = weight.shape
    panels = []
    for start in range(0, outputs, _PANEL):
        stop = min(start + _PANEL, outputs)
        whole = stop - (stop - start) % _BLOCK  # end of the whole blocks
        panel = aligned((width, 2 * _BLOCK + stop - start), weight.dtype)
        panel[...] = 0
        parts = [(slice(start, whole), _BLOCK - start), (slice(whole, stop), 2 * _BLOCK - start)]
        moved = [(part, slice(part.start + by, part.stop + by)) for part, by in parts if part.start < part.stop]
        for here, there in moved:
            panel[:, there] = weight[:, here]
        panels.append((panel, moved))
    block = None if bias is None else bias[None].repeat(rows, axis=0)

    @QUIET
    def product(x: Array) -> Array:
        y = np.empty((x.shape[0], outputs), weight.dtype)
        for start in range(0, x.shape[0], _STACK * rows):  # so that what is wide stays in the cache
            part, sums = x[start : start + _STACK * rows], y[start : start + _STACK * rows]
            for panel, moved in panels:
                wide = _wide.array((part.shape[0], panel.shape[1]), weight.dtype)
                _multiply(part, panel, rows, wide)
                for here, there in moved:
                    sums[:, here] = wide[:, there]
        return y if block is None else _added(y, block)

    return product


def one_by_one(weight: Array, bias: Array | None) -> Multiply:
    """Return the product of each row by itself, always from the same memory into the same memory."""
    weight = _native(weight)
    width, outputs = weight.shape

    @QUIET
    def product(x: Array) -> Array:
        row, sums = aligned((width,), weight.dtype), aligned((outputs,), weight.dtype)
        y = np.empty((x.shape[0], outputs), weight.dtype)
        for i in range(x.shape[0]):
            row[...] = x[i]
            np.dot(row, weight, out=sums)
            y[i] = sums
        return y if bias is None else np.add(y, bias, out=y)

    return product


def _native(weight: Array) -> Array:
    return weight.astype(weight.dtype.newbyteorder("="), order="C", copy=False)


def _multiply(x: Array, weight: Array, rows: int, out: Array) -> None:
    """Write ``x @ weight`` to `out`, in products of so many rows each; the last may have fewer."""
    count, width = x.shape
    outputs = weight.shape[1]
    whole = count - count % rows
    if whole:
        stack = x[:whole].reshape(whole // rows, rows, width)
        sums = out[:whole].reshape(whole // rows, rows, outputs)
        if x.dtype == weight.dtype:
            np.matmul(stack, weight, out=sums)
        else:
            step = max(1, _CAST // max(1, rows * width * weight.itemsize))
            floats = _floats.array((min(step, len(stack)), rows, width), weight.dtype)
            for start in range(0, len(stack), step):
                part = stack[start : start + step]
                cast = floats[: len(part)]
                cast[...] = part
                np.matmul(cast, weight, out=sums[start : start + step])
    if whole < count:
        np.matmul(x[whole:].astype(weight.dtype, copy=False), weight, out=out[whole:])


def _added(y: Array, block: Array) -> Array:
    """Return `y`, to which rows that are all alike were added, a block of them at a time."""
    whole = len(y) - len(y) % len(block)
    if whole:
        stack = y[:whole].reshape(whole // len(block), *block.shape)
        stack += block
    if whole < len(y):
        y[whole:] += block[: len(y) - whole]
    return y
