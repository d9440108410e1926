"""ONNX's random numbers: their distribution, their seeds, and Dropout in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Library, libraries
from onnx import TensorProto, helper
from onnx_apply import applied

import anyback as ab
from anyback.errors import DataError, OperatorError, ShapeError
from anyback.onnx import load
from anyback.onnx.operators.random import Bernoulli, Dropout, RandomNormalLike

X = np.zeros((50, 40), np.float32)


def run(name: str, *given: Any, lib: Library | None = None, version: int = 22, **attributes: Any) -> Any:
    return applied(name, *given, lib=lib, domain="", version=version, **attributes)


def test_distributions() -> None:
    y = run("RandomNormal", shape=(200, 100), mean=3.0, scale=2.0, seed=1.0)
    assert y.dtype == np.float32
    assert abs(y.mean() - 3) < 0.06
    assert abs(y.std() - 2) < 0.04
    y = run("RandomUniform", shape=(200, 100), low=-1.0, high=3.0, dtype="float64", seed=1.0)
    assert y.dtype == np.float64
    assert -1 <= y.min() < -0.99 < 2.99 < y.max() < 3
    assert abs(y.mean() - 1) < 0.04


def test_like_an_array(lib: Library) -> None:
    for name in ("RandomNormalLike", "RandomUniformLike"):
        y = run(name, X, lib=lib, seed=4.0)
        assert (y.shape, y.dtype) == (X.shape, np.float32)
        assert len(np.unique(y)) > 1900
        np.testing.assert_array_equal(y, run(name, X, seed=4.0))  # of one seed on every library
        assert (y != run(name, X, lib=lib, seed=5.0)).any()
        assert run(name, np.zeros(3, np.int32), lib=lib, dtype="float32").dtype == np.float32


def test_without_a_seed_each_call_is_new(lib: Library) -> None:
    first, second = (run("RandomNormalLike", X, lib=lib) for _ in range(2))
    assert (first != second).any()


def test_bernoulli(lib: Library) -> None:
    chances = np.linspace(0, 1, 5, dtype=np.float32)
    y = run("Bernoulli", np.broadcast_to(chances, (4000, 5)).copy(), lib=lib, seed=2.0)
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {0, 1}
    np.testing.assert_allclose(y.mean(axis=0), chances, atol=0.03)
    np.testing.assert_array_equal(y[:, [0, 4]], np.broadcast_to([0, 1], (4000, 2)))
    assert run("Bernoulli", chances, lib=lib, dtype="int32").dtype == np.int32


def test_multinomial(lib: Library) -> None:
    chances = np.asarray([[0.1, 0.2, 0.7], [1.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        logits = np.log(chances).astype(np.float32) + 5
    y = run("Multinomial", logits, lib=lib, sample_size=4000, seed=3.0)
    assert (y.shape, y.dtype) == ((2, 4000), np.int32)
    shares = np.stack([(y == kind).mean(axis=1) for kind in range(3)], axis=1)
    np.testing.assert_allclose(shares, chances, atol=0.03)
    with pytest.raises(ShapeError, match="Multinomial"):
        run("Multinomial", logits[0], lib=lib)
    with pytest.raises(DataError, match="int32 or int64"):
        run("Multinomial", logits, lib=lib, dtype="float32")


@pytest.mark.parametrize("ratio", [None, (0.5,), (0.75,)])
def test_dropout_in_training(lib: Library, ratio: Any) -> None:
    x, part = np.arange(1, 2001, dtype=np.float32).reshape(20, 100), 0.5 if ratio is None else ratio[0]
    y, kept = Dropout.compute(lib.asarray(x), ratio, np.asarray(True), seed=6, outputs=2)
    y, kept = lib.to_numpy(y), lib.to_numpy(kept)
    expected = np.random.RandomState(6).uniform(size=x.shape) >= part
    np.testing.assert_array_equal(kept, expected)
    np.testing.assert_allclose(y, np.where(expected, x / (1 - part), 0), rtol=1e-6)
    first, second = (lib.to_numpy(Dropout.compute(lib.asarray(x), ratio, np.asarray(True))) for _ in range(2))
    assert (first != second).any()


def test_dropout_at_inference(lib: Library) -> None:
    x = lib.asarray(X + 2)
    for given in ((), (None, None), ((0.5,), None), ((0.5,), np.asarray(False)), ((0.0,), np.asarray(True))):
        y, kept = Dropout.compute(x, *given, outputs=2)
        np.testing.assert_array_equal(lib.to_numpy(y), X + 2)
        assert lib.to_numpy(kept).all()
    with pytest.raises(DataError, match="ratio"):
        Dropout.compute(x, (1.0,), np.asarray(True))


@pytest.mark.jax
def test_a_traced_program_needs_a_seed() -> None:
    jax = pytest.importorskip("jax")
    for compute in (RandomNormalLike.compute, Bernoulli.compute, lambda x: Dropout.compute(x, None, np.asarray(True))):
        with pytest.raises(OperatorError, match="no seed"):
            jax.jit(compute)(X)
    y = jax.jit(lambda x: RandomNormalLike.compute(x, seed=4.0))(X)
    np.testing.assert_array_equal(np.asarray(y), run("RandomNormalLike", X, seed=4.0))


@pytest.mark.parametrize("library", libraries("numpy", "jax", "torch", "dask", "array_api_strict"))
def test_a_network_with_random_numbers(library: str) -> None:
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[3, 4]),
        helper.make_node("RandomUniformLike", ["x"], ["u"]),
        helper.make_node("Add", ["x", "r"], ["a"]),
        helper.make_node("Add", ["a", "u"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    net = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()).to(library)
    x = ab.asarray(np.zeros((3, 4), np.float32), backend=library)
    first, second = (ab.to_numpy(net(x)) for _ in range(2))
    assert first.shape == (3, 4)
    assert (first != second).any()
