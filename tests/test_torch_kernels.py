"""PyTorch's own kernels: what they keep of a weight, and that gradients and transformations pass them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from conftest import usable

import anyback as ab
from anyback.activations import relu, sigmoid, tanh
from anyback.backends import _torch_convolution, _torch_state
from anyback.layers import Conv, Flatten, Linear, Sequential
from anyback.ops import OPS

pytestmark = pytest.mark.torch
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def torch() -> Any:
    usable("torch")
    import torch

    return torch


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def convolutions(images: tuple[int, ...] = (2, 32, 20, 20)) -> tuple[Sequential, np.ndarray]:
    """Return two convolutions on NumPy that are large enough for oneDNN's operators, and images."""
    first = Conv(numbers(48, 32, 3, 3) / 17, numbers(48), padding=1)
    return Sequential(first, relu, Conv(numbers(32, 48, 3, 3) / 20, None, stride=2), tanh), numbers(*images)


def kept(net: Sequential) -> list[Any]:
    """Return what the convolutions of a network have kept, once it has computed."""
    run = net.program
    found: list[Any] = []
    seen: set[int] = set()
    waiting: list[Any] = [run]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, _torch_convolution.Convolution):
            found.append(value._kept)
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
        else:
            waiting.extend(getattr(value, "args", ()))
            waiting.extend(cell.cell_contents for cell in getattr(value, "__closure__", None) or ())
            waiting.extend(getattr(value, "keywords", {}).values())
            waiting.append(getattr(value, "func", None))
    return found


@pytest.mark.parametrize(
    ("images", "weight", "more"),
    [
        ((1, 3, 65, 64), (32, 3, 7, 7), {"stride": 2, "padding": 3}),
        ((3, 32, 16, 17), (40, 32, 3, 3), {"padding": 1}),
        ((3, 32, 16, 17), (40, 32, 3, 3), {"padding": ((1, 0), (2, 1))}),
        ((2, 32, 24, 24), (64, 32, 3, 3), {"dilation": 2}),
        ((2, 48, 20, 20), (64, 12, 3, 3), {"groups": 4}),
        ((2, 96, 24, 24), (96, 1, 5, 5), {"groups": 96, "padding": 2}),
        ((2, 512, 1, 1), (1024, 512, 1, 1), {}),
        ((2, 512, 1, 9), (1024, 512, 1, 1), {}),
        ((1, 1, 200, 200), (20, 1, 5, 5), {}),
    ],
)
@pytest.mark.parametrize("biased", [True, False])
def test_a_convolution_computes_what_it_does_in_float64(
    images: tuple[int, ...], weight: tuple[int, ...], more: dict[str, Any], biased: bool
) -> None:
    w = numbers(*weight) / np.sqrt(np.prod(weight[1:]))
    net = Sequential(Conv(w, numbers(weight[0]) if biased else None, **more))
    x = numbers(*images)
    expected = net.to(dtype="float64")(x.astype(np.float64))
    there = net.to("torch")
    given = ab.asarray(x, backend="torch")
    for y in (there(given), there(given), ab.predict(there, x), there(given.mT.contiguous().mT)):
        np.testing.assert_allclose(ab.to_numpy(y), expected, atol=2e-5)
    assert there(given).is_contiguous()
    assert there(given[0]).is_contiguous()


def test_a_weight_is_reordered_once_and_again_when_it_or_the_images_are_others(torch: Any) -> None:
    if _torch_convolution._operators() is None:
        pytest.skip("this torch has no operators of oneDNN")
    net, x = convolutions()
    there, given = net.to("torch"), torch.from_numpy(x)
    assert kept(there) == [None, None]
    with torch.inference_mode():
        there(given)
    first = kept(there)
    assert all(one.reordered is not None for one in first)
    there(given)
    assert [one is other for one, other in zip(kept(there), first, strict=True)] == [True, True]
    there(torch.cat([given, given]))
    assert not any(one is other for one, other in zip(kept(there), first, strict=True))
    other = net.map(lambda a: a * np.float32(1.5))
    for array in there.arrays:
        array.mul_(1.5)
    np.testing.assert_allclose(there(given), other(x), atol=2e-5)


@pytest.mark.parametrize("way", ["net", "one", "predict"])
def test_a_function_of_the_user_is_given_images_in_their_usual_order(way: str, torch: Any) -> None:
    net, x = convolutions((1, 32, 16, 16))
    seen: list[bool] = []

    def look(x: Any) -> Any:
        seen.append(x.is_contiguous())
        return x

    there, given = Sequential(*net.layers, look, *Sequential(Conv(numbers(32, 32, 3, 3))).layers).to("torch"), x
    run = {"net": lambda z: there(torch.from_numpy(z)), "one": lambda z: there(torch.from_numpy(z)[0])}
    y = run.get(way, lambda z: ab.predict(there, z))(given)
    assert seen
    assert all(seen)
    assert y.is_contiguous()


def test_a_product_sees_a_weight_that_was_changed_in_place(torch: Any) -> None:
    net = Sequential(Linear(numbers(40, 30), numbers(30)), tanh).to("torch")
    x = numbers(5, 40)
    ab.predict(net, x)
    net.arrays[0].mul_(2)
    np.testing.assert_allclose(ab.predict(net, x), net(torch.from_numpy(x)), atol=2e-5)


def test_a_weight_that_is_given_other_data_is_reordered(torch: Any) -> None:
    net, x = convolutions()
    there, given = net.to("torch"), torch.from_numpy(x)
    there(given)
    for array in there.arrays:
        array.data = array * 1.5
    np.testing.assert_allclose(there(given), net.map(lambda a: a * np.float32(1.5))(x), atol=2e-5)


def test_a_product_by_onednn_sees_a_weight_that_was_changed(torch: Any) -> None:
    from anyback.backends._torch_kernels import by_onednn

    x = torch.from_numpy(numbers(8, 30))
    for unversioned in (False, True):
        weight = torch.from_numpy(numbers(30, 10))
        with torch.inference_mode(unversioned):
            weight = weight.clone()
        try:
            product = by_onednn(weight, None, rows=8)
        except (AttributeError, RuntimeError):
            pytest.skip("this torch has no operators of oneDNN")
        before = product(x).clone()
        with torch.inference_mode(unversioned):
            if unversioned:
                weight.mul_(2)
            else:
                weight.data = weight * 2
        np.testing.assert_allclose(product(x), 2 * before, rtol=1e-5, atol=1e-5)


def test_no_order_of_memory_leaves_a_network_under_autocast(torch: Any) -> None:
    net, x = convolutions()
    there, given = net.to("torch"), torch.from_numpy(x)
    with torch.autocast("cpu"):
        assert there(given).is_contiguous()


@pytest.mark.parametrize("shape", [(3, 2, 0), (0, 2, 4), (0, 0)])
def test_a_product_of_nothing_is_the_bias(shape: tuple[int, ...], torch: Any) -> None:
    bias = torch.from_numpy(numbers(5))
    y = OPS["dense"](torch.zeros(shape), torch.zeros(shape[-1], 5), bias)
    assert torch.equal(y, bias.expand(*shape[:-1], 5))


def test_nan_stays_nan_behind_a_convolution(torch: Any) -> None:
    net, x = convolutions()
    x[0, 0, 5, 5] = np.nan
    y = net.to("torch")(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(net(x)))


@pytest.mark.parametrize("missing", ["_reorder_convolution_weight", "all"])
def test_a_torch_without_these_operators_convolves_by_the_public_function(
    missing: str, monkeypatch: pytest.MonkeyPatch, torch: Any
) -> None:
    net, x = convolutions()
    if missing == "all":
        monkeypatch.setattr(_torch_state, "_watched", lambda: lambda: True)
    else:
        monkeypatch.setattr(_torch_convolution, "_operators", lambda: None)
    there = net.to("torch")
    np.testing.assert_allclose(there(torch.from_numpy(x)), net(x), atol=2e-5)
    assert all(one is None for one in kept(there))


def test_what_is_asked_of_onednn_is_heeded(torch: Any) -> None:
    net, x = convolutions()
    there, given = net.to("torch"), torch.from_numpy(x)
    expected = there(given)
    torch.backends.mkldnn.enabled = False
    try:
        assert not _torch_state.convolves_as_asked()
        np.testing.assert_allclose(there(given), expected, atol=2e-5)
    finally:
        torch.backends.mkldnn.enabled = True
    assert _torch_state.convolves_as_asked()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # by torch itself
def test_gradients_and_transformations_pass_a_convolution_that_has_kept_its_weight(torch: Any) -> None:
    net, numpys = convolutions()
    there, x = net.to("torch"), torch.from_numpy(numpys)
    there(x)  # from here on it has
    wide, along = there.to(dtype="float64"), torch.from_numpy(numbers(*x.shape))
    forward_ad = torch.autograd.forward_ad

    def jvp(net: Any, x: Any) -> Any:
        return torch.func.jvp(net, (x,), (along.to(x.dtype),))[1]

    def dual(net: Any, x: Any) -> Any:
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(net(forward_ad.make_dual(x, along.to(x.dtype)))).tangent

    def vmap(net: Any, x: Any) -> Any:
        return torch.func.vmap(net)(torch.stack([x, 2 * x]))

    def grad(net: Any, x: Any) -> Any:
        return torch.func.grad(lambda z: net(z).square().sum())(x)

    def backward(net: Any, x: Any) -> Any:
        z = x.clone().requires_grad_()
        net(z).square().sum().backward()
        return z.grad

    def weights(net: Any, x: Any) -> Any:
        net = net.map(lambda a: a.clone().requires_grad_())
        net(x).square().sum().backward()
        return net.arrays[0].grad

    for way in (jvp, dual, vmap, grad, backward, weights):
        expected = way(wide, x.double())
        scale = float(expected.abs().max())
        np.testing.assert_allclose(way(there, x) / scale, expected / scale, atol=1e-5, err_msg=way.__name__)


@pytest.mark.parametrize("call", ["net", "predict"])
def test_gradients_pass_activations_that_may_overwrite(call: str, torch: Any) -> None:
    layers = (Linear(numbers(6, 5)), sigmoid, relu, tanh, Linear(numbers(5, 4)), relu, Flatten())
    net = Sequential(*layers).to("torch").map(lambda a: a.requires_grad_())
    wide = net.map(lambda a: a.detach().double().requires_grad_())
    x = numbers(7, 6)
    run = {"net": lambda n, z: n(torch.from_numpy(z)), "predict": ab.predict}[call]
    for n, z in ((net, x), (wide, x.astype(np.float64))):
        run(n, z).square().sum().backward()
    for a, b in zip(net.arrays, wide.arrays, strict=True):
        np.testing.assert_allclose(a.grad, b.grad, atol=1e-4)


def test_threads_share_what_is_kept(torch: Any) -> None:
    net, x = convolutions()
    there, given = net.to("torch"), torch.from_numpy(x)
    expected = {n: there(given[:n]).clone() for n in (1, 2)}
    wrong: list[int] = []

    def work(n: int) -> None:
        wrong.extend(n for _ in range(50) if not torch.equal(there(given[:n]), expected[n]))

    threads = [threading.Thread(target=work, args=(1 + i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_products_by_onednn_are_gradients_too(monkeypatch: pytest.MonkeyPatch, torch: Any) -> None:
    from anyback.backends._torch_kernels import by_onednn

    try:
        weight, bias = torch.from_numpy(numbers(30, 10)), torch.from_numpy(numbers(10))
        multiply = by_onednn(weight, bias, rows=64)
    except (AttributeError, RuntimeError):
        pytest.skip("this torch has no operators of oneDNN")
    x = torch.from_numpy(numbers(64, 30))
    np.testing.assert_allclose(multiply(x), torch.addmm(bias, x, weight), atol=2e-5)
    np.testing.assert_allclose(multiply(x.round().to(torch.int8)), torch.addmm(bias, x.round(), weight), atol=2e-5)
    x.requires_grad_()
    multiply(x).sum().backward()
    np.testing.assert_allclose(x.grad[0], weight.sum(1), atol=2e-5)
