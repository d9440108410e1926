"""The oracle: the outputs in float64 NumPy, without the code that is compared, and which labels are decided."""

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
from anyback.numbers import FLOATS, PRECISIONS, PrecisionName, dtype_name
from anyback.ops import Op, Rows, known_op
from anyback.plan import Step, run
from anyback.tasks import Task

__all__ = ["Case"]

#: Rows that are computed at a time.
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Case:
    """The network and inputs of a comparison, with the outputs that every library is compared with.

    Parameters
    ----------
    net : Network
        The network, on NumPy.
    x : numpy.ndarray
        The inputs, a batch.
    task : Task
        The meaning of the outputs.
    truth : numpy.ndarray or None
        The true labels, where they are known.
    precision : str
        The precision of products that was asked for.
    reference : numpy.ndarray
        The outputs in float64.
    proofs : dict of str to Certificate
        For each precision, which labels no rounding can change; empty where the outputs have no labels.
    unproven : str
        Why there are no proofs although the outputs have labels; else empty.
    """

    net: Network
    x: np.ndarray
    task: Task
    truth: np.ndarray | None
    precision: PrecisionName
    reference: np.ndarray
    proofs: dict[str, Certificate]
    unproven: str = ""

    @staticmethod
    def of(net: Network, x: Any, labels: Any, precision: PrecisionName | None) -> Case:
        x = backends.to_numpy(x)
        x = x if net.is_batch(x) else x[None]
        if not len(x):
            raise DataError("inputs: expected at least one, found none")
        if len(net.outputs) != 1:
            raise DataError("expected a network of one output; choose one: net.select('name')")
        reference = _reference(net, x)
        # Outputs of another shape than (n, outputs), such as images and sequences, are compared number by number.
        rows = reference.ndim == 2 or labels is not None
        task = inference.task_for(net, reference) if rows else Task("numbers", None, 0)
        truth = None if labels is None else task.checked(labels, len(x))
        name = precision or backends.get_precision()
        precisions = dict.fromkeys(("highest", name, *PRECISIONS)) if task.classes else ()
        return Case(net, x, task, truth, name, reference, *_proofs(net, x, precisions))

    @property
    def tolerance(self) -> float:
        """The largest error of an output at full precision; for numbers it is in proportion to the largest of them."""
        if self.task.classes and self.net.signature is None:
            return TOLERANCE
        finite = np.abs(self.reference[np.isfinite(self.reference)])
        # Networks from files may be deep, and their outputs are often no probabilities.
        return (TOLERANCE if self.net.signature is None else 10 * TOLERANCE) * float(np.max(finite, initial=1.0))

    def decided(self, precision: str) -> np.ndarray:
        """Return which labels no rounding can change: booleans, shape (n,).

        Without a proof, at full precision: the labels whose outputs are further apart than twice the tolerance. At a
        lower precision none.
        """
        if precision in self.proofs:
            return self.proofs[precision].decided
        margins = self.task.one_each.margins(self.reference)
        return np.asarray(margins > 2 * self.tolerance if precision == "highest" else np.zeros(len(self.x), np.bool_))

    def accuracy(self, y: np.ndarray) -> float | None:
        """Return the share of right labels in outputs; None where the true labels are not known."""
        if self.truth is None:
            return None
        task = self.task if self.truth.ndim == 2 else self.task.one_each
        return float(np.mean(task.labels(y) == self.truth))


def _proofs(net: Network, x: np.ndarray, precisions: Iterable[PrecisionName]) -> tuple[dict[str, Certificate], str]:
    """Return the certificates by precision, and an empty text; none and the reason where an operator has no rule."""
    try:
        return {p: certify(net, x, precision=p) for p in precisions}, ""
    except AnybackError as error:
        if net.signature is not None:  # from a file: its operators may use functions that have no rule
            return {}, str(error)
        raise


@np.errstate(under="ignore")
def _reference(net: Network, x: np.ndarray) -> np.ndarray:
    """Return the outputs in float64, by the functions of `_float64` where an op has one, else by the op's own."""
    net = net.retyped("float64")
    steps = [Step(_by_hand(c.op), None, c.arguments, c.attributes, results=c.results) for c in net.calls]
    arrays = [_wide(a) for a in net.arrays]
    size = len(x) if net.rows >= Rows.ANY else _ROWS
    parts = [run(steps, net.outputs, [_wide(x[i : i + size]), *arrays])[0] for i in range(0, len(x), size)]
    return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])


def _wide(x: np.ndarray) -> np.ndarray:
    """Return floating-point numbers in float64, and others unchanged: a network may treat integers in their own way."""
    return x.astype(np.float64) if dtype_name(x.dtype) in FLOATS else x


def _by_hand(op: Op) -> Callable[..., Any]:
    """Return an op's function in `_float64`; where there is none, the op's own function, in float64 all the same."""
    if known_op(op) and op.name in BY_HAND:
        return BY_HAND[op.name]
    return op.compute if op.casts.apply is None else functools.partial(op.casts.apply, op.compute)
