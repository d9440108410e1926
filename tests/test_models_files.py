"""Networks in files of other libraries: each answers as its own library does, or one error says what was found."""

from __future__ import annotations

import itertools
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_weights import assert_one_line

import anyback as ab
from anyback.models._layouts import as_perceptron

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 4))
KNOWN: dict[str, Any] = {"hidden": "relu", "output": "softmax", "backend": "numpy"}


def layers(*widths: int, dtype: str = "float32") -> list[np.ndarray]:
    """Return W1, b1, W2, b2, ..., each W (in, out)."""
    made: list[np.ndarray] = []
    for before, behind in itertools.pairwise(widths):
        made += [RNG.normal(size=(before, behind)).astype(dtype), RNG.normal(size=behind).astype(dtype)]
    return made


def by_hand(x: np.ndarray, arrays: list[np.ndarray]) -> np.ndarray:
    """Return the answer of a ReLU network in float64."""
    plain = [a.astype(np.float64) for a in arrays]
    for w, b in zip(plain[:-2:2], plain[1:-2:2], strict=True):
        x = np.maximum(x @ w + b, 0)
    y = np.exp(x @ plain[-2] + plain[-1])
    return y / y.sum(axis=-1, keepdims=True)


def answers(path: Path, x: np.ndarray = X, **options: Any) -> np.ndarray:
    return ab.predict(ab.load_model(path, **KNOWN, **options), x.astype(np.float32))


def torchs(*names: str, made: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return layers as PyTorch names them: each weight (out, in)."""
    found = {}
    for name, w, b in zip(names, made[::2], made[1::2], strict=True):
        found |= {f"{name}weight": w.T.copy(), f"{name}bias": b}
    return found


SQUARE = layers(4, 4, 4, 3)  # whose shapes fit either way


@pytest.mark.parametrize(
    "names",
    [
        ("0.", "2.", "4."),
        ("fc1.", "fc2.", "fc3."),
        ("module.fc1.", "module.fc2.", "module.fc3."),
        ("net.0.", "net.2.", "net.10."),
        ("_orig_mod.layers.0.linear.", "_orig_mod.layers.1.linear.", "_orig_mod.layers.2.linear."),
        ("blocks.0.lin1.", "blocks.0.lin2.", "blocks.1.lin1."),
        ("body.0.", "body.2.", "out."),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pkl"])
def test_layers_with_pytorchs_names_are_turned_by_name_and_ordered_by_number(
    tmp_path: Path, names: tuple[str, ...], suffix: str
) -> None:
    arrays = torchs(*names, made=SQUARE)
    path = tmp_path / f"w{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(dict(reversed(arrays.items()))))
    else:
        ab.write_weights(path, dict(reversed(arrays.items())))
    np.testing.assert_allclose(answers(path), by_hand(X, SQUARE), atol=2e-6)


def test_names_without_numbers_are_ordered_by_widths_where_one_order_fits(tmp_path: Path) -> None:
    made = layers(4, 6, 5, 3)
    ab.write_weights(tmp_path / "w.npz", torchs("last.", "first.", "middle.", made=[*made[4:], *made[:4]]))
    np.testing.assert_allclose(answers(tmp_path / "w.npz"), by_hand(X, made), atol=2e-6)
    made = layers(4, 3)
    ab.write_weights(tmp_path / "w.npz", torchs("", made=made))
    np.testing.assert_allclose(answers(tmp_path / "w.npz"), by_hand(X, made), atol=2e-6)
    made = layers(4, 6, 6, 3)  # the numbers say which of two that fit is first
    ab.write_weights(tmp_path / "w.npz", torchs("fc1.", "fc2.", "out.", made=made))
    np.testing.assert_allclose(answers(tmp_path / "w.npz"), by_hand(X, made), atol=2e-6)


def test_biases_that_no_layer_has_are_zeros(tmp_path: Path) -> None:
    made = layers(4, 6, 3)
    arrays = {name: x for name, x in torchs("0.", "2.", made=made).items() if name.endswith("weight")}
    ab.write_weights(tmp_path / "w.npz", arrays)
    zeros = [x if x.ndim == 2 else np.zeros_like(x) for x in made]
    np.testing.assert_allclose(answers(tmp_path / "w.npz"), by_hand(X, zeros), atol=2e-6)


@pytest.mark.parametrize(
    "names",
    [
        ["arr_0", "arr_1", "arr_2", "arr_3", "arr_4", "arr_5"],
        [f"params.Dense_{i}.{part}" for i in (0, 1, 10) for part in ("kernel", "bias")],
        [f"layers/dense{i}/vars/{part}" for i in ("", "_1", "_10") for part in "01"],
        ["dense/kernel:0", "dense/bias:0", "dense_1/kernel:0", "dense_1/bias:0", "dense_2/kernel:0", "dense_2/bias:0"],
    ],
)
def test_kernels_of_keras_and_flax_are_never_turned(names: list[str]) -> None:
    arrays = dict(sorted(zip(names, SQUARE, strict=True)))
    beside = {} if names[0] == "arr_0" else {"optimizer/vars/0": np.ones(3), "layers/dropout/seed_generator/vars/0": X}
    found = as_perceptron(arrays | beside)
    assert list(found) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    for array, expected in zip(found.values(), SQUARE, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_dicts_of_dicts_are_networks(tmp_path: Path) -> None:
    made = layers(4, 6, 3)
    flax = {"params": {f"Dense_{i}": {"kernel": made[2 * i], "bias": made[2 * i + 1]} for i in (1, 0)}}
    torch = {f"fc{i}": {"weight": made[2 * i].T, "bias": made[2 * i + 1]} for i in (0, 1)}
    for tree in (flax, torch):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(tree))
        np.testing.assert_allclose(answers(tmp_path / "w.pkl"), by_hand(X, made), atol=2e-6)


W, B = np.ones((3, 4), np.float32), np.ones(3, np.float32)
BAD: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "a convolution": (
        {"conv1.weight": np.ones((8, 1, 3, 3)), "conv1.bias": np.ones(8), "fc.weight": W, "fc.bias": B},
        r"conv1.weight \(8, 1, 3, 3\) has the axes of a convolution, whose strides and padding are not in such a file: "
        r"export the network as ONNX .*from_torch.*found conv1.weight, conv1.bias, fc.weight, fc.bias",
    ),
    "a normalization": (
        {"0.weight": W, "0.bias": B, "1.weight": B, "1.bias": B},
        r"1.weight \(3,\) is not of a linear layer, \(out_features, in_features\): export .* as ONNX",
    ),
    "what moves along": (
        {"0.weight": W, "0.bias": B, "1.running_mean": B},
        "1.running_mean belong to no linear layer",
    ),
    "a bias alone": ({"0.weight": W, "0.bias": B, "2.bias": B}, "2.bias belong to no linear layer"),
    "a bias too few": (
        {"0.weight": W, "0.bias": B, "2.weight": np.ones((2, 3), np.float32)},
        "no bias beside 2.weight, while other layers have one",
    ),
    "a bias too long": ({"0.weight": W, "0.bias": np.ones(4, np.float32)}, r"0.bias: expected shape \(3,\), found"),
    "widths": (
        {"0.weight": W, "0.bias": B, "2.weight": W, "2.bias": B},
        r"2 \(4 to 3\) does not take what 0 \(4 to 3\), the layer before, gives",
    ),
    "no order": (
        {"a.weight": W, "a.bias": B, "b.weight": W, "b.bias": B},
        r"the layers fit in no order, .*: found a \(4 to 3\), b \(4 to 3\); name them by number",
    ),
    "two orders": (
        {f"{n}.{p}": np.ones((4, 4) if p == "weight" else 4, np.float32) for n in "ab" for p in ("weight", "bias")},
        r"the layers fit in more than one order: found a \(4 to 4\), b \(4 to 4\); name them by number",
    ),
    "too many orders": (
        {f"{chr(97 + i) * 9}.weight": np.ones((4, 4) if i < 25 else (5, 4), np.float32) for i in range(26)}
        | {"0.weight": np.ones((6, 4), np.float32)},
        "too many orders of 27 layers|fit in no order",
    ),
    "one number twice": (
        {f"fc{n}.{p}": W if p == "weight" else B for n in ("1", "01") for p in ("weight", "bias")},
        "two layers have one number",
    ),
    "kernels and weights": (
        {"0.weight": W, "0.bias": B, "1.kernel": W},
        "1.kernel belong to no linear layer",
    ),
    "a gap": ({"arr_0": W, "arr_2": B}, "missing arr_1; found arr_0, arr_2"),
    "a filter of Keras": ({"arr_0": np.ones((3, 3, 1, 8)), "arr_1": np.ones(8)}, r"arr_0 \(3, 3, 1, 8\) has the"),
    "two biases": (
        {"arr_0": W, "arr_1": np.ones(4), "arr_2": B},
        r"arr_2 \(3,\) is not of a linear layer, \(in_features, out_features\)",
    ),
    "an escape for a name": ({"\x1b[2J\n" * 20 + ".weight": np.ones((2, 2, 2))}, r"\\x1b\[2J"),
    "transposed": ({"arr_0": W, "arr_1": B}, r"arr_1: expected shape \(4,\), found \(3,\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_perceptron_is_one_error_that_lists_what_was_found(case: str) -> None:
    arrays, message = BAD[case]
    with pytest.raises(ab.WeightsError, match=message) as caught:
        as_perceptron(arrays)
    assert_one_line(caught.value)


def test_activations_that_were_not_given_are_said_once(tmp_path: Path) -> None:
    path, one = tmp_path / "w.npz", tmp_path / "one.npz"
    np.savez(path, *layers(4, 6, 3))
    np.savez(one, *layers(4, 3))
    with pytest.warns(UserWarning, match="w.npz: .* sigmoid between the layers and softmax at the end.*=") as caught:
        ab.load_model(path, backend="numpy")
    assert [Path(w.filename) for w in caught] == [Path(__file__)]
    with pytest.warns(UserWarning, match="taken are sigmoid between the layers, and"):
        ab.load_model(path, output="identity", backend="numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ab.load_model(path, hidden="sigmoid", backend="numpy")
        ab.load_model(path, **KNOWN)
        ab.load_model(one, backend="numpy")  # no layers to be between
        ab.load_model("digits-mlp", backend="numpy")


# -- As the library that wrote the file answers ------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".npz"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_module_of_pytorch_answers_as_there(tmp_path: Path, suffix: str, prefix: str) -> None:
    import safetensors.torch
    import torch
    from torch import nn

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3), nn.Softmax(-1))
    state = {prefix + name: x for name, x in module.state_dict().items()}
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    elif suffix == ".npz":
        np.savez(path, **{name: x.numpy() for name, x in state.items()})
    else:
        torch.save(state, path)
    with torch.no_grad():
        expected = module.double()(torch.from_numpy(X.astype(np.float32).astype(np.float64))).numpy()
    np.testing.assert_allclose(answers(path), expected, atol=2e-6, rtol=0)
    np.testing.assert_allclose(answers(path, dtype="float64"), expected, atol=1e-7, rtol=0)
