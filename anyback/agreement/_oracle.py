"""The oracle: what float64 NumPy answers without the code that is compared, and which labels rounding cannot change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback import backends, inference
from anyback._typing import Array
from anyback.activations import identity, relu, sigmoid, softmax, tanh
from anyback.agreement._report import TOLERANCE
from anyback.bounds import Certificate, certify
from anyback.errors import DataError
from anyback.layers import Flatten, Linear, Pixels, Sequential
from anyback.numbers import PRECISIONS
from anyback.tasks import Task

__all__ = ["Case"]


@dataclass(frozen=True, eq=False)
class Case:
    """What every row is compared with; numbers have no labels, so that nothing is proven of these."""

    net: Sequential
    x: np.ndarray
    task: Task
    truth: np.ndarray | None
    precision: str
    reference: np.ndarray
    proofs: dict[str, Certificate]

    @staticmethod
    def of(net: Sequential, x: Any, labels: Any, precision: str | None) -> Case:
        x = backends.to_numpy(x)
        x = x if net.is_batch(x) else x[None]
        if not len(x):
            raise DataError("inputs: expected at least one, found none")
        reference = _reference(net, x)
        task = inference.task_for(net, reference)
        truth = None if labels is None else task.checked(labels, len(x))
        name = precision or backends.get_precision()
        precisions = dict.fromkeys(("highest", name, *PRECISIONS)) if task.classes else ()
        return Case(net, x, task, truth, name, reference, {p: certify(net, x, precision=p) for p in precisions})

    @property
    def tolerance(self) -> float:
        """How far an output may be from the reference at full precision: of numbers, by the size of the largest."""
        if self.task.classes:
            return TOLERANCE
        finite = np.abs(self.reference[np.isfinite(self.reference)])
        return TOLERANCE * float(np.max(finite, initial=1.0))

    def accuracy(self, y: np.ndarray) -> float | None:
        """Return the share of right labels of outputs; None where the true ones are not known."""
        if self.truth is None:
            return None
        task = self.task if self.truth.ndim == 2 else self.task.one_each
        return float(np.mean(task.labels(y) == self.truth))


@np.errstate(under="ignore")
def _reference(net: Sequential, x: np.ndarray) -> np.ndarray:
    """Return the outputs in float64 by NumPy alone, without the code that is compared, wherever that is possible."""
    y = np.asarray(x)
    for layer in net.layers:
        match layer:
            case Flatten(shape=shape):
                y = y.reshape(len(y), -1) if y.shape[1:] in (shape, (1, *shape)) else y
            case Pixels(largest=largest):
                y = y / float(largest) if y.dtype.kind in "iu" else y
            case Linear(weight=weight, bias=bias, largest=largest):
                y = y.astype(np.float64) / (float(largest) if largest is not None and y.dtype.kind in "iu" else 1)
                y = y @ weight.astype(np.float64)
                y = y if bias is None else y + bias.astype(np.float64)
            case _ if by_hand := next((f for known, f in _BY_HAND if layer is known), None):
                y = by_hand(y)
            case _:  # a layer that has no independent form: float64 is still another arithmetic
                wide = net.to(dtype="float64")
                return backends.to_numpy(inference.predict(wide, x.astype(np.float64) if x.dtype.kind == "f" else x))
    return np.asarray(y)


def _softmax_by_hand(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


_BY_HAND: tuple[tuple[Callable[[Array], Array], Callable[[np.ndarray], np.ndarray]], ...] = (
    (identity, lambda x: x),
    (relu, lambda x: np.maximum(x, 0)),
    (sigmoid, lambda x: np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), 1 - 1 / (1 + np.exp(-np.abs(x))))),
    (tanh, np.tanh),
    (softmax, _softmax_by_hand),
)
