"""Operators whose results have a shape that depends on values: they are computed on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import OperatorError, ShapeError
from anyback.onnx._arrays import beside
from anyback.onnx._operator import Floats, Ints, operator, several
from anyback.plan import Rows

__all__ = ["NonMaxSuppression", "Unique"]


def _on_host(x: Array, operator: str) -> np.ndarray:
    if isinstance(x, (np.ndarray, np.generic)):
        return np.asarray(x)
    if not backends.is_concrete(x):
        raise OperatorError(f"{operator}: the shape of its result depends on values, which a traced program lacks")
    return backends.to_numpy(x)


@operator(since=11, rows=Rows.UNKNOWN)
def Unique(X: Array, *, axis: int | None = None, sorted: int = 1, outputs: int = 1) -> Any:
    """Return what is there once each, where it is first, which of it each number is, and how often it is there.

    Along an axis it is the slices that are compared, else the numbers of the flattened array. Sorted, or as they first
    appear.
    """
    x = _on_host(X, "Unique")
    if axis is not None and not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"Unique: there is no axis {axis} in an array of shape {x.shape}")
    _, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        first, inverse, counts = first[order], rank[inverse], counts[order]
    places = [beside(np.asarray(part, np.int64), X) for part in (first, inverse, counts)]
    if isinstance(X, np.ndarray):  # of texts too
        return several((np.take(X, first, axis=axis), *places), outputs)
    xp, at = array_namespace(X), 0 if axis is None else axis % x.ndim
    y = xp.take(xp.reshape(X, (-1,)) if axis is None else X, places[0], axis=at)
    return several((y, *places), outputs)


@operator(since=10, rows=Rows.UNKNOWN)
def NonMaxSuppression(
    boxes: Array,
    scores: Array,
    max_output_boxes_per_class: Ints = (0,),
    iou_threshold: Floats = (0.0,),
    score_threshold: Floats | None = None,
    *,
    center_point_box: int = 0,
) -> Array:
    """Return the image, the class and the number of boxes that overlap no better one much: shape (count, 3), int64.

    For each image and class, boxes are taken by falling score, of equal ones the first; a box is left out if the part
    that it shares with one taken before is more than `iou_threshold` of what both cover together.

    Parameters
    ----------
    boxes : array
        Shape (images, boxes, 4): two opposite corners as y, x, y, x, or with `center_point_box` the centre and the
        size as x, y, width, height.
    scores : array
        Shape (images, classes, boxes).
    max_output_boxes_per_class, iou_threshold, score_threshold : int, float, float
        How many boxes are taken at most, how much they may overlap, and what a score must exceed.
    center_point_box : int
        How boxes are written.
    """
    corners, ranks = _on_host(boxes, "NonMaxSuppression"), _on_host(scores, "NonMaxSuppression")
    if corners.ndim != 3 or ranks.ndim != 3 or corners.shape != (ranks.shape[0], ranks.shape[2], 4):
        raise ShapeError(
            "NonMaxSuppression expected boxes (images, boxes, 4) and scores (images, classes, boxes), "
            f"found {corners.shape} and {ranks.shape}"
        )
    if center_point_box:
        half = corners[..., 2:] / 2
        low, high = corners[..., :2] - half, corners[..., :2] + half
    else:
        low = np.minimum(corners[..., :2], corners[..., 2:])
        high = np.maximum(corners[..., :2], corners[..., 2:])
    most, overlap = max((*max_output_boxes_per_class, 0)), (*iou_threshold, 0.0)[0]
    least = score_threshold[0] if score_threshold else None
    found = [
        (image, kind, box)
        for image in range(ranks.shape[0])
        for kind in range(ranks.shape[1])
        for box in _kept(low[image], high[image], ranks[image, kind], most, overlap, least)
    ]
    return beside(np.asarray(found, np.int64).reshape(-1, 3), boxes)


def _kept(
    low: np.ndarray, high: np.ndarray, scores: np.ndarray, most: int, overlap: float, least: float | None
) -> list[int]:
    """Return the numbers of the boxes of one image that are taken for one class, by falling score."""
    left = np.argsort(-scores, kind="stable")
    if least is not None:
        left = left[scores[left] > least]
    areas = np.prod(high - low, axis=1)
    kept: list[int] = []
    while len(left) and len(kept) < most:
        best, left = left[0], left[1:]
        kept.append(int(best))
        shared = np.prod(np.maximum(np.minimum(high[left], high[best]) - np.maximum(low[left], low[best]), 0), axis=1)
        together = areas[left] + areas[best] - shared
        # Boxes without an area overlap nothing.
        left = left[~((areas[left] > 0) & (areas[best] > 0) & (together > 0) & (shared > overlap * together))]
    return kept
