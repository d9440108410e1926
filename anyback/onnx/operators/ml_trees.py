"""Ensembles of decision trees."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace, common_float, is_float
from anyback.errors import DataError, ShapeError
from anyback.onnx._operator import Floats, Host, Ints, Prepared, Strings, operator, several
from anyback.onnx._scores import class_labels, labelled, pair, table, transformed
from anyback.onnx._trees import EQ, LT, MODES, Forest, check, comparisons, from_lists, members, tables
from anyback.onnx._types import check_size

__all__ = ["TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"]

_ML = "ai.onnx.ml"
# Lists with a number for each node are taken as arrays, `Host`: there may be millions.
_Prepared = tuple[dict[str, np.ndarray], dict[str, Any]]
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


def _split(attributes: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in attributes.items() if name.startswith(prefix)}


def _base(attributes: dict[str, Any]) -> np.ndarray:
    tensor = attributes["base_values_as_tensor"]
    return table(attributes["base_values"] if tensor is None or not np.size(tensor) else tensor, "float32")


def _classifier(
    *,
    base_values: Floats | None = None,
    base_values_as_tensor: Host | None = None,
    class_ids: Host | None = None,
    class_nodeids: Host | None = None,
    class_treeids: Host | None = None,
    class_weights: Host | None = None,
    class_weights_as_tensor: Host | None = None,
    classlabels_int64s: Ints | None = None,
    classlabels_strings: Strings | None = None,
    nodes_falsenodeids: Host | None = None,
    nodes_featureids: Host | None = None,
    nodes_hitrates: Host | None = None,
    nodes_hitrates_as_tensor: Host | None = None,
    nodes_missing_value_tracks_true: Host | None = None,
    nodes_modes: Strings | None = None,
    nodes_nodeids: Host | None = None,
    nodes_treeids: Host | None = None,
    nodes_truenodeids: Host | None = None,
    nodes_values: Host | None = None,
    nodes_values_as_tensor: Host | None = None,
    post_transform: str = "NONE",
) -> _Prepared:
    given, name = locals(), "TreeEnsembleClassifier"
    arrays, rest, count = class_labels(classlabels_int64s, classlabels_strings, name)
    forest = from_lists(_split(given, "nodes_"), _split(given, "class_"), name)
    base = _base(given)
    positive = bool((forest.weights >= 0).all())
    ids = np.unique(forest.targets)
    # What the scores are: "one" for one label, a single score of two classes by its sign, or one for each class.
    kind = "all"
    if count == 1:
        kind, arrays = "one", {"classes": np.asarray([0, 1])} if rest["labels"] is None else {}
        rest = {"labels": None if rest["labels"] is None else ("0", "1")}
    elif count == 2 and len(ids) == 1:
        kind = ("positive" if positive else "mixed") + ("" if ids[0] == 0 else " second")
        forest.targets = np.zeros_like(forest.targets)
        base = base[:1] if ids[0] == 0 or len(base) < 2 else base[1:2]
    check(forest, name)
    found, how = tables(forest, count if kind == "all" else 1, "SUM", base, name)
    return arrays | found, {**rest, **how, "kind_of_scores": kind, "post_transform": post_transform}


@operator(domain=_ML, prepare=_classifier)
def TreeEnsembleClassifier(
    X: Array,
    feature: Prepared,
    value: Prepared,
    yes: Prepared,
    no: Prepared,
    roots: Prepared,
    weights: Prepared,
    kind: Prepared | None = None,
    missing: Prepared | None = None,
    base: Prepared | None = None,
    classes: Prepared | None = None,
    *,
    labels: Strings | None = None,
    kind_of_scores: str = "all",
    post_transform: str = "NONE",
    outputs: int = 1,
    wanted: tuple[bool, ...] | None = None,
    **how: Any,
) -> Array:
    """Return the labels of the largest scores of an ensemble of trees, and the scores."""
    scores = _scores(X, feature, value, yes, no, roots, weights, kind, missing, base, **how)
    xp = array_namespace(scores)
    y = z = None
    if wanted is None or wanted[0]:
        if kind_of_scores == "all":
            place = xp.argmax(scores, axis=1)
        else:
            place = xp.astype(scores[:, 0] > (0.5 if kind_of_scores.startswith("positive") else 0.0), xp.int32)
        y = labelled(place, classes, labels, "TreeEnsembleClassifier")
    if outputs > 1:
        if kind_of_scores == "one":
            z = transformed(scores, "PROBIT") if post_transform == "PROBIT" else scores
        elif kind_of_scores == "all":
            z = transformed(scores, post_transform)
        elif kind_of_scores.endswith("second"):  # the first class has no score, which counts as 0
            z = transformed(xp.concat((xp.zeros_like(scores), scores), axis=1), post_transform)
        else:
            z = pair(scores, post_transform, mirrored=kind_of_scores == "mixed")
    return several((y, z), outputs)


def _regressor(
    *,
    aggregate_function: str = "SUM",
    base_values: Floats | None = None,
    base_values_as_tensor: Host | None = None,
    n_targets: int | None = None,
    nodes_falsenodeids: Host | None = None,
    nodes_featureids: Host | None = None,
    nodes_hitrates: Host | None = None,
    nodes_hitrates_as_tensor: Host | None = None,
    nodes_missing_value_tracks_true: Host | None = None,
    nodes_modes: Strings | None = None,
    nodes_nodeids: Host | None = None,
    nodes_treeids: Host | None = None,
    nodes_truenodeids: Host | None = None,
    nodes_values: Host | None = None,
    nodes_values_as_tensor: Host | None = None,
    post_transform: str = "NONE",
    target_ids: Host | None = None,
    target_nodeids: Host | None = None,
    target_treeids: Host | None = None,
    target_weights: Host | None = None,
    target_weights_as_tensor: Host | None = None,
) -> _Prepared:
    given, name = locals(), "TreeEnsembleRegressor"
    forest = from_lists(_split(given, "nodes_"), _split(given, "target_"), name)
    check(forest, name)
    targets = int(n_targets or 1)
    check_size((targets,), name)
    arrays, how = tables(forest, targets, _known(aggregate_function, _AGGREGATES, name), _base(given), name)
    return arrays, {**how, "post_transform": _known(post_transform, _TRANSFORMS, name)}


@operator(domain=_ML, prepare=_regressor)
def TreeEnsembleRegressor(
    X: Array,
    feature: Prepared,
    value: Prepared,
    yes: Prepared,
    no: Prepared,
    roots: Prepared,
    weights: Prepared,
    kind: Prepared | None = None,
    missing: Prepared | None = None,
    base: Prepared | None = None,
    *,
    post_transform: str = "NONE",
    **how: Any,
) -> Array:
    """Return the sums, averages or extremes of what the trees of an ensemble say of each target."""
    scores = _scores(X, feature, value, yes, no, roots, weights, kind, missing, base, **how)
    return transformed(scores, post_transform)


def _ensemble(
    *,
    aggregate_function: int = 1,
    leaf_targetids: Host,
    leaf_weights: Host,
    membership_values: Host | None = None,
    n_targets: int | None = None,
    nodes_falseleafs: Host,
    nodes_falsenodeids: Host,
    nodes_featureids: Host,
    nodes_hitrates: Host | None = None,
    nodes_missing_value_tracks_true: Host | None = None,
    nodes_modes: Host,
    nodes_splits: Host,
    nodes_trueleafs: Host,
    nodes_truenodeids: Host,
    post_transform: int = 0,
    tree_roots: Host,
) -> _Prepared:
    name = "TreeEnsemble"
    targetids = table(leaf_targetids, "int64")
    leaves, splits = targetids.shape[0], np.reshape(nodes_splits, -1)
    count = splits.shape[0]
    dtype = np.float64 if splits.dtype == np.float64 else np.float32

    def links(ids: Any, leafs: Any) -> np.ndarray:
        link, leaf = table(ids, "int64", count, "nodes of " + name), table(leafs, "int64", count, "leafs of " + name)
        if count and not 0 <= link.min() <= np.where(leaf != 0, 0, link).max() < max(count, 1):
            raise DataError(f"{name} has a branch to a node that is not there")
        return np.where(leaf != 0, -2 - link, link)  # leaf 0 stays empty

    mode = table(nodes_modes, "int64", count, "nodes_modes of " + name)
    if count and not 0 <= mode.min() <= mode.max() <= len(MODES):
        raise DataError(f"{name} has a mode that is none of 0 to {len(MODES)}")
    roots = table(tree_roots, "int64")
    if len(roots) and not 0 <= roots.min() <= roots.max() < count:
        raise DataError(f"{name} has a root that is not there")
    missing = table(nodes_missing_value_tracks_true, "int64")
    tracks = table(missing if len(missing) else (0,) * count, "int64", count, "missing of " + name) != 0
    yes, no = links(nodes_truenodeids, nodes_trueleafs), links(nodes_falsenodeids, nodes_falseleafs)
    asks = np.flatnonzero(mode == len(MODES))
    kind, yes, no, tracks = comparisons(np.where(mode == len(MODES), MODES.index("BRANCH_EQ"), mode), yes, no, tracks)
    forest = Forest(
        feature=table(nodes_featureids, "int64", count, "nodes_featureids of " + name),
        value=splits.astype(dtype),
        kind=kind,
        missing=tracks,
        yes=yes,
        no=no,
        roots=np.where((yes == no)[roots] & (yes < 0)[roots], yes[roots], roots),  # a tree may be a leaf
        leaves=leaves + 1,
        voters=np.arange(1, leaves + 1),
        targets=targetids,
        weights=table(np.asarray(leaf_weights).astype(dtype), str(np.dtype(dtype)), leaves, "leaf_weights of " + name),
    )
    check(forest, name)
    if len(asks):
        forest = members(forest, _sets(asks, table(membership_values, str(np.dtype(dtype))), name))
    targets = int(n_targets or 1)
    check_size((targets,), name)
    aggregate = _known(aggregate_function, dict(enumerate(_AGGREGATES)), name)
    arrays, how = tables(forest, targets, aggregate, np.zeros(0, dtype), name)
    return arrays, {**how, "post_transform": _known(post_transform, dict(enumerate(_TRANSFORMS)), name)}


def _sets(nodes: np.ndarray, values: np.ndarray, name: str) -> list[tuple[int, np.ndarray]]:
    """Return the sorted members for each node that asks for membership: sets end with nan, in the nodes' order."""
    ends = np.flatnonzero(np.isnan(values))
    if len(ends) != len(nodes):
        raise DataError(f"{name} has {len(ends)} sets of members for {len(nodes)} nodes")
    starts = [0, *(ends[:-1] + 1).tolist()]
    sets = [np.unique(values[start:end]) for start, end in zip(starts, ends.tolist(), strict=True)]
    return [(int(n), s if len(s) else values[ends[:1]]) for n, s in zip(nodes, sets, strict=True)]  # nan equals none


def _known(name: Any, names: Any, operator: str) -> str:
    if isinstance(names, dict) and name in names:
        return str(names[name])
    if isinstance(names, tuple) and name in names:
        return str(name)
    raise DataError(f"{operator} has {str(name)[:40]!r}; known: {', '.join(map(str, names))}")


@operator(domain=_ML, since=5, prepare=_ensemble)
def TreeEnsemble(
    X: Array,
    feature: Prepared,
    value: Prepared,
    yes: Prepared,
    no: Prepared,
    roots: Prepared,
    weights: Prepared,
    kind: Prepared | None = None,
    missing: Prepared | None = None,
    *,
    post_transform: str = "NONE",
    **how: Any,
) -> Array:
    """Return the sums, averages or extremes of what the trees of an ensemble say of each target, in the type of `X`."""
    scores = transformed(
        _scores(X, feature, value, yes, no, roots, weights, kind, missing, None, **how), post_transform
    )
    return scores if scores.dtype == X.dtype else array_namespace(scores).astype(scores, X.dtype)


def _scores(
    X: Array,
    feature: Array,
    value: Array,
    yes: Array,
    no: Array,
    roots: Array,
    weights: Array,
    kind: Array | None,
    missing: Array | None,
    base: Array | None,
    *,
    aggregate: str,
    features: int,
    groups: int,
    kinds: tuple[int, ...],
    levels: int,
    trees: int,
) -> Array:
    """Return the scores, shape (n, targets): every tree is walked from its root, all rows and trees at once."""
    xp = array_namespace(X, value)
    x = xp.reshape(X, (1, -1)) if X.ndim == 1 else X
    if x.ndim != 2 or x.shape[1] < features:
        raise ShapeError(f"an ensemble of trees expected rows of {features} features or more, found {tuple(X.shape)}")
    # Compared in the wider type: rounding one of two floats may move it over the other.
    wide = common_float(xp, x.dtype, value.dtype) if is_float(x) else value.dtype
    x = x if x.dtype == wide else xp.astype(x, wide)
    value = value if value.dtype == wide else xp.astype(value, wide)
    n, many = x.shape[0], roots.shape[0]
    check_size((n, many), "an ensemble of trees")
    start = xp.arange(n, dtype=roots.dtype, device=array_api_compat.device(x)) * x.shape[1]
    row = xp.reshape(xp.broadcast_to(start[:, None], (n, many)), (-1,))
    at = xp.reshape(xp.broadcast_to(roots[None, :], (n, many)), (-1,))
    flat = xp.reshape(x, (-1,))
    for _ in range(levels):
        found = xp.take(flat, row + xp.take(feature, at, axis=0), axis=0)
        limit = xp.take(value, at, axis=0)
        sort = None if kind is None else xp.take(kind, at, axis=0)
        go = _compared(found, limit, kinds[0])
        for other in kinds[1:]:
            go = xp.where(sort == other, _compared(found, limit, other), go)
        if missing is not None:
            go = go | (xp.isnan(found) & xp.take(missing, at, axis=0))
        at = xp.where(go, xp.take(yes, at, axis=0), xp.take(no, at, axis=0))
    if aggregate in ("SUM", "AVERAGE"):
        scores = xp.sum(_votes(weights[0, ...], at, n, many, groups), axis=-1)
        for part in range(1, weights.shape[0]):
            scores = scores + xp.sum(_votes(weights[part, ...], at, n, many, groups), axis=-1)
        scores = scores / trees if aggregate == "AVERAGE" else scores
    else:
        votes = _votes(weights[0, ...], at, n, many, groups)
        scores = xp.min(votes, axis=-1) if aggregate == "MIN" else xp.max(votes, axis=-1)
        scores = xp.where(xp.isinf(scores), xp.zeros_like(scores), scores)  # nobody voted
    scores = scores if groups else xp.permute_dims(scores, (1, 0))
    return scores if base is None else scores + base


def _votes(weights: Array, at: Array, n: int, many: int, groups: int) -> Array:
    """Return what the trees say: shape (n, targets, trees of a target), or (targets, n, trees) where `groups` is 0."""
    xp = array_namespace(weights)
    if groups:
        return xp.reshape(xp.take(weights, at, axis=0), (n, groups, many // groups))
    return xp.reshape(xp.take(weights, at, axis=1), (weights.shape[0], n, many))


def _compared(x: Array, limit: Array, kind: int) -> Array:
    return x < limit if kind == LT else x == limit if kind == EQ else x <= limit
