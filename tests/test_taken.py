"""What people have in their hands, one row each: a file or an object of a library, trained there for some steps.

Each answers as its own library does in float64, on every array library; whole pickled modules, and modules of classes
that nobody knows, are refused in one line that says what to do.
"""

from __future__ import annotations

import functools
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Library, needs
from test_weights import assert_one_line

import anyback as ab
from anyback.errors import AnybackError, OperatorError
from anyback.network import Network

# NumPy warns, of how Keras makes an array of a tensor of PyTorch.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

#: How far an answer may be from that of the other library in float64.
TOLERANCE = 2e-6
RNG = np.random.default_rng(0)
#: Numbers that float32 holds.
X = RNG.normal(size=(30, 4)).astype(np.float32).astype(np.float64)
LABELS = np.argmax(X[:, :3], axis=1)
STEPS, RATE = 20, 0.5

#: What a network is made with: where it goes, and its type of numbers.
Where = dict[str, Any]


@dataclass
class Taken:
    """A network that another library trained.

    Parameters
    ----------
    load : callable
        Makes anyback's network of it.
    expected : numpy.ndarray
        What the library answers to `X`, in float64.
    """

    load: Callable[..., Network]
    expected: np.ndarray


def probabilities(y: np.ndarray) -> np.ndarray:
    e = np.exp(y - y.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


KNOWN: Where = {"hidden": "relu", "output": "softmax"}

# -- PyTorch -------------------------------------------------------------------------------------------


@functools.cache
def torch_module() -> Any:
    """Return a trained module in float32."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    optimizer, x = torch.optim.SGD(module.parameters(), lr=RATE), torch.from_numpy(X).float()
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), torch.from_numpy(LABELS)).backward()
        optimizer.step()
    return nn.Sequential(*module, nn.Softmax(dim=-1)).eval()


@functools.cache
def torch_answers() -> np.ndarray:
    import copy

    import torch

    with torch.no_grad():
        return copy.deepcopy(torch_module()).double()(torch.from_numpy(X)).numpy()


def torch_file(folder: Path, suffix: str, prefix: str = "") -> Taken:
    import safetensors.torch
    import torch

    state = {prefix + name: x for name, x in torch_module().state_dict().items()}
    path = folder / f"mine{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    elif suffix == ".npz":
        np.savez(path, **{name: x.numpy() for name, x in state.items()})
    else:
        torch.save(state, path)
    return Taken(functools.partial(ab.load_model, path, **KNOWN), torch_answers())


def torch_live(folder: Path) -> Taken:
    return Taken(functools.partial(ab.from_torch, torch_module()), torch_answers())


def torch_state(folder: Path) -> Taken:
    return Taken(functools.partial(ab.from_arrays, torch_module().state_dict(), **KNOWN), torch_answers())


# -- Keras ---------------------------------------------------------------------------------------------


@functools.cache
def keras_model(images: bool = False) -> Any:
    """Return a trained model in float32, of rows or of images."""
    needs("keras", "h5py")
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inside = [keras.Input((4,)), layers.Dense(5, "relu"), layers.Dropout(0.1), layers.Dense(5, "relu")]
    if images:
        inside = [
            *(keras.Input((4,)), layers.Reshape((2, 2, 1)), layers.Rescaling(0.5), layers.Conv2D(3, 2, padding="same")),
            *(layers.BatchNormalization(), layers.ReLU(), keras.Sequential([layers.MaxPooling2D(2, 1)])),
            *(layers.Flatten(), layers.Dense(5, activation=layers.ELU(0.5))),
        ]
    model = keras.Sequential([*inside, layers.Dense(3, "softmax", name="end")])
    model.compile(keras.optimizers.SGD(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, LABELS, batch_size=len(X), epochs=STEPS, verbose=0)
    return model


@functools.cache
def keras_answers(model: Any) -> np.ndarray:
    """Return what Keras answers where it computes in float64."""
    import keras

    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        wide = keras.Sequential.from_config(_in_float64(model.get_config()))
        wide.set_weights(model.get_weights())
        return keras.ops.convert_to_numpy(wide(X, training=False))
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def _in_float64(config: Any) -> Any:
    if isinstance(config, dict):
        return {name: _in_float64(value) for name, value in config.items() if name != "shared_object_id"}
    if isinstance(config, list):
        return [_in_float64(value) for value in config]
    return "float64" if config == "float32" else config


def keras_live(folder: Path) -> Taken:
    return Taken(functools.partial(ab.from_keras, keras_model()), keras_answers(keras_model()))


def keras_weights(folder: Path, suffix: str) -> Taken:
    path = folder / f"mine{suffix}"
    if suffix == ".npz":
        np.savez(path, *keras_model().get_weights())
    else:
        keras_model().save_weights(path)
    return Taken(functools.partial(ab.load_model, path, **KNOWN), keras_answers(keras_model()))


def keras_archive(folder: Path, images: bool) -> Taken:
    keras_model(images).save(folder / "mine.keras")
    return Taken(functools.partial(ab.load_model, folder / "mine.keras"), keras_answers(keras_model(images)))


def keras_functional(folder: Path) -> Taken:
    whole = keras_model()
    import keras

    given = value = keras.Input((4,))
    for layer in whole.layers:
        value = layer(value)
    keras.Model(given, value).save(folder / "mine.keras")
    return Taken(functools.partial(ab.load_model, folder / "mine.keras"), keras_answers(whole))


# -- scikit-learn ---------------------------------------------------------------------------------------


def sklearn_estimator(folder: Path, kind: str) -> Taken:
    needs("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    options: dict[str, Any] = {"hidden_layer_sizes": (6,), "max_iter": STEPS, "random_state": 0}
    estimators = {
        "classifier": MLPClassifier(**options),
        "regressor": MLPRegressor(**options),
        "pipeline": make_pipeline(StandardScaler(), MinMaxScaler(), LogisticRegression()),
    }
    estimator, names = estimators[kind], np.asarray(["no", "perhaps", "yes"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        estimator.fit(X, X[:, :2] if kind == "regressor" else names[LABELS])
    expected = estimator.predict(X) if kind == "regressor" else estimator.predict_proba(X)
    if kind != "regressor":
        assert ab.from_sklearn(estimator, backend="numpy").classes == tuple(names)
    return Taken(functools.partial(ab.from_sklearn, estimator), expected)


# -- Flax and Equinox ------------------------------------------------------------------------------------


def descended(loss: Callable[[Any], Any], tree: Any) -> Any:
    """Return parameters after some steps down a loss, by the gradients of JAX."""
    import jax

    slope = jax.jit(jax.grad(loss))
    for _ in range(STEPS):
        tree = jax.tree.map(lambda x, d: x - RATE * d, tree, slope(tree))
    return tree


def cross_entropy(y: Any) -> Any:
    import jax

    return -jax.nn.log_softmax(y)[np.arange(len(X)), LABELS].mean()


def in_float64(answers: Callable[[Any], Any], tree: Any) -> np.ndarray:
    """Return what parameters answer where JAX computes in float64."""
    import jax

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
        return probabilities(np.asarray(answers(wide)))


@functools.cache
def linen() -> tuple[Any, np.ndarray]:
    needs("flax")
    import jax
    from flax import linen as nn

    class Perceptron(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = nn.relu(nn.Dense(5)(x))
            x = nn.relu(nn.Dense(5)(x))
            return nn.Dense(3)(x)

    model, x = Perceptron(), X.astype(np.float32)
    tree = descended(lambda p: cross_entropy(model.apply(p, x)), model.init(jax.random.key(0), x))
    return tree, in_float64(lambda p: model.apply(p, X), tree)


def flax_linen(folder: Path) -> Taken:
    tree, expected = linen()
    return Taken(functools.partial(ab.from_arrays, tree, **KNOWN), expected)


def flax_file(folder: Path, suffix: str) -> Taken:
    tree, expected = linen()
    import jax
    from flax.traverse_util import flatten_dict

    path, plain = folder / f"mine{suffix}", jax.tree.map(np.asarray, tree)
    if suffix == ".npz":
        np.savez(path, **flatten_dict(plain, sep="/"))
    else:
        path.write_bytes(pickle.dumps(plain))
    return Taken(functools.partial(ab.load_model, path, **KNOWN), expected)


def flax_nnx(folder: Path) -> Taken:
    needs("flax")
    from flax import nnx

    class Perceptron(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.fc1 = nnx.Linear(4, 5, rngs=rngs)
            self.dropout = nnx.Dropout(0.1, deterministic=True, rngs=rngs)
            self.fc2 = nnx.Linear(5, 3, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.fc2(self.dropout(nnx.relu(self.fc1(x))))

    graph, state, rest = nnx.split(Perceptron(nnx.Rngs(0)), nnx.Param, ...)
    x = X.astype(np.float32)
    tree = descended(lambda p: cross_entropy(nnx.merge(graph, p, rest)(x)), state)
    model = nnx.merge(graph, tree, rest)
    expected = in_float64(lambda p: nnx.merge(graph, p, rest)(X), tree)
    return Taken(functools.partial(ab.from_arrays, nnx.state(model, nnx.Param), **KNOWN), expected)


def equinox_module(folder: Path, kind: str) -> Taken:
    needs("equinox")
    import equinox
    import jax

    one, two = jax.random.split(jax.random.key(0))
    if kind == "MLP":
        model = equinox.nn.MLP(4, 3, 5, 2, key=one)
    else:
        first, last = equinox.nn.Linear(4, 5, key=one), equinox.nn.Linear(5, 3, use_bias=False, key=two)
        model = equinox.nn.Sequential([first, equinox.nn.Lambda(jax.nn.relu), equinox.nn.Dropout(0.1), last])
        model = equinox.nn.inference_mode(model)
    parameters, rest = equinox.partition(model, equinox.is_inexact_array)

    def answers(p: Any, x: np.ndarray) -> Any:
        return jax.vmap(equinox.combine(p, rest))(x)

    tree = descended(lambda p: cross_entropy(answers(p, X.astype(np.float32))), parameters)
    expected = in_float64(lambda p: answers(p, X), tree)
    return Taken(functools.partial(ab.from_arrays, equinox.combine(tree, rest), **KNOWN), expected)


# -- Arrays of one's own ---------------------------------------------------------------------------------


def by_hand() -> tuple[list[np.ndarray], np.ndarray]:
    """Return W1, b1, W2, b2, trained by hand, and their answers in float64."""
    rng = np.random.default_rng(1)
    w1, b1, w2, b2 = rng.normal(size=(4, 5)), np.zeros(5), rng.normal(size=(5, 3)), np.zeros(3)
    for _ in range(STEPS):
        hidden = np.maximum(X @ w1 + b1, 0)
        error = (probabilities(hidden @ w2 + b2) - np.eye(3)[LABELS]) / len(X)
        back = (error @ w2.T) * (hidden > 0)
        steps = X.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)
        w1, b1, w2, b2 = (x - RATE * step for x, step in zip((w1, b1, w2, b2), steps, strict=True))
    arrays = [x.astype(np.float32) for x in (w1, b1, w2, b2)]
    w1, b1, w2, b2 = (x.astype(np.float64) for x in arrays)
    return arrays, probabilities(np.maximum(X @ w1 + b1, 0) @ w2 + b2)


def own(folder: Path, kind: str) -> Taken:
    arrays, expected = by_hand()
    w1, b1, w2, b2 = arrays
    named = {"W1": w1, "b1": b1, "W2": w2, "b2": b2}
    path = folder / f"mine{kind if kind[0] == '.' else '.safetensors'}"
    match kind:
        case "list":
            return Taken(functools.partial(ab.from_arrays, arrays, **KNOWN), expected)
        case "dicts":
            tree = {"layer1": {"W": w1, "b": b1}, "layer2": {"W": w2, "b": b2}}
            return Taken(functools.partial(ab.from_arrays, tree, **KNOWN), expected)
        case "saved":  # it says itself what it computes
            ab.from_arrays(arrays, **KNOWN, backend="numpy").save(path)
            return Taken(functools.partial(ab.load_model, path), expected)
        case ".pkl":
            path.write_bytes(
                pickle.dumps({"layer1": {"weight": w1.T, "bias": b1}, "layer2": {"weight": w2.T, "bias": b2}})
            )
        case _:
            ab.write_weights(path, named)
    return Taken(functools.partial(ab.load_model, path, **KNOWN), expected)


# -- All of them -----------------------------------------------------------------------------------------

TORCH, SOURCES, JAX = pytest.mark.torch, pytest.mark.sources, pytest.mark.jax


def rows() -> Iterator[Any]:
    """Yield every file and object that is tried, with what its tests are marked with."""
    for suffix in (".pt", ".pth", ".safetensors", ".npz"):
        for prefix in ("", "module."):
            made = functools.partial(torch_file, suffix=suffix, prefix=prefix)
            yield pytest.param(made, marks=TORCH, id=f"torch {prefix}state dict {suffix}")
    yield pytest.param(torch_live, marks=TORCH, id="torch live module")
    yield pytest.param(torch_state, marks=TORCH, id="torch live state dict")
    yield pytest.param(keras_live, marks=SOURCES, id="keras live model")
    for suffix in (".npz", ".weights.h5"):
        yield pytest.param(functools.partial(keras_weights, suffix=suffix), marks=SOURCES, id=f"keras weights {suffix}")
    for images in (False, True):
        made = functools.partial(keras_archive, images=images)
        yield pytest.param(made, marks=SOURCES, id=f"keras {'images' if images else 'rows'} .keras")
    yield pytest.param(keras_functional, marks=SOURCES, id="keras functional .keras")
    for kind in ("classifier", "regressor", "pipeline"):
        yield pytest.param(functools.partial(sklearn_estimator, kind=kind), marks=SOURCES, id=f"sklearn {kind}")
    for name, made in {
        "flax linen": flax_linen,
        "flax linen .npz": functools.partial(flax_file, suffix=".npz"),
        "flax linen .pkl": functools.partial(flax_file, suffix=".pkl"),
        "flax nnx": flax_nnx,
        "equinox MLP": functools.partial(equinox_module, kind="MLP"),
        "equinox Sequential": functools.partial(equinox_module, kind="Sequential"),
    }.items():
        yield pytest.param(made, marks=(JAX, SOURCES), id=name)
    for kind in ("list", "dicts", "saved", ".npz", ".pkl", ".safetensors"):
        yield pytest.param(functools.partial(own, kind=kind), id=f"arrays {kind}")


@pytest.mark.parametrize("made", [*rows()])
def test_each_answers_as_its_own_library_does(made: Callable[[Path], Taken], lib: Library, tmp_path: Path) -> None:
    taken = made(tmp_path)
    assert taken.expected.dtype == np.float64
    for dtype in {"float32", "float64"} & set(lib.dtypes):
        net = taken.load(backend=lib.backend, dtype=dtype)
        assert net.backend.name == lib.backend.name
        y = lib.to_numpy(net(lib.asarray(X, dtype)))
        assert y.dtype == dtype
        np.testing.assert_allclose(y, taken.expected, rtol=0, atol=TOLERANCE)


# -- What is refused, with the cure ------------------------------------------------------------------------


def refused(load: Callable[[], object], error: type[AnybackError], *said: str) -> None:
    with pytest.raises(error) as caught:
        load()
    assert_one_line(caught.value)
    for words in said:
        assert words in str(caught.value)


@pytest.mark.torch
def test_whole_modules_of_torch_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    import torch

    class Mine(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    module = torch_module()
    for path in (tmp_path / "whole.pt", tmp_path / "whole.pth"):
        torch.save(module, path)
        cure = "save the state dict alone: torch.save(module.state_dict(), path)"
        refused(functools.partial(ab.load_model, path, **KNOWN), ab.WeightsError, path.name, cure, "nothing was run")
    path = tmp_path / "whole.pkl"
    path.write_bytes(pickle.dumps(module))
    refused(functools.partial(ab.load_model, path, **KNOWN), ab.WeightsError, "arrays of PyTorch", "nothing was run")
    refused(lambda: ab.from_torch(Mine()), OperatorError, "does not convert Mine", "torch.onnx.export", "load_model")


class Unknown:
    """A class of the user's."""


def test_a_whole_object_in_a_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "whole.pkl"
    path.write_bytes(pickle.dumps(Unknown()))
    cure = "save the arrays in it by name, with numpy.savez or anyback.write_weights"
    refused(functools.partial(ab.load_model, path, **KNOWN), ab.WeightsError, "'Unknown'", "nothing was run", cure)
    for suffix, said in (
        (".joblib", "joblib.load"),
        (".eqx", "tree_deserialise_leaves"),
        (".msgpack", "flax"),
        (".x", ""),
    ):
        path = tmp_path / f"whole{suffix}"
        path.write_bytes(b"")
        refused(functools.partial(ab.load_model, path, **KNOWN), ab.WeightsError, f"unknown suffix '{suffix}'", said)


@pytest.mark.sources
def test_whole_estimators_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    needs("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    path = tmp_path / "whole.pkl"
    path.write_bytes(pickle.dumps(LogisticRegression().fit(X, LABELS)))
    cure = "pass it to anyback.from_sklearn(estimator)"
    refused(functools.partial(ab.load_model, path, **KNOWN), ab.WeightsError, "scikit-learn", cure, "nothing was run")
    tree = DecisionTreeClassifier().fit(X, LABELS)
    refused(lambda: ab.from_sklearn(tree), OperatorError, "DecisionTreeClassifier", "skl2onnx.to_onnx", "load_model")


@pytest.mark.sources
def test_models_of_keras_that_are_no_sequence_are_refused(tmp_path: Path) -> None:
    needs("keras", "h5py")
    import keras

    class Mine(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    given = keras.Input((4,))
    branches = keras.Model(given, keras.layers.Add()([keras.layers.Dense(4)(given), given]))
    memory = keras.Sequential([keras.Input((4, 1)), keras.layers.LSTM(2, name="memory")])
    odd = keras.Sequential([given, keras.layers.Dense(2, activation="hard_tanh", name="odd")])
    mine = Mine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is not built
        mine.save(tmp_path / "mine.keras")
    refused(functools.partial(ab.load_model, tmp_path / "mine.keras"), OperatorError, "Mine", "no Sequential")
    for model, said in (
        (branches, "a model with branches"),
        (memory, "does not convert memory (LSTM)"),
        (odd, "odd (Dense): activation='hard_tanh' (linear, relu"),
    ):
        model.save(tmp_path / "mine.keras")
        cure = 'model.export("mine.onnx", format="onnx")'
        refused(functools.partial(ab.load_model, tmp_path / "mine.keras"), OperatorError, "mine.keras", said, cure)


@pytest.mark.jax
@pytest.mark.sources
def test_modules_of_flax_are_asked_for_their_parameters() -> None:
    needs("flax")
    from flax import linen, nnx

    one, two = linen.Dense(3), nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    for module in (one, two):
        cure = "pass its parameters, those of model.init or flax.nnx.state(model, flax.nnx.Param)"
        refused(functools.partial(ab.from_arrays, module), ab.DataError, "a module of Flax", cure)
    dropped = nnx.Sequential(two, nnx.Dropout(0.1, rngs=nnx.Rngs(1)))
    cure = "pass the parameters alone, such as flax.nnx.state(model, flax.nnx.Param)"
    refused(lambda: ab.from_arrays(nnx.state(dropped)), ab.DataError, "expected an array of numbers", cure)


@pytest.mark.jax
@pytest.mark.sources
def test_layers_of_equinox_that_are_not_linear_say_what_was_found() -> None:
    needs("equinox")
    import equinox
    import jax

    conv = equinox.nn.Conv2d(1, 2, 3, key=jax.random.key(0))
    refused(lambda: ab.from_arrays(conv), ab.WeightsError, "W1: expected shape (in_features", "found (2, 1, 3, 3)")
