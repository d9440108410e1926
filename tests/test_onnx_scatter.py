"""ONNX's scatter operators against NumPy loops that write one number after the other."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from conftest import Library
from onnx_apply import applied

from anyback.errors import DataError, ShapeError
from anyback.onnx.operators.scatter import ScatterElements, ScatterND, TensorScatter

RNG = np.random.default_rng(11)
PAIRS = {"none": lambda a, b: b, "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


def run(name: str, *given: Any, lib: Library | None, version: int = 18, **attributes: Any) -> Any:
    return applied(name, *given, lib=lib, domain="", version=version, **attributes)


def elements(data: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, reduction: str) -> np.ndarray:
    y = data.copy()
    for place in np.ndindex(indices.shape):
        at = list(place)
        at[axis] = indices[place]
        y[tuple(at)] = PAIRS[reduction](y[tuple(at)], updates[place])
    return y


def parts(data: np.ndarray, indices: np.ndarray, updates: np.ndarray, reduction: str) -> np.ndarray:
    y = data.copy()
    for place in np.ndindex(indices.shape[:-1]):
        at = tuple(indices[place])
        y[at] = PAIRS[reduction](y[at], updates[place])
    return y


def whole(*shape: int) -> np.ndarray:
    """Return integers, as floats: sums of them do not depend on their order."""
    return RNG.integers(-4, 5, shape).astype(np.float32)


@pytest.mark.parametrize("reduction", PAIRS)
@pytest.mark.parametrize(
    ("shape", "many", "axis"),
    [
        ((4, 3, 5), (4, 2, 9), -1),
        ((4, 3, 5), (7, 3, 5), 0),
        ((3, 2), (1, 6), 1),
        ((6,), (40,), 0),
        ((3, 2), (3, 0), 1),
        ((5,), (1,), 0),
    ],
)
def test_elements(lib: Library, reduction: str, shape: Any, many: Any, axis: int) -> None:
    data, updates = whole(*shape), whole(*many)
    indices = RNG.integers(-shape[axis], shape[axis], many)
    y = run("ScatterElements", data, indices, updates, lib=lib, axis=axis, reduction=reduction)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, elements(data, indices, updates, axis, reduction))


@pytest.mark.parametrize("reduction", PAIRS)
@pytest.mark.parametrize(
    ("shape", "many"), [((4, 3, 5), (7, 1)), ((4, 3, 5), (2, 6, 2)), ((2, 3), (9, 2)), ((4,), (1, 1)), ((4, 2), (0, 1))]
)
def test_parts(lib: Library, reduction: str, shape: tuple[int, ...], many: tuple[int, ...]) -> None:
    indices = np.stack([RNG.integers(-size, size, many[:-1]) for size in shape[: many[-1]]], axis=-1)
    data, updates = whole(*shape), whole(*many[:-1], *shape[many[-1] :])
    y = run("ScatterND", data, indices, updates, lib=lib, reduction=reduction)
    np.testing.assert_array_equal(y, parts(data, indices, updates, reduction))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_other_types(lib: Library, dtype: str) -> None:
    data, updates = (RNG.integers(0, 2, n).astype(dtype) for n in (6, 9))
    indices = RNG.integers(0, 6, 9)
    for reduction in ("none",) if dtype == "bool" else ("none", "add", "max"):
        y = run("ScatterElements", data, indices, updates, lib=lib, reduction=reduction)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, elements(data, indices, updates, 0, reduction))


def test_half_types_are_rounded_once(lib: Library) -> None:
    if "float16" not in lib.dtypes:
        pytest.skip("the library has no float16")
    data = lib.asarray(np.zeros(2), "float16")
    updates, indices = lib.asarray(np.full(4096, 1.0), "float16"), lib.asarray(np.zeros(4096, np.int32), None)
    y = ScatterElements.compute(data, indices, updates, reduction="add")
    np.testing.assert_array_equal(lib.to_numpy(y).astype(float), [4096, 0])  # one after the other stops at 2048


def test_a_number_that_is_none_stays_in_its_place(lib: Library) -> None:
    updates = np.asarray([1.0, np.nan, np.inf, 2.0], np.float32)
    y = run("ScatterElements", np.zeros(4, np.float32), np.asarray([0, 1, 2, 0]), updates, lib=lib, reduction="add")
    np.testing.assert_array_equal(y, [3, np.nan, np.inf, 0])


def test_many_updates_of_one_place_lose_no_digits(lib: Library) -> None:
    updates = RNG.uniform(0, 1, 100_000).astype(np.float32)
    y = run("ScatterElements", np.zeros(2, np.float32), np.ones(100_000, np.int64), updates, lib=lib, reduction="add")
    np.testing.assert_allclose(y, [0, updates.astype(float).sum()], rtol=3e-7)


@pytest.mark.parametrize("version", [9, 11])
def test_the_older_name(lib: Library, version: int) -> None:
    data, indices, updates = whole(3, 3), RNG.integers(0, 3, (2, 3)), whole(2, 3)
    y = run("Scatter", data, indices, updates, lib=lib, version=version)
    np.testing.assert_array_equal(y, elements(data, indices, updates, 0, "none"))


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize(("shape", "axis"), [((3, 2, 6, 2), -2), ((3, 6, 2), 1), ((3, 2, 2, 6), 3)])
def test_caches(lib: Library, mode: str, shape: tuple[int, ...], axis: int) -> None:
    cache, first = whole(*shape), np.asarray([0, 3, 2] if mode == "linear" else [5, 3, 4])
    new = list(shape)
    new[axis] = 3
    update = whole(*new) + 100
    expected = np.moveaxis(cache.copy(), axis, 1)
    for row, start in enumerate(first):
        for step in range(3):
            expected[row, (start + step) % 6] = np.moveaxis(update, axis, 1)[row, step]
    y = run("TensorScatter", cache, update, first, lib=lib, version=24, axis=axis, mode=mode)
    np.testing.assert_array_equal(y, np.moveaxis(expected, 1, axis))
    y = run("TensorScatter", cache, update, lib=lib, version=24, axis=axis, mode=mode)
    np.testing.assert_array_equal(np.moveaxis(y, axis, 0)[:3], np.moveaxis(update, axis, 0))


def test_inputs_stay_as_they_are() -> None:
    data, indices, updates = whole(4), np.asarray([-1, 0]), whole(2)
    before = data.copy(), indices.copy(), updates.copy()
    for reduction in PAIRS:
        run("ScatterElements", data, indices, updates, lib=None, reduction=reduction)
    for x, old in zip((data, indices, updates), before, strict=True):
        np.testing.assert_array_equal(x, old)


@pytest.mark.jax
@pytest.mark.parametrize("reduction", PAIRS)
def test_under_jit(reduction: str) -> None:
    jax = pytest.importorskip("jax")
    data, indices, updates = whole(4, 3), RNG.integers(-4, 4, (9, 3)).astype(np.int32), whole(9, 3)
    y = jax.jit(functools.partial(ScatterElements.compute, reduction=reduction))(data, indices, updates)
    np.testing.assert_array_equal(np.asarray(y), elements(data, indices, updates, 0, reduction))
    places, rows = indices[:, :1], whole(9, 3)
    y = jax.jit(functools.partial(ScatterND.compute, reduction=reduction))(data, places, rows)
    np.testing.assert_array_equal(np.asarray(y), parts(data, places, rows, reduction))
    y = jax.jit(TensorScatter.compute)(whole(2, 3, 4), np.ones((2, 1, 4), np.float32), np.asarray([1, 2], np.int32))
    np.testing.assert_array_equal(np.asarray(y)[[0, 1], [1, 2]], np.ones((2, 4)))


def test_what_does_not_fit_is_one_clear_error(lib: Library) -> None:
    data, two, floats = whole(4, 3), np.zeros((2, 3), np.int64), np.zeros((2, 3), np.float32)
    for name, given, attributes in (
        ("ScatterElements", (data, two, floats[:1]), {}),
        ("ScatterElements", (data, two[0], floats[0]), {}),
        ("ScatterElements", (data, two, floats), {"axis": 2}),
        ("ScatterElements", (data[:, :2], two, floats), {"axis": 0}),
        ("ScatterND", (data, two, floats), {}),
        ("TensorScatter", (data, floats), {"axis": 0}),
        ("TensorScatter", (data, floats[:1]), {"axis": 1}),
    ):
        with pytest.raises(ShapeError, match=name):
            run(name, *given, lib=lib, version=24, **attributes)
    with pytest.raises(DataError, match="known: none, add, mul, min, max"):
        run("ScatterElements", data, two, floats, lib=lib, reduction="mean")
    with pytest.raises(DataError, match="known: linear, circular"):
        run("TensorScatter", data, data, lib=lib, version=24, axis=1, mode="round")


def test_places_on_the_host_must_be_inside() -> None:
    for places in (4, -5):
        with pytest.raises(DataError, match="places from -4 to 3"):
            run("ScatterElements", whole(4), np.asarray([places]), whole(1), lib=None)
        with pytest.raises(DataError, match="places from -4 to 3"):
            run("ScatterND", whole(4), np.asarray([[places]]), whole(1), lib=None)
