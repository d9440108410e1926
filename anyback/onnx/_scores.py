"""The scores of classifiers and regressors of ``ai.onnx.ml``: their transforms, second columns and labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace, is_concrete, to_numpy
from anyback.errors import BackendError, DataError
from anyback.ops import OPS

__all__ = ["as_rows", "class_labels", "labelled", "pair", "table", "transformed"]

_softmax, _sigmoid = OPS["softmax"].formula, OPS["sigmoid"].formula


def table(values: Any, dtype: str, size: int | None = None, what: str = "") -> np.ndarray:
    """Return an attribute as an array of one axis; `DataError` where it has not `size` numbers."""
    found = np.asarray(() if values is None else values, dtype).reshape(-1)
    if size is not None and found.shape[0] != size:
        raise DataError(f"{what} has {found.shape[0]} values; expected {size}")
    return found


def class_labels(ints: Any, strings: Any, operator: str) -> tuple[dict[str, np.ndarray], dict[str, Any], int]:
    """Return the labels as an array of integers or an attribute of strings, and how many there are."""
    if strings is not None and len(strings):
        return {}, {"labels": tuple(strings)}, len(strings)
    if ints is None or not len(ints):
        raise DataError(f"{operator} has no labels of classes; expected integers or strings")
    return {"classes": np.asarray(ints, np.int64)}, {"labels": None}, len(ints)


def labelled(place: Array, classes: Array | None, labels: tuple[str, ...] | None, operator: str) -> Array:
    """Return the labels by their numbers; strings are on the host."""
    if classes is not None:
        return array_namespace(place).take(classes, place, axis=0)
    if not is_concrete(place):
        raise BackendError(f"{operator} has strings as labels, which cannot be traced; select the scores alone")
    return np.asarray(labels, object)[to_numpy(place)]


def as_rows(x: Array, dtype: Any) -> Array:
    """Return the input as rows of features in a type."""
    xp = array_namespace(x)
    x = xp.reshape(x, (1, -1)) if x.ndim == 1 else x
    return x if x.dtype == dtype else xp.astype(x, dtype)


def transformed(scores: Array, post_transform: str) -> Array:
    """Return scores of shape (n, classes) after one of ONNX's transforms."""
    if post_transform == "NONE":
        return scores
    if post_transform == "LOGISTIC":
        return _sigmoid(scores)
    if post_transform == "SOFTMAX":
        return _softmax(scores)
    if post_transform == "SOFTMAX_ZERO":
        return _softmax_of_nonzero(scores)
    if post_transform == "PROBIT":
        return _probit(scores)
    raise DataError(f"unknown post_transform {post_transform[:40]!r}")


def pair(score: Array, post_transform: str, mirrored: bool) -> Array:
    """Return the scores of both classes, shape (n, 2), by one score of the second, shape (n, 1).

    ONNX does not say what the other one is. As ONNX Runtime has it: without a transform ``-score`` where
    `mirrored`, else ``1 - score``; the logistic function of both signs; other transforms are left out.
    """
    xp = array_namespace(score)
    if post_transform == "LOGISTIC":
        return _sigmoid(xp.concat((-score, score), axis=1))
    if post_transform == "PROBIT":
        score = _probit(score)
        return xp.concat((-score, score), axis=1)
    return xp.concat((-score if mirrored else 1 - score, score), axis=1)


def _softmax_of_nonzero(scores: Array) -> Array:
    """Return the softmax of the scores that are not 0; the others stay 0."""
    xp = array_namespace(scores)
    top = xp.max(scores, axis=-1, keepdims=True)
    some = xp.abs(scores) > 1e-7  # what runtimes count as 0
    exponential = xp.where(some, xp.exp(scores - top), xp.zeros_like(scores))
    total = xp.sum(exponential, axis=-1, keepdims=True)
    return exponential / xp.where(total == 0, xp.ones_like(total), total)


def _probit(p: Array) -> Array:
    """Return the quantile of the normal distribution, to 2e-3, in the form that both of ONNX's runtimes have.

    S. Winitzki, "A handy approximation for the error function and its inverse" (2008), with a = 0.147.
    """
    xp = array_namespace(p)
    log = xp.log(4 * p * (1 - p))
    half = 2 / (math.pi * 0.147) + 0.5 * log
    root = xp.sqrt(xp.sqrt(half * half - log / 0.147) - half)
    return math.sqrt(2) * xp.where(p < 0.5, -root, root)
