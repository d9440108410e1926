"""Operators of ai.onnx.ml but trees, against loops over single numbers in float64."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from conftest import Library
from onnx_apply import applied, bound, text

from anyback.errors import AnybackError, BackendError, DataError, ShapeError

X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def close(y: np.ndarray, expected: object, rtol: float = 1e-6, dtype: type = np.float32) -> None:
    assert y.dtype == dtype
    np.testing.assert_allclose(y, np.asarray(expected, np.float64), rtol=rtol, atol=rtol)


def test_scaler(lib: Library) -> None:
    given = {"offset": [1.0, -2.0, 0.5], "scale": [2.0, 0.5, -1.0]}
    close(applied("Scaler", X, lib=lib, **given), (X.astype(float) - given["offset"]) * given["scale"])
    integers = np.arange(6).reshape(2, 3)
    close(applied("Scaler", integers, lib=lib, offset=[1.0], scale=[0.5]), (integers - 1) * 0.5)


def test_scaler_subtracts_before_it_rounds() -> None:
    close(applied("Scaler", np.asarray([[1e9 + 1.5]]), offset=[1e9], scale=[2.0]), [[3.0]])


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizer(lib: Library, norm: str) -> None:
    x = np.concatenate([X, np.zeros((1, 3), np.float32), np.full((1, 3), 2e30, np.float32)])
    expected = []
    for row in x.astype(float):
        divisor = {"MAX": max(row), "L1": sum(abs(row)), "L2": math.sqrt(sum(row**2))}[norm]
        expected.append(row / divisor if divisor else row)
    close(applied("Normalizer", x, lib=lib, norm=norm), expected)


@pytest.mark.parametrize("replaced", [float("nan"), 3.0])
def test_imputer(lib: Library, replaced: float) -> None:
    x = np.asarray([[1, replaced], [replaced, 4]], np.float32)
    given = {"replaced_value_float": replaced, "imputed_value_floats": [7.0, 8.0]}
    close(applied("Imputer", x, lib=lib, **given), [[1, 8], [7, 4]])
    integers = np.asarray([[1, 3], [3, 4]])
    y = applied("Imputer", integers, lib=lib, replaced_value_int64=3, imputed_value_int64s=[9])
    np.testing.assert_array_equal(y, [[1, 9], [9, 4]])
    with pytest.raises(ShapeError, match="2"):
        applied("Imputer", X, lib=lib, **given)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
@pytest.mark.parametrize("threshold", [-1.5, 0.0, 0.5, 1.0, 1e30, -1e30, math.inf, -math.inf, math.nan])
def test_binarizer(lib: Library, dtype: str, threshold: float) -> None:
    x = np.asarray([-3, -2, -1, 0, 1, 2]).astype(dtype)
    y = applied("Binarizer", x, lib=lib, threshold=threshold)
    assert y.tolist() == [int(v > threshold) for v in x.tolist()]


def test_array_feature_extractor(lib: Library) -> None:
    y = np.asarray([[2, 0]])
    np.testing.assert_array_equal(applied("ArrayFeatureExtractor", X, y, lib=lib), X[:, [2, 0]])
    np.testing.assert_array_equal(applied("ArrayFeatureExtractor", X[0], y, lib=lib), X[:1, [2, 0]])
    if "device1" not in lib.id:
        names = applied("ArrayFeatureExtractor", text("a", "b", "c"), np.asarray(1), lib=lib)
        assert names.tolist() == [["b"]]


@pytest.mark.jax
def test_strings_are_not_picked_by_numbers_that_are_traced() -> None:
    import jax

    pick = jax.jit(lambda y: applied("ArrayFeatureExtractor", text("a", "b"), y))
    with pytest.raises(BackendError, match="strings, which cannot be traced; select the scores alone"):
        pick(np.asarray(1))


def test_feature_vectorizer(lib: Library) -> None:
    y = applied("FeatureVectorizer", X, np.arange(14).reshape(7, 2), lib=lib, inputdimensions=[2, 4])
    close(y, np.concatenate([X[:, :2], np.arange(14).reshape(7, 2), np.zeros((7, 2))], axis=1))


def test_one_hot_encoder(lib: Library) -> None:
    close(
        applied("OneHotEncoder", np.asarray([[5.0, 7.0]], np.float32), lib=lib, cats_int64s=[7, 5]), [[[0, 1], [1, 0]]]
    )
    close(applied("OneHotEncoder", text("b", "x"), lib=lib, cats_strings=["a", "b"]), [[0, 1], [0, 0]])
    with pytest.raises(DataError, match="none of its categories"):
        applied("OneHotEncoder", text("b", "x"), lib=lib, cats_strings=["a", "b"], zeros=0)


def test_zip_map_leaves_the_scores() -> None:
    assert applied("ZipMap", X, classlabels_int64s=[1, 2, 3]) is X


# -- Looking up ---------------------------------------------------------------------------------------


def test_numbers_are_looked_up_on_every_library(lib: Library) -> None:
    x = np.asarray([[3.0, -1.0], [np.nan, 0.0]], np.float32)
    given = {"keys_floats": [3.0, np.nan, 0.0, 3.0], "values_int64s": [1, 2, 3, 4], "default_int64": -9}
    assert applied("LabelEncoder", x, lib=lib, **given).tolist() == [[4, -9], [2, 3]]  # the last of equal keys
    given = {"keys_int64s": [4, 2], "values_floats": [0.5, 0.25]}
    assert applied("LabelEncoder", np.asarray([2, 4, 5]), lib=lib, **given, version=2).tolist() == [0.25, 0.5, -0.0]
    only_nan = {"keys_floats": [np.nan], "values_floats": [1.0], "default_float": 2.0}
    assert applied("LabelEncoder", x, lib=lib, **only_nan).tolist() == [[2, 2], [1, 2]]


def test_strings_are_looked_up_on_the_host() -> None:
    pairs = {"keys_strings": ["a", "b"], "values_int64s": [5, 6]}
    y = applied("LabelEncoder", text("b", "c", "a", "b", shape=(2, 2)), **pairs)
    assert y.dtype == np.int64
    assert y.tolist() == [[6, -1], [5, 6]]
    back = {"keys_tensor": np.asarray([5, 6], np.int16), "values_strings": ["a", "b"]}
    assert applied("LabelEncoder", np.asarray([6, 7], np.int16), **back).tolist() == ["b", "_Unused"]
    both = {"keys_strings": ["a"], "values_strings": ["z"], "default_string": "?"}
    assert applied("LabelEncoder", text("a", "b"), **both).tolist() == ["z", "?"]
    tensors = {"keys_tensor": text("a"), "values_tensor": np.asarray([2.5]), "default_tensor": np.asarray([7.0])}
    y = applied("LabelEncoder", text("a", "b"), **tensors)
    assert y.dtype == np.float64
    assert y.tolist() == [2.5, 7.0]


def test_the_first_version_goes_either_way() -> None:
    classes = {"classes_strings": ["a", "b"], "version": 1}
    assert applied("LabelEncoder", text("b", "c"), **classes).tolist() == [1, -1]
    assert applied("LabelEncoder", np.asarray([1, 5]), **classes).tolist() == ["b", "_Unused"]
    cats = {"cats_int64s": [10, 20], "cats_strings": ["a", "b"]}
    assert applied("CategoryMapper", text("b", "c"), **cats).tolist() == [20, -1]
    assert applied("CategoryMapper", np.asarray([20, 5]), **cats).tolist() == ["b", "_Unused"]


@pytest.mark.parametrize(
    "given",
    [
        {"keys_int64s": [1], "values_int64s": [1, 2]},
        {"keys_int64s": [1], "keys_strings": ["a"], "values_int64s": [1]},
        {"keys_int64s": [1]},
    ],
)
def test_a_table_that_is_none_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="LabelEncoder has"):
        bound("LabelEncoder", np.asarray([1]), **given)


# -- Linear models ------------------------------------------------------------------------------------


def softmax(row: np.ndarray) -> np.ndarray:
    return np.exp(row - row.max()) / np.exp(row - row.max()).sum()


def test_linear_models(lib: Library) -> None:
    weight, bias = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32), [0.1, 0.2, 0.3, 0.4]
    scores = X.astype(float) @ weight.T.astype(float) + bias
    given = {"coefficients": weight.reshape(-1).tolist(), "intercepts": bias}
    close(applied("LinearRegressor", X, lib=lib, targets=4, **given), scores, 1e-5)
    labels = {"classlabels_ints": [8, 6, 4, 2], "post_transform": "SOFTMAX"}
    y, z = applied("LinearClassifier", X, lib=lib, outputs=2, **given, **labels)
    assert y.tolist() == [[8, 6, 4, 2][i] for i in scores.argmax(axis=1)]
    close(z, [softmax(row) for row in scores], 1e-5)


@pytest.mark.parametrize(("post", "second"), [("NONE", lambda s: s), ("LOGISTIC", lambda s: 1 / (1 + math.exp(-s)))])
def test_one_score_of_two_classes_becomes_two(post: str, second: Any) -> None:
    given = {"coefficients": [1.0, 0.0, 0.0], "intercepts": [0.0], "classlabels_ints": [3, 4], "outputs": 2}
    y, z = applied("LinearClassifier", X, post_transform=post, **given)
    assert y.tolist() == [4 if v > 0 else 3 for v in X[:, 0]]
    close(z, [[1 - second(v), second(v)] for v in X[:, 0].astype(float)])


# -- Support vectors ----------------------------------------------------------------------------------

PARAMETERS = {"LINEAR": (0, 0, 0), "POLY": (0.5, 1.0, 3), "RBF": (0.4, 0, 0), "SIGMOID": (0.3, 0.2, 0)}


def kernel_of(name: str, a: np.ndarray, b: np.ndarray) -> float:
    gamma, coef0, degree = map(np.float32, PARAMETERS[name])
    return {
        "LINEAR": lambda: a @ b,
        "POLY": lambda: (gamma * (a @ b) + coef0) ** int(degree),
        "RBF": lambda: np.exp(-gamma * ((a - b) ** 2).sum()),
        "SIGMOID": lambda: np.tanh(gamma * (a @ b) + coef0),
    }[name]()


def machine(name: str, counts: tuple[int, ...], seed: int = 3) -> dict[str, Any]:
    rng, k, n = np.random.default_rng(seed), len(counts), sum(counts)
    f32 = lambda *shape: rng.normal(size=shape).astype(np.float32).reshape(-1).tolist()  # noqa: E731
    return {
        "kernel_type": name,
        "kernel_params": list(map(float, PARAMETERS[name])),
        "support_vectors": f32(n, 3),
        "coefficients": f32(k - 1, n),
        "vectors_per_class": list(counts),
        "rho": f32(k * (k - 1) // 2),
        "classlabels_ints": [10 * (i + 1) for i in range(k)],
    }


def decisions(given: dict[str, Any], row: np.ndarray) -> dict[tuple[int, int], float]:
    """Return the score of each pair of classes, as libsvm's svm_predict_values has them."""
    counts = given["vectors_per_class"]
    n, k = sum(counts), len(counts)
    vectors = np.asarray(given["support_vectors"]).reshape(n, -1)
    weights = np.asarray(given["coefficients"]).reshape(k - 1, n)
    kernels = np.asarray([kernel_of(given["kernel_type"], row, v) for v in vectors])
    starts = np.cumsum([0, *counts])
    found = {}
    for number, (i, j) in enumerate(itertools.combinations(range(k), 2)):
        of_i, of_j = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
        found[i, j] = weights[j - 1, of_i] @ kernels[of_i] + weights[i, of_j] @ kernels[of_j] + given["rho"][number]
    return found


@pytest.mark.parametrize("name", PARAMETERS)
def test_votes_of_one_class_against_another(lib: Library, name: str) -> None:
    given = machine(name, (3, 1, 4))
    y, z = applied("SVMClassifier", X, lib=lib, outputs=2, **given)
    expected = [decisions(given, row) for row in X.astype(float)]
    close(z, [list(found.values()) for found in expected], 2e-5)
    for label, found in zip(y, expected, strict=True):
        votes = [sum(k == (i if s > 0 else j) for (i, j), s in found.items()) for k in range(3)]
        assert label == 10 * (votes.index(max(votes)) + 1)


def coupled(r: np.ndarray) -> np.ndarray:
    """Return the probabilities of classes by those of pairs, by the loops of the paper's algorithm 2."""
    k = len(r)
    q = np.zeros((k, k))
    for t, j in itertools.product(range(k), repeat=2):
        q[t, j] = sum(r[s, t] ** 2 for s in range(k) if s != t) if t == j else -r[j, t] * r[t, j]
    p = np.full(k, 1 / k)
    for _ in range(100):
        qp = q @ p
        if abs(qp - p @ qp).max() < 0.005 / k:
            break
        for t in range(k):
            p[t] += (p @ q @ p - q[t] @ p) / q[t, t]
            p /= p.sum()
    return p


@pytest.mark.parametrize("counts", [(2, 3), (3, 1, 4), (2, 2, 2, 2, 2)], ids=len)
def test_probabilities_are_coupled_as_libsvm_does(lib: Library, counts: tuple[int, ...]) -> None:
    given = machine("RBF", counts)
    pairs = list(itertools.combinations(range(len(counts)), 2))
    rng = np.random.default_rng(4)
    given |= {"prob_a": (-2 - rng.random(len(pairs))).tolist(), "prob_b": rng.normal(size=len(pairs)).tolist()}
    _, z = applied("SVMClassifier", X, lib=lib, outputs=2, **given)
    for row, got in zip(X.astype(float), z, strict=True):
        found = decisions(given, row)
        r = np.zeros((len(counts), len(counts)))
        for number, (i, j) in enumerate(pairs):
            p = 1 / (1 + math.exp(found[i, j] * given["prob_a"][number] + given["prob_b"][number]))
            r[i, j] = min(max(p, 1e-7), 1 - 1e-7)
            r[j, i] = 1 - r[i, j]
        np.testing.assert_allclose(got, coupled(r), rtol=0, atol=1e-5)


def test_two_classes_without_probabilities_and_a_linear_machine() -> None:
    given = machine("POLY", (2, 3))
    y, z = applied("SVMClassifier", X, outputs=2, **given)
    s = np.asarray([decisions(given, row)[0, 1] for row in X.astype(float)])
    close(z, np.stack([-s, s], axis=1), 1e-5)
    assert y.tolist() == [10 if v > 0 else 20 for v in s]
    linear = {"coefficients": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "rho": [0.5], "classlabels_ints": [1, 2]}
    y, z = applied("SVMClassifier", X, outputs=2, **linear)
    close(z, X[:, :2] + 0.5)
    assert y.tolist() == (1 + X[:, :2].argmax(axis=1)).tolist()


@pytest.mark.parametrize("name", PARAMETERS)
def test_regression_and_one_class(lib: Library, name: str) -> None:
    given = machine(name, (3, 2))
    given = {key: given[key] for key in ("kernel_type", "kernel_params", "support_vectors", "coefficients")}
    vectors = np.asarray(given["support_vectors"]).reshape(5, 3)
    expected = []
    for row in X.astype(float):
        kernels = [kernel_of(name, row, v) for v in vectors]
        expected.append([np.dot(given["coefficients"], kernels) + 0.25])
    close(applied("SVMRegressor", X, lib=lib, n_supports=5, rho=[0.25], **given), expected, 2e-5)
    y = applied("SVMRegressor", X, lib=lib, n_supports=5, rho=[0.25], one_class=1, **given)
    np.testing.assert_array_equal(y, np.where(np.asarray(expected) > 0, 1, -1))


@pytest.mark.parametrize(
    "changes",
    [
        {"rho": [0.0]},
        {"coefficients": [1.0]},
        {"kernel_type": "COSINE"},
        {"kernel_params": [1.0]},
        {"support_vectors": [1.0]},
        {"vectors_per_class": [1, 2]},
        {"vectors_per_class": [-1, 5, 4]},
        {"classlabels_ints": []},
        {"prob_a": [1.0, 1.0, 1.0]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_machine_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="SVMClassifier"):
        bound("SVMClassifier", X, **(machine("RBF", (3, 1, 4)) | changes))


@pytest.mark.jax
def test_probabilities_have_a_gradient_under_jit() -> None:
    jax = pytest.importorskip("jax")
    given = machine("RBF", (3, 1, 4)) | {"prob_a": [-2.0, -1.0, -3.0], "prob_b": [0.0, 0.1, 0.2]}
    compute, (_, *arrays), rest = bound("SVMClassifier", X, outputs=2, wanted=(False, True), **given)
    tables = [None if a is None else jax.numpy.asarray(a) for a in arrays]
    first = jax.jit(lambda x: compute(x, *tables, **rest)[1][0, 0])
    slope = np.asarray(jax.grad(first)(X))
    step = np.zeros_like(X)
    step[0, 1] = 1e-2
    assert slope[0, 1] == pytest.approx(float(first(X + step) - first(X - step)) / 2e-2, abs=2e-3)
    assert not slope[1:].any()


def test_errors_are_of_our_own_type() -> None:
    for name, given in {"Imputer": {}, "OneHotEncoder": {}, "LinearClassifier": {"coefficients": [1.0]}}.items():
        with pytest.raises(AnybackError):
            bound(name, X, **given)
