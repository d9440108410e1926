"""The results of `evaluate`: for one label for each row, for several labels, and for numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback._show import Table, caption_html

__all__ = ["Evaluation", "LabelsEvaluation", "NumbersEvaluation", "Score"]

#: The most classes with which an evaluation shows its confusion, and the most labels whose accuracies it shows.
_MOST_SHOWN = 26


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a network labels a data set, and what it ran on.

    Parameters
    ----------
    predictions : numpy.ndarray
        The labels that the network gives, shape (n,).
    labels : numpy.ndarray
        The true labels, shape (n,).
    classes : int
        Number of classes.
    backend, precision : str
        The library and device that computed, and the precision of matrix products.
    seconds : float
        Wall-clock time of the prediction.
    nan_rows : int
        Rows whose output was nan; they count as wrong.
    """

    predictions: np.ndarray
    labels: np.ndarray
    classes: int
    backend: str
    precision: str
    seconds: float
    nan_rows: int = 0

    @property
    def right(self) -> np.ndarray:
        """Which rows are labelled correctly, shape (n,)."""
        return self.predictions == self.labels

    @property
    def correct(self) -> int:
        """The number of images labelled correctly."""
        return int(np.sum(self.right))

    @property
    def total(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def accuracy(self) -> float:
        """The share of images labelled correctly; nan where there are none."""
        return self.correct / self.total if self.total else float("nan")

    @property
    def confusion(self) -> np.ndarray:
        """How often each true class (first axis) was given each label (second axis), shape (classes, classes)."""
        known = self.predictions >= 0
        cells = self.labels[known].astype(np.int64) * self.classes + self.predictions[known]
        return np.bincount(cells, minlength=self.classes**2).reshape(self.classes, self.classes)

    def score(self) -> dict[str, str]:
        """Return the score in words, by the name of each part."""
        share = f"{self.accuracy:.4f} ({self.correct:,} of {self.total:,})" if self.total else "of no images"
        return {"accuracy": share}

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the single labels as plain numbers, strings and lists, for JSON."""
        return {
            "backend": self.backend,
            "precision": self.precision,
            "total": self.total,
            "correct": self.correct,
            "accuracy": self.accuracy,
            "seconds": self.seconds,
            "confusion": self.confusion.tolist(),
        }

    def __repr__(self) -> str:
        return (
            f"Evaluation(accuracy={self.accuracy:.4f}, correct={self.correct}, total={self.total}, "
            f"backend={self.backend!r}, precision={self.precision!r}, seconds={self.seconds:.3g})"
        )

    def _repr_html_(self) -> str:
        nan = f"; the output of {self.nan_rows:,} was nan" if self.nan_rows else ""
        said = (
            f"accuracy {self.accuracy:.4f}: {self.correct:,} of {self.total:,}{nan}; {_where(self)}. "
            "Rows: the true class; columns: what was read."
        )
        if not 0 < self.classes <= _MOST_SHOWN:
            return caption_html(said)
        counts = self.confusion
        right = np.eye(self.classes, dtype=bool)
        # Blue for right and orange for wrong, transparent so that they suit a light and a dark page; two scales, since
        # on one the many right answers would leave every mistake white.
        share = np.where(right, counts / max(1, counts[right].max()), counts / max(1, counts[~right].max(initial=0)))
        shade = [
            [f"rgba({'0,114,178' if i == j else '213,94,0'},{0.6 * share[i, j]:.2f})" for j in range(self.classes)]
            for i in range(self.classes)
        ]
        rows = [[str(i), *(str(n) if n else "" for n in row)] for i, row in enumerate(counts.tolist())]
        header = ["", *map(str, range(self.classes))]
        return Table(header, rows, said, shade=[["", *line] for line in shade]).html()


@dataclass(frozen=True, eq=False)
class LabelsEvaluation:
    """How well a network gives several labels to each row, and what it ran on.

    Parameters
    ----------
    predictions : numpy.ndarray
        Shape (n, labels): 1 where the network gives a label, 0 where not, -1 where the output is nan.
    labels : numpy.ndarray
        The true ones, 0 and 1, shape (n, labels).
    backend, precision : str
        The library and device that computed, and the precision of matrix products.
    seconds : float
        Wall-clock time of the prediction.
    nan_rows : int
        Rows with an output that was nan, which counts as wrong.
    """

    predictions: np.ndarray
    labels: np.ndarray
    backend: str
    precision: str
    seconds: float
    nan_rows: int = 0

    confusion = None  # labels that do not exclude each other cannot be confused

    @property
    def right(self) -> np.ndarray:
        """Whether all labels of each row are right, shape (n,)."""
        return np.all(self.predictions == self.labels, axis=1)

    @property
    def correct(self) -> int:
        """The number of rows whose labels are all right."""
        return int(np.sum(self.right))

    @property
    def total(self) -> int:
        """The number of rows."""
        return len(self.labels)

    @property
    def accuracy(self) -> float:
        """The share of rows whose labels are all right; nan where there are none."""
        return self.correct / self.total if self.total else float("nan")

    @property
    def label_accuracy(self) -> np.ndarray:
        """For each label, the share of rows in which it is right, shape (labels,); nan where there are no rows."""
        right = np.sum(self.predictions == self.labels, axis=0)
        return right / self.total if self.total else np.full(self.labels.shape[1], np.nan)

    def score(self) -> dict[str, str]:
        """Return the score in words, by the name of each part."""
        shares = self.label_accuracy
        each = {f"label {i}": f"{share:.4f}" for i, share in enumerate(shares[:_MOST_SHOWN])}
        more = {"more labels": f"{len(shares) - _MOST_SHOWN:,}"} if len(shares) > _MOST_SHOWN else {}
        return {"all labels right": f"{self.accuracy:.4f} ({self.correct:,} of {self.total:,})", **each, **more}

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the single labels as plain numbers, strings and lists, for JSON."""
        return {
            "backend": self.backend,
            "precision": self.precision,
            "total": self.total,
            "correct": self.correct,
            "accuracy": self.accuracy,
            "seconds": self.seconds,
            "label_accuracy": self.label_accuracy.tolist(),
        }

    def __repr__(self) -> str:
        return (
            f"LabelsEvaluation(accuracy={self.accuracy:.4f}, correct={self.correct}, total={self.total}, "
            f"labels={self.labels.shape[1]}, backend={self.backend!r}, precision={self.precision!r}, "
            f"seconds={self.seconds:.3g})"
        )

    def _repr_html_(self) -> str:
        nan = f"; of {self.nan_rows:,} an output was nan" if self.nan_rows else ""
        return Table(("", "right"), tuple(self.score().items()), f"{self.total:,} rows{nan}; {_where(self)}").html()


@dataclass(frozen=True, eq=False)
class NumbersEvaluation:
    """How far the numbers that a network gives are from the true ones, and what it ran on.

    Parameters
    ----------
    predictions : numpy.ndarray
        The numbers that the network gives, float64, shape (n,).
    labels : numpy.ndarray
        The true ones, float64, shape (n,).
    backend, precision : str
        The library and device that computed, and the precision of matrix products.
    seconds : float
        Wall-clock time of the prediction.
    nan_rows : int
        Rows whose output was nan. If there are any, all errors are nan.
    """

    predictions: np.ndarray
    labels: np.ndarray
    backend: str
    precision: str
    seconds: float
    nan_rows: int = 0

    right = confusion = None  # numbers are near or far, and neither right nor wrong

    @property
    def total(self) -> int:
        """The number of rows."""
        return len(self.labels)

    @property
    def mean_squared_error(self) -> float:
        """The mean of the squared differences; nan where there are no rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.mean((self.predictions - self.labels) ** 2)) if self.total else float("nan")

    @property
    def mean_absolute_error(self) -> float:
        """The mean of the absolute differences; nan where there are no rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.mean(np.abs(self.predictions - self.labels))) if self.total else float("nan")

    @property
    def r_squared(self) -> float:
        """1 less the mean squared error over the variance of the true numbers; nan where these are all equal."""
        with np.errstate(over="ignore", invalid="ignore"):
            variance = float(np.var(self.labels)) if self.total else 0.0
        return 1 - self.mean_squared_error / variance if variance else float("nan")

    def score(self) -> dict[str, str]:
        """Return the score in words, by the name of each part."""
        return {
            "mean squared error": f"{self.mean_squared_error:.6g}",
            "mean absolute error": f"{self.mean_absolute_error:.6g}",
            "R squared": f"{self.r_squared:.6g}",
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the single numbers as plain numbers and strings, for JSON."""
        return {
            "backend": self.backend,
            "precision": self.precision,
            "total": self.total,
            "seconds": self.seconds,
            "mean_squared_error": self.mean_squared_error,
            "mean_absolute_error": self.mean_absolute_error,
            "r_squared": self.r_squared,
        }

    def __repr__(self) -> str:
        return (
            f"NumbersEvaluation(mean_squared_error={self.mean_squared_error:.6g}, "
            f"mean_absolute_error={self.mean_absolute_error:.6g}, r_squared={self.r_squared:.6g}, total={self.total}, "
            f"backend={self.backend!r}, precision={self.precision!r}, seconds={self.seconds:.3g})"
        )

    def _repr_html_(self) -> str:
        nan = f"; the output of {self.nan_rows:,} was nan" if self.nan_rows else ""
        return Table((), tuple(self.score().items()), f"{self.total:,} numbers{nan}; {_where(self)}").html()


#: The kinds of evaluation, by the task of the network.
Score = Evaluation | LabelsEvaluation | NumbersEvaluation


def _where(score: Score) -> str:
    """Return the backend, the precision and the time in words."""
    return f"on {score.backend}, precision {score.precision}, in {score.seconds:.3g} s"
