"""An ONNX file becomes a network like any other, on every array library."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import libraries
from onnx import TensorProto, helper
from onnx_models import constant, made, node, value

import anyback as ab
from anyback.errors import DataError, OperatorError, ShapeError, WeightsError
from anyback.network import Network
from anyback.onnx import load

LIBRARIES = libraries("numpy", "jax", "torch", "dask", "array_api_strict")
RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def images() -> bytes:
    """Return a convolution network with a residual, whose last layers depend on the size of the batch."""
    nodes = [
        node("Conv", "x w1 b1", "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "a", "b"),
        node("Conv", "b w2", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c scale shift mean variance", "d", epsilon=1e-5),
        node("HardSwish", "d", "e"),
        node("Add", "e b", "f"),
        node("MaxPool", "f", "g", kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", "g", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n zeros", "n1"),
        node("Concat", "n1 minus", "target", axis=0),
        node("Reshape", "g target", "h"),
        node("Gemm", "h w3 b3", "i", transB=1),
        node("Softmax", "i", "y", axis=-1),
    ]
    arrays = {
        **{
            "w1": weights(4, 1, 3, 3),
            "b1": weights(4),
            "w2": weights(4, 4, 3, 3),
            "w3": weights(3, 64),
            "b3": weights(3),
        },
        **{"scale": 1 + weights(4), "shift": weights(4), "mean": weights(4), "variance": np.abs(weights(4)) + 1},
        **{"zero": np.asarray(0), "zeros": np.asarray([0]), "minus": np.asarray([-1])},
    }
    constants = [constant(name, x) for name, x in arrays.items()]
    return made(nodes, [value("x", "n", 1, 8, 8)], [value("y", "n", 3)], *constants)


IMAGES = images()
X = RNG.standard_normal((37, 1, 8, 8)).astype(np.float32)


def truth() -> np.ndarray:
    return np.asarray(load(IMAGES).to(dtype="float64")(X.astype(np.float64)))


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_network_answers_alike_on_every_library(name: str) -> None:
    net = load(IMAGES).to(name)
    whole = ab.to_numpy(ab.predict(net, X))
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, truth(), atol=2e-6)
    np.testing.assert_allclose(ab.to_numpy(net(ab.asarray(X, backend=name))), truth(), atol=2e-6)
    np.testing.assert_allclose(ab.to_numpy(net(ab.asarray(X[0], backend=name))), truth()[0], atol=2e-6)
    for rows in (slice(0, 1), slice(5, 22), slice(36, 37)):
        assert ab.to_numpy(ab.predict(net, X[rows])).tobytes() == whole[rows].tobytes()


@pytest.mark.jax
def test_a_network_is_one_program_under_jit_with_a_gradient() -> None:
    import jax

    net = load(IMAGES).to("jax")
    x = ab.asarray(X, backend="jax")
    np.testing.assert_allclose(np.asarray(jax.jit(net)(x)), truth(), atol=2e-6)
    assert jax.grad(lambda x: net(x)[:, 0].sum())(x).shape == x.shape
    assert jax.vmap(net)(x[:3, None, ...]).shape == (3, 1, 3)


def test_what_is_known_beforehand_is_computed_once_and_shapes_are_shown() -> None:
    net = load(IMAGES)
    said = str(net)
    for shown in ("conv", "1×8×8", "4×8×8", "HardSwish", "9,216", "linear"):
        assert shown in said
    again = pickle.loads(pickle.dumps(net))
    assert again(X).tobytes() == net(X).tobytes()
    assert ab.predict(again, X).tobytes() == ab.predict(net, X).tobytes()


@pytest.mark.parametrize("name", LIBRARIES)
def test_parity_compares_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(IMAGES)
    report = ab.parity(path, X, truth().argmax(axis=1), backends=[name])
    assert report.ok
    assert "accuracy" in str(report)


def test_evaluate_scores_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(IMAGES)
    net = ab.load_model(path, backend="numpy")
    assert ab.evaluate(net, X, truth().argmax(axis=1)).correct == len(X)
    with pytest.raises(WeightsError, match="says itself what it computes; leave out hidden"):
        ab.load_model(path, hidden="relu")
    with pytest.raises(WeightsError, match="No such file"):
        ab.load_model(tmp_path / "none.onnx")


def test_inputs_take_the_type_of_the_network() -> None:
    net = load(IMAGES)
    assert net(X.astype(np.float64)).dtype == np.float32
    assert net((100 * X).astype(np.int64)).dtype == np.float32
    assert net.to(dtype="float64")(X).dtype == np.float64


def test_all_operators_that_are_missing_are_named_at_once() -> None:
    nodes = [node("Odd", "x", "a", domain="own"), node("Odd", "a", "b", domain="own"), node("Strange", "b", "y")]
    with pytest.raises(OperatorError, match=r"own\.Odd of version 1 \(used 2 times\).*Strange|Strange.*own\.Odd"):
        load(made(nodes, [value("x", 2)], [value("y", 2)]))


def test_functions_of_the_file_and_known_branches_are_written_out() -> None:
    inner = [helper.make_node("Mul", ["a", "a"], ["b"]), helper.make_node("LeakyRelu", ["b"], ["c"], alpha=0.5)]
    inner[1].attribute[0].ref_attr_name = "slope"
    inner[1].attribute[0].ClearField("f")
    function = helper.make_function("own", "Odd", ["a"], ["c"], inner, [helper.make_opsetid("", 17)], ["slope"])
    yes = helper.make_graph([node("Neg", "x", "z")], "yes", [], [value("z", "n")])
    no = helper.make_graph([node("Exp", "x", "z")], "no", [], [value("z", "n")])
    nodes = [
        node("If", "flag", "i", then_branch=yes, else_branch=no),
        node("Odd", "i", "y", domain="own", slope=0.25),
    ]
    flag = constant("flag", np.asarray(True))
    net = load(made(nodes, [value("x", "n")], [value("y", "n")], flag, functions=[function]))
    assert [call.op.name for call in net.calls if call.op.name not in ("received", "constant")] == [
        "Neg",
        "Mul",
        "LeakyRelu",
    ]
    assert net(np.asarray([1.0, -2.0], np.float32)).tolist() == [1.0, 4.0]


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_branch_is_chosen_by_a_value(name: str) -> None:
    yes = helper.make_graph([node("Neg", "x", "p")], "yes", [], [value("p", "n")])
    no = helper.make_graph([node("Mul", "x two", "q")], "no", [], [value("q", "n")])
    nodes = [
        node("ReduceSum", "x", "s", keepdims=0),
        node("Less", "s zero", "flag"),
        node("If", "flag", "y", then_branch=yes, else_branch=no),
    ]
    numbers = constant("zero", np.float32(0)), constant("two", np.float32(2))
    net = load(made(nodes, [value("x", "n")], [value("y", "n")], *numbers)).to(name)
    for x, wanted in (([1.0, 2.0], [2.0, 4.0]), ([1.0, -2.0], [-1.0, 2.0])):
        found = net(ab.asarray(np.asarray(x, np.float32), backend=name))
        assert ab.to_numpy(found).tolist() == wanted


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_branch_may_convolve_with_weights_of_the_file(name: str) -> None:
    yes = helper.make_graph([node("Conv", "x w b", "p")], "yes", [], [value("p", "n", 2, 3, 3)])
    cast = node("Cast", "x", "c", to=TensorProto.FLOAT)
    no = helper.make_graph([cast, node("Conv", "c v", "q")], "no", [], [value("q", "n", 2, 3, 3)])
    nodes = [
        node("ReduceSum", "x", "s", keepdims=0),
        node("Less", "s zero", "flag"),
        node("If", "flag", "y", then_branch=yes, else_branch=no),
    ]
    w, v, b = weights(2, 1, 2, 2), weights(2, 1, 2, 2), weights(2)
    arrays = [constant(n, x) for n, x in (("w", w), ("v", v), ("b", b), ("zero", np.float32(0)))]
    net = load(made(nodes, [value("x", "n", 1, 4, 4)], [value("y", "n", 2, 3, 3)], *arrays)).to(name)
    for sign, kernel, bias in ((-1, w, b), (1, v, 0 * b)):
        x = (sign * RNG.random((3, 1, 4, 4))).astype(np.float32)
        found = ab.to_numpy(net(ab.asarray(x, backend=name)))
        windows = np.lib.stride_tricks.sliding_window_view(x[:, 0], (2, 2), axis=(1, 2))
        np.testing.assert_allclose(
            found, np.einsum("nijkl,okl->noij", windows, kernel[:, 0]) + bias[:, None, None], rtol=1e-5, atol=1e-6
        )


# -- Several inputs and outputs ----------------------------------------------------------------------------


def pair() -> Network:
    nodes = [node("Add", "a b", "sum"), node("Mul", "a b", "product")]
    ends = [value("a", "n", 2), value("b", "n", 2)], [value("sum", "n", 2), value("product", "n", 2)]
    return load(made(nodes, *ends))


@pytest.mark.parametrize("name", LIBRARIES)
def test_inputs_and_outputs_have_names(name: str) -> None:
    a, b = (ab.asarray(np.asarray(x, np.float32), backend=name) for x in ([[1, 2]], [[3, 5]]))
    net = pair().to(name)
    for found in (net(a, b), net(a, b=b), net(b=b, a=a)):
        assert list(found) == ["sum", "product"]
        assert ab.to_numpy(found["sum"]).tolist() == [[4, 7]]
        assert ab.to_numpy(found["product"]).tolist() == [[3, 10]]
    assert ab.to_numpy(net.select("product")(a, b)).tolist() == [[3, 10]]
    assert len(net.select("product").calls) == len(net.calls) - 1


def test_inputs_and_outputs_that_do_not_fit_are_one_error() -> None:
    net, x = pair(), np.ones((1, 2), np.float32)
    for given, named, said in (
        ((x,), {}, "missing b"),
        ((x, x, x), {}, "found 3 inputs"),
        ((x, x), {"b": x}, "given twice b"),
        ((x,), {"c": x}, "missing b; unknown c"),
    ):
        with pytest.raises(DataError, match=said):
            net(*given, **named)
    with pytest.raises(ShapeError, match=r"b: the network takes shape \(n, 2\); found \(1, 3\)"):
        net(x, np.ones((1, 3), np.float32))
    with pytest.raises(DataError, match="no output 'q'; known: sum, product"):
        net.select("q")
    with pytest.raises(DataError, match=r"call net\(a, b\)"):
        ab.predict(net, x)


@pytest.mark.parametrize("name", LIBRARIES)
def test_predict_gives_several_outputs_by_name(name: str) -> None:
    nodes = [node("Neg", "x", "less"), node("ReduceSum", "x axes", "total", keepdims=0)]
    data = made(
        nodes, [value("x", "n", 3)], [value("less", "n", 3), value("total", "n")], constant("axes", np.asarray([1]))
    )
    x = RNG.standard_normal((700, 3)).astype(np.float32)
    found = ab.predict(load(data).to(name), x)
    np.testing.assert_array_equal(ab.to_numpy(found["less"]), -x)
    np.testing.assert_allclose(ab.to_numpy(found["total"]), x.sum(axis=1), rtol=1e-5, atol=1e-6)


# -- Rows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIBRARIES)
def test_rows_that_depend_on_each_other_are_computed_together_with_a_warning(name: str) -> None:
    nodes = [node("ReduceMean", "x", "m", axes=[0], keepdims=1), node("Sub", "x m", "d"), node("Add", "d c", "y")]
    data = made(nodes, [value("x", "n", 3)], [value("y", "n", 3)], constant("c", np.ones((1, 3), np.float32)))
    net, x = load(data).to(name), RNG.standard_normal((3000, 3)).astype(np.float32)
    for count in (600, 3000):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = ab.to_numpy(ab.predict(net, x[:count]))
        assert count > 600 or any("depend on the other rows" in str(warning.message) for warning in said)
        np.testing.assert_allclose(found, x[:count] - x[:count].mean(axis=0) + 1, atol=1e-6)
        whole = ab.predict(net, x[:count], rowwise=False)  # who says so is not warned
        assert ab.to_numpy(whole).tobytes() == found.tobytes()


@pytest.mark.parametrize("name", libraries("numpy", "jax", "torch", "array_api_strict"))
def test_as_many_rows_as_a_file_says_are_computed_at_a_time(name: str) -> None:
    nodes = [node("Reshape", "x cut", "r"), node("Mul", "r two", "m"), node("Reshape", "m flat", "y")]
    arrays = [constant("cut", np.asarray([400, 2, 2])), constant("flat", np.asarray([400, 4]))]
    arrays.append(constant("two", np.full((1, 1, 2), 2, np.float32)))
    net = load(made(nodes, [value("x", 400, 4)], [value("y", 400, 4)], *arrays)).to(name)
    x = RNG.standard_normal((1000, 4)).astype(np.float32)
    np.testing.assert_array_equal(ab.to_numpy(ab.predict(net, x)), 2 * x)


# JAX's programs cannot hold such an operator.
@pytest.mark.parametrize("backend", libraries("numpy", "torch", "dask", "array_api_strict"))
@pytest.mark.parametrize("mixing", [True, False])
def test_rows_of_an_operator_whose_shape_depends_on_values_are_asked_about(backend: str, mixing: bool) -> None:
    """Either how many numbers of the batch are not 0 is added to each row, or a condition that is nowhere true."""
    nodes = [
        *(node("NonZero", "x" if mixing else "none", "places"), node("Shape", "places", "shape")),
        *(node("Gather", "shape one", "many"), node("Cast", "many", "count", to=TensorProto.FLOAT)),
        node("Add", "x count", "y"),
    ]
    if not mixing:
        nodes.insert(0, node("Less", "x least", "none"))
    constants = constant("one", np.asarray(1)), constant("least", np.asarray(-1e9, np.float32))
    net = load(made(nodes, [value("x", "n", 3)], [value("y", "n", 3)], *constants)).to(backend)
    x = np.random.default_rng(1).random((2500, 3)).astype(np.float32)
    expected = x + (x.size if mixing else 0)
    if mixing:
        with pytest.warns(UserWarning, match="depend on the other rows"):
            found = ab.predict(net, x, batch_size=100)
    else:
        found = ab.predict(net, x, batch_size=100)
    np.testing.assert_allclose(ab.to_numpy(found), expected, rtol=1e-6)


@pytest.mark.parametrize("name", LIBRARIES)
def test_products_behind_sums_and_in_linear_models_have_the_same_bits_in_every_batch(name: str) -> None:
    draw = np.random.default_rng(2)  # of other weights, a row may become zeros, and 0 / 0
    shapes = (64, 20), (20, 30), (10, 30), (1, 20), (64,), (1, 20)
    w1, w2, classes, numbers, mean, bias = (draw.normal(0.0, 0.2, shape).astype(np.float32) for shape in shapes)
    ml = {"domain": "ai.onnx.ml"}
    nodes = [
        node("Scaler", "x", "a", offset=[0.5], scale=[2.0], **ml),
        node("Sub", "a mean", "b"),
        node("MatMul", "b w1", "c"),
        node("Add", "c bias", "d"),
        node("Relu", "d", "e"),
        node("MatMul", "e w2", "f"),
        node("LinearClassifier", "f", "label z", classlabels_ints=range(10), coefficients=classes.reshape(-1), **ml),
        node("Normalizer", "z", "p", norm="L2", **ml),
        node("LinearRegressor", "e", "q", coefficients=numbers.reshape(-1), intercepts=[0.5], **ml),
    ]
    arrays = [constant("mean", mean), constant("w1", w1), constant("bias", bias), constant("w2", w2)]
    net = load(made(nodes, [value("x", "n", 64)], [value("p", "n", 10), value("q", "n", 1)], *arrays)).to(name)
    assert [call.op.name for call in net.calls].count("linear") == 4
    x = RNG.standard_normal((700, 64)).astype(np.float32)
    found = ab.predict(net, x)  # a warning of rows that depend on each other would be an error
    part = ab.predict(net, x[13:101], batch_size=7)
    for output in ("p", "q"):
        whole = ab.to_numpy(found[output])
        assert ab.to_numpy(part[output]).tobytes() == whole[13:101].tobytes()
    e = np.maximum((2 * (x.astype(float) - 0.5) - mean) @ w1 + bias, 0)
    scores = e @ w2 @ classes.T
    expected = scores / np.sqrt((scores**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ab.to_numpy(found["p"]), expected, atol=2e-5)
    np.testing.assert_allclose(ab.to_numpy(found["q"]), e @ numbers.T + 0.5, atol=2e-5)


def test_an_export_of_one_row_is_computed_row_by_row() -> None:
    nodes = [node("Reshape", "x target", "r"), node("ReduceSum", "r axes", "y", keepdims=0)]
    arrays = constant("target", np.asarray([1, 2, -1])), constant("axes", np.asarray([2]))
    net = load(made(nodes, [value("x", 1, 6)], [value("y", 1, 2)], *arrays))
    x = RNG.standard_normal((5, 6)).astype(np.float32)
    found = ab.predict(net, x)
    np.testing.assert_allclose(found, x.reshape(5, 2, 3).sum(axis=2), rtol=1e-5, atol=1e-6)


def test_a_number_of_rows_that_a_file_says_is_asked_too() -> None:
    apart = load(made([node("Neg", "x", "y")], [value("x", 4, 3)], [value("y", 4, 3)]))
    x = RNG.standard_normal((10, 3)).astype(np.float32)
    np.testing.assert_array_equal(ab.predict(apart, x), -x)
    nodes = [node("ReduceMean", "x", "m", axes=[0], keepdims=1), node("Sub", "x m", "y")]
    together = load(made(nodes, [value("x", 4, 3)], [value("y", 4, 3)]))
    with pytest.warns(UserWarning, match="depend on the other rows"):
        found = ab.predict(together, x[:4])
    np.testing.assert_allclose(found, x[:4] - x[:4].mean(axis=0), atol=1e-6)


# -- Classifiers --------------------------------------------------------------------------------------------


def test_a_classifier_gives_its_probabilities_and_knows_its_classes() -> None:
    labels = {"classlabels_strings": ["cat", "dog"], "coefficients": [1.0, 0.0, 0.0, 1.0], "intercepts": [0.0, 0.0]}
    first = node("LinearClassifier", "x", "label scores", domain="ai.onnx.ml", post_transform="SOFTMAX", **labels)
    last = node("ZipMap", "scores", "probabilities", domain="ai.onnx.ml", classlabels_strings=["cat", "dog"])
    outputs = [value("label", "n", code=TensorProto.STRING), value("probabilities", "n", 2)]
    net = load(made([first, last], [value("x", "n", 2)], outputs))
    assert net.classes == ("cat", "dog")
    found = net(np.asarray([[2.0, 0.0], [0.0, 1.0]], np.float32))
    np.testing.assert_allclose(found[:, 0], 1 / (1 + np.exp([-2.0, 1.0])), rtol=1e-6)


# -- Old versions -------------------------------------------------------------------------------------------


def test_a_batch_normalization_by_place_is_not_one_by_channel() -> None:
    scale, shift, mean = (weights(4, 2, 2) for _ in range(3))
    variance = np.abs(weights(4, 2, 2)) + 1
    graph = helper.make_graph(
        [node("BatchNormalization", "x scale shift mean variance", "y", spatial=0, epsilon=1e-3)],
        "graph",
        [value("x", "n", 4, 2, 2)],
        [value("y", "n", 4, 2, 2)],
        [
            constant(name, x.reshape(-1))
            for name, x in zip(("scale", "shift", "mean", "variance"), (scale, shift, mean, variance), strict=True)
        ],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 7)]).SerializeToString()
    x = RNG.standard_normal((3, 4, 2, 2)).astype(np.float32)
    wanted = (x - mean) / np.sqrt(variance + 1e-3) * scale + shift
    np.testing.assert_allclose(load(data)(x), wanted, rtol=1e-5, atol=1e-5)


def test_hints_of_the_first_version_change_nothing() -> None:
    graph = helper.make_graph(
        [
            node("Exp", "x", "a", consumed_inputs=[0]),
            node("Add", "a b", "y", broadcast=1, axis=1, consumed_inputs=[0, 0]),
        ],
        "graph",
        [value("x", "n", 2, 3)],
        [value("y", "n", 2, 3)],
        [constant("b", np.asarray([1, 2], np.float32))],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 1)]).SerializeToString()
    x = RNG.standard_normal((5, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(load(data)(x), np.exp(x) + np.asarray([[1], [2]]), rtol=1e-6)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_step_that_fails_says_which_it_is_and_what_it_was_given(name: str) -> None:
    file = made(
        [node("Relu", "x", "a"), helper.make_node("Add", ["a", "z"], ["y"], name="both")],
        [value("x", "n", 3), value("z", "m")],
        [value("y", "n", 3)],
    )
    net = load(file).to(name)
    x, z = (ab.asarray(np.ones(shape, np.float32), backend=name) for shape in ((2, 3), 4))
    with pytest.raises(DataError, match=r"^step \d, Add 'both', of inputs of shape \(2, 3\), \(4,\): ") as caught:
        net(x, z)
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)
