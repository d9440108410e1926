"""Networks from live objects of other libraries answer as those libraries do; what cannot be converted says so."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import Library, needs

import anyback as ab
from anyback import backends
from anyback.errors import OperatorError
from anyback.layers import Linear, Sequential
from anyback.models._keras_layers import LAYERS
from anyback.sources.sklearn import ESTIMATORS
from anyback.sources.torch import MODULES

#: How far an answer may be from that of the other library in float64.
TOLERANCE = 2e-6


def inputs(*shape: int) -> np.ndarray:
    """Return numbers that float32 holds."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32).astype(np.float64)


def check(lib: Library, made: Callable[..., Any], x: np.ndarray, expected: np.ndarray) -> None:
    """See that a network, made for a backend and a dtype, gives what is expected, in a batch and one by one."""
    for dtype in {"float32", "float64"} & set(lib.dtypes):
        net = made(backend=lib.backend, dtype=dtype)
        assert net.backend.name == lib.backend.name
        y = lib.to_numpy(net(lib.asarray(x, dtype)))
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, rtol=0, atol=TOLERANCE)
    one = lib.to_numpy(net(lib.asarray(x[0], dtype)))
    np.testing.assert_allclose(one, expected[0], rtol=0, atol=TOLERANCE)


# -- PyTorch ------------------------------------------------------------------------------------------


def torch_networks() -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Return modules of PyTorch with the shape of their samples: together all classes that are converted."""
    from torch import nn

    nested = nn.Sequential(nn.Linear(5, 6, bias=False), nn.ReLU(), nn.Identity(), nn.AlphaDropout())
    return {
        "perceptron": (
            nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Dropout(), nested, nn.Linear(6, 3), nn.Softmax(dim=1)),
            (7,),
        ),
        "activations": (
            nn.Sequential(
                *(nn.LayerNorm(6), nn.LeakyReLU(0.2), nn.Linear(6, 6), nn.ELU(0.5), nn.Linear(6, 6), nn.GELU()),
                *(nn.Linear(6, 6), nn.SiLU(), nn.Linear(6, 6), nn.Softplus(2), nn.Linear(6, 1), nn.Sigmoid()),
            ),
            (6,),
        ),
        "one axis": (
            nn.Sequential(
                *(nn.Conv1d(2, 4, 4, padding="same", dilation=2), nn.BatchNorm1d(4), nn.Dropout1d()),
                *(nn.MaxPool1d(3, 2, ceil_mode=True), nn.AvgPool1d(2, padding=1), nn.AdaptiveAvgPool1d(1)),
                *(nn.Flatten(), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3), nn.LogSoftmax(dim=-1)),
            ),
            (2, 14),
        ),
        "two axes": (
            nn.Sequential(
                *(nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), groups=2, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
                *(nn.Dropout2d(), nn.MaxPool2d(2, 1, padding=1, dilation=(1, 2))),
                *(nn.AvgPool2d((2, 3), ceil_mode=True, count_include_pad=False), nn.AdaptiveAvgPool2d((1, 1))),
                *(nn.Flatten(), nn.Linear(6, 4), nn.Softmax()),
            ),
            (4, 8, 9),
        ),
        "three axes": (
            nn.Sequential(
                *(nn.Conv3d(1, 2, 2, padding="valid"), nn.BatchNorm3d(2), nn.ReLU(), nn.MaxPool3d(2), nn.Dropout3d()),
                *(nn.AvgPool3d((1, 1, 2)), nn.AdaptiveAvgPool3d(1), nn.Flatten(1, -1), nn.Linear(2, 2), nn.Tanh()),
            ),
            (1, 5, 5, 6),
        ),
    }


def trained(name: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a module that was trained for a few steps in float64, inputs, and its answers."""
    import torch

    torch.manual_seed(0)
    module, sample = torch_networks()[name]
    module, x = module.double(), inputs(6, *sample)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Softmax() chooses its axis
        for _ in range(3):
            optimizer.zero_grad()
            module(torch.from_numpy(x)).square().mean().backward()
            optimizer.step()
        return module.eval(), x, module(torch.from_numpy(x)).detach().numpy()


@pytest.mark.torch
@pytest.mark.parametrize("name", ["perceptron", "activations", "one axis", "two axes", "three axes"])
def test_a_module_of_torch_answers_as_there(lib: Library, name: str) -> None:
    module, x, expected = trained(name)
    check(lib, lambda **where: ab.from_torch(module, **where), x, expected)


@pytest.mark.torch
def test_every_row_of_torch_is_a_class_that_a_network_above_has() -> None:
    found = {f"{type(m).__module__}.{type(m).__name__}" for net, _ in torch_networks().values() for m in net.modules()}
    assert found - {"torch.nn.modules.container.Sequential"} == set(MODULES)


@pytest.mark.torch
def test_the_weights_of_torch_keep_their_type_and_are_copies() -> None:
    import torch

    linear = torch.nn.Linear(3, 2)
    shared = torch.nn.Sequential(torch.nn.Linear(2, 2))
    relu = torch.nn.ReLU()
    module = torch.nn.Sequential(linear, relu, *shared, relu, *shared)
    net = ab.from_torch(module, backend="torch")
    assert len(net) == 5
    assert len(net.arrays) == 4  # a layer that is there twice is held once
    assert net.dtype == torch.float32
    before = net(torch.ones(3)).clone()
    with torch.no_grad():
        linear.weight.zero_()
    assert torch.equal(net(torch.ones(3)), before)
    assert ab.from_torch(module.half(), backend="numpy").dtype == np.float16
    assert ab.from_torch(module.bfloat16(), backend="torch").dtype == torch.bfloat16
    assert ab.from_torch(module.double(), dtype="float32", backend="numpy").dtype == np.float32


@pytest.mark.torch
def test_windows_of_torch_lie_where_they_do_there() -> None:
    import torch

    x = inputs(2, 3, 11)
    every = itertools.product((2, 3, 5), (1, 2, 4), (0, 1), (False, True), (False, True))
    for size, stride, padding, ceil, counted in every:
        for module in (
            torch.nn.MaxPool1d(size, stride, padding, ceil_mode=ceil),
            torch.nn.AvgPool1d(size, stride, padding, ceil, counted),
        ):
            y = module(torch.from_numpy(x)).numpy()
            np.testing.assert_allclose(ab.from_torch(module.eval(), backend="numpy")(x), y, atol=1e-12, err_msg=module)


@pytest.mark.torch
def test_modules_that_are_not_known_are_named_with_their_paths() -> None:
    from torch import nn

    class Linear(nn.Linear):
        pass

    features = nn.Sequential(nn.ReLU(), Linear(3, 3))
    module = nn.Sequential()
    module.add_module("features", features)
    module.add_module("memory", nn.GRU(3, 3))
    with pytest.raises(OperatorError, match=r"features\.1 \(Linear\); memory \(GRU\)\.") as raised:
        ab.from_torch(module.eval())
    assert 'torch.onnx.export(module, (x,), "mine.onnx")' in str(raised.value)
    assert 'anyback.load_model("mine.onnx")' in str(raised.value)
    with pytest.raises(OperatorError, match="does not convert GRU"):
        ab.from_torch(nn.GRU(3, 3).eval())
    hooked = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    pruned = nn.Linear(3, 3)
    pruned.register_forward_pre_hook(lambda module, x: None)
    replaced = nn.Linear(3, 3)
    replaced.forward = lambda x: x
    around = nn.Sequential(nn.Linear(3, 3))
    around.register_forward_hook(lambda module, x, y: y + 1)
    for other, said in ((hooked, "Parametrized"), (pruned, "hooks"), (replaced, "replaced"), (around, "Sequential")):
        with pytest.raises(OperatorError, match=said):
            ab.from_torch(other.eval())
    with pytest.raises(OperatorError, match="DataParallel: pass its module"):
        ab.from_torch(nn.DataParallel(nn.Linear(3, 3)).eval())
    # What depends on an unknown module is not refused beside it.
    with pytest.raises(OperatorError, match=r"does not convert 0 \(Linear\)\."):
        ab.from_torch(nn.Sequential(Linear(3, 3), nn.Softmax(dim=1)))


@pytest.mark.torch
def test_options_of_torch_that_are_not_there_are_refused_by_name() -> None:
    from torch import nn

    refused = {
        "padding_mode='reflect'": nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
        "return_indices=True": nn.MaxPool2d(2, return_indices=True),
        "divisor_override=3": nn.AvgPool2d(2, divisor_override=3),
        "output_size=2": nn.AdaptiveAvgPool2d(2),
        "start_dim=0": nn.Flatten(0),
        "end_dim=2": nn.Flatten(1, 2),
        "dim=1": nn.Softmax(dim=1),  # of how many axes?
        "dim=None": nn.LogSoftmax(),
        "approximate='tanh'": nn.GELU("tanh"),
        "threshold=5": nn.Softplus(threshold=5),
        "track_running_stats=False": nn.BatchNorm1d(3, track_running_stats=False),
        "4 axes": nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(3, 3)),
    }
    for said, module in refused.items():
        with pytest.raises(OperatorError, match=said):
            ab.from_torch(module.eval())
    with pytest.raises(OperatorError, match="dim=1"):  # the channels
        ab.from_torch(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Softmax(dim=1)))


@pytest.mark.torch
def test_a_module_of_torch_in_training_is_told_to_evaluate() -> None:
    from torch import nn

    for layer in (nn.Dropout(), nn.BatchNorm1d(3)):
        module = nn.Sequential(nn.Linear(3, 3), layer)
        with pytest.raises(ab.DataError, match=r"1 \(.*call module.eval\(\) first"):
            ab.from_torch(module)
        assert len(ab.from_torch(module.eval())) == 2
    assert len(ab.from_torch(nn.Sequential(nn.Linear(3, 3)).train())) == 1
    with pytest.raises(ab.DataError, match="meta"):
        ab.from_torch(nn.Linear(3, 3, device="meta"))


# -- scikit-learn -------------------------------------------------------------------------------------


def estimators() -> dict[str, tuple[Any, str]]:
    """Return estimators, and the method whose answer the network gives."""
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    few = {"max_iter": 5, "random_state": 0}
    inner = Pipeline([("scale", MinMaxScaler((-1, 2))), ("logistic", LogisticRegression())])
    return {
        "MLPClassifier": (MLPClassifier((6, 5), activation="tanh", **few), "predict_proba"),
        "MLPClassifier of two": (MLPClassifier((6,), activation="logistic", **few), "predict_proba"),
        "MLPClassifier of several labels": (MLPClassifier((6,), **few), "predict_proba"),
        "MLPRegressor": (MLPRegressor(hidden_layer_sizes=(6,), activation="identity", **few), "predict"),
        "MLPRegressor of two": (
            make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(6,), **few)),
            "predict",
        ),
        "LogisticRegression": (LogisticRegression(), "predict_proba"),
        "LogisticRegression of two": (LogisticRegression(fit_intercept=False), "predict_proba"),
        "LinearRegression": (LinearRegression(), "predict"),
        "Pipeline": (make_pipeline(StandardScaler(with_mean=False), "passthrough", inner), "predict_proba"),
        "StandardScaler": (StandardScaler(with_std=False), "transform"),
        "MinMaxScaler": (MinMaxScaler(), "transform"),
    }


NAMES = ("setosa", "versicolor", "virginica")


def fitted(name: str) -> tuple[Any, np.ndarray, np.ndarray, tuple[Any, ...] | None]:
    """Return a fitted estimator, inputs, its answers, and its classes."""
    estimator, method = estimators()[name]
    x = inputs(60, 4)
    truth = np.argmax(x[:, :3], axis=1)
    target, classes = np.asarray(NAMES)[truth], NAMES
    if "of two" in name:
        target, classes = truth > 0, (False, True)
    elif "of several" in name:
        target, classes = np.eye(3, dtype=int)[truth], (0, 1, 2)
    if method == "predict":
        target, classes = (x[:, :2] @ [[0.1, 0.2], [0.3, 0.1]] if "of two" in name else 0.1 * x[:, 0]), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        estimator.fit(x, target)
    y = getattr(estimator, method)(x)
    if method == "predict_proba" and "of two" in name:
        y = y[:, 1:]
    return estimator, x, y.reshape(len(x), -1), None if method == "transform" else classes


@pytest.mark.sklearn
@pytest.mark.parametrize(
    "name",
    [
        *("MLPClassifier", "MLPClassifier of two", "MLPClassifier of several labels", "MLPRegressor"),
        *("MLPRegressor of two", "LogisticRegression", "LogisticRegression of two", "LinearRegression", "Pipeline"),
        *("StandardScaler", "MinMaxScaler"),
    ],
)
def test_an_estimator_of_sklearn_answers_as_there(lib: Library, name: str) -> None:
    needs("sklearn")
    estimator, x, expected, classes = fitted(name)
    check(lib, lambda **where: ab.from_sklearn(estimator, **where), x, expected)
    assert ab.from_sklearn(estimator, backend=lib.backend, dtype="float32").classes == classes


@pytest.mark.sklearn
def test_every_row_of_sklearn_is_seen() -> None:
    needs("sklearn")
    assert set(ESTIMATORS) <= {name.partition(" ")[0] for name in estimators()}


@pytest.mark.sklearn
def test_numbers_of_two_types_become_the_wider() -> None:
    needs("sklearn")
    estimator = estimators()["MLPRegressor of two"][0]
    x = inputs(20, 4).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(x, x[:, :2])
    assert estimator[-1].coefs_[0].dtype == np.float32
    assert {a.dtype for a in ab.from_sklearn(estimator, backend="numpy").arrays} == {np.dtype("float64")}
    assert ab.from_sklearn(estimator[-1], backend="numpy").dtype == np.float32


@pytest.mark.sklearn
def test_what_sklearn_has_and_anyback_has_not_is_named() -> None:
    needs("sklearn")
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    class MyScaler(MinMaxScaler):
        pass

    x, y = inputs(30, 3), np.arange(30) % 2
    for estimator, said in (
        (make_pipeline(MyScaler(), MinMaxScaler(clip=True)), r"myscaler \(MyScaler\); minmaxscaler .*clip=True"),
        (Ridge(), "does not convert Ridge"),
        (GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2), "pass its best_estimator_"),
    ):
        with pytest.raises(OperatorError, match=said) as raised:
            ab.from_sklearn(estimator.fit(x, y))
        assert "skl2onnx.to_onnx" in str(raised.value)
    with pytest.raises(ab.DataError, match="LogisticRegression is not fitted"):
        ab.from_sklearn(make_pipeline(MinMaxScaler().fit(x), LogisticRegression()))


def test_classes_stay_with_a_network_that_moves(lib: Library) -> None:
    weight = lib.asarray(np.ones((3, 2)))
    net = Sequential(Linear(weight), "softmax", classes=["no", "yes"])
    assert net.classes == ("no", "yes")
    assert net.to(dtype="float32").classes == net.classes
    assert net.map(lambda x: x * 2).classes == net.classes
    assert net.select(net.outputs[0]).classes == net.classes
    assert pickle.loads(pickle.dumps(net)).classes == net.classes
    assert net[:2].classes is None
    assert Sequential(*net).classes is None
    made_anew = Sequential(lambda x: x, Doubled(weight), classes=("no", "yes"))
    assert made_anew.map(lambda x: x * 2).classes == ("no", "yes")


@dataclasses.dataclass(frozen=True, eq=False)
class Doubled(Linear):
    """A layer that calls with an array of its own making."""

    def calls(self, given: int, into: Any) -> int:
        return Linear(self.weight * 2).calls(given, into)


@pytest.mark.numpy
def test_classes_are_as_many_as_outputs() -> None:
    weight = np.ones((3, 2))
    with pytest.raises(ab.DataError, match="one for each of 2 outputs, found 3"):
        Sequential(Linear(weight), classes="abc")
    with pytest.raises(ab.DataError, match="one for each of 1 outputs, found 3"):
        Sequential(Linear(weight[:, :1]), classes="abc")
    assert Sequential(Linear(weight[:, :1]), "sigmoid", classes=[0, 1]).classes == (0, 1)


# -- Keras --------------------------------------------------------------------------------------------


def keras_networks() -> dict[str, list[Any]]:
    """Return the layers of models of Keras: together all classes that are converted."""
    needs("keras")
    import keras

    layers = keras.layers
    return {
        "images": [
            *(keras.Input((9, 8, 3)), layers.Rescaling(0.5), layers.Conv2D(4, (3, 2), 2, "same", activation="relu")),
            *(
                layers.BatchNormalization(),
                layers.SpatialDropout2D(0.1),
                layers.MaxPooling2D(2, 1),
                layers.Dropout(0.2),
            ),
            *(layers.Flatten(), layers.GaussianNoise(0.1), layers.Dense(5, activation="softmax")),
        ],
        "images out": [
            *(keras.Input((8, 7, 2)), layers.Conv2D(4, 2, 3, "same", activation="softmax")),
            *(layers.AveragePooling2D(2, 1, padding="same"), layers.MaxPooling2D(2, padding="same")),
        ],
        "images of any size": [
            *(keras.Input((None, None, 2)), layers.Conv2D(4, 3, padding="same", dilation_rate=2, groups=2)),
            *(layers.GlobalAveragePooling2D(), layers.Dense(2, activation="tanh")),
        ],
        "one axis": [
            *(keras.Input((10, 3)), layers.Conv1D(4, 3, use_bias=False), layers.SpatialDropout1D(0.1)),
            *(layers.MaxPooling1D(), layers.AveragePooling1D(3, 1, "same"), layers.Flatten()),
            *(layers.BatchNormalization(scale=False), layers.Dense(2), layers.Activation("sigmoid")),
        ],
        "three axes": [
            *(keras.Input((5, 5, 4, 2)), layers.Conv3D(3, 2), layers.MaxPooling3D(2, 1), layers.SpatialDropout3D(0.1)),
            *(layers.AveragePooling3D((1, 1, 2)), layers.GlobalAveragePooling3D(keepdims=True), layers.Flatten()),
        ],
        "shapes": [
            *(keras.Input((12,)), layers.Reshape((6, 2)), layers.GlobalAveragePooling1D()),
            *(layers.GaussianDropout(0.1), layers.AlphaDropout(0.1), layers.Dense(3)),
        ],
        "activations": [
            *(keras.Input((28, 28)), layers.Flatten(), layers.Dense(6, activation="gelu"), layers.LeakyReLU(0.2)),
            *(layers.Dense(6, activation=layers.ELU(0.5)), layers.Dense(6, activation="leaky_relu"), layers.ReLU()),
            *(layers.Dense(6, activation="silu"), layers.Dense(6, activation="softplus"), layers.ReLU(None, 0.1)),
            *(keras.Sequential([layers.Dense(6, activation="elu")]), layers.Softmax()),
        ],
    }


def built(name: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a model of Keras in float64 with weights of some spread, inputs, and its answers."""
    needs("keras")
    import keras

    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(keras_networks()[name])
        rng = np.random.default_rng(1)
        for weight in model.weights:  # so that biases are not 0, and means not those of untrained layers
            if "kernel" not in weight.path:
                weight.assign(rng.uniform(0.2, 0.6, weight.shape))
        x = inputs(4, *[size or 7 for size in model.input_shape[1:]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy does, of how Keras makes an array of a tensor
            return model, x, keras.ops.convert_to_numpy(model(x, training=False))
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


@pytest.mark.sources
@pytest.mark.parametrize(
    "name", ["images", "images out", "images of any size", "one axis", "three axes", "shapes", "activations"]
)
def test_a_model_of_keras_answers_as_there(lib: Library, name: str) -> None:
    model, x, expected = built(name)
    check(lib, lambda **where: ab.from_keras(model, **where), x, expected)


@pytest.mark.sources
def test_every_row_of_keras_is_a_class_that_a_network_above_has() -> None:
    needs("keras")
    import keras

    def inside(layer: Any) -> set[str]:
        deeper = [inside(part) for part in getattr(layer, "layers", ())]
        own = getattr(layer, "activation", None)
        return {type(layer).__name__, type(own).__name__}.union(*deeper)

    found = set().union(*[inside(layer) for layers in keras_networks().values() for layer in layers])
    assert set(LAYERS) <= found
    assert keras.Sequential([keras.layers.InputLayer((3,)), keras.layers.Dense(2)]).built


@pytest.mark.sources
def test_images_of_keras_are_turned_once() -> None:
    model, x, _ = built("images")
    net = ab.from_keras(model, backend="numpy")
    assert [s.name for s in net.summary()].count("permute") == 1
    assert net.usual_sample == x.shape[1:]


@pytest.mark.sources
def test_what_keras_has_and_anyback_has_not_is_named() -> None:
    needs("keras")
    import keras

    layers, image = keras.layers, keras.Input((8, 8, 2))

    class Mine(layers.Dense):
        pass

    for inside, said in (
        ([keras.Input((3, 2)), layers.LSTM(2, name="memory"), Mine(2)], r"memory \(LSTM\); mine \(Mine\)\."),
        ([keras.Input((3,)), layers.Dense(2, activation=lambda x: x)], "activation='<lambda>'"),
        ([image, layers.Dense(2)], "put a Flatten before it"),
        ([image, layers.BatchNormalization(axis=1)], "axis=1"),
        ([image, layers.ReLU(6.0)], "max_value=6"),
        ([image, layers.Softmax(axis=1)], "axis=1"),
        ([image, layers.Rescaling(1.0, 0.5)], "offset=0.5"),
        ([keras.Input((8, 2)), layers.Conv1D(2, 3, padding="causal")], "padding='causal'"),
        ([keras.Input((None, None, 2)), layers.Conv2D(2, 3, 2, "same")], "images of any size"),
        ([image, layers.MaxPooling2D(data_format="channels_first")], "data_format='channels_first'"),
    ):
        with pytest.raises(OperatorError, match=said) as raised:
            ab.from_keras(keras.Sequential(inside))
        assert 'model.export("mine.onnx", format="onnx")' in str(raised.value)
    with pytest.raises(OperatorError, match=r"Functional.*no Sequential"):
        ab.from_keras(keras.Model(image, layers.Flatten()(image)))
    with pytest.raises(ab.DataError, match=r"call model.build"):
        ab.from_keras(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(ab.DataError, match="found the layer Dense; put it into one"):
        ab.from_keras(layers.Dense(2))
    with pytest.raises(ab.DataError, match=r"pass it to anyback\.from_keras"):
        ab.from_torch(keras.Sequential([image]))


# -- Arrays -------------------------------------------------------------------------------------------

SQUARE = inputs(4, 4)
W1, B1, W2, B2 = inputs(5, 4), inputs(4), inputs(4, 3)[::-1].copy(), inputs(3)


@dataclasses.dataclass
class Layer:
    """As Equinox keeps a linear layer."""

    weight: Any
    bias: Any
    use_bias: bool = True


@dataclasses.dataclass
class Perceptron:
    """As Equinox keeps a perceptron."""

    layers: tuple[Layer, ...]
    activation: Any = np.tanh
    depth: int = 2


TREES = {
    "a list": [W1, B1, W2, B2],
    "pairs": [(W1, B1), (W2, B2)],
    "a dict": {"W1": W1, "b1": B1, "W2": W2, "b2": B2},
    "a dict of dicts": {"layer2": {"W": W2, "b": B2}, "layer1": {"W": W1, "b": B1}},
    "a list of dicts": [{"w": W1, "b": B1}, {"w": W2, "b": B2}],
    "Flax": {"params": {f"Dense_{i}": {"bias": b, "kernel": w} for i, w, b in ((10, W2, B2), (9, W1, B1))}},
    "Equinox": Perceptron((Layer(W1.T, B1), Layer(W2.T, B2))),
    "PyTorch": {"net.0.weight": W1.T, "net.0.bias": B1, "net.2.weight": W2.T, "net.2.bias": B2},
    "names without numbers": {"out": {"kernel": W2, "bias": B2}, "body": {"kernel": W1, "bias": B1}},
    "Keras": {"dense_1/kernel:0": W1, "dense_1/bias:0": B1, "dense_2/kernel:0": W2, "dense_2/bias:0": B2},
}


@pytest.mark.parametrize("name", TREES)
def test_arrays_make_a_perceptron(lib: Library, name: str) -> None:
    x = inputs(6, 5)
    y = np.tanh(x @ W1 + B1) @ W2 + B2
    expected = 1 / (1 + np.exp(-y))
    tree = TREES[name]
    check(lib, lambda **where: ab.from_arrays(tree, hidden="tanh", output="sigmoid", **where), x, expected)


def test_arrays_of_any_library_are_taken(lib: Library) -> None:
    net = ab.from_arrays([lib.asarray(a) for a in (W1, B1, W2, B2)], hidden="relu", backend="numpy")
    assert isinstance(net.arrays[0], np.ndarray)
    np.testing.assert_array_equal(net.arrays[0], W1.astype(np.float32))


@pytest.mark.numpy
def test_a_square_weight_is_transposed_by_its_name() -> None:
    square = inputs(4, 4)
    by_name = {
        name: ab.from_arrays({name: square}, output="identity", backend="numpy") for name in ("kernel", "weight")
    }
    np.testing.assert_allclose(by_name["kernel"](np.eye(4)), square)
    np.testing.assert_allclose(by_name["weight"](np.eye(4)), square.T)


@pytest.mark.numpy
def test_pixels_shape_and_type_of_arrays() -> None:
    whole = [np.ones((4, 2), int), np.zeros(2, int)]
    net = ab.from_arrays(whole, output="identity", pixels=255, shape=(2, 2), dtype="float32", backend="numpy")
    assert net.dtype == np.float32
    np.testing.assert_allclose(net(np.full((1, 2, 2), 51, np.uint8)), [[0.8, 0.8]], rtol=1e-6)
    kept = ab.from_arrays([W1, B1], backend="numpy")
    W1_before = kept.arrays[0].copy()
    assert kept.arrays[0] is not W1
    np.testing.assert_array_equal(W1_before, W1)


@pytest.mark.numpy
@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ([W1, B1, W2], "missing b2"),
        ([W1.T, B1, W2.T, B2], "pass W.T"),
        ({"one.weight": SQUARE, "two.weight": SQUARE}, r"more than one order: found one \(4 to 4\), two \(4 to 4\)"),
        ({"a": {"fc1": {"w": W1}}, "b": {"fc1": {"w": W1}}}, r"no order, .*: found a.fc1 \(5 to 4\), b.fc1 \(5 to 4\)"),
        ({"fc1": {"w": SQUARE}, "fc01": {"w": SQUARE}}, "two layers have one number: found fc1 .*, fc01 "),
        ({"1": {"kernel": W1, "w": W1}}, "two weights or biases in one layer: 1.w"),
        ({"params": {"Dense_0": {"kernel": W1}}, "batch_stats": {"mean": B1}}, "unknown batch_stats.mean"),
        ({"fc1": {"bias": B1}}, "fc1 has a bias and no weight"),
        ({"0.weight": np.ones((3, 2, 3, 3))}, r"W1: expected shape .*found \(3, 2, 3, 3\)"),
        ({}, "there are none"),
        ([], "missing W1, b1"),
        ([W1.astype(int), B1], "dtype=... casts"),
    ],
)
def test_arrays_that_make_no_network_say_why(arrays: Any, said: str) -> None:
    with pytest.raises(ab.WeightsError, match=said):
        ab.from_arrays(arrays, hidden="relu")


@pytest.mark.numpy
@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (W1, "one array"),
        ("mine.npz", "anyback.load_model"),
        (dict, "the class dict"),
        ([1.0, 2.0], "0: expected an array, found float"),
        ({"a": {"w": "relu"}}, "a.w: expected an array"),
        ([W1, B1, W2, B2], "hidden='relu'"),
    ],
)
def test_what_holds_no_arrays_is_refused(arrays: Any, said: str) -> None:
    with pytest.raises(ab.DataError, match=said):
        ab.from_arrays(arrays)


# -- All of them --------------------------------------------------------------------------------------

FUNCTIONS = (ab.from_torch, ab.from_sklearn, ab.from_keras)


@pytest.mark.numpy
@pytest.mark.parametrize("function", FUNCTIONS)
def test_other_objects_are_refused_with_what_to_do(function: Callable[..., Any]) -> None:
    for found, said in (
        (Linear, "found the class Linear; make one of it"),
        ("mine.pt", "found 'mine.pt'; a file is loaded by anyback.load_model"),
        ([W1, B1], "found a list; arrays are taken by anyback.from_arrays"),
        (W1, "found ndarray"),
        (None, "found NoneType"),
    ):
        with pytest.raises(ab.DataError, match=said):
            function(found)


@pytest.mark.torch
def test_an_object_of_another_library_is_sent_to_its_own_function() -> None:
    import torch

    for function in (ab.from_sklearn, ab.from_keras, ab.from_arrays):
        with pytest.raises(ab.DataError, match=r"found a torch Linear; pass it to anyback\.from_torch"):
            function(torch.nn.Linear(3, 2))


@pytest.mark.numpy
def test_the_current_choice_and_the_dtype_are_those_of_load_model() -> None:
    with ab.use_backend("numpy"):
        net = ab.from_arrays([W1, B1], dtype=np.float32)
    assert backends.dtype_name(net.dtype) == "float32"
    with pytest.raises(ab.DataError, match="unknown dtype 'int8' for a network"):
        ab.from_arrays([W1, B1], dtype="int8")
    with pytest.raises(ab.BackendError, match="unknown"):
        ab.from_arrays([W1, B1], backend="nupmy")


@pytest.mark.numpy
def test_sources_import_none_of_their_libraries() -> None:
    code = """
import sys
import numpy as np, anyback as ab
ab.from_arrays({"kernel": np.ones((2, 2))}, backend="numpy")
for function in (ab.from_torch, ab.from_sklearn, ab.from_keras):
    try:
        function(3)
    except ab.DataError:
        pass
print(sorted({"torch", "sklearn", "keras", "jax", "flax", "equinox", "tensorflow"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
