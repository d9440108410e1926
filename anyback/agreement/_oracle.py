"""The oracle: what float64 NumPy answers without the code that is compared, and which labels rounding cannot change."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback import backends, inference
from anyback.agreement._float64 import BY_HAND
from anyback.agreement._report import TOLERANCE
from anyback.bounds import Certificate, certify
from anyback.errors import AnybackError, DataError
from anyback.network import Network
from anyback.numbers import FLOATS, PRECISIONS, dtype_name
from anyback.ops import Op, Rows, known_op
from anyback.plan import Step, run
from anyback.tasks import Task

__all__ = ["Case"]

#: Rows that are computed at a time.
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Case:
    """What every row is compared with; numbers have no labels, so that nothing is proven of these.

    Parameters
    ----------
    net : Network
        On NumPy.
    x : numpy.ndarray
        The inputs, a batch.
    task : Task
        What the outputs mean.
    truth : numpy.ndarray or None
        What is true, where it is known.
    precision : str
        The precision of products asked for.
    reference : numpy.ndarray
        The outputs in float64.
    proofs : dict of str to Certificate
        For each precision, which labels no rounding can change.
    unproven : str
        Why nothing is proven of labels; empty where something is, or there are none.
    """

    net: Network
    x: np.ndarray
    task: Task
    truth: np.ndarray | None
    precision: str
    reference: np.ndarray
    proofs: dict[str, Certificate]
    unproven: str = ""

    @staticmethod
    def of(net: Network, x: Any, labels: Any, precision: str | None) -> Case:
        x = backends.to_numpy(x)
        x = x if net.is_batch(x) else x[None]
        if not len(x):
            raise DataError("inputs: expected at least one, found none")
        if len(net.outputs) != 1:
            raise DataError("expected a network of one output; choose one: net.select('name')")
        reference = _reference(net, x)
        # What is no row of outputs, such as an image or a sequence, is compared number by number.
        rows = reference.ndim == 2 or labels is not None
        task = inference.task_for(net, reference) if rows else Task("numbers", None, 0)
        truth = None if labels is None else task.checked(labels, len(x))
        name = precision or backends.get_precision()
        precisions = dict.fromkeys(("highest", name, *PRECISIONS)) if task.classes else ()
        return Case(net, x, task, truth, name, reference, *_proofs(net, x, precisions))

    @property
    def tolerance(self) -> float:
        """How far an output may be from the reference at full precision: of numbers, by the size of the largest."""
        if self.task.classes and self.net.signature is None:
            return TOLERANCE
        finite = np.abs(self.reference[np.isfinite(self.reference)])
        # Networks from files may be deep, and their outputs are often no probabilities.
        return (TOLERANCE if self.net.signature is None else 10 * TOLERANCE) * float(np.max(finite, initial=1.0))

    def decided(self, precision: str) -> np.ndarray:
        """Return which labels no rounding can change, a boolean for each row.

        Where nothing could be proven: those whose outputs lie further apart than the tolerance explains, at full
        precision; none at a lower one.
        """
        if precision in self.proofs:
            return self.proofs[precision].decided
        margins = self.task.one_each.margins(self.reference)
        return np.asarray(margins > 2 * self.tolerance if precision == "highest" else np.zeros(len(self.x), np.bool_))

    def accuracy(self, y: np.ndarray) -> float | None:
        """Return the share of right labels of outputs; None where the true ones are not known."""
        if self.truth is None:
            return None
        task = self.task if self.truth.ndim == 2 else self.task.one_each
        return float(np.mean(task.labels(y) == self.truth))


def _proofs(net: Network, x: np.ndarray, precisions: Iterable[str]) -> tuple[dict[str, Certificate], str]:
    """Return what is proven of labels at each precision; nothing where an operator of a file has no rule, and why."""
    try:
        return {p: certify(net, x, precision=p) for p in precisions}, ""
    except AnybackError as error:
        if net.signature is not None:  # from a file, whose operators may do with arrays what has no rule
            return {}, str(error)
        raise


@np.errstate(under="ignore")
def _reference(net: Network, x: np.ndarray) -> np.ndarray:
    """Return the outputs in float64 by NumPy alone, without the code that is compared, wherever that is possible."""
    net = net.retyped("float64")
    steps = [Step(_by_hand(c.op), None, c.arguments, c.attributes, results=c.results) for c in net.calls]
    arrays = [_wide(a) for a in net.arrays]
    size = len(x) if net.rows >= Rows.ANY else _ROWS
    parts = [run(steps, net.outputs, [_wide(x[i : i + size]), *arrays])[0] for i in range(0, len(x), size)]
    return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])


def _wide(x: np.ndarray) -> np.ndarray:
    """Return floating-point numbers in float64; integers decide by their type how a network takes them."""
    return x.astype(np.float64) if dtype_name(x.dtype) in FLOATS else x


def _by_hand(op: Op) -> Callable[..., Any]:
    """Return the form of an op by hand; its own function where there is none, since float64 is another arithmetic."""
    if known_op(op) and op.name in BY_HAND:
        return BY_HAND[op.name]
    return op.compute if op.casts.apply is None else functools.partial(op.casts.apply, op.compute)
