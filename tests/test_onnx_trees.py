"""Ensembles of trees against a walk of single rows through single nodes, in Python."""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from conftest import Library
from onnx_apply import applied, bound

from anyback.errors import BackendError, DataError, ShapeError
from anyback.onnx._trees import parts

COMPARE = {
    "BRANCH_LEQ": operator.le,
    "BRANCH_LT": operator.lt,
    "BRANCH_GTE": operator.ge,
    "BRANCH_GT": operator.gt,
    "BRANCH_EQ": operator.eq,
    "BRANCH_NEQ": operator.ne,
    "BRANCH_MEMBER": lambda x, members: x in members,
}
FEATURES = 4
VALUES = (-1.5, -0.5, 0.0, 0.5, 1.5)


class Node:
    """A node as the oracle walks it: a leaf has votes, the weights by their targets."""

    def __init__(self, rng: np.random.Generator, levels: int, modes: tuple[str, ...], targets: Any) -> None:
        self.votes = {int(t): float(np.float32(rng.normal())) for t in targets(rng)} if levels == 0 else None
        if self.votes is None:
            self.mode = str(rng.choice(modes))
            self.feature = int(rng.integers(FEATURES))
            size = int(rng.integers(1, 5))
            self.value: Any = float(rng.choice(VALUES))
            if self.mode == "BRANCH_MEMBER":
                self.value = {float(v) for v in rng.choice(VALUES, size)}
            self.missing = bool(rng.integers(2))
            self.below = [Node(rng, int(rng.integers(levels)), modes, targets) for _ in range(2)]

    def walk(self, row: np.ndarray) -> dict[int, float]:
        if self.votes is not None:
            return self.votes
        x = float(row[self.feature])
        go = COMPARE[self.mode](x, self.value) or (self.missing and math.isnan(x))
        return self.below[0 if go else 1].walk(row)

    def nodes(self) -> list[Node]:
        return [self] if self.votes is not None else [self, *self.below[0].nodes(), *self.below[1].nodes()]


def scores(trees: list[Node], x: np.ndarray, targets: int, aggregate: str = "SUM") -> np.ndarray:
    found = np.zeros((len(x), targets))
    for i, row in enumerate(x):
        votes = defaultdict(list)
        for tree in trees:
            for target, weight in tree.walk(row).items():
                votes[target].append(weight)
        for target, weights in votes.items():
            whole = {"SUM": sum(weights), "AVERAGE": sum(weights) / len(trees)}
            found[i, target] = whole.get(aggregate, {"MIN": min, "MAX": max}.get(aggregate, min)(weights))
    return found


def as_lists(trees: list[Node], prefix: str) -> dict[str, Any]:
    """Return the trees as the attributes of TreeEnsembleClassifier or TreeEnsembleRegressor."""
    found: dict[str, Any] = defaultdict(list)
    for number, tree in enumerate(trees):
        places = {id(node): 7 * i for i, node in enumerate(tree.nodes())}  # numbers need not follow each other
        for node in tree.nodes():
            leaf = node.votes is not None
            entry = {
                "treeids": 10 - number,
                "nodeids": places[id(node)],
                "modes": "LEAF" if leaf else node.mode,
                "featureids": 0 if leaf else node.feature,
                "values": 0.0 if leaf else node.value,
                "truenodeids": 0 if leaf else places[id(node.below[0])],
                "falsenodeids": 0 if leaf else places[id(node.below[1])],
                "missing_value_tracks_true": 0 if leaf else int(node.missing),
            }
            for name, value in entry.items():
                found[f"nodes_{name}"].append(value)
            for target, weight in (node.votes or {}).items():
                votes = {"treeids": 10 - number, "nodeids": places[id(node)], "ids": target, "weights": weight}
                for name, value in votes.items():
                    found[f"{prefix}_{name}"].append(value)
    return dict(found)


def as_tables(trees: list[Node]) -> dict[str, Any]:
    """Return the trees as the attributes of TreeEnsemble; each leaf has one vote."""
    inner = [node for tree in trees for node in tree.nodes() if node.votes is None]
    leaves = [node for tree in trees for node in tree.nodes() if node.votes is not None]
    place = {id(node): i for nodes in (inner, leaves) for i, node in enumerate(nodes)}
    member = [node for node in inner if node.mode == "BRANCH_MEMBER"]
    found = {
        "nodes_modes": np.asarray([list(COMPARE).index(node.mode) for node in inner], np.uint8),
        "nodes_featureids": [node.feature for node in inner],
        "nodes_splits": np.asarray([0.0 if node in member else node.value for node in inner], np.float32),
        "nodes_missing_value_tracks_true": [int(node.missing) for node in inner],
        "membership_values": np.asarray([v for node in member for v in (*node.value, math.nan)], np.float32),
        "leaf_targetids": [next(iter(leaf.votes or {})) for leaf in leaves],
        "leaf_weights": np.asarray([next(iter((leaf.votes or {}).values())) for leaf in leaves], np.float32),
        "tree_roots": [place[id(tree)] for tree in trees],
    }
    for name, side in (("true", 0), ("false", 1)):
        found[f"nodes_{name}nodeids"] = [place[id(node.below[side])] for node in inner]
        found[f"nodes_{name}leafs"] = [int(node.below[side].votes is not None) for node in inner]
    return found


def rows(seed: int, n: int = 40, missing: bool = True) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.choice([*VALUES, *rng.normal(size=5)], (n, FEATURES)).astype(np.float32)
    return np.where(missing & (rng.random(x.shape) < 0.2), np.float32(np.nan), x)


def forest(seed: int, modes: tuple[str, ...], targets: Any, trees: int = 6) -> list[Node]:
    rng = np.random.default_rng(seed)
    return [Node(rng, 1 + t % 4, modes, targets) for t in range(trees)]


def several(rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(3)[: rng.integers(1, 4)]


ALL = tuple(COMPARE)[:-1]


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("modes", [ALL, *[(mode,) for mode in ALL]], ids=lambda m: m[0] if len(m) == 1 else "all")
@pytest.mark.parametrize("each", [several, lambda rng: [1]], ids=["several", "one"])
def test_every_mode_leads_where_the_walk_of_one_row_ends(modes: tuple[str, ...], aggregate: str, each: Any) -> None:
    trees, x = forest(3, modes, each), rows(4)
    y = applied(
        "TreeEnsembleRegressor", x, **as_lists(trees, "target"), n_targets=3, aggregate_function=aggregate, version=3
    )
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, scores(trees, x, 3, aggregate), rtol=1e-6, atol=1e-6)


def test_the_walk_is_the_same_on_every_library(lib: Library) -> None:
    trees, x = forest(5, ALL, several), rows(6)
    y = applied("TreeEnsembleRegressor", x, lib=lib, **as_lists(trees, "target"), n_targets=3, version=1)
    np.testing.assert_allclose(y, scores(trees, x, 3), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("aggregate", [0, 1, 2, 3])
def test_membership_and_tables_of_version_5(lib: Library, aggregate: int) -> None:
    trees = forest(7, tuple(COMPARE), lambda rng: [rng.integers(3)])
    x = rows(8)
    y = applied("TreeEnsemble", x, lib=lib, **as_tables(trees), n_targets=3, aggregate_function=aggregate)
    expected = scores(trees, x, 3, ("AVERAGE", "SUM", "MIN", "MAX")[aggregate])
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_trees_of_one_target_lie_beside_each_other_and_are_evened_out() -> None:
    rng = np.random.default_rng(9)
    trees = [Node(rng, 2, ("BRANCH_LEQ",), lambda rng, t=t: [t]) for t in (0, 0, 2, 1, 2, 2, 1)]
    _, arguments, rest = bound("TreeEnsembleRegressor", rows(1), **as_lists(trees, "target"), n_targets=3)
    assert rest["groups"] == 3
    assert arguments[5].shape == (9,)  # three of each
    y = applied("TreeEnsembleRegressor", rows(1), **as_lists(trees, "target"), n_targets=3, aggregate_function="MIN")
    np.testing.assert_allclose(y, scores(trees, rows(1), 3, "MIN"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("each", [several, lambda rng: [rng.integers(3)]], ids=["several", "one"])
def test_sums_have_the_same_bits_on_every_library_and_are_rounded_once(lib: Library, each: Any) -> None:
    trees, x = forest(11, ALL, each, trees=200), rows(12)
    y = applied("TreeEnsembleRegressor", x, lib=lib, **as_lists(trees, "target"), n_targets=3)
    np.testing.assert_array_equal(y, scores(trees, x, 3).astype(np.float32))


def test_votes_that_are_equal_but_for_their_order_are_a_tie(lib: Library) -> None:
    weights = (np.random.default_rng(13).random(60) / 30).tolist()
    votes = {
        "nodes_treeids": list(range(120)),
        **{f"nodes_{name}": [0] * 120 for name in ("nodeids", "featureids", "truenodeids", "falsenodeids", "values")},
        "nodes_modes": ["LEAF"] * 120,
        "target_treeids": list(range(120)),
        "target_nodeids": [0] * 120,
        "target_ids": [0] * 60 + [1] * 60,
        "target_weights": [*weights, *reversed(weights)],
    }
    y = applied("TreeEnsembleRegressor", rows(1), lib=lib, **votes, n_targets=2)
    np.testing.assert_array_equal(y[:, 0], y[:, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-30, 1 / 3, 1e25])
def test_the_first_part_of_weights_has_sums_without_rounding(dtype: Any, scale: float) -> None:
    rng = np.random.default_rng(14)
    weights = (scale * rng.normal(size=300)).astype(dtype)
    found = parts(weights, 300)
    np.testing.assert_array_equal(found.sum(axis=0), weights)
    for order in (np.arange(300), np.argsort(weights), rng.permutation(300)):
        one_after_the_other = np.add.accumulate(found[0, order])[-1]
        assert float(one_after_the_other) == math.fsum(found[0].tolist())


@pytest.mark.parametrize("weights", [[0.0, 0.0], [np.inf, 1.0], [0.5, 0.25]])
def test_weights_whose_sums_need_no_parts_have_one(weights: list[float]) -> None:
    assert parts(np.asarray(weights, np.float32), 2).shape == (1, 2)


def test_one_row_no_rows_one_axis_and_integers() -> None:
    trees, x = forest(2, ("BRANCH_LEQ", "BRANCH_GT"), several), rows(3, missing=False)
    attributes = as_lists(trees, "target") | {"n_targets": 3}
    whole = applied("TreeEnsembleRegressor", x, **attributes)
    for i in range(3):
        np.testing.assert_array_equal(applied("TreeEnsembleRegressor", x[i : i + 1], **attributes), whole[i : i + 1])
    np.testing.assert_array_equal(applied("TreeEnsembleRegressor", x[0], **attributes), whole[:1])
    assert applied("TreeEnsembleRegressor", x[:0], **attributes).shape == (0, 3)
    integers = np.round(x).astype(np.int64)
    expected = scores(trees, integers, 3)
    np.testing.assert_allclose(applied("TreeEnsembleRegressor", integers, **attributes), expected, rtol=1e-6, atol=1e-6)


def test_float64_thresholds_are_compared_as_such() -> None:
    stump = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "nodes_values_as_tensor": np.asarray([0.1, 0.0, 0.0]),  # below the float32 next to it
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights_as_tensor": np.asarray([1.0, 2.0]),
        "n_targets": 1,
    }
    x = np.asarray([[0.1]])
    assert applied("TreeEnsembleRegressor", x, **stump, version=3).item() == 1
    y = applied("TreeEnsembleRegressor", x.astype(np.float32), **stump, version=3)
    assert y.item() == 2
    assert y.dtype == np.float32


def stump(weights: list[float], ids: list[int], **attributes: Any) -> dict[str, Any]:
    """Return a classifier: rows below 0 end in one leaf, others in another; a weight for each leaf and class."""
    return {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_modes": ["BRANCH_LT", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "nodes_values": [0.0, 0.0, 0.0],
        "class_treeids": [0] * len(weights),
        "class_nodeids": [1, 2] * (len(weights) // 2),
        "class_ids": ids,
        "class_weights": weights,
    } | attributes


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("weights", "ids", "post", "labels", "expected"),
    [  # as ONNX Runtime 1.32 answers
        ([0.2, 0.6], [0, 0], "NONE", [5, 7], [[0.8, 0.2], [0.4, 0.6]]),
        ([0.2, 0.6], [0, 0], "LOGISTIC", [5, 7], [[sigmoid(-0.2), sigmoid(0.2)], [sigmoid(-0.6), sigmoid(0.6)]]),
        ([-0.2, 0.6], [0, 0], "NONE", [5, 7], [[0.2, -0.2], [-0.6, 0.6]]),
        ([-0.2, 0.6], [0, 0], "SOFTMAX", [5, 7], [[0.2, -0.2], [-0.6, 0.6]]),
        ([0.2, 0.6], [1, 1], "NONE", [5, 7], [[0.0, 0.2], [0.0, 0.6]]),
        ([0.2, 0.6], [1, 1], "SOFTMAX_ZERO", [5, 7], [[0.0, 1.0], [0.0, 1.0]]),
        ([0.8, 0.4, 0.2, 0.6], [0, 0, 1, 1], "NONE", [5, 7], [[0.8, 0.2], [0.4, 0.6]]),
        ([0.8, 0.4, 0.2, 0.6], [0, 0, 1, 1], "PROBIT", [5, 7], [[0.8418, -0.8418], [-0.2534, 0.2534]]),
    ],
)
def test_scores_and_labels_of_two_classes(
    lib: Library, weights: list[float], ids: list[int], post: str, labels: list[int], expected: list[list[float]]
) -> None:
    x = np.asarray([[-1.0], [1.0]], np.float32)
    attributes = stump(weights, ids, post_transform=post, classlabels_int64s=labels)
    y, z = applied("TreeEnsembleClassifier", x, lib=lib, outputs=2, **attributes)
    np.testing.assert_array_equal(y, [5, 7])
    np.testing.assert_allclose(z, expected, rtol=0, atol=1e-4)


def test_strings_as_labels_are_on_the_host_and_only_where_wanted(lib: Library) -> None:
    x = np.asarray([[-1.0], [1.0]], np.float32)
    attributes = stump([0.8, 0.4, 0.2, 0.6], [0, 0, 1, 1], classlabels_strings=["no", "yes"], outputs=2)
    labels, z = applied("TreeEnsembleClassifier", x, wanted=(False, True), lib=lib, **attributes)
    assert labels is None
    np.testing.assert_allclose(z, [[0.8, 0.2], [0.4, 0.6]], rtol=1e-6)
    if "device1" not in lib.id:  # which has no way to the host
        assert applied("TreeEnsembleClassifier", x, lib=lib, **attributes)[0].tolist() == ["no", "yes"]


@pytest.mark.jax
def test_under_jit_scores_pass_and_strings_say_why_not() -> None:
    jax = pytest.importorskip("jax")
    x = np.asarray([[-1.0], [1.0]], np.float32)
    attributes = stump([0.8, 0.4, 0.2, 0.6], [0, 0, 1, 1], classlabels_strings=["no", "yes"], outputs=2)
    compute, (_, *tables), rest = bound("TreeEnsembleClassifier", x, wanted=(False, True), **attributes)
    tables = [None if t is None else jax.numpy.asarray(t) for t in tables]
    z = jax.jit(lambda x: compute(x, *tables, **rest)[1])(x)
    np.testing.assert_allclose(np.asarray(z), [[0.8, 0.2], [0.4, 0.6]], rtol=1e-6)
    with pytest.raises(BackendError, match="select the scores"):
        jax.jit(lambda x: compute(x, *tables, **(rest | {"wanted": None}))[1])(x)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a cycle": ({"nodes_truenodeids": [0, 0, 0]}, "two branches|no tree|lead"),
    "a node that is not there": ({"nodes_falsenodeids": [9, 0, 0]}, "not there"),
    "two branches to one node": (
        {"nodes_modes": ["BRANCH_LT", "BRANCH_LT", "BRANCH_LT"], "nodes_truenodeids": [1, 2, 0]},
        "two branches",
    ),
    "a mode of its own": ({"nodes_modes": ["BRANCH_LIKE", "LEAF", "LEAF"]}, "BRANCH_LIKE"),
    "too few modes": ({"nodes_modes": ["LEAF"]}, "1 modes for 3"),
    "too few values": ({"nodes_values": [0.0]}, "expected 3"),
    "a negative feature": ({"nodes_featureids": [-1, 0, 0]}, "negative"),
    "a vote for no class": ({"class_ids": [0, 9]}, "vote"),
    "a vote of no node": ({"class_nodeids": [1, 9]}, "not there"),
    "a node twice": ({"nodes_nodeids": [0, 1, 1]}, "two nodes"),
    "no labels": ({"classlabels_int64s": []}, "labels"),
    "base values of nobody": ({"base_values": [1.0, 2.0, 3.0, 4.0]}, "base values"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_forest_is_refused_when_the_file_is_loaded(name: str) -> None:
    changes, match = BROKEN[name]
    three = stump([0.1, 0.2], [0, 1], classlabels_int64s=[1, 2, 3])
    with pytest.raises(DataError, match=match):
        bound("TreeEnsembleClassifier", np.zeros((1, 1), np.float32), **(three | changes))


def test_too_few_features_are_refused_on_every_library(lib: Library) -> None:
    attributes = stump([0.1, 0.2], [0, 1], classlabels_int64s=[1, 2], nodes_featureids=[3, 0, 0])
    with pytest.raises(ShapeError, match="4 features"):
        applied("TreeEnsembleClassifier", np.zeros((1, 3), np.float32), lib=lib, **attributes)


def test_a_chain_of_a_hundred_thousand_levels_is_refused_at_once() -> None:
    n = 100_000
    chain = {
        "nodes_modes": np.zeros(n, np.uint8),
        "nodes_featureids": np.zeros(n, int),
        "nodes_splits": np.zeros(n, np.float32),
        "nodes_truenodeids": np.zeros(n, int),
        "nodes_falsenodeids": np.append(np.arange(1, n), 0),
        "nodes_trueleafs": np.ones(n, int),
        "nodes_falseleafs": np.append(np.zeros(n - 1, int), 1),
        "leaf_targetids": [0],
        "leaf_weights": np.ones(1, np.float32),
        "tree_roots": [0],
    }
    with pytest.raises(DataError, match="levels"):
        bound("TreeEnsemble", np.zeros((1, 1), np.float32), **chain)
