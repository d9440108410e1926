"""`evaluate`: the outputs of each batch are reduced to labels or numbers, and compared with the true ones."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.errors import DataError
from anyback.evaluation._results import Evaluation, LabelsEvaluation, NumbersEvaluation, Score
from anyback.inference import Batches, Progress, task_for
from anyback.network import Network
from anyback.numbers import PrecisionName
from anyback.tasks import Task

__all__ = ["evaluate"]


def evaluate(
    net: Network,
    x: Any,
    labels: Any,
    batch_size: int | None = None,
    progress: Progress = False,
    *,
    workers: int | None = None,
    precision: PrecisionName | None = None,
) -> Score:
    """Run a network on a data set and compare its outputs with the true labels or numbers.

    Parameters
    ----------
    net : Network
        A network that ends in one output per class, in one sigmoid for two classes, in a sigmoid for each of several
        labels, or in one plain output: a number.
    x : array or list
        Inputs, as in `predict`.
    labels : array or list
        The truth for each input. Classes: integers from 0 to one below the number of classes, shape (n,). Several
        labels: 0 and 1, shape (n, outputs); or one true label for each input, shape (n,), which is compared with the
        label of the largest output. Numbers: shape (n,) or (n, 1).
    batch_size, progress, workers, precision
        As in `predict`.

    Returns
    -------
    Evaluation, LabelsEvaluation or NumbersEvaluation
        For labels of shape (n,): ``accuracy``, ``correct``, ``total``, ``confusion`` and ``predictions``. For several
        labels: the ``accuracy`` of whole rows, and ``label_accuracy``. For numbers: ``mean_squared_error``,
        ``mean_absolute_error`` and ``r_squared``.

    Raises
    ------
    DataError
        If the network's outputs cannot be compared with such labels, or there are more or fewer labels than inputs.
    AnybackError
        As `predict` does.

    Warns
    -----
    UserWarning
        If outputs are nan, with the number of rows: labels count as wrong there, and the errors of numbers become nan.
        If inputs are not scaled, as in `predict`.

    Examples
    --------
    >>> import anyback as ab
    >>> net = ab.load_model("digits-mlp", backend="numpy")
    >>> test = ab.datasets.digits("test")
    >>> ab.evaluate(net, test.images, test.labels).accuracy > 0.95
    True
    """
    batches = Batches(net, x, batch_size, progress, workers, precision)
    started = time.perf_counter()
    parts: list[np.ndarray] = []
    with contextlib.closing(iter(batches)) as each:
        for _, (y, *others) in each:
            if others:
                raise DataError("expected a network of one output; choose one: net.select('name')")
            if not parts:  # the labels are checked behind the first batch, not behind the last
                task = task_for(net, y)
                truth = task.checked(labels, batches.total, batches.single)
                read = _reader(task, truth)
            parts.append(read(y))
    seconds = time.perf_counter() - started
    found = np.concatenate(parts)
    nan = np.isnan(found) if task.classes == 0 else found < 0
    nan_rows = int(np.sum(nan if nan.ndim == 1 else np.any(nan, axis=1)))
    if nan_rows:
        so = "so are the errors" if task.classes == 0 else "they count as wrong"
        warnings.warn(f"nan in the output of {nan_rows} of {len(found)} rows; {so}", stacklevel=2)
    if batches.advice:
        warnings.warn(batches.advice, stacklevel=2)
    ran = str(batches.backend), precision or backends.get_precision(), seconds, nan_rows
    if task.classes == 0:
        return NumbersEvaluation(found, truth, *ran)
    if truth.ndim == 2:
        return LabelsEvaluation(found, truth, *ran)
    return Evaluation(found, truth, task.one_each.classes or 0, *ran)


def _reader(task: Task, truth: np.ndarray) -> Callable[[Array], np.ndarray]:
    """Return the function that reduces the outputs of a batch to numbers, or to labels in the form of the true ones."""
    if task.classes == 0:
        return lambda y: backends.to_numpy(y)[:, 0].astype(np.float64)
    labels = task.labels if truth.ndim == 2 else task.one_each.labels
    return lambda y: labels(y).astype(np.int64)
