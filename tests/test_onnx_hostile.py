"""Hostile ONNX files: each is one clear error, soon and in little memory, while it is loaded or while it runs."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from anyback.errors import AnybackError, DataError, OperatorError, WeightsError
from anyback.onnx import load

SECONDS, MEMORY = 5, 1 << 30
HUGE = 1 << 40
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Let what is inside take no more than a GiB of memory and five seconds, where the system can see to it."""
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        if sys.platform == "linux":
            import resource

            pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
            before = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
            stack.callback(resource.setrlimit, resource.RLIMIT_AS, before)
        if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
            old = signal.signal(signal.SIGALRM, _too_late)
            signal.setitimer(signal.ITIMER_REAL, 4 * SECONDS)
            stack.callback(signal.signal, signal.SIGALRM, old)
            stack.callback(signal.setitimer, signal.ITIMER_REAL, 0)
        yield
    assert time.perf_counter() - start < SECONDS


def _too_late(*_: Any) -> None:
    raise TimeoutError("it does not end")


def value(name: str, *shape: Any, code: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, code, shape or None)


def constant(name: str, x: Any, dtype: Any = np.int64) -> Any:
    return numpy_helper.from_array(np.asarray(x, dtype), name)


def node(op_type: str, given: str, gives: str, **attributes: Any) -> Any:
    names = [["" if name == "-" else name for name in text.split()] for text in (given, gives)]
    return helper.make_node(op_type, *names, **attributes)


def made(nodes: list[Any], given: list[Any], constants: Any = (), output: str = "y", functions: Any = ()) -> bytes:
    graph = helper.make_graph(nodes, "graph", given, [value(output)], list(constants))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, functions=functions).SerializeToString())


# -- Sizes ------------------------------------------------------------------------------------------------

Case = tuple[list[Any], dict[str, Any]]


def chain(count: int, step: Callable[[str, str], Any]) -> list[Any]:
    """Return nodes, each of which takes what the one before gives; the first takes ``x``, the last gives ``y``."""
    names = ["x", *(f"v{i}" for i in range(count - 1)), "y"]
    return [step(a, b) for a, b in itertools.pairwise(names)]


ONE = np.ones((4, 1), np.float32)
IMAGE = np.ones((1, 1, 2, 2), np.float32)

#: Nodes, and the values that they start from: constants of the file, or inputs.
SIZES: dict[str, Case] = {
    "40 Tile": (chain(40, lambda a, b: node("Tile", f"{a} n", b)), {"x": ONE, "n": np.asarray([1, 2])}),
    "one Tile": ([node("Tile", "x n", "y")], {"x": ONE, "n": np.asarray([HUGE, 1])}),
    "40 Concat": (chain(40, lambda a, b: node("Concat", f"{a} {a}", b, axis=0)), {"x": ONE}),
    "Expand": (
        [node("Expand", "x n", "w"), node("Neg", "w", "y")],
        {"x": np.ones((1, 1), np.float32), "n": np.asarray([1 << 20, 1 << 20])},
    ),
    "Expand of 2**62 in all": ([node("Expand", "x n", "y")], {"x": ONE, "n": np.asarray([1 << 31, 1 << 31, 4, 1])}),
    "ConstantOfShape": ([node("ConstantOfShape", "n", "w"), node("Neg", "w", "y")], {"n": np.asarray([1 << 20] * 2)}),
    "ConstantOfShape below 0": ([node("ConstantOfShape", "n", "y")], {"n": np.asarray([-5, -7])}),
    "Range": ([node("Range", "a n d", "y")], {"a": np.asarray(0), "n": np.asarray(HUGE), "d": np.asarray(1)}),
    "Range of all integers": (
        [node("Range", "a n d", "y")],
        {"a": np.asarray(-(1 << 63)), "n": np.asarray((1 << 63) - 1), "d": np.asarray(1)},
    ),
    "Range to infinity": (
        [node("Range", "a n d", "y")],
        {"a": np.float32(0), "n": np.float32(np.inf), "d": np.float32(1)},
    ),
    "Range by 0": ([node("Range", "a n d", "y")], {"a": np.asarray(0), "n": np.asarray(9), "d": np.asarray(0)}),
    "Pad": ([node("Pad", "x n", "y")], {"x": ONE, "n": np.asarray([0, HUGE, 0, 0])}),
    "Pad with the edge": ([node("Pad", "x n", "y", mode="edge")], {"x": ONE, "n": np.asarray([HUGE, 0, 0, 0])}),
    "Pad there and back": ([node("Pad", "x n", "y")], {"x": ONE, "n": np.asarray([HUGE, 0, -HUGE, 0])}),
    "OneHot": (
        [node("OneHot", "x n v", "y")],
        {"x": np.arange(4), "n": np.asarray(HUGE), "v": np.asarray([0, 1])},
    ),
    "OneHot below 0": (
        [node("OneHot", "x n v", "y")],
        {"x": np.arange(4), "n": np.asarray(-3), "v": np.asarray([0, 1])},
    ),
    "Resize by sizes": ([node("Resize", "x - - n", "y")], {"x": IMAGE, "n": np.asarray([1, 1, 1 << 20, 1 << 20])}),
    "Resize by scales": (
        [node("Resize", "x - n", "y", mode="linear")],
        {"x": IMAGE, "n": np.asarray([1, 1, 1e6, 1e6], np.float32)},
    ),
    "CenterCropPad": ([node("CenterCropPad", "x n", "y")], {"x": ONE, "n": np.asarray([HUGE, 4])}),
    "Reshape to below 0": ([node("Reshape", "x n", "y")], {"x": ONE, "n": np.asarray([-7, -1])}),
    "Unsqueeze far away": ([node("Unsqueeze", "x n", "y")], {"x": ONE, "n": np.asarray([HUGE])}),
    "Split below 0": ([node("Split", "x n", "y z", axis=0)], {"x": ONE, "n": np.asarray([-4, 8])}),
    "Slice by 0": (
        [node("Slice", "x a n - d", "y")],
        {"x": ONE, "a": np.asarray([0]), "n": np.asarray([2]), "d": np.asarray([0])},
    ),
    "TopK of many": ([node("TopK", "x n", "y z", axis=0)], {"x": ONE, "n": np.asarray([HUGE])}),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_huge_size_among_the_constants_is_one_error(name: str) -> None:
    nodes, start = SIZES[name]
    data = made(nodes, [], [constant(key, x, x.dtype) for key, x in start.items()])
    with limits(), pytest.raises(AnybackError) as caught:
        load(data)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 2000
    assert "Error:" not in said, "an error of a library, not one that was foreseen"


@pytest.mark.numpy
@pytest.mark.parametrize("name", SIZES)
def test_a_huge_size_among_the_inputs_is_one_error(name: str) -> None:
    nodes, start = SIZES[name]
    codes = {key: helper.np_dtype_to_tensor_dtype(x.dtype) for key, x in start.items()}
    net = load(made(nodes, [value(key, code=code) for key, code in codes.items()]))
    with limits(), pytest.raises(AnybackError) as caught:
        net(**start)
    assert "\n" not in str(caught.value)


def outer(op_type: str, **attributes: Any) -> Case:
    """Return an operator of two large constants whose result is as large as the product of their sizes."""
    wide = np.zeros((1 << 20, 1), np.float32)
    return [node(op_type, "a b", "y", **attributes)], {"a": wide, "b": wide.reshape(1, -1)}


#: Constants of a size that the file may have, and results that it may not.
LARGE: dict[str, Case] = {
    **{name: outer(name) for name in ("Add", "Mul", "Pow", "Less", "Max", "Sum", "MatMul", "Gemm", "PRelu")},
    "Einsum": outer("Einsum", equation="ij,jk->ik"),
    "Where": (
        [node("Where", "c a b", "y")],
        {"c": np.asarray(True), "a": np.zeros((1 << 20, 1), np.float32), "b": np.zeros((1, 1 << 20), np.float32)},
    ),
    "Gather": (
        [node("Gather", "a i", "y")],
        {"a": np.zeros((2, 1 << 20), np.float32), "i": np.zeros(1 << 20, np.int64)},
    ),
    "GatherND": (
        [node("GatherND", "a i", "y")],
        {"a": np.zeros((2, 1 << 20), np.float32), "i": np.zeros((1 << 20, 1), np.int64)},
    ),
    "many Concat": (
        [node("Concat", " ".join(["a"] * 1000), "y", axis=0)],
        {"a": np.zeros((1 << 20, 1), np.float32)},
    ),
    "Conv with much around it": (
        [node("Conv", "a b", "y", pads=[1 << 20] * 4)],
        {"a": IMAGE, "b": np.ones((1, 1, 1, 1), np.float32)},
    ),
    "MaxPool with much around it": (
        [node("MaxPool", "a", "y", kernel_shape=[1 << 21] * 2, pads=[1 << 20] * 4)],
        {"a": IMAGE},
    ),
    "ConvTranspose by large steps": (
        [node("ConvTranspose", "a b", "y", strides=[1 << 30] * 2)],
        {"a": IMAGE, "b": np.ones((1, 1, 1, 1), np.float32)},
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_constants_do_not_make_one_that_is_huge(name: str) -> None:
    nodes, start = LARGE[name]
    data = made(nodes, [], [constant(key, x, x.dtype) for key, x in start.items()])
    with limits(), pytest.raises(AnybackError) as caught:
        load(data)
    assert "Error:" not in str(caught.value)


def test_texts_do_not_grow_without_end() -> None:
    nodes = chain(40, lambda a, b: node("StringConcat", f"{a} {a}", b))
    graph = helper.make_graph(
        nodes, "graph", [], [value("y", code=TensorProto.STRING)], [helper.make_tensor("x", 8, (1,), [b"0123456789"])]
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()
    with limits(), pytest.raises(AnybackError) as caught:
        load(data)
    assert "Error:" not in str(caught.value)


# -- Graphs ------------------------------------------------------------------------------------------------


def function(name: str, *nodes: Any, given: str = "a", gives: str = "b") -> Any:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, given.split(), gives.split(), list(nodes), opsets)


def own(name: str, given: str, gives: str) -> Any:
    return node(name, given, gives, domain="own")


def calling(count: int, calls: int) -> bytes:
    """Return functions of which each calls the one before so often."""
    functions = [function("f0", node("Neg", "a", "b"))]
    for i in range(1, count):
        names = ["a", *(f"v{k}" for k in range(calls - 1)), "b"]
        functions.append(function(f"f{i}", *(own(f"f{i - 1}", a, b) for a, b in itertools.pairwise(names))))
    return made([own(f"f{count - 1}", "x", "y")], [value("x", "n")], functions=functions)


def circle(count: int) -> bytes:
    functions = [function(f"f{i}", own(f"f{(i + 1) % count}", "a", "b")) for i in range(count)]
    return made([own("f0", "x", "y")], [value("x", "n")], functions=functions)


def branching(depth: int) -> bytes:
    graph = helper.make_graph([node("Neg", "x", "b")], "g", [], [value("b", "n")])
    for i in range(depth):
        inner = node("If", "flag", f"b{i}", then_branch=graph, else_branch=graph)
        graph = helper.make_graph([inner], "g", [], [value(f"b{i}", "n")])
    return made(
        [node("If", "flag", "y", then_branch=graph, else_branch=graph)],
        [value("x", "n"), value("flag", code=TensorProto.BOOL)],
    )


def changed(change: Callable[[Any], Any]) -> bytes:
    model = helper.make_model(
        helper.make_graph(
            [node("Add", "x c", "s"), node("Neg", "s", "y")],
            "g",
            [value("x", 2)],
            [value("y")],
            [constant("c", [1, 2])],
        )
    )
    change(model)
    return bytes(model.SerializeToString())


def none_of_it(**facts: Any) -> Any:
    return helper.make_node("Neg", [facts.get("given", "x")], [facts.get("gives", "y")])


GRAPHS: dict[str, tuple[Callable[[], bytes], str]] = {
    "functions that call each other twice": (lambda: calling(30, 2), "1,000,000 steps"),
    "functions that call each other often": (lambda: calling(7, 20), "1,000,000 steps"),
    "a long row of functions": (lambda: calling(5000, 1), "50 deep"),
    "a circle of functions": (lambda: circle(5), "calls itself"),
    "a function of itself": (lambda: circle(1), "calls itself"),
    "a large circle of functions": (lambda: circle(20000), "50 deep"),
    "deep branches": (lambda: branching(11), "deep in each other"),
    "a name twice": (lambda: made([none_of_it(), none_of_it()], [value("x", 2)]), "defined twice"),
    "an input twice": (lambda: made([none_of_it()], [value("x", 2), value("x", 2)]), "defined twice"),
    "a circle of nodes": (
        lambda: made([node("Neg", "v", "w"), node("Neg", "w", "v"), none_of_it()], [value("x", 2)]),
        "nothing before it defines",
    ),
    "a size below 0": (lambda: changed(lambda m: m.graph.initializer[0].dims.__setitem__(0, -2)), "at least 0"),
    "an endless size": (lambda: changed(lambda m: m.graph.initializer[0].dims.extend([HUGE, HUGE])), "entries, found"),
    "more outputs than there are": (
        lambda: made([node("Neg", "x", "v y")], [value("x", 2)]),
        "gives one output, and is asked for 2",
    ),
    "more outputs than a function has": (
        lambda: made([own("f", "x", "v y")], [value("x", 2)], functions=[function("f", node("Neg", "a", "b"))]),
        "gives 1 outputs, and is asked for 2",
    ),
    "more inputs than a function has": (
        lambda: made([own("f", "x x", "y")], [value("x", 2)], functions=[function("f", node("Neg", "a", "b"))]),
        "at most 1 inputs, found 2",
    ),
    "more inputs than an operator has": (lambda: made([node("Neg", "x x", "y")], [value("x", 2)]), "at most 1 inputs"),
    "no inputs": (lambda: made([node("Identity", "", "y")], [value("x", 2)]), "input input is missing"),
    "a missing attribute": (lambda: made([node("Cast", "x", "y")], [value("x", 2)]), "attribute to is missing"),
    "an If without branches": (
        lambda: made([node("If", "x", "y")], [value("x", 2)]),
        "attribute then_branch is missing",
    ),
    "an attribute of another kind": (
        lambda: made([node("Softmax", "x", "y", axis="last")], [], [constant("x", [1.0, 2.0], np.float32)]),
        "cannot be computed|axis",
    ),
    "shapes that do not fit": (
        lambda: made([node("Add", "a b", "y")], [], [constant("a", [1, 2]), constant("b", [1, 2, 3])]),
        "shapes that do not fit together",
    ),
    "shapes that a library refuses": (
        lambda: made([node("Concat", "a b", "y", axis=0)], [], [constant("a", [1]), constant("b", [[1]])]),
        "cannot be computed of what it is given",
    ),
    "a line break in a name": (lambda: made([node("A\nd", "x", "y")], [value("x", 2)]), r"ai.onnx.'A\\nd'"),
    "many unknown operators": (
        lambda: made([node(f"Odd{i}", "x", f"v{i}") for i in range(5000)] + [none_of_it()], [value("x", 2)]),
        "and 4960 others",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_hostile_graph_is_one_error(name: str) -> None:
    make, said = GRAPHS[name]
    data = make()
    with limits(), pytest.raises((WeightsError, OperatorError, AnybackError), match=said) as caught:
        load(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.numpy
def test_more_outputs_than_an_operator_gives_are_one_error() -> None:
    net = load(made([node("TopK", "x k", "v w y")], [value("x", 2)], [constant("k", [1])]))
    with pytest.raises(DataError, match="gives 2 outputs, and is asked for 3"):
        net(np.ones(2, np.float32))


def test_many_branches_are_checked_in_little_time() -> None:
    branch = [helper.make_graph([node("Neg", "x", f"b{i}")], "g", [], [value(f"b{i}")]) for i in range(5000)]
    nodes = [node("If", "flag", f"v{i}", then_branch=b, else_branch=b) for i, b in enumerate(branch)]
    data = made([*nodes, none_of_it()], [value("x", 2), value("flag", code=TensorProto.BOOL)])
    with limits():
        net = load(data)
    assert [call.op.name for call in net.calls if call.op.name != "received"] == ["Neg"]


@pytest.mark.numpy
def test_a_name_of_a_branch_may_be_that_of_a_constant_around_it() -> None:
    branch = helper.make_graph([node("Add", "x c", "b")], "g", [], [value("b")], [constant("c", [5], np.float32)])
    flag = constant("flag", True, np.bool_)
    nodes = [node("If", "flag", "v", then_branch=branch, else_branch=branch), node("Add", "v c", "y")]
    net = load(made(nodes, [value("x", "n")], [flag, constant("c", [100], np.float32)]))
    assert net(np.asarray([1, 2], np.float32)).tolist() == [106, 107]
