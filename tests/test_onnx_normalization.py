"""ONNX's normalization, against PyTorch, and against formulas in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes  # noqa: F401  # so that NumPy knows bfloat16
import numpy as np
import pytest
from conftest import Library

from anyback.errors import DataError, ShapeError
from anyback.onnx._operator import find
from anyback.onnx.operators import normalization

RNG = np.random.default_rng(3)
X = RNG.normal(size=(3, 4, 5, 2)) + 7
SCALE, BIAS, MEAN, VARIANCE = (*RNG.normal(size=(3, 4)), RNG.uniform(0.5, 2, 4))
LAST = RNG.normal(size=(2, 5, 2))


def run(name: str, version: int, *given: Any, **attributes: Any) -> Any:
    found = find("", name, version)
    assert found is not None
    return found.op.compute(*given, **attributes)


def by_channel(v: np.ndarray) -> np.ndarray:
    return v.reshape(-1, 1, 1)


def affine(x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return x * by_channel(scale) + by_channel(bias)


def standard(x: np.ndarray, axes: tuple[int, ...], epsilon: float = 1e-5) -> np.ndarray:
    return (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + epsilon)


def deviations(x: np.ndarray) -> np.ndarray:
    axes = (0, 2, 3)
    return (x - x.mean(axis=axes, keepdims=True)) / (x.std(axis=axes, keepdims=True) + 1e-9)


def grouped(x: np.ndarray, groups: int) -> np.ndarray:
    return standard(x.reshape(len(x), groups, -1), (2,)).reshape(x.shape)


def local(x: np.ndarray, size: int) -> np.ndarray:
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        low, high = max(0, c - (size - 1) // 2), min(x.shape[1] - 1, c + math.ceil((size - 1) / 2))
        y[:, c] = x[:, c] / (2.0 + 0.3 / size * sum(x[:, i] ** 2 for i in range(low, high + 1))) ** 0.7
    return y


#: Each operator with its version, its arrays, its attributes, and what it computes.
CASES: dict[str, tuple[str, int, tuple[np.ndarray, ...], dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    **{
        f"batch {version}": (
            "BatchNormalization",
            version,
            (SCALE, BIAS, MEAN, VARIANCE),
            {"epsilon": 1e-3},
            lambda x: affine((x - by_channel(MEAN)) / np.sqrt(by_channel(VARIANCE) + 1e-3), SCALE, BIAS),
        )
        for version in (6, 7, 8, 9, 13, 14, 15)
    },
    "instance": ("InstanceNormalization", 6, (SCALE, BIAS), {}, lambda x: affine(standard(x, (2, 3)), SCALE, BIAS)),
    "group 18": (
        "GroupNormalization",
        18,
        (SCALE[:2], BIAS[:2]),
        {"num_groups": 2},
        lambda x: affine(grouped(x, 2), SCALE[:2].repeat(2), BIAS[:2].repeat(2)),
    ),
    "group 21": (
        "GroupNormalization",
        21,
        (SCALE, BIAS),
        {"num_groups": 2},
        lambda x: affine(grouped(x, 2), SCALE, BIAS),
    ),
    "layer": (
        "LayerNormalization",
        17,
        (LAST[0], LAST[1]),
        {"axis": 2},
        lambda x: standard(x, (2, 3)) * LAST[0] + LAST[1],
    ),
    "layer, broadcast": (
        "LayerNormalization",
        17,
        (SCALE.reshape(4, 1, 1),),
        {"axis": 1},
        lambda x: standard(x, (1, 2, 3)) * by_channel(SCALE),
    ),
    "root": (
        "RMSNormalization",
        23,
        (LAST[0, 0],),
        {},
        lambda x: x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * LAST[0, 0],
    ),
    **{
        f"local {size}": (
            "LRN",
            13,
            (),
            {"size": size, "alpha": 0.3, "beta": 0.7, "bias": 2.0},
            lambda x, size=size: local(x, size),
        )
        for size in (1, 2, 3, 4, 11)
    },
    "sum of absolutes": (
        "LpNormalization",
        1,
        (),
        {"p": 1, "axis": 1},
        lambda x: x / np.abs(x).sum(axis=1, keepdims=True),
    ),
    "root of squares": ("LpNormalization", 1, (), {}, lambda x: x / np.sqrt((x**2).sum(axis=-1, keepdims=True))),
    "mean and variance": ("MeanVarianceNormalization", 13, (), {}, deviations),
}


@pytest.mark.parametrize("case", CASES)
def test_formulas(lib: Library, case: str) -> None:
    name, version, arrays, attributes, formula = CASES[case]
    for dtype in lib.dtypes:
        x = lib.asarray(X, dtype)
        rounded = lib.to_numpy(x).astype(float)
        y = run(name, version, x, *[lib.asarray(a, dtype) for a in arrays], **attributes)
        assert y.dtype == x.dtype
        expected = formula(rounded)
        # Half types round their parameters, and the result once.
        digits = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 1e-5, "float64": 1e-11}[dtype]
        np.testing.assert_allclose(lib.to_numpy(y).astype(float), expected, rtol=digits, atol=digits)


@pytest.mark.parametrize("version", [7, 9, 13])
def test_files_that_name_more_outputs_do_not_train(lib: Library, version: int) -> None:
    given = [lib.asarray(a) for a in (X, SCALE, BIAS, MEAN, VARIANCE)]
    alone = lib.to_numpy(run("BatchNormalization", version, *given))
    y, mean, variance, *saved = run("BatchNormalization", version, *given, outputs=5)
    np.testing.assert_array_equal(lib.to_numpy(y), alone)
    np.testing.assert_array_equal(lib.to_numpy(mean), MEAN.astype(np.float32))
    np.testing.assert_array_equal(lib.to_numpy(variance), VARIANCE.astype(np.float32))
    assert len(saved) == 2


def test_training(lib: Library) -> None:
    given = [lib.asarray(a) for a in (X, SCALE, BIAS, MEAN, VARIANCE)]
    y, mean, variance = run("BatchNormalization", 15, *given, training_mode=1, momentum=0.8, outputs=3)
    expected = standard(X, (0, 2, 3)) * by_channel(SCALE) + by_channel(BIAS)
    np.testing.assert_allclose(lib.to_numpy(y), expected, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(lib.to_numpy(mean), 0.8 * MEAN + 0.2 * X.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(lib.to_numpy(variance), 0.8 * VARIANCE + 0.2 * X.var(axis=(0, 2, 3)), rtol=1e-5)


def test_statistics_of_single_places_before_version_9() -> None:
    parts = [RNG.uniform(0.5, 2, (4, 5, 2)) for _ in range(4)]
    scale, bias, mean, variance = parts
    y = run("BatchNormalization", 7, X, *parts, spatial=0)
    np.testing.assert_allclose(y, (X - mean) / np.sqrt(variance + 1e-5) * scale + bias)


def test_one_axis_is_one_channel() -> None:
    y = run("BatchNormalization", 15, X[:, 0, 0, 0], SCALE[:1], BIAS[:1], MEAN[:1], VARIANCE[:1])
    np.testing.assert_allclose(y, (X[:, 0, 0, 0] - MEAN[0]) / np.sqrt(VARIANCE[0] + 1e-5) * SCALE[0] + BIAS[0])


@pytest.mark.parametrize("axis", [-4, -1, 0, 2])
def test_mean_and_inverse_deviation(lib: Library, axis: int) -> None:
    x, axes = lib.asarray(X), tuple(range(axis % 4, 4))
    rounded, scale = lib.to_numpy(x).astype(float), lib.asarray(np.ones(X.shape[axis:]))
    y, mean, inverse = run("LayerNormalization", 17, x, scale, axis=axis, outputs=3)
    np.testing.assert_allclose(lib.to_numpy(y), standard(rounded, axes), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(lib.to_numpy(mean), X.mean(axis=axes, keepdims=True), rtol=1e-5)
    expected = 1 / np.sqrt(rounded.var(axis=axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(lib.to_numpy(inverse), expected, rtol=1e-4)
    half = lib.asarray(X, "float16") if "float16" in lib.dtypes else x
    assert run("LayerNormalization", 17, half, scale, axis=axis, outputs=3)[1].dtype == scale.dtype


@pytest.mark.parametrize("case", ["instance", "group 21", "layer", "mean and variance"])
def test_far_from_zero_the_variance_is_right(case: str) -> None:
    name, version, arrays, attributes, formula = CASES[case]
    x = (X + 1000).astype(np.float32)
    y = run(name, version, x, *[a.astype(np.float32) for a in arrays], **attributes)
    # What the mean of numbers of this size is rounded by, and no more: squares would have lost everything.
    np.testing.assert_allclose(y, formula(x.astype(float)), atol=5e-4)


def test_zeros_and_one_number() -> None:
    for p in (1, 2):
        np.testing.assert_array_equal(run("LpNormalization", 22, np.zeros((2, 3)), p=p), np.zeros((2, 3)))
        np.testing.assert_array_equal(run("LpNormalization", 22, np.asarray([[-3.0]]), p=p), [[-1.0]])
    y = run("LayerNormalization", 17, np.full((2, 1), 5.0), np.ones(1))
    np.testing.assert_array_equal(y, np.zeros((2, 1)))
    assert run("LayerNormalization", 17, np.ones((0, 3)), np.ones(3)).shape == (0, 3)


def test_what_does_not_fit_is_one_clear_error() -> None:
    with pytest.raises(ShapeError, match="GroupNormalization"):
        run("GroupNormalization", 21, X, SCALE, BIAS, num_groups=3)
    with pytest.raises(ShapeError, match="GroupNormalization"):
        run("GroupNormalization", 21, X, SCALE[:2], BIAS[:2], num_groups=2)
    with pytest.raises(ShapeError, match="InstanceNormalization"):
        run("InstanceNormalization", 6, X, SCALE[:3], BIAS[:3])
    with pytest.raises(ShapeError, match="LayerNormalization"):
        run("LayerNormalization", 17, X, SCALE, axis=4)
    with pytest.raises(ShapeError, match="LRN"):
        run("LRN", 13, X, size=0)
    with pytest.raises(DataError, match="LpNormalization"):
        run("LpNormalization", 1, X, p=3)


def test_each_version_is_another_operator() -> None:
    assert find("", "BatchNormalization", 8).op is normalization.BatchNormalization_1
    assert find("", "BatchNormalization", 13).op is normalization.BatchNormalization_9
    assert find("", "GroupNormalization", 20).op is normalization.GroupNormalization_18
