"""Losses of classes: half types are computed in float32 and rounded once."""

from __future__ import annotations

from typing import Any

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError, ShapeError
from anyback.onnx._arrays import index_dtype, narrowed, widened
from anyback.onnx._operator import operator, several
from anyback.onnx.operators.activation import LogSoftmax
from anyback.onnx.operators.index import GatherElements

__all__ = ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"]


def _loss(
    logs: Array, target: Array, weight: Array | None, ignore_index: int | None, reduction: str, operator: str
) -> Array:
    """Return minus the number that each target names along axis 1, times the weight of its class; or their sum or mean.

    The mean is that of the weights: the sum of the losses divided by the sum of the weights of the targets. A target
    that is ignored has the weight 0.
    """
    if reduction not in ("none", "sum", "mean"):
        raise DataError(f"{operator} has the reduction {reduction!r}; expected none, sum or mean")
    if logs.ndim < 2 or tuple(target.shape) != (logs.shape[0], *logs.shape[2:]):
        raise ShapeError(
            f"{operator} expected numbers (n, classes, *axes) and targets (n, *axes), found {tuple(logs.shape)} and "
            f"{tuple(target.shape)}"
        )
    if weight is not None and tuple(weight.shape) != (logs.shape[1],):
        raise ShapeError(f"{operator} expected {logs.shape[1]} weights, found shape {tuple(weight.shape)}")
    xp = array_namespace(logs, target)
    classes, counts = xp.astype(target, index_dtype(logs)), None
    if ignore_index is not None:
        counts = classes != ignore_index
        classes = xp.where(counts, classes, xp.zeros_like(classes))  # it may be no class at all
    picked = GatherElements.compute(logs, xp.expand_dims(classes, axis=1), axis=1)
    found = -xp.reshape(picked, target.shape)
    each = None
    if weight is not None:
        each = xp.reshape(xp.take(narrowed(weight, logs.dtype), xp.reshape(classes, (-1,)), axis=0), target.shape)
    if counts is not None:
        found = xp.where(counts, found, xp.zeros_like(found))
        each = narrowed(counts, logs.dtype) if each is None else xp.where(counts, each, xp.zeros_like(each))
    if each is not None and weight is not None:
        found = found * each
    if reduction == "none":
        return found
    if reduction == "mean" and each is None:
        return xp.mean(found)
    return xp.sum(found) / xp.sum(each) if reduction == "mean" else xp.sum(found)


@operator(since=12)
def NegativeLogLikelihoodLoss(
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Array:
    """Return minus the logarithm of the probability of each target, (n, *axes), or their sum or weighted mean."""
    wide = None if weight is None else widened(weight)
    found = _loss(widened(input), target, wide, ignore_index, reduction, "NegativeLogLikelihoodLoss")
    return narrowed(found, input.dtype)


@operator(since=12)
def SoftmaxCrossEntropyLoss(
    scores: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
    outputs: int = 1,
) -> Any:
    """Return the loss of scores whose softmax along axis 1 gives probabilities, and the logarithms of these."""
    wide = None if weights is None else widened(weights)
    logs = LogSoftmax.compute(widened(scores), axis=1)
    found = _loss(logs, labels, wide, ignore_index, reduction, "SoftmaxCrossEntropyLoss")
    return several((narrowed(found, scores.dtype), narrowed(logs, scores.dtype)), outputs)
