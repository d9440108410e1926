"""The products of a tile on NumPy, as stacks of smaller products in which a BLAS computes every row in the same way.

Each public function prepares a weight, and returns a function that multiplies a tile by it and adds the bias.
"""

from __future__ import annotations

import numpy as np

from anyback._typing import Array
from anyback.backends._blas import QUIET
from anyback.backends._scratch import Scratch, aligned
from anyback.backends._ways import Multiply

__all__ = ["guarded", "one_by_one", "stacked"]

#: Bytes of integers that are cast to floats at a time, so that they are multiplied while they are in the cache.
_CAST = 3 * 2**18
#: Columns that OpenBLAS's kernels compute at a time, and the columns of a panel without its guards, few enough that
#: OpenBLAS does not cut the panel.
_BLOCK, _PANEL = 8, 280
#: How many products with guards are made at a time.
_STACK = 5

_floats, _wide = Scratch(), Scratch()


def stacked(weight: Array, bias: Array | None, *, rows: int, multiple: int) -> Multiply:
    """Return the product as a stack of products of `rows` rows each.

    The last has fewer rows, filled up with zeros to a multiple of `multiple`.
    """
    weight = _native(weight)
    # The bias as a block of rows: one short row would be added more slowly.
    block = None if bias is None else bias[None].repeat(rows, axis=0)

    @QUIET
    def product(x: Array) -> Array:
        count = x.shape[0]
        if count < rows:  # in as few calls as one image likes best
            y = _filled_up(x, weight, multiple)
            return y if block is None else np.add(y, block[:count], out=y)
        y = np.empty((count, weight.shape[1]), weight.dtype)
        _multiply(x, weight, rows, multiple, y)
        return y if block is None else _added(y, block)

    return product


def guarded(weight: Array, bias: Array | None, *, rows: int, multiple: int) -> Multiply:
    """Return the product with columns of zeros around the whole blocks of 8 columns, as a stack like `stacked`.

    OpenBLAS's kernels for processors with AVX2 take 12 rows as two halves, and in the first and the last whole block of
    columns one half adds its products in another order (https://github.com/OpenMathLib/OpenBLAS/issues/4947). Here
    those two blocks are zeros. In all others, equal rows have equal bits where the number of rows is a multiple of 12.
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
    def multiplied(part: Array, panel: Array) -> Array:
        if len(part) < rows:
            return _filled_up(part, panel, multiple)
        wide = _wide.array((part.shape[0], panel.shape[1]), weight.dtype)
        _multiply(part, panel, rows, multiple, wide)
        return wide

    def product(x: Array) -> Array:
        count = x.shape[0]
        y = np.empty((count, outputs), weight.dtype)
        for start in range(0, count, _STACK * rows):  # so that the padded products stay in the cache
            part, sums = x[start : start + _STACK * rows], y[start : start + _STACK * rows]
            for panel, moved in panels:
                wide = multiplied(part, panel)
                for here, there in moved:
                    sums[:, here] = wide[:, there]
        if block is None:
            return y
        return np.add(y, block[:count], out=y) if count <= rows else _added(y, block)

    return product


def one_by_one(weight: Array, bias: Array | None) -> Multiply:
    """Return the product of each row by itself, always from the same memory into the same memory, of one alignment."""
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


def _filled_up(x: Array, weight: Array, multiple: int) -> Array:
    """Return ``x @ weight``, computed with rows of zeros behind `x` up to a multiple of `multiple` rows."""
    count = x.shape[0]
    filled = np.zeros((count + -count % multiple, x.shape[1]), weight.dtype)
    filled[:count] = x
    return np.matmul(filled, weight)[:count]


def _multiply(x: Array, weight: Array, rows: int, multiple: int, out: Array) -> None:
    """Write ``x @ weight`` to `out`, in products of `rows` rows each; the last is filled up to a multiple."""
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
        out[whole:] = _filled_up(x[whole:], weight, multiple)


def _added(y: Array, block: Array) -> Array:
    """Add the bias to every row of `y` in place, a block of equal rows at a time, and return `y`."""
    whole = len(y) - len(y) % len(block)
    if whole:
        stack = y[:whole].reshape(whole // len(block), *block.shape)
        stack += block
    if whole < len(y):
        y[whole:] += block[: len(y) - whole]
    return y
