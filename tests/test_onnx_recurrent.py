"""ONNX's recurrent layers, against PyTorch's, and against formulas written as loops in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Library, libraries
from onnx_apply import applied, bound
from onnx_models import constant, made, node, value

import anyback as ab
from anyback.errors import OperatorError, ShapeError
from anyback.onnx import load

RNG = np.random.default_rng(5)
STEPS, ROWS, WIDTH, HIDDEN = 7, 3, 4, 5
X = RNG.normal(size=(STEPS, ROWS, WIDTH))
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def parameters(name: str, directions: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng, gates = np.random.default_rng(1), GATES[name]
    return (
        rng.normal(size=(directions, gates * HIDDEN, WIDTH)) / 2,
        rng.normal(size=(directions, gates * HIDDEN, HIDDEN)) / 2,
        rng.normal(size=(directions, 2 * gates * HIDDEN)) / 2,
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def recurrent(name: str, *given: np.ndarray | None, lib: Library | None = None, **attributes: Any) -> Any:
    """Return what an operator gives, in float32 on a library or in float64 on NumPy."""
    cast = [x if x is None or lib is None or x.dtype.kind != "f" else x.astype(np.float32) for x in given]
    return applied(name, *cast, lib=lib, domain="", version=22, **attributes)


def by_loops(name: str, x: np.ndarray, parts: tuple[np.ndarray, ...], state: list[np.ndarray]) -> Any:
    """Return the outputs of one direction and the last state, by the formulas of ONNX's operators page."""
    w, r, b = (part[0] for part in parts)
    b_w, b_r = b[: len(b) // 2], b[len(b) // 2 :]
    found = []
    for step in x:
        sums, inner = step @ w.T + b_w, state[0] @ r.T + b_r
        if name == "RNN":
            state = [np.tanh(sums + inner)]
        elif name == "GRU":
            (z, k, n), (z_h, k_h, n_h) = np.split(sums, 3, 1), np.split(inner, 3, 1)
            z, k = sigmoid(z + z_h), sigmoid(k + k_h)
            del n_h
            new = np.tanh(n + (k * state[0]) @ r[2 * HIDDEN :].T + b_r[2 * HIDDEN :])
            state = [(1 - z) * new + z * state[0]]
        else:
            i, o, f, c = np.split(sums + inner, 4, 1)
            cell = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(c)
            state = [sigmoid(o) * np.tanh(cell), cell]
        found.append(state[0])
    return np.stack(found), state


@pytest.mark.parametrize("name", GATES)
def test_one_direction_is_the_loop_of_its_formulas(lib: Library, name: str) -> None:
    parts = parameters(name)
    state = [RNG.normal(size=(ROWS, HIDDEN)) for _ in range(2 if name == "LSTM" else 1)]
    y, last = by_loops(name, X, parts, state)
    found = recurrent(name, X, *parts, None, *(s[None] for s in state), lib=lib, outputs=1 + len(state))
    np.testing.assert_allclose(found[0], y[:, None], rtol=1e-4, atol=1e-5)
    for part, wanted in zip(found[1:], last, strict=True):
        np.testing.assert_allclose(part, wanted[None], rtol=1e-4, atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("name", GATES)
def test_both_directions_are_those_of_pytorch(name: str) -> None:
    import torch

    parts = parameters(name, 2)
    # PyTorch's gates are in another order.
    order = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 2, 3, 1]}[name]
    layer = getattr(torch.nn, name)(WIDTH, HIDDEN, bidirectional=True).double()
    for place, suffix in enumerate(("", "_reverse")):
        w, r = (np.concatenate([np.split(part[place], len(order))[i] for i in order]) for part in parts[:2])
        b = [np.concatenate([np.split(half, len(order))[i] for i in order]) for half in np.split(parts[2][place], 2)]
        for key, x in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (w, r, *b), strict=True):
            getattr(layer, f"{key}_l0{suffix}").data = torch.asarray(x)
    with torch.no_grad():
        wanted, last = layer(torch.asarray(X))
    more = {"linear_before_reset": 1} if name == "GRU" else {}
    y, h, *_ = recurrent(name, X, *parts, direction="bidirectional", outputs=2, **more)
    np.testing.assert_allclose(
        y.transpose(0, 2, 1, 3).reshape(STEPS, ROWS, 2 * HIDDEN), wanted.numpy(), rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(h, (last[0] if name == "LSTM" else last).numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_row_of_fewer_steps_is_the_row_alone(lib: Library, name: str, direction: str) -> None:
    parts, lengths = parameters(name), np.asarray([7, 2, 5], np.int32)
    y, h, *_ = recurrent(name, X, *parts, lengths, lib=lib, direction=direction, outputs=2)
    for row, length in enumerate(lengths):
        alone, last, *_ = recurrent(name, X[:length, row : row + 1], *parts, lib=lib, direction=direction, outputs=2)
        np.testing.assert_allclose(y[:length, :, row], alone[:, :, 0], rtol=1e-5, atol=1e-6)
        assert not y[length:, :, row].any()
        np.testing.assert_allclose(h[:, row], last[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", GATES)
def test_rows_first_is_the_same_with_other_axes(lib: Library, name: str) -> None:
    parts, start = parameters(name, 2), RNG.normal(size=(2, ROWS, HIDDEN))
    y, h, *_ = recurrent(name, X, *parts, None, start, lib=lib, direction="bidirectional", outputs=2)
    turned, h_turned, *_ = recurrent(
        name,
        X.transpose(1, 0, 2),
        *parts,
        None,
        start.transpose(1, 0, 2),
        lib=lib,
        direction="bidirectional",
        layout=1,
        outputs=2,
    )
    np.testing.assert_array_equal(turned.transpose(1, 2, 0, 3), y)
    np.testing.assert_array_equal(h_turned.transpose(1, 0, 2), h)


def test_an_lstm_looks_at_its_cells_and_keeps_sums_within_bounds(lib: Library) -> None:
    parts, peepholes, bound = parameters("LSTM"), RNG.normal(size=(1, 3 * HIDDEN)), 0.6
    w, r, b = (part[0] for part in parts)
    h = c = np.zeros((ROWS, HIDDEN))
    for step in X:
        sums = np.split(step @ w.T + h @ r.T + b[: len(b) // 2] + b[len(b) // 2 :], 4, 1)
        p_i, p_o, p_f = np.split(peepholes[0], 3)
        i = sigmoid(np.clip(sums[0] + p_i * c, -bound, bound))
        f = sigmoid(np.clip(sums[2] + p_f * c, -bound, bound))
        c = f * c + i * np.tanh(np.clip(sums[3], -bound, bound))
        h = sigmoid(np.clip(sums[1] + p_o * c, -bound, bound)) * np.tanh(c)
    found = recurrent("LSTM", X, *parts, None, None, None, peepholes, lib=lib, clip=bound, outputs=3)
    np.testing.assert_allclose(found[1], h[None], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[2], c[None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "alpha", "beta", "function"),
    [
        ("Affine", 2.0, 0.5, lambda x: 2 * x + 0.5),
        ("Elu", 0.5, None, lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
        ("HardSigmoid", 0.3, 0.4, lambda x: np.clip(0.3 * x + 0.4, 0, 1)),
        ("LeakyRelu", 0.2, None, lambda x: np.where(x > 0, x, 0.2 * x)),
        ("Relu", None, None, lambda x: np.maximum(x, 0)),
        ("ScaledTanh", 1.5, 0.5, lambda x: 1.5 * np.tanh(0.5 * x)),
        ("Sigmoid", None, None, sigmoid),
        ("Softplus", None, None, lambda x: np.log1p(np.exp(x))),
        ("Softsign", None, None, lambda x: x / (1 + np.abs(x))),
        ("tanh", None, None, np.tanh),
        ("ThresholdedRelu", 0.4, None, lambda x: np.where(x > 0.4, x, 0)),
    ],
)
def test_activations_are_theirs(lib: Library, name: str, alpha: Any, beta: Any, function: Any) -> None:
    w, r, _ = parameters("RNN")
    given = {"activation_alpha": alpha, "activation_beta": beta}
    attributes = {key: (number,) for key, number in given.items() if number is not None}
    y = recurrent("RNN", X[:1], w, r, lib=lib, activations=(name,), outputs=1, **attributes)
    np.testing.assert_allclose(y[0, 0], function(X[0] @ w[0].T), rtol=1e-4, atol=1e-5)


def test_half_types_are_computed_in_float32() -> None:
    given = [x.astype(np.float16) for x in (X, *parameters("LSTM"))]
    found = recurrent("LSTM", *given, outputs=1)
    wide = recurrent("LSTM", *(x.astype(np.float32) for x in given), outputs=1)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, wide.astype(np.float16))


def test_what_does_not_fit_is_said() -> None:
    w, r, b = parameters("GRU")
    with pytest.raises(ShapeError, match=r"found \(7, 3, 3\)"):
        recurrent("GRU", X[..., :3], w, r, b)
    with pytest.raises(OperatorError, match="known: forward, reverse, bidirectional"):
        recurrent("GRU", X, w, r, b, direction="both")
    with pytest.raises(OperatorError, match="known: affine"):
        recurrent("GRU", X, w, r, b, activations=("Sigmoid", "cube"))


@pytest.mark.parametrize("backend", libraries("numpy", "jax", "torch", "dask", "array_api_strict"))
def test_a_network_of_a_file_keeps_rows_apart(backend: str) -> None:
    w, r, b = (part.astype(np.float32) for part in parameters("GRU"))
    turned = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("GRU", "t w r b", "- h"),
        node("Squeeze", "h zero", "y"),
    ]
    file = made(
        turned,
        [value("x", "n", STEPS, WIDTH)],
        [value("y", "n", HIDDEN)],
        *[constant(name, x) for name, x in (("w", w), ("r", r), ("b", b), ("zero", np.asarray([0])))],
    )
    net, x = load(file).to(backend), RNG.normal(size=(37, STEPS, WIDTH)).astype(np.float32)
    whole = ab.to_numpy(ab.predict(net, x))
    _, (wanted,) = by_loops("GRU", x.transpose(1, 0, 2).astype(float), parameters("GRU"), [np.zeros((37, HIDDEN))])
    np.testing.assert_allclose(whole, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ab.to_numpy(net(ab.asarray(x, backend=backend))), wanted, rtol=1e-4, atol=1e-5)
    assert ab.to_numpy(ab.predict(net, x[30:31])).tobytes() == whole[30:31].tobytes()


@pytest.mark.jax
def test_under_jit_a_step_is_compiled_once() -> None:
    import jax

    compute, arguments, rest = bound("LSTM", X, *parameters("LSTM"), domain="", version=22, outputs=1)

    def size(steps: int) -> int:
        given = [np.zeros((steps, ROWS, WIDTH)), *arguments[1:]]
        return len(str(jax.make_jaxpr(lambda *xs: compute(*xs, **rest))(*given)))

    assert size(100) < 1.2 * size(10)
