"""From a fitted estimator of scikit-learn to a network: one row for each class that is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from anyback import activations
from anyback._typing import DType
from anyback.backends import BackendLike
from anyback.errors import DataError, OperatorError
from anyback.layers import BatchNorm, Linear
from anyback.network import Network
from anyback.sources._objects import Refused, check_object, library_of, only, placed

__all__ = ["ESTIMATORS", "Row", "from_sklearn"]


def from_sklearn(estimator: Any, *, backend: BackendLike | None = None, dtype: str | DType | None = None) -> Network:
    """Return the network that a fitted estimator of scikit-learn is.

    Parameters
    ----------
    estimator : estimator
        Of a class in `ESTIMATORS`, or a ``Pipeline`` of such.
    backend : str, Backend or None
        Where the weights go; None is the current choice.
    dtype : str, data type or None
        A floating-point type for the weights; None keeps theirs.

    Returns
    -------
    Network
        A `Sequential`. It gives what ``predict_proba`` of a classifier gives, and ``predict`` of a regressor, of shape
        (n, outputs). Of two classes it gives one output, the probability of the second. ``net.classes`` are the labels
        of a classifier.

    Raises
    ------
    OperatorError
        If there is an estimator of another class, or an option that anyback does not have: all of them are named.
    DataError
        If it is no estimator, or is not fitted.
    BackendError
        If the backend cannot be used.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> x = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    >>> net = from_sklearn(LogisticRegression().fit(x, ["left", "right", "both"]), backend="numpy")
    >>> net.classes
    ('both', 'left', 'right')
    >>> net.classes[net(np.asarray([0.0, 2.0])).argmax()]
    'left'
    """
    check_object(estimator, "sklearn")
    refused, layers, classes = Refused("sklearn"), list[Any](), None
    for path, step in _steps(estimator):
        row = ESTIMATORS.get(type(step).__name__) if _is_theirs(step) else None
        if row is None:
            refused.add(path, step, _cure(step))
            continue
        if not hasattr(step, row.fitted):
            raise DataError(f"{type(step).__name__} is not fitted; call its fit first")
        try:
            layers += row.make(step)
        except OperatorError as error:
            refused.add(path, step, error)
        classes = getattr(step, "classes_", None)
    refused.check()
    return placed(layers, backend, dtype, None if classes is None else np.asarray(classes).tolist())


def _is_theirs(step: Any) -> bool:
    return type(step).__module__.partition(".")[0] == "sklearn"


def _steps(estimator: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the steps of a pipeline, each behind its path; of anything else itself."""
    if not (_is_theirs(estimator) and type(estimator).__name__ == "Pipeline"):
        yield path, estimator
        return
    for name, part in estimator.steps:
        if part is not None and part != "passthrough":
            yield from _steps(part, f"{path}.{name}" if path else name)


def _cure(step: Any) -> str:
    best = getattr(step, "best_estimator_", None)
    return "pass its best_estimator_" if library_of(best) == "sklearn" else ""


# -- What each class becomes --------------------------------------------------------------------------

_FUNCTIONS = {
    "identity": activations.identity,
    "logistic": activations.sigmoid,
    "tanh": activations.tanh,
    "relu": activations.relu,
    "softmax": activations.softmax,
}


def _function(name: str, where: str) -> Any:
    if name not in _FUNCTIONS:
        raise OperatorError(f"{where}={name!r} ({', '.join(map(repr, _FUNCTIONS))} are converted)")
    return _FUNCTIONS[name]


def _perceptron(step: Any) -> list[Any]:
    between, last = _function(step.activation, "activation"), _function(step.out_activation_, "out_activation_")
    layers: list[Any] = []
    for weight, bias in zip(step.coefs_, step.intercepts_, strict=True):
        layers += [Linear(np.array(weight), np.array(bias)), between]
    return [*layers[:-1], last]


def _affine(step: Any, factor: float = 1.0) -> Linear:
    """Return ``x @ coef_.T + intercept_``, of one output where `coef_` has one axis, times a factor."""
    found = step.coef_.toarray() if hasattr(step.coef_, "toarray") else step.coef_
    weight = factor * np.atleast_2d(found).T
    bias = factor * np.asarray(step.intercept_, dtype=weight.dtype)
    return Linear(np.ascontiguousarray(weight), np.ascontiguousarray(np.broadcast_to(bias, weight.shape[1:])))


def _linear_regression(step: Any) -> list[Any]:
    return [_affine(step)]


def _logistic_regression(step: Any) -> list[Any]:
    asked = getattr(step, "multi_class", None)  # gone in later releases
    if len(step.classes_) > 2:
        if asked == "ovr" or step.solver == "liblinear":
            raise OperatorError("one classifier for each class (a softmax of several classes is converted)")
        return [_affine(step), activations.softmax]
    # A softmax of (-x, x) is a sigmoid of 2 x.
    return [_affine(step, 2.0 if asked == "multinomial" else 1.0), activations.sigmoid]


def _standard_scaler(step: Any) -> list[Any]:
    count = step.n_features_in_
    mean = np.zeros(count) if step.mean_ is None or not step.with_mean else np.array(step.mean_)
    scale = None if step.scale_ is None or not step.with_std else 1 / step.scale_
    return [BatchNorm(mean, np.ones(count, mean.dtype), scale, epsilon=0.0)]


def _min_max_scaler(step: Any) -> list[Any]:
    only(step, clip=False)
    scale, least = np.array(step.scale_), np.array(step.min_)
    return [BatchNorm(np.zeros_like(scale), np.ones_like(scale), scale, least, epsilon=0.0)]


class Row(NamedTuple):
    """A class of scikit-learn: what makes layers of its objects, and the attribute that a fitted one has."""

    make: Callable[[Any], list[Any]]
    fitted: str


#: The classes that are converted, by name: those of the package sklearn alone.
ESTIMATORS: MappingProxyType[str, Row] = MappingProxyType(
    {
        "LinearRegression": Row(_linear_regression, "coef_"),
        "LogisticRegression": Row(_logistic_regression, "coef_"),
        "MinMaxScaler": Row(_min_max_scaler, "scale_"),
        "MLPClassifier": Row(_perceptron, "coefs_"),
        "MLPRegressor": Row(_perceptron, "coefs_"),
        "StandardScaler": Row(_standard_scaler, "n_features_in_"),
    }
)
