"""The facts that ops say of themselves, held against what they compute: every op of the table."""

from __future__ import annotations

import inspect
import itertools
import pickle
import pydoc
from typing import Any

import numpy as np
import pytest
from conftest import Library, libraries
from test_ops import CASES, Case, seen

import anyback as ab
from anyback import backends
from anyback.network import Builder, Network
from anyback.ops import OPS, Rows

#: Each op of the table with what it takes; one that is not in `CASES` takes one array of any shape.
EVERY = {f"{name}, {i}": case for name in OPS for i, case in enumerate(c for c in CASES.values() if c.op == name)}
EVERY |= {name: Case(name, ((4, 3, 5),)) for name in OPS if not any(c.op == name for c in CASES.values())}
EVERY |= {
    "clip between": Case("clip", ((4, 6),), {"low": -0.5, "high": 0.5}),
    "scale by 1": Case("scale", ((4, 6),), {"factor": 1.0}),
    "flatten what is flat": Case("flatten", ((4, 6),)),
    "reshape to the same": Case("reshape", ((4, 3, 2),), {"shape": (3, 2)}),
    "average_pool of one place": Case(
        "average_pool", ((2, 2, 3, 3),), {"size": (1, 1), "stride": (1, 1), "padding": ((0, 0), (0, 0))}
    ),
    "conv of one image by ones": Case(
        "conv",
        ((1, 1, 3, 3), (1, 1, 1, 1), None),
        {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1},
    ),
}


def named(*names: str) -> Any:
    return pytest.mark.parametrize("name", names or list(EVERY))


def tensors(arguments: list[Any]) -> list[Any]:
    import torch

    return [None if a is None else torch.from_numpy(np.array(a)) for a in arguments]


def computed(case: Case, arguments: list[Any]) -> dict[str, Any]:
    """Return what the op gives, and what its own function does."""
    op = OPS[case.op]
    return {"op": op(*arguments, **case.attributes), "compute": op.compute(*arguments, **case.attributes)}


def test_every_op_is_seen() -> None:
    assert {case.op for case in EVERY.values()} == set(OPS)


@pytest.mark.torch
@named()
def test_the_shape_of_an_op_is_that_of_what_it_computes(name: str) -> None:
    case, op = EVERY[name], OPS[EVERY[name].op]
    for n in (0, 1, 4):
        arguments = case.arguments(n)
        if case.op == "add":
            arguments[1] = arguments[0]
        shapes = [None if a is None else a.shape for a in arguments]
        expected = op.shape(*shapes, **case.attributes)
        for way, y in computed(case, arguments).items():
            assert tuple(y.shape) == tuple(expected), way
        assert tuple(op(*tensors(arguments), **case.attributes).shape) == tuple(expected)
        assert op.shape(None, *shapes[1:], **case.attributes) is None
        if samples := op.takes(*shapes[1:], **case.attributes):
            fits = [all(k in (None, size) for k, size in zip(s, shapes[0][1:], strict=False)) for s in samples]
            assert any(fits)


@pytest.mark.torch
@named()
def test_a_fresh_result_shares_no_memory_with_an_argument(name: str) -> None:
    case = EVERY[name]
    if not OPS[case.op].fresh:
        pytest.skip("may return a view")
    arguments = case.arguments()
    before = [None if a is None else a.copy() for a in arguments]
    for way, y in computed(case, arguments).items():
        assert not any(a is not None and np.shares_memory(y, a) for a in arguments), way
    given = tensors(arguments)
    for way, y in computed(case, given).items():
        memory = y.untyped_storage().data_ptr()
        assert not any(a is not None and a.untyped_storage().data_ptr() == memory for a in given), way
    for a, b in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.torch
@named()
def test_a_row_depends_on_its_own_row_alone(name: str) -> None:
    case, op = EVERY[name], OPS[EVERY[name].op]
    assert op.rows is not Rows.UNKNOWN
    first, others = case.arguments(6), case.arguments(6, seed=1)
    mixed = [None if a is None else a.copy() for a in first]
    for place in (0, 1) if case.op == "add" else (0,):
        mixed[place][[0, 1, 2, 4, 5]] = others[place][[0, 1, 2, 4, 5]] * 100
        mixed[place][0] = np.inf
    with np.errstate(all="ignore"):
        for make in (list, tensors):
            for (way, y), changed in zip(
                computed(case, make(first)).items(), computed(case, make(mixed)).values(), strict=True
            ):
                if op.rows is Rows.ALONE:
                    assert np.asarray(y[3]).tobytes() == np.asarray(changed[3]).tobytes(), way
                np.testing.assert_allclose(np.asarray(y[3]), np.asarray(changed[3]), rtol=1e-12, atol=1e-12)


def test_an_op_that_keeps_the_order_keeps_the_largest(lib: Library) -> None:
    rng = np.random.default_rng(3)
    for op in OPS.values():
        for width in (1, 2, 10):
            try:
                keeps = op.keeps_order((500, width))
            except TypeError:  # takes more than an array
                continue
            if not keeps:
                continue
            x = (rng.standard_normal((500, width)) * rng.choice([1e-3, 1, 30, 1e4], (500, 1))).astype(np.float32)
            y = seen(lib, op(lib.asarray(x)))
            np.testing.assert_array_equal(y[np.arange(500), x.argmax(1)], y.max(1), err_msg=op.name)
            # Of one output: the larger input gives the larger one.
            order = np.argsort(x[:, 0])
            assert width > 1 or (np.diff(y[order, 0]) >= 0).all() or op.name in ("softmax", "log_softmax")


@pytest.mark.torch
@named()
def test_the_type_of_a_result_is_that_of_the_rule(name: str) -> None:
    import torch

    case, op = EVERY[name], OPS[EVERY[name].op]
    kinds = ["uint8", "bool", "int64", "float16", "bfloat16", "float32", "float64"]
    arguments = case.arguments()
    if case.op == "add":
        arguments[1] = arguments[0]
    for kind, other in itertools.product(kinds, kinds[3:] if len(arguments) > 1 else ["float32"]):
        if case.op == "max_pool" and "float" not in kind:
            continue
        for library in ("numpy", "torch"):
            if library == "numpy" and "bfloat16" in (kind, other):
                continue
            types = [kind, *[None if a is None else other for a in arguments[1:]]]
            if library == "torch":
                given = [
                    None if t is None else torch.from_numpy(a).to(getattr(torch, t))
                    for a, t in zip(arguments, types, strict=True)
                ]
            else:
                given = [None if t is None else np.abs(a).astype(t) for a, t in zip(arguments, types, strict=True)]
            default = "float64" if library == "numpy" else "float32"
            y = op(*given, **case.attributes)
            assert backends.dtype_name(y.dtype) == op.casts.result(default, *types), (library, types)


@pytest.mark.torch
@pytest.mark.numpy
@named(*OPS)
def test_half_types_are_rounded_once(name: str) -> None:
    import torch

    op = OPS[name]
    case = EVERY.get(name)
    if case is None or op.products or len(case.shapes) > 1:
        pytest.skip("takes more than one array")
    x = np.random.default_rng(4).uniform(-8, 8, (50, 20)).astype(np.float16)
    wide = op(x.astype(np.float32))
    np.testing.assert_array_equal(op(x), wide.astype(np.float16), strict=True)
    t = torch.from_numpy(x).to(torch.bfloat16)
    assert torch.equal(op(t), op(t.to(torch.float32)).to(torch.bfloat16))


@pytest.mark.parametrize("library", libraries("numpy", "torch", "array_api_strict"))
@named()
@pytest.mark.parametrize("place", ["first", "middle", "last", "twice", "after a view"])
def test_no_op_changes_what_it_is_given(library: str, name: str, place: str) -> None:
    case, op = EVERY[name], OPS[EVERY[name].op]
    arguments = [None if a is None else a.astype(np.float32) for a in case.arguments()]
    backend = backends.resolve(library)
    x, *arrays = [None if a is None else backend.asarray(a.copy()) for a in arguments]

    def compute(value: Any) -> Any:
        return op(value, value) if case.op == "add" else op(value, *arrays, **case.attributes)

    into, kept = Builder(), []

    def call(given: int) -> int:
        others = [given] if case.op == "add" else [into.array(a) for a in arrays]
        return into.call(op, given, *others, **case.attributes)

    value, expected = 0, x
    if place in ("middle", "last", "twice", "after a view"):
        value, expected = into.call(OPS["scale"], value, factor=0.5), OPS["scale"](x, factor=0.5)
        kept.append((value, expected))
    if place == "after a view":
        shape = tuple(x.shape[1:])
        for call_op, given in ((OPS["flatten"], {}), (OPS["reshape"], {"shape": shape})):
            value, expected = into.call(call_op, value, **given), call_op(expected, **given)
    value, expected = call(value), compute(expected)
    if place == "twice" and tuple(expected.shape) == tuple(x.shape):
        value, expected = call(value), compute(expected)
    if place in ("first", "middle"):
        value, expected = into.call(OPS["relu"], value), OPS["relu"](expected)
    # What came in between is asked for as well, so that nothing may overwrite it; and alone, so that it may.
    for outputs in ([value], [value, *[number for number, _ in kept]]):
        net = Network(*into.fields(outputs, ((tuple(x.shape[1:]),),)))
        before = [None if a is None else backends.to_numpy(a).tobytes() for a in (x, *arrays)]
        for y in (net(x), ab.predict(net, x), ab.predict(net, x)):
            np.testing.assert_allclose(backends.to_numpy(y), backends.to_numpy(expected), rtol=2e-6, atol=2e-6)
        assert before == [None if a is None else backends.to_numpy(a).tobytes() for a in (x, *arrays)]


@named(*OPS)
def test_an_op_is_pickled_by_reference(name: str) -> None:
    assert pickle.loads(pickle.dumps(OPS[name])) is OPS[name]
    assert len(pickle.dumps(OPS[name])) < 200


@named(*OPS)
def test_help_shows_what_an_op_does(name: str) -> None:
    op = OPS[name]
    assert op.__doc__ == op.compute.__doc__
    first = op.compute.__doc__.partition("\n")[0]
    assert first in pydoc.render_doc(op, renderer=pydoc.plaintext)
    assert inspect.signature(op) == inspect.signature(op.compute)
    assert repr(op) == f"<op {name}>"
