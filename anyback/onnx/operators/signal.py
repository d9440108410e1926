"""Fourier transforms, windows, and the weights of the mel scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError, ShapeError
from anyback.onnx._arrays import beside, narrowed, widened
from anyback.onnx._fourier import forward, inverse, inverse_real
from anyback.onnx._operator import Host, Ints, TypeName, operator
from anyback.onnx._types import check_size, held_as

__all__ = ["DFT", "DFT_17", "STFT", "BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"]


def _transform(x: Array, length: Ints | None, axis: int, backwards: int, onesided: int, operator: str) -> Array:
    """Return the transform of a signal along an axis; half types are computed in float32."""
    if x.ndim < 2 or x.shape[-1] not in (1, 2) or not -x.ndim <= axis < x.ndim or axis % x.ndim == x.ndim - 1:
        raise ShapeError(
            f"{operator}: expected an array of shape (..., 1) or (..., 2) and an axis before the last one, found "
            f"{tuple(x.shape)} and axis {axis}"
        )
    if onesided and x.shape[-1] != (2 if backwards else 1):
        raise DataError(f"{operator}: a half of a transform is that of a real signal; found shape {tuple(x.shape)}")
    at, wide = axis % x.ndim, widened(x)
    size = x.shape[at]
    count = length[0] if length else 2 * (size - 1) if onesided and backwards else size
    if count < 1:
        raise ShapeError(f"{operator}: expected a signal of at least one number, found length {count}")
    check_size((*x.shape[:at], count, *x.shape[at + 1 :]), operator)
    if not backwards:
        y = forward(wide, count, at, bool(onesided))
    else:
        y = inverse_real(wide, count, at) if onesided else inverse(wide, count, at)
    return narrowed(y, x.dtype)


@operator(since=20)
def DFT(
    input: Array, dft_length: Ints | None = None, axis: Ints | None = None, *, inverse: int = 0, onesided: int = 0
) -> Array:
    """Return the Fourier transform along an axis of real numbers, (..., 1), or of pairs, (..., 2), or its inverse.

    Of a real signal `onesided` gives the first half of the transform, and takes it for the inverse.
    """
    return _transform(input, dft_length, axis[0] if axis else -2, inverse, onesided, "DFT")


@operator(name="DFT", since=17)
def DFT_17(
    input: Array, dft_length: Ints | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Array:
    """Return what DFT of version 20 does; the axis is an attribute."""
    return _transform(input, dft_length, axis, inverse, onesided, "DFT")


@operator(since=17)
def STFT(
    signal: Array,
    frame_step: Ints,
    window: Array | None = None,
    frame_length: Ints | None = None,
    *,
    onesided: int = 1,
) -> Array:
    """Return the Fourier transforms of frames of signals (n, length, 1 or 2), times a window: (n, frames, bins, 2)."""
    if signal.ndim != 3 or (window is not None and window.ndim != 1):
        raise ShapeError(
            f"STFT: expected a signal (n, length, 1 or 2) and a window (size,), found {tuple(signal.shape)}"
        )
    length = signal.shape[1]
    size = frame_length[0] if frame_length else length if window is None else window.shape[0]
    step = frame_step[0]
    if step < 1 or not 1 <= size <= length or (window is not None and window.shape[0] != size):
        raise ShapeError(
            f"STFT: expected a step from 1 on, and frames and a window of one size up to {length}, found step {step}, "
            f"frames of {size}" + ("" if window is None else f" and a window of {window.shape[0]}")
        )
    xp, wide = array_namespace(signal), widened(signal)
    count = 1 + (length - size) // step
    check_size((signal.shape[0], count, size, signal.shape[2]), "STFT")
    places = beside((np.arange(count)[:, None] * step + np.arange(size)).reshape(-1), signal)
    frames = xp.reshape(xp.take(wide, places, axis=1), (signal.shape[0], count, size, signal.shape[2]))
    if window is not None:
        frames = frames * xp.reshape(narrowed(window, wide.dtype), (size, 1))
    return narrowed(_transform(frames, None, 2, 0, onesided, "STFT"), signal.dtype)


def _window(size: tuple[int, ...], periodic: int, kind: str, formula: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return a window on the host; `formula` takes which part of the whole window lies before a place."""
    if len(size) != 1 or size[0] < 0:
        raise ShapeError(f"a window has one size from 0 on, found {size}")
    check_size(size, "a window")
    whole = size[0] if periodic else size[0] - 1
    found = formula(np.arange(size[0]) / max(whole, 1)) if whole > 0 else np.ones(size[0])
    return found.astype(_host_type(kind))


def _host_type(kind: str) -> np.dtype:
    """Return NumPy's type that holds numbers of a type."""
    return np.dtype(held_as(backends.array_namespace(np.zeros(1)), kind, "a window"))


@operator(host=True, since=17)
def HannWindow(size: Ints, *, output_datatype: TypeName = "float32", periodic: int = 1) -> np.ndarray:
    """Return a Hann window, on the host; 1 for a symmetric one of size 1."""
    return _window(size, periodic, output_datatype, lambda part: np.sin(np.pi * part) ** 2)


@operator(host=True, since=17)
def HammingWindow(size: Ints, *, output_datatype: TypeName = "float32", periodic: int = 1) -> np.ndarray:
    """Return a Hamming window, on the host, with the weights 25/46 and 21/46."""
    return _window(size, periodic, output_datatype, lambda part: 25 / 46 - 21 / 46 * np.cos(2 * np.pi * part))


@operator(host=True, since=17)
def BlackmanWindow(size: Ints, *, output_datatype: TypeName = "float32", periodic: int = 1) -> np.ndarray:
    """Return a Blackman window, on the host."""
    return _window(
        size,
        periodic,
        output_datatype,
        lambda part: 0.42 - 0.5 * np.cos(2 * np.pi * part) + 0.08 * np.cos(4 * np.pi * part),
    )


@operator(host=True, since=17)
def MelWeightMatrix(
    num_mel_bins: Ints,
    dft_length: Ints,
    sample_rate: Ints,
    lower_edge_hertz: Host,
    upper_edge_hertz: Host,
    *,
    output_datatype: TypeName = "float32",
) -> np.ndarray:
    """Return how much each frequency of a transform counts for each band of the mel scale, on the host.

    Returns
    -------
    numpy.ndarray
        (dft_length // 2 + 1, num_mel_bins): for each band a triangle of height 1.
    """
    bands, length, rate = num_mel_bins[0], dft_length[0], sample_rate[0]
    low, high = (float(np.reshape(edge, -1)[0]) for edge in (lower_edge_hertz, upper_edge_hertz))
    if min(bands, length, rate) < 1 or not 0 <= low < high <= rate / 2:
        raise DataError(
            "MelWeightMatrix: expected numbers from 1 on and edges between 0 and half the sample rate, found "
            f"{bands} bands, length {length}, rate {rate} and edges {low:g} and {high:g}"
        )
    rows = length // 2 + 1
    check_size((rows, bands), "MelWeightMatrix")
    lowest, highest = (2595 * np.log10(1 + edge / 700) for edge in (low, high))
    edges = lowest + np.arange(bands + 2) * (highest - lowest) / (bands + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    places = ((length + 1) * hertz // rate).astype(np.int64)
    left, middle, right = places[:-2], places[1:-1], places[2:]
    bins = np.arange(rows)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    found = np.where((left <= bins) & (bins < middle), rising, 0.0)
    found = np.where((middle <= bins) & (bins < right), falling, found)
    return np.where(bins == middle, 1.0, found).astype(_host_type(output_datatype))
