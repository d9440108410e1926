"""Calls of an ONNX file that are joined, and sizes that are known when it is loaded."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Library, libraries
from onnx import TensorProto, helper
from onnx_models import constant, graph, made, node, value

import anyback as ab
from anyback.bounds import Arithmetic
from anyback.bounds._ops import bounded
from anyback.errors import ShapeError
from anyback.network import Builder, Network
from anyback.onnx import _joined, load
from anyback.ops import OPS

LIBRARIES = libraries("numpy", "jax", "torch", "dask", "array_api_strict")
TOKENS, LENGTH, WIDTH, HEADS = 20, 12, 32, 2
SIZE = WIDTH // HEADS

erf = np.vectorize(math.erf, otypes=[np.float64])


def names(net: Any) -> list[str]:
    return [call.name or call.op.name for call in net.calls]


class Drawn:
    """Nodes, and constants that are drawn for them."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}

    def weights(self, name: str, *shape: int) -> str:
        x = self.rng.standard_normal(shape) / np.sqrt(shape[0])
        return self.known(name, x.astype(np.float32))

    def known(self, name: str, x: Any) -> str:
        self.arrays[name] = np.asarray(x)
        return name

    def add(self, op_type: str, given: str, gives: str, **attributes: Any) -> str:
        self.nodes.append(node(op_type, given, gives, **attributes))
        return gives

    def written(self, text: str) -> None:
        """Add nodes that are written as ``Concat[axis=0] a b > c; Relu c > y``."""
        for line in text.split("; "):
            left, gives = line.split(" > ")
            head, given = left.split(" ", 1)
            name, _, attribute = head.removesuffix("]").partition("[")
            key, _, number = attribute.partition("=")
            self.add(name, given, gives, **({key: ast.literal_eval(number)} if key else {}))

    def file(self, inputs: list[Any], outputs: list[Any]) -> bytes:
        return made(self.nodes, inputs, outputs, *[constant(name, x) for name, x in self.arrays.items()])


# -- A transformer ----------------------------------------------------------------------------------------


def transformer(causal: bool = True, *outputs: str) -> tuple[bytes, dict[str, np.ndarray]]:
    """Return a file as PyTorch exports it, with shapes computed from shapes, and its arrays."""
    w = Drawn()
    w.add("Gather", f"{w.weights('words', TOKENS, WIDTH)} x", "e0")
    w.add("Add", f"e0 {w.weights('places', LENGTH, WIDTH)}", "e")
    for name, i in {"i0": 0, "i1": 1, "i2": 2}.items():
        w.add("Shape", "e", f"s{i}")
        w.add("Gather", f"s{i} {w.known(name, i)}", f"d{i}", axis=0)
        w.add("Unsqueeze", f"d{i} {w.known('front', [0])}", f"u{i}")
    w.add("Div", f"d2 {w.known('heads', HEADS)}", "size")
    w.add("Unsqueeze", "size front", "usize")
    w.known("three", [3])
    w.add("Concat", f"u0 u1 three {w.known('uheads', [HEADS])} usize", "split_shape", axis=0)
    w.add("LayerNormalization", f"e {w.weights('g', WIDTH)} {w.weights('h', WIDTH)}", "n", axis=-1)
    w.add("MatMul", f"n {w.weights('wp', WIDTH, 3 * WIDTH)}", "p0")
    w.add("Add", f"{w.weights('bp', 3 * WIDTH)} p0", "p")
    w.add("Reshape", "p split_shape", "r")
    w.add("Transpose", "r", "t", perm=[2, 0, 3, 1, 4])
    w.add("Split", f"t {w.known('ones', [1, 1, 1])}", "a b c", axis=0)
    for part, name in zip("abc", ("q", "k", "v"), strict=True):
        w.add("Squeeze", f"{part} front", name)
    w.add("Transpose", "k", "kt", perm=[0, 1, 3, 2])
    root = w.known("root", np.float32(SIZE**-0.25))
    w.add("Mul", f"q {root}", "qs")
    w.add("Mul", f"kt {root}", "ks")
    w.add("MatMul", "qs ks", "m0")
    if causal:
        mask = np.where(np.tri(LENGTH, dtype=bool), 0, -np.inf).astype(np.float32)
        w.add("Add", f"m0 {w.known('mask', mask)}", "m")
    w.add("Softmax", "m" if causal else "m0", "f", axis=-1)
    w.add("MatMul", "f v", "o")
    w.add("Transpose", "o", "o1", perm=[0, 2, 1, 3])
    w.add("Concat", "u0 u1 u2", "whole", axis=0)
    w.add("Reshape", "o1 whole", "o2")
    w.add("MatMul", f"o2 {w.weights('wo', WIDTH, WIDTH)}", "o3")
    w.add("Add", f"o3 {w.weights('bo', WIDTH)}", "o4")
    w.add("Add", "e o4", "j")
    w.add("MatMul", f"j {w.weights('wl', WIDTH, TOKENS)}", "l0")
    w.add("Add", f"l0 {w.weights('bl', TOKENS)}", "l")
    w.add("Div", f"l {w.known('r2', np.float32(math.sqrt(2)))}", "z")
    w.add("Erf", "z", "z1")
    w.add("Add", f"z1 {w.known('one', np.float32(1))}", "z2")
    w.add("Mul", "l z2", "z3")
    w.add("Mul", f"z3 {w.known('half', np.float32(0.5))}", "y")
    given = [value("x", "n", LENGTH, code=TensorProto.INT64)]
    shown = [value("y", "n", LENGTH, TOKENS), *(helper.make_empty_tensor_value_info(name) for name in outputs)]
    return w.file(given, shown), w.arrays


def computed(x: np.ndarray, arrays: dict[str, np.ndarray], causal: bool = True) -> np.ndarray:
    """Return the answer of `transformer` in float64."""
    a = {name: array.astype(np.float64) for name, array in arrays.items() if array.dtype == np.float32}
    e = a["words"][x] + a["places"]
    d = e - e.mean(-1, keepdims=True)
    n = d / np.sqrt((d**2).mean(-1, keepdims=True) + 1e-5) * a["g"] + a["h"]
    q, k, v = np.split(n @ a["wp"] + a["bp"], 3, axis=-1)
    y = np.empty(e.shape)
    for h in range(HEADS):
        own = slice(h * SIZE, (h + 1) * SIZE)
        scores = q[..., own] @ k[..., own].swapaxes(-1, -2) / math.sqrt(SIZE)
        scores = np.where(np.tri(LENGTH, dtype=bool), scores, -np.inf) if causal else scores
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        y[..., own] = powers / powers.sum(-1, keepdims=True) @ v[..., own]
    z = (e + y @ a["wo"] + a["bo"]) @ a["wl"] + a["bl"]
    return z * (1 + erf(z / math.sqrt(2))) / 2


JOINED = ["Gather", "Add", "layer_norm", "dense", "reshape"] + 3 * ["pick", "permute"]
JOINED += ["attention", "permute", "reshape", "dense", "Add", "dense", "gelu_by_erf"]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_transformer_is_few_calls_with_the_same_bits_in_every_batch(name: str, causal: bool) -> None:
    file, arrays = transformer(causal)
    net = load(file).to(name)
    assert names(net) == JOINED
    x = np.random.default_rng(0).integers(TOKENS, size=(37, LENGTH))
    truth = computed(x, arrays, causal)
    whole = ab.to_numpy(ab.predict(net, x))  # a warning of rows that depend on each other would be an error
    np.testing.assert_allclose(whole, truth, atol=2e-6 * np.abs(truth).max())
    np.testing.assert_allclose(ab.to_numpy(net(ab.asarray(x[:3], backend=name))), truth[:3], atol=4e-6)
    for rows in (slice(0, 1), slice(5, 22), slice(36, 37)):
        assert ab.to_numpy(ab.predict(net, x[rows])).tobytes() == whole[rows].tobytes()


@pytest.mark.parametrize("shown", ["p0", "q", "kt", "m0", "m", "f", "o3", "z1", "z2", "z3"])
def test_what_is_an_output_is_computed_and_changes_nothing(shown: str) -> None:
    file, arrays = transformer(True, shown)
    net = load(file, ["y", shown])
    assert set(JOINED) - {"gelu_by_erf", "attention"} <= set(names(net))
    x = np.random.default_rng(0).integers(TOKENS, size=(5, LENGTH))
    both = net(x)
    np.testing.assert_allclose(both["y"], computed(x, arrays), atol=4e-6)
    alone = load(file, [shown])(x)
    np.testing.assert_allclose(both[shown], alone, atol=4e-6)


def test_a_transformer_in_float64_is_exact() -> None:
    file, arrays = transformer()
    x = np.random.default_rng(0).integers(TOKENS, size=(5, LENGTH))
    np.testing.assert_allclose(load(file).to(dtype="float64")(x), computed(x, arrays), rtol=1e-7, atol=1e-7)


# -- One rule each ----------------------------------------------------------------------------------------

GELUS: dict[str, str] = {
    "half last": "Div x root > a; Erf a > b; Add b one > c; Mul x c > d; Mul d half > y",
    "half first": "Mul half x > h; Div x root > a; Erf a > b; Add one b > c; Mul h c > y",
    "half inside": "Mul x inverse > a; Erf a > b; Add b one > c; Mul c half > d; Mul d x > y",
}
NO_GELUS: dict[str, str] = {
    "of another number": "Neg x > z; Div x root > a; Erf a > b; Add b one > c; Mul z c > d; Mul d half > y",
    "with another root": "Div x one > a; Erf a > b; Add b one > c; Mul x c > d; Mul d half > y",
    "with the root divided": "Div root x > a; Erf a > b; Add b one > c; Mul x c > d; Mul d half > y",
    "without a half": "Div x root > a; Erf a > b; Add b one > c; Mul x c > y",
    "with a wide half": "Div x root > a; Erf a > b; Add b one > c; Mul x c > d; Mul d wide > y",
    "of a sum with itself": "Div x root > a; Erf a > b; Add b b > c; Mul x c > d; Mul d half > y",
}


def gelu(steps: str, dtype: Any = np.float32, root: float = math.sqrt(2)) -> bytes:
    w = Drawn()
    numbers = {"root": root, "inverse": math.sqrt(0.5), "one": 1, "half": 0.5}
    for name, number in numbers.items():
        w.known(name, dtype(number))
    w.known("wide", np.full((1, 1, 1), 0.5, dtype))
    w.written(steps)
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return w.file([value("x", "n", 5, code=code)], [helper.make_empty_tensor_value_info("y")])


@pytest.mark.parametrize("name", GELUS)
def test_a_gelu_is_one_call_however_it_is_written(name: str) -> None:
    net = load(gelu(GELUS[name]))
    assert names(net)[1:] == ["gelu_by_erf"]
    x = np.linspace(-5, 5, 40, dtype=np.float32).reshape(8, 5)
    np.testing.assert_allclose(net(x), x * (1 + erf(x / math.sqrt(2))) / 2, rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("name", NO_GELUS)
def test_what_is_almost_a_gelu_is_none(name: str) -> None:
    file = gelu(NO_GELUS[name])
    net, x = load(file), np.linspace(0.1, 5, 40, dtype=np.float32).reshape(8, 5)
    assert "gelu_by_erf" not in names(net)
    onnxruntime = pytest.importorskip("onnxruntime")
    (wanted,) = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    np.testing.assert_allclose(net(x), wanted, rtol=2e-6)


def test_the_root_of_a_gelu_is_as_exact_as_its_type() -> None:
    steps = GELUS["half last"]
    for dtype in (np.float16, np.float32, np.float64):
        assert "gelu_by_erf" in names(load(gelu(steps, dtype)))
    assert "gelu_by_erf" not in names(load(gelu(steps, np.float64, root=float(np.float32(math.sqrt(2))))))


BIASES: dict[str, tuple[tuple[int, ...], bool]] = {
    "one axis": ((4,), True),
    "two axes": ((1, 4), True),
    "as many axes": ((1, 1, 4), True),
    "more axes": ((1, 1, 1, 4), False),
    "for each place": ((3, 4), False),
    "one number": ((), False),
    "one number of one axis": ((1,), False),
}


@pytest.mark.parametrize("name", BIASES)
def test_a_bias_goes_into_the_product_where_it_is_one(name: str) -> None:
    shape, joins = BIASES[name]
    w = Drawn()
    w.add("MatMul", f"x {w.weights('w', 5, 4)}", "a")
    w.add("Add", f"a {w.weights('b', *shape) if shape else w.known('b', np.float32(0.25))}", "y")
    net = load(w.file([value("x", "n", 3, 5)], [helper.make_empty_tensor_value_info("y")]))
    assert names(net)[1:] == (["dense"] if joins else ["dense", "Add"])
    x = w.rng.standard_normal((7, 3, 5)).astype(np.float32)
    wanted = x @ w.arrays["w"] + w.arrays["b"]
    assert net(x).shape == wanted.shape
    np.testing.assert_allclose(net(x), wanted, rtol=1e-5, atol=1e-6)


def test_a_bias_of_two_products_is_held_once_and_one_of_a_shared_product_stays() -> None:
    w = Drawn()
    w.add("MatMul", f"x {w.weights('w', 5, 4)}", "a")
    w.add("Add", f"a {w.weights('b', 4)}", "c")
    w.add("MatMul", f"x {w.weights('w2', 5, 4)}", "d")
    w.add("Add", "b d", "e")
    w.add("MatMul", f"x {w.weights('w3', 5, 4)}", "f")
    w.add("Add", "f b", "g")
    w.add("Mul", "g f", "h")
    w.add("Sum", "c e h", "y")
    net = load(w.file([value("x", "n", 3, 5)], [value("y", "n", 3, 4)]))
    assert names(net)[1:] == ["dense", "dense", "dense", "Add", "Mul", "Sum"]
    assert len(net.arrays) == 4
    x, a = w.rng.standard_normal((7, 3, 5)), w.arrays
    wanted = x @ a["w"] + a["b"] + x @ a["w2"] + a["b"] + (x @ a["w3"] + a["b"]) * (x @ a["w3"])
    np.testing.assert_allclose(net(x.astype(np.float32)), wanted, rtol=1e-5, atol=1e-5)


MASKS = {
    "that hides nothing": (np.zeros((4, 4)), True),
    "of one row": (np.asarray([0.0, -np.inf, 1.0, 2.0]), True),
    "that hides all keys of a query": (np.where(np.eye(4), -np.inf, -np.inf), False),
    "that is infinite": (np.where(np.eye(4), np.inf, 0), False),
    "of more axes": (np.zeros((1, 1, 1, 4, 4)), False),
}


@pytest.mark.parametrize("name", MASKS)
def test_attention_is_joined_where_each_query_has_a_key(name: str) -> None:
    mask, joins = MASKS[name]
    w = Drawn()
    w.add("Transpose", "x", "k", perm=[0, 2, 3, 1])  # (n, keys, heads, size) as some exporters turn it at once
    w.add("Transpose", "x", "q", perm=[0, 2, 1, 3])
    w.add("MatMul", "q k", "a")
    w.add("Div", f"a {w.known('r', np.asarray([2.0], np.float32))}", "b")
    w.add("Add", f"{w.known('mask', mask.astype(np.float32))} b", "c")
    w.add("Softmax", "c", "d", axis=-1)
    w.add("MatMul", "d q", "y")
    net = load(w.file([value("x", "n", 4, 2, 3)], [helper.make_empty_tensor_value_info("y")]))
    assert ("attention" in names(net)) == joins
    if not joins:
        return
    x = w.rng.standard_normal((5, 4, 2, 3)).astype(np.float32)
    q = np.moveaxis(x.astype(np.float64), 2, 1)
    e = np.exp(q @ np.swapaxes(q, -1, -2) / 2 + mask)
    np.testing.assert_allclose(net(x), e / e.sum(-1, keepdims=True) @ q, rtol=1e-5, atol=1e-6)


#: Nodes that make queries and keys of `x` of shape (n, 2, 6, 5), and a mask.
ODD_ATTENTIONS: dict[str, tuple[str, tuple[int, ...]]] = {
    "keys of one head": ("Identity x > q; Split[axis=1] x ones > k rest", ()),
    "learned queries": ("Identity learned > q; Identity x > k", ()),
    "a mask of more heads": ("Split[axis=1] x ones > q rest; Identity q > k", (4, 6, 6)),
    "a mask of more queries": ("Split[axis=2] x ends > q rest; Identity x > k", (3, 6)),
}


@pytest.mark.parametrize("name", ODD_ATTENTIONS)
def test_attention_that_broadcasts_otherwise_than_the_op_stays_as_it_is(name: str) -> None:
    nodes, shape = ODD_ATTENTIONS[name]
    w = Drawn()
    w.known("ones", [1, 1]), w.known("ends", [1, 5]), w.weights("learned", 1, 2, 3, 5)
    mask = w.arrays[w.weights("mask", *shape)] if shape else 0
    w.written(f"{nodes}; Transpose[perm=(0,1,3,2)] k > t; MatMul q t > a")
    w.written("Add a mask > b; Softmax[axis=-1] b > c; MatMul c k > y" if shape else "Softmax a > c; MatMul c k > y")
    net = load(w.file([value("x", "n", 2, 6, 5)], [helper.make_empty_tensor_value_info("y")]))
    assert "attention" not in names(net)
    x = w.rng.standard_normal((4, 2, 6, 5)).astype(np.float32)
    k = x[:, :1] if "Split[axis=1]" in nodes else x
    q = w.arrays["learned"] if "learned" in nodes else x[:, :, :1] if "ends" in nodes else k if shape[:1] == (4,) else x
    e = np.exp(q @ np.swapaxes(k, -1, -2) + mask)
    np.testing.assert_allclose(net(x), e / e.sum(-1, keepdims=True) @ k, rtol=1e-5, atol=1e-6)


def test_the_mask_of_attention_enlarges_no_scores() -> None:
    into, q = Builder(0, None), (2, 1, 3, 4)
    for shape in ((2, 3, 3), (3, 1, 1, 3), (4,), (1, 1, 1, 1, 3)):
        with pytest.raises(ShapeError, match="mask"):
            into.call(OPS["attention"], *map(into.input, (q, q, q, shape)), scale=1.0)


def test_a_sum_of_an_old_version_is_along_the_axis_that_it_names() -> None:
    w = Drawn()
    w.add("MatMul", f"x {w.weights('w', 5, 4)}", "a")
    w.add("Add", f"a {w.weights('b', 4)}", "y", axis=1, broadcast=1)
    x = w.rng.standard_normal((2, 4, 5)).astype(np.float32)
    wanted = x @ w.arrays["w"] + w.arrays["b"][:, None]
    constants = [constant(name, array) for name, array in w.arrays.items()]
    inputs = [value("x", "n", 4, 5), *(value(c.name, *c.dims) for c in constants)]  # which old files name so
    whole = graph(w.nodes, inputs, [helper.make_empty_tensor_value_info("y")], *constants)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 6)])
    np.testing.assert_allclose(load(bytes(model.SerializeToString()))(x), wanted, rtol=1e-5, atol=1e-6)


def test_an_axis_that_is_turned_alone_is_split() -> None:
    w = Drawn()
    w.known("ones", [1, 1, 1]), w.known("front", [0])
    w.written("Transpose[perm=(0,)] x > t; Split t ones > a b c; Squeeze b front > y")
    net = load(w.file([value("x", 3)], [helper.make_empty_tensor_value_info("y")]))
    assert net(np.asarray([4, 5, 6], np.float32)) == 5


@pytest.mark.parametrize("turned", ["", "Transpose[perm=(1,0,2)] x > t; "])
def test_a_split_of_sizes_that_do_not_add_up_is_an_error(turned: str) -> None:
    w = Drawn()
    w.known("ones", [1, 1]), w.known("at", [0 if turned else 1])
    w.written(f"{turned}Split[axis={0 if turned else 1}] {'t' if turned else 'x'} ones > a b; Squeeze a at > y")
    with pytest.raises(ShapeError):
        load(w.file([value("x", "n", 3, 4)], [value("y", "n", 4)]))(np.zeros((2, 3, 4), np.float32))


@pytest.mark.parametrize("order", ["{} half", "half {}", "{} x"])
def test_a_long_chain_of_products_takes_no_long_time(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    only = _joined._Calls.only
    monkeypatch.setattr(_joined._Calls, "only", lambda *given: (asked.append(1), only(*given))[1])
    w = Drawn()
    w.known("half", np.float32(0.5))
    for i in range(100):
        w.add("Mul", order.format(f"v{i}" if i else "x"), f"v{i + 1}")
    load(w.file([value("x", "n", 2)], [value("v100", "n", 2)]))
    assert len(asked) < 1500


# -- Sizes ------------------------------------------------------------------------------------------------

#: Nodes on `x` of shape (n, 4, 6) -> the answer.
SIZES: dict[str, tuple[str, Callable[[np.ndarray], Any]]] = {
    "twice the rows": (
        "Shape x > s; Gather s zero > n; Mul n two > m; Cast[to=1] m > y",
        lambda x: np.float32(2 * len(x)),
    ),
    "more rows than two": (
        "Shape x > s; Gather s zero > n; Greater n two > y",
        lambda x: len(x) > 2,
    ),
    "rows and places as one axis": (
        "Shape x > s; Gather s zero > n; Gather s one > t; Mul n t > nt; Unsqueeze nt front > u; "
        "Concat[axis=0] u minus > to; Reshape x to > y",
        lambda x: x.reshape(-1, 6),
    ),
    "rows last": (
        "Shape x > s; Gather s zero > n; Unsqueeze n front > u; Concat[axis=0] minus u > to; Reshape x to > y",
        lambda x: x.reshape(-1, len(x)),
    ),
    "rows first": (
        "Shape x > s; Gather s zero > n; Unsqueeze n front > u; Concat[axis=0] u minus > to; Reshape x to > y",
        lambda x: x.reshape(len(x), -1),
    ),
    "zeros for each row": (
        "Shape x > s; Slice s front ends > n; ConstantOfShape n > y",
        lambda x: np.zeros(len(x), np.float32),
    ),
    "a mean over places": (
        "Shape x > s; Gather s one > t; Cast[to=1] t > c; Div x c > y",
        lambda x: x / np.float32(4),
    ),
    "rows in a narrow type": (
        "Shape x > s; Gather s zero > n; Cast[to=5] n > c; Cast[to=1] c > y",
        lambda x: np.float32(len(x)),
    ),
    "rows and places in another type": (
        "Reshape x flat > r; Shape r > s; Gather s zero > n; Cast[to=6] n > c; Cast[to=1] c > y",
        lambda x: np.float32(4 * len(x)),
    ),
    "more than an integer holds": (
        "Reshape x flat > r; Transpose[perm=(1,0)] r > t; MatMul r t > p; Reshape p minus > q; Shape q > y",
        lambda x: np.asarray([16 * len(x) ** 2]),
    ),
    "a table cut to the rows": (
        "Shape x > s; Slice s front ends > n; Slice table front n > y",
        lambda x: np.arange(7, 7 + len(x)),
    ),
    "a number of a table": (
        "Shape x > s; Gather s zero > n; Gather table n > y",
        lambda x: np.asarray(7 + len(x)),
    ),
    "the shape itself": (
        "Shape x > y",
        lambda x: np.asarray(x.shape),
    ),
    "a part of the shape": (
        "Shape[start=1] x > y",
        lambda x: np.asarray(x.shape[1:]),
    ),
    "the shape of what is turned": (
        "Transpose[perm=(1,0,2)] x > t; Shape t > s; Gather s front > y",
        lambda x: np.asarray([4]),
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_right_for_every_number_of_rows(name: str) -> None:
    nodes, answer = SIZES[name]
    w = Drawn()
    w.known("zero", 0), w.known("one", 1), w.known("two", 2)
    w.known("front", [0]), w.known("ends", [1]), w.known("minus", [-1])
    w.known("flat", [-1, 6]), w.known("table", np.arange(7, 37))
    w.written(nodes)
    net = load(w.file([value("x", "n", 4, 6)], [helper.make_empty_tensor_value_info("y")]))
    for n in (1, 2, 4, 24):
        x = w.rng.standard_normal((n, 4, 6)).astype(np.float32)
        found, wanted = net.program([x, *net.arrays])[0], answer(x)
        assert np.shape(found) == np.shape(wanted)
        np.testing.assert_array_equal(found, wanted)


def test_sizes_that_are_cut_to_the_end_are_known() -> None:
    w = Drawn()
    w.known("one", [1]), w.known("end", [2**63 - 1]), w.known("minus", [-1])
    w.written("Shape x > s; Slice s one end > behind; Concat[axis=0] minus behind > t; Reshape x t > y")
    net = load(w.file([value("x", "n", 4, 6)], [helper.make_empty_tensor_value_info("y")]))
    assert "Slice" not in names(net)
    assert net(np.ones((5, 4, 6), np.float32)).shape == (5, 4, 6)


def test_inputs_of_other_numbers_of_rows_stay_apart() -> None:
    w = Drawn()
    w.add("Shape", "b", "s")
    w.add("Gather", f"s {w.known('zero', [0])}", "n")
    w.add("Concat", f"n {w.known('minus', [-1])}", "to", axis=0)
    w.add("Reshape", "a to", "y")
    net = load(w.file([value("a", "n", 6), value("b", "m", 2)], [helper.make_empty_tensor_value_info("y")]))
    a = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    for m in (1, 2, 4, 8):
        found = net(a=a, b=np.zeros((m, 2), np.float32))
        np.testing.assert_array_equal(found, a.reshape(m, -1))


def test_a_part_of_the_rows_is_no_fixed_size() -> None:
    w = Drawn()
    w.known("front", [0]), w.known("quarters", [-1, 8])
    w.written(
        f"Concat[axis=0] {w.weights('more', 1, 2)} x > a; Reshape a quarters > b; Shape b > s; Gather s front > y"
    )
    net = load(w.file([value("x", "n", 2)], [helper.make_empty_tensor_value_info("y")]))
    for n in (3, 7, 27):
        assert net(np.zeros((n, 2), np.float32)).tolist() == [(n + 1) // 4]


#: Nodes on `x` of shape (8, 6) without an axis of rows -> the answer for its arrays.
UNBATCHED: dict[str, tuple[str, Callable[[np.ndarray, Any], Any]]] = {
    "turned and mixed": (
        "Transpose[perm=(1,0)] x > t; MatMul t by > y",
        lambda x, a: x.T @ a["by"],
    ),
    "as an image": (
        "Unsqueeze x front > b; Unsqueeze b front > c; Conv c kernel > y",
        lambda x, a: x * a["kernel"].reshape(1, 3, 1, 1),
    ),
    "a mean over places": (
        "Unsqueeze x front > b; MatMul b w > c; Transpose[perm=(0,2,1)] c > d; GlobalAveragePool d > y",
        lambda x, a: (x @ a["w"]).mean(0)[None, :, None],
    ),
    "one of four places": (
        "Unsqueeze x front > b; MatMul b w > c; Transpose[perm=(0,2,1)] c > d; Conv[strides=(4,)] d line > e; "
        "Shape e > s; Gather s two > y",
        lambda x, a: np.asarray(2),
    ),
}


@pytest.mark.parametrize("name", UNBATCHED)
@pytest.mark.parametrize("size", ["T", 8])
def test_a_file_without_an_axis_of_rows_is_computed_as_it_is(name: str, size: Any) -> None:
    nodes, answer = UNBATCHED[name]
    w = Drawn()
    w.known("front", [0]), w.known("two", 2)
    w.weights("by", 8, 7), w.weights("w", 6, 5), w.weights("kernel", 3, 1, 1, 1), w.weights("line", 4, 5, 1)
    w.written(nodes)
    x = w.rng.standard_normal((8, 6)).astype(np.float32)
    net = load(w.file([value("x", size, 6)], [helper.make_empty_tensor_value_info("y")]))
    wanted = answer(x, w.arrays)
    assert np.shape(net(x)) == wanted.shape
    np.testing.assert_allclose(net(x), wanted, rtol=1e-5, atol=1e-5)


# -- Bounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [6, 80])
def test_attention_is_inside_its_bounds_on_every_library(lib: Library, keys: int) -> None:
    rng = np.random.default_rng(5)
    mask = np.where(rng.random((5, keys)) < 0.3, -np.inf, rng.standard_normal((5, keys)))
    mask[:, 0] = 0
    arrays = [rng.standard_normal(s) * 3 for s in ((4, 2, 5, 8), (4, 2, keys, 8), (4, 2, keys, 7))]
    q, k, v, mask = (np.asarray(a, np.float32) for a in (*arrays, mask))
    found = lib.to_numpy(OPS["attention"](*[lib.asarray(a) for a in (q, k, v, mask)], scale=0.7))
    arithmetic = Arithmetic()
    with np.errstate(all="ignore"):
        y = bounded(OPS["attention"])(*[arithmetic.asarray(a) for a in (q, k, v, mask)], scale=0.7)
    assert np.all(np.abs(found - y.value) <= y.bound)
    assert np.all(y.bound < 1e-3)


def test_gelu_by_erf_is_inside_its_bounds_on_every_library(lib: Library) -> None:
    x = np.linspace(-9, 9, 4001).astype(np.float32)
    found = lib.to_numpy(OPS["gelu_by_erf"](lib.asarray(x)))
    y = bounded(OPS["gelu_by_erf"])(Arithmetic().asarray(x))
    assert np.all(np.abs(found - y.value) <= y.bound)
    assert np.all(y.bound < 1e-5)


def test_the_ops_are_kept_in_a_file_like_any_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    into = Builder()
    w, b = (into.array(rng.standard_normal(shape).astype(np.float32)) for shape in ((4, 24), (24,)))
    parts = into.call(OPS["reshape"], into.call(OPS["dense"], 0, w, b), shape=(5, 3, 2, 4))
    q, k, v = (
        into.call(OPS["permute"], into.call(OPS["pick"], parts, axis=2, index=i), axes=(2, 1, 3)) for i in range(3)
    )
    y = into.call(OPS["gelu_by_erf"], into.call(OPS["attention"], q, k, v, scale=0.5))
    net = Network(*into.fields([y], (((5, 4),),)))
    net.save(tmp_path / "mine.safetensors")
    found, x = ab.load_model(tmp_path / "mine.safetensors"), rng.standard_normal((7, 5, 4)).astype(np.float32)
    assert names(found) == names(net)
    assert found(x).tobytes() == net(x).tobytes()
    assert ab.predict(found, x).tobytes() == ab.predict(net, x).tobytes()
