"""ONNX's losses against PyTorch and loops in float64, and its steps of training against PyTorch's optimizers."""

from __future__ import annotations

from typing import Any

import ml_dtypes  # noqa: F401  # so that NumPy knows bfloat16
import numpy as np
import pytest
from conftest import Library
from onnx_apply import applied

from anyback.errors import DataError, ShapeError

RNG = np.random.default_rng(8)
TRAINING = "ai.onnx.preview.training"
DIGITS = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-12}
SHAPES = {"flat": (6, 5), "one axis": (3, 5, 4), "two axes": (2, 5, 3, 4), "five axes": (2, 3, 2, 1, 2, 3, 2)}


def loss(name: str, *given: Any, lib: Library | None = None, **attributes: Any) -> Any:
    return applied(name, *given, lib=lib, domain="", version=13, **attributes)


def logs(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def looped(x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, ignored: int | None, reduction: str) -> Any:
    """Return the loss in float64, one target after the other."""
    y, counts = np.zeros(target.shape), np.zeros(target.shape)
    for place in np.ndindex(target.shape):
        c = target[place]
        if c == ignored:
            continue
        counts[place] = 1.0 if weight is None else weight[c]
        y[place] = -x[(place[0], c, *place[1:])] * counts[place]
    if reduction == "none":
        return y
    return y.sum() / counts.sum() if reduction == "mean" else y.sum()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [None, 1, -1, 10])
def test_losses_are_what_loops_give(
    lib: Library, shape: str, reduction: str, weighted: bool, ignored: int | None
) -> None:
    x = RNG.normal(size=SHAPES[shape])
    classes = x.shape[1]
    target = RNG.integers(0, classes, (x.shape[0], *x.shape[2:]))
    if ignored is not None:
        target.reshape(-1)[::3] = ignored
    weights = RNG.uniform(0.5, 2, classes) if weighted else None
    more = {"reduction": reduction} | ({} if ignored is None else {"ignore_index": ignored})
    for dtype in lib.dtypes[-2:]:
        digits = DIGITS[dtype]
        typed, by = x.astype(dtype), None if weights is None else weights.astype(dtype)
        wide, factor = typed.astype(float), None if by is None else by.astype(float)
        y = loss("NegativeLogLikelihoodLoss", typed, target, by, lib=lib, **more)
        assert y.dtype == typed.dtype
        expected = looped(wide, target, factor, ignored, reduction)
        np.testing.assert_allclose(y.astype(float), expected, rtol=digits, atol=digits)
        y, log_prob = loss("SoftmaxCrossEntropyLoss", typed, target, by, lib=lib, outputs=2, **more)
        assert y.dtype == log_prob.dtype == typed.dtype
        expected = looped(logs(wide), target, factor, ignored, reduction)
        np.testing.assert_allclose(y.astype(float), expected, rtol=digits, atol=digits)
        np.testing.assert_allclose(log_prob.astype(float), logs(wide), rtol=digits, atol=digits)


def test_many_half_numbers_are_summed_in_float32(lib: Library) -> None:
    if "float16" not in lib.dtypes:
        pytest.skip("the library has no half types")
    x, target = np.full((4000, 2), -1.0, np.float16), np.zeros(4000, np.int64)
    assert loss("NegativeLogLikelihoodLoss", x, target, lib=lib, reduction="sum") == 4000
    assert loss("NegativeLogLikelihoodLoss", x, target, lib=lib) == 1


def test_large_scores_stay_finite(lib: Library) -> None:
    x, target = np.asarray([[1000.0, 0.0], [-1000.0, 0.0]], np.float32), np.asarray([1, 1], np.int32)
    np.testing.assert_array_equal(loss("SoftmaxCrossEntropyLoss", x, target, lib=lib, reduction="none"), [1000, 0])


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("shape", SHAPES)
def test_pytorch_agrees(reduction: str, shape: str) -> None:
    import torch

    x = RNG.normal(size=SHAPES[shape])
    target, weight = RNG.integers(0, x.shape[1], (x.shape[0], *x.shape[2:])), RNG.uniform(0.5, 2, x.shape[1])
    given = [torch.tensor(a) for a in (x, target, weight)]
    more = {"ignore_index": 0, "reduction": reduction}
    for name, theirs in (
        ("NegativeLogLikelihoodLoss", torch.nn.functional.nll_loss),
        ("SoftmaxCrossEntropyLoss", torch.nn.functional.cross_entropy),
    ):
        expected = theirs(given[0], given[1], weight=given[2], **more)
        np.testing.assert_allclose(loss(name, x, target, weight, **more), expected.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
def test_what_does_not_fit_is_one_clear_error(name: str) -> None:
    x, target = RNG.normal(size=(4, 3, 2)), np.zeros((4, 2), np.int64)
    for bad in (target[:, :1], target[:3], target[:, 0]):
        with pytest.raises(ShapeError, match=f"{name} expected numbers"):
            loss(name, x, bad)
    with pytest.raises(ShapeError, match="3 weights"):
        loss(name, x, target, np.ones(4))
    with pytest.raises(DataError, match="'median'"):
        loss(name, x, target, reduction="median")


# -- Steps of training -----------------------------------------------------------------------------------


def trained(name: str, *given: Any, lib: Library | None = None, **attributes: Any) -> Any:
    return applied(name, *given, lib=lib, domain=TRAINING, version=1, **attributes)


def optimizer(name: str, parameter: Any) -> tuple[Any, dict[str, Any], int]:
    """Return PyTorch's optimizer, the same one by ONNX's attributes, and how many states it has."""
    import torch

    if name == "Adam":
        theirs = torch.optim.Adam([parameter], lr=0.1, betas=(0.8, 0.95), eps=1e-6)
        # PyTorch corrects the second moment before it adds epsilon; ONNX behind it: without one they are alike.
        theirs.param_groups[0]["eps"] = 0.0
        return theirs, {"alpha": 0.8, "beta": 0.95, "epsilon": 0.0}, 2
    if name == "Adagrad":
        theirs = torch.optim.Adagrad([parameter], lr=0.1, lr_decay=0.05, eps=1e-6, weight_decay=0.3)
        return theirs, {"decay_factor": 0.05, "norm_coefficient": 0.3}, 1
    nesterov = name == "nesterov"
    theirs = torch.optim.SGD([parameter], lr=0.1, momentum=0.7, weight_decay=0.2, nesterov=nesterov)
    mode = "nesterov" if nesterov else "standard"
    return theirs, {"alpha": 0.7, "beta": 1.0, "norm_coefficient": 0.2, "mode": mode}, 1


@pytest.mark.torch
@pytest.mark.parametrize("name", ["Adam", "Adagrad", "standard", "nesterov"])
def test_steps_are_those_of_pytorch(name: str) -> None:
    import torch

    start, gradients = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(5, 2, 3, 4))
    parameters = [torch.nn.Parameter(torch.tensor(x)) for x in start]
    made = [optimizer(name, p) for p in parameters]
    attributes, states = made[0][1:]
    operator = name if name in ("Adam", "Adagrad") else "Momentum"
    values = [*start, *np.zeros((2 * states, 3, 4))]
    first = 0 if name == "Adagrad" else 1  # Adagrad of PyTorch divides the first rate by nothing, Adam corrects it
    for step, gradient in enumerate(gradients):
        for p, g, (theirs, _, _) in zip(parameters, gradient, made, strict=True):
            p.grad = torch.tensor(g)
            theirs.step()
        inputs = np.asarray(0.1), np.asarray(step + first), *values[:2], *gradient, *values[2:]
        values = list(trained(operator, *inputs, outputs=2 + 2 * states, **attributes))
    for p, value in zip(parameters, values, strict=False):
        np.testing.assert_allclose(value, p.detach().numpy(), rtol=1e-10, atol=1e-10)


def test_steps_on_every_library(lib: Library) -> None:
    x, g, v, h = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)), RNG.uniform(1, 2, (3, 4))
    for dtype in lib.dtypes:
        given = [np.asarray(a, dtype) for a in (x, g, v, h)]
        wide = [a.astype(float) for a in given]
        for t in (0, 3):
            head = np.asarray(0.125, np.float32), np.asarray(t)
            new = trained("Adam", *head, *given, lib=lib, alpha=0.8, beta=0.9, norm_coefficient_post=0.5, outputs=3)
            momentum, squares = 0.8 * wide[2] + 0.2 * wide[1], 0.9 * wide[3] + 0.1 * wide[1] ** 2
            rate = 0.125 * (np.sqrt(1 - 0.9**t) / (1 - 0.8**t) if t else 1)
            weights = 0.5 * (wide[0] - rate * momentum / (np.sqrt(squares) + 1e-6))
            for found, expected in zip(new, (weights, momentum, squares), strict=True):
                assert found.dtype == given[0].dtype
                np.testing.assert_allclose(found.astype(float), expected, rtol=DIGITS[dtype], atol=DIGITS[dtype])
            more = {"alpha": 0.8, "beta": 0.3, "norm_coefficient": 0.1, "mode": "standard", "outputs": 2}
            after, kept = trained("Momentum", *head, *given[:3], lib=lib, **more)
            expected = 0.8 * wide[2] + (0.3 if t else 1.0) * (wide[1] + 0.1 * wide[0])
            np.testing.assert_allclose(kept.astype(float), expected, rtol=DIGITS[dtype], atol=DIGITS[dtype])
            np.testing.assert_allclose(
                after.astype(float), wide[0] - 0.125 * expected, rtol=DIGITS[dtype], atol=DIGITS[dtype]
            )
            after, kept = trained("Adagrad", *head, *given[:2], given[3], lib=lib, decay_factor=0.5, outputs=2)
            expected = wide[3] + wide[1] ** 2
            np.testing.assert_allclose(kept.astype(float), expected, rtol=DIGITS[dtype], atol=DIGITS[dtype])
            expected = wide[0] - 0.125 / (1 + 0.5 * t) * wide[1] / (np.sqrt(expected) + 1e-6)
            np.testing.assert_allclose(after.astype(float), expected, rtol=DIGITS[dtype], atol=DIGITS[dtype])


def test_groups_must_be_whole() -> None:
    head, x = (np.asarray(0.1), np.asarray(1)), np.ones(3)
    for name, more in (("Adam", {}), ("Adagrad", {})):
        for many in (0, 2):
            with pytest.raises(DataError, match=f"{name}: expected"):
                trained(name, *head, *[x] * many, **more)
    with pytest.raises(DataError, match="'slow'"):
        trained("Momentum", *head, x, x, x, alpha=0.1, beta=0.1, norm_coefficient=0.0, mode="slow")
