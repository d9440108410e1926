"""Graphs made at random: a network, its plan and `predict` against op by op in float64, and nothing is overwritten."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from conftest import libraries

import anyback as ab
from anyback import backends
from anyback.lower import lower, simplified
from anyback.network import Builder, Network
from anyback.ops import OPS

#: Ops that take any value, with attributes.
ANYWHERE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("relu", {}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("silu", {}),
    ("identity", {}),
    ("softmax", {}),
    ("leaky_relu", {"slope": 0.1}),
    ("clip", {"low": -1.0, "high": 1.5}),
    ("clip", {}),
    ("scale", {"factor": 0.7}),
    ("flatten", {}),
)


@dataclass
class Graph:
    """A network in the making."""

    rng: np.random.Generator
    into: Builder = field(default_factory=Builder)
    #: Shape of a row of each value that may be used.
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    #: Shape of each array.
    whole: dict[int, tuple[int, ...]] = field(default_factory=dict)
    kept: dict[tuple[int, ...], np.ndarray] = field(default_factory=dict)

    def array(self, *shape: int) -> int:
        """Return the number of an array; some are used again."""
        if shape not in self.kept or self.rng.integers(3):
            self.kept[shape] = (self.rng.standard_normal(shape) / np.sqrt(max(1, shape[-1]))).astype(np.float32)
        return self.held(self.kept[shape])

    def held(self, x: np.ndarray) -> int:
        number = self.into.array(x) or 0
        self.whole[number] = x.shape
        return number

    def pick(self) -> int:
        """Return a value, one of the last more often than not."""
        values = list(self.shapes)
        return int(values[-1] if self.rng.integers(2) else self.rng.choice(values))

    def call(self, name: str, *arguments: int | None, **attributes: Any) -> None:
        whole = self.whole | {i: (1, *shape) for i, shape in self.shapes.items()}
        shape = OPS[name].shape(*[None if i is None else whole[i] for i in arguments], **attributes)
        self.shapes[self.into.call(OPS[name], *arguments, **attributes)] = shape[1:]

    def grow(self) -> None:
        given, rng = self.pick(), self.rng
        shape = self.shapes[given]
        kind = rng.choice(["anywhere", "anywhere", "add", "product", "norm", "pool", "reshape"])
        if kind == "add":
            same = [i for i, s in self.shapes.items() if s == shape]
            self.call("add", given, int(rng.choice(same)))
        elif kind == "product" and len(shape) == 1:
            width = int(rng.integers(1, 7)) if rng.integers(2) else shape[0]
            self.call("linear", given, self.array(shape[0], width), self.array(width) if rng.integers(2) else None)
        elif kind == "product" and len(shape) == 3:
            groups = int(rng.choice([g for g in (1, shape[0]) if shape[0] % g == 0]))
            filters, pad = groups * int(rng.integers(1, 3)), ((1, 1), (1, 1))
            weight = self.array(filters, shape[0] // groups, 3, 3)
            ones = {"stride": (1, 1), "dilation": (1, 1)}
            self.call("conv", given, weight, self.array(filters), padding=pad, groups=groups, **ones)
        elif kind == "norm":
            ones = self.held(np.ones(shape[0], np.float32))
            if rng.integers(2):
                self.call("batch_norm", given, self.array(shape[0]), ones, self.array(shape[0]), epsilon=0.1)
            else:
                self.call("layer_norm", given, None, self.array(*shape), shape=shape, epsilon=0.1)
        elif kind == "pool" and len(shape) == 3 and min(shape[1:]) > 1:
            name, more = ("max_pool", {"dilation": (1, 1)}) if rng.integers(2) else ("average_pool", {})
            self.call(name, given, size=(2, 2), stride=(1, 1), padding=((0, 0), (1, 0)), **more)
        elif kind == "reshape":
            size = int(np.prod(shape))
            self.call("reshape", given, shape=(1, size, 1) if rng.integers(2) else (size,))
        else:
            name, attributes = ANYWHERE[int(rng.integers(len(ANYWHERE)))]
            self.call(name, given, **attributes)


def random_network(seed: int) -> tuple[Network, np.ndarray]:
    rng = np.random.default_rng(seed)
    graph = Graph(rng)
    sample = (6,) if rng.integers(2) else (2, 4, 3)
    graph.shapes[0] = sample
    x = rng.standard_normal((5, *sample)).astype(np.float32)
    if rng.integers(2):
        x = rng.integers(0, 16, (5, *sample)).astype(np.uint8)
        graph.call("pixels", 0, graph.held(np.asarray(16.0, np.float32)))
        del graph.shapes[0]  # bytes as they are make large numbers
    for _ in range(int(rng.integers(1, 14))):
        graph.grow()
    outputs = [graph.pick() for _ in range(int(rng.integers(1, 4)))]
    return Network(*graph.into.fields(outputs, ((sample,),))), x


def op_by_op(net: Network, x: np.ndarray) -> list[np.ndarray]:
    """Return the outputs, by the functions of the ops alone, in float64."""
    values: list[Any] = [x, *[a.astype(np.float64) for a in net.arrays]]
    for call in net.calls:
        given = [None if i is None else values[i] for i in call.arguments]
        given[0] = given[0] if call.op.name == "pixels" else given[0].astype(np.float64)
        values.append(call.op.compute(*given, **call.attributes))
    return [values[i] for i in net.outputs]


@pytest.mark.numpy
@pytest.mark.parametrize("start", range(0, 400, 50))
def test_a_plan_computes_the_graph_and_overwrites_nothing(start: int) -> None:
    overwriting = 0
    for seed in range(start, start + 50):
        net, x = random_network(seed)
        before = [a.tobytes() for a in (x, *net.arrays)]
        expected = op_by_op(net, x)
        close = {"rtol": 2e-4, "atol": 2e-5, "err_msg": f"seed {seed}"}
        if net.last() is None or net.width != 1 or net.last().op.gives != "distribution":
            np.testing.assert_allclose(ab.predict(net, x), expected[0], **close)
        np.testing.assert_allclose(net(x), expected[0], **close)
        backend = backends.backend_of(x, device=True)
        with backends.scope(backend) as precision:
            plan = lower(net, backend, precision, (x.dtype.name,), (x.shape[1:],))
        rows = np.resize(x, (plan.multiple * 5, *x.shape[1:]))
        for run in (backend.load(plan), backend.load(pickle.loads(pickle.dumps(plan)))):
            found = run(rows)
            kept = [y.copy() for y in found]
            run(rows[::-1].copy())
            for y, copy, wanted in zip(found, kept, expected, strict=True):
                np.testing.assert_allclose(y[:5], wanted, **close)
                np.testing.assert_array_equal(y, copy, err_msg=f"seed {seed}: a second run changed the first answer")
        overwriting += sum(step.in_place for step in plan.steps)
        assert before == [a.tobytes() for a in (x, *net.arrays)], seed
    assert overwriting > 20  # or the test has not seen what it is for


@pytest.mark.numpy
def test_what_is_simplified_keeps_its_types_and_shapes() -> None:
    for seed in range(100):
        net, x = random_network(seed)
        new = simplified(net, (x.dtype.name,))
        for y, wanted in zip(new.outputs, net.outputs, strict=True):
            assert new.shapes(x.shape)[y] == net.shapes(x.shape)[wanted], seed


@pytest.mark.parametrize("library", libraries("torch", "array_api_strict", "dask"))
def test_random_graphs_on_other_libraries(library: str) -> None:
    for seed in range(400, 430):
        net, x = random_network(seed)
        there, expected = net.to(library), op_by_op(net, x)[0]
        answers = [there(backends.asarray(x, backend=library))]
        if net.last() is None or net.width != 1 or net.last().op.gives != "distribution":
            answers.append(ab.predict(there, x))
        for y in answers:
            np.testing.assert_allclose(backends.to_numpy(y), expected, rtol=2e-4, atol=2e-5, err_msg=f"seed {seed}")


@pytest.mark.numpy
def test_every_value_can_be_selected() -> None:
    for seed in range(430, 460):
        net, x = random_network(seed)
        for number, call in net.results():
            part = net.select(number)
            expected = op_by_op(Network(net.arrays, net.calls, net.inputs, (number,)), x)[0]
            np.testing.assert_allclose(part(x), expected, rtol=2e-4, atol=2e-5, err_msg=f"{seed}, {call.op.name}")
            assert len(part.calls) <= len(net.calls)
            assert set(map(id, part.arrays)) <= set(map(id, net.arrays))


@pytest.mark.numpy
def test_a_network_embedded_in_another_computes_the_same() -> None:
    for seed in range(460, 480):
        net, x = random_network(seed)
        outer = ab.layers.Sequential(net, ab.activations.relu)
        np.testing.assert_allclose(outer(x), np.maximum(net(x), 0), rtol=1e-6, err_msg=f"seed {seed}")
        assert len(outer.arrays) <= len(net.arrays)
