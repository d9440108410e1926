"""Models of scikit-learn, as skl2onnx writes them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx_sample import Maker, Sample
from skl2onnx import to_onnx
from sklearn import datasets
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

__all__ = ["MAKERS"]

#: Rows that the estimators answer; they learn from the others.
ASKED = 61


def digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = datasets.load_digits(return_X_y=True)
    return x[:800] / 16, y[:800]


def flowers() -> tuple[np.ndarray, np.ndarray]:
    found = datasets.load_iris()
    order = np.random.default_rng(1).permutation(150)
    return found.data[order], found.target_names[found.target[order]]


def tumours() -> tuple[np.ndarray, np.ndarray]:
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return (x - x.mean(axis=0)) / x.std(axis=0), y


def patients() -> tuple[np.ndarray, np.ndarray]:
    x, y = datasets.load_diabetes(return_X_y=True)
    return 20 * x, y / 100


Data = Callable[[], tuple[np.ndarray, np.ndarray]]

#: Classifier -> what makes it, and what it learns.
CLASSIFIERS: dict[str, tuple[Callable[[], Any], Data]] = {
    "MLPClassifier": (lambda: MLPClassifier(hidden_layer_sizes=(32, 16), max_iter=60, random_state=0), digits),
    "LogisticRegression": (lambda: LogisticRegression(max_iter=300), flowers),
    "LogisticRegression, two classes": (LogisticRegression, tumours),
    "PCA pipeline": (lambda: make_pipeline(StandardScaler(), PCA(12), LogisticRegression(max_iter=300)), digits),
    "KNeighborsClassifier": (lambda: KNeighborsClassifier(5), digits),
    "GaussianNB": (GaussianNB, flowers),
    "RandomForestClassifier": (lambda: RandomForestClassifier(30, random_state=0), digits),
    "GradientBoostingClassifier": (lambda: GradientBoostingClassifier(n_estimators=15, random_state=0), digits),
    "GradientBoostingClassifier, two": (lambda: GradientBoostingClassifier(n_estimators=20, random_state=0), tumours),
    "SVC": (lambda: SVC(random_state=0), digits),
    "SVC with probabilities": (lambda: SVC(probability=True, random_state=0), digits),
    "SVC with probabilities, two": (lambda: SVC(probability=True, random_state=0), tumours),
}

#: Others -> what makes it, and what it learns.
OTHERS: dict[str, tuple[Callable[[], Any], Data]] = {
    "MLPRegressor": (
        lambda: MLPRegressor(hidden_layer_sizes=(24,), activation="tanh", max_iter=300, random_state=0),
        patients,
    ),
    "LinearRegression": (LinearRegression, patients),
    "PCA": (lambda: make_pipeline(StandardScaler(), PCA(6, whiten=True)), patients),
    # skl2onnx 1.20 negates the distances, so that in the file all weights are the same: who made it is off by 2e-2.
    "KNeighborsRegressor": (lambda: KNeighborsRegressor(4, weights="distance"), patients),
    "KMeans": (lambda: KMeans(8, n_init=2, random_state=0), digits),
    "RandomForestRegressor": (lambda: RandomForestRegressor(25, random_state=0), patients),
    "GradientBoostingRegressor": (lambda: GradientBoostingRegressor(n_estimators=40, random_state=0), patients),
    "SVR": (SVR, patients),
}


def export(make: Callable[[], Any], data: Data, options: dict[str, Any]) -> Sample:
    """Return a model that has learned, as skl2onnx writes it."""
    x, y = data()
    x = x.astype(np.float32)  # so that both are asked about the same numbers
    asked, learned = x[:ASKED], x[ASKED:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make().fit(learned.astype(np.float64), y[ASKED:])
        written = to_onnx(model, learned[:1], options={id(model): options} if options else None)
    outputs = [value.name for value in written.graph.output]
    return Sample(written.SerializeToString(), {"X": asked}, answered_axis(outputs), answers(model, asked, outputs))


def answered_axis(outputs: list[str]) -> int | None:
    """Return the axis of the classes, where there are any: beside labels."""
    return -1 if "output_probability" in outputs or "probabilities" in outputs else None


def answers(model: Any, x: np.ndarray, outputs: list[str]) -> dict[str, np.ndarray]:
    """Return what scikit-learn answers in float64, by the names of the file's outputs."""
    x = x.astype(np.float64)
    if isinstance(model, KMeans):
        found = [model.predict(x), model.transform(x)]
    elif hasattr(model, "predict_proba"):
        found = [model.predict(x), model.predict_proba(x)]
    elif hasattr(model, "predict"):  # of an SVC, the scores of pairs are written in another order
        found = [model.predict(x)]
    else:
        found = [model.transform(x)]
    return {name: value for name, value in zip(outputs, found, strict=False)}


MAKERS: dict[str, Maker] = {
    **{
        f"sklearn {name}{', ZipMap' if zipmap else ''}": functools.partial(export, *row, {"zipmap": zipmap})
        for name, row in CLASSIFIERS.items()
        for zipmap in (False, True)
    },
    **{f"sklearn {name}": functools.partial(export, *row, {}) for name, row in OTHERS.items()},
}
