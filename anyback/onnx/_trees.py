"""Ensembles of trees as flat tables, made once from ONNX's attributes; all rows and trees are walked at once.

A node is a number. Leaves come first and lead to themselves, so that after as many steps as the deepest tree has
levels every walk has ended in a leaf, whose number is its place in the table of weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anyback.errors import DataError
from anyback.onnx._scores import table
from anyback.onnx._types import check_size

__all__ = ["EQ", "LEQ", "LT", "MODES", "Forest", "check", "comparisons", "from_lists", "members", "parts", "tables"]

#: The comparisons that are left: the others are these with the branches exchanged.
LEQ, LT, EQ = 0, 1, 2
_MODES = {
    "BRANCH_LEQ": (LEQ, False),
    "BRANCH_LT": (LT, False),
    "BRANCH_GTE": (LT, True),
    "BRANCH_GT": (LEQ, True),
    "BRANCH_EQ": (EQ, False),
    "BRANCH_NEQ": (EQ, True),
}
MODES = tuple(_MODES)  # their numbers in TreeEnsemble
#: The most levels of a tree: a walk takes as many steps.
MOST_LEVELS = 4096


@dataclass(eq=False)
class Forest:
    """Trees, while their tables are made: arrays with an entry for each node that compares, and the leaves' votes.

    Parameters
    ----------
    feature, value, kind, missing : array, shape (nodes,)
        Compared is the feature with the value, by `LEQ`, `LT` or `EQ`; whether nan counts as true.
    yes, no : array of integers, shape (nodes,)
        The next node, or the negative of one more than a leaf.
    roots : array of integers, shape (trees,)
        Numbered like `yes`.
    leaves : int
        How many leaves there are. The first one votes for nothing.
    voters, targets, weights : array, shape (votes,)
        The leaf that votes, for which target, and how much.
    """

    feature: np.ndarray
    value: np.ndarray
    kind: np.ndarray
    missing: np.ndarray
    yes: np.ndarray
    no: np.ndarray
    roots: np.ndarray
    leaves: int
    voters: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def comparisons(modes: np.ndarray, yes: np.ndarray, no: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the kinds of comparisons by the numbers of ONNX's modes, and yes, no and missing as they then are."""
    kind = np.asarray([kind for kind, _ in _MODES.values()], np.int64)[modes]
    swap = np.asarray([swap for _, swap in _MODES.values()])[modes]
    # nan is less than nothing and unequal to all: of the exchanged modes, NEQ alone is true of it anyway.
    missing = np.where(swap, ~missing & (kind != EQ), missing)
    return kind, np.where(swap, no, yes), np.where(swap, yes, no), missing


def tables(
    forest: Forest, targets: int, aggregate: str, base: np.ndarray, operator: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tables of a forest as arrays by name, and the attributes that say how to read them."""
    levels = _levels(forest, operator)
    if len(forest.targets) and not 0 <= forest.targets.min() <= forest.targets.max() < targets:
        raise DataError(f"{operator} has a vote for a target that is none of {targets}")
    if base.shape[0] not in (0, 1, targets):
        raise DataError(f"{operator} has {base.shape[0]} base values for {targets} targets")
    leaves, nodes = forest.leaves, len(forest.feature)
    own = np.arange(leaves, dtype=np.int64)

    def placed(link: np.ndarray) -> np.ndarray:  # leaves first
        return np.where(link < 0, -1 - link, link + leaves)

    def of_nodes(values: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros(leaves, values.dtype), values])

    roots, weights, groups = _weights(forest, targets, aggregate, placed(forest.roots), operator)
    added = len(roots) // max(groups, 1) if aggregate in ("SUM", "AVERAGE") else 0
    arrays = {
        "feature": of_nodes(forest.feature.astype(np.int64)),
        "value": of_nodes(forest.value),
        "yes": np.concatenate([own, placed(forest.yes)]),
        "no": np.concatenate([own, placed(forest.no)]),
        "roots": roots,
        "weights": parts(weights, added),
    }
    kinds = tuple(np.unique(forest.kind).tolist())
    if len(kinds) > 1:
        arrays["kind"] = of_nodes(forest.kind)
    if forest.missing.any():
        arrays["missing"] = of_nodes(forest.missing)
    if base.shape[0]:
        arrays["base"] = base
    rest = {
        "aggregate": aggregate,
        "features": int(forest.feature.max()) + 1 if nodes else 0,
        "groups": groups,
        "kinds": kinds or (LEQ,),
        "levels": levels,
        "trees": len(forest.roots),
    }
    return arrays, rest


def check(forest: Forest, operator: str) -> None:
    """Raise `DataError` where a branch leads to no node, or two lead to one: a walk might not end."""
    nodes = len(forest.feature)
    links = np.concatenate([forest.roots, forest.yes, forest.no[forest.no != forest.yes]])
    if len(links) and not -forest.leaves <= links.min() <= links.max() < nodes:
        raise DataError(f"{operator} has a branch to a node that is not there")
    if nodes and np.bincount(links[links >= 0], minlength=nodes).max() > 1:
        raise DataError(f"{operator} has a node that two branches lead to: no tree")
    if nodes and forest.feature.min() < 0:
        raise DataError(f"{operator} has a negative number of a feature")


def _levels(forest: Forest, operator: str) -> int:
    """Return the number of comparisons on the longest path of all trees."""
    levels, here = 0, forest.roots[forest.roots >= 0]
    while len(here):
        levels += 1
        if levels > MOST_LEVELS:
            raise DataError(f"{operator} has a tree of more than {MOST_LEVELS} levels")
        below = np.concatenate([forest.yes[here], forest.no[here]])
        here = np.unique(below[below >= 0])
    return levels


def _weights(
    forest: Forest, targets: int, aggregate: str, roots: np.ndarray, operator: str
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the roots, the table of weights, and in how many groups the trees lie.

    Where each tree votes for one target alone, the trees of a target lie beside each other, as many of each (others
    that vote for nothing fill up), and the table has shape (leaves,). Else it has shape (targets, leaves).
    """
    add, fill = {
        "SUM": (np.add, 0.0),
        "AVERAGE": (np.add, 0.0),
        "MIN": (np.minimum, np.inf),
        "MAX": (np.maximum, -np.inf),
    }[aggregate]
    of_tree = _target_of_tree(forest, targets)
    if of_tree is None:
        check_size((targets, forest.leaves), operator)
        places = forest.targets * forest.leaves + forest.voters
        weights = _put_together(add, fill, places, forest.weights, targets * forest.leaves)
        return roots, weights.reshape(targets, forest.leaves), 0
    counts = np.bincount(of_tree, minlength=targets)
    many = int(counts.max(initial=0))
    check_size((targets, many), operator)
    weights = _put_together(add, fill, forest.voters, forest.weights, forest.leaves)
    order = np.argsort(of_tree, kind="stable")
    if (counts == many).all():
        return roots[order], weights, targets
    within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    filled = np.zeros((targets, many), np.int64)
    filled[of_tree[order], within] = roots[order]
    return filled.reshape(-1), weights, targets


def _put_together(join: np.ufunc, fill: float, places: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """Return the combined numbers of each place, of `count` places, computed in float64 and rounded once."""
    if join is np.add:
        return np.bincount(places, numbers, count).astype(numbers.dtype)
    found = np.full(count, fill, np.float64)
    join.at(found, places, numbers)
    return found.astype(numbers.dtype)


def parts(weights: np.ndarray, added: int) -> np.ndarray:
    """Return weights as one part, or as two parts whose sum they are: shape (parts, *weights.shape).

    Sums of `added` numbers of the first part are exact, whatever their order, and of what is left next to nothing is
    lost. So every library finds the same sums, and a tie of classes is one on all of them.
    """
    largest = np.abs(weights).max(initial=0.0)
    if not added or not 0 < largest < np.inf:
        return weights[None]
    # Multiples of a step that keep below 2^digits steps, their rounding included.
    info = np.finfo(weights.dtype)
    step = weights.dtype.type(2.0 ** max(math.frexp(added * float(largest))[1] - info.nmant, info.minexp))
    first = np.round(weights / step) * step
    return np.stack((first, weights - first)) if (first != weights).any() else weights[None]


def _target_of_tree(forest: Forest, targets: int) -> np.ndarray | None:
    """Return the one target of each tree, or None where a tree has several or evening out would cost too much."""
    trees = len(forest.roots)
    if targets == 1:
        return np.zeros(trees, np.int64)
    leaf_tree = np.full(forest.leaves, -1, np.int64)
    tree, here = np.arange(trees), forest.roots
    while len(here):
        ends = here < 0
        # A leaf of TreeEnsemble may have two.
        known = leaf_tree[-1 - here[ends]]
        if ((known >= 0) & (known != tree[ends])).any():
            return None
        leaf_tree[-1 - here[ends]] = tree[ends]
        tree, inner = tree[~ends], here[~ends]
        here, first = np.unique(np.concatenate([forest.yes[inner], forest.no[inner]]), return_index=True)
        tree = np.concatenate([tree, tree])[first]  # a node has one tree, so none is lost
    of_tree = np.full(trees, -1, np.int64)
    voting = leaf_tree[forest.voters]
    seen = voting >= 0
    of_tree[voting[seen]] = forest.targets[seen]
    if (of_tree[voting[seen]] != forest.targets[seen]).any():
        return None
    of_tree[of_tree < 0] = 0
    many = np.bincount(of_tree, minlength=targets).max(initial=0)
    return of_tree if many * targets <= 2 * trees + 16 else None


def from_lists(nodes: dict[str, Any], votes: dict[str, Any], operator: str) -> Forest:
    """Return the forest of TreeEnsembleClassifier or TreeEnsembleRegressor by its attributes without their prefixes."""
    treeids = table(nodes["treeids"], "int64")
    count = treeids.shape[0]

    def ints(name: str) -> np.ndarray:
        return table(nodes[name], "int64", count, f"nodes_{name} of {operator}")

    modes = list(nodes["modes"] or ())
    if len(modes) != count or not count:
        raise DataError(f"{operator} has {len(modes)} modes for {count} nodes")
    known = {name: i for i, name in enumerate(MODES)} | {"LEAF": -1}
    unknown = {mode[:40] for mode in modes} - known.keys()
    if unknown:
        raise DataError(f"{operator} has a mode {min(unknown)!r}; known: {', '.join(known)}")
    mode = np.asarray([known[name] for name in modes], np.int64)
    leaf = mode < 0
    inner = np.flatnonzero(~leaf)
    # Nodes by tree and number: trees and numbers by their ranks, so that no product overflows.
    nodeids, yes, no = ints("nodeids"), ints("truenodeids"), ints("falsenodeids")
    voter_trees = table(votes["treeids"], "int64")
    voter_nodes = table(votes["nodeids"], "int64", len(voter_trees), f"nodeids of votes of {operator}")
    trees, tree = np.unique(treeids, return_inverse=True)
    names = np.unique(nodeids)

    def keys(tree: np.ndarray, number: np.ndarray) -> np.ndarray:
        place = np.minimum(np.searchsorted(names, number), len(names) - 1)
        return np.where(names[place] == number, tree * len(names) + place, -1)

    own = keys(tree, nodeids)
    order = np.argsort(own, kind="stable")
    in_order = own[order]
    if (np.diff(in_order) == 0).any():
        raise DataError(f"{operator} has two nodes of one number in a tree")

    def find(key: np.ndarray) -> np.ndarray:
        place = order[np.minimum(np.searchsorted(in_order, key), count - 1)]
        if (own[place] != key).any():
            raise DataError(f"{operator} has a branch or a vote of a node that is not there")
        return place

    link = np.where(leaf, -2 - (np.cumsum(leaf) - 1), np.cumsum(~leaf) - 1)  # leaf 0 stays empty
    missing = nodes.get("missing_value_tracks_true")
    no_missing = missing is None or not len(missing)
    tracks = np.zeros(count, bool) if no_missing else table(missing, "int64", count, "missing of " + operator) != 0
    value = _floats(nodes, "values", count, operator)
    kind, to_yes, to_no, tracks_yes = comparisons(
        mode[inner],
        link[find(keys(tree[inner], yes[inner]))],
        link[find(keys(tree[inner], no[inner]))],
        tracks[inner],
    )
    place = np.minimum(np.searchsorted(trees, voter_trees), len(trees) - 1)
    voters = find(np.where(trees[place] == voter_trees, keys(place, voter_nodes), -1))
    at_leaf = leaf[voters]  # some exporters give inner nodes weights, which no walk ends at
    return Forest(
        feature=ints("featureids")[inner],
        value=value[inner],
        kind=kind,
        missing=tracks_yes,
        yes=to_yes,
        no=to_no,
        roots=link[np.unique(tree, return_index=True)[1]],  # the first of each tree
        leaves=int(leaf.sum()) + 1,
        voters=-1 - link[voters[at_leaf]],
        targets=table(votes["ids"], "int64", len(voters), f"targets of {operator}")[at_leaf],
        # The scores are float32, whatever the type of the weights.
        weights=_floats(votes, "weights", len(voters), operator)[at_leaf].astype(np.float32),
    )


def _floats(found: dict[str, Any], name: str, count: int, operator: str) -> np.ndarray:
    """Return an attribute of float32, or of float64 where it is given as a tensor."""
    tensor = found.get(f"{name}_as_tensor")
    if tensor is not None and np.size(tensor):
        return table(tensor, "float64" if np.asarray(tensor).dtype == np.float64 else "float32", count, name)
    return table(found[name], "float32", count, f"{name} of {operator}")


def members(forest: Forest, sets: list[tuple[int, np.ndarray]]) -> Forest:
    """Return a forest in which nodes that ask for membership are searches in sorted numbers: LEQ, and EQ at the end."""
    columns: dict[str, list[Any]] = {name: [] for name in ("feature", "value", "kind", "missing", "yes", "no")}
    changed = {name: getattr(forest, name).copy() for name in columns}
    count = len(forest.feature)
    for node, values in sets:
        spans = [(0, len(values))]
        rows: list[tuple[Any, ...]] = []
        for low, high in spans:  # which grows
            if high - low == 1:
                rows.append((values[low], EQ, forest.yes[node], forest.no[node]))
                continue
            middle = (low + high) // 2
            below = count + len(spans) - 1  # the first span is the node itself
            rows.append((values[middle - 1], LEQ, below, below + 1))
            spans += [(low, middle), (middle, high)]
        for name, column in zip(("value", "kind", "yes", "no"), zip(*rows, strict=True), strict=True):
            changed[name][node] = column[0]
            columns[name] += column[1:]
        for name in ("feature", "missing"):
            columns[name] += [getattr(forest, name)[node]] * (len(rows) - 1)
        count += len(rows) - 1
    longer: dict[str, Any] = {
        name: np.concatenate([old, np.asarray(columns[name], old.dtype)]) for name, old in changed.items()
    }
    return replace(forest, **longer)
