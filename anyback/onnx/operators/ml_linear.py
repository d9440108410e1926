"""Linear models of ``ai.onnx.ml``."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError
from anyback.onnx._operator import Floats, Ints, Prepared, Strings, operator, several
from anyback.onnx._scores import as_rows, class_labels, labelled, pair, table, transformed

__all__ = ["LinearClassifier", "LinearRegressor"]

_ML = "ai.onnx.ml"
_Prepared = tuple[dict[str, np.ndarray], dict[str, Any]]


def _weights(coefficients: Any, intercepts: Any, targets: int, what: str) -> dict[str, np.ndarray]:
    """Return the weight of shape (features, targets), and the bias where there is one."""
    weight = table(coefficients, "float32")
    if targets < 1 or weight.shape[0] % targets:
        raise DataError(f"{what} has {weight.shape[0]} coefficients for {targets} targets")
    bias = np.zeros(targets, np.float32)
    if intercepts is not None and len(intercepts):
        bias = table(intercepts, "float32", targets, f"intercepts of {what}")
    return {"weight": np.ascontiguousarray(weight.reshape(targets, -1).T), "bias": bias}


def _scores(X: Array, weight: Array | None, bias: Array) -> Array:
    """Return the scores of rows of features; without a weight `X` is the products."""
    x = as_rows(X, bias.dtype)
    return (x if weight is None else array_namespace(x, weight).matmul(x, weight)) + bias


def _classifier(
    *,
    classlabels_ints: Ints | None = None,
    classlabels_strings: Strings | None = None,
    coefficients: Floats,
    intercepts: Floats | None = None,
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> _Prepared:
    arrays, rest, classes = class_labels(classlabels_ints, classlabels_strings, "LinearClassifier")
    # With two labels there may be one score: as many as there are intercepts.
    scores = classes if intercepts is None or not len(intercepts) else len(intercepts)
    if scores != classes and (scores, classes) != (1, 2):
        raise DataError(f"LinearClassifier has {scores} intercepts for {classes} classes")
    arrays |= _weights(coefficients, intercepts, scores, "LinearClassifier")
    return arrays, {**rest, "post_transform": post_transform}


@operator(domain=_ML, prepare=_classifier, multiplied=True)
def LinearClassifier(
    X: Array,
    weight: Prepared | None,
    bias: Prepared,
    classes: Prepared | None = None,
    *,
    labels: Strings | None = None,
    post_transform: str = "NONE",
    outputs: int = 1,
    wanted: tuple[bool, ...] | None = None,
) -> Array:
    """Return the labels of the largest scores of linear functions, and the scores."""
    scores = _scores(X, weight, bias)
    xp = array_namespace(scores)
    count = classes.shape[0] if classes is not None else len(labels or ())
    both = scores.shape[1] == 1 and count == 2
    y = z = None
    if wanted is None or wanted[0]:
        place = xp.astype(scores[:, 0] > 0, xp.int32) if both else xp.argmax(scores, axis=1)
        y = labelled(place, classes, labels, "LinearClassifier")
    if outputs > 1:
        z = pair(scores, post_transform, mirrored=False) if both else transformed(scores, post_transform)
    return several((y, z), outputs)


def _regressor(
    *,
    coefficients: Floats | None = None,
    intercepts: Floats | None = None,
    post_transform: str = "NONE",
    targets: int = 1,
) -> _Prepared:
    return _weights(coefficients, intercepts, targets, "LinearRegressor"), {"post_transform": post_transform}


@operator(domain=_ML, prepare=_regressor, multiplied=True)
def LinearRegressor(X: Array, weight: Prepared | None, bias: Prepared, *, post_transform: str = "NONE") -> Array:
    """Return linear functions of the features."""
    return transformed(_scores(X, weight, bias), post_transform)
