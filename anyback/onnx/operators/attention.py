"""Attention, and the rotation of its operands by their places."""

from __future__ import annotations

from typing import Any

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError, OperatorError, ShapeError
from anyback.numbers import dtype_name
from anyback.onnx._arrays import narrowed, rows_at, widened
from anyback.onnx._attention import (
    grouped_product,
    hidden_as_zero,
    masked,
    padded,
    scaled_scores,
    split_heads,
    visible,
)
from anyback.onnx._operator import Body, TypeName, operator, several
from anyback.onnx._types import cast

__all__ = ["Attention", "Attention_23", "Attention_24", "FlexAttention", "RotaryEmbedding"]


@operator(since=25)
def Attention(
    Q: Array,
    K: Array,
    V: Array,
    attn_mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    nonpad_kv_seqlen: Array | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: TypeName | None = None,
    outputs: int = 1,
) -> Any:
    """Return the attention's output, the keys and the values including past ones, and the scores.

    Half types are computed in float32 whatever `softmax_precision` says; a query that may attend no key gives zeros.
    """
    if min(left_window_size, right_window_size) < -1 or qk_matmul_output_mode not in (0, 1, 2, 3):
        raise DataError(
            "Attention: expected windows from -1 on and a mode from 0 to 3, found "
            f"{left_window_size}, {right_window_size} and {qk_matmul_output_mode}"
        )
    if (past_key is None) != (past_value is None) or (past_key is not None and nonpad_kv_seqlen is not None):
        raise DataError("Attention: expected past keys and values together, and no lengths beside them")
    xp = array_namespace(Q, K, V)
    q, k, v = split_heads(Q, q_num_heads, "Q"), split_heads(K, kv_num_heads, "K"), split_heads(V, kv_num_heads, "V")
    past = 0
    if past_key is not None:
        past = past_key.shape[2]
        k, v = xp.concat([past_key, k], axis=2), xp.concat([past_value, v], axis=2)
    product = scaled_scores(q, k, v, scale, "Attention")
    capped = softcap * xp.tanh(product / softcap) if softcap > 0 else product
    places = visible(
        product,
        causal=bool(is_causal),
        left=left_window_size,
        right=right_window_size,
        past=past,
        lengths=nonpad_kv_seqlen,
    )
    shown = masked(capped, (None if attn_mask is None else padded(attn_mask, k.shape[2]), places))
    exact = cast(shown, "float64", "Attention") if softmax_precision == "float64" else shown
    shares = narrowed(hidden_as_zero(exact), product.dtype)
    y = narrowed(grouped_product(shares, widened(v)), Q.dtype)
    if Q.ndim == 3:
        y = xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), (Q.shape[0], Q.shape[1], q.shape[1] * v.shape[3]))
    if outputs < 4:
        return several((y, k, v), outputs)
    return y, k, v, narrowed((product, capped, shown, shares)[qk_matmul_output_mode], Q.dtype)


@operator(name="Attention", since=24)
def Attention_24(
    Q: Array,
    K: Array,
    V: Array,
    attn_mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    nonpad_kv_seqlen: Array | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: TypeName | None = None,
    outputs: int = 1,
) -> Any:
    """Return the outputs of Attention of version 25, without windows."""
    return Attention.compute(
        Q,
        K,
        V,
        attn_mask,
        past_key,
        past_value,
        nonpad_kv_seqlen,
        is_causal=is_causal,
        kv_num_heads=kv_num_heads,
        q_num_heads=q_num_heads,
        qk_matmul_output_mode=qk_matmul_output_mode,
        scale=scale,
        softcap=softcap,
        softmax_precision=softmax_precision,
        outputs=outputs,
    )


@operator(name="Attention", since=23)
def Attention_23(
    Q: Array,
    K: Array,
    V: Array,
    attn_mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: TypeName | None = None,
    outputs: int = 1,
) -> Any:
    """Return the outputs of Attention of version 25, without windows and lengths; a mask of one key is for all keys."""
    if attn_mask is not None and attn_mask.ndim and attn_mask.shape[-1] == 1:
        keys = K.shape[-2] + (0 if past_key is None else past_key.shape[2])
        attn_mask = array_namespace(attn_mask).broadcast_to(attn_mask, (*attn_mask.shape[:-1], keys))
    return Attention.compute(
        Q,
        K,
        V,
        attn_mask,
        past_key,
        past_value,
        is_causal=is_causal,
        kv_num_heads=kv_num_heads,
        q_num_heads=q_num_heads,
        qk_matmul_output_mode=qk_matmul_output_mode,
        scale=scale,
        softcap=softcap,
        softmax_precision=softmax_precision,
        outputs=outputs,
    )


@operator(domain="ai.onnx.preview")
def FlexAttention(
    Q: Array,
    K: Array,
    V: Array,
    *,
    prob_mod: Body | None = None,
    scale: float | None = None,
    score_mod: Body | None = None,
    softmax_precision: TypeName | None = None,
) -> Array:
    """Return mixtures of values by how keys match queries; graphs of the file may change scores and shares.

    The graphs are given the type `softmax_precision`; between them, half types are computed in float32.
    """
    scores = scaled_scores(Q, K, V, scale, "FlexAttention")
    wide, kind = scores.dtype, softmax_precision or dtype_name(scores.dtype)
    scores = _changed(cast(scores, kind, "FlexAttention"), score_mod, "score_mod")
    shares = cast(hidden_as_zero(widened(scores)), kind, "FlexAttention")
    shares = _changed(shares, prob_mod, "prob_mod")
    return narrowed(grouped_product(narrowed(shares, wide), widened(V)), Q.dtype)


def _changed(x: Array, body: Any, name: str) -> Array:
    """Return an array after a graph of the file, in the same shape; unchanged where there is no graph."""
    if body is None:
        return x
    found = body(x)
    if len(found) != 1 or tuple(found[0].shape) != tuple(x.shape):
        shapes = [tuple(y.shape) for y in found]
        raise OperatorError(f"FlexAttention: expected of {name} one array of shape {tuple(x.shape)}, found {shapes}")
    return found[0]


@operator(since=23)
def RotaryEmbedding(
    X: Array,
    cos_cache: Array,
    sin_cache: Array,
    position_ids: Array | None = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> Array:
    """Return pairs of numbers turned by the angles of their place in the sequence: Su et al. 2021, 3.4."""
    xp, x = array_namespace(X, cos_cache), widened(split_heads(X, num_heads, "RotaryEmbedding"))
    n, heads, length, size = x.shape
    turned = rotary_embedding_dim or size
    if turned % 2 or turned > size or cos_cache.shape[-1] != turned // 2 or cos_cache.shape != sin_cache.shape:
        raise ShapeError(
            f"RotaryEmbedding: expected an even part of {size} numbers to turn and angles for half of them, found "
            f"{turned} and angles of shape {tuple(cos_cache.shape)} and {tuple(sin_cache.shape)}"
        )
    caches = [narrowed(cache, x.dtype) for cache in (cos_cache, sin_cache)]
    if position_ids is not None:
        caches = [rows_at(cache, position_ids) for cache in caches]
    cosine, sine = [xp.expand_dims(angles, axis=1) for angles in caches]  # (n, 1, length, turned / 2)
    half = turned // 2
    first = x[..., :turned:2] if interleaved else x[..., :half]
    second = x[..., 1:turned:2] if interleaved else x[..., half:turned]
    pair = cosine * first - sine * second, sine * first + cosine * second
    y = xp.reshape(xp.stack(pair, axis=-1), (n, heads, length, turned)) if interleaved else xp.concat(pair, axis=-1)
    y = narrowed(xp.concat([y, x[..., turned:]], axis=-1) if turned < size else y, X.dtype)
    return y if X.ndim == 4 else xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), X.shape)
