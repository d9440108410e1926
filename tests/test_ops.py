"""Ops against loops over single numbers in float64, on every library: the op, a network of it, and `predict`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from conftest import Library
from references import REFERENCES, products_of_conv

import anyback as ab
from anyback import backends
from anyback.network import Builder, Network
from anyback.ops import OPS


@dataclass(frozen=True)
class Case:
    """An op, the shapes of its arguments, and its attributes."""

    op: str
    shapes: tuple[Any, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self, n: int | None = None, seed: int = 0) -> list[Any]:
        """Return the arguments, numbers like those of a network, of `n` rows."""
        rng = np.random.default_rng(seed)
        first, *others = self.shapes
        first = first if n is None else (n, *first[1:])
        others = [first] if self.op == "add" else others
        found = [None if s is None else rng.uniform(0.2, 1.5, s) * rng.choice([-1, 1], s) for s in (first, *others)]
        if self.op == "batch_norm":
            found[2] = np.abs(found[2])
        if self.op == "pixels":
            found[1] = np.asarray(255.0)
        return found

    def expected(self, *arguments: Any) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return REFERENCES[self.op](*arguments, **self.attributes)

    def network(self, *arrays: Any) -> Network:
        into = Builder()
        if self.op == "add":  # of the input and of what comes from it
            value = into.call(OPS["add"], 0, into.call(OPS["scale"], 0, factor=2.0))
        else:
            value = into.call(OPS[self.op], 0, *[into.array(a) for a in arrays], **self.attributes)
        return Network(*into.fields([value], ((self.shapes[0][1:],),)))


def conv(x: tuple[int, ...], weight: tuple[int, ...], bias: bool = True, **attributes: Any) -> Case:
    axes = len(weight) - 2
    given = {"stride": (1,) * axes, "padding": ((0, 0),) * axes, "dilation": (1,) * axes, "groups": 1} | attributes
    return Case("conv", (x, weight, (weight[0],) if bias else None), given)


def pool(op: str, x: tuple[int, ...], size: tuple[int, ...], **attributes: Any) -> Case:
    given = {"size": size, "stride": size, "padding": ((0, 0),) * len(size)} | attributes
    return Case(
        op, (x,), {**given, "dilation": attributes.get("dilation", (1,) * len(size))} if op == "max_pool" else given
    )


CASES = {
    "conv of one axis": conv((3, 2, 9), (4, 2, 3), stride=(2,), padding=((1, 1),)),
    "conv of two axes": conv((3, 2, 6, 5), (4, 2, 3, 2)),
    "conv of three axes": conv((2, 2, 4, 3, 4), (3, 2, 2, 2, 3), padding=((0, 1), (1, 0), (1, 1))),
    "conv of one image": conv((1, 3, 5, 5), (2, 3, 3, 3), padding=((1, 1), (1, 1))),
    "conv, asymmetric padding": conv((2, 1, 5, 4), (2, 1, 3, 3), padding=((0, 2), (3, 1)), stride=(2, 1)),
    "conv, dilation": conv((2, 2, 7, 8), (2, 2, 3, 2), dilation=(2, 3), stride=(1, 2), bias=False),
    "conv, groups": conv((2, 6, 4, 4), (4, 3, 2, 2), groups=2),
    "conv, depthwise": conv((2, 4, 5, 5), (4, 1, 3, 3), groups=4, padding=((1, 1), (1, 1)), stride=(2, 2)),
    "conv, depthwise, two filters each": conv((2, 3, 5, 5), (6, 1, 3, 3), groups=3),
    "conv, depthwise, one channel": conv((2, 1, 5, 5), (1, 1, 2, 2)),
    "conv 1 × 1": conv((3, 4, 3, 5), (2, 4, 1, 1)),
    "conv 1 × 1, stride": conv((3, 4, 5, 5), (2, 4, 1, 1), stride=(2, 2), bias=False),
    "conv, many places": conv((2, 2, 90), (3, 2, 70), stride=(2,), padding=((1, 2),)),
    "conv, many places, groups": conv(
        (2, 4, 9, 20), (6, 2, 3, 24), groups=2, dilation=(2, 1), padding=((0, 1), (3, 2))
    ),
    "conv, stride beyond the window": conv((2, 2, 8, 8), (2, 2, 2, 1), stride=(3, 4)),
    "max_pool of one axis": pool("max_pool", (2, 3, 7), (2,)),
    "max_pool of two axes": pool("max_pool", (2, 3, 6, 4), (2, 2)),
    "max_pool of three axes": pool("max_pool", (2, 1, 4, 5, 3), (2, 3, 1), stride=(1, 2, 2)),
    "max_pool, padding": pool("max_pool", (2, 2, 5, 5), (3, 3), stride=(2, 2), padding=((1, 1), (1, 1))),
    "max_pool, asymmetric padding": pool("max_pool", (2, 2, 5, 5), (3, 2), padding=((0, 1), (1, 0)), stride=(1, 1)),
    "max_pool, dilation": pool("max_pool", (2, 2, 8, 7), (2, 3), stride=(1, 2), dilation=(3, 2)),
    "max_pool, ceil": pool("max_pool", (2, 2, 6, 5), (3, 2), stride=(2, 2), ceil=True),
    "max_pool, ceil and asymmetric padding": pool(
        "max_pool", (2, 2, 6, 5), (3, 2), stride=(2, 2), ceil=True, padding=((0, 1), (1, 0))
    ),
    "max_pool, padding beyond half of the window": pool(
        "max_pool", (2, 2, 4, 5), (3, 2), stride=(2, 1), padding=((2, 2), (1, 1))
    ),
    "max_pool of one place": pool("max_pool", (2, 2, 3, 3), (1, 1), stride=(1, 1)),
    "average_pool of one axis": pool("average_pool", (2, 3, 7), (2,)),
    "average_pool of two axes": pool("average_pool", (2, 3, 6, 4), (2, 2)),
    "average_pool of three axes": pool("average_pool", (2, 1, 4, 5, 3), (2, 3, 1), stride=(1, 2, 2)),
    "average_pool, padding": pool("average_pool", (2, 2, 5, 5), (3, 3), stride=(2, 2), padding=((1, 1), (1, 1))),
    "average_pool, padding does not count": pool(
        "average_pool", (2, 2, 5, 5), (3, 3), stride=(2, 2), padding=((1, 0), (1, 1)), count_padding=False
    ),
    "average_pool, ceil": pool(
        "average_pool", (2, 2, 6, 5), (3, 2), stride=(2, 2), ceil=True, padding=((1, 1), (0, 1))
    ),
    "average_pool, ceil, padding does not count": pool(
        "average_pool", (2, 2, 6, 5), (3, 2), stride=(2, 2), ceil=True, padding=((1, 1), (0, 1)), count_padding=False
    ),
    "average_pool of the whole": pool("average_pool", (2, 3, 4, 4), (4, 4)),
    "global_average_pool": Case("global_average_pool", ((3, 2, 5, 7),)),
    "global_average_pool of one axis": Case("global_average_pool", ((3, 2, 6),)),
    "batch_norm": Case("batch_norm", ((4, 3, 2, 5), (3,), (3,), (3,), (3,)), {"epsilon": 1e-3}),
    "batch_norm of features": Case("batch_norm", ((4, 3), (3,), (3,)), {"epsilon": 1e-5}),
    "batch_norm without weight": Case("batch_norm", ((4, 3, 6), (3,), (3,), None, (3,)), {"epsilon": 1e-5}),
    "layer_norm": Case("layer_norm", ((4, 3, 6), (6,), (6,)), {"shape": (6,), "epsilon": 1e-5}),
    "layer_norm of two axes": Case("layer_norm", ((4, 2, 3, 5), (3, 5)), {"shape": (3, 5), "epsilon": 1e-2}),
    "layer_norm without weight": Case("layer_norm", ((4, 7), None, (7,)), {"shape": (7,), "epsilon": 1e-5}),
    "linear": Case("linear", ((4, 7), (7, 3), (3,))),
    "dense": Case("dense", ((4, 5, 7), (7, 3), (3,))),
    "dense of one vector": Case("dense", ((4, 7), (7, 3), None)),
    "attention": Case("attention", ((4, 2, 5, 3), (1, 2, 6, 3), (1, 2, 6, 4), (5, 6)), {"scale": 0.5}),
    "attention without a mask": Case("attention", ((4, 1, 5, 3), (1, 1, 3, 3), (1, 1, 3, 3)), {"scale": -2.0}),
    "attention, many keys": Case("attention", ((4, 2, 3, 5), (1, 2, 70, 5), (1, 2, 70, 2), (70,)), {"scale": 0.25}),
    "add": Case("add", ((4, 3, 2), (4, 3, 2))),
    "scale": Case("scale", ((4, 3, 2),), {"factor": -0.75}),
    "flatten": Case("flatten", ((4, 3, 2, 2),)),
    "reshape": Case("reshape", ((4, 12),), {"shape": (3, 2, 2)}),
    "permute": Case("permute", ((4, 3, 5, 2),), {"axes": (3, 1, 2)}),
    "pick": Case("pick", ((4, 3, 5, 2),), {"axis": 2, "index": 3}),
    "pixels": Case("pixels", ((4, 6), ())),
}
#: One of each kind, where a test need not see them all.
FEW = [
    "conv of one axis",
    "conv, asymmetric padding",
    "conv, groups",
    "conv, depthwise",
    "conv 1 × 1",
    "max_pool, padding",
    "max_pool, ceil and asymmetric padding",
    "average_pool, padding does not count",
    "average_pool of two axes",
    "global_average_pool",
    "permute",
    "batch_norm",
    "layer_norm",
    "linear",
    "dense",
    "attention",
    "pick",
    "scale",
    "flatten",
    "reshape",
    "pixels",
]
SPATIAL = [name for name in FEW if name.startswith(("conv", "max_pool", "average_pool"))]


def on(lib: Library, arguments: list[Any], dtype: str = "float32") -> list[Any]:
    found = [None if a is None else lib.asarray(a, "float32" if dtype == "bfloat16" else dtype) for a in arguments]
    return [a if a is None or dtype != "bfloat16" else lib.xp.astype(a, lib.xp.bfloat16) for a in found]


def answers(lib: Library, case: Case, x: Any, arrays: list[Any]) -> dict[str, Any]:
    """Return what the op, a network and `predict` give."""
    op, net = OPS[case.op], case.network(*arrays)
    compute = functools.partial(op, **case.attributes)
    # As one program, since JAX compiles each function of the standard for itself otherwise.
    one = jitted if lib.backend.name == "jax" else lambda function: function
    given = (x, 2 * x) if case.op == "add" else (x, *arrays)
    return {"op": one(compute)(*given), "network": one(net)(x), "predict": ab.predict(net, x)}


def jitted(function: Any) -> Any:
    import jax

    return jax.jit(function)


def seen(lib: Library, x: Any) -> np.ndarray:
    """Return an array as float64; bfloat16 by way of float32, since NumPy has none of its own."""
    x = lib.xp.astype(x, lib.xp.float32) if backends.dtype_name(x.dtype) == "bfloat16" else x
    return lib.to_numpy(x).astype(np.float64)


def check(lib: Library, case: Case, arguments: list[Any], dtype: str = "float32", tolerance: float = 3e-6) -> None:
    x, *arrays = on(lib, arguments, dtype)
    # What is rounded to the type before anything is computed is not the op's fault.
    host = [None if a is None else seen(lib, a) for a in (x, *arrays)]
    host = [host[0], 2 * host[0]] if case.op == "add" else host
    expected = case.expected(*host)
    for way, y in answers(lib, case, x, arrays).items():
        assert backends.dtype_name(y.dtype) == dtype, way
        assert tuple(y.shape) == expected.shape, way
        np.testing.assert_allclose(seen(lib, y), expected, rtol=tolerance, atol=tolerance, err_msg=way)


@pytest.mark.parametrize("name", CASES)
def test_an_op_computes_what_its_definition_says(lib: Library, name: str) -> None:
    check(lib, CASES[name], CASES[name].arguments())


@pytest.mark.parametrize("name", FEW)
def test_every_floating_point_type_is_computed_and_kept(lib: Library, name: str) -> None:
    tolerances = {"float16": 4e-3, "bfloat16": 3e-2, "float64": 1e-13}
    for dtype in lib.dtypes:
        if dtype in tolerances and (dtype != "bfloat16" or lib.backend.name in ("torch", "jax")):
            check(lib, CASES[name], CASES[name].arguments(), dtype, tolerances[dtype])


@pytest.mark.parametrize("name", FEW)
def test_an_empty_batch_and_one_row(lib: Library, name: str) -> None:
    case = CASES[name]
    for n in (0, 1):
        arguments = case.arguments(n)
        x, *arrays = on(lib, arguments)
        expected = case.expected(*arguments)
        for way, y in answers(lib, case, x, arrays).items():
            assert tuple(y.shape) == expected.shape, (n, way)
            np.testing.assert_allclose(lib.to_numpy(y), expected, rtol=3e-6, atol=3e-6, err_msg=way)


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
def test_integers_are_numbers(lib: Library, name: str, dtype: str) -> None:
    case = CASES[name]
    if case.op == "max_pool" and dtype == "bool":
        pytest.skip("the standard has no larger one of two booleans")
    if lib.backend.name == "jax" and dtype != "uint8":
        pytest.skip("takes long to compile, and tells no more")
    arguments = case.arguments()
    arguments[0] = (10 * np.abs(arguments[0])).astype(int) % 7
    arguments[0] = arguments[0].astype(dtype)
    x, arrays = lib.asarray(arguments[0], None), on(lib, arguments[1:])
    kept = case.op in ("flatten", "permute", "pick", "reshape", "max_pool")
    expected = case.expected(*([arguments[0].astype(int)] if case.op != "pixels" else arguments[:1]), *arguments[1:])
    for way, y in answers(lib, case, x, arrays).items():
        assert backends.dtype_name(y.dtype) in ((dtype,) if kept else ("float32", "float64")), way
        np.testing.assert_allclose(lib.to_numpy(y), expected, rtol=4e-6, atol=4e-6, err_msg=way)


@pytest.mark.parametrize("name", SPATIAL)
@pytest.mark.filterwarnings("ignore:nan in 1 of (6 rows|the rows 0 to 5)")  # Dask says it of a task's rows
def test_what_is_no_number_stays_in_its_image_and_its_windows(lib: Library, name: str) -> None:
    case = CASES[name]
    arguments = case.arguments(6)
    for image, bad in ((1, np.nan), (2, np.inf), (4, -np.inf)):
        arguments[0][(image, 0, *[2] * (arguments[0].ndim - 2))] = bad
    x, *arrays = on(lib, arguments)
    expected = case.expected(*arguments)
    assert np.isfinite(expected[[0, 3, 5]]).all()
    for way, y in answers(lib, case, x, arrays).items():
        np.testing.assert_allclose(lib.to_numpy(y), expected, rtol=3e-6, atol=3e-6, err_msg=way)


@pytest.mark.parametrize("name", FEW)
def test_input_that_is_cut_or_turned_in_memory(lib: Library, name: str) -> None:
    case = CASES[name]
    arguments = case.arguments(6)
    x, *arrays = on(lib, arguments)
    turned = tuple(range(x.ndim))[::-1]
    cuts = [x[::2, ...]]
    if lib.backend.name != "jax":  # whose arrays all lie in memory alike
        cuts.append(lib.xp.flip(lib.xp.flip(x, axis=0), axis=0))
        cuts.append(lib.xp.permute_dims(lib.xp.permute_dims(x, turned) + 0, turned))
    for cut in cuts:
        expected = case.expected(lib.to_numpy(cut).astype(np.float64), *arguments[1:])
        for way, y in answers(lib, case, cut, arrays).items():
            np.testing.assert_allclose(lib.to_numpy(y), expected, rtol=3e-6, atol=3e-6, err_msg=way)


WRONG = {
    "conv of one axis": [(3, 2), (3, 3, 9), (3, 2, 9, 9), (3, 2, 0)],
    "conv, groups": [(2, 3, 4, 4), (2, 6, 1, 4), (6, 4, 4), ()],
    "max_pool, padding": [(2, 5, 5), (2, 2, 5), (2, 2, 0, 5), ()],
    "average_pool of two axes": [(2, 5, 5), (2, 3, 1, 4), ()],
    "batch_norm": [(4, 2, 2, 5), (3,), ()],
    "layer_norm": [(4, 3, 5), (), (6,)],
    "linear": [(4, 6), (4, 7, 7), ()],
    "dense": [(4, 6), (4, 7, 6), (7,), ()],
    "attention": [(4, 2, 5, 4), (4, 3, 5, 3), (4, 5, 3), ()],
    "pick": [(4, 3), (4, 3, 2), ()],
    "reshape": [(4, 11), ()],
    "flatten": [()],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_shape_that_does_not_fit_is_one_error(lib: Library, name: str) -> None:
    case = CASES[name]
    _, *arrays = on(lib, case.arguments())
    for shape in WRONG[name]:
        x = lib.asarray(np.ones(shape))
        with pytest.raises(ab.ShapeError, match=r"(expected|window).* (found|fit)") as raised:
            OPS[case.op](x, *arrays, **case.attributes)
        assert "\n" not in str(raised.value)
        into = Builder()
        value = into.call(OPS[case.op], 0, *[into.array(a) for a in arrays], **case.attributes)
        net = Network(*into.fields([value], ((),)))
        if len(shape) > 1:  # else it is one sample, of a network that takes any
            for ask in (net, functools.partial(ab.predict, net)):
                with pytest.raises(ab.ShapeError):
                    ask(x)


@pytest.mark.numpy
def test_arrays_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ab.ShapeError, match="one shape"):
        OPS["add"](np.ones((2, 3)), np.ones((2, 1)))


# -- Against PyTorch, at random -----------------------------------------------------------------------


def random_window(rng: np.random.Generator, axes: int) -> tuple[Any, ...]:
    size = tuple(int(k) for k in rng.integers(1, 4, axes))
    stride = tuple(int(k) for k in rng.integers(1, 4, axes))
    dilation = tuple(int(k) for k in rng.integers(1, 3, axes))
    padding = tuple((int(k), int(k)) for k in rng.integers(0, 3, axes))
    sample = tuple(int(k) for k in rng.integers(3, 9, axes))
    return size, stride, dilation, padding, sample


@pytest.mark.torch
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_random_convolutions_are_those_of_torch(library: str) -> None:
    import torch

    functions = torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d
    rng, computed = np.random.default_rng(7), 0
    for _ in range(300):
        axes = int(rng.integers(1, 4))
        size, stride, dilation, padding, sample = random_window(rng, axes)
        groups, depth, filters = (int(k) for k in rng.integers(1, 4, 3))
        x = rng.standard_normal((int(rng.integers(0, 4)), groups * depth, *sample))
        weight = rng.standard_normal((groups * filters, depth, *size))
        bias = rng.standard_normal(groups * filters) if rng.integers(2) else None
        given = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        tensors = [None if a is None else torch.from_numpy(a) for a in (x, weight, bias)]
        shapes = [None if a is None else a.shape for a in (x, weight, bias)]
        try:
            y = functions[axes - 1](*tensors, stride, [p for p, _ in padding], dilation, groups).numpy()
        except RuntimeError:
            with pytest.raises(ab.ShapeError):
                OPS["conv"](x, weight, bias, **given)
            continue
        computed += 1
        assert OPS["conv"].shape(*shapes, **given) == y.shape
        assert OPS["conv"].multiply_adds(*shapes, **given) == products_of_conv(x, weight, **given)
        arrays = (x, weight, bias) if library == "numpy" else tensors
        np.testing.assert_allclose(np.asarray(OPS["conv"](*arrays, **given)), y, rtol=1e-12, atol=1e-12)
    assert computed > 200


@pytest.mark.torch
@pytest.mark.parametrize("op", ["max_pool", "average_pool"])
def test_random_poolings_are_those_of_torch(op: str) -> None:
    import torch

    f = torch.nn.functional
    largest, means = (f.max_pool1d, f.max_pool2d, f.max_pool3d), (f.avg_pool1d, f.avg_pool2d, f.avg_pool3d)
    rng, computed = np.random.default_rng(8), 0
    for _ in range(400):
        axes, ceil, counted = int(rng.integers(1, 4)), bool(rng.integers(2)), bool(rng.integers(2))
        size, stride, dilation, padding, sample = random_window(rng, axes)
        padding = tuple((min(p, k // 2),) * 2 for (p, _), k in zip(padding, size, strict=True))
        x = rng.standard_normal((int(rng.integers(1, 3)), int(rng.integers(1, 3)), *sample))
        pads = [p for p, _ in padding]
        given: dict[str, Any] = {"size": size, "stride": stride, "padding": padding, "ceil": ceil}
        try:
            if op == "max_pool":
                given["dilation"] = dilation
                y = largest[axes - 1](torch.from_numpy(x), size, stride, pads, dilation, ceil)
            else:
                given["count_padding"] = counted
                y = means[axes - 1](torch.from_numpy(x), size, stride, pads, ceil, counted)
        except RuntimeError:
            for compute in (OPS[op], OPS[op].compute):
                with pytest.raises(ab.ShapeError):
                    compute(x, **given)
            continue
        computed += 1
        assert OPS[op].shape(x.shape, **given) == tuple(y.shape), given
        for found in (OPS[op](x, **given), OPS[op].compute(x, **given), OPS[op](torch.from_numpy(x), **given)):
            np.testing.assert_allclose(np.asarray(found), y.numpy(), rtol=1e-12, err_msg=str((x.shape, given)))
    assert computed > 200


@pytest.mark.torch
def test_normalizations_are_those_of_torch() -> None:
    import torch

    rng = np.random.default_rng(9)
    for _ in range(40):
        shape = tuple(int(k) for k in rng.integers(1, 5, int(rng.integers(2, 5))))
        x = torch.from_numpy(rng.standard_normal(shape))
        mean, weight, bias = (torch.from_numpy(rng.standard_normal(shape[1])) for _ in range(3))
        variance, epsilon = torch.from_numpy(rng.uniform(0.1, 2, shape[1])), float(rng.uniform(1e-5, 0.1))
        y = torch.nn.functional.batch_norm(x, mean, variance, weight, bias, eps=epsilon)
        found = OPS["batch_norm"](x, mean, variance, weight, bias, epsilon=epsilon)
        torch.testing.assert_close(found, y, rtol=1e-12, atol=1e-12)
        last = shape[int(rng.integers(1, len(shape))) :]
        weight, bias = (torch.from_numpy(rng.standard_normal(last)) for _ in range(2))
        y = torch.nn.functional.layer_norm(x, last, weight, bias, eps=epsilon)
        found = OPS["layer_norm"](x, weight, bias, shape=last, epsilon=epsilon)
        torch.testing.assert_close(found, y, rtol=1e-10, atol=1e-10)
