"""The switches of the libraries around a call: what anyback promises holds whatever they say, or it says so."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
from conftest import Library, usable

import anyback as ab
from anyback import backends, functional
from anyback.activations import ACTIVATIONS
from anyback.layers import Sequential

DIGITS = ab.datasets.digits("test")
X = DIGITS.images[:40]
FLOATS = (X / 16).astype(np.float32)
REFERENCE = ab.predict(ab.load_model("digits-mlp", backend="numpy", dtype="float64"), X)
CORRECT = int(np.sum(np.argmax(REFERENCE, axis=1) == DIGITS.labels[:40]))


def everything(name: str) -> Sequential:
    """Load a network, use it in each way, and look at the answers."""
    net = ab.load_model("digits-mlp", backend=name)
    here = ab.asarray(FLOATS, backend=net.backend)
    for y in (net(here), ab.predict(net, FLOATS), ab.predict(net, here), net(ab.asarray(X, backend=net.backend))):
        assert backends.dtype_name(y.dtype) == "float32"
        np.testing.assert_allclose(ab.to_numpy(y), REFERENCE, atol=2e-6)
    result = ab.evaluate(net, X, DIGITS.labels[:40])
    assert (result.correct, result.precision) == (CORRECT, "highest")
    for function in ACTIVATIONS.values():
        assert function(here).shape == here.shape
    return net


# -- PyTorch ------------------------------------------------------------------------------------------


def torch_modes() -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    import torch

    return {
        "bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        "float16": lambda: torch.autocast("cpu", dtype=torch.float16),
        "inference": torch.inference_mode,
        "no_grad": torch.no_grad,
        "meta": lambda: torch.device("meta"),
    }


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["bfloat16", "float16", "inference", "no_grad", "meta"])
def test_modes_of_torch_change_nothing_and_what_was_made_in_them_is_of_use_outside(mode: str) -> None:
    import torch

    usable("torch")
    bits = ab.to_numpy(ab.predict(ab.load_model("digits-mlp", backend="torch:cpu"), X)).tobytes()
    with torch_modes()[mode]():
        net = everything("torch:cpu")
        assert ab.to_numpy(ab.predict(net, X)).tobytes() == bits
    for call in (net, lambda x: ab.predict(net, x)):
        x = torch.ones((3, 64), requires_grad=True)
        call(x)[0, 0].backward()
        assert x.grad is not None
        assert float(x.grad.abs().max()) > 0


@pytest.mark.torch
def test_other_defaults_of_torch_change_nothing() -> None:
    import torch

    usable("torch")
    before = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    try:
        everything("torch:cpu")
    finally:
        torch.set_default_dtype(before[0])
        torch.use_deterministic_algorithms(before[1])


@pytest.mark.torch
def test_torch_compiles_a_network_whole() -> None:
    import torch

    usable("torch")
    net = ab.load_model("digits-mlp", backend="torch")
    for x in (torch.from_numpy(FLOATS), torch.from_numpy(X), torch.from_numpy(X > 8), torch.from_numpy(FLOATS[0])):
        y = torch.compile(net, backend="eager", fullgraph=True)(x)
        np.testing.assert_array_equal(ab.to_numpy(y), ab.to_numpy(net(x)))


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_torch_compiles_every_activation_whole(name: str, dtype: str) -> None:
    import torch

    usable("torch")
    x = torch.linspace(-3, 3, 12).reshape(3, 4).to(getattr(torch, dtype))
    expected = ACTIVATIONS[name](x)
    torch._dynamo.reset()  # it compiles one piece of code for so many kinds of input, and then no more
    y = torch.compile(ACTIVATIONS[name], backend="eager", fullgraph=True)(x)
    np.testing.assert_array_equal(ab.to_numpy(y), ab.to_numpy(expected))


@pytest.mark.torch
def test_a_compiled_network_keeps_full_precision_or_says_that_it_cannot() -> None:
    import torch

    usable("torch")
    net, x = ab.load_model("digits-mlp", backend="torch"), torch.from_numpy(FLOATS)
    expected = net(x)
    torch._dynamo.reset()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = torch.compile(net, backend="eager", fullgraph=True)(x)
    assert torch.equal(y, expected)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        torch._dynamo.reset()
        with pytest.raises(Exception, match=r"torch\.set_float32_matmul_precision\('highest'\) before"):
            torch.compile(net, backend="eager", fullgraph=True)(x)
        torch._dynamo.reset()
        assert torch.equal(torch.compile(net, backend="eager")(x), expected)  # by hand where it must be
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.torch
def test_a_convolution_is_rounded_no_more_than_asked_whatever_the_switch_of_the_processor_says() -> None:
    import torch

    seen: list[str] = []
    switches = torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv

    def look(x: Any) -> Any:
        seen.extend(switch.fp32_precision for switch in switches)
        return x

    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "bf16"
        x = torch.ones((2, 3))
        Sequential(look)(x)
        Sequential(ab.layers.Linear(torch.ones((3, 2)), torch.ones(2)), look)(x)
        ab.predict(Sequential(ab.layers.Linear(torch.ones((3, 2)), torch.ones(2)), look), x)
        assert seen
        assert set(seen) <= {"ieee", "none"}
        assert [switch.fp32_precision for switch in switches] == ["bf16", "bf16"]
    finally:
        for switch, setting in zip(switches, before, strict=True):
            switch.fp32_precision = setting


@pytest.mark.torch
def test_a_read_only_array_goes_to_torch_without_a_warning_and_is_safe_from_the_tensor() -> None:
    import torch

    usable("torch")
    x = FLOATS.copy()
    x.flags.writeable = False
    kept = x.copy()
    tensor = ab.asarray(x, backend="torch")
    tensor += 1
    np.testing.assert_array_equal(x, kept)
    shared = backends.resolve("torch:cpu").put_tile(x)  # what predict computes with, which writes to no input
    assert shared.data_ptr() == x.ctypes.data
    net = ab.load_model("digits-mlp", backend="torch")
    assert torch.equal(ab.predict(net, x), ab.predict(net, kept))


@pytest.mark.torch
def test_threads_that_move_read_only_arrays_leave_the_filters_of_warnings_alone() -> None:
    usable("torch")
    net, x = ab.load_model("digits-mlp", backend="torch"), FLOATS.copy()
    x.flags.writeable = False
    before = list(warnings.filters)

    def work() -> None:
        for _ in range(50):
            ab.asarray(x, backend="torch")
            ab.predict(net, x[:1])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


# -- JAX ----------------------------------------------------------------------------------------------


def jax_modes() -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    import jax

    return {
        "ranks": lambda: jax.numpy_rank_promotion("raise"),
        "types": lambda: jax.numpy_dtype_promotion("strict"),
        "nans": lambda: jax.debug_nans(True),
        "leaks": jax.checking_leaks,
        "no jit": jax.disable_jit,
        "precision": lambda: jax.default_matmul_precision("bfloat16"),
    }


@pytest.mark.jax
@pytest.mark.parametrize("mode", ["ranks", "types", "nans", "leaks", "no jit", "precision"])
def test_modes_of_jax_change_nothing(mode: str) -> None:
    import jax

    usable("jax")
    with jax_modes()[mode]():
        net = everything("jax")
        x = jax.numpy.asarray(FLOATS)
        np.testing.assert_allclose(jax.jit(net)(x), REFERENCE, atol=2e-6)
        np.testing.assert_allclose(jax.jit(lambda x: ab.predict(net, x))(x), REFERENCE, atol=2e-6)
        half = ab.asarray(FLOATS.astype(np.float16), backend="jax")
        np.testing.assert_allclose(net(half), REFERENCE, atol=2e-3)
        assert backends.dtype_name(ab.predict(net, half).dtype) == "float32"


@pytest.mark.jax
def test_wider_numbers_of_jax_may_be_switched_on_and_off() -> None:
    import jax

    usable("jax")
    net = everything("jax")
    bits = np.asarray(ab.predict(net, X)).tobytes()
    for enable in (True, False, True):
        with jax.enable_x64(enable):
            everything("jax")
            y = np.asarray(ab.predict(net, X))
            np.testing.assert_array_equal(np.asarray(ab.predict(net, X[3:])), y[3:])
            wide = ab.load_model("digits-mlp", backend="numpy", dtype="float64")
            if enable:
                y = ab.predict(wide.to("jax"), X)
                assert y.dtype == np.float64
                np.testing.assert_allclose(y, REFERENCE, atol=1e-14)
            else:
                with pytest.raises(ab.BackendError, match="jax has no float64 unless it is enabled"):
                    wide.to("jax")
    if not jax.config.jax_enable_x64:
        assert np.asarray(ab.predict(net, X)).tobytes() == bits


@pytest.mark.jax
def test_a_network_may_be_loaded_inside_a_program_and_used_outside() -> None:
    import jax

    usable("jax")
    kept: list[Sequential] = []

    def answer(x: Any) -> Any:
        if not kept:
            net = ab.load_model("digits-mlp", backend="jax", dtype="bfloat16")
            kept.extend([net.to("jax", dtype="float32"), ab.load_model("digits-mlp", backend="jax:cpu")])
        return kept[1](x)

    y = jax.jit(answer)(FLOATS)
    assert not any(isinstance(x, jax.core.Tracer) for net in kept for x in net.arrays)
    np.testing.assert_allclose(answer(jax.numpy.asarray(FLOATS)), y, atol=1e-6)
    kept.clear()
    jax.vmap(answer)(jax.numpy.asarray(FLOATS))
    jax.grad(lambda x: answer(x)[0, 0])(jax.numpy.asarray(FLOATS))
    np.testing.assert_allclose(kept[1](jax.numpy.asarray(FLOATS)), y, atol=1e-6)


@pytest.mark.jax
@pytest.mark.parametrize("use", ["load_model('digits-mlp', backend='jax')(x)", "asarray([1.0], backend='jax') + x[0]"])
def test_the_first_use_of_jax_may_be_inside_a_program(use: str) -> None:
    usable("jax")
    code = f"import jax, anyback as ab; print(jax.jit(lambda x: ab.{use})(jax.numpy.ones(64)).shape)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {"(10,)", "(1,)"}


@pytest.mark.jax
@pytest.mark.parametrize("rows", [1, 40, 700])
def test_gradients_of_jax_pass_through_predict(rows: int) -> None:
    import jax

    usable("jax")
    net = ab.load_model("digits-mlp", backend="jax")
    x = jax.numpy.asarray(np.concatenate([FLOATS] * 18)[:rows])
    expected = jax.grad(lambda x: net(x)[:, 0].sum())(x)
    assert float(abs(expected).max()) > 0
    of_predict = jax.grad(lambda x: ab.predict(net, x)[:, 0].sum())
    for function in (of_predict, jax.jit(of_predict)):
        np.testing.assert_allclose(function(x), expected, atol=1e-6)
    forward = jax.jacfwd(lambda x: ab.predict(net, x))(x[0])
    np.testing.assert_allclose(forward[0], jax.grad(lambda x: net(x)[0])(x[0]), atol=1e-6)


@pytest.mark.jax
def test_gradients_of_the_weights_pass_through_predict() -> None:
    import jax

    usable("jax")
    net = ab.load_model("digits-mlp", backend="jax")
    found = jax.grad(lambda arrays: ab.predict(net.with_arrays(arrays), FLOATS)[0, 0])(net.arrays)
    expected = jax.grad(lambda arrays: net.with_arrays(arrays)(jax.numpy.asarray(FLOATS))[0, 0])(net.arrays)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


# -- NumPy and those who use it -----------------------------------------------------------------------


def test_a_small_number_is_zero_where_numpy_is_to_raise_for_it(lib: Library) -> None:
    net = ab.load_model("digits-mlp", backend="numpy").map(lambda a: 30 * a).to(lib.backend)  # far out on each sigmoid
    expected = lib.to_numpy(ab.predict(net, X))
    with np.errstate(all="raise"):
        assert lib.to_numpy(ab.predict(net, X)).tobytes() == expected.tobytes()
        assert net(lib.asarray(FLOATS)).shape == (40, 10)


def test_types_that_differ_are_multiplied_in_the_wider(lib: Library) -> None:
    types = {name: getattr(lib.xp, name) for name in lib.dtypes if hasattr(lib.xp, name)}
    ones = lib.asarray(np.ones((3, 1)))
    for first in types.values():
        for second in types.values():
            x, weight = lib.xp.astype(ones, first), lib.xp.astype(ones, second)
            common = backends.common_float(lib.xp, x.dtype, weight.dtype)
            assert common == lib.xp.result_type(x, weight)
            if backends.dtype_name(common) in ("float32", "float64"):
                y = functional.linear(lib.xp.permute_dims(x, (1, 0)), weight)
                assert y.dtype == common
                assert lib.to_numpy(y).tolist() == [[3]]
