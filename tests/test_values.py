"""What values mean: booleans, pixels that nobody scaled, masks and units, a softmax of one, and what is no array."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Library, libraries, usable

import anyback as ab
from anyback.activations import ACTIVATIONS, identity, log_softmax, sigmoid, softmax
from anyback.layers import Flatten, Linear, Pixels, Sequential

DIGITS = ab.datasets.digits("test")
#: Ink or none, as a thresholded image has it.
INK = DIGITS.images > 8


def on(lib: Library) -> Sequential:
    return ab.load_model("digits-mlp", backend=lib.backend)


# -- Booleans -----------------------------------------------------------------------------------------


def test_a_boolean_is_full_ink_or_none(lib: Library) -> None:
    net = on(lib)
    bits = lib.to_numpy(ab.predict(net, INK)).tobytes()
    assert bits == lib.to_numpy(ab.predict(net, INK.astype(np.float32))).tobytes()
    here, ones = lib.asarray(INK[:20], None), lib.asarray(INK[:20])
    np.testing.assert_array_equal(lib.to_numpy(net(here)), lib.to_numpy(net(ones)))
    inked = lib.to_numpy(ab.predict(net, INK * np.uint8(16)))  # its weights were rounded once more
    np.testing.assert_allclose(np.frombuffer(bits, np.float32).reshape(-1, 10), inked, atol=2e-6)


def test_net_and_predict_take_booleans_alike(lib: Library) -> None:
    weight = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    net = Sequential((Flatten((8, 8)), Pixels(lib.asarray(16.0)), Linear(lib.asarray(weight))))
    y = lib.to_numpy(ab.predict(net, INK))
    np.testing.assert_allclose(y, INK.reshape(-1, 64) @ weight, atol=1e-5)
    np.testing.assert_allclose(lib.to_numpy(net(lib.asarray(INK, None))), y, atol=1e-5)


def test_a_score_a_comparison_and_a_proof_of_booleans_are_those_of_zeros_and_ones() -> None:
    net, ones = ab.load_model("digits-mlp", backend="numpy"), INK.astype(np.float32)
    assert ab.evaluate(net, INK, DIGITS.labels).accuracy == ab.evaluate(net, ones, DIGITS.labels).accuracy > 0.9
    report = ab.parity(net, INK, DIGITS.labels, backends=["numpy"])
    assert report.ok, str(report)
    proof = ab.certify(net, INK)
    np.testing.assert_array_equal(proof.labels, ab.certify(net, ones).labels)
    assert proof.undecided == 0


# -- Pixels that nobody scaled ------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["predict", "evaluate"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_far_above_one_are_warned_of_once_and_taken_as_they_are(call: str, dtype: str) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    x = np.concatenate([np.zeros_like(DIGITS.images)] * 8 + [DIGITS.images]).astype(dtype)  # seen in the last batch too
    run: Callable[[Any], Any] = {
        "predict": lambda x: ab.predict(net, x),
        "evaluate": lambda x: ab.evaluate(net, x, np.zeros(len(x), np.uint8)).predictions,
    }[call]
    with pytest.warns(UserWarning, match=r"numbers up to 16, .* by 16: pass pixels from 0 to 1, or as int") as found:
        y = run(x)
    assert len(found) == 1
    assert found[0].filename == __file__
    if call == "predict" and dtype != "float16":
        np.testing.assert_allclose(y, net(x), atol=1e-6)


def said_by(call: Callable[[], object]) -> list[str]:
    """Return what a call warns of."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return [str(row.message) for row in found]


@pytest.mark.parametrize("largest", [1.0, 1.5, 2.9])  # 2.9: pixels of MNIST less their mean, in standard deviations
def test_floats_about_one_are_no_matter(largest: float) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    assert said_by(lambda: ab.predict(net, DIGITS.images * np.float32(largest / 16))) == []


def test_no_scale_no_warning(lib: Library) -> None:
    x = np.full((3, 64), 200.0, np.float32)
    plain = Sequential((Linear(lib.asarray(np.ones((64, 2)))),))
    assert said_by(lambda: ab.predict(plain, x)) == []
    assert said_by(lambda: ab.predict(on(lib), x.astype(np.uint8))) == []


@pytest.mark.array_api_strict
def test_arrays_on_a_device_are_not_looked_at() -> None:
    backend = usable("array_api_strict:device1")
    net = ab.load_model("digits-mlp", backend=backend)
    assert said_by(lambda: ab.predict(net, backend.asarray(np.full((3, 64), 200.0, np.float32)))) == []


def test_nan_and_unscaled_numbers_are_both_said() -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    x = DIGITS.images.astype(np.float32)
    x[3, 0, 0] = np.nan
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        ab.predict(net, x)
    assert [str(w.message).partition(" ")[0] for w in found] == ["nan", "the"]
    assert "nan in 1 of 500 rows" in str(found[0].message)


# -- A softmax of one ---------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [softmax, log_softmax])
@pytest.mark.parametrize("call", ["predict", "evaluate", "parity", "certify"])
def test_a_softmax_of_one_output_is_an_error(last: Any, call: str) -> None:
    net = Sequential((Linear(np.ones((4, 1), np.float32)), last))
    x, labels = np.ones((5, 4), np.float32), np.zeros(5, np.uint8)
    calls: dict[str, Callable[[], object]] = {
        "predict": lambda: ab.predict(net, x),
        "evaluate": lambda: ab.evaluate(net, x, labels),
        "parity": lambda: ab.parity(net, x, backends=["numpy"]),
        "certify": lambda: ab.certify(net, x),
    }
    with pytest.raises(ab.DataError, match=r"a softmax of one output is always 1.*'sigmoid'"):
        calls[call]()


@pytest.mark.parametrize("last", [softmax, log_softmax])
def test_a_softmax_of_one_output_behind_a_function_of_the_user_is_seen_in_what_comes_out(last: Any) -> None:
    net, x = Sequential((Linear(np.ones((4, 3))), lambda y: y[..., :1], last)), np.ones((5, 4), np.float32)
    for call in (lambda: ab.predict(net, x), lambda: ab.predict(net, x[0]), lambda: ab.evaluate(net, x, [0] * 5)):
        with pytest.raises(ab.DataError, match="a softmax of one output is always 1"):
            call()


def test_a_file_with_one_output_asks_for_another_last_activation(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", W1=np.ones((4, 1), np.float32), b1=np.zeros(1, np.float32))
    with pytest.raises(ab.DataError, match=r"a softmax of one output is always 1.*output='sigmoid'"):
        ab.load_model(tmp_path / "one.npz", backend="numpy")
    net = ab.load_model(tmp_path / "one.npz", output="sigmoid", backend="numpy")
    assert ab.predict(net, np.zeros((2, 4), np.float32)).tolist() == [[0.5], [0.5]]


def test_a_softmax_of_one_inside_is_the_business_of_the_user() -> None:
    net = Sequential((Linear(np.ones((4, 1))), softmax, Linear(np.ones((1, 2))), identity))
    np.testing.assert_array_equal(ab.predict(net, np.zeros((2, 4))), np.ones((2, 2)))


# -- Arrays that say more than their numbers ----------------------------------------------------------


class Metres(np.ndarray):
    """An array with a unit, as astropy's and unyt's are."""


SUBCLASSES = {
    "masked": (lambda x: np.ma.masked_array(x, mask=np.eye(*x.shape, dtype=bool)), r"found MaskedArray; .*x\.filled"),
    "nothing masked": (np.ma.masked_array, r"found MaskedArray; .*x\.filled"),
    "matrix": (lambda x: x.view(np.matrix), r"found matrix; .*numpy\.asarray\(x\)"),
    "unit": (lambda x: x.view(Metres), r"found Metres; .*numpy\.asarray\(x\)"),
}


@pytest.mark.parametrize("name", SUBCLASSES)
def test_an_array_whose_class_says_more_is_refused_at_every_door(name: str) -> None:
    make, message = SUBCLASSES[name]
    net, x, labels = ab.load_model("digits-mlp", backend="numpy"), INK.reshape(-1, 64)[:9] / 16, DIGITS.labels[:9]
    special = make(x)
    doors: list[Callable[[], object]] = [
        lambda: net(special),
        lambda: ab.predict(net, special),
        lambda: ab.predict(net, list(special)),
        lambda: ab.predict(net, [[0.0] * 64, special[0]]),
        lambda: ab.evaluate(net, special, labels),
        lambda: ab.parity(net, special, backends=["numpy"]),
        lambda: ab.certify(net, special),
        lambda: ab.asarray(special),
        lambda: ab.to_numpy(special),
        lambda: Linear(make(np.ones((64, 2)))),
        lambda: Sequential((Linear(np.ones((64, 2))),))(special),
        *(lambda f=f: f(special) for f in ACTIVATIONS.values() if f is not identity),
    ]
    for door in doors:
        with pytest.raises(ab.DataError, match=message):
            door()


def test_masked_labels_are_refused_by_name() -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    labels = np.ma.masked_array(DIGITS.labels, mask=DIGITS.labels == 3)
    with pytest.raises(ab.DataError, match="labels: expected an array of numbers, found MaskedArray"):
        ab.evaluate(net, DIGITS.images, labels)
    with pytest.raises(ab.DataError, match="labels: expected an array of numbers, found None"):
        ab.evaluate(net, DIGITS.images, None)


def test_a_masked_row_in_a_list_is_not_looked_under() -> None:
    for masked in (np.ma.masked_array([1.0, 2.0], mask=[True, False]), [1.0, np.ma.masked]):
        with pytest.raises(ab.DataError, match="found Masked"):
            ab.asarray([[1.0, 2.0], masked])


def test_classes_that_say_where_memory_is_are_arrays_like_any(lib: Library, tmp_path: Path) -> None:
    x = DIGITS.images[:30]
    np.save(tmp_path / "x.npy", x)
    expected = lib.to_numpy(ab.predict(on(lib), x)).tobytes()
    for same in (np.load(tmp_path / "x.npy", mmap_mode="r"), x.view(np.recarray)):
        assert lib.to_numpy(ab.predict(on(lib), same)).tobytes() == expected
        np.testing.assert_array_equal(lib.to_numpy(ab.asarray(same, backend=lib.backend)), x)


# -- What is no array of numbers ----------------------------------------------------------------------


class Loader:
    """A data set as PyTorch has it: it can be counted and indexed, and gives pairs."""

    def __len__(self) -> int:
        raise AssertionError("read item by item")

    __getitem__ = __len__


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, r"found None; pass an array"),
        ("images.npy", r"found str; read the file before.*numpy\.load"),
        (Path("images.npy"), r"found \w*Path; read the file before.*numpy\.load"),
        (b"\x89PNG", r"found bytes; read the file"),
        ((row for row in [[1.0]]), r"found generator; pass numpy\.asarray\(list\(x\)\)"),
        (DIGITS, r"found Dataset; pass its images, x\.images"),
        ({"x": [1.0]}, r"found dict; pass one of its values"),
        ({1.0}, r"found set; pass an array, or a list"),
        (Loader(), r"found Loader; pass an array, or a list"),
        (object(), r"found object; pass an array"),
        (np, r"found module; pass an array"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_array_is_named_by_its_type_with_the_cure(bad: object, message: str) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    for door in (lambda: net(bad), lambda: ab.predict(net, bad), lambda: ab.certify(net, bad), lambda: sigmoid(bad)):
        with pytest.raises(ab.DataError, match=f"expected an array of numbers, {message}"):
            door()
    with pytest.raises(ab.DataError, match=message):
        ab.asarray(bad)
    with pytest.raises(ab.DataError, match=f"labels: .*{message}"):
        ab.evaluate(net, DIGITS.images, bad)


def test_a_network_in_place_of_the_images_is_named() -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    with pytest.raises(ab.DataError, match="expected an array of numbers, found Sequential"):
        ab.predict(net, net)


def refused_everywhere(sparse: object, message: str) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    doors: tuple[Callable[[], object], ...] = (
        lambda: net(sparse),
        lambda: ab.predict(net, sparse),
        lambda: ab.asarray(sparse),
        lambda: ab.to_numpy(sparse),
        lambda: sigmoid(sparse),
    )
    for door in doors:
        with pytest.raises(ab.DataError, match=message):
            door()


@pytest.mark.sklearn  # which brings SciPy
def test_a_sparse_matrix_of_scipy_says_how_to_fill_it() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    for make in (sparse.csr_matrix, sparse.coo_array, sparse.lil_matrix):
        refused_everywhere(make(np.eye(64)), rf"found {make.__name__}; it is sparse; pass x\.toarray\(\)")


@pytest.mark.torch
def test_a_sparse_or_nested_tensor_says_how_to_fill_it() -> None:
    import torch

    dense = torch.eye(64)
    for sparse in (dense.to_sparse(), dense.to_mkldnn()):
        refused_everywhere(sparse, r"found Tensor; it is sparse; pass x\.to_dense\(\)")
    nested = torch.nested.nested_tensor([dense[0], dense[1, :3]], layout=torch.jagged)
    refused_everywhere(nested, "found NestedTensor; it is nested; pad it")


@pytest.mark.jax
def test_a_sparse_matrix_of_jax_says_how_to_fill_it() -> None:
    from jax.experimental.sparse import BCOO

    refused_everywhere(BCOO.fromdense(np.eye(64)), r"found BCOO; it is sparse; pass x\.todense\(\)")


@pytest.mark.dask
def test_a_dask_array_of_masked_blocks_is_refused() -> None:
    import dask.array as da

    refused_everywhere(da.ma.masked_equal(da.ones((4, 64)), 1), "found Array; its blocks are MaskedArray; .*map_blocks")


def test_what_offers_its_numbers_is_taken() -> None:
    class Frame:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.ones((2, 64))

    net = ab.load_model("digits-mlp", backend="numpy")
    expected = ab.predict(net, np.ones((2, 64), np.float32)).tobytes()
    for same in (Frame(), np.ones((2, 64)).tolist(), memoryview(np.ones((2, 64), np.float32)), [np.ones(64)] * 2):
        assert ab.predict(net, same).tobytes() == expected
    assert ab.asarray(range(3)).tolist() == [0, 1, 2]


# -- Images with one channel --------------------------------------------------------------------------


def test_images_may_have_an_axis_of_one_channel(lib: Library) -> None:
    net, x = on(lib), DIGITS.images[:40]
    expected = lib.to_numpy(ab.predict(net, x))
    channel = x[:, None]
    assert lib.to_numpy(ab.predict(net, channel)).tobytes() == expected.tobytes()
    np.testing.assert_allclose(lib.to_numpy(net(lib.asarray(channel, None))), expected, atol=1e-6)
    one = lib.to_numpy(ab.predict(net, x[:1]))  # (1, 8, 8) is a batch of one, as it always was
    assert one.shape == (1, 10)
    assert ab.evaluate(net, channel, DIGITS.labels[:40]).total == 40


def test_other_channels_are_refused_with_the_shapes_that_fit() -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    with pytest.raises(ab.ShapeError, match=r"takes shape \(n, 1, 8, 8\) or .* or \(8, 8\); found \(5, 3, 8, 8\)"):
        ab.predict(net, np.zeros((5, 3, 8, 8)))
    with pytest.raises(ab.ShapeError, match=r"found \(5, 1, 1, 8, 8\)"):
        net(np.zeros((5, 1, 1, 8, 8)))


def test_what_load_mnist_gives_goes_into_the_mnist_network(data_dir: Path) -> None:
    net, test = ab.load_model("mnist-mlp", backend="numpy"), ab.datasets.mnist("test")
    images = test.images[:500, None].astype(np.float32) / np.float32(255)  # as load_mnist(flatten=False) arranges them
    assert images.shape == (500, 1, 28, 28)
    expected = ab.predict(net, images.reshape(500, 784))
    assert ab.predict(net, images).tobytes() == expected.tobytes()
    assert ab.parity(net, images, test.labels[:500], backends=["numpy"]).ok
    assert ab.certify(net, images).undecided == 0


@pytest.mark.parametrize("name", libraries("jax", "torch"))
def test_traced_programs_take_booleans_and_channels(name: str) -> None:
    backend = usable(name)
    net, x = ab.load_model("digits-mlp", backend=name), backend.asarray(INK[:4, None])
    compiled: Callable[[Any], Any]
    if name == "jax":
        import jax

        compiled = jax.jit(net)
    else:
        import torch

        compiled = torch.compile(net, backend="eager", fullgraph=True)
    np.testing.assert_allclose(ab.to_numpy(compiled(x)), ab.to_numpy(net(x)), atol=1e-6)
