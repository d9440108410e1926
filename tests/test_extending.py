"""An op, a layer and a backend that a program makes, with one entry in a table each: everything takes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from conftest import Library
from test_backends import box_row

import anyback as ab
from anyback import backends
from anyback._typing import Array
from anyback.backends import Kernel
from anyback.layers import Conv, Flatten, Linear, Sequential
from anyback.network import Builder, Network
from anyback.ops import OPS, Rows, op


@op(rows=Rows.ALONE, fresh=True, multiply_adds=lambda x, gain: 2 * math.prod(x), trained=("gain",))
def bent(x: Array, gain: Array) -> Array:
    """Return ``x + gain * x * x``."""
    return x + gain * (x * x)


@dataclass(frozen=True, eq=False)
class Bent:
    """The layer of the op, with one number that was trained."""

    gain: Array

    def calls(self, given: int, into: Builder) -> int:
        return into.call(OPS["bent"], given, into.array(self.gain))


@pytest.fixture(autouse=True)
def one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS, "bent", bent)


def network() -> Sequential:
    rng = np.random.default_rng(5)

    def a(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / 3).astype(np.float32)

    layers = Conv(a(3, 1, 3, 3), a(3), padding=1), Bent(a()), Flatten(), Linear(a(75, 4), a(4)), Bent(a()), "softmax"
    return Sequential(*layers)


IMAGES = np.random.default_rng(6).random((20, 1, 5, 5)).astype(np.float32)


def expected() -> np.ndarray:
    net = network().to(dtype="float64")
    y = IMAGES.astype(np.float64)
    for layer in net.layers:
        y = y + layer.gain * y * y if isinstance(layer, Bent) else layer(y)
    return y


def test_an_op_and_a_layer_of_a_program_compute_everywhere(lib: Library) -> None:
    net = network().to(lib.backend)
    assert len(net.arrays) == 6
    for y in (net(lib.asarray(IMAGES)), ab.predict(net, IMAGES), ab.predict(net, IMAGES, batch_size=3)):
        np.testing.assert_allclose(lib.to_numpy(y), expected(), atol=2e-6)
    rows = net.summary()
    assert [row.name for row in rows] == ["conv", "bent", "flatten", "linear", "bent", "softmax"]
    assert (rows[4].parameters, rows[4].multiply_adds, rows[4].output) == (1, 8, (4,))
    assert "bent" in repr(net)


def test_rows_have_their_bits_with_an_op_of_a_program(lib: Library) -> None:
    net = network().to(lib.backend)
    whole = lib.to_numpy(ab.predict(net, IMAGES))
    for start in (1, 7, 13):
        assert lib.to_numpy(ab.predict(net, IMAGES[start:])).tobytes() == whole[start:].tobytes()


@pytest.mark.numpy
def test_a_kernel_by_the_name_of_an_op_that_is_not_in_the_table_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    @op(rows=Rows.ALONE, fresh=True)
    def sigmoid(x: Array) -> Array:
        """Return another thing than the table's op of this name."""
        return x + 1.0

    net, x = Sequential(Linear(np.eye(3)), sigmoid), np.ones((2, 3))
    np.testing.assert_array_equal(net(x), 2 * x)
    np.testing.assert_array_equal(ab.predict(net, x), 2 * x)


@pytest.mark.numpy
def test_what_an_op_of_a_program_computes_in_a_wider_type_is_cast() -> None:
    @op(rows=Rows.ALONE, fresh=True)
    def moved(x: Array, shift: Array) -> Array:
        return np.add(x, shift, dtype=np.float64)

    into = Builder()
    given = into.call(moved, 0, into.array(np.ones(3, np.float32)))
    net = Network(*into.fields([into.call(OPS["linear"], given, into.array(np.ones((3, 2), np.float32)), None)]))
    x = np.ones((2, 3), np.float32)
    assert net(x).dtype == ab.predict(net, x).dtype == np.float32


def backend_with_a_kernel(seen: list[tuple[int, ...]]) -> type[backends.Backend]:
    def kernel(x: Array, gain: Array) -> Array:
        seen.append(x.shape)
        return bent.compute(x, gain)

    class Own(box_row()):  # type: ignore[misc]
        own = {"bent": Kernel(kernel)}  # noqa: RUF012

    return Own


@pytest.mark.numpy
def test_a_backend_of_a_program_computes_with_its_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setitem(backends.ROWS, "boxes", backend_with_a_kernel(seen))
    rng = np.random.default_rng(7)
    weight, gain = rng.standard_normal((25, 4)).astype(np.float32), np.asarray(0.25, np.float32)
    plain = Sequential(Linear(weight), Bent(gain), "relu")
    net, x = plain.to("boxes"), IMAGES.reshape(20, 25)
    assert net.backend is not None
    assert net.backend.name == "boxes"
    y = net(ab.asarray(x, backend="boxes"))
    assert seen == [(20, 4)]
    np.testing.assert_allclose(ab.to_numpy(y), plain(x), atol=2e-6)
    whole = ab.to_numpy(ab.predict(net, x))
    assert len(seen) > 1
    np.testing.assert_allclose(whole, plain(x), atol=2e-6)
    assert ab.to_numpy(ab.predict(net, x[7:])).tobytes() == whole[7:].tobytes()
    np.testing.assert_allclose(net.to("numpy")(x), plain(x), atol=2e-6)


@pytest.mark.numpy
def test_a_backend_of_a_program_is_compared_certified_and_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(backends.ROWS, "boxes", backend_with_a_kernel([]))
    plain, there = network(), network().to("boxes")
    report: Any = ab.parity(plain, IMAGES, labels(), backends=["numpy", "boxes"])
    assert report.ok, report
    assert [row.backend.partition(":")[0] for row in report.rows][:2] == ["numpy", "boxes"]
    proof, known = ab.certify(there, IMAGES), ab.certify(plain, IMAGES)
    np.testing.assert_array_equal(proof.labels, known.labels)
    assert proof.undecided == known.undecided
    assert ab.evaluate(there, IMAGES, labels()).accuracy == 1.0
    assert any("bent" in text.get_text() for text in ab.plots.plot_network(there).texts)
    outputs = ab.predict(there, IMAGES)
    image = ab.asarray(IMAGES[0, 0], backend="boxes")
    assert len(ab.plots.plot_probabilities(image, outputs[0, ...]).texts) >= 4
    assert "boxes" in " ".join(text.get_text() for text in ab.plots.plot_parity(report).get_yticklabels())


def labels() -> np.ndarray:
    return expected().argmax(axis=1)


@pytest.mark.numpy
@pytest.mark.array_api_strict
def test_parity_compares_a_network_with_an_op_of_a_program() -> None:
    report: Any = ab.parity(network(), IMAGES, labels(), backends=["numpy", "array_api_strict"])
    assert report.ok


@pytest.mark.numpy
def test_certify_proves_a_network_with_an_op_of_a_program() -> None:
    proof: Any = ab.certify(network(), IMAGES)
    assert len(proof.labels) == 20
    assert proof.undecided < 3


@pytest.mark.numpy
def test_a_network_with_an_op_of_a_program_is_drawn() -> None:
    pytest.importorskip("matplotlib")
    ax = ab.plots.plot_network(network())
    assert any("bent" in text.get_text() for text in ax.texts)
