"""ONNX's Fourier transforms, windows and mel scale, against sums in float64, PyTorch and ONNX's own reference."""

from __future__ import annotations

import types
from typing import Any

import ml_dtypes  # noqa: F401  # so that NumPy knows bfloat16
import numpy as np
import pytest
from conftest import Library
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from anyback.errors import DataError, ShapeError
from anyback.onnx import _fourier
from anyback.onnx._operator import find

RNG = np.random.default_rng(4)
X = RNG.normal(size=(2, 7, 5, 2))
DIGITS = {"float16": 2e-2, "bfloat16": 2e-1, "float32": 1e-5, "float64": 1e-11}


def run(name: str, *given: Any, version: int = 20, **attributes: Any) -> Any:
    found = find("", name, version)
    assert found is not None
    return found.op.compute(*given, **attributes)


def summed(x: np.ndarray, length: int, axis: int, sign: int) -> np.ndarray:
    """Return the sum that defines the transform, of pairs, as complex numbers."""
    z = np.moveaxis(x[..., 0] + (1j * x[..., 1] if x.shape[-1] == 2 else 0), axis, -1)[..., :length]
    z = np.concatenate([z, np.zeros((*z.shape[:-1], length - z.shape[-1]))], axis=-1)
    turns = np.outer(np.arange(length), np.arange(length)) / length
    return np.moveaxis(z @ np.exp(sign * 2j * np.pi * turns), -1, axis)


def pairs(z: np.ndarray) -> np.ndarray:
    return np.stack([z.real, z.imag], axis=-1)


@pytest.fixture(params=["transforms", "products"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with a library's own transforms, and with one that has none."""
    if request.param == "products":
        first = _fourier.array_namespace

        def without(*arrays: Any) -> Any:
            names = {name: getattr(first(*arrays), name) for name in ("float64", "matmul", "moveaxis", "stack")}
            return types.SimpleNamespace(**names, expand_dims=first(*arrays).expand_dims)

        monkeypatch.setattr(_fourier, "array_namespace", without)
    return str(request.param)


@pytest.mark.parametrize("axis", [0, 1, 2, -2])
@pytest.mark.parametrize("length", [None, 3, 4, 11])
@pytest.mark.parametrize("last", [1, 2])
def test_transforms_are_their_sums(lib: Library, way: str, axis: int, length: int | None, last: int) -> None:
    at = axis % 4
    count = length or X.shape[at]
    for dtype in lib.dtypes:
        x = np.asarray(X[..., :last], dtype)
        given = lib.asarray(x, None), None if length is None else (length,), (axis,)
        for backwards, sign in ((0, -1), (1, 1)):
            y = lib.to_numpy(run("DFT", *given, inverse=backwards))
            assert y.dtype == x.dtype
            expected = pairs(summed(x.astype(float), count, at, sign)) / (count if backwards else 1)
            np.testing.assert_allclose(y.astype(float), expected, rtol=DIGITS[dtype], atol=DIGITS[dtype])


@pytest.mark.parametrize("length", [1, 2, 6, 7, 9])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_real_signal_has_half_a_transform(lib: Library, way: str, length: int, axis: int) -> None:
    for dtype in lib.dtypes:
        x = np.asarray(X[..., :1], dtype)
        half = run("DFT", lib.asarray(x, None), (length,), (axis,), onesided=1)
        whole = pairs(np.moveaxis(summed(x.astype(float), length, axis, -1), axis, 0)[: length // 2 + 1])
        expected = np.moveaxis(whole, 0, axis)
        y = lib.to_numpy(half)
        np.testing.assert_allclose(y.astype(float), expected, rtol=DIGITS[dtype], atol=DIGITS[dtype])
        back = lib.to_numpy(run("DFT", half, (length,), (axis,), onesided=1, inverse=1))
        kept = np.moveaxis(x.astype(float), axis, 0)[:length]
        filled = np.concatenate([kept, np.zeros((length - len(kept), *kept.shape[1:]))])
        digits = DIGITS[dtype]
        np.testing.assert_allclose(back.astype(float), np.moveaxis(filled, 0, axis), rtol=digits, atol=digits)


def test_the_length_of_an_inverse_is_even_unless_said(lib: Library) -> None:
    half = lib.asarray(pairs(np.fft.rfft(X[..., 0], axis=1)))
    assert run("DFT", half, None, (1,), onesided=1, inverse=1).shape == (2, 6, 5, 1)
    found = run("DFT", half, (7,), (1,), onesided=1, inverse=1)
    np.testing.assert_allclose(lib.to_numpy(found), X[..., :1], rtol=1e-5, atol=1e-5)


def test_the_axis_is_the_last_one_of_the_signal_and_was_the_first_one() -> None:
    np.testing.assert_array_equal(run("DFT", X), run("DFT", X, None, (2,)))
    np.testing.assert_array_equal(run("DFT", X, version=19), run("DFT", X, None, (1,)))
    np.testing.assert_array_equal(run("DFT", X, version=17, axis=-2), run("DFT", X))


def test_pieces_of_a_signal_are_one_signal(lib: Library) -> None:
    # Dask joins arrays without making one piece of them.
    x = lib.xp.concat([lib.asarray(X[:, :3]), lib.asarray(X[:, 3:])], axis=1)
    found = lib.to_numpy(run("DFT", x, None, (1,)))
    np.testing.assert_allclose(found, pairs(summed(X, 7, 1, -1)), rtol=1e-4, atol=1e-5)


def test_what_is_no_signal_is_refused() -> None:
    for x, axis in ((X[..., 0], 1), (X, 3), (X, -1), (X, 4), (X[0, 0, 0], 0)):
        with pytest.raises(ShapeError, match="DFT"):
            run("DFT", x, None, (axis,))
    with pytest.raises(DataError, match="real signal"):
        run("DFT", X, onesided=1)
    with pytest.raises(DataError, match="real signal"):
        run("DFT", X[..., :1], onesided=1, inverse=1)
    for length in (0, -3):
        with pytest.raises(ShapeError, match="at least one number"):
            run("DFT", X, (length,))
    with pytest.raises(DataError, match="would make an array"):
        run("DFT", X, (1 << 40,))


# -- Frames ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 3, 40])
@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("last", [1, 2])
def test_frames_are_transformed_one_by_one(lib: Library, step: int, windowed: bool, last: int) -> None:
    x, weights = RNG.normal(size=(2, 40, last)), RNG.uniform(size=8) if windowed else np.ones(8)
    for dtype in lib.dtypes:
        signal, window = np.asarray(x, dtype), np.asarray(weights, dtype)
        size = None if windowed else (8,)
        given = lib.asarray(signal, None), (step,), lib.asarray(window, None) if windowed else None, size
        y = lib.to_numpy(run("STFT", *given, onesided=int(last == 1)))
        assert y.dtype == signal.dtype
        starts = range(0, 33, step)
        frames = np.stack([signal.astype(float)[:, i : i + 8] * window.astype(float)[:, None] for i in starts], axis=1)
        expected = pairs(summed(frames, 8, 2, -1)[:, :, : 5 if last == 1 else 8])
        np.testing.assert_allclose(y.astype(float), expected, rtol=DIGITS[dtype], atol=DIGITS[dtype])


@pytest.mark.torch
def test_pytorch_frames_alike() -> None:
    import torch

    x, window = RNG.normal(size=(2, 50)), np.hanning(12)
    expected = torch.stft(
        torch.tensor(x), 12, 5, window=torch.tensor(window), center=False, onesided=True, return_complex=True
    )
    found = run("STFT", x[..., None], (5,), window)
    np.testing.assert_allclose(found, pairs(expected.numpy().swapaxes(1, 2)), rtol=1e-9, atol=1e-9)


def test_one_frame_is_the_whole_signal() -> None:
    np.testing.assert_array_equal(run("STFT", X[0], (1,), onesided=0)[:, 0], run("DFT", X[0], None, (1,)))


def test_frames_must_fit() -> None:
    signal = X[0]
    for given in ((0,), (1,), None, (6,)), ((0,), None, (3,)), ((1,), np.ones(4), (3,)), ((1,), np.ones((3, 1)), None):
        step, *rest = given[:1] if len(given) == 4 else given
        window, length = rest if len(rest) == 2 else (None, (6,))
        with pytest.raises(ShapeError, match="STFT"):
            run("STFT", signal, step, window, length, onesided=0)
    with pytest.raises(ShapeError, match="STFT"):
        run("STFT", X, (1,))
    with pytest.raises(DataError, match="real signal"):
        run("STFT", signal, (1,))


# -- Windows and the mel scale ----------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("size", [0, 1, 2, 7, 16])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows_are_those_of_pytorch(size: int, periodic: int) -> None:
    import torch

    if size == 1 and periodic:
        pytest.skip("PyTorch makes every window of size 1 symmetric")
    more = {"periodic": bool(periodic), "dtype": torch.float64}
    wanted = {
        "HannWindow": torch.hann_window(size, **more),
        "HammingWindow": torch.hamming_window(size, alpha=25 / 46, beta=21 / 46, **more),
        "BlackmanWindow": torch.blackman_window(size, **more),
    }
    for name, expected in wanted.items():
        found = run(name, (size,), periodic=periodic, output_datatype="float64")
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-12)
        single = run(name, (size,), periodic=periodic)
        np.testing.assert_array_equal(single, found.astype(np.float32))


def test_the_type_of_a_window() -> None:
    for kind, held in (("float16", "float16"), ("bfloat16", "float32"), ("int32", "int32")):
        assert run("HannWindow", (5,), output_datatype=kind).dtype == held


def test_a_window_has_one_size() -> None:
    for size in ((-1,), (2, 3)):
        with pytest.raises(ShapeError, match="one size"):
            run("HannWindow", size)
    with pytest.raises(DataError, match="would make"):
        run("HannWindow", (1 << 40,))


@pytest.mark.parametrize("bands", [1, 8, 30])
@pytest.mark.parametrize("length", [16, 63, 200])
def test_mel_weights_are_those_of_the_reference(bands: int, length: int) -> None:
    names = ["bands", "length", "rate", "low", "high"]
    given = dict(zip(names, map(np.asarray, (bands, length, 8000, 100.0, 3600.0)), strict=True))
    ports = [
        helper.make_tensor_value_info(n, TensorProto.INT64 if i < 3 else TensorProto.DOUBLE, ())
        for i, n in enumerate(names)
    ]
    end = helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)
    node = helper.make_node("MelWeightMatrix", names, ["y"], output_datatype=TensorProto.DOUBLE)
    model = helper.make_model(helper.make_graph([node], "g", ports, [end]), opset_imports=[helper.make_opsetid("", 17)])
    expected = ReferenceEvaluator(model).run(None, given)[0]
    edges = np.asarray(100.0), np.asarray(3600.0)
    found = run("MelWeightMatrix", (bands,), (length,), (8000,), *edges, output_datatype="float64")
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert found.max() == 1.0


@pytest.mark.parametrize(
    "bad", [(0, 16, 8000, 0, 10), (4, 16, 8000, 20, 10), (4, 16, 8000, 0, 4001), (4, 0, 8000, 0, 1)]
)
def test_mel_weights_of_nothing_are_refused(bad: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="MelWeightMatrix"):
        run("MelWeightMatrix", *[(x,) for x in bad[:3]], *map(np.asarray, bad[3:]))
