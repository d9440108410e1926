"""Bounds of networks from ONNX files: every library is inside, no decided label flips, and what has no rule is said."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np
import pytest
from conftest import Library
from onnx import TensorProto
from onnx_models import constant, made, node, value

import anyback as ab
from anyback.agreement._simulated import simulated
from anyback.bounds import Arithmetic, Bounded, certify
from anyback.bounds.certify import forward
from anyback.lower import simplified
from anyback.network import Network
from anyback.numbers import PRECISIONS
from anyback.onnx import load

ROWS = 9


class Draw:
    """Weights by name for one network, as constants of its file."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.constants: list[Any] = []

    def weights(self, name: str, *shape: int, fan: int | None = None) -> None:
        fan = int(np.prod(shape[1:])) if fan is None else fan
        x = self.rng.normal(size=shape, scale=1 / np.sqrt(max(fan, 1)))
        self.constants.append(constant(name, x.astype(np.float32)))

    def known(self, name: str, x: Any) -> None:
        self.constants.append(constant(name, x))


def convolutions() -> tuple[bytes, np.ndarray]:
    """Down and up again, with the finer image beside, channels that are weighed, and a mean over the image."""
    draw = Draw(1)
    for name, shape in {"w1": (4, 1, 3, 3), "w2": (8, 4, 3, 3), "up": (8, 4, 2, 2), "w3": (5, 16, 1, 1)}.items():
        draw.weights(name, *shape)
    draw.weights("ub", 4)
    draw.weights("narrow", 5, 5, 1, 1)
    draw.known("scales", np.asarray([1, 1, 2, 2], np.float32))
    for name, x in {"low": 0.0, "high": 1.2}.items():
        draw.known(name, np.asarray(x, np.float32))
    nodes = [
        node("Conv", "x w1", "a", pads=[1, 1, 1, 1]),
        node("HardSwish", "a", "b"),
        node("MaxPool", "b", "c", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "c w2", "d", pads=[1, 1, 1, 1]),
        node("Clip", "d low high", "e"),
        node("ConvTranspose", "e up ub", "f", strides=[2, 2]),
        node("Resize", "e - scales", "g", mode="linear"),
        node("Concat", "f b g", "h", axis=1),
        node("Conv", "h w3", "i"),
        node("GlobalAveragePool", "i", "j"),
        node("Conv", "j narrow", "k"),
        node("HardSigmoid", "k", "l"),
        node("Mul", "i l", "m"),
        node("ReduceMean", "m", "n", axes=[2, 3], keepdims=0),
        node("Softmax", "n", "y", axis=1),
    ]
    x = draw.rng.normal(size=(ROWS, 1, 8, 8)).astype(np.float32)
    return made(nodes, [value("x", "n", 1, 8, 8)], [value("y", "n", 5)], *draw.constants), x


def attention() -> tuple[bytes, np.ndarray]:
    """Tokens that look back alone, through a mask of minus infinity, and a layer behind."""
    draw, width, length = Draw(2), 8, 6
    for name, shape in {"words": (11, width), "places": (length, width), "dense": (width, 16), "last": (16, 4)}.items():
        draw.weights(name, *shape, fan=shape[0] if name in ("dense", "last") else 1)
    for name in ("q", "k", "v"):
        draw.weights(name, width, width)
    draw.known("gain", np.ones(width, np.float32))
    draw.known("shift", np.zeros(width, np.float32))
    draw.known("seen", np.tril(np.ones((length, length), bool)))
    for name, x in {"none": -np.inf, "zero": 0.0, "scale": 0.35, "half": 0.5, "one": 1.0, "root": 0.70710677}.items():
        draw.known(name, np.asarray(x, np.float32))
    nodes = [
        node("Gather", "words x", "a", axis=0),
        node("Add", "a places", "b"),
        node("LayerNormalization", "b gain shift", "c", axis=-1),
        *(node("MatMul", f"c {name}", f"m{name}") for name in ("q", "k", "v")),
        node("Transpose", "mk", "turned", perm=[0, 2, 1]),
        node("MatMul", "mq turned", "d"),
        node("Mul", "d scale", "e"),
        node("Where", "seen zero none", "mask"),
        node("Add", "e mask", "f"),
        node("Softmax", "f", "g", axis=-1),
        node("MatMul", "g mv", "h"),
        node("Add", "h b", "i"),
        node("MatMul", "i dense", "j"),
        node("Mul", "j root", "k1"),
        node("Erf", "k1", "k2"),
        node("Add", "k2 one", "k3"),
        node("Mul", "j k3", "k4"),
        node("Mul", "k4 half", "l"),
        node("ReduceMax", "l", "m", axes=[1], keepdims=0),
        node("MatMul", "m last", "n"),
        node("LogSoftmax", "n", "y", axis=-1),
    ]
    x = draw.rng.integers(0, 11, (ROWS, length))
    given = value("x", "n", length, code=TensorProto.INT64)
    return made(nodes, [given], [value("y", "n", 4)], *draw.constants), x


def recurrent() -> tuple[bytes, np.ndarray]:
    """An LSTM in both directions, a GRU behind it, and its last step."""
    draw, width, hidden = Draw(3), 3, 5
    for name, shape in {"w": (2, 4 * hidden, width), "r": (2, 4 * hidden, hidden), "b": (2, 8 * hidden)}.items():
        draw.weights(name, *shape, fan=8)
    for name, shape in {"w2": (1, 3 * hidden, 2 * hidden), "r2": (1, 3 * hidden, hidden)}.items():
        draw.weights(name, *shape, fan=8)
    draw.weights("last", hidden, 3, fan=2)
    draw.known("flat", np.asarray([0, 0, -1]))
    draw.known("gone", np.asarray([0]))
    nodes = [
        node("Transpose", "x", "a", perm=[1, 0, 2]),
        node("LSTM", "a w r b", "b1", hidden_size=hidden, direction="bidirectional"),
        node("Transpose", "b1", "c", perm=[0, 2, 1, 3]),
        node("Reshape", "c flat", "d"),
        node("GRU", "d w2 r2", "- e", hidden_size=hidden, linear_before_reset=0),
        node("Squeeze", "e gone", "f"),
        node("MatMul", "f last", "y"),
    ]
    x = draw.rng.normal(size=(ROWS, 5, width)).astype(np.float32)
    return made(nodes, [value("x", "n", 5, width)], [value("y", "n", 3)], *draw.constants), x


def trees() -> tuple[bytes, np.ndarray]:
    """Two trees of two levels, whose scores become probabilities."""
    rng = np.random.default_rng(4)
    leaves = [(t, k) for t in range(2) for k in (3, 4, 5, 6)]
    tree = node(
        *("TreeEnsembleClassifier", "x", "label scores"),
        domain="ai.onnx.ml",
        nodes_treeids=[0] * 7 + [1] * 7,
        nodes_nodeids=list(range(7)) * 2,
        nodes_featureids=[0, 1, 2, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0],
        nodes_values=[0.1, -0.3, 0.4, 0, 0, 0, 0, 0.0, 0.7, -0.6, 0, 0, 0, 0],
        nodes_modes=(["BRANCH_LEQ"] * 3 + ["LEAF"] * 4) * 2,
        nodes_truenodeids=[1, 3, 5, 0, 0, 0, 0] * 2,
        nodes_falsenodeids=[2, 4, 6, 0, 0, 0, 0] * 2,
        class_treeids=[t for t, _ in leaves for _ in range(3)],
        class_nodeids=[k for _, k in leaves for _ in range(3)],
        class_ids=[0, 1, 2] * len(leaves),
        class_weights=rng.normal(size=3 * len(leaves)).astype(np.float32).tolist(),
        classlabels_int64s=[0, 1, 2],
        post_transform="SOFTMAX",
    )
    outputs = [value("label", "n", code=TensorProto.INT64), value("scores", "n", 3)]
    return made([tree], [value("x", "n", 3)], outputs), rng.normal(size=(ROWS, 3)).astype(np.float32)


def neighbours() -> tuple[bytes, np.ndarray]:
    """The classes of the three nearest of twelve points, counted."""
    draw = Draw(5)
    points = draw.rng.normal(size=(1, 12, 4)).astype(np.float32)
    draw.known("points", points)
    draw.known("classes", draw.rng.integers(0, 2, 12))
    draw.known("few", np.asarray([3]))
    draw.known("middle", np.asarray([1]))
    draw.known("each", np.arange(2).reshape(1, 2, 1))
    nodes = [
        node("Unsqueeze", "x middle", "a"),
        node("Sub", "a points", "b"),
        node("ReduceL2", "b", "c", axes=[2], keepdims=0),
        node("TopK", "c few", "- places", largest=0, axis=1),
        node("Gather", "classes places", "d", axis=0),
        node("Unsqueeze", "d middle", "e"),
        node("Equal", "e each", "f"),
        node("Cast", "f", "g", to=TensorProto.FLOAT),
        node("ReduceMean", "g", "y", axes=[2], keepdims=0),
    ]
    x = draw.rng.normal(size=(ROWS, 4)).astype(np.float32)
    return made(nodes, [value("x", "n", 4)], [value("y", "n", 2)], *draw.constants), x


def densities() -> tuple[bytes, np.ndarray]:
    """Classes by Gaussian densities: squares, logarithms of sums of exponentials."""
    draw = Draw(6)
    draw.known("mean", draw.rng.normal(size=(1, 3, 4)).astype(np.float32))
    draw.known("variance", draw.rng.uniform(0.5, 2, (1, 3, 4)).astype(np.float32))
    draw.known("two", np.asarray(2, np.float32))
    draw.known("minus", np.asarray(-0.5, np.float32))
    draw.known("middle", np.asarray([1]))
    nodes = [
        node("Unsqueeze", "x middle", "a"),
        node("Sub", "a mean", "b"),
        node("Pow", "b two", "c"),
        node("Div", "c variance", "d"),
        node("ReduceSum", "d last", "e", keepdims=0),
        node("Mul", "e minus", "f"),
        node("ReduceLogSumExp", "f", "g", axes=[1], keepdims=1),
        node("Sub", "f g", "h"),
        node("Exp", "h", "y"),
    ]
    draw.known("last", np.asarray([2]))
    x = draw.rng.normal(size=(ROWS, 4)).astype(np.float32)
    return made(nodes, [value("x", "n", 4)], [value("y", "n", 3)], *draw.constants), x


#: Networks, and what the median of their bounds is below.
NETWORKS = {
    "convolutions": (convolutions, 1e-4),
    "attention": (attention, 1e-3),
    "recurrent": (recurrent, 1e-2),
    "trees": (trees, 1e-5),
    "neighbours": (neighbours, 1e-6),
    "densities": (densities, 1e-5),
}


@functools.cache
def loaded(name: str) -> tuple[Network, np.ndarray]:
    model, x = NETWORKS[name][0]()
    return load(model), x


def bounded(net: Network, x: np.ndarray, precision: str = "highest") -> Bounded:
    """Return the output that holds for both forms of a network: the wider of their bounds, around one value."""
    arithmetic = Arithmetic(precision)
    plain, given = net.map(arithmetic.asarray), arithmetic.asarray(x)
    with np.errstate(all="ignore"):
        first, second = (forward(form, given) for form in (plain, simplified(plain, [x.dtype.name])))
        return first.widened(np.maximum(np.abs(second.value - first.value) + second.bound - first.bound, 0))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_library_stays_inside_and_gives_the_labels_that_are_decided(lib: Library, name: str) -> None:
    net, x = loaded(name)
    if lib.backend.name == "dask" and name in ("neighbours", "trees"):
        pytest.skip("Dask has no order, and picks by places alone that are known")
    moved, given, y = net.to(lib.backend), lib.asarray(x, None), bounded(net, x)
    proof = certify(net, x)
    assert np.median(y.bound) < NETWORKS[name][1]
    assert proof.decided.sum() >= 7
    for found in (lib.to_numpy(ab.predict(moved, given)), lib.to_numpy(moved(given))):
        assert np.all(np.abs(found - y.value) <= y.bound)
        np.testing.assert_array_equal(found.argmax(axis=1)[proof.decided], proof.labels[proof.decided])


@pytest.mark.parametrize("name", NETWORKS)
def test_float64_is_the_answer_that_bounds_are_around(name: str) -> None:
    net, x = loaded(name)
    wide = net.to(dtype="float64")
    with np.errstate(under="ignore"):
        true = ab.to_numpy(wide(x.astype(np.float64) if x.dtype.kind == "f" else x))
    y = bounded(net, x)
    assert np.all(np.abs(true - y.value) <= y.bound)
    proof = certify(net, x)
    np.testing.assert_array_equal(true.argmax(axis=1)[proof.decided], proof.labels[proof.decided])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_lower_precisions_stay_inside(precision: str, name: str) -> None:
    net, x = loaded(name)
    bits = PRECISIONS[precision].significant
    assert bits is not None
    y, found = bounded(net, x, precision), simulated(net, x, bits)
    assert np.all((np.abs(found - y.value) <= y.bound) | ~np.isfinite(y.bound))
    full = bounded(net, x)
    multiplies = {c.op.name for c in net.calls} & {"MatMul", "conv", "LSTM"}
    assert bool(multiplies) == bool(np.median(y.bound) > 10 * np.median(full.bound))


def test_parity_judges_labels_by_the_proof() -> None:
    net, x = loaded("attention")
    report = ab.parity(net, x, backends=["numpy"])
    assert report.ok
    assert list(report.undecided) == list(PRECISIONS)
    assert report.undecided["highest"] == certify(net, x).undecided
    assert report.unproven == ""


def without_rule() -> Network:
    nodes = [node("Sin", "x", "a"), node("Softmax", "a", "y")]
    nodes[0].name = "wave"
    return load(made(nodes, [value("x", "n", 3)], [value("y", "n", 3)]))


def test_what_has_no_rule_is_said_with_its_node() -> None:
    net, x = without_rule(), np.ones((2, 3), np.float32)
    with pytest.raises(ab.BackendError, match=r"^Sin 'wave': there is no rule for the error of 'sin'; add one"):
        certify(net, x)
    report = ab.parity(net, x, backends=["numpy"])
    assert report.ok
    assert report.undecided == {}
    assert any("nothing is proven of labels: Sin 'wave': there is no rule" in note for note in report.notes())


def test_a_shape_that_depends_on_rounding_is_said() -> None:
    nodes = [node("Mul", "x x", "a"), node("Floor", "a", "b"), node("NonZero", "b", "c"), node("Cast", "c", "y", to=1)]
    net = load(made(nodes, [value("x", 3, 2)], [value("y", 2, "many")]))
    with pytest.raises(ab.BackendError, match="NonZero: the network asks for values on the host, which rounding may"):
        certify(net, np.asarray([[1, 1], [0.5, 0.5], [3, 3]], np.float32))


def averaged() -> Network:
    """Return a network that takes the mean of all rows away from each."""
    draw = Draw(7)
    draw.weights("w", 4, 3)
    nodes = [node("ReduceMean", "x", "a", axes=[0]), node("Sub", "x a", "b"), node("MatMul", "b w", "y")]
    return load(made(nodes, [value("x", "n", 4)], [value("y", "n", 3)], *draw.constants))


def test_rows_that_depend_on_each_other_are_computed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(8).normal(size=(40, 4)).astype(np.float32)
    for net, apart in ((averaged(), False), (loaded("trees")[0], True)):
        given = x if not apart else x[:, :3]
        whole, seen = certify(net, given), []
        module = importlib.import_module("anyback.bounds.certify")  # a function hides behind that name
        monkeypatch.setattr(module, "_MOST_ROWS", 8)
        monkeypatch.setattr(module, "_compared", counting(seen))
        again = certify(net, given)
        monkeypatch.undo()
        assert set(seen) == ({8} if apart else {40})
        np.testing.assert_array_equal(again.labels, whole.labels)
        np.testing.assert_allclose(again.margins, whole.margins)


def counting(seen: list[int]) -> Any:
    compared = importlib.import_module("anyback.bounds.certify")._compared

    def counted(net: Network, half: float, task: Any, x: Bounded) -> Any:
        seen.append(len(x.value))
        return compared(net, half, task, x)

    return counted


def test_a_whole_tile_of_rows_is_computed_like_any_other_number() -> None:
    # Of so many rows `predict` chooses a way to multiply, for libraries.
    net, x = loaded("convolutions")
    many = np.concatenate([x] * 57)[:512]
    np.testing.assert_array_equal(certify(net, many).bounds[:ROWS], certify(net, x).bounds)
