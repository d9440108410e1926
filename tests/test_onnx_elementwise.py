"""ONNX's elementwise operators, activations and casts: float64 NumPy says what is right, on every library."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from conftest import Library
from onnx_apply import called

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of infinity and the like

RNG = np.random.default_rng(5)
X = np.concatenate(
    [RNG.normal(size=20), [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e-30, -1e-6, 40.0, -40.0, np.inf, -np.inf, np.nan]]
).astype(np.float32)
INTS = np.asarray([-7, -2, -1, 0, 1, 2, 7, 100], np.int32)
HALF = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def close(found: Any, wanted: Any, tolerance: float = 3e-6) -> None:
    """Compare with numbers in float64; the same places must be infinite, or no numbers."""
    wanted = np.asarray(wanted)
    assert found.shape == wanted.shape
    with np.errstate(all="ignore"):
        wanted = wanted.astype(found.dtype) if found.dtype.kind == "f" else wanted
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def same(found: Any, wanted: Any, dtype: Any = None) -> None:
    """Compare exactly, types too."""
    wanted = np.asarray(wanted, dtype)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


# -- Functions of one number ----------------------------------------------------------------------------


def erf(x: np.ndarray) -> np.ndarray:
    return np.asarray([math.erf(v) for v in x.reshape(-1)]).reshape(x.shape)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))), 1 / (1 + np.exp(-np.abs(x))))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


Function = Callable[[np.ndarray], np.ndarray]
UNARY: dict[str, tuple[str, dict[str, Any], Function]] = {
    **{
        name: (name, {}, getattr(np, name.lower()))
        for name in (*("Abs", "Ceil", "Floor", "Exp", "Log", "Sqrt", "Sign", "Reciprocal", "Sin", "Cos", "Tan"),)
    },
    **{
        name: (name, {}, getattr(np, "arc" + name.lower()[1:]))
        for name in ("Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh")
    },
    **{name: (name, {}, getattr(np, name.lower())) for name in ("Sinh", "Cosh", "Tanh")},
    "Neg": ("Neg", {}, np.negative),
    "Round": ("Round", {}, np.rint),
    "Erf": ("Erf", {}, erf),
    "Relu": ("Relu", {}, lambda x: np.maximum(x, 0)),
    "Sigmoid": ("Sigmoid", {}, sigmoid),
    "Softplus": ("Softplus", {}, softplus),
    "Softsign": ("Softsign", {}, lambda x: x / (1 + np.abs(x))),
    "LeakyRelu": ("LeakyRelu", {"alpha": 0.3}, lambda x: np.where(x < 0, 0.3 * x, x)),
    "Elu": ("Elu", {"alpha": 0.7}, lambda x: np.where(x < 0, 0.7 * np.expm1(np.minimum(x, 0)), x)),
    "Celu": ("Celu", {"alpha": 2.0}, lambda x: np.maximum(x, 0) + np.minimum(0, 2 * np.expm1(x / 2))),
    "Selu": ("Selu", {"alpha": 1.5, "gamma": 2.0}, lambda x: 2 * np.where(x < 0, 1.5 * np.expm1(np.minimum(x, 0)), x)),
    "HardSigmoid": ("HardSigmoid", {"alpha": 0.3}, lambda x: np.clip(0.3 * x + 0.5, 0, 1)),
    "HardSwish": ("HardSwish", {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Gelu": ("Gelu", {}, lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2)))),
    "Gelu by tanh": ("Gelu", {"approximate": "tanh"}, gelu_tanh),
    "Swish": ("Swish", {"alpha": 0.5}, lambda x: x * sigmoid(0.5 * x)),
    "Mish": ("Mish", {}, lambda x: x * np.tanh(softplus(x))),
    "Shrink": (
        "Shrink",
        {"bias": 0.25, "lambd": 0.5},
        lambda x: np.where(x < -0.5, x + 0.25, np.where(x > 0.5, x - 0.25, np.where(np.isnan(x), 0, 0))),
    ),
    "ThresholdedRelu": ("ThresholdedRelu", {"alpha": 0.4}, lambda x: np.where(x > 0.4, x, 0)),
}
#: Where the definition says infinity times 0: a function may give its limit there.
NO_LIMIT = ("HardSwish", "Gelu", "Gelu by tanh", "Swish", "Mish")


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_number(name: str, lib: Library) -> None:
    op_type, attributes, function = UNARY[name]
    with np.errstate(all="ignore"):
        wanted = function(X.astype(np.float64))
    found = called(op_type, X, lib=lib, **attributes)
    assert found.dtype == np.float32
    usual = ~np.isneginf(X) if name in NO_LIMIT else np.full(X.shape, True)
    close(found[usual], wanted[usual])
    # Alike for one number and for none, and in any shape.
    for shape in ((), (0,), (2, 0, 3)):
        x = np.full(shape, 0.75, np.float32)
        close(called(op_type, x, lib=lib, **attributes), function(x.astype(np.float64)))


@pytest.mark.parametrize("name", UNARY)
def test_half_types_are_rounded_once(name: str, lib: Library) -> None:
    op_type, attributes, function = UNARY[name]
    for dtype in (HALF[d] for d in lib.dtypes if d in HALF):
        x = X[:32].astype(dtype)
        usual = ~np.isneginf(x.astype(np.float32)) if name in NO_LIMIT else np.full(x.shape, True)
        with np.errstate(all="ignore"):
            wanted = function(x.astype(np.float64)).astype(dtype)
        found = called(op_type, x, lib=lib, **attributes)
        assert found.dtype == dtype
        # Four of the type's units at most: some are a few operations, each rounded.
        unit = 2.0 ** (-10 if dtype == np.float16 else -7)
        np.testing.assert_allclose(
            found[usual].astype(np.float64), wanted[usual].astype(np.float64), rtol=4 * unit, atol=4 * unit
        )


def test_functions_of_integers(lib: Library) -> None:
    same(called("Relu", INTS, lib=lib), np.maximum(INTS, 0))
    same(called("Abs", INTS, lib=lib), np.abs(INTS))
    same(called("Abs", np.asarray([0, 200], np.uint8), lib=lib), [0, 200], np.uint8)
    same(called("Neg", INTS, lib=lib), -INTS)
    same(called("Sign", INTS, lib=lib), np.sign(INTS))
    same(called("BitwiseNot", INTS, lib=lib), ~INTS)
    same(called("Not", np.asarray([True, False]), lib=lib), [False, True])


def test_halves_are_rounded_to_even(lib: Library) -> None:
    x = np.asarray([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999998], np.float32)
    same(called("Round", x, lib=lib), [0, 2, 2, 0, -2, 2], np.float32)


def test_infinity_of_either_sign_or_of_one(lib: Library) -> None:
    x = np.asarray([np.inf, -np.inf, np.nan, 3], np.float32)
    same(called("IsInf", x, lib=lib), [True, True, False, False])
    same(called("IsInf", x, lib=lib, detect_negative=0), [True, False, False, False])
    same(called("IsInf", x, lib=lib, detect_positive=0), [False, True, False, False])
    same(called("IsInf", x, lib=lib, detect_positive=0, detect_negative=0), [False] * 4)
    same(called("IsNaN", x, lib=lib), [False, False, True, False])


def test_defaults_of_old_versions_have_fewer_digits(lib: Library) -> None:
    x = np.asarray([-1.0, 2.0], np.float32)
    for version, alpha, gamma in ((1, 1.6732, 1.0507), (6, 1.67326319217681884765625, 1.05070102214813232421875)):
        found = called("Selu", x, lib=lib, version=version)
        close(found, [gamma * alpha * np.expm1(-1), 2 * gamma], 2e-7)


# -- Arithmetic -----------------------------------------------------------------------------------------

A = RNG.normal(size=(3, 1, 4)).astype(np.float32) * 5
B = RNG.normal(size=(2, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "function"),
    [("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide)],
)
def test_arithmetic_broadcasts(name: str, function: Any, lib: Library) -> None:
    close(called(name, A, B, lib=lib), function(A.astype(np.float64), B))
    close(called(name, A, np.float32(2), lib=lib), function(A.astype(np.float64), 2))
    assert called(name, A[:0], B, lib=lib).shape == (0, 2, 4)
    wide = np.asarray([np.inf, -np.inf, np.nan, 0], np.float32)
    with np.errstate(all="ignore"):
        close(called(name, wide[:, None], wide, lib=lib), function(wide[:, None].astype(np.float64), wide))
    if name != "Div":
        same(called(name, INTS, INTS[::-1].copy(), lib=lib), function(INTS, INTS[::-1]))


def test_quotients_of_integers_are_cut_off_towards_zero(lib: Library) -> None:
    low = np.iinfo(np.int32).min
    a = np.asarray([7, -7, 7, -7, 6, -6, 0, low, low, 2**31 - 1], np.int32)
    b = np.asarray([2, 2, -2, -2, 3, 3, -5, 3, 1, -2], np.int32)
    wanted = [int(math.copysign(abs(int(p)) // abs(int(q)), int(p) * int(q))) for p, q in zip(a, b, strict=True)]
    same(called("Div", a, b, lib=lib), wanted, np.int32)
    same(called("Div", np.asarray([250, 7], np.uint8), np.asarray([3, 7], np.uint8), lib=lib), [83, 1], np.uint8)
    same(called("Div", a.astype(np.int8), np.int8(3), lib=lib), np.trunc(a.astype(np.int8) / 3), np.int8)


def test_rests_have_the_sign_of_the_divisor_or_of_the_dividend(lib: Library) -> None:
    a, b = INTS[:, None], np.asarray([3, -3, 5, -1], np.int32)
    same(called("Mod", a, b, lib=lib), np.mod(a, b))
    same(called("Mod", a, b, lib=lib, fmod=1), np.fmod(a, b))
    byte = np.asarray([250, 7], np.uint8), np.asarray([7, 4], np.uint8)
    for fmod in (0, 1):
        same(called("Mod", *byte, lib=lib, fmod=fmod), [5, 3], np.uint8)
    x = np.asarray([5.5, -5.5, 0.0, -0.0, 1e20, np.inf, np.nan, -4.0], np.float32)
    y = np.asarray([[2.0], [-2.0], [np.inf], [-np.inf], [0.7]], np.float32)
    with np.errstate(all="ignore"):
        wanted = np.fmod(x, y)
    found = called("Mod", x, y, lib=lib, fmod=1)
    close(found, wanted, 1e-6)
    np.testing.assert_array_equal(np.signbit(found[:, :5]), np.signbit(wanted[:, :5]))


def test_a_power_has_the_type_of_its_base(lib: Library) -> None:
    x = np.asarray([-2, -1, 0, 1, 3], np.int32)
    same(called("Pow", x, np.asarray(3, np.int32), lib=lib), x**3)
    same(called("Pow", x, np.asarray([0, 0, 0, 0, 4], np.int32), lib=lib), [1, 1, 1, 1, 81], np.int32)
    # A fraction below 1 is cut off; 1 and -1 have powers below 0 that are integers.
    same(
        called("Pow", x[[0, 1, 1, 3, 4]], np.asarray([-1, -1, -2, -3, -2], np.int32), lib=lib),
        [0, -1, 1, 1, 0],
        np.int32,
    )
    same(called("Pow", np.abs(x), np.asarray(2, np.float32), lib=lib), x**2)
    found = called("Pow", np.asarray([4, 2, 9], np.float32), np.asarray([-1, 10, 0], np.int32), lib=lib)
    same(found, [0.25, 1024, 1], np.float32)
    odd = np.asarray([np.inf, np.nan, 0, 1, -8], np.float32)
    with np.errstate(all="ignore"):
        for exponent in (0, 0.5, -1, np.nan, np.inf):
            close(called("Pow", odd, np.float32(exponent), lib=lib), odd.astype(np.float64) ** exponent)
    for dtype in (HALF[d] for d in lib.dtypes if d in HALF):
        found = called("Pow", np.asarray([2, 3], dtype), np.asarray([3, 2], np.float32), lib=lib)
        assert found.dtype == dtype
        assert found.astype(float).tolist() == [8, 9]


@pytest.mark.parametrize(
    ("name", "function"), [("Max", np.maximum), ("Min", np.minimum), ("Sum", np.add), ("Mean", np.add)]
)
def test_any_number_of_arrays(name: str, function: Any, lib: Library) -> None:
    c = np.asarray([1, np.nan, -np.inf, np.inf], np.float32)
    for given in ([A], [A, B], [A, B, c]):
        wanted = given[0].astype(np.float64)
        for x in given[1:]:
            wanted = function(wanted, x)
        close(called(name, *given, lib=lib), wanted / len(given) if name == "Mean" else wanted)
    if name in ("Max", "Min"):
        same(called(name, INTS, INTS[::-1].copy(), lib=lib), function(INTS, INTS[::-1]))
        ints = np.asarray([1, 200], np.uint8), np.asarray([100], np.uint8)
        same(called(name, *ints, lib=lib), function(*ints))


def test_one_bound_or_both(lib: Library) -> None:
    low, high = np.float32(-0.5), np.float32(0.5)
    x = X
    for bounds in ((low, high), (low, None), (None, high), (None, None)):
        wanted = x if bounds == (None, None) else np.clip(x, *bounds)
        close(called("Clip", x, *bounds, lib=lib, version=13), wanted)
        given = {key: float(v) for key, v in zip(("min", "max"), bounds, strict=True) if v is not None}
        close(called("Clip", x, lib=lib, version=6, **given), wanted)
    # Where they cross, the upper one counts.
    same(called("Clip", INTS, np.int32(5), np.int32(-5), lib=lib), np.full(8, -5, np.int32))
    same(called("Clip", INTS, np.int32(-1), None, lib=lib), np.maximum(INTS, -1))
    for dtype in (HALF[d] for d in lib.dtypes if d in HALF):
        found = called("Clip", np.asarray([-3, 0.25, 3], dtype), np.asarray(-1, dtype), lib=lib)
        same(found, np.asarray([-1, 0.25, 3], dtype))


def test_a_second_operand_is_placed_at_an_axis_before_version_7(lib: Library) -> None:
    a, b = RNG.normal(size=(2, 3, 4)).astype(np.float32), RNG.normal(size=(3,)).astype(np.float32)
    for axis in (1, -2):
        close(called("Add", a, b, lib=lib, version=6, broadcast=1, axis=axis), a + b[:, None])
        same(called("Less", a, b, lib=lib, version=6, broadcast=1, axis=axis), a < b[:, None])
    close(called("Mul", a, np.float32(3), lib=lib, version=6, broadcast=1), a * 3)
    close(called("Sub", a, a, lib=lib, version=6), 0 * a)
    close(called("PRelu", a, b, lib=lib, version=6), np.where(a < 0, a * b[:, None], a))
    close(called("PRelu", a, b[:, None], lib=lib), np.where(a < 0, a * b[:, None], a))


# -- Comparison, logic and bits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("Equal", np.equal),
        ("Less", np.less),
        ("Greater", np.greater),
        ("LessOrEqual", np.less_equal),
        ("GreaterOrEqual", np.greater_equal),
    ],
)
def test_comparisons(name: str, function: Any, lib: Library) -> None:
    same(called(name, X[:, None], X, lib=lib), function(X[:, None], X))
    same(called(name, INTS[:, None], INTS, lib=lib), function(INTS[:, None], INTS))
    same(called(name, X[:0], np.float32(1), lib=lib), np.zeros(0, bool))
    if name == "Equal":
        flags = np.asarray([True, False])
        same(called(name, flags[:, None], flags, lib=lib), flags[:, None] == flags)


@pytest.mark.parametrize(
    ("name", "function"), [("And", np.logical_and), ("Or", np.logical_or), ("Xor", np.logical_xor)]
)
def test_truth_values(name: str, function: Any, lib: Library) -> None:
    flags = np.asarray([True, False])
    same(called(name, flags[:, None], flags, lib=lib), function(flags[:, None], flags))
    bits = np.asarray([-1, 0, 5, 1 << 20], np.int32)
    wanted = getattr(np, f"bitwise_{name.lower()}")(bits[:, None], bits)
    same(called(f"Bitwise{name}", bits[:, None], bits, lib=lib), wanted)


def test_bits_that_are_moved_out_are_gone(lib: Library) -> None:
    x, by = np.asarray([1, 255, 129], np.uint8)[:, None], np.asarray([0, 1, 7, 8, 200], np.uint8)
    wide = x.astype(object), by.astype(object)
    same(called("BitShift", x, by, lib=lib, direction="LEFT"), (wide[0] << wide[1]) % 256, np.uint8)
    same(called("BitShift", x, by, lib=lib, direction="RIGHT"), wide[0] >> wide[1], np.uint8)


def test_where_chooses_and_broadcasts(lib: Library) -> None:
    flags = np.asarray([[True], [False]])
    same(called("Where", flags, X, np.float32(2), lib=lib), np.where(flags, X, np.float32(2)))
    same(called("Where", flags, INTS, -INTS, lib=lib), np.where(flags, INTS, -INTS))


# -- Along an axis ------------------------------------------------------------------------------------------


def softmax(x: np.ndarray, axis: Any) -> np.ndarray:
    x = x.astype(np.float64)
    y = np.exp(x - x.max(axis=axis, keepdims=True))
    return y / y.sum(axis=axis, keepdims=True)


CUBE = (RNG.normal(size=(2, 3, 4)) * 3).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_shares_of_a_sum(axis: int, lib: Library) -> None:
    later = tuple(range(axis % 3, 3))
    for version, axes in ((13, axis), (11, later), (1, later)):  # before 13, all axes from one on are one
        wanted = softmax(CUBE, axes)
        close(called("Softmax", CUBE, lib=lib, version=version, axis=axis), wanted)
        close(called("LogSoftmax", CUBE, lib=lib, version=version, axis=axis), np.log(wanted))
        first = CUBE.max(axis=axes, keepdims=True) == CUBE
        same(called("Hardmax", CUBE, lib=lib, version=version, axis=axis), first, np.float32)
    large = CUBE * 1000
    assert np.isfinite(called("Softmax", large, lib=lib, axis=axis)).all()
    close(called("Softmax", large, lib=lib, axis=axis), softmax(large, axis))
    assert called("Softmax", CUBE[:0], lib=lib, axis=-1).shape == (0, 3, 4)


def test_the_default_axis_is_another_before_version_13(lib: Library) -> None:
    close(called("Softmax", CUBE, lib=lib, version=13), softmax(CUBE, -1))
    close(called("Softmax", CUBE, lib=lib, version=11), softmax(CUBE, (1, 2)))


def test_the_first_of_equal_numbers_is_chosen(lib: Library) -> None:
    x = np.asarray([[3, 1, 3], [2, 2, 2]], np.float32)
    same(called("Hardmax", x, lib=lib), [[1, 0, 0], [1, 0, 0]], np.float32)
    same(called("Hardmax", x, lib=lib, version=11, axis=0), [[1, 0, 0], [0, 0, 0]], np.float32)


def test_infinity_among_shares(lib: Library) -> None:
    x = np.asarray([[0, -np.inf, 0], [np.nan, 0, 1]], np.float32)
    found = called("Softmax", x, lib=lib)
    close(found[0], [0.5, 0, 0.5])
    assert np.isnan(found[1]).all()
    logs = called("LogSoftmax", x[:1], lib=lib)
    assert logs[0, 1] <= np.finfo(np.float32).min  # the op of this library gives the lowest number
    close(logs[0, ::2], np.log([0.5, 0.5]))


def test_the_gate_of_two_arrays(lib: Library) -> None:
    a, b = X[:20], X[:20][::-1].copy()
    close(called("SwiGLU", a, b, lib=lib, version=28), a.astype(np.float64) * sigmoid(a.astype(np.float64)) * b)


# -- Types ----------------------------------------------------------------------------------------------------


def test_fractions_are_cut_off(lib: Library) -> None:
    x = np.asarray([2.7, -2.7, 0.0, -0.5, 99.9], np.float32)
    for to in ("int8", "int16", "int32"):
        same(called("Cast", x, lib=lib, to=to), np.trunc(x), to)
    same(called("Cast", np.abs(x), lib=lib, to="uint8"), np.trunc(np.abs(x)), np.uint8)
    same(called("Cast", x, lib=lib, to="bool"), x != 0)
    same(called("Cast", np.asarray([True, False]), lib=lib, to="float32"), [1, 0], np.float32)
    same(called("Cast", INTS, lib=lib, to="float32"), INTS, np.float32)
    same(called("Cast", np.asarray([300, -1], np.int32), lib=lib, to="uint8"), [44, 255], np.uint8)
    same(called("CastLike", x, INTS, lib=lib), np.trunc(x), np.int32)


@pytest.mark.parametrize(
    "name", ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float4_e2m1fn", "bfloat16"]
)
def test_few_digits_are_those_of_the_type(name: str, lib: Library) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name))
    to = name.replace("_", "").replace("float4e2m1fn", "float4e2m1")
    largest = float(ml_dtypes.finfo(dtype).max)
    x = np.concatenate(
        [RNG.normal(size=200) * largest / 4, RNG.normal(size=200), RNG.normal(size=200) * 1e-3, [0.0, 0.25, 0.75, 2.5]]
    ).astype(np.float32)
    x = np.clip(x, -largest, largest)
    wanted = x.astype(dtype).astype(np.float32)
    found = called("Cast", x, lib=lib, to=to)
    np.testing.assert_array_equal(found.astype(np.float32), wanted)


def test_numbers_beyond_a_type_of_8_bits_are_its_largest_or_none(lib: Library) -> None:
    x = np.asarray([1e6, -1e6, np.inf, np.nan], np.float32)
    same(called("Cast", x, lib=lib, to="float8e4m3fn"), [448, -448, 448, np.nan], np.float32)
    same(called("Cast", x, lib=lib, to="float8e4m3fn", saturate=0), [np.nan] * 4, np.float32)
    same(called("Cast", x, lib=lib, to="float8e5m2"), [57344, -57344, 57344, np.nan], np.float32)
    same(called("Cast", x, lib=lib, to="float8e5m2", saturate=0), [np.inf, -np.inf, np.inf, np.nan], np.float32)


def test_few_bits_of_integers_are_the_low_ones(lib: Library) -> None:
    x = np.asarray([-9, -8, -1, 0, 7, 8, 15, 16], np.int32)
    same(called("Cast", x, lib=lib, to="int4"), (x + 8) % 16 - 8, np.int8)
    same(called("Cast", x, lib=lib, to="uint4"), x % 16, np.uint8)
    same(called("Cast", x, lib=lib, to="int2"), (x + 2) % 4 - 2, np.int8)


@pytest.mark.numpy
def test_texts_become_numbers_and_numbers_texts() -> None:
    from anyback.onnx.operators.cast import Cast

    texts = Cast.compute(np.asarray([1.5, np.nan, np.inf, -np.inf, 3], np.float32), to="string")
    assert texts.tolist() == ["1.5", "NaN", "INF", "-INF", "3"]
    numbers = Cast.compute(np.asarray(["1.5", "NaN", "INF", "-INF", "3"], object), to="float32")
    same(numbers, [1.5, np.nan, np.inf, -np.inf, 3], np.float32)
