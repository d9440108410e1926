"""Networks from weights: by name, from every format, and every fault in one message."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Library

import anyback as ab
from anyback import activations, inference, models
from anyback.backends._jax_steps import Steps
from anyback.datasets import _download
from anyback.layers import Linear, Sequential
from anyback.models.mlp import mlp
from anyback.numbers import dtype_name


def weights(dtype: str = "float32") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"W1": (6, 4), "b1": (4,), "W2": (4, 3), "b2": (3,)}
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def test_the_books_network_scores_0_9352(lib: Library, data_dir: Path) -> None:
    net = ab.load_model("mnist-mlp", backend=lib.backend)
    test = ab.datasets.mnist("test")
    result = ab.evaluate(net, test.images, test.labels)
    assert (result.correct, result.total, result.accuracy) == (9352, 10_000, 0.9352)
    few = ab.evaluate(net, test.images[:2000], test.labels[:2000], batch_size=1)
    np.testing.assert_array_equal(few.predictions, result.predictions[:2000])


def test_bytes_and_the_books_floats_give_the_same_labels(lib: Library, data_dir: Path) -> None:
    net = ab.load_model("mnist-mlp", backend=lib.backend)
    images, labels = _book_test()
    result = ab.evaluate(net, images, labels)
    assert result.correct == 9352
    one = net(ab.asarray(images[0], backend=lib.backend))
    assert one.shape == (10,)
    assert int(np.argmax(ab.to_numpy(one))) == labels[0] == 7


def _book_test() -> tuple[np.ndarray, np.ndarray]:
    test = ab.datasets.mnist("test")
    return test.images.reshape(-1, 784).astype(np.float32) / np.float32(255), test.labels


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_makes_a_network(lib: Library, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    arrays = weights()
    ab.write_weights(path, arrays)
    net = ab.load_model(path, hidden="relu", output="identity", backend=lib.backend)
    x = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    expected = np.maximum(x @ arrays["W1"] + arrays["b1"], 0) @ arrays["W2"] + arrays["b2"]
    np.testing.assert_allclose(lib.to_numpy(net(lib.asarray(x))), expected, atol=1e-5)
    assert net.layers[1] is activations.relu


def test_a_plain_file_leaves_integers_unscaled_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    ab.write_weights(path, weights())
    x = np.full((1, 6), 200, dtype=np.uint8)
    plain = ab.load_model(path, hidden="relu", output="identity", backend="numpy")
    scaled = ab.load_model(path, hidden="relu", output="identity", pixels=255, backend="numpy")
    np.testing.assert_array_equal(plain(x), plain(x.astype(np.float32)))
    np.testing.assert_array_equal(scaled(x), plain(x.astype(np.float32) / np.float32(255)))


def test_all_faults_come_in_one_message() -> None:
    arrays = weights()
    arrays["b1"] = np.zeros(5, dtype=np.float32)
    arrays["W2"] = np.zeros((9, 3), dtype=np.float64)
    arrays["extra\x1b[31m"] = np.zeros(1)
    del arrays["b2"]
    with pytest.raises(ab.WeightsError) as caught:
        mlp(arrays)
    message = str(caught.value)
    for part in (
        "missing b2",
        r"unexpected extra\x1b[31m",
        "b1: expected shape (4,), found (5,)",
        "W2: expected float32 as the first array, found float64",
        "W2: expected 4 rows, as the layer before gives, found 9",
    ):
        assert part in message
    assert "\n" not in message
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W1": np.zeros((6, 4), dtype=np.int64)}, "W1: expected a floating-point type, found int64"),
        (
            {"W1": np.zeros(6, dtype=np.float32)},
            r"W1: expected shape \(in_features, out_features\), found \(6,\)",
        ),
        ({"b2": np.zeros((3, 1), dtype=np.float32)}, r"b2: expected shape \(3,\), found \(3, 1\)"),
    ],
)
def test_each_fault_is_named(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ab.WeightsError, match=message):
        mlp({**weights(), **change})


def test_no_weights_at_all_say_what_is_missing() -> None:
    with pytest.raises(ab.WeightsError, match="missing W1, b1"):
        mlp({})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mnist-rnn", "no network and no file 'mnist-rnn'; known networks: digits-mlp, mnist-mlp"),
        ("missing.npz", "missing.npz does not exist"),
        (".", "is a folder|unknown"),
        (__file__, "unknown suffix|suffix"),
    ],
)
def test_what_is_no_network_is_one_line(source: str, message: str) -> None:
    with pytest.raises(ab.WeightsError, match=message) as caught:
        ab.load_model(source)
    assert "\n" not in str(caught.value)


def test_unknown_activations_and_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ab.AnybackError, match="unknown activation 'sigmod'; known: identity"):
        ab.load_model("digits-mlp", hidden="sigmod")
    with pytest.raises(ab.WeightsError, match="pixels: expected the largest pixel value"):
        ab.load_model("digits-mlp", pixels=0)


def test_float64_weights_and_float64_arithmetic() -> None:
    net = ab.load_model("digits-mlp", backend="numpy", dtype="float64")
    assert net.dtype == np.float64
    y = net(ab.datasets.digits("test").images)
    assert y.dtype == np.float64
    single = ab.load_model("digits-mlp", backend="numpy")(ab.datasets.digits("test").images)
    np.testing.assert_allclose(single, y, atol=2e-6)


@pytest.mark.parametrize("source", [None, 3, ["digits-mlp"]])
def test_what_is_neither_a_name_nor_a_path_is_refused(source: object) -> None:
    with pytest.raises(ab.WeightsError, match="expected a network's name or a path, found"):
        ab.load_model(source)  # type: ignore[arg-type]
    with pytest.raises(ab.WeightsError, match="expected a path, found int"):
        ab.read_weights(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "int8"},
        {"dtype": np.int8},
        {"dtype": int},
        {"dtype": ["float32"]},
        {"dtype": object()},
        {"pixels": "255"},
        {"hidden": ["relu"]},
    ],
)
def test_options_of_another_kind_are_one_line(options: dict[str, object]) -> None:
    with pytest.raises(ab.AnybackError, match=r"unknown dtype|expected the largest pixel|unknown activation") as caught:
        ab.load_model("digits-mlp", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32"), np.dtype(">f4")])
@pytest.mark.parametrize(
    "found", [("float32", "float64"), ("float16", "int64"), ("int32", "int32"), ("uint8", "float64")]
)
def test_a_chosen_type_is_that_of_all_weights_whatever_the_file_holds(
    dtype: object, found: tuple[str, str], tmp_path: Path
) -> None:
    of_weights, of_biases = found
    arrays = {name: np.round(10 * abs(x)) for name, x in weights().items()}
    path = tmp_path / "w.npz"
    np.savez(path, **{n: x.astype(of_weights if n[0] == "W" else of_biases) for n, x in arrays.items()})
    net = ab.load_model(path, hidden="relu", output="identity", backend="numpy", dtype=dtype)
    assert net.dtype == np.float32
    np.testing.assert_array_equal(net.layers[0].weight, arrays["W1"])
    with pytest.raises(ab.WeightsError, match=r"found u?(int|float).* \(dtype=... casts\)"):
        ab.load_model(path, hidden="relu", output="identity", backend="numpy")


def test_the_types_of_a_library_are_known_by_their_names(lib: Library) -> None:
    wanted = lib.asarray(np.zeros(1, dtype=np.float32)).dtype
    net = ab.load_model("digits-mlp", backend=lib.backend, dtype=wanted)
    assert net.dtype == wanted


def test_complex_numbers_and_booleans_are_never_cast(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, **{**weights(), "b1": np.ones(4, dtype=bool)})
    with pytest.raises(ab.WeightsError, match="b1: expected a floating-point type, found bool"):
        ab.load_model(path, backend="numpy", dtype="float32")


def test_a_path_that_is_a_name_is_the_network_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(ab.load_model(Path("digits-mlp"), backend="numpy")) == str(ab.load_model("digits-mlp", backend="numpy"))
    Path("digits-mlp").write_bytes(b"mine")
    with pytest.raises(ab.WeightsError, match="unknown suffix"):
        ab.load_model(Path("digits-mlp"), backend="numpy")
    ab.load_model("digits-mlp", backend="numpy")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["coefs_0", "intercepts_0", "coefs_1", "intercepts_1"], "of scikit-learn: each of coefs_ is a W"),
        (["a", "b", "c", "d"], r"unexpected a, b, c, d \(expected names are W1, b1, W2, b2, ...\)$"),
    ],
)
def test_the_names_of_other_libraries_are_known_and_a_cure_is_named(names: list[str], message: str) -> None:
    with pytest.raises(ab.WeightsError, match=message) as caught:
        mlp(dict(zip(names, weights().values(), strict=True)))
    assert "missing W1, b1" in str(caught.value)


def test_weights_that_fit_transposed_are_said_to() -> None:
    arrays = weights()
    turned = {name: x.T if name[0] == "W" else x for name, x in arrays.items()}
    with pytest.raises(ab.WeightsError, match=r"each W fits transposed, as PyTorch keeps it: pass W\.T$"):
        mlp(turned)
    with pytest.raises(ab.WeightsError) as caught:
        mlp({**turned, "b2": np.zeros(9, dtype=np.float32)})
    assert "transposed" not in str(caught.value)


def shapes(net: Sequential) -> list[tuple[int, ...]]:
    return [x.shape for layer in net.layers if isinstance(layer, Linear) for x in (layer.weight, layer.bias)]


def test_the_sketch_of_a_named_network_has_its_shapes() -> None:
    sketch = models.NETWORKS["digits-mlp"].sketch()
    assert shapes(sketch) == shapes(ab.load_model("digits-mlp", backend="numpy"))
    assert len(shapes(sketch)) == 6


def test_the_sketch_of_the_books_network_has_its_shapes(data_dir: Path) -> None:
    assert shapes(models.NETWORKS["mnist-mlp"].sketch()) == shapes(ab.load_model("mnist-mlp", backend="numpy"))


def test_every_weight_of_a_network_has_a_way() -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    assert set(inference.chosen_ways(net)) == {"64×50", "50×100", "100×10"}
    assert inference.chosen_ways(Sequential(())) == {}


@pytest.mark.jax
def test_what_jax_has_checked_of_a_network_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    net = ab.load_model("digits-mlp", backend="jax")
    ab.predict(net, np.zeros((1, *(net.usual_sample or ())), np.float32))
    monkeypatch.setattr(Steps, "_same_everywhere", None)
    assert list(inference.chosen_ways(net)) == ["the network"]


# -- The convolution networks ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [None, "float64"])
def test_the_books_convolution_network_labels_9600(lib: Library, data_dir: Path, dtype: str | None) -> None:
    if dtype and dtype not in lib.dtypes:
        pytest.skip(f"there is no {dtype}")
    net = ab.load_model("mnist-cnn", backend=lib.backend, dtype=dtype)
    test = ab.datasets.mnist("test")
    result = ab.evaluate(net, test.images, test.labels)
    assert (result.correct, result.total) == (9600, 10_000)
    assert dtype_name(net.dtype) == (dtype or "float32")


def test_images_come_with_a_channel_without_or_flat_and_scaled_or_not(lib: Library, data_dir: Path) -> None:
    net, images = ab.load_model("mnist-cnn", backend=lib.backend), ab.datasets.mnist("test").images[:7]
    expected = ab.to_numpy(ab.predict(net, images))
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)
    for x in (images, images[:, None], images.reshape(7, 784)):
        scaled = x.astype(np.float32) / np.float32(255)
        for given in (lib.asarray(x, None), lib.asarray(scaled)):
            np.testing.assert_allclose(lib.to_numpy(net(given)), expected, atol=2e-6)
        one = lib.to_numpy(net(lib.asarray(scaled[0])))  # with a channel, it is a batch of one as well
        np.testing.assert_allclose(one.reshape(10), expected[0], atol=2e-6)
    np.testing.assert_allclose(ab.to_numpy(ab.predict(net, scaled)), expected, atol=2e-6)


@functools.cache
def deep_case() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return weights of the shapes of the book's deep network, images, and its probabilities by loops over places."""
    rng = np.random.default_rng(3)
    weights = {}
    for name, shape in models.NETWORKS["mnist-deep-cnn"].arrays.items():
        inner = math.prod(shape[1:]) if len(shape) == 4 else shape[0]
        weights[name] = rng.normal(scale=math.sqrt(2 / inner) if name[0] == "W" else 0.2, size=shape)
    images = rng.integers(0, 256, (3, 28, 28)).astype(np.uint8)
    x = images[:, None] / 255
    for number, padding in zip(range(1, 7), (1, 1, 1, 2, 1, 1), strict=True):
        x = np.maximum(convolved(x, weights[f"W{number}"], padding) + weights[f"b{number}"][:, None, None], 0)
        x = pooled(x) if number % 2 == 0 else x
    assert x.shape == (3, 64, 4, 4)
    x = np.maximum(x.reshape(3, 1024) @ weights["W7"] + weights["b7"], 0) * 0.5
    e = np.exp((x @ weights["W8"] + weights["b8"]) * 0.5)
    return weights, images, e / e.sum(axis=1, keepdims=True)


def convolved(x: np.ndarray, weight: np.ndarray, padding: int) -> np.ndarray:
    n, channels, height, width = x.shape
    wide = np.zeros((n, channels, height + 2 * padding, width + 2 * padding))
    wide[:, :, padding : padding + height, padding : padding + width] = x
    y = np.empty((n, len(weight), wide.shape[2] - 2, wide.shape[3] - 2))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            for k, kernel in enumerate(weight):
                y[:, k, i, j] = np.sum(wide[:, :, i : i + 3, j : j + 3] * kernel, axis=(1, 2, 3))
    return y


def pooled(x: np.ndarray) -> np.ndarray:
    y = np.empty((*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            y[:, :, i, j] = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(2, 3))
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_books_deep_network_is_what_it_is_by_hand(
    lib: Library, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dtype not in lib.dtypes:
        pytest.skip(f"there is no {dtype}")
    weights, images, expected = deep_case()
    assert np.ptp(expected) > 0.1
    np.savez(tmp_path / "deep.npz", **weights)  # type: ignore[arg-type]
    row = dataclasses.replace(models.NETWORKS["mnist-deep-cnn"], path=lambda: tmp_path / "deep.npz")
    monkeypatch.setattr(models, "NETWORKS", {"mnist-deep-cnn": row})
    net = ab.load_model("mnist-deep-cnn", backend=lib.backend, dtype=None if dtype == "float32" else dtype)
    assert dtype_name(net.dtype) == dtype
    atol = 2e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(ab.to_numpy(ab.predict(net, images)), expected, atol=atol)
    x = lib.asarray((images / 255)[:, None], dtype)
    np.testing.assert_allclose(lib.to_numpy(net(x)), expected, atol=atol)


def test_the_books_deep_network_labels_9797(data_dir: Path) -> None:
    name = "deep_convnet_params.pkl"
    if not (data_dir / name).is_file():
        pytest.skip(f"{name} is not at hand: put it into ANYBACK_DATA_DIR")
    test = ab.datasets.mnist("test")
    assert ab.evaluate(ab.load_model("mnist-deep-cnn", backend="numpy"), test.images, test.labels).correct == 9797


@pytest.mark.parametrize("name", ["mnist-cnn", "mnist-deep-cnn"])
def test_all_faults_of_a_convolution_network_come_in_one_message(name: str) -> None:
    row = models.NETWORKS[name]
    arrays = {name: np.zeros(shape) for name, shape in row.arrays.items()}
    row.build(arrays)
    del arrays["b2"]
    arrays |= {
        "W1": np.zeros((7, 5)),
        "W3": arrays["W3"].astype("float32"),
        "b3": np.zeros(3, "int64"),
        "W9": arrays["b1"],
    }
    with pytest.raises(ab.WeightsError) as caught:
        row.build(arrays)
    message = str(caught.value)
    for part in (
        "missing b2",
        "unexpected W9 (expected names are W1, b1, W2, b2, W3, b3",
        f"W1: expected shape {row.arrays['W1']}, found (7, 5)",
        "W3: expected float64 as the first array, found float32",
        "b3: expected a floating-point type, found int64",
        f"b3: expected shape {row.arrays['b3']}, found (3,)",
    ):
        assert part in message
    assert "\n" not in message
    with pytest.raises(ab.WeightsError, match="missing W1, b1, W2"):
        row.build({})


# -- What may be chosen -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist-cnn", "mnist-deep-cnn"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": "sigmoid"}, "has hidden='relu', found 'sigmoid'; leave hidden out"),
        ({"output": "identity"}, "has output='softmax', found 'identity'; leave output out"),
        ({"hidden": math.tanh}, "has hidden='relu', found 'tanh'; leave hidden out"),
        ({"hidden": "rleu"}, "unknown activation 'rleu'; known: identity"),
        ({"shape": (8, 8)}, r"takes images of shape \(28, 28\), \(1, 28, 28\), \(784,\); found shape=\(8, 8\)"),
    ],
)
def test_a_network_that_is_what_it_is_says_so_before_anything_is_read(
    name: str, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANYBACK_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(_download, "_from_mirrors", lambda *_: pytest.fail("it downloads"))
    with pytest.raises(ab.AnybackError, match=message):
        ab.load_model(name, **options)


def test_what_a_named_network_has_may_be_said(data_dir: Path) -> None:
    plain = ab.load_model("mnist-cnn", backend="numpy")
    said = ab.load_model(
        "mnist-cnn",
        hidden="relu",
        output=activations.softmax,
        pixels=255,
        shape=(28, 28),
        backend="numpy",
        dtype="float32",
    )
    assert str(said) == str(plain)
    for shape in ((8, 8), (1, 8, 8), (64,)):
        assert str(ab.load_model("digits-mlp", shape=shape)) == str(ab.load_model("digits-mlp"))
    with pytest.raises(ab.WeightsError, match=r"digits-mlp takes images of shape \(8, 8\), .* found shape=\(28, 28\)"):
        ab.load_model("digits-mlp", shape=(28, 28))


def test_a_file_takes_images_of_the_shape_that_is_said(lib: Library, tmp_path: Path) -> None:
    ab.write_weights(tmp_path / "w.npz", weights())
    flat = ab.load_model(tmp_path / "w.npz", hidden="sigmoid", backend=lib.backend)
    net = ab.load_model(tmp_path / "w.npz", hidden="sigmoid", shape=(2, 3), backend=lib.backend)
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    expected = lib.to_numpy(flat(lib.asarray(x)))
    for shape in ((5, 6), (5, 2, 3), (5, 1, 2, 3)):
        np.testing.assert_array_equal(lib.to_numpy(net(lib.asarray(x.reshape(shape)))), expected)
    with pytest.raises(ab.ShapeError, match=r"found \(5, 2, 3\)"):
        flat(lib.asarray(x.reshape(5, 2, 3)))


def test_a_shape_that_does_not_fit_the_weights_is_refused(tmp_path: Path) -> None:
    ab.write_weights(tmp_path / "w.npz", weights())
    with pytest.raises(
        ab.WeightsError, match=r"W1: expected 9 rows, one for each number of an image \(3, 3\), found 6"
    ):
        ab.load_model(tmp_path / "w.npz", shape=(3, 3))
    for shape in (6, (), (0, 6), "23", (2.0, 3)):
        with pytest.raises(ab.WeightsError, match=r"shape: expected the shape of one image, such as \(28, 28\), found"):
            ab.load_model(tmp_path / "w.npz", shape=shape)  # type: ignore[arg-type]


def test_what_follows_the_source_is_named() -> None:
    with pytest.raises(TypeError, match="positional"):
        ab.load_model("digits-mlp", "relu")  # type: ignore[misc]


@pytest.mark.parametrize("name", models.NETWORKS)
def test_every_sketch_runs_and_spreads_its_answers(name: str) -> None:
    row = models.NETWORKS[name]
    net = row.sketch()
    assert {x.shape for x in net.arrays} >= set(row.arrays.values())
    images = np.random.default_rng(0).integers(0, int(row.pixels) + 1, (4, *row.shape)).astype(np.uint8)
    y = ab.predict(net, images)
    assert y.shape == (4, 10)
    assert np.ptp(y) > 1e-3


def test_the_sketch_of_the_convolution_network_has_its_shapes(data_dir: Path) -> None:
    net = ab.load_model("mnist-cnn", backend="numpy")
    assert str(models.NETWORKS["mnist-cnn"].sketch()) == str(net)
