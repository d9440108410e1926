"""Networks of Keras 3 on its PyTorch backend with random weights, as ``model.export`` writes them."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx_sample import Maker, Sample

os.environ["KERAS_BACKEND"] = "torch"  # read when Keras is imported
import keras
from keras import layers

__all__ = ["MAKERS"]


def mlp() -> keras.Model:
    return keras.Sequential(
        [
            *(layers.Input((20,), name="x"), layers.Normalization(mean=0.1, variance=2.0)),
            *(layers.Dense(64, "relu"), layers.Dropout(0.3), layers.Dense(32, "selu"), layers.Dense(5, "softmax")),
        ]
    )


def cnn() -> keras.Model:
    return keras.Sequential(
        [
            *(layers.Input((28, 28, 1), name="x"), layers.Rescaling(1 / 2)),
            *(layers.Conv2D(16, 3, activation="relu", padding="same"), layers.MaxPooling2D()),
            *(layers.Conv2D(32, 3), layers.BatchNormalization(), layers.LeakyReLU(0.1)),
            *(layers.AveragePooling2D(2), layers.Flatten(), layers.Dense(10, "softmax")),
        ]
    )


def separable() -> keras.Model:
    x = start = layers.Input((32, 32, 3), name="x")
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="swish")(x)
    y = layers.SeparableConv2D(16, 3, padding="same")(x)
    y = layers.BatchNormalization()(y)
    x = layers.Activation("hard_swish")(layers.Add()([x, y]))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(x)
    x = layers.UpSampling2D(2)(layers.Activation("elu")(x))
    return keras.Model(start, layers.Dense(6)(layers.GlobalAveragePooling2D()(x)))


def text() -> keras.Model:
    # No layer normalisation: Keras hands its exporter a size that the exporter cannot read.
    start = layers.Input((16,), dtype="int32", name="x")
    x = layers.Embedding(50, 32)(start)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 8)(x, x)])
    x = layers.Add()([x, layers.Dense(32)(layers.Dense(64, "gelu")(x))])
    x = layers.Conv1D(24, 3, activation="relu")(x)
    return keras.Model(start, layers.Dense(4, "softmax")(layers.GlobalMaxPooling1D()(x)))


def recurrent() -> keras.Model:
    return keras.Sequential(
        [
            *(layers.Input((10, 8), name="x"), layers.LSTM(16, return_sequences=True)),
            *(layers.GRU(12), layers.Dense(3, "softmax")),
        ]
    )


#: Network -> what makes it, the shape of its input, and the number of its tokens, 0 where it takes numbers.
NETWORKS: dict[str, tuple[Callable[[], keras.Model], tuple[int, ...], int]] = {
    "mlp": (mlp, (33, 20), 0),
    "cnn": (cnn, (9, 28, 28, 1), 0),
    "separable": (separable, (5, 32, 32, 3), 0),
    "text": (text, (6, 16), 50),
    "recurrent": (recurrent, (7, 10, 8), 0),
}


def export(network: str) -> Sample:
    """Return a network as Keras writes it."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    make, shape, tokens = NETWORKS[network]
    draw = np.random.default_rng(5)
    keras.utils.set_random_seed(5)
    model = make()
    seen(model, draw)
    x = draw.integers(tokens, size=shape).astype(np.int32) if tokens else draw.standard_normal(shape, dtype=np.float32)
    model(x)  # before its first call, the export fails
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "model.onnx")
        model.export(path, format="onnx", verbose=False)
        written = path.read_bytes()
    name = onnx.load_from_string(written).graph.output[0].name
    return Sample(written, {"x": x}, -1, {name: in_float64(make, model, x)})


def in_float64(make: Callable[[], keras.Model], model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return what a network answers with the same weights in float64."""
    keras.config.set_floatx("float64")
    try:
        same = make()
        same.set_weights(model.get_weights())
        return np.asarray(keras.ops.convert_to_numpy(same(x if x.dtype == np.int32 else x.astype(np.float64))))
    finally:
        keras.config.set_floatx("float32")


def seen(model: keras.Model, draw: np.random.Generator) -> None:
    """Give batch normalisations what those of a trained network have."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            lowest = (0.5, -0.2, -0.2, 0.5)  # of scale, shift, mean, variance
            pairs = zip(lowest, layer.get_weights(), strict=True)
            layer.set_weights([draw.uniform(low, low + 0.7, w.shape) for low, w in pairs])


MAKERS: dict[str, Maker] = {f"keras {network}": functools.partial(export, network) for network in NETWORKS}
