"""What a Keras archive says of its layers is data: a network of known layers that fit, or one error in one line."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import needs
from test_weights import assert_one_line

import anyback as ab
from anyback.errors import AnybackError, OperatorError
from anyback.models._keras import keras_network

RNG = np.random.default_rng(0)
ARRAYS = {
    "layers/conv2d/vars/0": RNG.normal(size=(2, 2, 2, 4)).astype(np.float32),
    "layers/conv2d/vars/1": RNG.normal(size=4).astype(np.float32),
    "layers/sequential/layers/batch_normalization/vars/0": np.ones(4, np.float32),
    "layers/sequential/layers/batch_normalization/vars/1": np.zeros(4, np.float32),
    "layers/sequential/layers/batch_normalization/vars/2": RNG.normal(size=4).astype(np.float32),
    "layers/sequential/layers/batch_normalization/vars/3": np.ones(4, np.float32),
    "layers/dense/vars/0": RNG.normal(size=(16, 5)).astype(np.float32),
    "layers/dense/vars/1": RNG.normal(size=5).astype(np.float32),
    "layers/dense_1/vars/0": RNG.normal(size=(5, 3)).astype(np.float32),
    "optimizer/vars/0": np.asarray(3, np.int64),
    "layers/dropout/seed_generator/vars/0": np.zeros(2, np.uint32),
}


def layer(kind: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def model(*layers: Any, **config: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"layers": [*layers], **config}}


RIGHT = model(
    layer("InputLayer", batch_shape=[None, 5, 5, 2], name="in"),
    layer("Conv2D", name="first", filters=4, kernel_size=[2, 2], strides=[1, 1], padding="valid", activation="relu"),
    model(layer("BatchNormalization", axis=-1, epsilon=0.001, name="norm"), name="inner"),
    layer("MaxPooling2D", pool_size=[2, 2], strides=[2, 2], padding="valid", name="pool"),
    layer("Dropout", rate=0.2, seed=None, name="drop"),
    layer("Flatten", data_format="channels_last", name="flat"),
    layer("Dense", units=5, activation=layer("LeakyReLU", negative_slope=0.2), name="wide"),
    layer("Dense", units=3, use_bias=False, activation="softmax", name="out"),
)


def made(config: Any, arrays: dict[str, np.ndarray] | None = None) -> Any:
    return keras_network(
        config if isinstance(config, str) else json.dumps(config), ARRAYS if arrays is None else arrays
    )


def archive(config: bytes, arrays: dict[str, np.ndarray] = ARRAYS) -> bytes:
    needs("h5py")
    import h5py

    weights, file = io.BytesIO(), io.BytesIO()
    with h5py.File(weights, "w") as inside:
        for name, x in arrays.items():
            inside[name] = x
    with zipfile.ZipFile(file, "w") as whole:
        whole.writestr("config.json", config)
        whole.writestr("model.weights.h5", weights.getvalue())
    return file.getvalue()


def test_the_layers_and_their_weights_are_those_of_the_file() -> None:
    net = made(RIGHT)
    names = [summary.name for summary in net.summary()]
    assert names[:4] == ["reshape", "permute", "conv", "relu"]
    assert names[4:] == ["batch_norm", "max_pool", "dropout", "flatten", "linear", "leaky_relu", "linear", "softmax"]
    x = RNG.normal(size=(6, 5, 5, 2))
    w = {name: a.astype(np.float64) for name, a in ARRAYS.items()}
    views = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(1, 2))
    y = np.maximum(np.einsum("nijcab,abcf->nijf", views, w["layers/conv2d/vars/0"]) + w["layers/conv2d/vars/1"], 0)
    mean = w["layers/sequential/layers/batch_normalization/vars/2"]
    y = (y - mean) / np.sqrt(1.001)
    y = y.reshape(6, 2, 2, 2, 2, 4).max(axis=(2, 4)).reshape(6, 16)
    y = y @ w["layers/dense/vars/0"] + w["layers/dense/vars/1"]
    y = np.exp(np.where(y > 0, y, 0.2 * y) @ w["layers/dense_1/vars/0"])
    np.testing.assert_allclose(net.to(dtype="float64")(x), y / y.sum(axis=1, keepdims=True), atol=2e-6)


def test_a_file_is_loaded_without_hidden_and_with_pixels_and_a_shape(tmp_path: Path) -> None:
    path = tmp_path / "mine.keras"
    path.write_bytes(archive(json.dumps(RIGHT).encode()))
    net = ab.load_model(path, pixels=255, backend="numpy")
    image = RNG.integers(0, 256, (3, 5, 5, 2), dtype=np.uint8)
    np.testing.assert_allclose(net(image), made(RIGHT)((image / 255).astype(np.float32)), atol=2e-6)
    assert ab.load_model(path, shape=(5, 5, 2), backend="numpy")(image.astype(np.float32)).shape == (3, 3)
    with pytest.raises(ab.WeightsError, match=r"mine.keras says itself what it computes; leave out hidden, output$"):
        ab.load_model(path, hidden="relu", output="softmax")
    with pytest.raises(ab.WeightsError, match=r"takes shape .*\(5, 5, 2\), found shape=\(28, 28\)"):
        ab.load_model(path, shape=(28, 28))


def test_pixels_are_divided_in_the_type_of_the_network(tmp_path: Path) -> None:
    path, given = tmp_path / "mine.keras", layer("InputLayer", batch_shape=[None, 16])
    path.write_bytes(archive(json.dumps(model(given, layer("ReLU"))).encode(), {}))
    image = np.full((1, 16), 51, np.uint8)
    np.testing.assert_array_equal(ab.load_model(path, pixels=255, backend="numpy")(image), np.float32(image / 255))
    dense = layer("Dense", units=5, use_bias=False)
    arrays = {
        "layers/alpha_dropout/seed_generator/vars/0": np.zeros(2, np.uint32),
        "layers/dense/vars/0": np.ones((16, 5)),
    }
    path.write_bytes(archive(json.dumps(model(given, layer("AlphaDropout"), dense)).encode(), arrays))
    y = ab.load_model(path, pixels=255, backend="numpy")(image)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, np.full((1, 5), 3.2), rtol=1e-15)


def chain(*names: str, came: Callable[[str], Any] = lambda name: [name, 0, 0]) -> dict[str, Any]:
    """Return a functional model of one layer behind another."""
    layers = [
        layer("InputLayer", batch_shape=[None, 16]),
        layer("Dense", units=5),
        layer("Dense", units=3, use_bias=False),
    ]
    for place, (entry, name) in enumerate(zip(layers, names, strict=True)):
        given = {"class_name": "__keras_tensor__", "config": {"keras_history": came(names[place - 1])}}
        entry |= {"name": name, "inbound_nodes": [{"args": [given], "kwargs": {}}] if place else []}
    ends = {"input_layers": [names[0], 0, 0], "output_layers": [[names[-1], 0, 0]]}
    return {"module": "keras.src.models", "class_name": "Functional", "config": {"layers": layers, **ends}}


DENSE = {name: x for name, x in ARRAYS.items() if "dense" in name}


def test_a_functional_model_is_taken_where_one_layer_follows_another() -> None:
    assert made(chain("a", "b", "c"), DENSE)(np.ones(16, np.float32)).shape == (3,)
    for odd in (
        chain("a", "b", "b"),
        chain("a", "b", "c", came=lambda name: ["a", 0, 0]),
        chain("a", "b", "c", came=lambda name: [name, 1, 0]),
        chain("a", "b", "c") | {"config": {**chain("a", "b", "c")["config"], "output_layers": [["b", 0, 0]]}},
    ):
        with pytest.raises(OperatorError, match=r"a model with branches, .*Go by a file: model.export"):
            made(odd, DENSE)


def changed(place: list[Any], value: Any) -> dict[str, Any]:
    """Return the right model with something else at one place among its layers."""
    found = copy.deepcopy(RIGHT)
    target: Any = found["config"]["layers"]
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    return found


ACTIVATION = [6, "config", "activation"]
NORM = [2, "config", "layers", 0, "config"]
BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "expected JSON"),
    "deep": ("[" * 100_000, "expected JSON"),
    "long": (" " * (1 << 24) + "{}", "more than 16,777,216 characters"),
    "a list": ("[]", "as an object with a class_name"),
    "twice": ('{"module": "keras", "module": "keras"}', "'module' is there twice"),
    "nan": ('{"module": NaN}', "NaN is no number"),
    "a digit too many": ('{"module": ' + "9" * 9999 + "}", "expected JSON"),
    "no config": ({"class_name": "Sequential", "module": "keras"}, "the config of each layer as an object"),
    "no layers": ({"class_name": "Sequential", "module": "keras", "config": {}}, "layers: expected a list"),
    "too many": (model(*[1] * 10_001), "layers: expected a list of at most 10,000"),
    "too many in all": (model(*[model(*[layer("ReLU")] * 5_000)] * 2), "more than 10,000 layers"),
    "no layer": (model(3), "as an object with a class_name"),
    "no shape": (model(layer("Dense", units=5)), "expected the shape of the input"),
    "a shape of text": (changed([0, "config", "batch_shape"], "(5, 5)"), "expected the shape of the input"),
    "a shape below 0": (changed([0, "config", "batch_shape"], [None, -5, 5, 2]), "expected the shape of the input"),
    "another shape": (changed([0, "config", "batch_shape"], [None, 5, 5, 3]), r"kernel of shape \(2, 2, 3, 4\), found"),
    "too small a shape": (changed([0, "config", "batch_shape"], [None, 1, 1, 2]), "shorter than the window"),
    "other axes": (changed([0, "config", "batch_shape"], [None, 5, 2]), "expected 4 axes"),
    "a weight less": (changed([7, "config", "use_bias"], True), "lacks layers/dense_1/vars/1, of out"),
    "a layer less": (model(*RIGHT["config"]["layers"][:-1]), "holds what no layer takes: 'layers/dense_1/vars/0'"),
    "other units": (changed([7, "config", "units"], 4), r"out .*kernel of shape \(5, 4\), found \(5, 3\)"),
}
FAR = RIGHT["config"]["layers"][1]["config"] | {"padding": "same", "dilation_rate": [1 << 30] * 2}
UNKNOWN: dict[str, tuple[Any, str]] = {
    "a class": (changed([6, "class_name"], "GRU"), r"wide \(GRU\)"),
    "a class of the user's": (changed([6, "module"], "mine"), r"wide \(Dense\)"),
    "an escape": (changed([6], layer("\x1b[2J\n", name="\x1b[1m")), r"\\x1b\[1m \(\\x1b\[2J\\n\)"),
    "an activation": (changed(ACTIVATION, "hard_tanh"), "activation='hard_tanh' .*linear, relu"),
    "a function": (
        changed(ACTIVATION, {"class_name": "function", "config": "mine"}),
        "function 'mine'",
    ),
    "code": (
        changed(ACTIVATION, {"class_name": "__lambda__", "config": {"code": "4w"}}),
        "__lambda__",
    ),
    "a layer for one": (changed(ACTIVATION, layer("Dense", units=3)), "activation='Dense'"),
    "a list for one": (changed(ACTIVATION, ["relu"]), "activation="),
    "units": (changed([6, "config", "units"], "5"), "units='5' .*whole numbers above 0"),
    "units of bool": (changed([6, "config", "units"], True), "units=True"),
    "too many units": (changed([6, "config", "units"], 1 << 40), "units=1099511627776"),
    "strides": (changed([1, "config", "strides"], [1, 0]), r"strides=\[1, 0\]"),
    "strides of three axes": (changed([1, "config", "strides"], [1, 1, 1]), r"strides=\[1, 1, 1\] \(.*2 axes"),
    "padding": (changed([1, "config", "padding"], ["same"]), r"padding=\['same'\]"),
    "much padding": (
        changed(
            [1, "config"], RIGHT["config"]["layers"][1]["config"] | {"padding": "same", "dilation_rate": [1 << 30] * 2}
        ),
        "padding='same' of 1,073,741,824 places",
    ),
    "axes": (changed([6], layer("Reshape", target_shape=[1 << 30] * 20_000)), "target_shape of 20,000 axes"),
    "data format": (changed([1, "config", "data_format"], "channels_first"), "data_format='channels_first'"),
    "bias": (changed([1, "config", "use_bias"], "no"), "use_bias='no' .*True and False"),
    "quantized": (
        changed([1, "config", "dtype"], {"class_name": "QuantizedDTypePolicy"}),
        "weights that are quantized",
    ),
    "axis": (changed([*NORM, "axis"], [1]), r"axis=\[1\]"),
    "epsilon": (changed([*NORM, "epsilon"], "x"), "epsilon='x' .*a number"),
    "huge": (changed([*NORM, "epsilon"], 10**400), "epsilon=1000000"),
    "a long text": (changed([*NORM, "epsilon"], "x" * 10**6), "epsilon='x"),
    "another model": ({"module": "mine", "class_name": "Mine", "config": {}}, "Mine, a model that is no Sequential"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_error(case: str) -> None:
    config, message = BAD[case]
    with pytest.raises(ab.WeightsError, match=f"its config.json: .*{message}") as caught:
        made(config)
    assert_one_line(caught.value)


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_converted_is_named_with_the_way_by_a_file(case: str) -> None:
    config, message = UNKNOWN[case]
    with pytest.raises(OperatorError, match=f"does not convert .*{message}.*Go by a file: model.export") as caught:
        made(config)
    assert_one_line(caught.value)


def test_models_within_models_end() -> None:
    deep = model(layer("Dense", units=3))
    for _ in range(40):
        deep = model(deep)
    with pytest.raises(ab.WeightsError, match="models within more than 32 models"):
        made(deep)


def test_all_that_is_not_converted_is_named() -> None:
    odd = changed([1, "config", "padding"], "causal")
    odd["config"]["layers"][6]["config"]["activation"] = "mine"
    with pytest.raises(OperatorError, match=r"first \(Conv2D\): padding='causal'"):
        made(odd)
    odd["config"]["layers"][1]["config"] |= {"padding": "valid", "data_format": "channels_first"}
    with pytest.raises(OperatorError, match=r"first \(Conv2D\): data_format.*; wide \(Dense\): activation='mine'"):
        made(odd)


def test_any_change_gives_a_network_or_a_refusal() -> None:
    rng = random.Random(0)
    values = (None, True, -1, 0, 1, 2, 3, 1 << 31, 1 << 70, 0.5, 1e308, "", "same", "relu", [], [1], [2, 2], {}, [None])

    def places(found: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        inside = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
        return [path, *[place for key, value in inside for place in places(value, (*path, key))]]

    where = [place for place in places(RIGHT["config"]["layers"]) if place]
    for _ in range(1000):
        config: Any = RIGHT
        for _ in range(rng.choice((1, 1, 2))):
            try:
                config = changed([*rng.choice(where)], rng.choice(values))
            except (KeyError, IndexError, TypeError):
                continue
        try:
            net = made(config)
            with np.errstate(all="ignore"):  # of numbers such as 1e308
                net(np.zeros((1, *(net.usual_sample or (5, 5, 2))), np.float32))
        except AnybackError as error:
            assert_one_line(error)


@pytest.mark.parametrize("config", [b"\xff\xfe", b"", b"null"])
def test_a_config_that_is_no_text_of_json_is_refused_by_name(tmp_path: Path, config: bytes) -> None:
    path = tmp_path / "mine.keras"
    path.write_bytes(archive(config))
    with pytest.raises(ab.WeightsError, match=r"mine.keras: (config.json: not a text|its config.json: expected)"):
        ab.load_model(path)
