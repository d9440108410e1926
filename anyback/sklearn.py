"""Estimators of scikit-learn around a trained network: `Classifier` and `Regressor`.

They are fitted from the start, since the network is: ``fit`` looks at what it is given, and trains nothing. Needs
scikit-learn: ``pip install 'anyback[sklearn]'``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import numpy as np

from anyback import backends
from anyback.errors import AnybackError, DataError
from anyback.inference import predict
from anyback.network import Network, checked_network
from anyback.numbers import dtype_name
from anyback.ops import known_op
from anyback.tasks import Task

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d
except ImportError as error:
    raise ImportError(f"anyback.sklearn needs scikit-learn: pip install 'anyback[sklearn]' ({error})") from None

__all__ = ["Classifier", "Regressor"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What both kinds share: rows of numbers go through the network."""

    net: Network
    batch_size: int | None

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

    @property
    def n_features_in_(self) -> int:
        """How many numbers a row has. No attribute where the network does not say."""
        sample = _checked(self).usual_sample
        if sample is None:
            raise AttributeError("the network does not say how many numbers it takes")
        return math.prod(sample)

    def _rows(self, X: Any) -> np.ndarray:
        """Return X as an array that the network takes, or raise an error of scikit-learn's kind."""
        net = _checked(self)
        given = check_array(X, dtype="numeric", allow_nd=True, estimator=self, input_name="X")
        if given.dtype.kind == "f":
            # scikit-learn's numbers are float64, which not every library has; integers stay, since they may be pixels.
            own = "float64" if net.dtype is None or dtype_name(net.dtype) == "float64" else "float32"
            given = check_array(given, dtype=own, allow_nd=True, estimator=self, input_name="X")
        if given.ndim == 2 and (wanted := getattr(self, "n_features_in_", None)) is not None:
            if given.shape[1] != wanted:
                name = type(self).__name__  # in the words of scikit-learn
                raise DataError(f"X has {given.shape[1]} features, but {name} is expecting {wanted} features as input")
            if (wanted,) not in net.sample_shapes:
                given = given.reshape(len(given), *(net.usual_sample or ()))
        return np.asarray(given)

    def _outputs(self, X: Any) -> np.ndarray:
        """Return the network's outputs for X on the host, shape (n, outputs)."""
        found = predict(self.net, self._rows(X), self.batch_size)
        if isinstance(found, dict):
            raise DataError(f"expected a network of one output; choose one: net.select({next(iter(found))!r})")
        y = backends.to_numpy(found)
        y = y if y.dtype in (np.float32, np.float64) else y.astype(np.float32)
        if not np.all(np.isfinite(y)):
            raise DataError("the network gives nan or infinite numbers for some rows of X")
        return y


def _checked(estimator: Any) -> Network:
    return checked_network(estimator.net)


def _task(estimator: Any, outputs: int | None = None) -> Task:
    return _checked(estimator).task(outputs)


def _last_gives(estimator: Any) -> str:
    last = _checked(estimator).last()
    return "" if last is None else last.op.gives


def _where(condition: Callable[[Any], bool]) -> Callable[[_Method], _Method]:
    """Return a decorator for a method that is there for some networks alone."""

    def holds(estimator: Any) -> bool:
        try:
            return condition(estimator)
        except AnybackError:  # `net` is no network: the methods that every estimator has say so
            return False

    return available_if(holds)


class Classifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A trained network as a classifier of scikit-learn.

    Parameters
    ----------
    net : Network
        A network that ends in one output for each class, in one sigmoid for two classes, or in a sigmoid for each of
        several labels.
    classes : sequence of (str or number), or None
        What the outputs stand for, one for each; for one sigmoid, what 0 and 1 stand for. None is what the network's
        file says, or 0, 1, 2, ...
    batch_size : int or None
        As in `anyback.predict`.

    Attributes
    ----------
    classes_ : numpy.ndarray
        What the columns of `predict_proba` stand for, in scikit-learn's order: sorted. Of several labels, their own.
    n_features_in_ : int
        How many numbers a row has; not there where the network does not say.

    Notes
    -----
    ``fit`` trains nothing: it checks that the rows fit the network, and that it knows the labels. So the classifier may
    end a pipeline, be cloned and cross-validated, and be calibrated inside a ``FrozenEstimator``. Rows of numbers
    become images where the network takes images; integers count as pixels where it scales pixels.

    Examples
    --------
    >>> import anyback as ab
    >>> test = ab.datasets.digits("test")
    >>> digits = Classifier(ab.load_model("digits-mlp", backend="numpy"))
    >>> rows = test.images.reshape(500, 64)
    >>> digits.predict(rows[:3]), digits.predict_proba(rows).shape
    (array([...]), (500, 10))
    >>> digits.score(rows, test.labels) > 0.95
    True
    """

    def __init__(self, net: Network, *, classes: Sequence[Any] | None = None, batch_size: int | None = None) -> None:
        self.net = net
        self.classes = classes
        self.batch_size = batch_size

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        try:
            tags.classifier_tags.multi_label = _task(self).name == "several labels"
        except AnybackError:
            tags.classifier_tags.multi_label = False
        return tags

    def _names(self, outputs: int | None = None) -> np.ndarray:
        """Return what the outputs stand for, in their order."""
        task = _task(self, outputs)
        if task.classes == 0:
            raise DataError("the network gives numbers, which stand for no classes; make it a Regressor")
        count = task.outputs if task.name == "several labels" else task.classes
        given = self.net.classes if self.classes is None else self.classes
        if given is None and count is None:
            raise DataError("the network does not say how many outputs it has; pass classes=")
        names = np.arange(count or 0) if given is None else np.asarray(list(given))
        if names.ndim != 1 or names.dtype.kind not in "biufU" or (names.dtype.kind == "U") != _all_texts(given):
            raise DataError("classes: expected texts, or numbers, one for each output")
        if len(names) != (len(names) if count is None else count) or len(np.unique(names)) != len(names):
            raise DataError(f"classes: expected {count} that differ, one for each output, found {len(names)}")
        return names

    @property
    def classes_(self) -> np.ndarray:
        """What the columns of `predict_proba` stand for."""
        names = self._names()
        return names if _task(self).name == "several labels" else np.sort(names)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check that the network takes rows like these and knows these labels. Nothing is trained.

        Parameters
        ----------
        X : array of shape (n, n_features)
            Rows, as for `predict`.
        y : array or None
            Labels, shape (n,).

        Returns
        -------
        Classifier
            Itself.

        Raises
        ------
        DataError
            If the rows do not fit, or the network was not trained for some of the labels: train another network with
            the library that trained this one, or say with ``classes=`` what the outputs stand for.
        """
        rows, names = self._rows(X), self._names()
        if y is None:
            return self
        check_consistent_length(rows, y)
        check_classification_targets(y)
        if _task(self).name == "several labels":
            return self
        # cross_val_predict(method="predict_proba") puts numbers in place of the labels, in the order of classes_.
        known = {*names.tolist(), *range(len(names))}
        if unknown := [label for label in np.unique(column_or_1d(y, warn=True)).tolist() if label not in known]:
            raise DataError(
                f"y: the network was not trained for {unknown[0]!r}; it knows {', '.join(map(str, names[:20]))}. "
                "A trained network is not trained further by fit; pass classes= where its outputs stand for others"
            )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row, shape (n,); of several labels 0 and 1, shape (n, labels)."""
        y = self._outputs(X)
        labels = _task(self, y.shape[1]).labels(y)
        names = self._names(y.shape[1])
        return labels if labels.ndim == 2 else names[labels]

    @_where(lambda self: _last_gives(self) != "")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, shape (n, classes), in the order of ``classes_``.

        There where the network ends in probabilities: in softmax, log_softmax or sigmoid.
        """
        y = self._outputs(X)
        task, last = _task(self, y.shape[1]), self.net.last()
        if last is not None and known_op(last.op) and last.op.name == "log_softmax":
            y = np.exp(y)
        return y if task.name == "several labels" else task.by_class(y)[:, np.argsort(self._names(y.shape[1]))]

    @_where(lambda self: _last_gives(self) != "")
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):  # of 0
            return np.log(self.predict_proba(X))

    @_where(lambda self: _last_gives(self) == "" and _task(self).classes != 0)
    def decision_function(self, X: Any) -> np.ndarray:
        """Return a score for each class, shape (n, classes); of two classes how much that of the second is larger.

        There where the network ends in one plain output for each class, without a softmax.
        """
        y = self._outputs(X)
        y = y[:, np.argsort(self._names(y.shape[1]))]
        return y[:, 1] - y[:, 0] if y.shape[1] == 2 else y


def _all_texts(given: Any) -> bool:
    return given is not None and all(isinstance(name, str) for name in given)


class Regressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A trained network as a regressor of scikit-learn: its outputs are the predictions.

    Parameters
    ----------
    net : Network
        A network of one output, or of several: then each row has several targets.
    batch_size : int or None
        As in `anyback.predict`.

    Attributes
    ----------
    n_features_in_ : int
        How many numbers a row has; not there where the network does not say.

    Notes
    -----
    ``fit`` trains nothing, as that of `Classifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback.layers import Linear, Sequential
    >>> line = Regressor(Sequential(Linear(np.asarray([[2.0]]), np.asarray([1.0]))))
    >>> line.predict([[0.0], [3.0]])
    array([1., 7.])
    """

    def __init__(self, net: Network, *, batch_size: int | None = None) -> None:
        self.net = net
        self.batch_size = batch_size

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        try:
            tags.target_tags.multi_output = _checked(self).width != 1
        except AnybackError:
            tags.target_tags.multi_output = False
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check that the network takes rows like these, and gives as many numbers. Nothing is trained.

        Parameters
        ----------
        X : array of shape (n, n_features)
            Rows, as for `predict`.
        y : array or None
            Numbers, shape (n,) or (n, outputs).

        Returns
        -------
        Regressor
            Itself.

        Raises
        ------
        DataError
            If the rows do not fit, or the targets are others than the network's outputs.
        """
        rows, width = self._rows(X), self.net.width
        if y is None:
            return self
        check_consistent_length(rows, y)
        targets = check_array(y, dtype="numeric", ensure_2d=False, input_name="y")
        if width in (None, 1):
            targets = column_or_1d(targets, warn=True) if targets.shape[1:] in ((), (1,)) else targets
        found = 1 if targets.ndim == 1 else targets.shape[1]
        if width not in (None, found):
            raise DataError(f"y: the network gives {width} numbers for a row, found {found}")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs for each row, shape (n,), or (n, outputs) where there are several."""
        y = self._outputs(X)
        return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
