"""ONNX's reductions: NumPy in float64 says what is right, on every library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from conftest import Library
from onnx_apply import called

from anyback.errors import ShapeError

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of infinity and the like

RNG = np.random.default_rng(6)
X = RNG.normal(size=(2, 3, 4)).astype(np.float32)
AXES: list[tuple[int, ...] | None] = [None, (), (0,), (-1,), (1, -1), (2, 0), (0, 1, 2)]

Function = Callable[..., np.ndarray]


def log_sum_exp(x: np.ndarray, **how: Any) -> np.ndarray:
    top = np.where(np.isfinite(m := np.max(x, axis=how["axis"], keepdims=True)), m, 0)
    y = np.log(np.sum(np.exp(x - top), axis=how["axis"], keepdims=True)) + top
    return y if how["keepdims"] else np.squeeze(y, how["axis"])


REDUCTIONS: dict[str, Function] = {
    "ReduceSum": np.sum,
    "ReduceMean": np.mean,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceL1": lambda x, **how: np.sum(np.abs(x), **how),
    "ReduceL2": lambda x, **how: np.sqrt(np.sum(x * x, **how)),
    "ReduceLogSum": lambda x, **how: np.log(np.sum(x, **how)),
    "ReduceLogSumExp": log_sum_exp,
    "ReduceSumSquare": lambda x, **how: np.sum(x * x, **how),
}
#: What each gives of one number alone.
ALONE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys(REDUCTIONS, lambda x: x),
    **dict.fromkeys(("ReduceL1", "ReduceL2"), np.abs),
    "ReduceLogSum": np.log,
    "ReduceSumSquare": np.square,
}


def whole(axes: tuple[int, ...] | None, rank: int) -> tuple[int, ...]:
    return tuple(axis % rank for axis in axes) if axes else tuple(range(rank))


def close(found: Any, wanted: Any, tolerance: float = 2e-6) -> None:
    wanted = np.asarray(wanted)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.astype(np.float64), wanted.astype(np.float64), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_along_any_axes(name: str, lib: Library) -> None:
    function = REDUCTIONS[name]
    x = np.abs(X) if name == "ReduceLogSum" else X
    for axes in AXES:
        for keep in (0, 1):
            wanted = function(x.astype(np.float64), axis=whole(axes, 3), keepdims=bool(keep))
            found = called(name, x, axes, lib=lib, version=18, keepdims=keep)
            assert found.dtype == np.float32
            close(found, wanted)
            if axes is not None:  # the axes were an attribute once
                close(called(name, x, lib=lib, version=1, keepdims=keep, axes=axes), wanted)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_no_axes_may_mean_none(name: str, lib: Library) -> None:
    x = np.abs(X)
    close(called(name, x, None, lib=lib, version=18, noop_with_empty_axes=1), ALONE[name](x.astype(np.float64)))
    close(called(name, x, (), lib=lib, version=18, noop_with_empty_axes=1), ALONE[name](x.astype(np.float64)))
    close(called(name, np.float32(3), None, lib=lib), ALONE[name](np.asarray(3.0)))
    close(called(name, np.float32(3), (0,), lib=lib), ALONE[name](np.asarray(3.0)))


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_of_nothing_has_a_neutral_value(name: str, lib: Library) -> None:
    neutral = {"ReduceProd": 1, "ReduceMax": -np.inf, "ReduceMin": np.inf, "ReduceMean": np.nan}
    neutral |= {"ReduceLogSum": -np.inf, "ReduceLogSumExp": -np.inf}
    x = np.zeros((2, 0, 4), np.float32)
    for keep, shape in ((1, (2, 1, 4)), (0, (2, 4))):
        close(called(name, x, (1,), lib=lib, keepdims=keep), np.full(shape, neutral.get(name, 0)))
    assert called(name, x, (0,), lib=lib, keepdims=0).shape == (0, 4)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_infinity_and_what_is_no_number(name: str, lib: Library) -> None:
    x = np.asarray([[1, np.inf, 2], [1, np.nan, 2], [3, -np.inf, 1], [np.inf, -np.inf, 0]], np.float32)
    with np.errstate(all="ignore"):
        wanted = REDUCTIONS[name](x.astype(np.float64), axis=(1,), keepdims=False)
    close(called(name, x, (1,), lib=lib, keepdims=0), wanted)


def test_exponentials_do_not_overflow(lib: Library) -> None:
    x = np.asarray([[1000, 1000], [-1000, -1000], [88, -88]], np.float32)
    wanted = np.asarray([1000 + np.log(2), -1000 + np.log(2), 88])
    close(called("ReduceLogSumExp", x, (1,), lib=lib, keepdims=0), wanted)


def test_reductions_of_integers_keep_the_type(lib: Library) -> None:
    x = np.asarray([[3, -4, 5], [7, 1, -2]], np.int32)
    exact = {"ReduceSum": [4, 6], "ReduceMax": [5, 7], "ReduceMin": [-4, -2], "ReduceProd": [-60, -14]}
    exact |= {"ReduceL1": [12, 10], "ReduceSumSquare": [50, 54], "ReduceMean": [1, 2], "ReduceL2": [7, 7]}
    for name, wanted in exact.items():
        found = called(name, x, (1,), lib=lib, keepdims=0)
        assert found.dtype == np.int32, name
        assert found.tolist() == wanted, name
    for name in ("ReduceMax", "ReduceMin"):  # of bytes and of truth values too
        byte = np.asarray([[200, 3], [0, 255]], np.uint8)
        found = called(name, byte, (0,), lib=lib, keepdims=0)
        assert found.dtype == np.uint8
        assert found.tolist() == ([200, 255] if name == "ReduceMax" else [0, 3])
        flags = called(name, byte > 100, (0,), lib=lib, version=20, keepdims=0)
        assert flags.dtype == np.bool_
        assert flags.tolist() == ([True, True] if name == "ReduceMax" else [False, False])
    empty = called("ReduceMax", x[:0], (0,), lib=lib, keepdims=0)
    assert empty.tolist() == [np.iinfo(np.int32).min] * 3


@pytest.mark.parametrize("name", REDUCTIONS)
def test_half_types_are_kept(name: str, lib: Library) -> None:
    for dtype in [d for d in lib.dtypes if d in ("float16", "bfloat16")]:
        x = (np.abs(X) + 0.5).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16)
        wanted = REDUCTIONS[name](x.astype(np.float64), axis=(2,), keepdims=True)
        found = called(name, x, (2,), lib=lib)
        assert found.dtype == x.dtype
        close(found, wanted, 4e-3 if dtype == "float16" else 4e-2)


def test_an_axis_that_is_not_there_is_one_error(lib: Library) -> None:
    for axis in (3, -4, 1 << 40):
        with pytest.raises(ShapeError, match=f"no axis {axis}"):
            called("ReduceSum", X, (axis,), lib=lib)
        with pytest.raises(ShapeError, match=f"no axis {axis}"):
            called("ArgMax", X, lib=lib, axis=axis)
        with pytest.raises(ShapeError, match=f"no axis {axis}"):
            called("CumSum", X, axis, lib=lib)


# -- Places -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ArgMax", "ArgMin"])
def test_the_first_or_the_last_of_equal_numbers(name: str, lib: Library) -> None:
    x = np.asarray([[2, 5, 5, 2], [7, 7, 7, 7]], np.float32)
    first, last = ([1, 0], [2, 3]) if name == "ArgMax" else ([0, 0], [3, 3])
    for axis in (1, -1):
        found = called(name, x, lib=lib, axis=axis, keepdims=0)
        assert found.dtype.kind == "i"
        assert found.tolist() == first
        assert called(name, x, lib=lib, axis=axis, keepdims=0, select_last_index=1).tolist() == last
        assert called(name, x, lib=lib, axis=axis).shape == (2, 1)
    assert called(name, x, lib=lib, axis=0, keepdims=0).tolist() == ([1] * 4 if name == "ArgMax" else [0] * 4)
    assert called(name, x.astype(np.int32), lib=lib, axis=1, keepdims=0).tolist() == first
    assert called(name, np.float32(3), lib=lib).tolist() == 0


# -- Running sums --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "function", "start"), [("CumSum", np.cumsum, 0), ("CumProd", np.cumprod, 1)])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_running_sums_and_products(name: str, function: Any, start: int, axis: int, lib: Library) -> None:
    x = np.asarray([[1, 2, 3], [4, -5, 6]], np.float32)
    for reverse in (0, 1):
        turned = np.flip(x, axis) if reverse else x
        run = function(turned.astype(np.float64), axis=axis)
        before = np.roll(run, 1, axis)
        np.moveaxis(before, axis, 0)[0] = start
        for exclusive, wanted in ((0, run), (1, before)):
            found = called(name, x, axis, lib=lib, exclusive=exclusive, reverse=reverse)
            close(found, np.flip(wanted, axis) if reverse else wanted)
    ints = called(name, x.astype(np.int32), axis, lib=lib)
    # Old releases of Dask say int32, and compute int64.
    assert ints.dtype == np.int32 or (lib.backend.name == "dask" and ints.dtype == np.int64)
    assert ints.tolist() == function(x, axis=axis).tolist()


def test_a_running_sum_of_nothing(lib: Library) -> None:
    for exclusive in (0, 1):
        found = called("CumSum", np.zeros((2, 0), np.float32), 1, lib=lib, exclusive=exclusive)
        assert found.shape == (2, 0)
