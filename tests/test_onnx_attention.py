"""ONNX's attention against loops in float64, PyTorch and ONNX's own reference; linear attention and its convolution."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes  # noqa: F401  # so that NumPy knows bfloat16
import numpy as np
import pytest
from conftest import Library, libraries
from onnx import TensorProto, helper, numpy_helper
from onnx_apply import applied

from anyback import backends
from anyback.errors import DataError, OperatorError, ShapeError
from anyback.onnx import load

RNG = np.random.default_rng(11)
INF = math.inf


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def attention(name: str, *given: Any, lib: Library | None = None, version: int = 25, **attributes: Any) -> Any:
    return applied(name, *given, lib=lib, domain="", version=version, **attributes)


def looped(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None = None,
    lengths: Any = None,
    *,
    past: int = 0,
    causal: bool = False,
    left: int = -1,
    right: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
) -> np.ndarray:
    """Return attention in float64, one query after the other."""
    q, k, v = (x.astype(float) for x in (q, k, v))
    n, heads, queries, size = q.shape
    keys, share = k.shape[2], heads // k.shape[1]
    bias = np.zeros((n, heads, queries, keys))
    if mask is not None:
        more = np.where(mask, 0.0, -INF) if mask.dtype == bool else mask.astype(float)
        bias[..., more.shape[-1] :] = -INF
        bias[..., : more.shape[-1]] += np.broadcast_to(more, (n, heads, queries, more.shape[-1]))
    y = np.zeros((n, heads, queries, v.shape[3]))
    for b, h, i in np.ndindex(n, heads, queries):
        place = i + (past if lengths is None else lengths[b] - queries)
        seen = [
            j
            for j in range(keys if lengths is None else lengths[b])
            if not (causal and j > place)
            and not (left >= 0 and j < place - left)
            and not (right >= 0 and j > place + right)
            and bias[b, h, i, j] > -INF
        ]
        if not seen:
            continue
        score = k[b, h // share, seen] @ q[b, h, i] * (1 / math.sqrt(size) if scale is None else scale)
        score = (softcap * np.tanh(score / softcap) if softcap else score) + bias[b, h, i, seen]
        power = np.exp(score - score.max())
        y[b, h, i] = power / power.sum() @ v[b, h // share, seen]
    return y


Q, K, V = normal(2, 6, 4, 8), normal(2, 3, 7, 8), normal(2, 3, 7, 5)
SEEN = RNG.uniform(size=(2, 1, 4, 7)) > 0.4
SEEN[0, 0, 2] = False  # a query that may attend no key
BIAS = np.where(RNG.uniform(size=(6, 4, 7)) > 0.2, normal(6, 4, 7), -INF)
LENGTHS = np.asarray([7, 3])

#: Attention by the arguments of the loops: a mask, lengths, and the rest.
CASES: dict[str, tuple[np.ndarray | None, np.ndarray | None, dict[str, Any]]] = {
    "plain": (None, None, {}),
    "causal": (None, None, {"causal": True}),
    "bools": (SEEN, None, {}),
    "bools, causal": (SEEN, None, {"causal": True}),
    "bias of each head": (BIAS, None, {}),
    "bias, causal": (BIAS, None, {"causal": True, "softcap": 0.7}),
    "bias of one row": (BIAS[0, 0], None, {}),
    "shorter mask": (SEEN[..., :5], None, {}),
    "shorter bias": (BIAS[..., :5], None, {"scale": 0.3}),
    "capped": (None, None, {"softcap": 0.5, "scale": 2.0}),
    "negative scale": (None, None, {"scale": -0.4}),
    "windows": (None, None, {"left": 1, "right": 2}),
    "window before": (None, None, {"left": 0}),
    "window and causal": (SEEN, None, {"left": 2, "right": 3, "causal": True}),
    "lengths": (None, LENGTHS, {}),
    "lengths, causal": (None, LENGTHS, {"causal": True}),
    "lengths, window": (SEEN, LENGTHS, {"left": 1, "right": 0}),
}
NAMES = {"causal": "is_causal", "left": "left_window_size", "right": "right_window_size"}


def as_onnx(arguments: dict[str, Any]) -> dict[str, Any]:
    return {NAMES.get(key, key): int(x) if isinstance(x, bool) else x for key, x in arguments.items() if key != "past"}


@pytest.mark.parametrize("case", CASES)
def test_attention_is_what_loops_give(lib: Library, case: str) -> None:
    mask, lengths, arguments = CASES[case]
    for dtype in lib.dtypes:
        given = [np.asarray(x, dtype) for x in (Q, K, V)]
        typed = mask if mask is None or mask.dtype == bool else mask.astype(dtype)
        y = attention("Attention", *given, typed, None, None, lengths, lib=lib, **as_onnx(arguments))
        assert y.dtype == given[0].dtype
        expected = looped(*given, typed, lengths, **arguments)
        # Half types round the result once.
        digits = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-5, "float64": 1e-12}[dtype]
        np.testing.assert_allclose(y.astype(float), expected, rtol=digits, atol=digits)


@pytest.mark.parametrize("causal", [False, True])
def test_past_keys_lie_before_the_new_ones(lib: Library, causal: bool) -> None:
    q, k, v = (x.astype(np.float32) for x in (Q, K, V))
    mask = np.asarray(BIAS, np.float32)
    new = (q, k[:, :, 4:], v[:, :, 4:], mask, k[:, :, :4], v[:, :, :4])
    y, keys, values, product = attention("Attention", *new, lib=lib, is_causal=int(causal), outputs=4)
    expected = looped(q, k, v, mask, past=4, causal=causal)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(keys, k)
    np.testing.assert_array_equal(values, v)
    np.testing.assert_allclose(product, q @ np.repeat(k, 2, axis=1).swapaxes(2, 3) / math.sqrt(8), rtol=1e-4, atol=1e-5)


def test_heads_side_by_side_are_divided(lib: Library) -> None:
    q, k, v = (x.astype(np.float32) for x in (Q, K, V))
    flat = [x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1) for x in (q, k, v)]
    y = attention("Attention", *flat, lib=lib, q_num_heads=6, kv_num_heads=3, is_causal=1)
    expected = looped(q, k, v, causal=True).transpose(0, 2, 1, 3).reshape(2, 4, 30)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_the_scores_before_and_behind_each_stage(lib: Library) -> None:
    q, k, v, bias = (x.astype(np.float32) for x in (Q, K[:, :, :7], V, BIAS))
    raw = q.astype(float) @ np.repeat(k.astype(float), 2, axis=1).swapaxes(2, 3) * 0.25
    capped = 2 * np.tanh(raw / 2)
    power = np.exp(capped + bias)
    stages = [raw, capped, capped + bias, power / power.sum(axis=-1, keepdims=True)]
    for mode, expected in enumerate(stages):
        more = {"scale": 0.25, "softcap": 2.0, "qk_matmul_output_mode": mode, "outputs": 4}
        found = attention("Attention", q, k, v, bias, lib=lib, **more)[3]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # Dask computes in threads of its own
def test_a_query_without_keys_gives_zeros_whatever_the_scores(lib: Library) -> None:
    q, k, v = (x.astype(np.float32) for x in (Q, K, V))
    q[0, 0, 1] = INF
    seen = np.ones((4, 7), bool)
    seen[1] = False
    with np.errstate(invalid="ignore"):  # of infinities, which NumPy warns of
        y, *_, shares = attention("Attention", q, k, v, seen, lib=lib, qk_matmul_output_mode=3, outputs=4)
    assert not y[:, :, 1].any()
    assert not shares[:, :, 1].any()
    rest = [0, 2, 3]
    expected = looped(q[:, :, rest], k, v)
    np.testing.assert_allclose(y[:, :, rest], expected, rtol=1e-5, atol=1e-5)


def test_numbers_of_hidden_keys_do_not_matter(lib: Library) -> None:
    q, k, v = (x.astype(np.float32) for x in (Q, K, V))
    expected = attention("Attention", q, k, v, None, None, None, LENGTHS, lib=lib)
    k[1, :, 3:] = np.nan
    np.testing.assert_array_equal(attention("Attention", q, k, v, None, None, None, LENGTHS, lib=lib), expected)


def test_large_numbers_of_half_types_stay_finite(lib: Library) -> None:
    if "float16" not in lib.dtypes:
        pytest.skip("the library has no half types")
    q, k, v = (np.full((1, 1, 2, 64), x, np.float16) for x in (200.0, 200.0, 1.0))
    np.testing.assert_array_equal(attention("Attention", q, k, v, lib=lib), v)  # the product of a row is 2,560,000


def test_softmax_in_more_digits(lib: Library) -> None:
    if "float64" not in lib.dtypes:
        pytest.skip("the library has no float64")
    given = [x.astype(np.float32) for x in (Q, K, V)]
    y = attention("Attention", *given, lib=lib, softmax_precision="float64")
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, looped(*given), rtol=1e-5, atol=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(20))
def test_pytorch_agrees(seed: int) -> None:
    import torch

    rng = np.random.default_rng(seed)
    n, fewer, many, queries, keys, size, columns = (int(x) for x in rng.integers(1, 6, 7))
    causal = bool(seed % 2)
    queries = keys if causal else queries
    shapes = (n, fewer * many, queries, size), (n, fewer, keys, size), (n, fewer, keys, columns)
    given = [rng.normal(size=shape) for shape in shapes]
    mask = None if causal else rng.normal(size=(n, 1, queries, keys))
    tensors = [torch.tensor(x) for x in given]
    expected = torch.nn.functional.scaled_dot_product_attention(
        *tensors,
        attn_mask=None if mask is None else torch.tensor(mask),
        is_causal=causal,
        scale=0.3,
        enable_gqa=True,
    )
    y = attention("Attention", *given, mask, scale=0.3, is_causal=int(causal))
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("version", [23, 24])
def test_older_versions_take_what_they_know(version: int) -> None:
    given = [x.astype(np.float32) for x in (Q, K, V)]
    y = attention("Attention", *given, SEEN, version=version, is_causal=1)
    np.testing.assert_allclose(y, looped(*given, SEEN, causal=True), rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="left_window_size"):
        attention("Attention", *given, version=version, left_window_size=1)


def test_a_mask_of_one_key_is_that_of_all_until_shorter_masks_were_filled_up() -> None:
    given = [x.astype(np.float32) for x in (Q, K, V)]
    y = attention("Attention", *given, SEEN[..., :1], version=23)
    np.testing.assert_allclose(y, looped(*given, np.repeat(SEEN[..., :1], 7, axis=3)), rtol=1e-5, atol=1e-5)
    y = attention("Attention", *given, SEEN[..., :1], version=24)
    np.testing.assert_allclose(y, looped(*given, SEEN[..., :1]), rtol=1e-5, atol=1e-5)


def test_no_queries_and_no_keys() -> None:
    assert attention("Attention", Q[:, :, :0], K, V).shape == (2, 6, 0, 5)
    np.testing.assert_array_equal(attention("Attention", Q, K[:, :, :0], V[:, :, :0]), np.zeros((2, 6, 4, 5)))


def test_what_does_not_fit_is_one_clear_error() -> None:
    for given in ((Q, K, V[:, :2]), (Q, K[..., :4], V), (Q[:, :5], K, V), (Q, K[:1], V), (Q[0], K[0], V[0])):
        with pytest.raises(ShapeError, match="expected"):
            attention("Attention", *given)
    with pytest.raises(ShapeError, match="mask"):
        attention("Attention", Q, K, V, np.ones((4, 8), bool))
    with pytest.raises(ShapeError, match="4 heads"):
        attention("Attention", Q, K, V, q_num_heads=4)
    with pytest.raises(DataError, match="past keys and values together"):
        attention("Attention", Q, K, V, None, K)
    with pytest.raises(DataError, match="windows"):
        attention("Attention", Q, K, V, left_window_size=-2)
    with pytest.raises(DataError, match="mode"):
        attention("Attention", Q, K, V, qk_matmul_output_mode=4)


# -- With graphs of the file --------------------------------------------------------------------------


def flexible(*, scale: float | None = None, wrong: bool = False) -> bytes:
    """Return a file whose scores are doubled, and whose shares are less a number."""

    def graph(op: str, number: float) -> Any:
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("in", "out")]
        constant = numpy_helper.from_array(np.full((2, 2, 2, 2) if wrong else (), number, np.float32), "number")
        nodes = [helper.make_node("Concat", ["in", "number"], ["out"], axis=3)] if wrong else []
        nodes = nodes or [helper.make_node(op, ["in", "number"], ["out"])]
        return helper.make_graph(nodes, op, ends[:1], ends[1:], [constant])

    more = {} if scale is None else {"scale": scale}
    node = helper.make_node(
        "FlexAttention",
        ["q", "k", "v"],
        ["y"],
        domain="ai.onnx.preview",
        score_mod=graph("Mul", 2.0),
        prob_mod=graph("Sub", 0.125),
        **more,
    )
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in "qkvy"]
    opsets = [helper.make_opsetid("", 26), helper.make_opsetid("ai.onnx.preview", 1)]
    model = helper.make_model(helper.make_graph([node], "graph", ports[:3], ports[3:]), opset_imports=opsets)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("name", libraries("numpy", "jax", "torch", "dask", "array_api_strict"))
def test_graphs_change_scores_and_shares(name: str) -> None:
    given = [x.astype(np.float32) for x in (Q, K, V)]
    net = load(flexible(scale=0.3)).to(name)
    y = backends.to_numpy(net(*[backends.asarray(x, backend=name) for x in given]))
    expected = looped(*given, scale=0.6) - 0.125 * np.repeat(given[2], 2, axis=1).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_without_graphs_it_is_attention(lib: Library) -> None:
    for dtype in lib.dtypes:
        given = [np.asarray(x, dtype) for x in (Q, K, V)]
        y = applied("FlexAttention", *given, lib=lib, domain="ai.onnx.preview", version=1)
        assert y.dtype == given[0].dtype
        digits = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-5, "float64": 1e-12}[dtype]
        np.testing.assert_allclose(y.astype(float), looped(*given), rtol=digits, atol=digits)


def test_a_graph_that_changes_the_shape_is_refused() -> None:
    given = [x.astype(np.float32)[:, :2, :2] for x in (Q, K, V)]
    with pytest.raises(OperatorError, match=r"score_mod one array of shape \(2, 2, 2, 2\)"):
        load(flexible(wrong=True))(*given)


# -- Turned by their places ---------------------------------------------------------------------------


def turned(x: np.ndarray, angles: np.ndarray, interleaved: bool) -> np.ndarray:
    """Return (n, heads, length, size) with pairs turned as complex numbers; angles have shape (n, length, half)."""
    half, y = angles.shape[-1], x.astype(complex)
    first, second = (
        (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if interleaved else (slice(half), slice(half, 2 * half))
    )
    z = (y[..., first] + 1j * y[..., second]) * np.exp(1j * angles[:, None])
    y[..., first], y[..., second] = z.real, z.imag
    return y.real


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("part", [0, 4])
@pytest.mark.parametrize("flat", [False, True])
def test_pairs_are_turned_as_complex_numbers(lib: Library, interleaved: int, part: int, flat: bool) -> None:
    x, half = normal(2, 3, 5, 8), (part or 8) // 2
    table, places = RNG.uniform(-3, 3, (9, half)), RNG.integers(0, 9, (2, 5))
    expected = turned(x, table[places], bool(interleaved))
    more = {"interleaved": interleaved, "rotary_embedding_dim": part}
    if flat:
        x, expected = (a.transpose(0, 2, 1, 3).reshape(2, 5, 24) for a in (x, expected))
        more["num_heads"] = 3
    for dtype in lib.dtypes:
        digits = {"float16": 1e-2, "bfloat16": 6e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
        caches = [np.asarray(c, dtype) for c in (np.cos(table), np.sin(table))]
        y = attention("RotaryEmbedding", np.asarray(x, dtype), *caches, places, lib=lib, **more)
        np.testing.assert_allclose(y.astype(float), expected, rtol=digits, atol=digits)
        caches = [np.asarray(c[places], dtype) for c in (np.cos(table), np.sin(table))]
        again = attention("RotaryEmbedding", np.asarray(x, dtype), *caches, lib=lib, **more)
        np.testing.assert_array_equal(again, y)


def test_angles_must_fit() -> None:
    caches = np.ones((2, 5, 3)), np.ones((2, 5, 3))
    with pytest.raises(ShapeError, match="RotaryEmbedding"):
        attention("RotaryEmbedding", normal(2, 3, 5, 8), *caches)
    with pytest.raises(ShapeError, match="RotaryEmbedding"):
        attention("RotaryEmbedding", normal(2, 3, 5, 8), *caches, rotary_embedding_dim=10)
    with pytest.raises(ShapeError, match="number of heads"):
        attention("RotaryEmbedding", normal(2, 5, 24), *caches)


# -- Linear attention, and a convolution of the past --------------------------------------------------


def recurrent(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, state: np.ndarray, g: np.ndarray | None, rate: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what queries read, and the state, in float64: arrays are (n, length, heads, size)."""
    share, y, state = q.shape[2] // k.shape[2], np.zeros((*q.shape[:3], v.shape[3])), state.astype(float)
    for b, h in np.ndindex(q.shape[0], k.shape[2]):
        s = state[b, h].copy()
        for t in range(q.shape[1]):
            if g is not None:
                s = np.exp(g[b, t, h])[:, None] * s
            new = v[b, t, h] if rate is None else rate[b, t, h] * (v[b, t, h] - s.T @ k[b, t, h])
            s = s + np.outer(k[b, t, h], new)
            for i in range(h * share, (h + 1) * share):
                y[b, t, i] = s.T @ q[b, t, i] / math.sqrt(q.shape[3])
        state[b, h] = s
    return y, state


RULES = {"linear": (False, False), "gated": (True, False), "delta": (False, True), "gated_delta": (True, True)}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("each", [True, False], ids=["each number", "each head"])
def test_linear_attention_is_its_recurrence(lib: Library, rule: str, each: bool) -> None:
    gated, corrected = RULES[rule]
    q, k, v = normal(2, 5, 6, 4), normal(2, 5, 3, 4) / 2, normal(2, 5, 3, 7)
    state = normal(2, 3, 4, 7)
    g = -RNG.uniform(0, 1, (2, 5, 3, 4 if each else 1)) if gated else None
    rate = RNG.uniform(0, 1, (2, 5, 3 if each else 1, 1)) if corrected else None
    expected, last = recurrent(
        q, k, v, state, None if g is None else g + np.zeros(4), None if rate is None else rate + np.zeros((3, 1))
    )

    def flat(x: np.ndarray | None, dtype: str) -> np.ndarray | None:
        return None if x is None else x.reshape(2, 5, -1).astype(dtype)

    heads = {"q_num_heads": 6, "kv_num_heads": 3, "update_rule": rule, "outputs": 2}
    for dtype in lib.dtypes:
        digits = {"float16": 1e-2, "bfloat16": 8e-2, "float32": 1e-4, "float64": 1e-11}[dtype]
        given = [flat(x, dtype) for x in (q, k, v)]
        more = [state.astype(dtype), flat(g, dtype), flat(rate, dtype)]
        y, after = attention("LinearAttention", *given, *more, lib=lib, version=27, **heads)
        assert y.dtype == after.dtype == given[0].dtype  # type: ignore[union-attr]
        np.testing.assert_allclose(y.astype(float), expected.reshape(2, 5, 42), rtol=digits, atol=digits)
        np.testing.assert_allclose(after.astype(float), last, rtol=digits, atol=digits)


def test_a_sequence_in_two_parts_is_one_sequence(lib: Library) -> None:
    arrays = [normal(2, 6, size).astype(np.float32) for size in (8, 4, 6)]
    heads = {"q_num_heads": 4, "kv_num_heads": 2, "update_rule": "linear", "scale": 0.5, "outputs": 2}
    whole, last = attention("LinearAttention", *arrays, lib=lib, version=27, **heads)
    first, state = attention("LinearAttention", *[x[:, :4] for x in arrays], lib=lib, version=27, **heads)
    second, after = attention("LinearAttention", *[x[:, 4:] for x in arrays], state, lib=lib, version=27, **heads)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(after, last, rtol=1e-6, atol=1e-6)


def test_what_a_rule_does_not_take_is_refused() -> None:
    q, k, v = normal(1, 3, 4), normal(1, 3, 4), normal(1, 3, 4)
    heads = {"q_num_heads": 2, "kv_num_heads": 2}

    def refused(error: type[Exception], match: str, *given: Any, **more: Any) -> None:
        with pytest.raises(error, match=match):
            attention("LinearAttention", *given, version=27, **{**heads, "update_rule": "linear", **more})

    refused(DataError, "rule 'none'", q, k, v, update_rule="none")
    refused(DataError, "takes decay: True", q, k, v, update_rule="gated")
    refused(DataError, "beta: False", q, k, v, None, None, normal(1, 3, 2))
    refused(ShapeError, "cannot share", q, k, v, q_num_heads=3)
    refused(ShapeError, "keys and values", q, k[:, :2], v)
    refused(ShapeError, "a state of shape", q, k, v, normal(1, 2, 2, 3))
    refused(ShapeError, "a decay for each", q, k, v, None, normal(1, 3, 6), update_rule="gated")
    refused(ShapeError, "a rate for each", q, k, v, None, None, normal(1, 3, 4), update_rule="delta")
    refused(ShapeError, "heads \\* size", q[0], k[0], v[0])


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("activation", ["none", "silu", "swish"])
def test_a_convolution_of_the_past(lib: Library, size: int, activation: str) -> None:
    x, kernel, bias, past = normal(2, 3, 4), normal(3, 1, size), normal(3), normal(2, 3, size - 1)
    for dtype in lib.dtypes:
        given = [np.asarray(a, dtype) for a in (x, kernel, bias, past)]
        wide, taps, added, before = (a.astype(float) for a in given)
        padded = np.concatenate([before, wide], axis=2)
        expected = np.asarray(
            [[np.correlate(row, taps[c, 0], "valid") + added[c] for c, row in enumerate(image)] for image in padded]
        )
        expected = expected if activation == "none" else expected / (1 + np.exp(-expected))
        digits = {"float16": 2e-3, "bfloat16": 1e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
        more = {"activation": activation, "outputs": 2, "lib": lib, "version": 27}
        y, state = attention("CausalConvWithState", *given, **more)
        np.testing.assert_allclose(y.astype(float), expected, rtol=digits, atol=digits)
        np.testing.assert_array_equal(state.astype(float), padded[:, :, 4:])
        # In two calls, and from the start without a state.
        first, state = attention("CausalConvWithState", given[0][:, :, :1], *given[1:], **more)
        second, _ = attention("CausalConvWithState", given[0][:, :, 1:], *given[1:3], state, **more)
        np.testing.assert_array_equal(np.concatenate([first, second], axis=2), y)
        none = attention("CausalConvWithState", *given[:3], **more)
        zeros = attention("CausalConvWithState", *given[:3], np.zeros_like(given[3]), **more)
        np.testing.assert_array_equal(none[0], zeros[0])


def test_kernels_and_states_must_fit() -> None:
    for given in ((normal(2, 3, 4), normal(2, 1, 3)), (normal(2, 3), normal(3, 1, 3)), (normal(2, 3, 4), normal(3, 3))):
        with pytest.raises(ShapeError, match="CausalConvWithState"):
            attention("CausalConvWithState", *given, version=27)
    with pytest.raises(ShapeError, match="state of shape"):
        attention("CausalConvWithState", normal(2, 3, 4), normal(3, 1, 3), None, normal(2, 3, 3), version=27)
    with pytest.raises(DataError, match="'relu'"):
        attention("CausalConvWithState", normal(2, 3, 4), normal(3, 1, 3), activation="relu", version=27)
