"""Bounds: whatever a library rounds, in whatever order it adds: its answer is inside, and no decided label flips."""

from __future__ import annotations

import functools
import itertools
import operator
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from conftest import Library

import anyback as ab
from anyback import activations, backends
from anyback.agreement._simulated import simulated
from anyback.bounds import Arithmetic, Bounded, Certificate, certify, round_to
from anyback.bounds._shortened import cut_off as cut_shortened
from anyback.bounds._shortened import to_nearest
from anyback.bounds.certify import forward
from anyback.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    LayerNorm,
    Linear,
    MaxPool,
    Pixels,
    Reshape,
    Residual,
    Scale,
    Sequential,
)
from anyback.lower import simplified
from anyback.network import Network
from anyback.numbers import PRECISIONS
from anyback.ops import OPS

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]

# -- Arithmetic that a library might have -------------------------------------------------------------


def in_order(order: str) -> Product:
    """Return a product in float32 that adds its terms in some order."""

    def product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        terms = np.arange(len(w))
        if order == "backwards":
            terms = terms[::-1]
        elif order.startswith("random"):
            terms = np.random.default_rng(int(order[6:])).permutation(terms)
        elif order == "largest first":
            terms = np.argsort(-np.abs(w).max(axis=1))
        total = np.zeros((len(x), w.shape[1]), dtype=np.float32)
        for k in terms:
            term = x[:, k, None].astype(np.float64) * w[k].astype(np.float64)
            # Fused: one rounding for product and sum. Else each has its own.
            total = (total + (term if order == "fused" else term.astype(np.float32))).astype(np.float32)
        return total

    return product


def pairwise(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Add in float32 by halves, as a tree."""
    terms = x[:, :, None] * w[None]
    while terms.shape[1] > 1:
        if terms.shape[1] % 2:
            terms = np.concatenate([terms, np.zeros_like(terms[:, :1])], axis=1)
        terms = terms[:, ::2] + terms[:, 1::2]
    return terms[:, 0]


def cut_off(x: np.ndarray, bits: int) -> np.ndarray:
    """Cut the last bits of float32 numbers off."""
    return (x.view(np.uint32) >> (24 - bits) << (24 - bits)).view(np.float32)


def away(x: np.ndarray, bits: int) -> np.ndarray:
    """Round float32 numbers to nearest, ties away from 0, as the instruction that makes TF32 does."""
    return cut_off((x.view(np.uint32) + (1 << (23 - bits))).view(np.float32), bits)


def tensor_core(shorten: Callable[[np.ndarray, int], np.ndarray], bits: int) -> Product:
    """Return a product of shortened operands, whose sums over eight terms at a time are cut off, not rounded."""

    def product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        x, w = shorten(x, bits).astype(np.float64), shorten(w, bits).astype(np.float64)
        total = np.zeros((len(x), w.shape[1]), dtype=np.float32)
        for k in range(0, len(w), 8):
            exact = total + x[:, k : k + 8] @ w[k : k + 8]
            total = exact.astype(np.float32)
            total = np.where(np.abs(total) > np.abs(exact), np.nextafter(total, np.float32(0)), total)
        return total

    return product


def forms(net: Network) -> list[Network]:
    """Return what gives what goes into the softmax for integers: as the calls are, and with the scale folded."""
    last = net.last()
    assert last is not None
    before = net.select(last.arguments[0])
    return [before, simplified(before, ["uint8"])]


def logits(net: Network, x: np.ndarray, product: Product) -> np.ndarray:
    """Return the output of a multilayer perceptron, with float32 arithmetic and products as given."""
    values: list[Any] = [x, *net.arrays]
    for call in net.calls:
        y, *arrays = (values[i] for i in call.arguments)
        match call.op.name:
            case "flatten":
                y = y.reshape(len(y), -1)
            case "pixels":
                y = y.astype(np.float32) / arrays[0]
            case "linear":
                y = product(y.astype(np.float32), arrays[0]) + arrays[1]
            case "sigmoid":
                y = 1 / (1 + np.exp(-y))  # another formula than anyback's, within the same 4 units in the last place
        values.append(y)
    return values[net.outputs[0]]


ARITHMETICS = {
    "highest": {
        **{name: in_order(name) for name in ("forwards", "backwards", "random1", "random2", "largest first", "fused")},
        "pairwise": pairwise,
        "blas": np.matmul,
    },
    "tf32": {name: tensor_core(f, 11) for name, f in {"nearest": round_to, "away": away, "cut off": cut_off}.items()},
    "bf16": {name: tensor_core(f, 8) for name, f in {"nearest": round_to, "away": away, "cut off": cut_off}.items()},
}
CASES = [(precision, name) for precision, known in ARITHMETICS.items() for name in known]


def bounded_logits(net: Network, x: np.ndarray, precision: str) -> Bounded:
    arithmetic = Arithmetic(precision)
    return forward(net.map(lambda a: arithmetic.asarray(ab.to_numpy(a))), arithmetic.asarray(x))


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize(("precision", "name"), CASES)
def test_no_arithmetic_leaves_the_bounds_or_flips_a_decided_digit(precision: str, name: str, form: int) -> None:
    net, test = ab.load_model("digits-mlp", backend="numpy"), ab.datasets.digits("test")
    found = logits(forms(net)[form], test.images, ARITHMETICS[precision][name])
    bounded = bounded_logits(forms(net)[form], test.images, precision)
    assert np.all(np.abs(found - bounded.value) <= bounded.bound)
    proof = certify(net, test.images, precision=precision)
    np.testing.assert_array_equal(found.argmax(axis=1)[proof.decided], proof.labels[proof.decided])


@functools.cache  # a second for each precision
def books_proof(precision: str) -> Certificate:
    """Return the proof for the book's network and the 10,000 images."""
    return certify(ab.load_model("mnist-mlp", backend="numpy"), ab.datasets.mnist("test").images, precision=precision)


@functools.cache
def books_logits() -> Bounded:
    _, folded = forms(ab.load_model("mnist-mlp", backend="numpy"))
    return bounded_logits(folded, ab.datasets.mnist("test").images, "highest")


@pytest.mark.parametrize(("precision", "name"), CASES)
def test_the_closest_of_the_books_answers_do_not_flip_where_decided(
    precision: str, name: str, data_dir: object
) -> None:
    net, test = ab.load_model("mnist-mlp", backend="numpy"), ab.datasets.mnist("test")
    proof = books_proof(precision)
    closest = np.argsort(proof.margins - proof.bounds)[: 200 + proof.undecided]
    decided = proof.decided[closest]
    assert decided.sum() == 200
    for form in forms(net):
        found = logits(form, test.images[closest], ARITHMETICS[precision][name])
        bounded = bounded_logits(form, test.images[closest], precision)
        assert np.all(np.abs(found - bounded.value) <= bounded.bound)
        np.testing.assert_array_equal(found.argmax(axis=1)[decided], proof.labels[closest][decided])


def test_no_library_leaves_the_bounds(lib: Library, data_dir: object) -> None:
    net, test = ab.load_model("mnist-mlp", backend=lib.backend), ab.datasets.mnist("test")
    found = ab.to_numpy(ab.predict(net[:-1], test.images))
    bounded = books_logits()
    assert np.all(np.abs(found - bounded.value) <= bounded.bound)
    labels = ab.evaluate(net, test.images, test.labels).predictions
    proof = books_proof("highest")
    np.testing.assert_array_equal(labels[proof.decided], proof.labels[proof.decided])


@pytest.mark.parametrize(("precision", "most"), [("highest", 0), ("tf32", 14), ("bf16", 150)])
def test_few_of_the_books_answers_are_undecided(precision: str, most: int, data_dir: object) -> None:
    proof = books_proof(precision)
    assert proof.undecided <= most  # 0, 14 and 147
    assert repr(proof).startswith(f"Certificate({10_000 - proof.undecided} of 10000 labels decided")


@pytest.mark.parametrize("name", sorted(set(activations.ACTIVATIONS) - {"softmax", "log_softmax"}))
def test_every_activation_stays_inside_on_every_library(lib: Library, name: str) -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=(40, 8)) * scale for scale in (0.1, 1, 10)]).astype(np.float32)
    arrays = rng.normal(size=(8, 6)), rng.normal(size=6), rng.normal(size=(6, 4))
    w1, b1, w2 = (lib.asarray(a) for a in arrays)
    net = Sequential((Linear(w1, b1), activations.get(name), Linear(w2)))
    found = lib.to_numpy(net(lib.asarray(x)))
    arithmetic = Arithmetic()
    bounded = net.map(lambda a: arithmetic.asarray(ab.to_numpy(a)))(arithmetic.asarray(x))
    assert np.all(np.abs(found - bounded.value) <= bounded.bound)
    if name != "step":  # a step right at the edge may go either way
        assert np.median(bounded.bound) < 1e-3


@pytest.mark.parametrize("name", ["erf", "erfc", "softmax", "log_softmax", "tanh"])
def test_a_function_stays_inside_at_all_numbers_on_every_library(lib: Library, name: str) -> None:
    x = np.concatenate([np.linspace(-6, 6, 12_001), np.linspace(-1e-3, 1e-3, 1001), np.geomspace(1e-30, 100, 999)])
    x = x.astype(np.float32)[: x.size // 8 * 8].reshape(-1, 8)
    bounded = OPS[name](Arithmetic().asarray(x))
    assert np.all(np.abs(lib.to_numpy(OPS[name](lib.asarray(x))) - bounded.value) <= bounded.bound)


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "tanh", "sqrt", "erfc"])
def test_a_function_of_an_interval_holds_all_its_values(name: str) -> None:
    rng = np.random.default_rng(4)
    centre = rng.uniform(0.1, 5, 200)
    reach = 10.0 ** rng.uniform(-8, -1.5, 200)
    arithmetic = Arithmetic()
    y = getattr(arithmetic, name)(Bounded(centre, reach, arithmetic))
    for place in (-1, -0.3, 0, 1):
        true = np.asarray([float(getattr(mpmath, name)(mpmath.mpf(v))) for v in centre + place * reach])
        assert np.all(np.abs(true.astype(np.float32) - y.value) <= y.bound)


@pytest.mark.parametrize("operation", ["add", "sub", "mul", "truediv"])
def test_an_operation_on_intervals_holds_all_its_values(operation: str) -> None:
    rng = np.random.default_rng(5)
    arithmetic = Arithmetic()
    a, b = rng.normal(size=500), rng.normal(size=500)
    u, v = 10.0 ** rng.uniform(-9, 0, 500), 10.0 ** rng.uniform(-9, 0, 500)
    act = getattr(operator, operation)
    y = act(Bounded(a, u, arithmetic), Bounded(b, v, arithmetic))
    for s in (-1, 1, 0.2):
        for t in (-1, 1, -0.7):
            found = act(a + s * u, b + t * v).astype(np.float32)
            assert np.all((np.abs(found - y.value) <= y.bound) | ~np.isfinite(y.bound))
    # No bound at all holds everything: only a division by what may be 0 has none.
    assert np.all(np.isfinite(y.bound) | (operation == "truediv") & (np.abs(b) <= 1.001 * v))


@pytest.mark.parametrize("axis", [None, 1, (1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_a_sum_of_intervals_holds_all_its_values_in_every_order(axis: Any, keepdims: bool) -> None:
    rng = np.random.default_rng(7)
    arithmetic = Arithmetic()
    x, reach = rng.normal(size=(4, 30, 5)), 10.0 ** rng.uniform(-9, -6, (4, 30, 5))
    y = arithmetic.sum(Bounded(x, reach, arithmetic), axis=axis, keepdims=keepdims)
    for _ in range(20):
        values = (x + rng.uniform(-1, 1, x.shape) * reach).astype(np.float32)
        for single in (rng.permutation(values, axis=1), np.flip(values, axis=1)):
            found = np.sum(single, axis=axis, keepdims=keepdims, dtype=np.float32)
            assert found.shape == y.shape
            assert np.all(np.abs(found - y.value) <= y.bound)
    assert np.all(y.bound < 0.02)
    assert arithmetic.sum(arithmetic.asarray(np.zeros((3, 2))), axis=0).bound.tolist() == [0, 0]


def test_a_product_of_more_axes_holds_all_its_values() -> None:
    rng = np.random.default_rng(8)
    for precision in PRECISIONS:
        arithmetic = Arithmetic(precision)
        w, x = rng.normal(size=(2, 3, 7)), rng.normal(size=(5, 2, 7, 4))
        u, v = 10.0 ** rng.uniform(-9, -2, w.shape), 10.0 ** rng.uniform(-9, -2, x.shape)
        y = arithmetic.matmul(Bounded(w, u, arithmetic), Bounded(x, v, arithmetic))
        bits = PRECISIONS[precision].significant or 24
        for _ in range(50):
            left = (w + rng.choice([-1, 1, 0.3], w.shape) * u).astype(np.float32)
            right = (x + rng.choice([-1, 1, -0.6], x.shape) * v).astype(np.float32)
            shortened = (round_to, away, cut_off) if bits < 24 else ()
            for shorten in (*shortened, lambda a, bits: a):
                found = np.matmul(shorten(left, bits), shorten(right, bits))
                assert np.all(np.abs(found - y.value) <= y.bound)


def test_moving_numbers_changes_neither_values_nor_bounds() -> None:
    rng = np.random.default_rng(14)
    arithmetic = Arithmetic()
    value, bound = rng.normal(size=(3, 4)), rng.uniform(size=(3, 4))
    x = Bounded(value, bound, arithmetic)
    moved = {
        "T": (x.T, np.transpose),
        "reshape": (arithmetic.reshape(x, (2, -1)), lambda a: a.reshape(2, -1)),
        "permute_dims": (arithmetic.permute_dims(x, (1, 0)), np.transpose),
        "slices": (x[1:, ::2], lambda a: a[1:, ::2]),
        "concat": (arithmetic.concat([x, x], axis=1), lambda a: np.concatenate([a, a], axis=1)),
        "stack": (arithmetic.stack([x, x], axis=2), lambda a: np.stack([a, a], axis=2)),
    }
    for found, move in moved.values():
        np.testing.assert_array_equal(found.value, move(value), strict=True)
        np.testing.assert_array_equal(found.bound, move(bound), strict=True)
    padding = arithmetic.full((3, 4), -np.inf, dtype=np.dtype(np.float32), device="cpu")
    np.testing.assert_array_equal(arithmetic.maximum(padding, x).bound >= bound, np.ones((3, 4), bool))
    assert not arithmetic.maximum(padding, padding).bound.any()
    product = x @ x.T
    np.testing.assert_array_equal(product.bound, arithmetic.matmul(x, x.T).bound)


def test_shortened_intervals_hold_their_numbers_and_nothing_that_is_known_is_widened() -> None:
    rng = np.random.default_rng(9)
    x = np.concatenate([rng.normal(size=2000), -(2.0 ** rng.uniform(-30, 30, 500)), [0.0, -0.0, 1.0, -1.0]])
    x = x.astype(np.float32).astype(np.float64)
    ties = np.concatenate([sign * (1 + (2 * rng.integers(0, 128, 100) + 1) * 2.0**-8) for sign in (1, -1)])
    for bits in (8, 11):
        middle, reach = to_nearest(x, np.zeros(x.shape), bits)
        known = reach == 0  # the others are ties
        assert known.mean() > 0.99
        np.testing.assert_array_equal(middle[known], round_to(x, bits)[known])
        middle, reach = cut_shortened(x, np.zeros(x.shape), bits)
        np.testing.assert_array_equal(middle, cut_off(x.astype(np.float32), bits))
        assert not np.any(reach)
    middle, reach = to_nearest(ties, np.zeros(ties.shape), 8)
    np.testing.assert_array_equal(middle, ties)  # between its two neighbours
    np.testing.assert_array_equal(reach, np.full(ties.shape, 2.0**-8))


def test_round_to_is_the_rounding_of_bfloat16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 comes from ml_dtypes")
    x = np.random.default_rng(6).normal(size=10_000).astype(np.float32)
    np.testing.assert_array_equal(round_to(x, 8), x.astype(ml_dtypes.bfloat16).astype(np.float32), strict=True)


def test_a_bound_that_is_too_small_would_be_seen() -> None:
    net, test = ab.load_model("digits-mlp", backend="numpy"), ab.datasets.digits("test")
    for form in forms(net):
        bounded = bounded_logits(form, test.images, "highest")
        for precision, share in (("tf32", 0.2), ("bf16", 0.5)):
            for product in ARITHMETICS[precision].values():
                outside = np.abs(logits(form, test.images, product) - bounded.value) > bounded.bound
                assert outside.mean() > share


# -- Rules of functions -------------------------------------------------------------------------------

Numbers = list[np.ndarray]


@dataclass(frozen=True)
class Rule:
    """A function of the standard, the numbers that it is given, and how wide its bounds may be.

    Parameters
    ----------
    apply : callable
        Takes the namespace and the arrays.
    given : tuple of (float, float)
        For each argument, between which numbers it lies; each has shape (6, 7).
    wide : float
        What the median of the bounds is below, by that of the reaches of what is given.
    """

    apply: Callable[..., Any]
    given: tuple[tuple[float, float], ...] = ((-3, 3),)
    wide: float = 10.0


RULES = {
    "maximum": Rule(lambda xp, x, y: xp.maximum(x, y), ((-3, 3), (-3, 3)), 2),
    "minimum": Rule(lambda xp, x, y: xp.minimum(x, y), ((-3, 3), (-3, 3)), 2),
    "clip": Rule(lambda xp, x: xp.clip(x, -1.0, 1.5), wide=2),
    "where": Rule(lambda xp, x, y: xp.where(x > 0, x, y), ((-3, 3), (-3, 3)), 2),
    "where, open": Rule(lambda xp, x: xp.where(x > 1, 2 * x, 3 - x), wide=4),
    "mean": Rule(lambda xp, x: xp.mean(x, axis=1), wide=3),
    "mean of all": Rule(lambda xp, x: xp.mean(x), wide=30),
    "sum of both axes": Rule(lambda xp, x: xp.sum(x, axis=(0, 1)), wide=1000),
    "cumulative_sum": Rule(lambda xp, x: xp.cumulative_sum(x, axis=1)),
    "prod": Rule(lambda xp, x: xp.prod(x, axis=0), ((0.5, 2),), 40),
    "prod around 0": Rule(lambda xp, x: xp.prod(1e-3 * x, axis=1)),
    "max": Rule(lambda xp, x: xp.max(x, axis=1), wide=2),
    "min": Rule(lambda xp, x: xp.min(x, axis=(0, 1), keepdims=True), wide=2),
    "sort": Rule(lambda xp, x: xp.sort(x, axis=0, descending=True), wide=2),
    "floor": Rule(lambda xp, x: xp.floor(x), wide=1),
    "ceil": Rule(lambda xp, x: xp.ceil(x), wide=1),
    "round": Rule(lambda xp, x: xp.round(x), wide=1),
    "trunc": Rule(lambda xp, x: xp.trunc(x), wide=1),
    "to integers and back": Rule(lambda xp, x: xp.astype(xp.astype(x, xp.int32), xp.float32), wide=1),
    "square root of a square": Rule(lambda xp, x: xp.sqrt(xp.square(x) + 1e-3)),
    "log": Rule(lambda xp, x: xp.log(x), ((0.1, 3),)),
    "power": Rule(lambda xp, x, y: x**y, ((0.1, 3), (-2, 2)), 20),
    "cube": Rule(lambda xp, x: x**3, wide=40),
    "inverse square": Rule(lambda xp, x: x**-2.0, ((0.5, 3),), 40),
    "whole power": Rule(lambda xp, x: x ** xp.full_like(x, 5.0), ((-1.5, 1.5),), 40),
    "flip, roll, pad": Rule(lambda xp, x: xp.roll(xp.flip(x, axis=1), 2, axis=0), wide=2),
    "triangle": Rule(lambda xp, x: xp.tril(x) + xp.triu(x, k=1), wide=3),
    "moveaxis": Rule(lambda xp, x: xp.moveaxis(xp.expand_dims(x, axis=0), 0, 2), wide=2),
    "matrix_transpose": Rule(lambda xp, x: xp.matrix_transpose(xp.tile(x, (1, 2))), wide=2),
    "softmax": Rule(lambda xp, x: activations.softmax(x), wide=2),
    "log_softmax": Rule(lambda xp, x: activations.log_softmax(x), wide=20),
    "sigmoid": Rule(lambda xp, x: activations.sigmoid(x), wide=2),
    "largest by place": Rule(lambda xp, x: xp.take(x[0, :], xp.argmax(x, axis=1), axis=0), wide=2),
    "order by place": Rule(lambda xp, x: xp.take(x[0, :], xp.argsort(x[1, :], stable=True), axis=0), wide=2),
}


def drawn(rule: Rule, rng: np.random.Generator, reach: float) -> tuple[Numbers, Numbers]:
    """Return float32 numbers for each argument, and how far each may be off: as they are where `reach` is 0."""
    values = [rng.uniform(low, high, (6, 7)).astype(np.float32).astype(np.float64) for low, high in rule.given]
    return values, [reach * rng.uniform(0.1, 1, x.shape) for x in values]


def outside(found: np.ndarray, y: Bounded) -> np.ndarray:
    """Return where what a library found is not within its bounds."""
    assert found.shape == y.shape
    return ~((np.abs(found.astype(np.float64) - y.value) <= y.bound) | ~np.isfinite(y.bound))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_holds_what_comes_of_all_numbers_inside(name: str) -> None:
    rule, rng, arithmetic = RULES[name], np.random.default_rng(20), Arithmetic()
    import array_api_compat.numpy as xp

    for reach in (0.0, 1e-7, 1e-4, 1e-2, 1.0):
        values, reaches = drawn(rule, rng, reach)
        given = [Bounded(v, r, arithmetic) for v, r in zip(values, reaches, strict=True)]
        with np.errstate(all="ignore"):
            y = rule.apply(arithmetic, *given)
        for _ in range(40):
            inside = [
                v + rng.choice([-1, 1, 0, rng.uniform(-1, 1)], v.shape) * r
                for v, r in zip(values, reaches, strict=True)
            ]
            for dtype in (np.float32, np.float64):
                if dtype == np.float32 and 0 < reach < 1e-6:
                    continue  # rounding would bring what is inside out of it
                with np.errstate(all="ignore"):
                    rounded = [
                        np.clip(x.astype(dtype), v - r, v + r).astype(dtype)
                        for x, v, r in zip(inside, values, reaches, strict=True)
                    ]
                    kept = [
                        np.abs(x.astype(np.float64) - v) <= r for x, v, r in zip(rounded, values, reaches, strict=True)
                    ]
                    rounded = [np.where(k, x, v.astype(dtype)) for k, x, v in zip(kept, rounded, values, strict=True)]
                    found = np.asarray(rule.apply(xp, *rounded))
                assert not np.any(outside(found, y))
        if reach <= 1e-4:
            assert np.median(y.bound) <= rule.wide * (reach + 3e-7)


@pytest.mark.parametrize("name", RULES)
def test_no_library_leaves_a_rule(lib: Library, name: str) -> None:
    rule = RULES[name]
    values, _ = drawn(rule, np.random.default_rng(21), 0.0)
    y = rule.apply(Arithmetic(), *[Arithmetic().asarray(v.astype(np.float32)) for v in values])
    if lib.backend.name == "dask" and name in ("sort", "order by place"):
        pytest.skip("Dask has no order")
    found = lib.to_numpy(rule.apply(lib.xp, *[lib.asarray(v) for v in values]))
    assert not np.any(outside(found, y))


@pytest.mark.parametrize("name", sorted(set(RULES) - {"to integers and back"}))
def test_of_what_may_be_anything_nothing_is_known(name: str) -> None:
    rule, arithmetic = RULES[name], Arithmetic()
    values, reaches = drawn(rule, np.random.default_rng(22), 1e-5)
    for unknown in (np.inf, np.nan):
        given = [Bounded(v, r + unknown, arithmetic) for v, r in zip(values, reaches, strict=True)]
        with np.errstate(all="ignore"):
            y = rule.apply(arithmetic, *given)
        lost = ~np.isfinite(y.bound)
        assert lost.all() or (name == "triangle" and lost.any())


@pytest.mark.parametrize("exponent", [2.0, 3.0, -1.0, -2.0, 0.5, 0.0])
def test_powers_hold_those_of_mpmath(exponent: float) -> None:
    rng, arithmetic = np.random.default_rng(23), Arithmetic()
    centre, reach = rng.uniform(-2, 2, 200), 10.0 ** rng.uniform(-8, -0.5, 200)
    with np.errstate(all="ignore"):
        y = Bounded(centre, reach, arithmetic) ** exponent
    for place in (-1, -0.4, 0, 0.9, 1):
        for base, value, bound in zip(centre + place * reach, y.value, y.bound, strict=True):
            if exponent % 1 and base <= 0:
                assert not np.isfinite(bound)  # there is no such power
            elif exponent >= 0 or base:
                true = float(mpmath.mpf(base) ** exponent)
                assert abs(true - value) <= bound or not np.isfinite(bound)
    if exponent in (2.0, 3.0):
        assert np.all(np.isfinite(y.bound))
    if exponent < 0:
        np.testing.assert_array_equal(np.isfinite(y.bound), np.abs(centre) > reach)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_shares_of_intervals_hold_those_of_their_ends_and_reach_them(name: str) -> None:
    rng, arithmetic = np.random.default_rng(24), Arithmetic()
    x, reach = rng.normal(size=(50, 5), scale=3), 10.0 ** rng.uniform(-7, 0.5, (50, 5))
    y = activations.get(name)(Bounded(x, reach, arithmetic))
    farthest = np.zeros(x.shape)
    for signs in itertools.product((-1, 1), repeat=5):
        ends = x + np.asarray(signs) * reach
        e = np.exp(ends - ends.max(axis=1, keepdims=True))
        true = e / e.sum(axis=1, keepdims=True)
        farthest = np.maximum(farthest, np.abs((np.log(true) if name == "log_softmax" else true) - y.value))
    assert np.all(farthest <= y.bound)
    assert np.all(y.bound <= 1.01 * farthest + 1e-5)  # no wider than it must be


@np.errstate(invalid="ignore")  # of infinities less infinities
def test_minus_infinity_in_a_mask_is_exactly_that() -> None:
    arithmetic = Arithmetic()
    scores = Bounded(np.asarray([[1.0, 2.0, 3.0]]), np.full((1, 3), 1e-6), arithmetic)
    mask = arithmetic.asarray(np.asarray([[0.0, 0.0, -np.inf]], np.float32))
    shown = arithmetic.asarray(np.asarray([[True, True, False]]))
    hidden = arithmetic.where(shown, scores, arithmetic.full_like(scores, -np.inf))
    twice = -1.0 * (mask * -1.0 - 9.0)
    for masked in (scores + mask, hidden, arithmetic.maximum(hidden, mask - 9.0), twice + scores):
        assert masked.value[0, 2] == -np.inf
        assert masked.exact[0, 2]
        shares = activations.softmax(masked)
        assert shares.value[0, 2] == 0
        assert np.all(shares.bound < 1e-5)
        assert arithmetic.max(masked, axis=1).bound[0] < 1e-5
    assert not (hidden == -np.inf).bound.any()
    lowest = np.finfo(np.float32).min  # some exporters write this one
    finite = scores + arithmetic.asarray(np.asarray([[0, 0, lowest]], np.float32))
    assert np.isfinite(finite.bound).all()
    assert np.all(activations.softmax(finite).bound < 1e-5)
    assert not np.isfinite((finite * 1.1).bound[0, 2])
    unknown = Bounded(np.asarray([[np.inf]]), np.asarray([[np.inf]]), arithmetic)
    assert not np.isfinite((unknown + mask[:, 2:]).bound).any()
    assert not np.isfinite(arithmetic.maximum(unknown, -mask[:, 2:]).bound).any()


def test_integers_are_exact_as_far_as_every_library_has_them() -> None:
    rng, arithmetic = np.random.default_rng(25), Arithmetic()
    a, b = rng.integers(-40, 40, (8, 8)), rng.integers(1, 9, (8, 8))
    x, y = arithmetic.asarray(a), arithmetic.asarray(b)
    found = {
        "sum": (x + y, a + b),
        "difference": (3 - x, 3 - a),
        "product": (x * y * -2, a * b * -2),
        "quotient": (x // y, a // b),
        "rest": (x % y, a % b),
        "power": (x**2, a**2),
        "bits": ((x & y) | (x ^ 5), (a & b) | (a ^ 5)),
        "matrix product": (x @ y, a @ b),
        "sum of all": (arithmetic.sum(x), a.sum()),
        "count": (arithmetic.sum(x > y), (a > b).sum()),
        "largest": (arithmetic.argmax(x, axis=1), a.argmax(axis=1)),
        "order": (arithmetic.argsort(x, axis=1), a.argsort(axis=1, kind="stable")),
        "picked": (arithmetic.take(x, arithmetic.asarray(np.asarray([3, 0])), axis=1), a[:, [3, 0]]),
    }
    for name, (y, true) in found.items():
        np.testing.assert_array_equal(np.asarray(y), true, err_msg=name)
        assert y.dtype.kind == "i", name
    large = arithmetic.asarray(np.asarray([2**30]))
    assert not np.isfinite((large * 4).bound).any()  # on JAX it is 0
    assert not np.isfinite((arithmetic.asarray(np.asarray([3], np.uint8)) - 4).bound).any()
    assert (arithmetic.asarray(np.asarray([2**60 + 1])).bound > 0).all()  # float64 does not hold it
    assert np.asarray(x).dtype == np.int64


def test_booleans_that_are_open_may_be_either() -> None:
    arithmetic = Arithmetic()
    each = [(value, known) for value in (False, True) for known in (True, False)]
    pairs = list(itertools.product(each, each))
    x, y = (
        Bounded(
            *(np.asarray(part, np.float64) for part in ([p[i][0] for p in pairs], [not p[i][1] for p in pairs])),
            arithmetic,
            np.dtype(bool),
        )
        for i in (0, 1)
    )
    for name, act in {"and": operator.and_, "or": operator.or_, "xor": operator.xor}.items():
        found = act(x, y)
        for place, (a, b) in enumerate(pairs):
            results = {
                act(p, q) for p in ({a[0]} if a[1] else {False, True}) for q in ({b[0]} if b[1] else {False, True})
            }
            assert found.exact[place] == (len(results) == 1), name
            assert bool(found.value[place]) in results, name
    assert [bool((~x).value[i]) for i in (0, 8)] == [True, False]
    np.testing.assert_array_equal((~x).exact, x.exact)
    parts = {"no": (0, 0), "yes": (1, 0), "open": (0, 1), "open too": (1, 1)}
    for names in itertools.product(parts, repeat=2):
        row = Bounded(*np.asarray([parts[name] for name in names], np.float64).T, arithmetic, np.dtype(bool))
        some, every = arithmetic.any(row), arithmetic.all(row)
        assert bool(some.exact) == ("yes" in names or names == ("no", "no"))
        assert bool(every.exact) == ("no" in names or names == ("yes", "yes"))
        assert not some.exact or bool(some) == ("yes" in names)
        assert not every.exact or bool(every) == ("no" not in names)


def test_places_that_are_open_give_nothing() -> None:
    arithmetic = Arithmetic()
    scores = Bounded(np.asarray([[3.0, 1.0, 2.0], [3.0, 2.99, 1.0]]), np.full((2, 3), 0.1), arithmetic)
    assert arithmetic.argmax(scores, axis=1).exact.tolist() == [True, False]
    assert arithmetic.argmin(scores, axis=1).value.tolist() == [1, 2]
    order = arithmetic.argsort(scores, axis=1)
    assert order.exact.tolist() == [[True, True, True], [True, False, False]]
    assert order.value.tolist() == [[1, 2, 0], [2, 1, 0]]
    down = arithmetic.argsort(scores, axis=1, descending=True, stable=True)
    assert down.exact.tolist() == [[True, True, True], [False, False, True]]
    table = arithmetic.asarray(np.arange(6.0).reshape(3, 2))
    picked = arithmetic.take(table, arithmetic.argmax(scores, axis=1), axis=0)
    assert picked.value[0].tolist() == [0, 1]
    assert np.isfinite(picked.bound).tolist() == [[True, True], [False, False]]
    assert np.isfinite(arithmetic.take_along_axis(scores, order, axis=1).bound).sum() == 4


def test_values_are_told_to_the_host_only_where_they_are_the_same_everywhere() -> None:
    arithmetic = Arithmetic()
    known = arithmetic.asarray(np.asarray([3], np.int64))
    assert (int(known[0]), float(known[0]), bool(known[0]), [7, 8, 9, 10][known[0]]) == (3, 3.0, True, 10)
    with pytest.raises(ab.BackendError, match="asks for values on the host, which rounding may change"):
        bool(known * 0.1 > Bounded(np.asarray([0.3]), np.asarray([1e-3]), arithmetic))
    with pytest.raises(ab.BackendError, match="do not mix"):
        known + np.ones(1)


@pytest.mark.parametrize("precision", ["highest", "tf32", "bf16"])
def test_attention_holds_what_comes_of_shortened_operands(precision: str) -> None:
    rng, arithmetic = np.random.default_rng(26), Arithmetic(precision)
    q, k, v = (rng.normal(size=(2, 3, 5, 4)).astype(np.float32) for _ in range(3))

    def attention(xp: Any, product: Callable[..., Any], q: Any, k: Any, v: Any) -> Any:
        scores = product(q, xp.matrix_transpose(k)) * 0.5
        return product(activations.softmax(scores), v)

    y = attention(arithmetic, arithmetic.matmul, *map(arithmetic.asarray, (q, k, v)))
    assert np.median(y.bound) < {"highest": 1e-5, "tf32": 2e-2, "bf16": 1e-1}[precision]
    bits = PRECISIONS[precision].significant
    for shorten in (round_to, away, cut_off) if bits else (lambda x, bits: x,):
        found = attention(np, lambda x, w, cut=shorten: np.matmul(cut(x, bits), cut(w, bits)), q, k, v)
        assert not np.any(outside(found, y))


# -- Networks of other ops ----------------------------------------------------------------------------


def images_and_networks() -> dict[str, tuple[tuple[int, ...], Sequential]]:
    """Return networks of convolutions and what goes with them, by name, each with the shape of a sample."""
    rng = np.random.default_rng(10)

    def array(*shape: int) -> np.ndarray:
        return rng.normal(size=shape, scale=0.5).astype(np.float32)

    def norm(channels: int) -> BatchNorm:
        return BatchNorm(array(channels), np.abs(array(channels)) + 1, array(channels), array(channels))

    one = Residual(Sequential(Conv(array(4, 4, 3, 3), padding=1), norm(4), "relu"))
    return {
        "strides, padding, groups": (
            (4, 9, 8),
            Sequential(
                Conv(array(6, 2, 3, 2), array(6), 2, ((1, 0), (2, 1)), (1, 2), 2), "relu", Conv(array(3, 6, 1, 1))
            ),
        ),
        "depthwise": ((4, 11), Sequential(Conv(array(4, 1, 5), array(4), padding=2, groups=4), "tanh")),
        "three axes": ((2, 5, 4, 6), Sequential(Conv(array(3, 2, 2, 2, 3)))),
        "pools": (
            (3, 9, 8),
            Sequential(MaxPool((3, 2), 2, 1), AveragePool((2, 3), (1, 2), ((1, 1), (1, 1)), True, False), "sigmoid"),
        ),
        "norms": ((4, 6, 6), Sequential(norm(4), one, LayerNorm((6, 6), array(6, 6), array(6, 6)), Scale(0.3))),
        "flat": ((4, 6, 6), Sequential(one, Flatten(), Linear(array(144, 5), array(5)), Dropout(), Reshape((5, 1)))),
    }


@pytest.mark.parametrize("name", images_and_networks())
def test_networks_of_every_op_stay_inside_on_every_library(lib: Library, name: str) -> None:
    sample, net = images_and_networks()[name]
    x = np.random.default_rng(11).normal(size=(20, *sample)).astype(np.float32)
    moved = net.to(lib.backend)
    bounded = bounded_output(net, x)
    assert np.median(bounded.bound) < 1e-3
    answers = [ab.predict(moved, lib.asarray(x))]
    if lib.backend.name != "dask":  # it does not reshape arrays of several blocks, as padding makes them
        answers.append(moved(lib.asarray(x)))
    for found in answers:
        assert np.all(np.abs(lib.to_numpy(found) - bounded.value) <= bounded.bound)


@pytest.mark.parametrize("name", images_and_networks())
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_networks_of_every_op_stay_inside_with_rounded_operands(precision: str, name: str) -> None:
    sample, net = images_and_networks()[name]
    x = np.random.default_rng(12).normal(size=(20, *sample)).astype(np.float32)
    bits = PRECISIONS[precision].significant
    assert bits is not None
    found, bounded = simulated(net, x, bits), bounded_output(net, x, precision)
    assert np.all(np.abs(found - bounded.value) <= bounded.bound)
    if any(call.op.products for call in net.calls):
        exact = bounded_output(net, x)
        assert np.mean(np.abs(found - exact.value) > exact.bound) > 0.5


def bounded_output(net: Network, x: np.ndarray, precision: str = "highest") -> Bounded:
    """Return the output that holds for both forms of a network: the wider of their bounds, around one value."""
    arithmetic = Arithmetic(precision)
    plain = net.map(arithmetic.asarray)
    first, second = (forward(form, arithmetic.asarray(x)) for form in (plain, simplified(plain, ["float32"])))
    return first.widened(np.maximum(np.abs(second.value - first.value) + second.bound - first.bound, 0))


def books_convnet() -> Sequential:
    p = ab.read_weights(Path(os.environ["ANYBACK_DATA_DIR"], "simple_convnet_params.pkl"))
    net = Sequential(
        *(Reshape((1, 28, 28)), Pixels(np.asarray(255.0)), Conv(p["W1"], p["b1"]), "relu", MaxPool((2, 2)), Flatten()),
        *(Linear(p["W2"], p["b2"]), "relu", Linear(p["W3"], p["b3"]), "softmax"),
    )
    return net.to("numpy", dtype="float32")


@pytest.mark.parametrize(("precision", "most"), [("highest", 1), ("tf32", 2), ("bf16", 4)])
def test_few_answers_of_the_books_convolution_network_are_undecided(
    precision: str, most: int, data_dir: object
) -> None:
    net, images = books_convnet(), ab.datasets.mnist("test").images[:300]
    proof = certify(net, images, precision=precision)
    assert proof.undecided <= most
    found = ab.to_numpy(ab.predict(net, images)).argmax(axis=1)
    np.testing.assert_array_equal(found[proof.decided], proof.labels[proof.decided])


def test_a_deep_convolution_network_stays_inside(lib: Library) -> None:
    rng = np.random.default_rng(13)
    layers: list[Any] = [Reshape((1, 28, 28))]
    given = 1
    for number, filters in enumerate((16, 16, 32, 32, 64, 64)):
        weight = rng.normal(size=(filters, given, 3, 3)) * np.sqrt(2 / (9 * given))
        layers += [Conv(weight.astype(np.float32), padding=2 if number == 3 else 1), "relu"]
        layers += [MaxPool((2, 2))] if number % 2 else []
        given = filters
    for shape in ((1024, 50), (50, 10)):
        weight = (rng.normal(size=shape) * np.sqrt(2 / shape[0])).astype(np.float32)
        layers += [Flatten(), Linear(weight), *(["relu"] if shape[1] == 50 else []), Scale(0.5)]
    net, x = Sequential(*layers), rng.uniform(size=(3, 784)).astype(np.float32)
    for depth, most in ((6, 1e-2), (len(net), np.inf)):  # each layer widens intervals by its largest gain
        bounded = bounded_output(net[:depth], x)
        found = lib.to_numpy(ab.predict(net[:depth].to(lib.backend), x))
        assert np.all(np.abs(found - bounded.value) <= bounded.bound)
        assert np.all(bounded.bound < most)


# -- The decision -------------------------------------------------------------------------------------


def test_a_tie_is_undecided_and_a_clear_answer_is_not() -> None:
    net = Sequential((Linear(np.eye(3, dtype=np.float32)), activations.softmax))
    x = np.asarray([[1, 1, 0], [1, 1 + 2**-23, 0], [1, 1 + 2**-17, 0], [3, 2, 1], [np.nan, 0, 0]], dtype=np.float32)
    proof = certify(net, x)
    assert proof.decided.tolist() == [False, False, True, True, False]
    assert proof.labels[2:4].tolist() == [1, 0]
    assert proof.undecided == 3


def test_what_may_overflow_is_undecided() -> None:
    one = np.ones((1, 1), dtype=np.float32)
    first, second = np.full((1, 2), 1e30, np.float32), np.asarray([[1e9, 0], [0, 2e9]], np.float32)
    steep = Sequential((Linear(first), Linear(second)))
    assert certify(steep, one).undecided == 1  # every library gives inf twice
    assert certify(steep, one / 1e20).undecided == 0


@pytest.mark.parametrize("name", ["tanh", "step", "sigmoid", "relu", "softplus"])
def test_what_may_be_nan_stays_unknown_through_an_activation_that_is_bounded(name: str) -> None:
    first, second = np.full((1, 1), 1e30, np.float32), np.full((1, 1), 1e9, np.float32)
    third = Linear(np.asarray([[1, 0]], np.float32), np.asarray([0, 9], np.float32))
    net = Sequential((Linear(first), Linear(second), Linear(-second), activations.get(name), third))
    assert certify(net, np.ones((1, 1), dtype=np.float32)).undecided == 1


def test_a_long_sum_in_a_half_type_is_undecided() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 comes from ml_dtypes")
    weight = np.zeros((401, 2), dtype=ml_dtypes.bfloat16)
    weight[:400, 0], weight[400, 1] = 1, 300
    x = np.ones((1, 401), dtype=ml_dtypes.bfloat16)
    total = ml_dtypes.bfloat16(0)
    for term in weight[:, 0]:
        total = ml_dtypes.bfloat16(total + term)
    assert total == 256  # in order, so that 300 wins: in exact arithmetic 400 does
    assert certify(Sequential((Linear(weight),)), x).undecided == 1


def test_numbers_below_the_normal_range_may_vanish_in_a_cast() -> None:
    arithmetic = Arithmetic()
    x = np.asarray([1e-39, 1e-45, 2.0**-150])
    y = arithmetic.astype(arithmetic.asarray(x), np.dtype(np.float32))
    assert np.all(np.abs(x.astype(np.float32) - y.value) <= y.bound)
    assert np.all(y.bound >= x)


def test_nan_is_never_certain() -> None:
    arithmetic = Arithmetic()
    unknown = Bounded(np.asarray([1.0, np.nan]), np.asarray([np.nan, 0.0]), arithmetic)
    assert np.all((unknown > 0).bound >= 1)
    assert np.all(arithmetic.sign(unknown).bound >= 1)
    assert (arithmetic.asarray(np.zeros(1)) > 0).bound == 0


def test_the_complementary_error_function_far_out_is_inside(lib: Library) -> None:
    x = np.linspace(-9, 9, 4001).astype(np.float32)
    found = lib.to_numpy(activations.gelu(lib.asarray(x)))
    y = activations.gelu(Arithmetic().asarray(x))
    assert np.all(np.abs(found - y.value) <= y.bound)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_the_precision_may_come_from_the_environment(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = ab.load_model("digits-mlp", backend="numpy"), ab.datasets.digits("test").images
    monkeypatch.setenv("ANYBACK_PRECISION", precision)
    assert certify(net, x).precision == precision


def test_a_softmax_of_one_output_gives_no_labels() -> None:
    net = Sequential((Linear(np.ones((2, 1), dtype=np.float32)), activations.softmax))
    with pytest.raises(ab.DataError, match="a softmax of one output is always 1"):
        certify(net, np.ones((1, 2), dtype=np.float32))


def test_several_sigmoids_that_round_to_1_are_undecided() -> None:
    weight = np.eye(2, dtype=np.float32)
    x = np.asarray([[30, 40], [3, 4]], dtype=np.float32)
    assert certify(Sequential((Linear(weight), activations.sigmoid)), x).decided.tolist() == [False, True]
    assert certify(Sequential((Linear(weight), activations.softmax)), x).decided.tolist() == [True, True]


def test_a_network_of_one_number_has_no_labels() -> None:
    net = Sequential(Linear(np.ones((1, 1), dtype=np.float32)), "identity")
    with pytest.raises(ab.DataError, match="the network gives numbers, which have no labels"):
        certify(net, np.ones((3, 1), dtype=np.float32))


def test_two_classes_from_one_output_are_told_apart_where_evaluate_does() -> None:
    net, at = Sequential(Linear(np.ones((1, 1), dtype=np.float32)), "sigmoid"), 0.0
    x = np.asarray([[at - 1], [at - 1e-3], [at], [at + 1e-3], [at + 1]], dtype=np.float32)
    proof = certify(net, x)
    assert proof.decided.tolist() == [True, True, False, True, True]
    given = ab.evaluate(net, x, np.zeros(5, dtype=int)).predictions
    np.testing.assert_array_equal(proof.labels[proof.decided], given[proof.decided])


@pytest.mark.parametrize("last", [["sigmoid"], ["sigmoid", "identity"], ["sigmoid", Dropout()], ["sigmoid", "sigmoid"]])
def test_last_calls_are_left_out_only_where_that_keeps_the_label(last: list[Any]) -> None:
    net = Sequential(Linear(np.ones((1, 1), dtype=np.float32)), *last)
    x = np.asarray([[-1], [-1e-3], [1e-3], [1]], dtype=np.float32)
    proof = certify(net, x)
    given = (ab.to_numpy(net(x))[:, 0] > 0.5).astype(int)
    assert proof.decided.all()
    np.testing.assert_array_equal(proof.labels, given)


def test_a_softmax_before_dropout_is_left_out_and_one_before_a_product_is_not() -> None:
    weight = np.eye(3, dtype=np.float32)
    x = np.asarray([[1, 2, 3], [9, 7, 7.5]], dtype=np.float32)
    assert certify(Sequential(Linear(weight), "softmax", Dropout(), "log_softmax"), x).labels.tolist() == [2, 0]
    assert certify(Sequential(Linear(weight), "softmax", Linear(-weight)), x).labels.tolist() == [0, 1]


def test_a_network_in_a_network_is_looked_into() -> None:
    net, x = ab.load_model("digits-mlp", backend="numpy"), ab.datasets.digits("test").images
    nested = Sequential(net[:3], net[3:])
    np.testing.assert_array_equal(certify(nested, x).bounds, certify(net, x).bounds)


def test_the_network_may_be_on_any_library_and_one_sample_is_enough(lib: Library) -> None:
    net, x = ab.load_model("digits-mlp", backend=lib.backend), ab.datasets.digits("test").images
    proof = certify(net, x)
    assert proof.undecided == 0
    assert certify(net, x[0]).labels.tolist() == proof.labels[:1].tolist()
    assert certify(net, x[:0]).labels.shape == (0,)


def test_float64_has_smaller_bounds() -> None:
    single = ab.load_model("digits-mlp", backend="numpy")
    x = ab.datasets.digits("test").images
    ratio = certify(single, x).bounds / certify(single.to(dtype="float64"), x).bounds
    assert np.all(ratio > 1e6)


def test_a_function_without_a_rule_is_named() -> None:
    def cosine(x: object) -> object:
        return backends.array_namespace(x).cos(x)

    net = Sequential((Linear(np.ones((2, 2), dtype=np.float32)), cosine))
    with pytest.raises(ab.BackendError, match="there is no rule for the error of 'cos'; add one"):
        certify(net, np.ones((1, 2), dtype=np.float32))


def test_what_bounds_cannot_follow_is_said_with_the_name_of_the_function() -> None:
    def counted(x: Any) -> Any:
        return x if bool(backends.array_namespace(x).all(x > 0)) else -x

    def unheard(x: Any) -> Any:
        return x.cumulated()

    inner = Linear(np.full((2, 2), 0.1, dtype=np.float32))
    x = np.asarray([[1, -1]], dtype=np.float32)  # what comes of it is near 0, on either side
    with pytest.raises(ab.BackendError, match="counted: the network asks for values on the host, which rounding may"):
        certify(Sequential((inner, counted)), x)
    with pytest.raises(ab.BackendError, match="unheard: bounds cannot follow what it does: AttributeError"):
        certify(Sequential((inner, unheard)), x)


def test_unknown_precisions_and_networks_without_labels_are_refused() -> None:
    net, x = ab.load_model("digits-mlp", backend="numpy"), ab.datasets.digits("test").images[:2]
    with pytest.raises(ab.BackendError, match="unknown precision 'half'; known: highest, tf32, bf16"):
        certify(net, x, precision="half")
    with pytest.raises(ab.DataError, match="labels need"):
        certify(Sequential((activations.relu,)), np.ones((2, 3, 4), dtype=np.float32))
    with pytest.raises(ab.ShapeError):
        certify(net, np.zeros((2, 63)))


def test_bounded_arrays_do_not_mix_with_others() -> None:
    arithmetic = Arithmetic()
    with pytest.raises(ab.BackendError, match="do not mix"):
        backends.array_namespace(arithmetic.asarray(np.ones(2)), np.ones(2))
    with pytest.raises(ab.BackendError, match="do not mix"):
        backends.array_namespace(arithmetic.asarray(np.ones(2)), Arithmetic("tf32").asarray(np.ones(2)))
