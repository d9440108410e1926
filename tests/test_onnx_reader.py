"""ONNX files are read as the format's own package reads them, and hostile ones are one clear error."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import anyback as ab
from anyback.errors import AnybackError, WeightsError
from anyback.onnx import load
from anyback.onnx._files import parse_model, read_model

TYPES = [code for code in TensorProto.DataType.values() if 0 < code < 25 and code != TensorProto.STRING]


def model(*nodes: Any, inputs: Any = (), outputs: Any = (), constants: Any = (), **more: Any) -> Any:
    functions = more.pop("functions", ())
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], functions=functions)
    return made


def value(name: str, *shape: Any, code: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, code, shape)


def plain(x: np.ndarray) -> np.ndarray:
    """Return numbers of types that NumPy lacks in the wider one that holds them."""
    if x.dtype.isbuiltin == 1:
        return x
    name = x.dtype.name
    return x.astype(np.uint8 if name.startswith("uint") else np.int8 if name.startswith("int") else np.float32)


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3)], ids=str)
@pytest.mark.parametrize("code", TYPES, ids=TensorProto.DataType.Name)
def test_tensors_are_those_of_the_package(code: int, shape: tuple[int, ...], raw: bool) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(code)
    rng = np.random.default_rng(0)
    x = 5 * rng.standard_normal(shape)
    x = np.asarray(np.abs(x) if "uint" in dtype.name or code in (TensorProto.BOOL, 24) else x).astype(dtype)
    packed = code in (TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1)
    values = x.tobytes() if raw and not packed else x.flatten() if code >= 16 else x.flatten().tolist()
    made = helper.make_tensor("x", code, shape, values, raw=raw and not packed)
    found = parse_model(model(constants=[made]).SerializeToString()).graph.initializers["x"].array()
    wanted = plain(numpy_helper.to_array(made))
    assert found.dtype == wanted.dtype
    assert found.shape == shape
    np.testing.assert_array_equal(found, wanted)


def test_everything_that_a_node_says_is_read() -> None:
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "branch", [], [value("z", 2)])
    node = helper.make_node(
        *("Odd", ["x", "", "c"], ["y"]),
        name="ä node",
        domain="mine",
        whole=-3,
        real=0.5,
        text="näme",
        wholes=list(range(-40, 40)),
        reals=[0.25 * i for i in range(70)],
        texts=["a", ""],
        tensor=helper.make_tensor("", TensorProto.INT64, (2,), [1, -1]),
        branch=branch,
    )
    data = model(node, inputs=[value("x", "n", 2)], outputs=[value("y", None)], constants=[])
    data.graph.initializer.append(helper.make_tensor("c", TensorProto.FLOAT, (1,), [2.0]))
    found = parse_model(data.SerializeToString())
    assert [(v.name, v.dtype, v.shape) for v in found.graph.inputs] == [("x", "float32", ("n", 2))]
    (read,) = found.graph.nodes
    assert (read.op_type, read.domain, read.name) == ("Odd", "mine", "ä node")
    assert (read.inputs, read.outputs) == (("x", "", "c"), ("y",))
    attributes = {a.name: a for a in read.attributes}
    assert (attributes["whole"].value, attributes["real"].value, attributes["text"].value) == (-3, 0.5, "näme")
    assert attributes["wholes"].value.tolist() == list(range(-40, 40))
    assert attributes["reals"].value.tolist() == [0.25 * i for i in range(70)]
    assert attributes["texts"].value == ("a", "")
    assert attributes["tensor"].value.array().tolist() == [1, -1]
    assert attributes["branch"].graph is not None
    assert attributes["branch"].graph.nodes[0].outputs == ("z",)


def renamed(change: Callable[[Any], Any]) -> bytes:
    """Return a small model that was changed."""
    made = model(
        helper.make_node("Add", ["x", "c"], ["s"], name="first"),
        helper.make_node("Relu", ["s"], ["y"]),
        inputs=[value("x", "n", 2)],
        outputs=[value("y", "n", 2)],
        constants=[helper.make_tensor("c", TensorProto.FLOAT, (2,), [1.0, 2.0])],
    )
    change(made)
    return bytes(made.SerializeToString())


def nested(depth: int) -> Any:
    graph = helper.make_graph([helper.make_node("Identity", ["x"], [f"z{depth}"])], "g", [], [value(f"z{depth}", 2)])
    for i in range(depth):
        node = helper.make_node("If", ["x"], [f"y{i}"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "g", [], [value(f"y{i}", 2)])
    return graph.node[0]


def function(name: str, calls: str) -> Any:
    nodes = [helper.make_node(calls, ["a"], ["b"], domain="own")]
    return helper.make_function("own", name, ["a"], ["b"], nodes, [helper.make_opsetid("own", 1)])


UNSOUND: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a name twice": (lambda m: m.graph.node[1].output.__setitem__(0, "s"), "defined twice"),
    "not yet defined": (lambda m: m.graph.node[0].input.__setitem__(0, "y"), "nothing before it defines"),
    "an output of nothing": (lambda m: m.graph.output[0].__setattr__("name", "q"), "defined by nothing"),
    "a constant twice": (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "there twice"),
    "too few numbers": (lambda m: m.graph.initializer[0].dims.__setitem__(0, 3), "takes 3 entries, found 2"),
    "a size below 0": (lambda m: m.graph.initializer[0].dims.__setitem__(0, -2), "at least 0"),
    "a huge size": (lambda m: m.graph.initializer[0].dims.extend([1 << 62, 1 << 62]), "entries, found 2"),
    "an unknown type": (lambda m: m.graph.initializer[0].__setattr__("data_type", 99), "number 99"),
    "no graph": (lambda m: m.ClearField("graph"), "no graph"),
    "an old version": (lambda m: m.opset_import[0].__setattr__("version", -1), "version -1"),
    "deep subgraphs": (lambda m: m.graph.node.append(nested(12)), "deep in each other"),
    "a function of itself": (lambda m: m.functions.extend([function("f", "g"), function("g", "f")]), "calls itself"),
    "a function twice": (lambda m: m.functions.extend([function("f", "h"), function("f", "h")]), "there twice"),
    "not UTF-8": (lambda m: None, "UTF-8"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_model_is_one_error(name: str) -> None:
    change, said = UNSOUND[name]
    data = renamed(change)
    if name == "not UTF-8":
        data = data.replace(b"first", b"\xff\xfe\xffst")
    with pytest.raises(WeightsError, match=said) as caught:
        parse_model(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\x00", "the number 0"),
        (b"\x0b", "not used any more"),
        (b"\x08", "does not end"),
        (b"\x08" + b"\xff" * 10, "does not end"),
        (b"\x3a\x7f", "longer than what it lies in"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "longer than what it lies in"),
        (b"\x3d\x00\x00\x00\x00", "another kind"),
        (b"PK\x03\x04" + bytes(40), "zip archive"),
    ],
)
def test_bytes_that_are_no_messages_are_one_error(data: bytes, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        parse_model(data)


def external(folder: Path, **entries: Any) -> Path:
    made = renamed(lambda m: None)
    changed = onnx.load_from_string(made)
    tensor = changed.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, said in ({"location": "data.bin", "offset": "4", "length": "8"} | entries).items():
        if said is not None:
            tensor.external_data.add(key=key, value=said)
    (folder / "data.bin").write_bytes(np.asarray([7, 1, 2], np.float32).tobytes())
    path = folder / "model.onnx"
    path.write_bytes(changed.SerializeToString())
    return path


def test_tensors_beside_the_file_are_read(tmp_path: Path) -> None:
    assert read_model(external(tmp_path)).graph.initializers["c"].array().tolist() == [1, 2]
    net = ab.load_model(tmp_path / "model.onnx", backend="numpy")
    assert net(np.asarray([[-3.0, 1.0]], np.float32)).tolist() == [[0.0, 3.0]]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"location": "../data.bin"}, "leads out"),
        ({"location": "/etc/passwd"}, "in the folder of the model"),
        ({"location": "C:\\data.bin"}, "in the folder of the model"),
        ({"location": None}, "no location"),
        ({"location": "link.bin"}, "leads out|cannot be read"),
        ({"location": "hard.bin"}, "several names"),
        ({"location": "folder"}, "regular file|cannot be read"),
        ({"location": "none.bin"}, "cannot be read"),
        ({"offset": "12", "length": "8"}, "which has 12"),
        ({"offset": "-4"}, "offset or length"),
        ({"length": "9999999999999999999999"}, "offset or length"),
        ({"surprise": "1"}, "surprise"),
    ],
    ids=str,
)
def test_tensors_elsewhere_are_refused(tmp_path: Path, entries: dict[str, Any], said: str) -> None:
    path = external(tmp_path, **entries)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.bin").symlink_to(tmp_path / "data.bin")
    (tmp_path / "other.bin").write_bytes(bytes(12))
    os.link(tmp_path / "other.bin", tmp_path / "hard.bin")
    with pytest.raises(WeightsError, match=said):
        read_model(path)


def test_a_model_in_memory_has_no_files_beside_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="load it by its path"):
        parse_model(external(tmp_path).read_bytes())


# -- Mutations ----------------------------------------------------------------------------------------

Piece = tuple[int, int, Any]  # number of the field, how it is written, value: an integer, bytes, or pieces


def varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def pieces(data: bytes) -> list[Piece]:
    """Return the fields of a message; those that can be read as messages as such."""
    at, found = 0, []

    def number() -> int:
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7F) << shift
            if byte < 0x80:
                return n
            shift += 7

    while at < len(data):
        tag = number()
        kind = tag & 7
        if kind == 0:
            found.append((tag >> 3, kind, number()))
            continue
        size = number() if kind == 2 else 8 if kind == 1 else 4
        if kind not in (1, 2, 5) or at + size > len(data) or not tag >> 3:
            raise ValueError
        body: Any = data[at : at + size]
        at += size
        if kind == 2 and size > 3:
            with contextlib.suppress(ValueError, IndexError):
                body = pieces(body)
        found.append((tag >> 3, kind, body))
    return found


def written(parts: list[Piece], rng: random.Random, lie: float) -> bytes:
    """Return the bytes of fields; with a chance, a length or a number is another than it should be."""
    out = bytearray()
    for number, kind, body in parts:
        out += varint(number << 3 | kind)
        if kind == 0:
            out += varint(body)
            continue
        data = written(body, rng, lie) if isinstance(body, list) else body
        if kind == 2:
            out += varint(rng.choice([0, 1, len(data) + 1, 1 << 40]) if rng.random() < lie else len(data))
        out += data
    return bytes(out)


def mutated(parts: list[Piece], rng: random.Random) -> list[Piece]:
    """Return fields of which one was changed, at any depth."""
    parts = list(parts)
    if not parts:
        return [(rng.randrange(1, 30), 0, rng.randrange(1 << 10))]
    at = rng.randrange(len(parts))
    number, kind, body = parts[at]
    if isinstance(body, list) and rng.random() < 0.8:
        parts[at] = number, kind, mutated(body, rng)
        return parts
    way = rng.randrange(6)
    if way == 0:
        del parts[at]
    elif way == 1:
        parts.insert(at, parts[rng.randrange(len(parts))])
    elif way == 2:
        parts[at] = rng.randrange(1, 30), kind, body
    elif way == 3 and kind == 0:
        parts[at] = number, kind, rng.choice([0, 1, 2, 99, (1 << 31) - 1, 1 << 40, (1 << 64) - 1])
    elif way == 4 and isinstance(body, bytes) and body:
        spoilt = bytearray(body)
        spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        parts[at] = number, kind, bytes(spoilt)
    else:
        parts.insert(at, (rng.randrange(1, 30), 2, bytes(rng.randrange(256) for _ in range(rng.randrange(12)))))
    return parts


def seeds() -> list[bytes]:
    wide = helper.make_node("Odd", ["x"], ["o"], wholes=list(range(60)), reals=[0.5] * 60, texts=["a", "b"])
    return [
        renamed(lambda m: None),
        renamed(lambda m: m.graph.node.append(wide)),
        renamed(lambda m: m.graph.node.append(nested(2))),
        renamed(lambda m: m.functions.extend([function("f", "g"), function("g", "h")])),
    ]


def test_no_mutation_gives_anything_but_a_model_or_one_error() -> None:
    count = int(os.environ.get("ANYBACK_MUTATIONS", "3000"))
    rng = random.Random(0)
    refused = 0
    for data in seeds():
        parts = pieces(data)
        assert written(parts, rng, 0) == data
        for _ in range(count // 4):
            changed = parts
            for _ in range(rng.randrange(1, 4)):
                changed = mutated(changed, rng)
            spoilt = written(changed, rng, 0.02)
            if rng.random() < 0.1:
                spoilt = spoilt[: rng.randrange(len(spoilt) + 1)]
            said = ""
            try:
                load(spoilt)
            except AnybackError as error:
                said = str(error)
            refused += bool(said)
            assert "\n" not in said
            assert len(said) < 2000
    assert refused > count // 2
