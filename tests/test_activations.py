"""Activations: values against float64 and higher precision, on every library, in every floating-point type."""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest
from conftest import Library, usable

from anyback import activations
from anyback.errors import AnybackError, DataError

lazy_xp_modules = [activations]
lazy_xp_functions = list(activations.ACTIVATIONS.values())

NAMES = list(activations.ACTIVATIONS)
ELEMENTWISE = [name for name in NAMES if "softmax" not in name]
LARGEST = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).tiny)


def reference(name: str, x: np.ndarray) -> np.ndarray:
    """Return the activation in long double, by its textbook definition where that is safe."""
    x = x.astype(np.longdouble)
    e = np.exp(-np.abs(x))
    sigmoid = np.where(x >= 0, 1 / (1 + e), e / (1 + e))
    if name == "softmax":
        e = np.exp(x - np.max(x, axis=-1, keepdims=True))
        return e / np.sum(e, axis=-1, keepdims=True)
    return {
        "identity": lambda: x,
        "step": lambda: np.where(np.isnan(x), x, x > 0),
        "sigmoid": lambda: sigmoid,
        "relu": lambda: np.maximum(x, 0),
        "leaky_relu": lambda: np.where(x > 0, x, x / 100),
        "elu": lambda: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        "silu": lambda: x * sigmoid,
        "tanh": lambda: np.tanh(x),
        "softplus": lambda: np.maximum(x, 0) + np.log1p(e),
    }[name]()


def ulps(y: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the error of `y` in units in the last place, where the true value is a normal number."""
    info = np.finfo(y.dtype)
    true = true.astype(np.longdouble)
    normal = (np.abs(true) >= info.tiny) & (np.abs(true) <= info.max)
    spacing = np.spacing(np.abs(np.where(normal, true, 1)).astype(y.dtype)).astype(np.longdouble)
    return np.where(normal, np.abs(y.astype(np.longdouble) - true) / spacing, 0)


def samples(dtype: str) -> np.ndarray:
    """Return numbers that reach every branch: dense around 0, out to where exp leaves the type, and tiny ones."""
    rng = np.random.default_rng(0)
    reach = {"float16": 16, "bfloat16": 90, "float32": 92, "float64": 715}[dtype]
    parts = [
        rng.uniform(-reach, reach, 40_000),
        rng.uniform(-10, 10, 40_000),
        rng.uniform(-1, 1, 20_000),
        rng.choice([-1, 1], 10_000) * 10.0 ** rng.uniform(-30, 1, 10_000),
    ]
    return np.concatenate(parts).astype(np.float32 if dtype == "bfloat16" else dtype)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu", "softplus"])
def test_within_4_ulp_and_2_in_float16(lib: Library, name: str) -> None:
    for dtype in set(lib.dtypes) - {"bfloat16"}:
        x = samples(dtype)
        y = lib.to_numpy(getattr(activations, name)(lib.asarray(x, dtype)))
        assert y.dtype == dtype
        error = ulps(y, reference(name, x))
        assert np.max(error) <= (2 if dtype == "float16" else 4), f"{dtype}: {np.max(error)} at {x[np.argmax(error)]}"


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_softmax_within_4_ulp_and_2_in_float16(lib: Library, classes: int) -> None:
    rng = np.random.default_rng(1)
    for dtype in set(lib.dtypes) - {"bfloat16"}:
        x = rng.normal(size=(20_000 // classes, classes)) * rng.choice([1, 5, 30], size=(20_000 // classes, 1))
        x = x.astype(dtype)
        y = lib.to_numpy(activations.softmax(lib.asarray(x, dtype)))
        assert y.dtype == dtype
        error = ulps(y, reference("softmax", x))
        assert np.max(error) <= (2 if dtype == "float16" else 4)


@pytest.mark.parametrize("name", NAMES)
def test_dtype_in_dtype_out(lib: Library, name: str) -> None:
    x = np.linspace(-3, 3, 12).reshape(3, 4)
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="NumPy's bfloat16 comes from ml_dtypes")
    for dtype in lib.dtypes:
        kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
        y = getattr(activations, name)(lib.asarray(x, kind))
        assert str(y.dtype).rpartition(".")[2] == dtype
        assert y.shape == (3, 4)
        rounded = lib.to_numpy(y).astype(np.float64)
        wide = np.asarray(getattr(activations, name)(x.astype(kind).astype(np.float64)))
        tolerance = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-5, "float64": 1e-5}[dtype]
        np.testing.assert_allclose(rounded, wide, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integers_become_the_default_float(lib: Library, name: str, dtype: str) -> None:
    x = np.asarray([[0, 1], [1, 0]]).astype(dtype)
    y = getattr(activations, name)(lib.asarray(x, dtype))
    if name == "identity":
        assert str(y.dtype).rpartition(".")[2] == dtype
        return
    default = lib.xp.__array_namespace_info__().default_dtypes(device=y.device if lib.id.startswith("array") else None)
    assert y.dtype == default["real floating"]
    wide = getattr(activations, name)(x.astype(np.float64))
    np.testing.assert_allclose(lib.to_numpy(y), wide, rtol=1e-5, atol=1e-6)


LIMITS = {  # at -inf, -1000, 0, 1000, inf
    "identity": (-np.inf, -1000, 0, 1000, np.inf),
    "step": (0, 0, 0, 1, 1),
    "sigmoid": (0, 0, 0.5, 1, 1),
    "relu": (0, 0, 0, 1000, np.inf),
    "leaky_relu": (-np.inf, -10, 0, 1000, np.inf),
    "elu": (-1, -1, 0, 1000, np.inf),
    "gelu": (0, 0, 0, 1000, np.inf),
    "silu": (0, 0, 0, 1000, np.inf),
    "tanh": (-1, -1, 0, 1, 1),
    "softplus": (0, 0, np.log(2), 1000, np.inf),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_limits_and_extremes_without_a_warning(lib: Library, name: str) -> None:
    for dtype in {"float16", "float32", "float64"} & set(lib.dtypes):
        info = np.finfo(dtype)
        x = np.asarray([-np.inf, -1000, 0, 1000, np.inf, np.nan, info.max, -info.max, info.tiny, -info.tiny], dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            y = lib.to_numpy(getattr(activations, name)(lib.asarray(x, dtype)))
        np.testing.assert_allclose(y[:5], np.asarray(LIMITS[name], dtype), rtol=1e-3 if dtype == "float16" else 1e-6)
        assert np.isnan(y[5])
        high, low = LIMITS[name][4], LIMITS[name][0]
        assert y[6] == (info.max if high == np.inf else high)
        if low > -np.inf:
            assert y[7] == low
        assert abs(y[8] - LIMITS[name][2] if name != "step" else y[8] - 1) < 1e-3
        assert abs(y[9] - LIMITS[name][2]) < 1e-3


def test_softmax_at_the_extremes_without_a_warning(lib: Library) -> None:
    rows = [
        ([1010, 1000, 990], [9.99954600e-01, 4.53978686e-05, 2.06106005e-09]),
        ([0.3, 2.9, 4.0], [0.01821127, 0.24519181, 0.73659691]),
        ([np.inf, 0, 1], [1, 0, 0]),
        ([-np.inf, 0, 0], [0, 0.5, 0.5]),
        ([LARGEST, -LARGEST, 0], [1, 0, 0]),
        ([-LARGEST, -LARGEST, -LARGEST], [1 / 3] * 3),
        ([TINY, -TINY, 0], [1 / 3] * 3),
        ([np.nan, 1, 2], [np.nan] * 3),
    ]
    x = np.asarray([row for row, _ in rows], dtype=np.float32)
    expected = np.asarray([row for _, row in rows])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = lib.to_numpy(activations.softmax(lib.asarray(x)))
        log_y = lib.to_numpy(activations.log_softmax(lib.asarray(x)))
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_y.astype(np.float64)), expected, rtol=2e-4, atol=1e-30)


def test_softmax_adds_up_to_one_and_ignores_a_shift(lib: Library) -> None:
    x = np.random.default_rng(2).normal(size=(50, 10)).astype(np.float32)
    y = lib.to_numpy(activations.softmax(lib.asarray(x)))
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    shifted = lib.to_numpy(activations.softmax(lib.asarray(x + np.float32(64))))
    np.testing.assert_allclose(shifted, y, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_one_row_and_empty_arrays(lib: Library, name: str) -> None:
    assert getattr(activations, name)(lib.asarray(np.zeros((0, 3)))).shape == (0, 3)
    assert getattr(activations, name)(lib.asarray(np.zeros((1, 1)))).shape == (1, 1)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_number_alone_is_an_array_too(lib: Library, name: str) -> None:
    y = getattr(activations, name)(lib.asarray(np.asarray(0.5)))
    expected = getattr(activations, name)(np.asarray([0.5]))[0]
    assert y.shape == ()
    np.testing.assert_allclose(lib.to_numpy(y), expected, rtol=1e-6)


def test_non_contiguous_input(lib: Library) -> None:
    x = np.random.default_rng(3).normal(size=(6, 8)).astype(np.float32)
    strided = lib.asarray(x)[::2, ::2].T
    expected = reference("softmax", x[::2, ::2].T.astype(np.float64)).astype(np.float64)
    np.testing.assert_allclose(lib.to_numpy(activations.softmax(strided)), expected, rtol=1e-6)


def test_gelu_keeps_the_digits_of_its_left_tail(lib: Library) -> None:
    mpmath.mp.dps = 30
    for dtype in {"float32", "float64"} & set(lib.dtypes):
        bound = {"float32": 1e-5, "float64": 1e-13}[dtype]
        x = np.linspace(-8, 8, 161).astype(dtype)
        true = np.asarray([float(mpmath.mpf(float(v)) * mpmath.ncdf(mpmath.mpf(float(v)))) for v in x])
        np.testing.assert_allclose(lib.to_numpy(activations.gelu(lib.asarray(x, dtype))), true, rtol=bound)


def test_reference_agrees_with_mpmath() -> None:
    mpmath.mp.dps = 40
    x = np.asarray([-90.5, -3.25, -1e-3, 0.7, 12.0])
    for name, formula in {
        "sigmoid": lambda v: 1 / (1 + mpmath.exp(-v)),
        "silu": lambda v: v / (1 + mpmath.exp(-v)),
        "tanh": mpmath.tanh,
        "softplus": lambda v: mpmath.log1p(mpmath.exp(v)),
    }.items():
        true = np.asarray([float(formula(mpmath.mpf(v))) for v in x])
        np.testing.assert_allclose(reference(name, x).astype(np.float64), true, rtol=1e-15)


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_shapes_alone_pass_through_torch_meta(name: str) -> None:
    backend = usable("torch")
    x = backend.xp.ones((3, 4), device="meta")
    y = getattr(activations, name)(x)  # a value that is looked at, or moved to the host, raises here
    assert y.shape == (3, 4)
    assert y.device.type == "meta"


@pytest.mark.parametrize("bad", [["a", "b"], [1, 2], "text", None])
def test_what_is_no_array_is_a_data_error(bad: object) -> None:
    with pytest.raises(DataError, match="expected an array"):
        activations.sigmoid(bad)


@pytest.mark.parametrize("values", [np.asarray(["a"]), np.asarray([None]), np.asarray([1j])])
def test_arrays_of_no_numbers_are_a_data_error(values: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected an array of numbers"):
        activations.sigmoid(values)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(AnybackError, match="unknown activation 'sigmod'; known: identity, step, sigmoid"):
        activations.get("sigmod")
