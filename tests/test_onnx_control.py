"""ONNX's loops, branches and sequences, against plain loops, on every library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import libraries
from onnx import TensorProto, helper
from onnx_models import constant, graph, made, node, value

import anyback as ab
from anyback.errors import DataError, OperatorError, WeightsError
from anyback.onnx import load

LIBRARIES = libraries("numpy", "jax", "torch", "dask", "array_api_strict")
RNG = np.random.default_rng(2)
X = RNG.normal(size=(4, 3)).astype(np.float32)
TRUE, SIX = constant("true", np.asarray(True)), constant("six", np.asarray(6, np.int64))


def scalar(name: str, code: int = TensorProto.INT64) -> Any:
    return value(name, code=code)


def body(nodes: list[Any], outputs: list[Any], *constants: Any, states: tuple[str, ...] = ("a",)) -> Any:
    """Return the body of a loop, whose values before a step are `states`."""
    given = [scalar("i"), scalar("c", TensorProto.BOOL), *(value(name, None, None) for name in states)]
    return graph(nodes, given, outputs, *constants)


def loop(inner: Any, given: str, gives: str, *constants: Any, inputs: tuple[Any, ...] = ()) -> bytes:
    outputs = [value(name, None) for name in gives.split() if name != "-"]
    return made([node("Loop", given, gives, body=inner)], [value("x", "n", 3), *inputs], outputs, *constants)


#: Loops over x, shape (4, 3): of a known number of steps, ended by a condition, with and without results of each step.
LOOPS = {
    "known": loop(
        body(
            [node("Mul", "a half", "b"), node("Add", "b x", "d"), node("ReduceSum", "d", "s", keepdims=0)],
            [scalar("c", TensorProto.BOOL), value("d", None, None), value("s")],
            constant("half", np.asarray(0.5, np.float32)),
        ),
        "six true x",
        "y each",
        TRUE,
        SIX,
    ),
    # The number of the step picks a row of an outer value: it must be known.
    "number": loop(
        body(
            [
                node("Cast", "i", "f", to=TensorProto.FLOAT),
                node("Unsqueeze", "i zero", "from"),
                node("Add", "from one", "to"),
                node("Slice", "x from to zero", "row"),
                node("Mul", "row f", "scaled"),
                node("Add", "a scaled", "d"),
            ],
            [scalar("c", TensorProto.BOOL), value("d", None, None), value("row", 1, 3)],
            constant("zero", np.asarray([0])),
            constant("one", np.asarray([1])),
        ),
        "four true x",
        "y each",
        TRUE,
        constant("four", np.asarray(4)),
    ),
    # Ends when a sum passes a bound.
    "while": loop(
        body(
            [
                node("Mul", "a two", "d"),
                node("Abs", "d", "e"),
                node("ReduceMax", "e", "s", keepdims=0),
                node("Less", "s bound", "again"),
            ],
            [scalar("again", TensorProto.BOOL), value("d", None, None)],
            constant("two", np.asarray(2, np.float32)),
            constant("bound", np.asarray(100, np.float32)),
        ),
        "- true x",
        "y",
        TRUE,
    ),
    "none": loop(
        body([node("Neg", "a", "d")], [scalar("c", TensorProto.BOOL), value("d", None, None), value("d", None, None)]),
        "none true x",
        "y each",
        TRUE,
        constant("none", np.asarray(0)),
    ),
}


def truth(name: str) -> list[np.ndarray]:
    """Return what the loop of a name gives for X."""
    a, each = X, []
    if name == "known":
        for _ in range(6):
            a = a / 2 + X
            each.append(a.sum())
    elif name == "number":
        for number in range(4):
            a = a + X[number] * number
            each.append(X[number : number + 1])
    elif name == "while":
        a = 2 * a
        while np.abs(a).max() < 100:
            a = 2 * a
        return [a]
    else:
        return [X, np.zeros((0, 4, 3), np.float32)]
    return [a, np.stack(each)]


def answers(file: bytes, backend: str, *given: np.ndarray) -> list[np.ndarray]:
    found = load(file).to(backend)(*(ab.asarray(x, backend=backend) for x in given))
    found = list(found.values()) if isinstance(found, dict) else [found]
    return [y if isinstance(y, np.ndarray) else ab.to_numpy(y) for y in found]


@pytest.mark.parametrize("backend", LIBRARIES)
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_gives_what_its_steps_leave(name: str, backend: str) -> None:
    for found, wanted in zip(answers(LOOPS[name], backend, X), truth(name), strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def ended(place: str, trips: int, each: bool) -> bytes:
    """Return a loop that uses its condition, which comes of the number of the step or of values on the device."""
    ends = {
        "host": [node("Less", "i two", "more"), node("And", "c more", "again")],
        "device": [
            *(node("Abs", "d", "e"), node("ReduceMax", "e", "s", keepdims=0)),
            *(node("Less", "s bound", "more"), node("And", "c more", "again")),
        ],
    }
    outputs = [scalar("again", TensorProto.BOOL), value("d", None, None), *([value("d", None, None)] if each else [])]
    inner = body(
        [node("Add", "a x", "d"), *ends[place]],
        outputs,
        constant("two", np.asarray(2)),
        constant("bound", np.asarray(3.5 * np.abs(X).max(), np.float32)),
    )
    return loop(inner, "trips true x", "y each" if each else "y", TRUE, constant("trips", np.asarray(trips)))


@pytest.mark.parametrize("backend", LIBRARIES)
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("trips", [0, 9])
@pytest.mark.parametrize("place", ["host", "device"])
def test_a_body_is_given_its_condition_where_it_uses_it(place: str, trips: int, each: bool, backend: str) -> None:
    """Three steps leave 4 x, the first above 3.5 times the largest number; a loop of no steps leaves x."""
    if backend == "jax" and place == "device" and each and trips:
        pytest.skip("how many steps there are depends on values, so that their results have no shape for a program")
    y, *parts = answers(ended(place, trips, each), backend, X)
    np.testing.assert_allclose(y, 4 * X if trips else X, rtol=1e-6)
    wanted = np.stack([2 * X, 3 * X, 4 * X]) if trips else np.zeros((0, 4, 3))
    for part in parts:
        assert part.shape == wanted.shape
        np.testing.assert_allclose(part, wanted, rtol=1e-6)


@pytest.mark.jax
@pytest.mark.parametrize("name", ["known", "number", "while"])
def test_a_loop_is_part_of_a_program(name: str) -> None:
    import jax

    net = load(LOOPS[name]).to("jax")
    found = jax.jit(net)(ab.asarray(X, backend="jax"))
    found = found["y"] if isinstance(found, dict) else found
    np.testing.assert_allclose(np.asarray(found), truth(name)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.jax
def test_a_loop_of_many_steps_is_compiled_as_one() -> None:
    import jax

    def size(steps: int) -> int:
        inner = body([node("Mul", "a x", "d")], [scalar("c", TensorProto.BOOL), value("d", None, None)])
        net = load(loop(inner, "many true x", "y", TRUE, constant("many", np.asarray(steps)))).to("jax")
        return len(str(jax.make_jaxpr(net)(ab.asarray(X, backend="jax"))))

    assert size(1000) < 1.2 * size(3)


@pytest.mark.parametrize("backend", LIBRARIES)
def test_a_loop_that_grows_a_value_and_a_sequence(backend: str) -> None:
    inner = graph(
        [
            node("Concat", "a x", "d", axis=0),
            node("SequenceInsert", "q d", "longer"),
        ],
        [
            scalar("i"),
            scalar("c", TensorProto.BOOL),
            value("a", None, 3),
            helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None),
        ],
        [
            scalar("c", TensorProto.BOOL),
            value("d", None, 3),
            helper.make_tensor_sequence_value_info("longer", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        node("SequenceEmpty", "", "empty"),
        node("Loop", "three true x empty", "last parts", body=inner),
        node("ConcatFromSequence", "parts", "whole", axis=0),
        node("SequenceLength", "parts", "length"),
        node("SequenceErase", "parts zero", "two"),
        node("SequenceAt", "two minus", "end"),
    ]
    outputs = [value("whole", None, 3), value("end", None, 3), scalar("length")]
    three, zero, minus = (constant(name, np.asarray(x)) for name, x in (("three", 3), ("zero", 0), ("minus", -1)))
    file = made(nodes, [value("x", "n", 3)], outputs, TRUE, three, zero, minus)
    whole, end, length = answers(file, backend, X)
    steps = [np.concatenate([X] * count) for count in (2, 3, 4)]
    np.testing.assert_array_equal(whole, np.concatenate(steps))
    np.testing.assert_array_equal(end, steps[-1])
    assert length == 3


@pytest.mark.parametrize("backend", LIBRARIES)
def test_a_scan_goes_along_axes_and_backwards(backend: str) -> None:
    inner = graph(
        [node("Add", "a part", "d"), node("Mul", "d other", "e")],
        [value("a", 4), value("part", 4), value("other", 4)],
        [value("d", 4), value("e", 4)],
    )
    scan = node(
        "Scan",
        "start x z",
        "last each",
        body=inner,
        num_scan_inputs=2,
        scan_input_axes=[1, 0],
        scan_input_directions=[1, 0],
        scan_output_axes=[1],
        scan_output_directions=[1],
    )
    inputs = [value("start", 4), value("x", 4, 3), value("z", 3, 4)]
    file = made([scan], inputs, [value("last", 4), value("each", 4, 3)])
    start, z = RNG.normal(size=4).astype(np.float32), RNG.normal(size=(3, 4)).astype(np.float32)
    state, each = start, []
    for step in range(3):
        state = state + X[:, 2 - step]
        each.insert(0, state * z[step])
    last, found = answers(file, backend, start, X, z)
    np.testing.assert_allclose(last, state, rtol=1e-6)
    np.testing.assert_allclose(found, np.stack(each, axis=1), rtol=1e-6)


@pytest.mark.parametrize("backend", LIBRARIES)
def test_a_sequence_and_an_optional_are_inputs(backend: str) -> None:
    inner = graph([node("Mul", "part x", "d")], [value("part", None)], [value("d", None)])
    nodes = [
        node("SequenceMap", "parts", "scaled", body=inner),
        node("ConcatFromSequence", "scaled", "y", axis=0),
        node("OptionalHasElement", "maybe", "has"),
    ]
    parts = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    maybe = helper.make_value_info("maybe", kind)
    file = made(nodes, [parts, maybe, value("x")], [value("y", None), scalar("has", TensorProto.BOOL)])
    net, two = load(file).to(backend), ab.asarray(np.asarray(2, np.float32), backend=backend)
    rows = [ab.asarray(X[0], backend=backend), ab.asarray(X[1, :2], backend=backend)]
    for given, has in ((None, False), (rows[0], True)):
        found = net(rows, given, two)
        np.testing.assert_array_equal(ab.to_numpy(found["y"]), 2 * np.concatenate([X[0], X[1, :2]]))
        assert bool(found["has"]) is has


@pytest.mark.parametrize(
    ("split", "axis", "keepdims", "wanted"),
    [
        (None, 0, 1, [(1, 3)] * 4),
        (None, 0, 0, [(3,)] * 4),
        (np.asarray(3), 0, 1, [(3, 3), (1, 3)]),
        (np.asarray([1, 2]), -1, 1, [(4, 1), (4, 2)]),
    ],
)
def test_a_sequence_of_parts(split: Any, axis: int, keepdims: int, wanted: list[tuple[int, ...]]) -> None:
    from anyback.onnx.operators.sequences import SplitToSequence

    parts = SplitToSequence.compute(X, split, axis=axis, keepdims=keepdims)
    assert [part.shape for part in parts] == wanted
    together = np.stack(parts) if not keepdims else np.concatenate(parts, axis=axis)
    np.testing.assert_array_equal(together, X)


def test_places_of_a_sequence_are_checked() -> None:
    from anyback.onnx.operators import sequences

    assert sequences.SequenceInsert.compute([1, 2], 3, (0,)) == [3, 1, 2]
    assert sequences.SequenceInsert.compute([1, 2], 3, (-1,)) == [1, 3, 2]
    assert sequences.SequenceInsert.compute([1, 2], 3) == [1, 2, 3]
    for place in ((2,), (-3,), (0, 1)):
        with pytest.raises(DataError, match="one place in a sequence of 2"):
            sequences.SequenceAt.compute([1, 2], place)
    with pytest.raises(DataError, match="found an empty sequence"):
        sequences.ConcatFromSequence.compute([], axis=0)
    with pytest.raises(DataError, match="found none"):
        sequences.OptionalGetElement.compute(None)


@pytest.mark.jax
def test_a_loop_whose_number_of_steps_is_not_known_is_refused_in_a_program() -> None:
    import jax

    inner = body([node("Neg", "a", "d")], [scalar("c", TensorProto.BOOL), value("d", None, None)])
    net = load(loop(inner, "many true x", "y", TRUE, inputs=(scalar("many"),))).to("jax")
    x, many = ab.asarray(X, backend="jax"), np.asarray(3)
    np.testing.assert_array_equal(np.asarray(net(x, many)), -X)
    np.testing.assert_array_equal(np.asarray(jax.jit(lambda x: net(x, many))(x)), -X)
    with pytest.raises(DataError, match="many: its values must be known"):
        jax.jit(net)(x, many)


def test_a_loop_without_an_end_is_refused() -> None:
    inner = body([node("Neg", "a", "d")], [scalar("c", TensorProto.BOOL), value("d", None, None)])
    with pytest.raises(OperatorError, match="no last step"):
        load(loop(inner, "- true x", "y", TRUE))(X)
    many = constant("many", np.asarray(2**62))
    with pytest.raises(DataError, match="at most 1,000,000 steps"):
        load(loop(inner, "many true x", "y", TRUE, many))(X)


def test_a_body_of_other_inputs_is_refused() -> None:
    inner = body([node("Neg", "a", "d")], [scalar("c", TensorProto.BOOL), value("d", None, None)], states=("a", "b"))
    with pytest.raises(WeightsError, match="takes 4 inputs, and is given 3"):
        load(loop(inner, "six true x", "y", TRUE, SIX))
