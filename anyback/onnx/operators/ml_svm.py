"""Support vector machines."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import array_api_compat
import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace, backend_of
from anyback.errors import DataError
from anyback.onnx._operator import Floats, Ints, Prepared, Strings, operator, several
from anyback.onnx._scores import as_rows, class_labels, labelled, pair, table, transformed
from anyback.onnx._types import check_size
from anyback.ops import OPS

__all__ = ["SVMClassifier", "SVMRegressor"]

_ML = "ai.onnx.ml"
_Prepared = tuple[dict[str, np.ndarray], dict[str, Any]]
_sigmoid = OPS["sigmoid"].formula


def _kernel_of(kernel_type: str, kernel_params: Any, vectors: Any, count: int, name: str) -> _Prepared:
    """Return the support vectors, shape (features, vectors), and the parameters of the kernel."""
    found = table(vectors, "float32")
    if found.shape[0] % count:
        raise DataError(f"{name} has {found.shape[0]} numbers of {count} support vectors")
    if kernel_type not in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        raise DataError(f"{name} has kernel_type {kernel_type[:40]!r}; expected LINEAR, POLY, RBF or SIGMOID")
    given = (0, 0, 0) if kernel_params is None or not len(kernel_params) else kernel_params
    gamma, coef0, degree = table(given, "float32", 3, f"kernel_params of {name}").tolist()
    rest = {"kernel_type": kernel_type, "gamma": gamma, "coef0": coef0, "degree": degree}
    found = found.reshape(count, -1)
    if kernel_type != "RBF":
        return {"vectors": np.ascontiguousarray(found.T)}, rest
    # Distances do not change when all is moved by the centre; squares of what is near 0 cancel less.
    centre = found.mean(axis=0, dtype=np.float64).astype(np.float32)
    moved = found.astype(np.float64) - centre
    arrays = {"vectors": np.ascontiguousarray(moved.T), "centre": centre, "squares": np.square(moved).sum(axis=1)}
    return {name: array.astype(np.float32) for name, array in arrays.items()}, rest


def _kernels(
    x: Array,
    vectors: Array,
    centre: Array | None,
    squares: Array | None,
    kernel_type: str,
    gamma: float,
    coef0: float,
    degree: float,
) -> Array:
    """Return the kernel of every row with every support vector."""
    xp = array_namespace(x, vectors)
    if kernel_type == "LINEAR":
        return xp.matmul(x, vectors)
    if centre is not None and squares is not None:
        x = x - centre
        distance = xp.sum(xp.square(x), axis=1, keepdims=True) + squares - 2 * xp.matmul(x, vectors)
        return xp.exp(-gamma * xp.where(distance > 0, distance, xp.zeros_like(distance)))
    y = gamma * xp.matmul(x, vectors) + coef0
    if kernel_type == "SIGMOID":
        return xp.tanh(y)
    return y ** (int(degree) if degree == int(degree) else degree)


def _widest(x: Array, *arrays: Array | None) -> tuple[Any, ...]:
    """Return rows and arrays in the widest type of the device, as libsvm has them: the sums of kernels cancel."""
    xp = array_namespace(x)
    wide = getattr(xp, backend_of(x).widest_float(x))
    same = [None if a is None else a if a.dtype == wide else xp.astype(a, wide) for a in arrays]
    return as_rows(x, wide), *same


def _classifier(
    *,
    classlabels_ints: Ints | None = None,
    classlabels_strings: Strings | None = None,
    coefficients: Floats | None = None,
    kernel_params: Floats | None = None,
    kernel_type: str = "LINEAR",
    post_transform: str = "NONE",
    prob_a: Floats | None = None,
    prob_b: Floats | None = None,
    rho: Floats | None = None,
    support_vectors: Floats | None = None,
    vectors_per_class: Ints | None = None,
) -> _Prepared:
    name = "SVMClassifier"
    arrays, rest, k = class_labels(classlabels_ints, classlabels_strings, name)
    rest["post_transform"] = post_transform
    counts = table(vectors_per_class, "int64")
    weights = table(coefficients, "float32")
    if not counts.sum():
        shifts = table(rho, "float32")
        if not len(weights) or weights.shape[0] % k or not len(shifts):
            raise DataError(f"{name} has {weights.shape[0]} coefficients for {k} classes, and {len(shifts)} rho")
        arrays |= {"vectors": np.ascontiguousarray(weights.reshape(k, -1).T), "rho": shifts[:1]}
        return arrays, {**rest, "kernel": {"kernel_type": "LINEAR", "gamma": 0.0, "coef0": 0.0, "degree": 0.0}}
    count = int(counts.sum())
    if k < 2 or counts.min() < 0:
        raise DataError(f"{name} has {k} classes of {counts.tolist()[:8]} support vectors")
    pairs = k * (k - 1) // 2
    check_size((count, pairs), name)
    table(counts, "int64", k, f"vectors_per_class of {name}")
    weights = table(weights, "float32", (k - 1) * count, f"coefficients of {name}").reshape(k - 1, count)
    found, kernel = _kernel_of(kernel_type, kernel_params, support_vectors, count, name)
    ends = np.cumsum(counts)
    duel = np.zeros((count, pairs), np.float32)  # the weights of each pair of classes, 0 for vectors of others
    wins = np.zeros((pairs, k), np.float32)  # a vote for the first class of a pair less one for the second
    grid = np.full((k, k), 2 * pairs, np.int64)  # where a pair's probability lies; see `_coupled`
    for number, (i, j) in enumerate(combinations(range(k), 2)):
        of_i, of_j = slice(ends[i] - counts[i], ends[i]), slice(ends[j] - counts[j], ends[j])
        duel[of_i, number], duel[of_j, number] = weights[j - 1, of_i], weights[i, of_j]
        wins[number, i], wins[number, j] = 1, -1
        grid[i, j], grid[j, i] = number, pairs + number
    arrays |= found | {"duel": duel, "wins": wins, "rho": table(rho, "float32", pairs, f"rho of {name}")}
    if prob_a is not None and len(prob_a):
        arrays["slope"] = table(prob_a, "float32", pairs, f"prob_a of {name}")
        arrays["shift"] = table(prob_b, "float32", pairs, f"prob_b of {name}")
        arrays["grid"] = grid.reshape(-1)
    return arrays, {**rest, "kernel": kernel}


@operator(domain=_ML, prepare=_classifier)
def SVMClassifier(
    X: Array,
    vectors: Prepared,
    rho: Prepared,
    duel: Prepared | None = None,
    wins: Prepared | None = None,
    centre: Prepared | None = None,
    squares: Prepared | None = None,
    slope: Prepared | None = None,
    shift: Prepared | None = None,
    grid: Prepared | None = None,
    classes: Prepared | None = None,
    *,
    kernel: dict[str, Any],
    labels: Strings | None = None,
    post_transform: str = "NONE",
    outputs: int = 1,
    wanted: tuple[bool, ...] | None = None,
) -> Array:
    """Return the labels with most votes of one class against another, and scores or probabilities."""
    xp, dtype = array_namespace(X, vectors), vectors.dtype
    x, vectors, centre, squares, duel, wins = _widest(X, vectors, centre, squares, duel, wins)
    scores = _kernels(x, vectors, centre, squares, **kernel)
    scores = (scores if duel is None else xp.matmul(scores, duel)) + rho
    y = z = None
    if wanted is None or wanted[0]:
        votes = scores
        if wins is not None:  # each pair starts at its second class
            votes = xp.matmul(xp.astype(scores > 0, wins.dtype), wins) - xp.sum(
                xp.where(wins < 0, wins, 0 * wins), axis=0
            )
        y = labelled(xp.argmax(votes, axis=1), classes, labels, "SVMClassifier")
    if outputs > 1:
        if grid is not None:
            z = transformed(_coupled(_sigmoid(-(scores * slope + shift)), grid), post_transform)
        elif duel is not None and scores.shape[1] == 1:
            z = pair(scores, post_transform, mirrored=post_transform == "NONE")
        else:
            z = transformed(scores, post_transform)
        z = xp.astype(z, dtype)
    return several((y, z), outputs)


def _coupled(of_pairs: Array, grid: Array) -> Array:
    """Return probabilities of classes by those of each class against each other one, by the iteration of libsvm.

    It stops early, at an error of 0.005 by the number of classes, and its answers are what models were judged by, so
    the exact solution would not do. Algorithm 2 of T.-F. Wu, C.-J. Lin, R. C. Weng, "Probability estimates for
    multi-class classification by pairwise coupling", Journal of Machine Learning Research 5 (2004).
    """
    xp = array_namespace(of_pairs)
    k = round(grid.shape[0] ** 0.5)
    n = of_pairs.shape[0]
    first = xp.clip(of_pairs, 1e-7, 1 - 1e-7)
    nothing = xp.zeros_like(first[:, :1])
    r = xp.reshape(xp.take(xp.concat((first, 1 - first, nothing), axis=1), grid, axis=1), (n, k, k))
    one = xp.eye(k, dtype=r.dtype, device=array_api_compat.device(r))
    across = xp.permute_dims(r, (0, 2, 1))
    q = one * xp.sum(xp.square(r), axis=1)[:, None, :] - across * r  # r is 0 on the diagonal
    diagonal = xp.sum(one * q, axis=-1)

    def sweep(state: tuple[Array, Array]) -> tuple[Array, Array]:
        p, _ = state
        qp = xp.sum(q * p[:, None, :], axis=-1)
        pqp = xp.sum(p * qp, axis=-1, keepdims=True)
        done = xp.max(xp.abs(qp - pqp), axis=-1, keepdims=True) < 0.005 / k
        better = p
        for t in range(k):
            at, slope = diagonal[:, t : t + 1], qp[:, t : t + 1]
            step = (pqp - slope) / at
            pqp = (pqp + step * (step * at + 2 * slope)) / (1 + step) / (1 + step)
            qp = (qp + step * q[:, t, :]) / (1 + step)
            better = (better + step * one[t : t + 1, :]) / (1 + step)
        return xp.where(done, p, better), done

    start = xp.zeros_like(diagonal) + 1 / k
    return backend_of(r).until(sweep, (start, xp.zeros_like(nothing) > 0), max(100, k))[0]


def _regressor(
    *,
    coefficients: Floats | None = None,
    kernel_params: Floats | None = None,
    kernel_type: str = "LINEAR",
    n_supports: int = 0,
    one_class: int = 0,
    post_transform: str = "NONE",
    rho: Floats | None = None,
    support_vectors: Floats | None = None,
) -> _Prepared:
    name = "SVMRegressor"
    weights = table(coefficients, "float32")[:, None]
    arrays = {"rho": table(rho, "float32", 1, f"rho of {name}")}
    rest = {"one_class": bool(one_class), "post_transform": post_transform}
    if n_supports <= 0:
        kernel = {"kernel_type": "LINEAR", "gamma": 0.0, "coef0": 0.0, "degree": 0.0}
        return arrays | {"vectors": weights}, {**rest, "kernel": kernel}
    table(weights, "float32", n_supports, f"coefficients of {name}")
    found, kernel = _kernel_of(kernel_type, kernel_params, support_vectors, n_supports, name)
    return arrays | found | {"weights": weights}, {**rest, "kernel": kernel}


@operator(domain=_ML, prepare=_regressor)
def SVMRegressor(
    X: Array,
    vectors: Prepared,
    rho: Prepared,
    weights: Prepared | None = None,
    centre: Prepared | None = None,
    squares: Prepared | None = None,
    *,
    kernel: dict[str, Any],
    one_class: bool = False,
    post_transform: str = "NONE",
) -> Array:
    """Return the sum of kernels with the support vectors; of one class, 1 for rows inside and -1 for the others."""
    xp, dtype = array_namespace(X, vectors), vectors.dtype
    x, vectors, centre, squares, weights = _widest(X, vectors, centre, squares, weights)
    y = _kernels(x, vectors, centre, squares, **kernel)
    y = (y if weights is None else xp.matmul(y, weights)) + rho
    if one_class:
        return xp.astype(xp.where(y > 0, xp.ones_like(y), -xp.ones_like(y)), dtype)
    return xp.astype(transformed(y, post_transform), dtype)
