"""The proof that rows of a network from a file stay apart: it holds where it is given, and is never given in error."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from conftest import libraries
from onnx import TensorProto, helper
from onnx_models import constant, graph, made, node, value

import anyback as ab
from anyback.errors import AnybackError
from anyback.lower import lower
from anyback.network import Network
from anyback.onnx import load
from anyback.plan import Rows

RNG = np.random.default_rng(0)
SAMPLE = (4, 6)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


CONSTANTS = {
    **{name: np.asarray([i], np.int64) for name, i in {"i0": 0, "i1": 1, "i2": 2, "last": -1, "three": -3}.items()},
    **{"zero": np.asarray(0), "one": np.asarray(1), "far": np.asarray([2**62]), "two": np.asarray([2])},
    **{"w": floats(6, 5), "w2": floats(4, 4), "bias": floats(5), "by row": floats(2, 1, 1), "by any": floats(1, 4, 1)},
    **{"s6": floats(6), "table": floats(9, 3), "half": np.asarray(0.5, np.float32)},
    **{"flat": np.asarray([0, -1]), "swapped": np.asarray([6, -1, 4]), "behind": np.asarray([-1, 4, 6])},
    **{
        "joined": np.asarray([-1, 6]),
        "all": np.asarray([-1]),
        "kept": np.asarray([0, 0, 3, 2]),
        "of two": np.asarray([2, -1]),
    },
    **{"more": np.asarray([1, -1, 24]), "places": np.asarray([3, 0]), "wide": np.asarray([2, 1, 1])},
    **{"zeros": np.zeros((1, *SAMPLE), np.int64), "eye": np.eye(4, dtype=np.float32)},
}
#: As exporters write the number of rows.
COUNT = [node("Shape", "x", "shape"), node("Gather", "shape zero", "n"), node("Unsqueeze", "n i0", "rows")]
#: There and back, so that the calls behind are not all ops of rows.
TURNED = [node("Transpose", "x", "there", perm=[2, 0, 1]), node("Transpose", "there", "same", perm=[1, 2, 0])]


def net_of(nodes: list[Any], constants: dict[str, Any] | None = None, inputs: list[Any] | None = None) -> Network:
    """Return a network from x to y; names of constants have dots in place of spaces."""
    known = {name.replace(" ", "."): x for name, x in (CONSTANTS if constants is None else constants).items()}
    used = {name for n in nodes for name in n.input} | {
        name for n in nodes for a in n.attribute for inner in a.g.node for name in inner.input
    }
    held = [constant(name, x) for name, x in known.items() if name in used]
    return load(made(nodes, inputs or [value("x", "n", *SAMPLE)], [helper.make_empty_tensor_value_info("y")], *held))


def verdict(net: Network, sample: tuple[int, ...] = SAMPLE, dtype: str = "float32") -> Rows:
    assert net.rows is Rows.ANY
    backend = net.backend or ab.get_backend()
    with np.errstate(all="ignore"):
        return lower(net, backend, "highest", [dtype], [sample]).rows


def check_apart(net: Network, x: np.ndarray) -> None:
    """Check by computing that a row depends on its own row, and not on how many there are."""
    with np.errstate(all="ignore"):
        whole = np.asarray(net(x), np.float64)
        assert whole.shape[0] == len(x)
        others = x[::-1].copy()
        others[1] = x[1]
        near = {"rtol": 1e-3, "atol": 1e-3, "equal_nan": True}
        np.testing.assert_allclose(np.asarray(net(others), np.float64)[1], whole[1], **near)
        for n in (1, 2, len(x) - 1):
            np.testing.assert_allclose(np.asarray(net(x[:n]), np.float64), whole[:n], **near)
        np.testing.assert_allclose(np.asarray(net(x[3:]), np.float64), whole[3:], **near)


#: The rows stay apart.
APART = {
    "elementwise": [node("Mul", "x x", "a"), node("Sub", "a half", "b"), node("Abs", "b", "y")],
    "broadcast": [node("Add", "x s6", "a"), node("Mul", "by.any a", "y")],
    "a matrix of each row": [node("MatMul", "x w", "a"), node("Add", "a bias", "y")],
    "a matrix from the left": [node("MatMul", "w2 x", "y")],
    "there and back": [node("Transpose", "x", "a", perm=[2, 0, 1]), node("Transpose", "a", "y", perm=[1, 2, 0])],
    "attention": [
        *(node("Transpose", "x", "k", perm=[0, 2, 1]), node("MatMul", "x k", "a"), node("Softmax", "a", "p")),
        node("MatMul", "p x", "y"),
    ],
    "sums within rows": [node("ReduceSum", "x last", "a", keepdims=0), node("ReduceMean", "a", "y", axes=[1])],
    "the largest": [node("ReduceMax", "x", "y", axes=[-2], keepdims=0)],
    "flat": [*TURNED, node("Reshape", "same flat", "y")],
    "flat by number": [*TURNED, *COUNT, node("Concat", "rows last", "t", axis=0), node("Reshape", "same t", "y")],
    "number and parts": [*TURNED, *COUNT, node("Concat", "rows last two", "t", axis=0), node("Reshape", "same t", "y")],
    "sizes kept": [node("Neg", "x", "a"), node("Reshape", "a kept", "y")],
    "what is left is the rows": [*TURNED, node("Reshape", "same behind", "y")],
    "rows behind an axis of one": [node("Reshape", "x more", "a"), node("Squeeze", "a i0", "y")],
    "squeezed": [node("Unsqueeze", "x i1", "a"), node("Squeeze", "a three", "b"), node("Neg", "b", "y")],
    "parts": [node("Split", "x", "a b c", axis=2), node("Concat", "c a b", "y", axis=-1)],
    "cut": [node("Slice", "x i1 far i1", "y")],
    "picked": [node("Gather", "x places", "y", axis=1)],
    "one picked": [node("Gather", "x zero", "y", axis=2)],
    "normalized": [*TURNED, node("LayerNormalization", "same s6", "y", axis=-1)],
    "expanded": [
        *COUNT,
        node("Concat", "rows wide", "t", axis=0),
        node("Unsqueeze", "x i2", "a"),
        node("Add", "a a", "y"),
    ],
    "a token for each row": [
        *COUNT,
        node("Concat", "rows i1 i1", "t", axis=0),
        node("Expand", "by.any t", "token"),
        node("Mul", "x token", "y"),
    ],
    "a triangle": [node("Slice", "x i0 places i1", "c"), node("Trilu", "x", "a", upper=0), node("Neg", "a", "y")],
    "where": [node("Less", "x s6", "c"), node("Where", "c x half", "y")],
    "ones": [
        *COUNT,
        node("Concat", "rows i1", "t", axis=0),
        node("ConstantOfShape", "t", "z"),
        node("Unsqueeze", "z i1", "a"),
        node("Add", "x a", "y"),
    ],
}
#: They do not, or not surely.
TOGETHER = {
    "a mean of all rows": [node("ReduceMean", "x", "m", axes=[0]), node("Sub", "x m", "y")],
    "a mean from behind": [node("ReduceMean", "x", "m", axes=[-3]), node("Sub", "x m", "y")],
    "a sum of all": [node("ReduceSum", "x", "m"), node("Sub", "x m", "y")],
    "a sum along all axes": [node("ReduceSum", "x -", "m", keepdims=1), node("Sub", "x m", "y")],
    "the largest of all": [node("ReduceMax", "x", "m", axes=[1, 0]), node("Sub", "x m", "y")],
    "a softmax over rows": [node("Softmax", "x", "y", axis=0)],
    "a softmax from behind": [node("Softmax", "x", "y", axis=-3)],
    "normalized over rows": [node("LayerNormalization", "x half", "y", axis=0)],
    "a shape that mixes": [node("Reshape", "x swapped", "a"), node("ReduceSum", "a last", "y", keepdims=0)],
    "rows and another axis": [node("Reshape", "x joined", "y")],
    "all in a row": [node("Reshape", "x all", "a"), node("Unsqueeze", "a i1", "y")],
    "two rows, whatever comes": [node("Reshape", "x of.two", "y")],
    "turned": [node("Transpose", "x", "a", perm=[1, 0, 2]), node("Reshape", "a behind", "y")],
    "turned and flat": [node("Transpose", "x", "a", perm=[1, 0, 2]), node("Flatten", "a", "y")],
    "left turned": [node("Transpose", "x", "y", perm=[1, 0, 2])],
    "rows times rows": [node("Reshape", "x flat", "a"), node("Transpose", "a", "b"), node("MatMul", "a b", "y")],
    "rows of the right matrix": [
        *(node("Transpose", "x", "a", perm=[1, 0, 2]), node("Transpose", "x", "b", perm=[1, 2, 0])),
        *(node("MatMul", "a b", "c"), node("Transpose", "c", "y", perm=[1, 0, 2])),
    ],
    "picked rows": [node("Gather", "x i0", "a"), node("Add", "x a", "y")],
    "rows in another order": [node("Slice", "x last three i0 last", "y")],
    "some of the rows": [node("Slice", "x i0 i1 i0", "a"), node("Add", "x a", "y")],
    "rows beside rows": [node("Concat", "x x", "y", axis=0)],
    "rows beside rows, from behind": [node("Concat", "x x", "y", axis=-3)],
    "split rows": [node("Split", "x", "a b", axis=0), node("Add", "a b", "y")],
    "numbers for two rows": [node("Add", "x by.row", "y")],
    "a broadcast over rows": [
        node("Unsqueeze", "x i0", "a"),
        node("Unsqueeze", "x i1", "b"),
        node("Add", "a b", "c"),
        node("ReduceSum", "c i0", "y", keepdims=0),
    ],
    "multiplied by their number": [*COUNT, node("Cast", "rows", "f", to=TensorProto.FLOAT), node("Mul", "x f", "y")],
    "divided by their number": [
        *COUNT,
        node("Div", "i2 rows", "q"),
        node("Cast", "q", "f", to=TensorProto.FLOAT),
        node("Mul", "x f", "y"),
    ],
    "cut by their number": [*COUNT, node("Slice", "x i0 rows i1", "a"), node("ReduceSum", "a last", "y")],
    "numbered": [
        *COUNT,
        node("Range", "zero n one", "r"),
        node("Cast", "r", "f", to=TensorProto.FLOAT),
        node("Reshape", "f wide.rows", "a"),
        node("Add", "x a", "y"),
    ],
    "squeezed where there is one": [node("Squeeze", "x", "a"), node("Add", "a half", "y")],
    "no rows at all": [*COUNT, node("Concat", "i2 rows", "t", axis=0), node("Expand", "half t", "y")],
    "a sum that goes on": [node("CumSum", "x zero", "y")],
    "picked by values": [
        node("ArgMax", "x", "i", axis=0, keepdims=0),
        node("Cast", "i", "f", to=TensorProto.FLOAT),
        node("Add", "x f", "y"),
    ],
    "an einsum": [node("Einsum", "x x", "y", equation="nij,mij->nm")],
    "picked with places": [node("GatherElements", "x zeros", "a"), node("Add", "x a", "y")],
    **{
        f"{name} of their number": [
            *COUNT,
            node(name, "n", "m"),
            node("Cast", "m", "f", to=TensorProto.FLOAT),
            node("Mul", "x f", "y"),
        ]
        for name in ("Abs", "Neg", "Sign", "Identity")
    },
    "their number, cut": [*COUNT, node("Clip", "n one", "m"), node("Cast", "m", "f", to=1), node("Mul", "x f", "y")],
}
CONSTANTS["wide.rows"] = np.asarray([-1, 1, 1])


@pytest.mark.parametrize("name", APART)
def test_rows_that_stay_apart_are_proved_to(name: str) -> None:
    net = net_of(APART[name])
    x = floats(6, *SAMPLE)
    assert verdict(net) < Rows.ANY
    check_apart(net, x)
    assert verdict(pickle.loads(pickle.dumps(net))) < Rows.ANY


@pytest.mark.parametrize("name", TOGETHER)
def test_rows_that_may_depend_on_each_other_are_not_proved_to_be_apart(name: str) -> None:
    assert verdict(net_of(TOGETHER[name])) is Rows.ANY


def body(op: str) -> list[Any]:
    """Return a graph in which a body sees all rows."""
    if op == "If":
        branch = graph([node("ReduceMean", "x", "m", axes=[0])], [], [helper.make_empty_tensor_value_info("m")])
        nodes = [node("ReduceMax", "x", "t", keepdims=0), node("Less", "t half", "c")]
        return [
            *nodes,
            helper.make_node("If", ["c"], ["m2"], then_branch=branch, else_branch=branch),
            node("Sub", "x m2", "y"),
        ]
    if op == "Loop":
        inner = graph(
            [node("Identity", "go", "again"), node("Softmax", "v", "w3", axis=0)],
            [value("i", code=TensorProto.INT64), value("go", code=TensorProto.BOOL), value("v", "n", *SAMPLE)],
            [value("again", code=TensorProto.BOOL), value("w3", "n", *SAMPLE)],
        )
        return [helper.make_node("Loop", ["i2", "", "x"], ["y"], body=inner)]
    inner = graph(
        [node("Add", "state row", "next"), node("Identity", "next", "each")],
        [value("state", *SAMPLE), value("row", *SAMPLE)],
        [value("next", *SAMPLE), value("each", *SAMPLE)],
    )
    first = node("ReduceMax", "x", "first", axes=[0], keepdims=0)
    return [first, helper.make_node("Scan", ["first", "x"], ["last2", "y"], body=inner, num_scan_inputs=1)]


@pytest.mark.parametrize("op", ["If", "Loop", "Scan"])
def test_bodies_prove_nothing(op: str) -> None:
    net = net_of(body(op))
    try:
        found = verdict(net)
    except AssertionError:
        assert net.rows is Rows.UNKNOWN
        return
    assert found is Rows.ANY


# -- Graphs that nobody thought of ----------------------------------------------------------------------


def drawn(seed: int) -> Network | None:
    """Return a network of operators drawn at random, with parameters that often mix rows; None where it is no graph."""
    rng = np.random.default_rng(seed)
    nodes, held = list(COUNT), {"zero": np.asarray(0), "i0": np.asarray([0])}
    known: dict[str, np.ndarray] = {"x": np.zeros((3, *SAMPLE), np.float32)}

    def fixed(x: Any) -> str:
        held[f"c{len(held)}"] = np.asarray(x)
        return f"c{len(held) - 1}"

    def added(op: str, given: str, y: np.ndarray, **attributes: Any) -> None:
        name = f"v{len(nodes)}"
        nodes.append(node(op, given, name, **attributes))
        known[name] = y

    for _ in range(int(rng.integers(2, 7))):
        name = list(known)[-1] if rng.random() < 0.8 else str(rng.choice(list(known)))
        x = known[name]
        rank = x.ndim
        if not rank or not x.size:
            break
        axis = int(rng.integers(-rank, rank))
        same = [other for other, y in known.items() if y.shape == x.shape]
        other = str(rng.choice(same))
        choice = rng.integers(13)
        if choice == 0:
            perm = [int(i) for i in rng.permutation(rank)]
            added("Transpose", name, x.transpose(perm), perm=perm)
        elif choice == 1:
            sizes = [int(k) for k in rng.permutation(x.shape)]
            if rank > 1 and rng.random() < 0.6:
                at = int(rng.integers(rank - 1))
                sizes[at : at + 2] = [sizes[at] * sizes[at + 1]]
            y = x.reshape(sizes)
            spot = int(rng.integers(len(sizes)))
            if rng.random() < 0.5:
                sizes[spot] = -1
            if rng.random() < 0.3 and x.shape[:1] == y.shape[:1] and sizes[0] != -1:
                sizes[0] = 0
            if rng.random() < 0.5 and 3 in sizes:
                parts = [fixed([k]) for k in sizes]
                parts[sizes.index(3)] = "rows"
                added("Concat", " ".join(parts), np.asarray(sizes), axis=0)
                target = list(known)[-1]
                known.pop(target)
                added("Reshape", f"{name} {target}", y)
            else:
                added("Reshape", f"{name} {fixed(np.asarray(sizes, np.int64))}", y)
        elif choice == 2:
            keep = int(rng.integers(2))
            op = str(rng.choice(["ReduceSum", "ReduceMax"]))
            axes = {"axes": [axis]} if op == "ReduceMax" else {}
            given = name if axes else f"{name} {fixed(np.asarray([axis]))}"
            added(op, given, x.sum(axis=axis, keepdims=bool(keep)), keepdims=keep, **axes)
        elif choice == 3:
            added("Softmax", name, x, axis=axis)
        elif choice == 4:
            shape = tuple(int(rng.choice([1, k])) for k in x.shape[int(rng.integers(rank + 1)) :])
            added(str(rng.choice(["Add", "Mul"])), f"{name} {fixed(floats(*shape))}", x)
        elif choice == 5:
            added("Sub", f"{name} {other}", x)
        elif choice == 6 and rank > 1:
            added("MatMul", f"{name} {fixed(floats(x.shape[-1], 2))}", np.zeros((*x.shape[:-1], 2), np.float32))
        elif choice == 7 and rank > 1:
            added("Transpose", other, known[other].swapaxes(-1, -2), perm=[*range(rank - 2), rank - 1, rank - 2])
            added("MatMul", f"{name} {list(known)[-1]}", x @ known[other].swapaxes(-1, -2))
        elif choice == 8:
            indices = rng.integers(0, x.shape[axis], [(), (1,), (2,)][int(rng.integers(3))])
            added("Gather", f"{name} {fixed(indices)}", x.take(indices, axis=axis), axis=axis)
        elif choice == 9:
            added("Concat", f"{name} {other}", np.concatenate([x, known[other]], axis), axis=axis)
        elif choice == 10:
            given = [fixed(np.asarray([k])) for k in (0, 1 if rng.random() < 0.5 else 2**40, axis)]
            end = None if held[given[1]][0] > 1 else 1
            added("Slice", f"{name} {' '.join(given)}", x.take(range(x.shape[axis])[:end], axis=axis))
        elif choice == 11:
            added("Unsqueeze", f"{name} {fixed(np.asarray([axis]))}", np.expand_dims(x, axis))
        elif choice == 12 and 1 in x.shape:
            at = x.shape.index(1)
            added("Squeeze", f"{name} {fixed(np.asarray([at]))}", x.squeeze(at))
    last = list(known)[-1]
    nodes.append(node("Identity" if rng.random() < 0.5 else "Neg", last, "y"))
    try:
        return net_of(nodes, held)
    except AnybackError:
        return None


def test_no_graph_drawn_at_random_is_proved_in_error() -> None:
    proved = together = 0
    x = floats(6, *SAMPLE)
    for seed in range(1500):
        net = drawn(seed)
        if net is None or net.rows is not Rows.ANY:
            continue
        try:
            found = verdict(net)
        except Exception:  # of whatever does not take any number of rows
            continue
        together += found is Rows.ANY
        if found < Rows.ANY:
            proved += 1
            try:
                check_apart(net, x)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}") from error
    assert proved > 100
    assert together > 100


# -- What follows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", libraries("numpy", "jax", "torch", "dask", "array_api_strict"))
@pytest.mark.parametrize("case", ["attention", "a matrix of each row", "sums within rows", "a token for each row"])
def test_rows_proved_to_be_apart_have_the_same_bits_in_every_batch(name: str, case: str) -> None:
    net = net_of(APART[case]).to(name)
    x = floats(800, *SAMPLE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = ab.to_numpy(ab.predict(net, x))
        for start, count in ((0, 1), (799, 1), (13, 7), (100, 330), (1, 799)):
            part = ab.to_numpy(ab.predict(net, x[start : start + count]))
            assert part.tobytes() == whole[start : start + count].tobytes()


@pytest.mark.parametrize("name", libraries("numpy", "jax", "torch", "dask", "array_api_strict"))
@pytest.mark.parametrize("wish", [None, True])
@pytest.mark.parametrize("columns", [8, 1])
def test_attention_of_one_query_has_the_same_bits_in_every_batch(name: str, wish: bool | None, columns: int) -> None:
    nodes = [
        *(node("Gather", "x q0", "q", axis=2), node("Transpose", "x", "k", perm=[0, 1, 3, 2])),
        *(node("MatMul", "q k", "s"), node("Softmax", "s", "p", axis=-1)),
        *(node("Gather", "x some", "v", axis=3), node("MatMul", "p v", "y")),
    ]
    constants = {"q0": np.asarray([0]), "some": np.arange(columns)}
    net = net_of(nodes, constants, [value("x", "n", 1, 33, 8)])
    assert "attention" in [call.op.name for call in net.calls]
    assert "attention" in repr(net)
    net, x = net.to(name), floats(90, 1, 33, 8)
    whole = ab.to_numpy(ab.predict(net, x, rowwise=wish))
    for start, count in ((0, 1), (7, 2), (30, 3), (41, 49)):
        part = ab.to_numpy(ab.predict(net, x[start : start + count], rowwise=wish))
        assert part.tobytes() == whole[start : start + count].tobytes()


def test_the_cost_of_attention_is_nothing_where_its_keys_are_not_known() -> None:
    nodes = [
        *(node("Unsqueeze", "x i0", "a"), node("Squeeze", "a i0", "k"), node("Transpose", "k", "t", perm=[0, 1, 3, 2])),
        *(node("MatMul", "x t", "s"), node("Softmax", "s", "p", axis=-1), node("MatMul", "p k", "y")),
    ]
    net = net_of(nodes, {"i0": np.asarray([0])}, [value("x", "n", 2, 5, 4)])
    assert "attention" in repr(net)
    assert "attention" in str(net.summary())


def test_a_single_number_of_all_rows_is_not_overwritten() -> None:
    nodes = [
        *(node("ReduceMean", "x", "m", keepdims=0), node("Mul", "m half", "t"), node("Sigmoid", "t", "s")),
        node("Mul", "x s", "y"),
    ]
    net, x = net_of(nodes), floats(7, *SAMPLE)
    np.testing.assert_array_equal(ab.predict(net, x, rowwise=False), net(x))
