"""ONNX's quantization against its reference, and products of integers against Python's integers."""

from __future__ import annotations

from typing import Any

import ml_dtypes  # so that NumPy knows int4 and short floats
import numpy as np
import pytest
from conftest import Library
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_apply import applied

from anyback.errors import DataError, ShapeError
from anyback.onnx import load
from anyback.onnx._types import HELD_AS
from anyback.onnx.operators.quantize import MatMulInteger, QuantizeLinear

RNG = np.random.default_rng(7)
X = np.concatenate([RNG.normal(size=22) * 60, [0.0, 1e9, -1e9, np.inf, -np.inf, 2.5, -0.5, 0.5]]).astype(np.float32)
X = X.reshape(5, 6)
INTEGERS = ("uint8", "int8", "uint16", "int16")


def run(name: str, *given: Any, lib: Library, version: int = 21, **attributes: Any) -> Any:
    return applied(name, *given, lib=lib, domain="", version=version, **attributes)


def reference(name: str, *given: np.ndarray, version: int = 21, **attributes: Any) -> np.ndarray:
    names = [f"x{i}" for i in range(len(given))]
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in zip(names, given, strict=True)
    ]
    node = helper.make_node(name, names, ["y"], **attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    with np.errstate(all="ignore"):
        return np.asarray(ReferenceEvaluator(model).run(None, dict(zip(names, given, strict=True)))[0])


def parts(dtype: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return scales and zero points."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return RNG.uniform(0.1, 3, shape).astype(np.float32), RNG.integers(low, high + 1, shape).astype(dtype)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((), {}),
        ((1,), {}),
        ((6,), {}),
        ((5,), {"axis": 0}),
        ((6,), {"axis": -1}),
        ((5, 2), {"axis": 1, "block_size": 3}),
        ((2, 6), {"axis": -2, "block_size": 4}),
    ],
)
def test_there_and_back(lib: Library, dtype: str, shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    x = np.clip(X, -1e8, 1e8)  # beyond, the reference's own integers of 32 bits overflow
    scale, zero = parts(dtype, shape)
    y = run("QuantizeLinear", x, scale, zero, lib=lib, **attributes)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, reference("QuantizeLinear", x, scale, zero, **attributes))
    back = run("DequantizeLinear", y, scale, zero, lib=lib, **attributes)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, reference("DequantizeLinear", y, scale, zero, **attributes))


def test_ties_go_to_even_and_what_is_beyond_stays_at_the_end(lib: Library) -> None:
    x = np.asarray([0.5, 1.5, 2.5, -0.5, -1.5, np.inf, -np.inf, 1e30, -1e30, np.nan], np.float32)
    y = run("QuantizeLinear", x, np.float32(1), np.int8(1), lib=lib, version=13)
    np.testing.assert_array_equal(y, [1, 3, 3, 1, -1, 127, -128, 127, -128, -128])


def test_without_a_zero_point_the_type_is_said_or_uint8(lib: Library) -> None:
    x, scale = np.asarray([-3.0, 4.0, 300.0], np.float32), np.float32(1)
    for attributes, dtype, expected in (
        ({}, "uint8", [0, 4, 255]),
        ({"output_dtype": "int8"}, "int8", [-3, 4, 127]),
        ({"output_dtype": "int4"}, "int8", [-3, 4, 7]),
        ({"output_dtype": "uint2"}, "uint8", [0, 3, 3]),
        ({"output_dtype": "float4e2m1"}, "float32", [-3, 4, 6]),
        ({"output_dtype": "float8e4m3fn"}, "float32", [-3, 4, 288]),
    ):
        y = run("QuantizeLinear", x, scale, lib=lib, **attributes)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"])
@pytest.mark.parametrize("saturate", [0, 1])
def test_short_floats(lib: Library, name: str, saturate: int) -> None:
    x, scale = X[np.isfinite(X)], np.float32(0.37)
    zero = np.zeros((), getattr(ml_dtypes, name))
    held = ("", "", name.replace("_", ""))
    y = run("QuantizeLinear", x, scale, zero.astype(np.float32), lib=lib, saturate=saturate, held=held)
    expected = reference("QuantizeLinear", x, scale, zero, saturate=saturate).astype(np.float32)
    np.testing.assert_array_equal(y, expected)
    back = run("DequantizeLinear", y, scale, lib=lib)
    np.testing.assert_allclose(back, expected * scale, rtol=1e-6)


@pytest.mark.parametrize("name", ["uint4", "int4", "uint2", "int2", "float4e2m1", "float8e5m2"])
@pytest.mark.parametrize("how", ["input", "initializer", "constant", "cast", "reshaped"])
def test_the_type_of_a_zero_point_comes_from_the_file(name: str, how: str) -> None:
    code = getattr(TensorProto, name.upper())
    zero = helper.make_tensor("z", code, [1], [1 if "int" in name else 0])
    nodes, constants = [], [helper.make_tensor("s", TensorProto.FLOAT, [], [1.0])]
    inputs, given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])], {}
    if how == "input":
        inputs.append(helper.make_tensor_value_info("z", code, [1]))
        given["z"] = numpy_helper.to_array(zero).astype(HELD_AS[name])
    elif how == "initializer":
        constants.append(zero)
    elif how == "constant":
        nodes.append(helper.make_node("Constant", [], ["z"], value=zero))
    else:
        inputs.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, [1]))
        given["f"] = np.asarray([1 if "int" in name else 0], np.float32)
        nodes.append(helper.make_node("Cast", ["f"], ["c" if how == "reshaped" else "z"], to=code))
    if how == "reshaped":
        constants.append(helper.make_tensor("shape", TensorProto.INT64, [1], [-1]))
        nodes.append(helper.make_node("Reshape", ["c", "shape"], ["z"]))
    nodes.append(helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"]))
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", code, [4])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)])
    x = np.asarray([-1e6, -1.2, 2.7, 1e6], np.float32)
    expected = {
        "uint4": [0, 0, 4, 15], "int4": [-8, 0, 4, 7], "uint2": [0, 0, 3, 3], "int2": [-2, 0, 1, 1],
        "float4e2m1": [-6, -1, 3, 6], "float8e5m2": [-57344, -1.25, 2.5, 57344],
    }[name]  # fmt: skip
    y = np.asarray(load(model.SerializeToString())(x=x, **given))
    assert y.dtype == HELD_AS[name]
    np.testing.assert_array_equal(y, expected)


def test_a_network_of_quantized_numbers_is_near_the_one_of_floats() -> None:
    weight, x = RNG.normal(size=(6, 4)).astype(np.float32), RNG.normal(size=(5, 6)).astype(np.float32)
    size = np.abs(weight).max(axis=0) / 127
    constants = [
        numpy_helper.from_array(np.round(weight / size).astype(np.int8), "w"),
        numpy_helper.from_array(size, "ws"),
        numpy_helper.from_array(np.float32(np.abs(x).max() / 127), "xs"),
        numpy_helper.from_array(np.int8(0), "xz"),
        numpy_helper.from_array(np.zeros(4, np.int8), "wz"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "xs", "xz"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["v"], axis=1),
        helper.make_node("MatMul", ["d", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        constants,
    )
    net = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())
    y = np.asarray(net(x))
    assert 0 < np.abs(y - x @ weight).max() < 0.1
    np.testing.assert_allclose(np.asarray(net.to(dtype="float64")(x.astype(np.float64))), y, rtol=1e-5, atol=1e-5)


def test_a_convolution_of_quantized_numbers_is_the_op_that_libraries_have_kernels_of() -> None:
    weight = bytes_of("int8", 4, 3, 3, 3)
    constants = [
        numpy_helper.from_array(np.asarray(x), name)
        for name, x in {"w": weight, "ws": np.full(4, 0.5, np.float32), "s": np.float32(2), "z": np.uint8(10)}.items()
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws"], ["v"], axis=0),
        helper.make_node("Conv", ["d", "v"], ["y"]),
    ]
    q = helper.make_tensor_value_info("q", TensorProto.UINT8, ["n", 3, 5, 5])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, 3, 3])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [q], [y], constants), opset_imports=[helper.make_opsetid("", 13)]
    )
    net, images = load(model.SerializeToString()), bytes_of("uint8", 2, 3, 5, 5)
    assert [call.op.name for call in net.calls] == ["DequantizeLinear", "conv"]
    expected = convolved((images - 10.0) * 2, weight * 0.5, (1, 1), (1, 1), 1)
    np.testing.assert_allclose(np.asarray(net(images)), expected, rtol=1e-5, atol=1e-2)


def test_long_integers_keep_their_digits_until_the_scale(lib: Library) -> None:
    x, zero = np.asarray([2**30 + 5, -(2**30)], np.int32), np.asarray(2**30, np.int32)
    y = run("DequantizeLinear", x, np.float32(0.5), zero, lib=lib)
    np.testing.assert_array_equal(y, np.asarray([2.5, -(2.0**30)], np.float32))


@pytest.mark.parametrize("x", [X[:4, :4], np.abs(X[:3]) * 0.01, -np.abs(X[:2]), np.zeros((2, 3), np.float32)])
def test_dynamic(lib: Library, x: np.ndarray) -> None:
    x = np.where(np.isfinite(x), x, 1).astype(np.float32)
    y, scale, zero = run("DynamicQuantizeLinear", x, lib=lib, outputs=3)
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    expected = (high - low) / 255 if high > low else 1.0
    assert (y.dtype, zero.dtype, scale.shape, zero.shape) == (np.uint8, np.uint8, (), ())
    np.testing.assert_allclose(scale, expected, rtol=1e-6)
    np.testing.assert_allclose((y.astype(float) - zero) * expected, x, atol=expected * 1.01)


# -- Products ------------------------------------------------------------------------------------------


def bytes_of(dtype: str, *shape: int) -> np.ndarray:
    return RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, shape).astype(dtype)


def convolved(x: np.ndarray, w: np.ndarray, stride: Any, dilation: Any, group: int) -> np.ndarray:
    """Return a convolution, one sum of products after the other."""
    height, width = ((x.shape[2 + i] - dilation[i] * (w.shape[2 + i] - 1) - 1) // stride[i] + 1 for i in range(2))
    y, each = np.zeros((len(x), len(w), height, width)), x.shape[1] // group
    for filter, i, j in np.ndindex(len(w), height, width):
        first = filter // (len(w) // group) * each
        rows, columns = (
            slice(at * step, at * step + apart * (size - 1) + 1, apart)
            for at, step, apart, size in zip((i, j), stride, dilation, w.shape[2:], strict=True)
        )
        y[:, filter, i, j] = (x[:, first : first + each, rows, columns] * w[filter]).sum(axis=(1, 2, 3))
    return y


@pytest.mark.parametrize("depth", [0, 1, 258, 259, 1000])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_matmul_is_exact(lib: Library, depth: int, kind: str) -> None:
    a, b = bytes_of("uint8", 2, 3, depth), bytes_of(kind, depth, 4)
    low = np.iinfo(kind).min
    a[:, 0], b[:, 0] = 255, low  # as large as a sum can be
    zero_a, zero_b = np.asarray([0, 7, 255], np.uint8), np.asarray([127, 0, 1, 2], kind)
    wide = a.astype(np.int64), b.astype(np.int64)
    y = run("MatMulInteger", a, b, lib=lib)
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, wide[0] @ wide[1])
    y = run("MatMulInteger", a, b, zero_a, zero_b, lib=lib)
    np.testing.assert_array_equal(y, (wide[0] - zero_a.astype(int)[:, None]) @ (wide[1] - zero_b.astype(int)))


def test_vectors_and_stacks(lib: Library) -> None:
    a, b = bytes_of("uint8", 600), bytes_of("int8", 5, 600, 2)
    y = run("MatMulInteger", a, b, lib=lib)
    np.testing.assert_array_equal(y, a.astype(int) @ b.astype(int))


@pytest.mark.parametrize(("channels", "group"), [(1, 1), (3, 1), (70, 1), (40, 2), (4, 4)])
@pytest.mark.parametrize("zero", [(), (8,)])
def test_convolutions_are_exact(lib: Library, channels: int, group: int, zero: tuple[int, ...]) -> None:
    x, w = bytes_of("uint8", 2, channels, 6, 5), bytes_of("int8", 8, channels // group, 3, 2)
    x_zero, w_zero = np.uint8(9), bytes_of("int8", *zero)
    y = run(
        "ConvInteger", x, w, x_zero, w_zero, lib=lib, group=group, pads=(1, 0, 1, 0), strides=(2, 1), dilations=(1, 2)
    )
    wide = w.astype(float) - w_zero.astype(float).reshape(-1, 1, 1, 1)
    images = np.pad(x.astype(float) - 9, ((0, 0), (0, 0), (1, 1), (0, 0)))
    expected = convolved(images, wide, (2, 1), (1, 2), group)
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, expected)


def test_a_window_of_many_places_is_exact_too(lib: Library) -> None:
    x, w = np.full((1, 2, 20, 17), 255, np.uint8), np.full((1, 2, 17, 17), 255, np.uint8)
    y = run("ConvInteger", x, w, lib=lib)
    np.testing.assert_array_equal(y, np.full((1, 1, 4, 1), 2 * 17 * 17 * 255**2))


def test_quantized_matmul(lib: Library) -> None:
    a, b = bytes_of("uint8", 3, 300), bytes_of("int8", 300, 4)
    a_scale, b_scale = np.asarray([0.01, 0.02, 0.03], np.float32), np.asarray([0.1, 0.2, 0.3, 0.4], np.float32)
    a_zero, b_zero = np.asarray([1, 2, 3], np.uint8), np.asarray([-1, 0, 1, 2], np.int8)
    y = run("QLinearMatMul", a, a_scale, a_zero, b, b_scale, b_zero, np.float32(3), np.uint8(100), lib=lib)
    left = (a - a_zero.astype(float)[:, None]) * a_scale.astype(float)[:, None]
    exact = left @ ((b - b_zero.astype(float)) * b_scale.astype(float)) / 3
    assert y.dtype == np.uint8
    assert 0 < y.min() < y.max() < 255 or len(np.unique(y)) > 3
    np.testing.assert_allclose(y, np.clip(exact + 100, 0, 255), atol=0.5001)


def test_quantized_convolution(lib: Library) -> None:
    x, w = bytes_of("uint8", 2, 3, 5, 5), bytes_of("int8", 4, 3, 3, 3)
    scale, zero, bias = RNG.uniform(0.01, 0.1, 4).astype(np.float32), bytes_of("int8", 4), np.arange(4, dtype=np.int32)
    y = run(
        "QLinearConv", x, np.float32(0.1), np.uint8(120), w, scale, zero, np.float32(2), np.int8(3), bias * 500, lib=lib
    )
    wide = (w - zero.astype(float).reshape(-1, 1, 1, 1)) * scale.astype(float).reshape(-1, 1, 1, 1)
    expected = convolved((x - 120.0) * 0.1, wide, (1, 1), (1, 1), 1) / 2
    expected = expected + (bias * 500 * 0.1 * scale.astype(float) / 2).reshape(-1, 1, 1)
    assert y.dtype == np.int8
    np.testing.assert_allclose(y, np.clip(expected + 3, -128, 127), atol=0.501)


@pytest.mark.jax
def test_under_jit() -> None:
    jax = pytest.importorskip("jax")
    scale, zero = parts("uint8", (6,))
    x = np.clip(X, -1e8, 1e8)
    found = jax.jit(QuantizeLinear.compute)(x, scale, zero)
    np.testing.assert_array_equal(np.asarray(found), reference("QuantizeLinear", x, scale, zero))
    a, b = bytes_of("uint8", 3, 500), bytes_of("uint8", 500, 4)
    np.testing.assert_array_equal(np.asarray(jax.jit(MatMulInteger.compute)(a, b)), a.astype(int) @ b.astype(int))


def test_what_does_not_fit_is_one_clear_error(lib: Library) -> None:
    scale = np.ones(3, np.float32)
    with pytest.raises(ShapeError, match="6 along axis 1"):
        run("QuantizeLinear", X, scale, lib=lib)
    with pytest.raises(ShapeError, match="axis 2"):
        run("DequantizeLinear", X, scale, lib=lib, axis=2)
    with pytest.raises(ShapeError, match=r"\(5, 2\)"):
        run("QuantizeLinear", X, np.ones((5, 3), np.float32), lib=lib, block_size=3)
    with pytest.raises(DataError, match="zero point of int8"):
        run("QuantizeLinear", X, scale[0], np.int8(0), lib=lib, output_dtype="uint8")
    with pytest.raises(DataError, match="16 bits"):
        run("QuantizeLinear", X, scale[0], lib=lib, output_dtype="int32")
    with pytest.raises(DataError, match="8 bits"):
        run("MatMulInteger", np.ones((2, 2), np.int16), np.ones((2, 2), np.int8), lib=lib)
    with pytest.raises(ShapeError, match="3 channels"):
        run("ConvInteger", np.ones((1, 2, 3, 3), np.uint8), np.ones((1, 3, 1, 1), np.uint8), lib=lib)
    with pytest.raises(ShapeError, match="at least one number"):
        run("DynamicQuantizeLinear", np.ones((0, 2), np.float32), lib=lib)
