"""Networks as estimators of scikit-learn: its own checks, its tools, and the names of classes."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import libraries, needs, usable

import anyback as ab
from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.layers import Conv, Flatten, Linear, Sequential
from anyback.network import Builder, Network, Port, Signature
from anyback.ops import OPS

pytestmark = pytest.mark.sklearn
pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn is not installed")

from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.frozen import FrozenEstimator  # noqa: E402
from sklearn.metrics import accuracy_score  # noqa: E402
from sklearn.model_selection import cross_val_predict, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler  # noqa: E402
from sklearn.utils import estimator_checks  # noqa: E402
from sklearn.utils.validation import check_is_fitted  # noqa: E402

from anyback.sklearn import Classifier, Regressor  # noqa: E402


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng((seed, *shape)).standard_normal(shape) / 2).astype(np.float32)


def sums(x: Array) -> Array:
    """Return three sums of each row: what a network begins with that takes rows of any length."""
    xp = array_namespace(x)
    parts = [xp.sum(f, axis=1, keepdims=True) for f in (xp.tanh(x), xp.cos(x), xp.sin(x))]
    return xp.concat(parts, axis=1)


def of_any_width(outputs: int, last: str) -> Sequential:
    return Sequential(sums, Linear(numbers(3, outputs), numbers(outputs)), last)


# -- scikit-learn's own checks ------------------------------------------------------------------------

_TRAINS = "the check trains it for labels of its own: it is trained already"
_FITTED = "the check wants n_features_in_ before fit to be absent: it is fitted from the start"
_WIDTH = "the network takes rows of any length; one that does not passes below"
_ALL = {"check_n_features_in": _FITTED, "check_n_features_in_after_fitting": _WIDTH}
_CLASSES = {f"check_classifiers_{name}": _TRAINS for name in ("classes", "one_label", "train")}

ESTIMATORS: dict[str, Any] = {
    "softmax": Classifier(of_any_width(4, "softmax")),
    "log_softmax": Classifier(of_any_width(4, "log_softmax")),
    "no softmax": Classifier(of_any_width(4, "identity")),
    "one number": Regressor(of_any_width(1, "identity")),
}
#: The checks that a fitted estimator fails, with the reason; every other check passes.
FAILS = {
    name: _ALL | (_CLASSES if is_classifier(found) else {"check_regressors_train": _TRAINS})
    for name, found in ESTIMATORS.items()
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_checks_of_scikit_learn_pass(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks' own
        found = estimator_checks.check_estimator(ESTIMATORS[name], on_skip=None, on_fail=None)
    failed = {check["check_name"]: str(check["exception"]) for check in found if check["status"] == "failed"}
    assert failed.keys() == FAILS[name].keys(), failed
    assert sum(check["status"] == "passed" for check in found) > 40


@pytest.mark.parametrize("kind", [Classifier, Regressor])
def test_the_check_of_the_length_of_rows_passes(kind: Callable[..., Any]) -> None:
    outputs = 5 if kind is Classifier else 1
    estimator = kind(Sequential(Linear(numbers(4, outputs), numbers(outputs))))
    estimator_checks.check_n_features_in_after_fitting(kind.__name__, estimator)
    assert estimator.n_features_in_ == 4
    assert not hasattr(ESTIMATORS["softmax"], "n_features_in_")


# -- The tools of scikit-learn ------------------------------------------------------------------------

X = np.random.default_rng(1).standard_normal((60, 5))
NET = Sequential(Linear(numbers(5, 3), numbers(3)), "relu", Linear(numbers(3, 3, seed=1), numbers(3)), "softmax")
SHARES = ab.predict(NET, X.astype(np.float32))
Y = SHARES.argmax(axis=1)


@pytest.fixture
def digits() -> tuple[Network, np.ndarray, np.ndarray]:
    test = ab.datasets.digits("test")
    return ab.load_model("digits-mlp", backend="numpy"), test.images.reshape(500, 64), test.labels.astype(int)


def test_a_network_is_a_classifier() -> None:
    estimator = Classifier(NET)
    check_is_fitted(estimator)
    assert (is_classifier(estimator), is_regressor(estimator)) == (True, False)
    assert estimator.classes_.tolist() == [0, 1, 2]
    assert np.array_equal(estimator.predict_proba(X), SHARES)
    assert np.array_equal(estimator.predict_log_proba(X), np.log(SHARES))
    assert np.array_equal(estimator.predict(X), Y)
    assert estimator.score(X, Y) == 1
    assert not hasattr(estimator, "decision_function")
    assert not hasattr(estimator, "feature_names_in_")


def test_a_network_is_a_regressor() -> None:
    estimator = Regressor(Sequential(Linear(numbers(5, 1), numbers(1))))
    expected = X @ numbers(5, 1)[:, 0].astype(np.float64) + numbers(1)
    assert (is_classifier(estimator), is_regressor(estimator)) == (False, True)
    np.testing.assert_allclose(estimator.predict(X), expected, atol=2e-6)
    assert estimator.score(X, expected) > 0.999999
    several = Regressor(Sequential(Linear(numbers(5, 2))))
    assert several.predict(X).shape == (60, 2)
    assert several.fit(X, several.predict(X)).score(X, several.predict(X)) == 1
    assert several.__sklearn_tags__().target_tags.multi_output


def test_clones_and_pickles_are_fitted_and_answer_the_same() -> None:
    for estimator in (Classifier(NET, classes=["a", "b", "c"], batch_size=7), Regressor(NET)):
        for copy in (clone(estimator), pickle.loads(pickle.dumps(estimator)), clone(clone(estimator)).fit(X)):
            check_is_fitted(copy)
            assert np.array_equal(copy.predict(X), estimator.predict(X))
            assert copy.get_params().keys() == estimator.get_params().keys()
        assert estimator.set_params(batch_size=3).batch_size == 3


def test_the_last_step_of_a_pipeline(digits: tuple[Network, np.ndarray, np.ndarray]) -> None:
    net, rows, labels = digits
    scaled = make_pipeline(FunctionTransformer(lambda x: x / 16), Classifier(net))
    assert scaled.fit(rows, labels).score(rows, labels) == ab.evaluate(net, rows, labels).accuracy
    assert np.array_equal(scaled.predict_proba(rows), ab.predict(net, (rows / 16).astype(np.float32)))
    pipeline = make_pipeline(StandardScaler(), Classifier(NET)).fit(X, Y)
    assert np.array_equal(pipeline.predict_proba(X), ab.predict(NET, StandardScaler().fit_transform(X).astype("f4")))
    assert make_pipeline(MinMaxScaler(), Regressor(NET)).fit(X).predict(X).shape == (60, 3)


def test_cross_validation_asks_the_network(digits: tuple[Network, np.ndarray, np.ndarray]) -> None:
    net, rows, labels = digits
    estimator = Classifier(net)
    assert np.array_equal(cross_val_predict(estimator, rows, labels, cv=5), estimator.predict(rows))
    shares = cross_val_predict(estimator, rows, labels, cv=5, method="predict_proba")
    assert np.array_equal(shares, estimator.predict_proba(rows))
    assert abs(cross_val_score(estimator, rows, labels, cv=5).mean() - estimator.score(rows, labels)) < 1e-12
    frozen = FrozenEstimator(estimator)
    assert np.array_equal(cross_val_predict(frozen, rows, labels, cv=3), estimator.predict(rows))


@pytest.mark.parametrize("last", ["softmax", "identity"])
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_a_frozen_network_is_calibrated(last: str, method: str) -> None:
    net = Sequential(*NET[:3], last)
    labels = np.where(np.arange(60) % 7 == 0, (Y + 1) % 3, Y)
    found = CalibratedClassifierCV(FrozenEstimator(Classifier(net, classes=["c", "a", "b"])), method=method)
    found.fit(X, np.asarray(["c", "a", "b"])[labels])
    assert found.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(found.predict_proba(X).sum(axis=1), 1, atol=1e-6)
    assert accuracy_score(np.asarray(["c", "a", "b"])[labels], found.predict(X)) > 0.7


def test_frames_of_pandas() -> None:
    needs("pandas")
    import pandas

    frame = pandas.DataFrame(X, columns=list("abcde"))
    labels = pandas.Series(np.asarray(["x", "y", "z"])[Y])
    estimator = Classifier(NET, classes=["x", "y", "z"])
    assert np.array_equal(estimator.fit(frame, labels).predict_proba(frame), SHARES)
    assert make_pipeline(StandardScaler(), estimator).fit(frame, labels).predict(frame).shape == (60,)
    assert estimator.score(frame, labels) == 1
    assert np.array_equal(Regressor(NET).fit(frame, SHARES).predict(frame), SHARES)


# -- What the outputs stand for -----------------------------------------------------------------------


def test_classes_are_those_of_the_network_in_the_order_of_scikit_learn() -> None:
    into = Builder()
    value = into.call(OPS["softmax"], into.call(OPS["linear"], 0, into.array(numbers(5, 3))))
    arrays, calls, inputs, outputs = into.fields([value], (((5,),),))
    signature = Signature((Port("x", "float32", ("n", 5)),), ("y",))
    net = Network(arrays, calls, inputs, outputs, signature, ("dog", "cat", "ant"))
    shares = ab.predict(net, X.astype(np.float32))
    estimator = Classifier(net)
    assert estimator.classes_.tolist() == ["ant", "cat", "dog"]
    assert np.array_equal(estimator.predict_proba(X), shares[:, [2, 1, 0]])
    assert np.array_equal(estimator.predict(X), np.asarray(["dog", "cat", "ant"])[shares.argmax(axis=1)])
    assert Classifier(net, classes=[3, 1, 2]).classes_.tolist() == [1, 2, 3]
    again = cross_val_predict(estimator, X, estimator.predict(X), cv=2, method="predict_proba")
    assert np.array_equal(again, estimator.predict_proba(X))


def test_one_sigmoid_is_two_classes() -> None:
    net = Sequential(Linear(numbers(5, 1)), "sigmoid")
    y = ab.predict(net, X.astype(np.float32))[:, 0]
    estimator = Classifier(net, classes=["yes", "no"])  # 0 is yes
    assert estimator.classes_.tolist() == ["no", "yes"]
    assert np.array_equal(estimator.predict(X), np.where(y > 0.5, "no", "yes"))
    assert np.array_equal(estimator.predict_proba(X), np.stack([y, 1 - y], axis=1))


def test_two_plain_outputs_are_one_decision() -> None:
    net = Sequential(Linear(numbers(5, 2)))
    y = ab.predict(net, X.astype(np.float32))
    estimator = Classifier(net)
    assert np.array_equal(estimator.decision_function(X), y[:, 1] - y[:, 0])
    assert np.array_equal(estimator.predict(X), (y[:, 1] > y[:, 0]).astype(int))
    assert not hasattr(estimator, "predict_proba")


def test_several_sigmoids_are_several_labels() -> None:
    net = Sequential(Linear(numbers(5, 3)), "sigmoid")
    y = ab.predict(net, X.astype(np.float32))
    estimator = Classifier(net)
    assert np.array_equal(estimator.predict(X), (y > 0.5).astype(int))
    assert np.array_equal(estimator.predict_proba(X), y)
    assert estimator.fit(X, (y > 0.5).astype(int)).score(X, (y > 0.5).astype(int)) == 1
    assert estimator.__sklearn_tags__().classifier_tags.multi_label


def test_a_logarithm_of_shares_becomes_shares() -> None:
    estimator = Classifier(Sequential(*NET[:3], "log_softmax"))
    np.testing.assert_allclose(estimator.predict_proba(X), SHARES, rtol=2e-6)


def test_rows_become_images_and_integers_are_pixels(digits: tuple[Network, np.ndarray, np.ndarray]) -> None:
    net, rows, _ = digits
    estimator = Classifier(net)
    assert estimator.n_features_in_ == 64
    for given in (rows, rows.astype(np.int64), rows.reshape(500, 8, 8), rows / 16, (rows / 16).tolist()):
        assert np.array_equal(estimator.predict(given), ab.predict(net, rows).argmax(axis=1))
    images = Sequential(Conv(numbers(2, 1, 3, 3)), Flatten(), Linear(numbers(72, 10)))
    assert not hasattr(Classifier(images), "n_features_in_")  # images of any size
    folded = Sequential(Flatten((1, 8, 8)), Linear(numbers(64, 10)))
    assert Classifier(folded).predict(rows).shape == (500,)


@pytest.mark.parametrize("name", libraries("jax", "torch", "dask", "array_api_strict"))
def test_the_network_of_any_library(name: str) -> None:
    usable(name)
    estimator = Classifier(NET.to(name))
    assert isinstance(estimator.predict(X), np.ndarray)
    np.testing.assert_allclose(estimator.predict_proba(X), SHARES, atol=2e-6)
    for dtype in ("float16", "bfloat16"):
        if name in ("jax", "torch"):
            assert clone(Classifier(NET.to(name, dtype=dtype))).predict_proba(X).dtype == np.float32


# -- What is refused ----------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "labels of other networks": (
        lambda: Classifier(NET).fit(X, Y + 5),
        "y: the network was not trained for 6; it knows 0, 1, 2. A trained network is not trained further by fit; pass",
    ),
    "no network": (lambda: Classifier("digits-mlp").predict(X), "expected a network, found str; load one with"),
    "numbers": (lambda: Classifier(Sequential(Linear(numbers(5, 1)))).predict(X), "stand for no (labels|classes)"),
    "numbers, fitted": (lambda: Classifier(Sequential(Linear(numbers(5, 1)))).fit(X, Y), "make it a Regressor"),
    "too few classes": (lambda: Classifier(NET, classes=["a"]).classes_, "expected 3 that differ, .* found 1"),
    "a class twice": (lambda: Classifier(NET, classes=list("aab")).classes_, "expected 3 that differ"),
    "mixed classes": (lambda: Classifier(NET, classes=["a", 1, 2]).classes_, "expected texts, or numbers"),
    "other rows": (
        lambda: Classifier(NET).predict(X[:, :4]),
        "X has 4 features, but Classifier is expecting 5 features",
    ),
    "nan": (lambda: Classifier(NET).predict(X * np.nan), "Input X contains NaN"),
    "too large for the type": (lambda: Classifier(NET).predict(X * 1e300), "Input X contains infinity"),
    "an output of nan": (
        lambda: Regressor(Sequential(Linear(numbers(5, 1) * np.float32(1e38)))).predict(X * 1e3),
        "the network gives nan or infinite numbers",
    ),
    "other targets": (lambda: Regressor(NET).fit(X, Y), "y: the network gives 3 numbers for a row, found 1"),
    "fewer labels": (lambda: Classifier(NET).fit(X, Y[:5]), "inconsistent numbers of samples"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_refused(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises((ab.AnybackError, ValueError), match=message):
        call()
