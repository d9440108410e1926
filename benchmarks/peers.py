"""What anyback is measured beside: the same network, from the same weights, in other libraries and by hand.

To add a peer: a function that prepares, and a row. It takes a `Work` and returns a function without arguments that
goes from ``work.x``, integers in the host's memory, to probabilities in the host's memory. An answer that differs from
anyback's is refused before anything is timed. Each may fold, fuse and tile as it likes: the faster, the better a peer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from anyback.bench import TILES, Row, Work, fastest
from anyback.errors import AnybackError

__all__ = ["ROWS", "jax_forward", "jax_mapped", "scaled", "torch_forward", "torch_layers"]

Run = Callable[[], Any]


def scaled(work: Work) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights and biases with the scale of the pixels folded into the first."""
    (w, b), *rest = work.weights
    return [(w / np.float32(work.pixels), b), *rest]


def normalised(work: Work) -> np.ndarray:
    """Return the pixels as numbers from 0 to 1, for libraries that take floats."""
    return work.x.astype(np.float32) / np.float32(work.pixels)


def in_tiles(work: Work, make: Callable[[int], Run]) -> Run:
    """Return what `make` makes of the fastest tile; one image needs none."""
    return fastest(make, [(tile,) for tile in TILES]) if len(work.x) > 1 else make(1)


# -- JAX ----------------------------------------------------------------------------------------------


def jax_forward(layers: list[tuple[Any, Any]], x: Any) -> Any:
    import jax

    *hidden, (last, bias) = layers
    h = x.astype(last.dtype)
    for w, b in hidden:
        h = jax.nn.sigmoid(h @ w + b)
    return jax.nn.softmax(h @ last + bias)


def jax_jit(work: Work) -> Run:
    import jax

    layers = jax.device_put(scaled(work))
    run = jax.jit(jax_forward)
    return lambda: np.asarray(run(layers, work.x))


def jax_mapped(n: int, classes: int, tile: int) -> Callable[[Any, Any], Any]:
    """Return one program that goes through tiles of `n` rows."""
    import jax

    count = -(-n // tile)

    @jax.jit
    def run(layers: Any, x: Any) -> Any:
        x = jax.numpy.pad(x, ((0, count * tile - n), (0, 0))).reshape(count, tile, -1)
        return jax.lax.map(lambda rows: jax_forward(layers, rows), x).reshape(-1, classes)[:n]

    return run


def jax_map(work: Work) -> Run:
    """Prepare one program that goes through tiles, each of which fits the caches."""
    import jax

    layers = jax.device_put(scaled(work))
    n, classes = work.expected.shape

    def make(tile: int) -> Run:
        run = jax_mapped(n, classes, tile)
        return lambda: np.asarray(run(layers, work.x))

    return in_tiles(work, make)


# -- PyTorch ------------------------------------------------------------------------------------------


def torch_layers(work: Work) -> list[tuple[Any, Any]]:
    import torch

    torch.set_num_threads(work.threads)
    return [(torch.from_numpy(w.copy()), torch.from_numpy(b.copy())) for w, b in scaled(work)]


def torch_forward(layers: list[tuple[Any, Any]], x: Any) -> Any:
    import torch

    *hidden, (last, bias) = layers
    h = x.float()
    for w, b in hidden:
        h = torch.addmm(b, h, w).sigmoid_()
    return torch.softmax(torch.addmm(bias, h, last), 1)


def torch_eager(work: Work) -> Run:
    import torch

    layers, x = torch_layers(work), torch.from_numpy(work.x)

    @torch.inference_mode()
    def run() -> Any:
        return torch_forward(layers, x).numpy()

    return run


def torch_tiles(work: Work) -> Run:
    import torch

    layers, x = torch_layers(work), torch.from_numpy(work.x)

    def make(tile: int) -> Run:
        @torch.inference_mode()
        def run() -> Any:
            return torch.cat([torch_forward(layers, rows) for rows in x.split(tile)]).numpy()

        return run

    return in_tiles(work, make)


def torch_compiled(work: Work) -> Run:
    import torch

    if not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++", "cl")))):
        raise AnybackError("torch.compile needs a C++ compiler, and there is none")
    layers, x = torch_layers(work), torch.from_numpy(work.x)
    # Without dynamic=False a second shape, such as that of the last tile, would compile a slower, general program.
    forward = torch.compile(torch_forward, dynamic=False)

    def make(tile: int) -> Run:
        @torch.inference_mode()
        def run() -> Any:
            return torch.cat([forward(layers, rows) for rows in x.split(tile)]).numpy()

        run()
        return run

    return in_tiles(work, make)


# -- ONNX Runtime -------------------------------------------------------------------------------------


def onnx_session(work: Work) -> Any:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    pixel = helper.np_dtype_to_tensor_dtype(work.x.dtype)
    nodes = [helper.make_node("Cast", ["x"], ["h0"], to=TensorProto.FLOAT)]
    weights, layers = [], scaled(work)
    for i, (w, b) in enumerate(layers):
        weights += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
        last = i == len(layers) - 1
        nodes.append(helper.make_node("Gemm", [f"h{i}", f"w{i}", f"b{i}"], [f"z{i}"]))
        nodes.append(helper.make_node("Softmax" if last else "Sigmoid", [f"z{i}"], ["y" if last else f"h{i + 1}"]))
    inputs = [helper.make_tensor_value_info("x", pixel, ["n", work.x.shape[1]])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", work.expected.shape[1]])]
    graph = helper.make_graph(nodes, "mlp", inputs, outputs, weights)
    # Opset 13 is the first whose Softmax takes rows; IR 8 is old enough for every release of the runtime.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = work.threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def onnx_whole(work: Work) -> Run:
    session = onnx_session(work)
    return lambda: session.run(None, {"x": work.x})[0]


def onnx_tiles(work: Work) -> Run:
    session = onnx_session(work)

    def make(tile: int) -> Run:
        starts = range(0, len(work.x), tile)
        return lambda: np.concatenate([session.run(None, {"x": work.x[i : i + tile]})[0] for i in starts])

    return in_tiles(work, make)


# -- scikit-learn and Keras ---------------------------------------------------------------------------


def sklearn_mlp(work: Work) -> Run:
    from sklearn.neural_network import MLPClassifier

    classes = work.expected.shape[1]
    sizes = [w.shape[1] for w, _ in work.weights[:-1]]
    model = MLPClassifier(sizes, activation="logistic", max_iter=1, batch_size=classes)
    # Fitted to nothing in particular, so that it has every attribute of its own, and then given the weights.
    zeros = np.zeros((classes, work.x.shape[1]), np.float32)
    model._fit(zeros, np.arange(classes), incremental=True)
    model.coefs_, model.intercepts_ = [w for w, _ in work.weights], [b for _, b in work.weights]
    return lambda: model.predict_proba(normalised(work))


def keras_predict(work: Work) -> Run:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    keras.config.disable_interactive_logging()
    *hidden, last = [w.shape[1] for w, _ in work.weights]
    layers = [keras.layers.Dense(size, activation="sigmoid") for size in hidden]
    layers.append(keras.layers.Dense(last, activation="softmax"))
    model = keras.Sequential([keras.Input((work.x.shape[1],)), *layers])
    model.set_weights([x for pair in work.weights for x in pair])

    def make(tile: int) -> Run:
        return lambda: model.predict(normalised(work), batch_size=tile, verbose=0)

    return in_tiles(work, make)


BOTH = ("throughput", "latency")

#: The peers of `run.py`.
ROWS = (
    Row("jax.jit by hand", "by hand", jax_jit, BOTH, "jax"),
    Row("jax.jit by hand, lax.map of tiles", "by hand", jax_map, package="jax"),
    Row("PyTorch eager by hand", "by hand", torch_eager, BOTH, "torch"),
    Row("PyTorch eager by hand, tiles", "by hand", torch_tiles, package="torch"),
    Row("torch.compile by hand, tiles", "by hand", torch_compiled, package="torch"),
    Row("ONNX Runtime", "peer", onnx_whole, BOTH, "onnxruntime"),
    Row("ONNX Runtime, tiles", "peer", onnx_tiles, package="onnxruntime"),
    Row("scikit-learn MLPClassifier", "peer", sklearn_mlp, BOTH, "scikit-learn"),
    Row("Keras 3 predict", "peer", keras_predict, package="keras"),
)
