"""The proof of which labels no rounding can change: the winning output is ahead by more than the bounds."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback import backends
from anyback.backends._blas import one_blas_thread
from anyback.backends.base import first_line
from anyback.bounds._bounded import Bounded
from anyback.bounds._ops import bounded
from anyback.bounds.arithmetic import Arithmetic
from anyback.errors import AnybackError, BackendError, DataError
from anyback.lower import simplified
from anyback.network import Call, Network, check_outputs, checked_network
from anyback.numbers import FLOATS, PRECISIONS, PrecisionName, dtype_name, unknown_precision
from anyback.plan import Rows, Step, run
from anyback.tasks import Task

__all__ = ["Certificate", "certify", "forward"]

#: The most rows that are computed at a time, and the most numbers or multiply-adds of one call for these rows.
_MOST_ROWS, _MOST_WORK = 1024, 1 << 24


@dataclass(frozen=True, eq=False)
class Certificate:
    """The labels of a batch, and which of them no library's rounding can change.

    Parameters
    ----------
    labels : numpy.ndarray
        The label of each row, shape (n,): that of exact arithmetic where the label is decided.
    margins : numpy.ndarray
        The difference between the winning output and its closest rival, before the last activation, shape (n,).
    bounds : numpy.ndarray
        The most by which rounding can change that difference, shape (n,). Labels with larger margins are decided.
    precision : str
        The precision of matrix products that the proof holds for.
    """

    labels: np.ndarray
    margins: np.ndarray
    bounds: np.ndarray
    precision: PrecisionName

    @property
    def decided(self) -> np.ndarray:
        """Whether each label is decided: booleans of shape (n,)."""
        return self.margins > self.bounds  # false where either is nan

    @property
    def undecided(self) -> int:
        """The number of labels that another order of summation may change."""
        return int(np.sum(~self.decided))

    def __repr__(self) -> str:
        total = len(self.labels)
        return f"Certificate({total - self.undecided} of {total} labels decided, precision={self.precision!r})"


def certify(net: Network, x: Any, *, precision: PrecisionName | None = None) -> Certificate:
    """Prove which labels are the same on every array library, for every order of summation.

    Parameters
    ----------
    net : Network
        A network that gives one output for each class, or one for two classes. It may be on any library.
    x : array or list
        Inputs, shape (n, in_features) or one sample.
    precision : str or None
        Precision of matrix products: ``"highest"``, ``"tf32"``, ``"bf16"``; None is the current.

    Returns
    -------
    Certificate
        With ``labels``, ``decided``, ``undecided``, ``margins`` and ``bounds``.

    Raises
    ------
    BackendError
        If an op uses a function for which there is no rule.
    DataError
        If the network gives no labels.

    Notes
    -----
    The outputs are bounded in two forms: as the network's calls compute them, and as `predict` does, with scales and
    batch normalizations folded into weights, which rounds other numbers. A label is decided where both forms decide it
    and agree.

    Last calls that keep the order of the outputs are left out, such as `softmax`, or the `sigmoid` of one output, which
    is above one half where its input is above 0. The bound is 20 unit roundoffs larger, which covers the error of such
    a call of 4 units in the last place. Several outputs of a `sigmoid` may round to 1, so they are compared after it.

    Examples
    --------
    >>> import anyback as ab
    >>> net = ab.load_model("digits-mlp", backend="numpy")
    >>> proof = certify(net, ab.datasets.digits("test").images)
    >>> proof.undecided
    0
    """
    arithmetic = Arithmetic(precision or backends.get_precision())
    if arithmetic.precision not in PRECISIONS:
        raise unknown_precision(arithmetic.precision)
    rows = backends.to_numpy(x)
    rows = rows if checked_network(net).is_batch(rows) else rows[None]
    x = arithmetic.asarray(rows)
    if rows.dtype.kind == "f" and net.dtype is not None:
        x = arithmetic.astype(x, np.dtype(dtype_name(net.dtype)))
    plain = net.map(lambda a: arithmetic.asarray(backends.to_numpy(a)))
    # An interval that is too wide becomes inf or nan, and then decides nothing. One thread: the products are small, and
    # more threads cost more than they save.
    with np.errstate(all="ignore"), one_blas_thread():
        decisions = [_decided(form, x) for form in _forms(plain, dtype_name(x.dtype))]
    labels, margins, bounds = decisions[0]
    for other, margin, bound in decisions[1:]:
        nearer = ~(margin - bound >= margins - bounds)  # also where one is nan
        margins, bounds = np.where(nearer, margin, margins), np.where(nearer, bound, bounds)
        bounds = np.where(labels == other, bounds, np.inf)
    return Certificate(labels, margins, bounds, arithmetic.precision)


def _forms(net: Network, dtype: str) -> list[Network]:
    """Return the forms in which libraries compute a network for inputs of a type: its calls, and those of `predict`."""
    folded = simplified(net, [dtype])
    # Where no array is new, nothing was folded, and the form computes the same.
    new = any(all(a is not b for b in net.arrays) for a in folded.arrays)
    return [net, folded] if new else [net]


def _decided(net: Network, x: Bounded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the labels, margins and bounds, each of shape (n,)."""
    count, task = len(x.value), net.task
    net, half = _before_last(net, x[:1])
    size = _rows_at_a_time(net, x)
    parts = [_compared(net, half, task, x[i : i + size]) for i in range(0, max(count, 1), size)]
    labels, margins, bounds = (np.concatenate(column) for column in zip(*parts, strict=True))
    return labels, margins, bounds


def _before_last(net: Network, row: Bounded) -> tuple[Network, float]:
    """Return the network without last calls that keep the order of outputs, and the threshold for a single output."""
    half = 0.5
    while (last := net.last()) is not None:
        before = net.select(*[i for i in last.arguments[:1] if i is not None])
        shape = net.shapes(row.shape)[net.outputs[0]] or forward(before, row).shape
        check_outputs(net, shape[-1])
        if not last.op.keeps_order(shape, **last.attributes):
            break
        if shape[-1] == 1:  # one output has no order; a sigmoid is above one half where its input is above 0
            if last.op.gives != "probabilities" or half == 0:
                break
            half = 0.0
        net = before
    return net, half


def _rows_at_a_time(net: Network, x: Bounded) -> int:
    """Return how many rows to compute at a time, so that no value of them takes more than about a hundred megabytes.

    All rows where a row may depend on others.
    """
    row = (1, *x.shape[1:])
    shapes = net.shapes(row)
    work = [math.prod(shape) for shape in (row, *shapes[net.first_result :]) if shape]
    for call in net.calls:
        given = [None if i is None else shapes[i] for i in call.arguments]
        work.append(call.op.multiply_adds(*given, **call.attributes) if given and given[0] else 0)
    if net.rows >= Rows.ANY and len(x.value) > 1 and not _are_apart(net, x[:1], work):
        return len(x.value)
    return max(1, min(_MOST_ROWS, _MOST_WORK // max(work)))


def _are_apart(net: Network, row: Bounded, sizes: list[int]) -> bool:
    """Return whether a row has the same bounds alone as between rows that may be anything; append values' sizes.

    A result that depends on a number that may be anything has an infinite bound. So a row with the same finite bounds
    does not depend on the rows around it. False where the shape of the output does not grow by one row for each row.
    """
    alone = forward(net, row, sizes)
    beside = row.widened(np.inf)
    try:
        among = forward(net, row.arithmetic.concat([beside, row, beside]))
    except AnybackError:  # the network asks for the values of a row that may be anything
        return False
    if len(among.value) != 3 or among.shape[1:] != alone.shape[1:]:
        return False
    one = among[1:2]
    return bool(
        np.allclose(one.value, alone.value, equal_nan=True) and np.allclose(one.bound, alone.bound, equal_nan=True)
    )


def forward(net: Network, x: Bounded, sizes: list[int] | None = None) -> Bounded:
    """Return the first output of a network, with bounds that hold for every order of summation.

    Parameters
    ----------
    net : Network
        A network whose arrays are `Bounded`.
    x : Bounded
        The input, a batch.
    sizes : list of int or None
        A list that the size of each call's results is appended to; None keeps no sizes.
    """
    steps = [
        Step(functools.partial(_followed, call, sizes), None, call.arguments, call.attributes, results=call.results)
        for call in net.calls
    ]
    return run(steps, net.outputs, [x, *net.arrays])[0]


def _followed(call: Call, sizes: list[int] | None, /, *arguments: Any, **attributes: Any) -> Any:
    """Return the result of a call, or raise an error that names the op."""
    try:
        found = bounded(call.op)(*arguments, **attributes)
    except AnybackError as error:
        raise type(error)(f"{_named(call)}: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The op's function uses an array in a way that is not of the standard, and for which there is no rule.
        raise BackendError(f"{_named(call)}: bounds cannot follow what it does: {first_line(error)}") from error
    if sizes is not None:
        sizes += [math.prod(y.shape) for y in (found if isinstance(found, tuple) else (found,)) if hasattr(y, "shape")]
    return found


def _named(call: Call) -> str:
    return f"{call.op.name} {call.source!r}" if call.source else call.op.name


def _compared(
    net: Network, half: float, task: Callable[[int], Task], x: Bounded
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the labels, margins and bounds, each of shape (n,); a single output is compared with `half`."""
    y = forward(net, x)
    if y.ndim != 2 or y.shape[1] < 1:
        raise DataError(f"the network gives shape {y.shape}; labels need (n, classes) or (n, 1)")
    if task(y.shape[1]).classes == 0:
        raise DataError("the network gives numbers, which have no labels; two classes take a sigmoid as the last layer")
    value, bound = y.value, y.bound
    if y.shape[1] == 1:  # two classes
        value = np.column_stack([np.full(len(value), half), value])
        bound = np.column_stack([np.zeros(len(value)), bound])
    index = np.arange(len(value))
    labels = np.argmax(value, axis=1)
    gaps = value[index, labels][:, None] - value
    reaches = bound[index, labels][:, None] + bound + 20 * FLOATS[y.dtype.name].roundoff
    # The closest rival by margin less bound, which need not be the second largest output.
    slack = gaps - reaches
    slack[index, labels] = np.inf
    rival = np.argmin(np.where(np.isnan(slack), -np.inf, slack), axis=1)
    return labels, gaps[index, rival], reaches[index, rival]
