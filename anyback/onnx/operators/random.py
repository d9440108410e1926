"""Operators that give random numbers: NumPy draws them on the host, and the library of the input gets them.

Every library so has the same numbers for one seed; they are not those of another runtime. Without a seed they are new
at each call, which a traced program cannot have.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError, OperatorError, ShapeError
from anyback.numbers import dtype_name
from anyback.onnx._arrays import beside, widened
from anyback.onnx._operator import Floats, Host, Ints, TypeName, operator, several
from anyback.onnx._types import check_size
from anyback.onnx.operators.cast import Cast
from anyback.plan import Rows

__all__ = [
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
]


def _generator(seed: float | None, like: Array | None, operator: str) -> np.random.Generator:
    """Return a generator of random numbers, of a seed or not; a traced program cannot go without one."""
    if seed is None:
        if like is not None and not backends.is_concrete(like):
            raise OperatorError(f"{operator} has no seed: a traced program would give the same numbers each time")
        return np.random.default_rng()
    return np.random.default_rng(int(np.float32(seed).view(np.uint32)))


def _normal(shape: tuple[int, ...], seed: float | None, like: Array | None, mean: float, scale: float) -> np.ndarray:
    check_size(shape, "RandomNormal")
    return _generator(seed, like, "RandomNormal").normal(mean, scale, shape)


def _uniform(shape: tuple[int, ...], seed: float | None, like: Array | None, low: float, high: float) -> np.ndarray:
    check_size(shape, "RandomUniform")
    return low + (high - low) * _generator(seed, like, "RandomUniform").random(shape)


def _as(drawn: np.ndarray, dtype: str, like: Array | None = None) -> Array:
    """Return numbers of the host in a type, beside an array or on the host."""
    drawn = drawn if dtype == "float64" else drawn.astype(np.float32)
    return Cast.compute(drawn if like is None else beside(drawn, like), to=dtype)


def _type(dtype: str | None, held: tuple[str, ...], x: Array) -> str:
    return dtype or (held[0] if held else "") or dtype_name(x.dtype)


@operator(random=True, rows=Rows.UNKNOWN, types=("dtype",))
def RandomNormal(
    *, dtype: TypeName = "float32", mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Ints
) -> Array:
    """Return numbers of a normal distribution."""
    return _as(_normal(tuple(shape), seed, None, mean, scale), dtype)


@operator(random=True, rows=Rows.UNKNOWN, types=("dtype",))
def RandomUniform(
    *, dtype: TypeName = "float32", high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Ints
) -> Array:
    """Return numbers of a uniform distribution."""
    return _as(_uniform(tuple(shape), seed, None, low, high), dtype)


@operator(random=True, rows=Rows.UNKNOWN, types=("dtype",))
def RandomNormalLike(
    input: Array,
    *,
    dtype: TypeName | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
    held: tuple[str, ...] = (),
) -> Array:
    """Return numbers of a normal distribution, in the shape and, unless another is named, the type of an array."""
    return _as(_normal(tuple(input.shape), seed, input, mean, scale), _type(dtype, held, input), input)


@operator(random=True, rows=Rows.UNKNOWN, types=("dtype",))
def RandomUniformLike(
    input: Array,
    *,
    dtype: TypeName | None = None,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
    held: tuple[str, ...] = (),
) -> Array:
    """Return numbers of a uniform distribution, in the shape and, unless another is named, the type of an array."""
    return _as(_uniform(tuple(input.shape), seed, input, low, high), _type(dtype, held, input), input)


@operator(since=15, random=True, rows=Rows.UNKNOWN, types=("dtype",))
def Bernoulli(
    input: Array, *, dtype: TypeName | None = None, seed: float | None = None, held: tuple[str, ...] = ()
) -> Array:
    """Return 1 with the probability that the input says, else 0."""
    wide = widened(input)
    kind: Any = np.float64 if dtype_name(wide.dtype) == "float64" else np.float32
    drawn = _generator(seed, input, "Bernoulli").random(tuple(input.shape), dtype=kind)  # below 1
    return Cast.compute(beside(drawn, input) < wide, to=_type(dtype, held, input))


@operator(since=7, random=True, rows=Rows.UNKNOWN)
def Multinomial(input: Array, *, dtype: TypeName = "int32", sample_size: int = 1, seed: float | None = None) -> Array:
    """Return the numbers of classes, drawn by the logarithms of their probabilities: (n, classes) to (n, samples)."""
    if input.ndim != 2 or not input.shape[1]:
        raise ShapeError(f"Multinomial expected shape (n, classes), found {tuple(input.shape)}")
    if dtype not in ("int32", "int64"):
        raise DataError(f"Multinomial gives int32 or int64, not {dtype}")
    if not backends.is_concrete(input):
        raise OperatorError("Multinomial: its values are not known while a program is being traced")
    n, classes = int(input.shape[0]), int(input.shape[1])
    check_size((n, max(sample_size, 1), classes), "Multinomial")
    logits = np.asarray(backends.to_numpy(widened(input)), np.float64)
    # The largest of logarithms with Gumbel noise is of a class with its probability: Gumbel 1954, Maddison et al. 2014.
    noise = _generator(seed, input, "Multinomial").gumbel(size=(n, sample_size, classes))
    return beside(np.argmax(logits[:, None, :] + noise, axis=2).astype(dtype), input)


@operator(random=True)
def Dropout(
    data: Array,
    ratio: Floats | None = None,
    training_mode: Host | None = None,
    *,
    is_test: int = 0,
    seed: int | None = None,
    outputs: int = 1,
) -> Any:
    """Return what is given; in training, 0 in part of the places and more elsewhere. Then what was kept.

    Before version 12 nothing says that a network trains, and nothing is dropped. With a seed the same places are
    dropped as by ONNX's reference.
    """
    xp, part = array_namespace(data), 0.5 if ratio is None or not np.size(ratio) else np.reshape(ratio, -1)[0]
    if not 0 <= part < 1:
        raise DataError(f"Dropout has the ratio {part}; expected one from 0 on, below 1")
    if training_mode is None or not np.any(training_mode) or part == 0:
        kept = xp.ones(data.shape, dtype=xp.bool, device=array_api_compat.device(data)) if outputs > 1 else None
        return several((data, kept), outputs)
    shape = tuple(data.shape)
    if seed is None:
        drawn = _generator(None, data, "Dropout").random(shape)
    else:
        drawn = np.random.RandomState(seed % (1 << 32)).uniform(size=shape)  # the reference's
    kept = beside(drawn >= part, data)
    wide = widened(data)
    y = xp.where(kept, wide / (1 - float(part)), xp.zeros_like(wide))
    return several((xp.astype(y, data.dtype), kept), outputs)
