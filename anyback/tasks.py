"""What the outputs of a network mean: one class of several, one of two, several labels at once, or a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.errors import DataError

__all__ = ["Task", "task_of"]

#: Probability above which a label is given.
_HALF = 0.5


@dataclass(frozen=True)
class Task:
    """What a network's outputs mean, and how they are read; see `task_of`.

    Parameters
    ----------
    name : str
        ``"classes"``, ``"two classes"``, ``"several labels"`` or ``"numbers"``.
    outputs : int or None
        Outputs for one sample; None where that is not known beforehand.
    classes : int or None
        How many values a label can have; 0 for numbers, which have no labels; None where that is not known.
    threshold : float or None
        The output above which a label is 1, and 0 otherwise; None where the largest output is the label.

    Examples
    --------
    >>> task_of("distribution", 3).labels(np.asarray([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]))
    array([2, 0], dtype=int32)
    >>> task_of("probabilities", 1).labels(np.asarray([[0.7], [0.5]]))
    array([1, 0], dtype=int32)
    """

    name: str
    outputs: int | None
    classes: int | None
    threshold: float | None = None

    @property
    def one_each(self) -> Task:
        """The task of giving each row one label: where a row has several, the label of its largest output."""
        return _classes(self.outputs) if self.name == "several labels" else self

    def labels(self, y: Array) -> np.ndarray:
        """Return the labels that outputs stand for.

        Parameters
        ----------
        y : array, floating-point
            Outputs, shape (n, outputs), of any library; only the labels leave its device.

        Returns
        -------
        numpy.ndarray, integer
            Shape (n,), and -1 where an output of the row is nan. Of several labels, shape (n, outputs): 1 where a
            label is given, 0 where not, -1 where the output is nan.

        Raises
        ------
        DataError
            If the outputs are numbers, or of another shape.
        """
        if self.classes == 0:
            raise DataError("the outputs of this network are numbers, which stand for no labels")
        self._check(y)
        xp = backends.array_namespace(y)
        nan = xp.isnan(y)
        if self.threshold is None:
            labels, nan = xp.argmax(y, axis=1), xp.any(nan, axis=1)
        else:
            labels = y > self.threshold
            labels, nan = (labels[:, 0], nan[:, 0]) if self.outputs == 1 else (labels, nan)
        return backends.to_numpy(xp.where(nan, -1, xp.astype(labels, xp.int32)))

    def by_class(self, y: np.ndarray) -> np.ndarray:
        """Return an output for each class, shape (n, classes); one output is the probability of class 1."""
        self._check(y)
        return np.concatenate([1 - y, y], axis=1) if self.name == "two classes" else y

    def margins(self, y: np.ndarray) -> np.ndarray:
        """Return how far each row's outputs, shape (n, outputs), are from those of another label, shape (n,)."""
        if self.classes == 0:
            raise DataError("the outputs of this network are numbers, which stand for no labels")
        self._check(y)
        if self.threshold is not None:
            return np.abs(y - self.threshold).min(axis=1)
        ordered = np.sort(y, axis=1)
        return ordered[:, -1] - ordered[:, -2] if y.shape[1] > 1 else np.full(len(y), np.inf)

    def checked(self, labels: Any, n: int, single: bool = False) -> np.ndarray:
        """Return what the outputs of `n` inputs should be, once it is known to be that.

        Parameters
        ----------
        labels : array or list
            True labels, integers of shape (n,); of several labels also 0 and 1 of shape (n, outputs); of numbers,
            numbers of shape (n,) or (n, 1).
        n : int
            The number of inputs.
        single : bool
            Whether the input was one sample, whose label may lack the first axis.

        Returns
        -------
        numpy.ndarray
            int64, shape (n,) or (n, outputs); of numbers float64, shape (n,).

        Raises
        ------
        DataError
            If `labels` is anything else.
        """
        try:
            truth = backends.to_numpy(labels)
        except DataError as error:
            raise DataError(f"labels: {error}") from None
        several = self.name == "several labels" and self.outputs is not None
        if single and (truth.ndim == 0 or (several and truth.shape == (self.outputs,))):
            truth = truth[None]
        if self.classes == 0:
            return _checked_numbers(truth, n)
        if several and truth.ndim == 2:
            return _checked_several(truth, (n, self.outputs or 0))
        return _checked_classes(truth, n, self.one_each.classes)

    def _check(self, y: Array) -> None:
        if y.ndim != 2 or y.shape[1] < 1 or self.outputs not in (None, y.shape[1]):
            wanted = "outputs" if self.outputs is None else self.outputs
            raise DataError(f"outputs: expected shape (n, {wanted}), found {tuple(y.shape)}")


def task_of(gives: str, outputs: int | None) -> Task:
    """Return what the outputs of a network mean, by what its last operation gives.

    Parameters
    ----------
    gives : str
        ``"distribution"`` where the outputs of a row are shares of 1, or their logarithms, as of softmax;
        ``"probabilities"`` where each is one for itself, as of sigmoid; else ``""``.
    outputs : int or None
        Outputs for one sample; None, where that is not known beforehand, is taken for several.

    Returns
    -------
    Task
        A distribution, or several plain outputs: one of so many classes. One probability: one of two classes. Several
        probabilities: as many labels. One plain output: a number.

    Examples
    --------
    >>> [task_of(gives, n).name for gives in ("", "probabilities") for n in (1, 10)]
    ['numbers', 'classes', 'two classes', 'several labels']
    """
    if gives == "probabilities":
        return Task("two classes", 1, 2, _HALF) if outputs == 1 else Task("several labels", outputs, 2, _HALF)
    return Task("numbers", 1, 0) if outputs == 1 and gives != "distribution" else _classes(outputs)


def _classes(outputs: int | None) -> Task:
    return Task("classes", outputs, outputs)


def _checked_numbers(truth: np.ndarray, n: int) -> np.ndarray:
    if truth.shape not in ((n,), (n, 1)):
        raise DataError(f"labels: expected numbers of shape ({n},), one for each input, found {truth.shape}")
    if n and not (truth.dtype.kind in "biuf" or truth.dtype.name == "bfloat16"):
        raise DataError(f"labels: expected numbers, since the network gives numbers, found {truth.dtype}")
    truth = truth.reshape(n).astype(np.float64)
    if unknown := int(n - np.isfinite(truth).sum()):
        raise DataError(f"labels: expected finite numbers, found {unknown} of {n} that are not; leave those rows out")
    return truth


def _checked_several(truth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if truth.shape != shape:
        raise DataError(f"labels: expected 0 and 1 of shape {shape}, or classes of {shape[:1]}, found {truth.shape}")
    if truth.size and truth.dtype.kind not in "biu":
        raise DataError(f"labels: expected integers 0 and 1, found {truth.dtype}; pass labels.astype('int64')")
    if wrong := truth[(truth != 0) & (truth != 1)].tolist():
        raise DataError(f"labels: of shape {shape}, expected 0 and 1, found {wrong[0]}")
    return truth.astype(np.int64)


def _checked_classes(truth: np.ndarray, n: int, classes: int | None) -> np.ndarray:
    if truth.ndim == 2 and truth.shape[0] == n and truth.shape[1] > 1:
        raise DataError(f"labels: expected shape ({n},), found {truth.shape}; of one-hot labels pass labels.argmax(1)")
    if truth.shape != (n,):
        raise DataError(f"labels: expected shape ({n},), one for each input, found {truth.shape}")
    if n and truth.dtype.kind not in "iu":
        raise DataError(f"labels: expected integers, found {truth.dtype}")
    if n and int(truth.min()) < 0:
        raise DataError(f"labels: expected 0 or above, found {int(truth.min())}")
    if n and classes is not None and int(truth.max()) >= classes:
        raise DataError(f"labels: expected 0 to {classes - 1}, found {int(truth.max())}")
    return truth.astype(np.int64)
