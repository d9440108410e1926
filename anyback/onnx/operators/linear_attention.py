"""Operators that pass a state of fixed size along a sequence: linear attention, and a convolution of the past."""

from __future__ import annotations

import math
from typing import Any

import array_api_compat

from anyback._typing import Array
from anyback.backends import array_namespace, backend_of
from anyback.errors import DataError, ShapeError
from anyback.onnx._arrays import narrowed, widened
from anyback.onnx._attention import split_heads
from anyback.onnx._operator import operator, several
from anyback.ops import OPS

__all__ = ["CausalConvWithState", "LinearAttention"]

#: Whether a rule lets the state decay, and whether it writes only what the state does not yet give for a key.
_RULES = {"linear": (False, False), "gated": (True, False), "delta": (False, True), "gated_delta": (True, True)}


def _state(given: Array | None, shape: tuple[int, ...], like: Array, operator: str) -> Array:
    """Return a state in the type of an array: zeros where none is given."""
    if given is None:
        return array_namespace(like).zeros(shape, dtype=like.dtype, device=array_api_compat.device(like))
    if tuple(given.shape) != shape:
        raise ShapeError(f"{operator}: expected a state of shape {shape}, found {tuple(given.shape)}")
    return narrowed(given, like.dtype)


@operator(since=27)
def LinearAttention(
    query: Array,
    key: Array,
    value: Array,
    past_state: Array | None = None,
    decay: Array | None = None,
    beta: Array | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
    outputs: int = 1,
) -> Any:
    """Return what queries read of a state that keys and values are written to, one place after the other; the state.

    Half types are computed in float32. `chunk_size` is a hint that changes no number.
    """
    if update_rule not in _RULES:
        raise DataError(f"LinearAttention has the rule {update_rule!r}; expected one of {', '.join(_RULES)}")
    decays, corrects = _RULES[update_rule]
    if decays == (decay is None) or corrects == (beta is None):
        raise DataError(f"LinearAttention: the rule {update_rule} takes decay: {decays}, and beta: {corrects}")
    if kv_num_heads < 1 or q_num_heads < 1 or q_num_heads % kv_num_heads:
        raise ShapeError(f"LinearAttention: {q_num_heads} heads of queries cannot share {kv_num_heads} of keys")
    xp = array_namespace(query, key, value)
    if any(x.ndim != 3 for x in (query, key, value, decay, beta) if x is not None):
        raise ShapeError("LinearAttention: expected arrays of shape (n, length, heads * size)")
    q = widened(split_heads(query, q_num_heads, "query"))  # (n, heads, length, size)
    k, v = (widened(split_heads(x, kv_num_heads, name)) for x, name in ((key, "key"), (value, "value")))
    (n, _, length, size), columns = q.shape, v.shape[3]
    if tuple(k.shape) != (n, kv_num_heads, length, size) or tuple(v.shape[:3]) != (n, kv_num_heads, length):
        raise ShapeError(
            f"LinearAttention: expected keys and values of {kv_num_heads} heads for queries {tuple(query.shape)}, "
            f"found {tuple(key.shape)} and {tuple(value.shape)}"
        )
    # The heads of queries that read the same state are rows of one matrix: (n, fewer, heads / fewer, length, size).
    q = xp.reshape(q, (n, kv_num_heads, q_num_heads // kv_num_heads, length, size))
    q = q * (scale or 1 / math.sqrt(size))
    state = _state(past_state, (n, kv_num_heads, size, columns), v, "LinearAttention")
    # (n, fewer, length, size or 1), and (n, fewer or 1, length, 1)
    kept = None if decay is None else xp.exp(widened(split_heads(decay, kv_num_heads, "decay")))
    rate = None if beta is None else widened(split_heads(beta, beta.shape[2], "beta"))
    if kept is not None and kept.shape[3] not in (1, size):
        raise ShapeError(f"LinearAttention: expected a decay for each head or number, found {tuple(kept.shape)}")
    if rate is not None and rate.shape[1] not in (1, kv_num_heads):
        raise ShapeError(f"LinearAttention: expected a rate for each head or one, found {tuple(rate.shape)}")

    def step(number: Any, state: tuple[Array, ...], parts: tuple[Any, ...]) -> tuple[tuple[Array], tuple[Array]]:
        row, new, asked, *rest = parts
        (before,) = state
        if kept is not None:
            before = before * xp.expand_dims(rest[0], axis=-1)
        if rate is not None:
            new = rest[-1] * (new - xp.matmul(xp.expand_dims(row, axis=2), before))
        after = before + xp.expand_dims(row, axis=-1) * new
        return (after,), (xp.matmul(asked, after),)  # (n, fewer, heads / fewer, columns)

    # Each with the places first; what is a row of one at a place keeps an axis for it.
    sequences = [xp.moveaxis(k, 2, 0), xp.moveaxis(xp.expand_dims(v, axis=3), 2, 0), xp.moveaxis(q, 3, 0)]
    sequences += [xp.moveaxis(kept, 2, 0)] if kept is not None else []
    sequences += [xp.moveaxis(xp.expand_dims(rate, axis=3), 2, 0)] if rate is not None else []
    y = v[:, :0, ...]
    if length:
        (state,), (y,) = backend_of(k).scan(step, (state,), sequences, length)
        y = xp.moveaxis(y, 0, 1)
    y = narrowed(xp.reshape(y, (n, length, q_num_heads * columns)), query.dtype)
    return several((y, narrowed(state, query.dtype if past_state is None else past_state.dtype)), outputs)


@operator(since=27)
def CausalConvWithState(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    past_state: Array | None = None,
    *,
    activation: str = "none",
    outputs: int = 1,
) -> Any:
    """Return for each channel sums of the numbers up to each place by a kernel, and the last numbers for the next call.

    The kernels have shape (channels, 1, size), the state (n, channels, size - 1).
    """
    if activation not in ("none", "silu", "swish"):
        raise DataError(f"CausalConvWithState has the activation {activation!r}; expected none, silu or swish")
    if input.ndim != 3 or weight.ndim != 3 or tuple(weight.shape[:2]) != (input.shape[1], 1) or not weight.shape[2]:
        raise ShapeError(
            "CausalConvWithState: expected shape (n, channels, length) and kernels of shape (channels, 1, size), found "
            f"{tuple(input.shape)} and {tuple(weight.shape)}"
        )
    xp, (n, channels, length), size = array_namespace(input, weight), input.shape, weight.shape[2]
    before = _state(past_state, (n, channels, size - 1), input, "CausalConvWithState")
    x = xp.concat([before, input], axis=2)
    wide, kernel = widened(x), widened(weight)
    y = wide[:, :, :length] * kernel[:, :, 0]
    for tap in range(1, size):
        y = y + wide[:, :, tap : tap + length] * kernel[:, :, tap]
    if bias is not None:
        y = y + xp.reshape(widened(bias), (channels, 1))
    y = narrowed(y if activation == "none" else OPS["silu"](y), input.dtype)
    return several((y, x[:, :, length:]), outputs)
