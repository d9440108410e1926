"""Parity: libraries that agree are seen to, and one thing broken on purpose is a row that says what is wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REQUIRED, Library, libraries, make_unusable, usable

import anyback as ab
from anyback import backends
from anyback.agreement import TOLERANCE, Report, Row
from anyback.agreement._float64 import BY_HAND
from anyback.backends.numpy import NumPy
from anyback.bounds import round_to
from anyback.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    LayerNorm,
    Linear,
    MaxPool,
    Pixels,
    Reshape,
    Residual,
    Sequential,
)
from anyback.network import Builder
from anyback.ops import OPS, Rows, op
from anyback.plan import Plan

#: What float64 NumPy answers, independently of the code under test: `test_the_recorded_labels_...` recomputes it.
RECORDED = json.loads(Path(__file__).with_name("reference_labels.json").read_text(encoding="utf-8"))


def recorded(model: str) -> np.ndarray:
    return np.asarray([int(digit) for digit in RECORDED[model]])


def case(model: str, request: pytest.FixtureRequest) -> ab.datasets.Dataset:
    """Return the images and labels of a network; skip where MNIST is not at hand."""
    if model == "digits-mlp":
        return ab.datasets.digits("test")
    request.getfixturevalue("data_dir")
    return ab.datasets.mnist("test")


def row_of(report: Report, backend: str = "numpy") -> Row:
    return next(row for row in report.rows if row.backend == backend and not row.simulated)


def compare(*names: str, **options: Any) -> Report:
    test = ab.datasets.digits("test")
    return ab.parity("digits-mlp", test.images, test.labels, names or ["numpy"], **{"simulate": False, **options})


# -- Agreement ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", RECORDED)
def test_the_recorded_labels_are_those_of_float64_numpy(model: str, request: pytest.FixtureRequest) -> None:
    test = case(model, request)
    weights = {k: v.astype(np.float64) for k, v in ab.read_weights(ab.models.NETWORKS[model].path()).items()}
    x = test.images.reshape(len(test), -1) / ab.models.NETWORKS[model].pixels
    for i in (1, 2):
        x = 1 / (1 + np.exp(-(x @ weights[f"W{i}"] + weights[f"b{i}"])))
    np.testing.assert_array_equal((x @ weights["W3"] + weights["b3"]).argmax(axis=1), recorded(model))


@pytest.mark.parametrize("model", RECORDED)
def test_each_library_gives_the_recorded_labels(lib: Library, model: str, request: pytest.FixtureRequest) -> None:
    test = case(model, request)
    net = ab.load_model(model, backend=lib.backend)
    # Those too that are too close to call, on every library known so far; tests/test_bounds.py has the others.
    np.testing.assert_array_equal(ab.evaluate(net, test.images, test.labels).predictions, recorded(model))


@pytest.mark.several
@pytest.mark.parametrize("model", RECORDED)
def test_all_libraries_agree(model: str, request: pytest.FixtureRequest) -> None:
    test = case(model, request)
    names = [name for name, status in ab.available_backends().items() if status.usable]
    assert {"numpy"} | (REQUIRED & {*backends.ROWS}) <= set(names)
    report = ab.parity(model, test.images, test.labels)
    assert report.ok
    measured = [row for row in report.rows if row.usable and not row.simulated]
    assert list(dict.fromkeys(row.backend for row in measured)) == names
    for row in measured:
        assert (row.differing, row.unstable_rows, row.broken) == (0, 0, ())
        assert 0 < row.max_error <= TOLERANCE
        assert row.accuracy == (recorded(model) == test.labels).mean()
        assert row.precision == "highest"
        assert row.version
        assert row.seconds > 0
    assert {row.backend for row in report.rows} == set(backends.ROWS)
    assert all(row.usable or row.reason for row in report.rows)


@pytest.mark.several
def test_all_libraries_agree_on_a_network_of_other_ops() -> None:
    rng = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return rng.normal(size=shape, scale=0.3).astype(np.float32)

    norm = BatchNorm(array(6), np.abs(array(6)) + 1, array(6), array(6))
    net = Sequential(
        *(Reshape((1, 8, 8)), Pixels(np.asarray(16, np.float32)), Conv(array(6, 1, 3, 3), array(6), padding=1), norm),
        *("relu", MaxPool((2, 2)), Residual(Sequential(Conv(array(6, 1, 3, 3), padding=1, groups=6), "gelu"))),
        *(AveragePool((2, 2)), Flatten(), Dropout(), LayerNorm((24,)), Linear(array(24, 10)), "softmax"),
    )
    report = ab.parity(net, ab.datasets.digits("test").images)
    assert report.ok, str(report)
    assert {row.backend for row in report.rows if row.usable} >= {"numpy"} | (REQUIRED & {*backends.ROWS})
    for row in report.rows:
        assert not row.usable or row.max_error > 0
        assert (row.unstable_rows, row.differing) == (0, row.undecided)
    tf32, bf16 = (row for row in report.rows if row.simulated)
    assert TOLERANCE < tf32.max_error < bf16.max_error


@pytest.mark.once
def test_an_op_of_the_users_is_compared_and_its_operands_are_rounded() -> None:
    def shape(x: Any, weight: Any) -> Any:
        return None if x is None else (x[0], weight[0])

    @op(shape, rows=Rows.PRODUCT, products=True, fresh=True)
    def distances(x: Any, weight: Any) -> Any:
        return backends.array_namespace(x).matmul(x, weight.T)

    @dataclasses.dataclass(frozen=True)
    class Distances:
        weight: Any

        def calls(self, given: int, into: Builder) -> int:
            return into.call(distances, given, into.array(self.weight))

    weight = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    x = np.random.default_rng(1).normal(size=(70, 6)).astype(np.float32)
    report = ab.parity(Sequential(Distances(weight), "softmax"), x, backends=["numpy"])
    assert report.ok, str(report)
    plain, *rounded = report.rows
    assert 0 < plain.max_error < 1e-6
    assert all(row.simulated and row.max_error > 1e-5 for row in rounded)
    assert len(rounded) == 2


def test_simulated_rows_show_what_a_gpu_would_do_and_are_called_so(data_dir: Path) -> None:
    test = ab.datasets.mnist("test")
    report = ab.parity("mnist-mlp", test.images, test.labels, ["numpy"])
    tf32, bf16 = (row for row in report.rows if row.simulated)
    assert (tf32.precision, bf16.precision) == ("tf32", "bf16")
    assert 1e-4 < tf32.max_error < 2e-3 < bf16.max_error < 2e-2  # 8.5e-4 and 7.4e-3
    assert bf16.differing == bf16.undecided > 0
    assert report.ok
    assert report.undecided["highest"] < report.undecided["tf32"] < report.undecided["bf16"]
    assert "numpy:cpu simulated" in str(report)


# -- One thing broken on purpose ----------------------------------------------------------------------


def break_arrays(monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Make arrays of two axes arrive changed on NumPy."""
    asarray = NumPy.asarray
    monkeypatch.setattr(NumPy, "asarray", lambda self, x: change(x) if _is_weight(x) else asarray(self, x))


def _is_weight(x: np.ndarray) -> bool:
    return x.dtype == np.float32 and x.ndim == 2


def break_answers(monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Make the outputs of each tile come out changed on NumPy."""
    load = NumPy.load

    def broken(self: NumPy, plan: Plan) -> Callable[..., tuple[np.ndarray, ...]]:
        run = load(self, plan)
        return lambda *inputs: tuple(change(y) for y in run(*inputs))

    monkeypatch.setattr(NumPy, "load", broken)


def break_plan(monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Make NumPy compute with other arrays than those of the plan."""
    load = NumPy.load
    monkeypatch.setattr(
        NumPy, "load", lambda self, plan: load(self, dataclasses.replace(plan, arrays=tuple(map(change, plan.arrays))))
    )


def test_the_last_digit_of_one_weight_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def nudge(weight: np.ndarray) -> np.ndarray:
        changed = weight.copy()
        if changed.shape == (64, 50):
            changed[10, 20] = np.nextafter(changed[10, 20], np.float32(9))
        return changed

    break_arrays(monkeypatch, nudge)
    report = compare()
    assert not report.ok
    # Array 0 is the largest pixel value.
    assert row_of(report).broken == ("array 1 of shape (64, 50) arrived changed",)
    assert "numpy:cpu: BROKEN: array 1 of shape (64, 50) arrived changed" in str(report)


def test_a_transposed_matrix_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of the same shape: rows taken for columns, as where the memory's order is read wrongly.
    break_arrays(monkeypatch, lambda weight: np.ascontiguousarray(weight.ravel(order="F").reshape(weight.shape)))
    row = row_of(compare())
    assert "array 1 of shape (64, 50) arrived changed" in row.broken
    assert any("labels differ beyond rounding" in fault for fault in row.broken)
    assert row.differing > 300


def test_one_flipped_label_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def flip(y: np.ndarray) -> np.ndarray:
        ahead = y.max(axis=1) > 0.999
        chosen = np.flatnonzero(ahead)[:1] if len(y) else []
        y[chosen] = np.roll(y[chosen], 1, axis=1)
        return y

    break_answers(monkeypatch, flip)
    report = compare()
    assert not report.ok
    # One in each tile, the first that is beyond doubt.
    tiles = -(-500 // NumPy.tile)
    assert row_of(report).broken[0].startswith(f"{tiles} labels differ beyond rounding, first in row ")
    assert row_of(report).undecided == 0


def test_a_lower_precision_than_was_asked_for_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # As a GPU that rounds the operands of products to TF32 unless told not to.
    break_plan(monkeypatch, lambda a: round_to(a, 11) if a.ndim == 2 else a)
    (fault,) = row_of(compare()).broken
    assert fault.startswith("probabilities off by 0.000")
    assert fault.endswith("more than 2e-06 at full precision")


@pytest.mark.torch
def test_a_real_precision_flag_that_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = usable("torch")
    if "bf16" not in torch.offered():
        pytest.skip("this processor does not multiply in bfloat16")
    precision = type(torch).precision
    monkeypatch.setattr(type(torch), "precision", lambda self, name: precision(self, "bf16"))
    (fault,) = row_of(compare("torch"), "torch").broken
    assert fault.startswith("probabilities off by 0.0")


def test_bits_that_depend_on_what_was_computed_before_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10**6))
    break_answers(monkeypatch, lambda y: y * np.float32(1 + 2.0**-23 * (next(calls) % 2)))
    (fault,) = row_of(compare()).broken
    assert fault.startswith("the bits of ")
    assert fault.endswith(" rows depend on how the work is cut")


@pytest.mark.array_api_strict
def test_a_library_that_raises_is_a_row_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = usable("array_api_strict")

    def fail(self: object, plan: Plan) -> None:
        raise FloatingPointError("no such kernel")

    monkeypatch.setattr(type(strict), "load", fail)
    report = compare("array_api_strict", "numpy")
    assert row_of(report, "array_api_strict").broken == ("FloatingPointError: no such kernel",)
    assert row_of(report).broken == ()
    assert not report.ok


def test_an_error_of_our_own_in_the_computation_is_a_broken_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def mix(self: NumPy, plan: Plan) -> None:
        raise ab.BackendError("arrays of numpy and jax do not mix")

    monkeypatch.setattr(NumPy, "load", mix)
    report = compare()
    assert row_of(report).broken == ("BackendError: arrays of numpy and jax do not mix",)
    assert not report.ok


def test_nan_and_a_wrong_shape_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    break_answers(monkeypatch, lambda y: y * np.where(np.arange(10) == 3, np.nan, 1).astype(np.float32))
    assert any("off by inf" in fault for fault in row_of(compare()).broken)
    json.dumps(compare().to_dict(), allow_nan=False)
    break_answers(monkeypatch, lambda y: y[:, :9])
    assert row_of(compare()).broken == ("shape (500, 9), expected (500, 10)",)


def test_a_wrong_scale_of_integers_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # The scale of 16 is folded into the first weight of the plan: as if 13 had been.
    break_plan(monkeypatch, lambda a: a * np.float32(16 / 13) if a.shape == (64, 50) else a)
    assert any("more than 2e-06 at full precision" in fault for fault in row_of(compare()).broken)


# -- What is asked for --------------------------------------------------------------------------------


def test_a_library_that_is_asked_for_and_missing_breaks_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    make_unusable(monkeypatch, "jax")
    report = compare("numpy", "jax")
    row = row_of(report, "jax")
    assert (row.usable, row.broken) == (False, ("cannot be used",))
    assert "jax cannot be used: broken on purpose" in row.reason
    assert row_of(report).broken == ()
    assert not report.ok


def test_a_device_that_is_asked_for_and_missing_breaks_the_report() -> None:
    report = compare("numpy:cuda:7")
    row = row_of(report)
    assert (row.usable, row.broken) == (False, ("cannot be used",))
    assert "no device 'cuda:7'" in row.reason
    assert not report.ok


def test_what_is_wrong_in_the_request_is_an_error() -> None:
    test = ab.datasets.digits("test")
    with pytest.raises(ab.BackendError, match="unknown backend 'nunpy'; known: numpy"):
        compare("nunpy")
    with pytest.raises(ab.DataError, match=r"labels: expected shape \(500,\), one for each input, found \(3,\)"):
        ab.parity("digits-mlp", test.images, [1, 2, 3])
    with pytest.raises(ab.ShapeError):
        ab.parity("digits-mlp", test.images[:, :7])
    with pytest.raises(ab.WeightsError, match="no network and no file"):
        ab.parity("digits", test.images)
    with pytest.raises(ab.BackendError, match="unknown precision 'half'"):
        compare(precision="half")


@pytest.mark.parametrize("n", [1, 2, 5, 13, 14, 27])
def test_few_inputs_are_compared_as_many_are(n: int) -> None:
    test = ab.datasets.digits("test")
    report = ab.parity("digits-mlp", test.images[:n], test.labels[:n], "numpy")
    assert report.ok, str(report)
    assert report.total == n


def test_no_inputs_and_no_backends_are_refused() -> None:
    test = ab.datasets.digits("test")
    with pytest.raises(ab.DataError, match="inputs: expected at least one, found none"):
        ab.parity("digits-mlp", test.images[:0])
    with pytest.raises(ab.BackendError, match="backends: expected at least one"):
        ab.parity("digits-mlp", test.images, backends=[])
    with pytest.raises(ab.DataError, match="labels: expected integers"):
        ab.parity("digits-mlp", test.images, test.labels + 0.5)


@pytest.mark.several
def test_a_float64_network_and_float64_inputs_agree_where_there_is_float64() -> None:
    test = ab.datasets.digits("test")
    names = [name for name, status in ab.available_backends().items() if status.usable]
    wide = ab.load_model("digits-mlp", backend="numpy", dtype="float64")
    for net, x in ((wide, test.images), ("digits-mlp", test.images / 16.0)):
        report = ab.parity(net, x, backends=names)
        assert report.ok, str(report)
        assert row_of(report).max_error < 1e-12
        for row in report.rows:
            assert row.usable or "has no float64" in row.reason


def test_nan_that_comes_out_as_nan_is_agreement_and_json() -> None:
    x = ab.datasets.digits("test").images[:40].astype(np.float32) / 16
    x[3, 2, 2] = np.nan
    with pytest.warns(UserWarning, match="nan in 1 of"):
        report = ab.parity("digits-mlp", x, backends=["numpy"], simulate=False)
    assert report.ok, str(report)
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_precision_that_a_library_lacks_is_a_row_that_says_so() -> None:
    report = compare("numpy", precision="tf32")
    assert not report.ok  # nothing was compared, which is no agreement
    assert "NOTHING WAS COMPARED" in report.summary()
    row = row_of(report)
    assert (row.usable, row.reason) == (False, "offers precision highest, not tf32")


def test_a_network_of_any_library_without_labels_is_compared(lib: Library) -> None:
    rng = np.random.default_rng(0)
    w1, w2 = (lib.asarray(a) for a in (rng.normal(size=(6, 5)), rng.normal(size=(5, 1))))
    net = Sequential((Linear(w1), ab.activations.tanh, Linear(w2), ab.activations.sigmoid))
    report = ab.parity(net, rng.normal(size=(50, 6)).astype(np.float32), backends=["numpy"])
    assert report.ok
    assert row_of(report).accuracy is None
    assert report.model == "network"


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_of_numbers_the_values_alone_are_compared(lib: Library, scale: float) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(6, 5)), rng.normal(size=(5, 1)) * scale]
    w1, w2 = (lib.asarray(a.astype(np.float32)) for a in weights)
    net = Sequential((Linear(w1), ab.activations.tanh, Linear(w2), ab.activations.identity))
    x = rng.normal(size=(50, 6)).astype(np.float32)
    report = ab.parity(net, x, rng.normal(size=50), backends=["numpy"])
    row = row_of(report)
    assert report.ok, str(report)
    assert (row.accuracy, row.differing, row.undecided, row.smallest_margin) == (None, 0, 0, None)
    assert report.undecided == {}
    assert "labels that rounding" not in report.summary()
    assert 0 < row.max_error <= report.tolerance
    largest = np.max(np.abs(ab.to_numpy(ab.predict(net.to("numpy", dtype="float64"), x))))
    assert report.tolerance == pytest.approx(2e-6 * max(1.0, largest), rel=1e-3)
    with pytest.raises(ab.DataError, match=r"^labels: expected numbers"):
        ab.parity(net, x, np.zeros((50, 2)), backends=["numpy"])


@pytest.mark.once
def test_numbers_that_are_off_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Sequential((Linear(np.full((3, 1), 1e3, dtype=np.float32)),))
    break_plan(monkeypatch, lambda a: round_to(a * np.float32(1.001), 11))
    report = ab.parity(net, np.ones((4, 3), dtype=np.float32), backends=["numpy"], simulate=False)
    assert not report.ok
    assert row_of(report).broken[0].startswith("numbers off by 3")


@pytest.mark.once
def test_of_several_labels_the_largest_is_compared_and_each_is_scored() -> None:
    rng = np.random.default_rng(0)
    net = Sequential((Linear(rng.normal(size=(6, 3)).astype(np.float32)), ab.activations.sigmoid))
    x = rng.normal(size=(50, 6)).astype(np.float32)
    y = ab.predict(net, x)
    truth = (y > 0.5).astype(int)
    truth[:3, 0] ^= 1
    assert row_of(ab.parity(net, x, truth, backends=["numpy"])).accuracy == pytest.approx(147 / 150)
    assert row_of(ab.parity(net, x, y.argmax(axis=1), backends=["numpy"])).accuracy == 1.0


def test_a_layer_without_an_independent_form_is_compared_with_itself_in_float64() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((6, 5), (5, 3))]
    net = Sequential((Linear(weights[0]), ab.activations.gelu, Linear(weights[1]), ab.activations.softmax))
    row = row_of(ab.parity(net, rng.normal(size=(50, 6)).astype(np.float32), backends=["numpy"]))
    assert 0 < row.max_error < 1e-6


#: For each op with a form by hand, what to call it with: shapes of arrays, and attributes.
HAND: dict[str, list[tuple[list[tuple[int, ...] | None], dict[str, Any]]]] = {
    **{name: [([(5, 7)], {})] for name in ab.activations.ACTIVATIONS},
    "clip": [([(5, 7)], {"low": -0.5, "high": 0.25}), ([(5, 7)], {})],
    "erf": [([(5, 7)], {})],
    "erfc": [([(5, 7)], {})],
    "linear": [([(5, 7), (7, 3), (3,)], {}), ([(5, 7), (7, 3)], {})],
    "gelu_by_erf": [([(5, 7)], {})],
    "dense": [([(5, 3, 7), (7, 3), (3,)], {}), ([(5, 7), (7, 3)], {})],
    "attention": [
        ([(5, 2, 3, 4), (1, 2, 6, 4), (1, 2, 6, 3), (3, 6)], {"scale": 0.5}),
        ([(5, 2, 3, 4), (1, 2, 6, 4), (1, 2, 6, 3)], {"scale": 2.0}),
    ],
    "pick": [([(5, 3, 4)], {"axis": 2, "index": 1})],
    "add": [([(5, 7), (5, 7)], {})],
    "scale": [([(5, 7)], {"factor": -3.0})],
    "pixels": [([(5, 7), ()], {})],
    "flatten": [([(5, 3, 4)], {}), ([(5, 3, 4)], {"shape": (3, 4)})],
    "reshape": [([(5, 12)], {"shape": (3, 4)})],
    "permute": [([(5, 3, 4, 2)], {"axes": (3, 1, 2)}), ([(5, 3)], {"axes": (1,)})],
    "conv": [
        (
            [(3, 4, 9, 8), (6, 2, 3, 2), (6,)],
            {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (2, 3), "groups": 2},
        ),
        ([(3, 4, 9), (4, 1, 3), None], {"stride": (1,), "padding": ((0, 1),), "dilation": (1,), "groups": 4}),
    ],
    "max_pool": [
        (
            [(3, 2, 9, 8)],
            {"size": (3, 2), "stride": (2, 3), "padding": ((1, 1), (0, 1)), "dilation": (2, 1), "ceil": ceil},
        )
        for ceil in (False, True)
    ],
    "average_pool": [
        (
            [(3, 2, 9, 8)],
            {"size": (3, 2), "stride": stride, "padding": ((1, 1), (0, 1)), "ceil": ceil, "count_padding": counted},
        )
        for stride in ((2, 3), (4, 2))
        for ceil in (False, True)
        for counted in (False, True)
    ],
    "global_average_pool": [([(3, 2, 9, 8)], {}), ([(3, 2, 7)], {})],
    "batch_norm": [([(3, 4, 5), (4,), (4,), (4,), (4,)], {"epsilon": 1.5}), ([(3, 4), (4,), (4,)], {"epsilon": 1.5})],
    "layer_norm": [
        ([(3, 4, 5), (4, 5), (4, 5)], {"shape": (4, 5), "epsilon": 0.1}),
        ([(3, 4, 5)], {"shape": (5,), "epsilon": 0.1}),
    ],
}


@pytest.mark.parametrize("name", OPS)
def test_every_op_has_a_form_by_hand_that_says_the_same(name: str) -> None:
    rng = np.random.default_rng(0)
    for shapes, attributes in HAND[name]:
        x, *arrays = [None if shape is None else np.abs(rng.normal(size=shape)) for shape in shapes]
        assert x is not None
        integers = [] if name == "max_pool" else [(9 * x).astype(np.uint8)]  # it takes floating-point numbers
        for first in (x - 0.5, 20 * (x - 0.5), *integers):
            found = OPS[name](first, *arrays, **attributes)
            expected = BY_HAND[name](first, *arrays, **attributes)
            np.testing.assert_allclose(expected, found, rtol=1e-12, atol=1e-14, strict=name != "identity")


def test_a_report_is_shown_in_a_notebook_and_saved_as_json() -> None:
    report = compare("numpy", simulate=True)
    page = report._repr_html_()
    assert page.count("<tr>") == 1 + len(report.rows)
    assert "numpy:cpu simulated" in page
    record = json.loads(json.dumps(report.to_dict()))
    assert record["ok"] is True
    assert record["tolerance"] == 2e-6
    assert record["environment"]["numpy"] == np.__version__
    assert record["rows"][0]["backend"] == "numpy"
    bad = Row("<b>", usable=False, reason="<script>")
    assert "<script>" not in Report("<i>", 0, "highest", {}, (bad,), {})._repr_html_()


# -- Bits ---------------------------------------------------------------------------------------------

CODE = """
import hashlib, os, sys
if sys.argv[2] == "one" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # before a library counts the cores
import numpy as np, anyback as ab
rng = np.random.default_rng(0)
weights = [rng.normal(size=s).astype("f4") for s in ((784, 50), (50, 100), (100, 10))]
layers = [f for w in weights for f in (ab.layers.Linear(w), ab.activations.sigmoid)]
net = ab.layers.Sequential(tuple(layers)).to(sys.argv[1])
x = rng.integers(0, 256, size=(3000, 784)).astype("f4") / np.float32(255)
print(hashlib.sha256(ab.to_numpy(ab.predict(net, x)).tobytes()).hexdigest())
"""


@pytest.mark.bits
@pytest.mark.parametrize("name", libraries())
def test_two_processes_with_one_core_and_with_all_give_the_same_bits(name: str) -> None:
    said = set()
    for cores in ("one", "all"):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"} if cores == "one" else None
        command = [sys.executable, "-W", "ignore", "-c", CODE, name, cores]
        said.add(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert len(said) == 1
    assert len(said.pop().strip()) == 64


# -- Nothing goes by the host -------------------------------------------------------------------------


@pytest.mark.jax
def test_a_compiled_network_on_jax_moves_nothing() -> None:
    import jax

    net = ab.load_model("digits-mlp", backend="jax")
    x = ab.asarray(ab.datasets.digits("test").images, backend="jax")
    run = jax.jit(net)
    expected = np.asarray(run(x))  # traced: a look at a value would have raised
    with jax.transfer_guard("disallow_explicit"):
        y = run(x)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.jax
def test_predict_on_jax_brings_nothing_to_the_host() -> None:
    import jax

    net = ab.load_model("digits-mlp", backend="jax")
    x = ab.asarray(ab.datasets.digits("test").images, backend="jax")
    # On a GPU the guard sees every copy; on a CPU the host's memory is the device's, and it has nothing to see.
    with jax.transfer_guard_device_to_host("disallow_explicit"):
        y = ab.predict(net, x)
    assert isinstance(y, jax.Array)
    assert y.shape == (500, 10)


@pytest.mark.torch
def test_predict_passes_torchs_device_without_values() -> None:
    import torch

    net = ab.load_model("digits-mlp", backend="torch").map(lambda a: a.to("meta"))
    y = ab.predict(net, torch.zeros((700, 8, 8), dtype=torch.uint8, device="meta"))  # a value looked at would raise
    assert (y.shape, y.device.type) == ((700, 10), "meta")


@pytest.mark.torch  # its profiler sees the copies of all libraries
@pytest.mark.parametrize("name", libraries("cupy", "jax", "torch"))
def test_predict_on_a_gpu_copies_nothing_to_the_host(name: str) -> None:
    import torch

    backend = usable(name)
    gpu = next((device for device in backend.devices() if device.startswith(("cuda", "gpu"))), None)
    if gpu is None or not torch.cuda.is_available():
        pytest.skip(f"{name} or torch has no CUDA device here")
    net = ab.load_model("digits-mlp", backend=f"{name}:{gpu}")
    x = ab.asarray(ab.datasets.digits("test").images, backend=f"{name}:{gpu}")

    def copies(work: Callable[[], object]) -> int:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            work()
            torch.cuda.synchronize()
        return sum("DtoH" in event.name for event in profile.events())

    y = ab.predict(net, x)
    assert copies(lambda: ab.to_numpy(ab.predict(net, x))) > 0  # the profiler would see one
    backend.wait(y)
    assert copies(lambda: backend.wait(ab.predict(net, x))) == 0
