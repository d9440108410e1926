"""NumPy's own kernels compute what the ops do, in whatever order the numbers lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyback.backends import _numpy_channels
from anyback.backends._numpy_convolution import _filtered
from anyback.backends.numpy import NumPy
from anyback.layers import Conv, Sequential
from anyback.ops import OPS

#: (shape of the images, shape of the filters, attributes)
CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "few channels": ((3, 3, 11, 10), (40, 3, 5, 4), {"stride": (2, 3), "padding": ((2, 1), (0, 3))}),
    "many channels": ((3, 40, 9, 8), (96, 40, 3, 3), {"padding": ((1, 1), (1, 1))}),
    "stride": ((2, 17, 9, 10), (64, 17, 3, 3), {"stride": (2, 2), "padding": ((1, 1), (1, 1))}),
    "dilation": ((2, 20, 13, 12), (33, 20, 3, 2), {"dilation": (3, 2), "stride": (2, 1), "padding": ((3, 0), (0, 1))}),
    "few channels, dilation": ((2, 4, 13, 12), (35, 4, 5, 5), {"dilation": (2, 2), "padding": ((2, 2), (1, 0))}),
    "1 × 1": ((3, 70, 5, 6), (65, 70, 1, 1), {}),
    "1 × 1, stride": ((3, 70, 5, 6), (128, 70, 1, 1), {"stride": (2, 3)}),
    "stride beyond the window": ((2, 18, 9, 9), (34, 18, 2, 1), {"stride": (3, 4)}),
    "more terms than one product has": ((1, 700, 4, 3), (34, 700, 2, 1), {}),
    "one axis": ((3, 30, 40), (40, 30, 5), {"stride": (2,), "padding": ((2, 2),)}),
    "one axis, few channels": ((3, 2, 40), (40, 2, 40), {"stride": (2,), "padding": ((2, 3),)}),
}


def innermost(x: np.ndarray) -> np.ndarray:
    """Return the same images with their channels innermost in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(CONVOLUTIONS))
@pytest.mark.parametrize("small", [True, False], ids=["small products", "large products"])
def test_a_convolution_is_that_of_the_op(name: str, dtype: str, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_numpy_channels, "multiplies_small", lambda: small)
    monkeypatch.setattr(_numpy_channels, "blas_threads", lambda: 1)
    shape, filters, more = CONVOLUTIONS[name]
    axes = len(shape) - 2
    given = {"stride": (1,) * axes, "padding": ((0, 0),) * axes, "dilation": (1,) * axes, "groups": 1, **more}
    rng = np.random.default_rng(5)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in (shape, filters, filters[:1]))
    wide = OPS["conv"].compute(*(a.astype(np.float64) for a in (x, weight, bias)), **given)
    most = np.abs(wide).max() * (3e-6 if dtype == "float32" else 1e-14)
    for band in (2**9, 2**12, 2**21):
        monkeypatch.setattr(_numpy_channels, "_BAND", band)
        _numpy_channels._bands.cache_clear()
        run = _filtered(weight, **given)
        for images in (x, innermost(x), np.repeat(x, 2, axis=-1)[..., ::2]):
            y = run(images, bias)
            assert y.shape == wide.shape
            assert y.dtype == dtype
            np.testing.assert_allclose(y, wide, rtol=0, atol=most)
            for i in range(len(x)):
                assert run(images[i : i + 1], bias)[0].tobytes() == y[i].tobytes()
        assert run(x[:0], bias).shape == (0, *wide.shape[1:])
        np.testing.assert_allclose(run(x), y - bias.reshape(-1, *[1] * axes), rtol=0, atol=1e-5 * np.abs(wide).max())


@pytest.mark.parametrize("constant", [True, False])
def test_a_network_sees_filters_that_change(constant: bool) -> None:
    rng = np.random.default_rng(6)
    weight, x = rng.standard_normal((40, 20, 3, 3)), rng.standard_normal((2, 20, 6, 6))
    given = weight.view()
    given.flags.writeable = not constant
    net = Sequential(Conv(given, padding=1), "relu")
    before = net(x)
    np.testing.assert_allclose(net(x[0]), before[0], rtol=1e-12)
    weight *= 2  # also what cannot be written to through `given`
    np.testing.assert_allclose(net(x), 2 * before, rtol=1e-12)


def test_filters_that_cannot_change_are_brought_into_order_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    weight, x = rng.standard_normal((40, 20, 3, 3)), rng.standard_normal((2, 20, 6, 6))
    constant = np.frombuffer(weight.tobytes()).reshape(weight.shape)
    net, same = Sequential(Conv(constant, padding=1), "relu"), Sequential(Conv(weight, padding=1), "relu")
    made, pieces = [], _numpy_channels._pieces
    monkeypatch.setattr(_numpy_channels, "_pieces", lambda *given: made.append(given) or pieces(*given))
    for _ in range(3):
        np.testing.assert_allclose(net(x), same(x), rtol=0, atol=1e-13 * np.abs(same(x)).max())
    assert len(made) == 1
    other = net.with_arrays([2 * weight])
    np.testing.assert_allclose(other(x), 2 * same(x), rtol=0, atol=1e-12 * np.abs(same(x)).max())


def test_a_network_does_not_overwrite_what_is_used_again() -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((3, 20, 40, 40)).astype(np.float32)
    kept, net = x.copy(), Sequential("relu", "relu")
    np.testing.assert_array_equal(net(x), np.maximum(x, 0))
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in ("relu", "clip") for dtype in ("float32", "float64")] + [("relu", "int32")],
)
def test_numbers_are_compared_in_any_order(name: str, dtype: str) -> None:
    kernel, bounds = NumPy().own[name], {"low": -1.0, "high": 2.0} if name == "clip" else {}
    rng = np.random.default_rng(8)
    x = (3 * rng.standard_normal((2, 11, 41, 43))).astype(dtype)
    if dtype != "int32":
        x.flat[::97], x.flat[1::97], x.flat[2::97], x.flat[3::97] = np.nan, -0.0, np.inf, -np.inf
    expected = np.maximum(x, 0) if name == "relu" else np.minimum(np.maximum(x, -1), 2)
    orders = {"in a row": x, "channels innermost": innermost(x), "reversed axes": np.asfortranarray(x)}
    orders["apart"] = np.repeat(x, 2, axis=-1)[..., ::2]
    for order, images in orders.items():
        np.testing.assert_array_equal(kernel.compute(images, **bounds), expected, err_msg=order)
        own = images.copy("K")
        assert kernel.overwrite is not None
        kernel.overwrite(own, **bounds)
        np.testing.assert_array_equal(own, expected, err_msg=order)
    # A few numbers take another way, with the same bits.
    y = kernel.compute(x, **bounds)
    np.testing.assert_array_equal(np.signbit(kernel.compute(x[:1, :3], **bounds)), np.signbit(y[:1, :3]))
