"""Fourier transforms of complex numbers, held as pairs along the last axis, by the library or by matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.onnx._arrays import beside

__all__ = ["forward", "inverse", "inverse_real"]


def forward(x: Array, length: int, axis: int, half: bool) -> Array:
    """Return the transform of a signal, cut off or filled with zeros to a length, as pairs of real and imaginary part.

    Parameters
    ----------
    x : array
        (..., signal, ..., 1 or 2): real numbers, or pairs.
    length : int
        Of the signal.
    axis : int
        Of the signal, from the front.
    half : bool
        Whether only the first ``length // 2 + 1`` numbers of the transform are returned; then x is real.
    """
    count = length // 2 + 1 if half else length

    def own(fft: Any, z: Array) -> Array:
        return (fft.rfft if half else fft.fft)(z, n=length, axis=axis)

    def matrices() -> tuple[np.ndarray, np.ndarray]:
        angles = _angles(length, count)
        return np.cos(angles), -np.sin(angles)

    return _transformed(x, length, axis, own, matrices, real=half)


def inverse(x: Array, length: int, axis: int) -> Array:
    """Return the inverse transform of pairs, cut off or filled with zeros to a length, as pairs."""

    def own(fft: Any, z: Array) -> Array:
        return fft.ifft(z, n=length, axis=axis)

    def matrices() -> tuple[np.ndarray, np.ndarray]:
        angles = _angles(length, length)
        return np.cos(angles) / length, np.sin(angles) / length

    return _transformed(x, length, axis, own, matrices)


def inverse_real(x: Array, length: int, axis: int) -> Array:
    """Return the real signal of a length, (..., 1), by the first ``length // 2 + 1`` pairs of its transform."""

    def own(fft: Any, z: Array) -> Array:
        return fft.irfft(z, n=length, axis=axis)

    def matrices() -> tuple[np.ndarray, np.ndarray]:
        places = np.arange(length // 2 + 1)
        # The other half is the first one mirrored and conjugate, but for the frequencies that are their own mirror.
        counts = np.where((places == 0) | (2 * places == length), 1.0, 2.0)[:, None]
        angles = _angles(length, length)[: len(places)]
        return counts * np.cos(angles) / length, counts * np.sin(angles) / length

    return _transformed(x, length // 2 + 1, axis, own, matrices, real_result=True)


def _angles(length: int, count: int) -> np.ndarray:
    """Return the angles by which numbers of the signal turn for each frequency: (length, count)."""
    # Whole turns are taken off while the numbers are integers.
    return 2 * np.pi * (np.outer(np.arange(length), np.arange(count)) % length) / length


def _transformed(
    x: Array,
    used: int,
    axis: int,
    own: Callable[[Any, Array], Array],
    matrices: Callable[[], tuple[np.ndarray, np.ndarray]],
    *,
    real: bool = False,
    real_result: bool = False,
) -> Array:
    """Return pairs transformed by the library, or as products with the real and imaginary part of a matrix."""
    xp = array_namespace(x)
    first, second = x[..., 0], x[..., 1] if x.shape[-1] == 2 else None
    fft = getattr(xp, "fft", None)
    if fft is not None:
        z = first
        if not real:
            kind = xp.complex128 if x.dtype == xp.float64 else xp.complex64
            z = xp.astype(first, kind) if second is None else xp.astype(first, kind) + xp.astype(second, kind) * 1j
        try:
            y = own(fft, z)
        except ValueError:  # Dask's transform takes no axis that lies in several chunks
            pass
        else:
            return xp.expand_dims(y, axis=-1) if real_result else xp.stack([xp.real(y), xp.imag(y)], axis=-1)
    size = min(used, x.shape[axis])
    cosine, sine = [beside(part.astype(_name(x)), x) for part in matrices()]

    def product(part: Array, matrix: Array) -> Array:
        lines = xp.moveaxis(part, axis, -1)[..., :size]
        return xp.moveaxis(xp.matmul(lines, matrix[:size, :]), -1, axis)

    a, b = product(first, cosine), product(first, sine)
    if second is not None:
        c, d = product(second, sine), product(second, cosine)
        a, b = a - c, b + d
    return xp.expand_dims(a, axis=-1) if real_result else xp.stack([a, b], axis=-1)


def _name(x: Array) -> str:
    return "float64" if x.dtype == array_namespace(x).float64 else "float32"
