"""The products of a tile on NumPy, as stacks of smaller products in which a BLAS computes every row in the same way.

Each public name prepares a weight, and gives a function that multiplies a tile by it, adds the bias, and computes the
op behind the product where there is one: piece by piece, while the sums are in the cache. Of 10,000 MNIST images that
takes 0.9 ms, and the same passes over whole tiles take 1.3, where the bare products take 5.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anyback._typing import Array
from anyback.backends._blas import QUIET
from anyback.backends._scratch import Scratch, aligned
from anyback.backends._ways import Behind, Multiply

__all__ = ["BLOCK", "GuardedRows", "Stacked", "guarded_columns", "one_by_one"]

#: The most numbers of the input that are cast at a time, and of sums that are taken at a time from bias to activation.
_CAST, _SUMS = 3 * 2**18, 2**17
#: The most numbers of a weight that is transposed beforehand: that spares one image of MNIST 0.8 of 14 µs.
_SMALL = 2**18
#: Columns that OpenBLAS's kernels compute at a time, and the columns of a panel without its guards, few enough that
#: OpenBLAS does not cut the panel.
BLOCK, _PANEL = 8, 280
#: How many products with guards are made at a time.
_STACK = 5

_floats, _wide = Scratch(), Scratch()


class Stacked:
    """The product as a stack of products of `rows` rows each.

    The last has fewer rows, filled up with zeros to a multiple of `multiple`. Where the next product is one of this
    kind, `then`, it takes what this one gives, piece by piece.
    """

    def __init__(
        self,
        weight: Array,
        bias: Array | None,
        behind: Behind | None = None,
        *,
        rows: int,
        multiple: int,
        then: Stacked | None = None,
    ) -> None:
        self._weight, self._rows, self._multiple, self._then = _native(weight), rows, multiple, then
        width, outputs = self._weight.shape
        piece = rows * max(1, min(_CAST // max(1, rows * width), _SUMS // max(1, rows * outputs)))
        self._piece: int = piece if then is None else min(piece, then._piece)
        self._outputs: int = outputs if then is None else then._outputs
        self._finish, self._sums = _finishing(bias, behind, self._piece, 0), Scratch()

    @QUIET
    def __call__(self, x: Array) -> Array:
        count = x.shape[0]
        if count < self._rows:  # in as few calls as one image likes best
            filled = np.zeros((count + -count % self._multiple, x.shape[1]), self._weight.dtype)
            filled[:count] = x
            return self._few(filled)[:count]
        y = np.empty((count, self._outputs), self._weight.dtype)
        for start in range(0, count, self._piece):
            self._put(x[start : start + self._piece], y[start : start + self._piece])
        return y

    def _few(self, filled: Array) -> Array:
        product: Stacked | None = self
        while product is not None:
            filled = product._finish(np.matmul(filled, product._weight))
            product = product._then
        return filled

    def _put(self, x: Array, y: Array) -> None:
        """Write the products of a piece to `y`."""
        product: Stacked | None = self
        while product is not None:
            shape = len(x), product._weight.shape[1]
            sums = y if product._then is None else product._sums.array(shape, product._weight.dtype)
            _multiply(x, product._weight, product._rows, product._multiple, sums)
            x, product = product._finish(sums), product._then


class GuardedRows:
    """The product with rows of zeros around each `rows` rows, computed as columns: ``weight.T @ x.T``.

    OpenBLAS's kernels for processors with AVX2 take 12 columns as two halves, and in the first and the last block of 8
    rows one half adds its products in another order (https://github.com/OpenMathLib/OpenBLAS/issues/4947). Here those
    two blocks are guards, whose sums nobody reads, or 8 rows are all. Guards around 240 rows cost a fifteenth, those
    around 50 columns a third.

    Where the next product is one of this kind, `then`, its operand is what this one gives, guards included. The result
    lies in memory column by column where `columns` is true; so may `x`.
    """

    def __init__(
        self,
        weight: Array,
        bias: Array | None,
        behind: Behind | None = None,
        *,
        rows: int,
        columns: bool = False,
        then: GuardedRows | None = None,
    ) -> None:
        self._weight = _native(weight).T
        if weight.size <= _SMALL:
            self._weight = np.ascontiguousarray(self._weight)
        self._finish = _finishing(bias, behind, rows + 2 * BLOCK, 1)
        self._finish_few = _finishing(bias, behind, BLOCK, 1)
        self._outputs: int = len(self._weight) if then is None else then._outputs
        self._rows, self._columns, self._then, self._sums = rows, columns, then, Scratch()

    @QUIET
    def __call__(self, x: Array) -> Array:
        count, rows = x.shape[0], self._rows
        if count <= BLOCK:
            by_rows = x.flags.c_contiguous  # in the order of memory that `x` has, as `_guarded` makes it
            filled = np.zeros((BLOCK, x.shape[1]), self._weight.dtype, order="C" if by_rows else "F")
            filled[:count] = x
            y = self._few(filled.T)[:, :count]
        else:
            y = np.empty((self._outputs, count), self._weight.dtype)
            for start in range(0, count, rows):
                part = x[start : start + rows]
                sums = self._between_guards(_guarded(part, self._weight.dtype))
                y[:, start : start + rows] = sums[:, BLOCK : BLOCK + len(part)]
        return y.T if self._columns else np.ascontiguousarray(y.T)

    def _few(self, columns: Array) -> Array:
        product: GuardedRows | None = self
        while product is not None:
            columns = product._finish_few(np.matmul(product._weight, columns))
            product = product._then
        return columns

    def _between_guards(self, columns: Array) -> Array:
        """Return the sums for columns of which the first and the last 8 are guards, in scratch."""
        product: GuardedRows | None = self
        while product is not None:
            out = product._sums.array((len(product._weight), columns.shape[1]), product._weight.dtype)
            columns, product = product._finish(np.matmul(product._weight, columns, out=out)), product._then
        return columns


def _guarded(x: Array, dtype: np.dtype) -> Array:
    """Return `x` transposed, between guards, in scratch with the order of memory that `x` has."""
    count, width = x.shape
    stop, size = BLOCK + count, 2 * BLOCK + count + -count % BLOCK
    if x.flags.c_contiguous:
        rows = _floats.array((size, width), dtype)
        rows[:BLOCK], rows[BLOCK:stop], rows[stop:] = 0, x, 0
        return rows.T
    columns = _floats.array((width, size), dtype)
    columns[:, :BLOCK], columns[:, BLOCK:stop], columns[:, stop:] = 0, x.T, 0
    return columns


def guarded_columns(
    weight: Array, bias: Array | None, behind: Behind | None = None, *, rows: int, multiple: int
) -> Multiply:
    """Return the product with columns of zeros around the whole blocks of 8 columns, as a stack like `Stacked`.

    OpenBLAS's kernels for processors with AVX2 take 12 rows as two halves, and in the first and the last whole block of
    columns one half adds its products in another order (https://github.com/OpenMathLib/OpenBLAS/issues/4947). Here
    those two blocks are zeros. In all others, equal rows have equal bits where the number of rows is a multiple of 12.
    """
    weight = _native(weight)
    width, outputs = weight.shape
    panels = []
    for start in range(0, outputs, _PANEL):
        stop = min(start + _PANEL, outputs)
        whole = stop - (stop - start) % BLOCK  # end of the whole blocks
        panel = aligned((width, 2 * BLOCK + stop - start), weight.dtype)
        panel[...] = 0
        parts = [(slice(start, whole), BLOCK - start), (slice(whole, stop), 2 * BLOCK - start)]
        moved = [(part, slice(part.start + by, part.stop + by)) for part, by in parts if part.start < part.stop]
        for here, there in moved:
            panel[:, there] = weight[:, here]
        panels.append((panel, moved))
    finish = _finishing(bias, behind, _STACK * rows, 0)

    def multiplied(part: Array, panel: Array) -> Array:
        if len(part) < rows:
            return _filled_up(part, panel, multiple)
        wide = _wide.array((part.shape[0], panel.shape[1]), weight.dtype)
        _multiply(part, panel, rows, multiple, wide)
        return wide

    @QUIET
    def product(x: Array) -> Array:
        count = x.shape[0]
        y = np.empty((count, outputs), weight.dtype)
        for start in range(0, count, _STACK * rows):  # so that the padded products stay in the cache
            part, sums = x[start : start + _STACK * rows], y[start : start + _STACK * rows]
            for panel, moved in panels:
                wide = multiplied(part, panel)
                for here, there in moved:
                    sums[:, here] = wide[:, there]
            finish(sums)
        return y

    return product


def one_by_one(weight: Array, bias: Array | None, behind: Behind | None = None) -> Multiply:
    """Return the product of each row by itself, always from the same memory into the same memory, of one alignment."""
    weight = _native(weight)
    width, outputs = weight.shape
    finish = _finishing(bias, behind, 1, 0)

    @QUIET
    def product(x: Array) -> Array:
        row, sums = aligned((width,), weight.dtype), aligned((outputs,), weight.dtype)
        y = np.empty((x.shape[0], outputs), weight.dtype)
        for i in range(x.shape[0]):
            row[...] = x[i]
            np.dot(row, weight, out=sums)
            y[i] = sums
        return finish(y)

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
    whole = count - count % rows
    if whole:
        if x.dtype != weight.dtype or not x.flags.c_contiguous:  # of columns a product is another one
            floats = _floats.array((whole, width), weight.dtype)
            floats[...] = x[:whole]
            stack = floats.reshape(-1, rows, width)
        else:
            stack = x[:whole].reshape(-1, rows, width)
        np.matmul(stack, weight, out=out[:whole].reshape(-1, rows, weight.shape[1]))
    if whole < count:
        out[whole:] = _filled_up(x[whole:], weight, multiple)


def _finishing(bias: Array | None, behind: Behind | None, most: int, axis: int) -> Callable[[Array], Array]:
    """Return what adds the bias to sums in place, computes the op behind the product, and returns the sums.

    `most` is the usual number of rows, along an axis. The bias is repeated as often: NumPy adds arrays of one shape in
    half the time.
    """
    block = None
    if bias is not None:
        block = np.expand_dims(-bias if behind is not None and behind.negative else bias, axis).repeat(most, axis)

    def finish(sums: Array) -> Array:
        count = sums.shape[axis]
        if count > most:
            for start in range(0, count, most):
                finish(sums[start : start + most] if axis == 0 else sums[:, start : start + most])
            return sums
        added = None if block is None else block[:count] if axis == 0 else block[:, :count]
        if behind is None:
            return sums if added is None else np.add(sums, added, out=sums)
        if behind.negative:  # (-b) - y is -(y + b), rounded alike
            np.negative(sums, out=sums) if added is None else np.subtract(added, sums, out=sums)
        elif added is not None:
            np.add(sums, added, out=sums)
        behind.compute(sums)
        return sums

    return finish
