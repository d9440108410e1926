"""Layers and networks: the book's numbers, shapes, dtypes, and what is refused at the door."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from conftest import Library, libraries

import anyback as ab
from anyback import backends, functional
from anyback.activations import identity, relu, sigmoid, softmax
from anyback.layers import Conv, Dropout, Flatten, Linear, Pixels, Reshape, Sequential

lazy_xp_modules = [functional]
lazy_xp_functions = [functional.linear]
LINEAR = functional.linear


def toy(lib: Library, dtype: str = "float32") -> Sequential:
    """Return the 3-layer network of chapter 3 of the book."""
    arrays = (
        [[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]],
        [0.1, 0.2, 0.3],
        [[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]],
        [0.1, 0.2],
        [[0.1, 0.3], [0.2, 0.4]],
        [0.1, 0.2],
    )
    w1, b1, w2, b2, w3, b3 = (lib.asarray(a, dtype) for a in arrays)
    return Sequential((Linear(w1, b1), sigmoid, Linear(w2, b2), sigmoid, Linear(w3, b3), identity))


def test_the_books_three_layers(lib: Library) -> None:
    for dtype in {"float32", "float64"} & set(lib.dtypes):
        y = lib.to_numpy(toy(lib, dtype)(lib.asarray([1.0, 0.5], dtype)))
        assert y.dtype == dtype
        np.testing.assert_allclose(y, [0.31682708, 0.69627909], rtol=1e-6 if dtype == "float32" else 3e-8)


def test_what_is_lazy_is_wrapped_in_these_tests(lib: Library) -> None:
    assert (functional.linear is not LINEAR) == (lib.backend.name in {"dask", "jax"})


def test_one_sample_is_the_row_of_a_batch(lib: Library) -> None:
    net = toy(lib)
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    batch = lib.to_numpy(net(lib.asarray(x)))
    assert batch.shape == (5, 2)
    for i in range(5):
        np.testing.assert_allclose(lib.to_numpy(net(lib.asarray(x[i]))), batch[i], rtol=1e-6)


def test_an_empty_batch_gives_an_empty_result(lib: Library) -> None:
    assert toy(lib)(lib.asarray(np.zeros((0, 2)))).shape == (0, 2)


def test_linear_against_numpy_in_float64(lib: Library) -> None:
    rng = np.random.default_rng(1)
    x, w, b = rng.normal(size=(7, 30)), rng.normal(size=(30, 4)), rng.normal(size=4)
    y = functional.linear(lib.asarray(x), lib.asarray(w), lib.asarray(b))
    np.testing.assert_allclose(lib.to_numpy(y), x @ w + b, atol=1e-5)
    without = functional.linear(lib.asarray(x), lib.asarray(w))
    np.testing.assert_allclose(lib.to_numpy(without), x @ w, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
def test_integers_are_cast_to_the_dtype_of_the_weights(lib: Library, dtype: str) -> None:
    x = np.asarray([[0, 1, 3], [1, 1, 0]]).astype(dtype)
    y = functional.linear(lib.asarray(x, dtype), lib.asarray(np.ones((3, 2))))
    assert backends.dtype_name(y.dtype) == "float32"
    np.testing.assert_array_equal(lib.to_numpy(y), x.astype(float) @ np.ones((3, 2)))


def test_pixels_divide_integers_and_leave_floats(lib: Library) -> None:
    scale = Pixels(lib.asarray(255.0))
    x = np.asarray([[0, 51, 255]])
    y = lib.to_numpy(scale(lib.asarray(x, "uint8")))
    # One unit in the last place: XLA multiplies by the reciprocal of a scalar.
    np.testing.assert_array_max_ulp(y, x.astype(np.float32) / np.float32(255), maxulp=1)
    ready = lib.asarray(x / 255)
    assert functional.pixels(ready, scale.largest) is ready
    np.testing.assert_array_equal(lib.to_numpy(scale(ready)), lib.to_numpy(ready))


def test_flatten_folds_images_and_passes_what_is_flat(lib: Library) -> None:
    flatten = Flatten((2, 3))
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    np.testing.assert_array_equal(lib.to_numpy(flatten(lib.asarray(x))), x.reshape(4, 6))
    np.testing.assert_array_equal(lib.to_numpy(flatten(lib.asarray(x[0]))), x[0].ravel())
    flat = lib.asarray(x.reshape(4, 6))
    assert flatten(flat) is flat


def test_non_contiguous_and_read_only_input(lib: Library) -> None:
    x = np.random.default_rng(2).normal(size=(8, 4)).astype(np.float32)
    strided = lib.asarray(x)[::2, ::2]
    expected = lib.to_numpy(toy(lib)(lib.asarray(x[::2, ::2].copy())))
    np.testing.assert_allclose(lib.to_numpy(toy(lib)(strided)), expected, rtol=1e-6)


def test_nan_stays_in_its_row(lib: Library) -> None:
    x = np.zeros((3, 2))
    x[1, 0] = np.nan
    y = lib.to_numpy(toy(lib)(lib.asarray(x)))
    np.testing.assert_array_equal(np.isnan(y).any(axis=1), [False, True, False])


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 2), (), (2, 1)])
def test_wrong_shapes_name_what_was_expected(lib: Library, shape: tuple[int, ...]) -> None:
    with pytest.raises(ab.ShapeError, match=r"takes shape \(n, 2\) or \(2,\); found"):
        toy(lib)(lib.asarray(np.zeros(shape)))


def test_images_that_do_not_fit_name_both_shapes() -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    with pytest.raises(ab.ShapeError, match=r"\(n, 64\) or \(64,\) or \(n, 8, 8\) or \(8, 8\); found \(5, 28, 28\)"):
        net(np.zeros((5, 28, 28)))


def test_linear_alone_refuses_other_ranks() -> None:
    with pytest.raises(ab.ShapeError, match=r"linear expected shape \(n, 3\) or \(3,\), found \(2, 2, 3\)"):
        functional.linear(np.ones((2, 2, 3)), np.ones((3, 2)))
    with pytest.raises(ab.ShapeError, match=r"takes shape \(n, 3\) or \(3,\); found \(2, 2, 3\)"):
        Linear(np.ones((3, 2)))(np.ones((2, 2, 3)))


def test_layers_that_do_not_fit_are_refused_when_made() -> None:
    with pytest.raises(ab.ShapeError, match="bias: expected shape"):
        Linear(np.ones((3, 2)), np.ones(3))
    with pytest.raises(ab.ShapeError, match="weight: expected shape"):
        Linear(np.ones(3))
    with pytest.raises(ab.ShapeError, match="layer 2: expected 2 input features"):
        Sequential((Linear(np.ones((3, 2))), relu, Linear(np.ones((3, 2)))))
    with pytest.raises(ab.AnybackError, match="layer 0: expected a layer or a function, found int"):
        Sequential(7)
    with pytest.raises(ab.AnybackError, match="unknown activation 'rely'; known: identity, "):
        Sequential("rely")


@pytest.mark.parametrize("bad", [[1.0, 0.5], "text", None, np.asarray(["a", "b"])])
def test_what_is_no_array_of_numbers_is_refused(bad: object) -> None:
    net = Sequential((Linear(np.ones((2, 2))),))
    with pytest.raises(ab.DataError):
        net(bad)


@pytest.mark.parametrize("name", libraries(*(name for name in backends.ROWS if name != "numpy")))
def test_libraries_never_mix_at_the_entry(name: str) -> None:
    net = ab.load_model("digits-mlp", backend=name)
    with pytest.raises(ab.BackendError, match=rf"arrays of {name} and numpy do not mix; move one"):
        net(np.zeros((2, 64), dtype=np.float32))
    with pytest.raises(ab.BackendError, match="do not mix"):
        ab.load_model("digits-mlp", backend="numpy")(ab.asarray(np.zeros(64, np.float32), backend=name))
    with pytest.raises(ab.BackendError, match="do not mix"):
        Sequential((Linear(np.ones((2, 2))), Linear(ab.asarray(np.ones((2, 2), np.float32), backend=name))))


@pytest.mark.array_api_strict
def test_devices_never_mix_at_the_entry() -> None:
    net = ab.load_model("digits-mlp", backend="array_api_strict:device1")
    x = ab.asarray(np.zeros((2, 64), dtype=np.float32), backend="array_api_strict:device2")
    with pytest.raises(ab.BackendError, match=r"network is on array_api_strict:device1, the input on .*device2"):
        net(x)


def test_to_moves_every_array_and_keeps_every_bit(lib: Library) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    there = net.to(lib.backend)
    assert there.backend is not None
    assert there.backend.name == lib.backend.name
    back = there.to("numpy")
    for a, b in zip(net.arrays, back.arrays, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_networks_can_be_nested() -> None:
    inner = Sequential((Linear(np.ones((2, 3))), relu))
    outer = Sequential((inner, Linear(np.ones((3, 1)))))
    assert len(outer.arrays) == 2
    assert outer.sample_shapes == ((2,),)
    np.testing.assert_array_equal(outer(np.ones(2)), [6.0])
    assert outer.to("numpy", dtype="float32").dtype == np.float32


def test_a_network_of_functions_alone_takes_any_array(lib: Library) -> None:
    net = Sequential((relu, softmax))
    assert net.backend is None
    y = lib.to_numpy(net(lib.asarray([[1.0, -1.0]])))
    np.testing.assert_allclose(y, [[np.e / (1 + np.e), 1 / (1 + np.e)]], rtol=1e-6)


def test_layers_cannot_be_changed() -> None:
    layer = Linear(np.ones((2, 2)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.weight = np.zeros((2, 2))  # type: ignore[misc]


@pytest.mark.jax
def test_a_network_passes_through_jit_grad_and_vmap() -> None:
    import jax
    import jax.numpy as jnp

    net = ab.load_model("digits-mlp", backend="jax")
    x = jnp.asarray(ab.datasets.digits("test").images[:8] / 16, dtype=jnp.float32)
    plain = net(x)
    np.testing.assert_allclose(jax.jit(net)(x), plain, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(net)(x), plain, atol=1e-6)
    gradient = jax.grad(lambda x: net(x)[0, 0])(x)
    assert gradient.shape == x.shape
    assert float(jnp.max(jnp.abs(gradient))) > 0


@pytest.mark.torch
def test_gradients_flow_through_torch() -> None:
    import torch

    net = ab.load_model("digits-mlp", backend="torch")
    x = torch.ones((3, 8, 8), requires_grad=True)
    net(x)[0, 0].backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) > 0


@pytest.mark.torch
def test_shapes_alone_pass_through_torch_meta() -> None:
    import torch

    net = ab.load_model("digits-mlp", backend="torch").map(lambda x: x.to("meta"))
    y = net(torch.zeros((5, 8, 8), dtype=torch.uint8, device="meta"))
    assert (y.shape, y.dtype, y.device.type) == ((5, 10), torch.float32, "meta")


@pytest.mark.dask
def test_dask_stays_lazy() -> None:
    import dask
    import dask.array as da

    def computed(*args: object, **kwargs: object) -> None:
        raise AssertionError("the forward pass computed")

    net = ab.load_model("digits-mlp", backend="dask")
    with dask.config.set(scheduler=computed):
        y = net(da.zeros((10, 64), chunks=(4, 64), dtype="uint8"))
        assert isinstance(y, da.Array)
    assert y.compute().shape == (10, 10)


def test_a_function_that_changes_the_width_is_taken_at_its_word() -> None:
    double = Sequential((Linear(np.ones((2, 3))), lambda x: np.concatenate([x, x], axis=-1), Linear(np.ones((6, 1)))))
    np.testing.assert_array_equal(double(np.ones((4, 2))), np.full((4, 1), 12.0))
    halve = Sequential((lambda x: x[..., :2], Linear(np.ones((2, 3)))))
    assert halve(np.ones((4, 7))).shape == (4, 3)


def test_a_network_travels_to_another_process_without_its_kernels(lib: Library) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    x = ab.datasets.digits("test").images
    expected = ab.predict(net, x)
    sent = pickle.dumps(net)
    assert b"kernel" not in sent
    assert b"steps" not in sent
    copy = pickle.loads(sent)
    np.testing.assert_array_equal(ab.predict(copy.to(lib.backend).to("numpy"), x), expected)


@pytest.mark.parametrize("weight", [np.ones((3, 2), dtype=np.int64), [[1.0], [2.0]], None, np.asarray([["a"]])])
def test_weights_that_are_no_floating_point_numbers_are_refused(weight: object) -> None:
    with pytest.raises(ab.DataError):
        Linear(weight)


def test_a_bias_of_a_wider_type_widens_the_output() -> None:
    y = Linear(np.ones((3, 2), dtype=np.float32), np.full(2, 1 / 3))(np.ones((1, 3), dtype=np.float32))
    np.testing.assert_array_equal(y, np.full((1, 2), 3 + 1 / 3), strict=True)


def test_the_shape_of_flatten_may_be_a_list() -> None:
    assert Flatten([8, 8])(np.zeros((5, 8, 8))).shape == (5, 64)  # type: ignore[arg-type]


@pytest.mark.parametrize("stride", [2, np.int64(2), [2, 2], (np.int32(2), 2)])
def test_a_stride_is_any_whole_number_or_one_for_each_axis(stride: object) -> None:
    made = Conv(np.ones((1, 1, 3, 3)), stride=stride)  # type: ignore[arg-type]
    assert made.stride == (2, 2)
    assert made(np.ones((1, 1, 7, 7))).shape == (1, 1, 3, 3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stride": 1.5}, r"stride: expected a whole number of at least 1, or 2 of them, found 1\.5"),
        ({"stride": "2"}, "stride: expected a whole number"),
        ({"dilation": (1, 1, 1)}, "dilation: expected a whole number"),
        ({"padding": 0.5}, r"padding: expected a whole number, 2 of them, or 2 pairs, found 0\.5"),
        ({"padding": ((1, 1), (1,))}, "padding: expected a whole number"),
        ({"padding": (-1, 0)}, "padding: expected a whole number"),
        ({"groups": None}, "groups: expected a whole number"),
    ],
)
def test_a_number_of_a_convolution_that_is_none_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ab.ShapeError, match=said):
        Conv(np.ones((2, 1, 3, 3)), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [1.5, (8, 0), "8x8", None])
def test_a_shape_that_is_none_is_refused(shape: object) -> None:
    with pytest.raises(ab.ShapeError, match="shape: expected a whole number"):
        Reshape(shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(24,), (2, 4, 3), (1, 1, 2, 12), (24, 1), (6, 4)])
def test_a_reshape_to_one_axis_takes_samples_of_any_shape(shape: tuple[int, ...], lib: Library) -> None:
    weight = np.random.default_rng(1).standard_normal((24, 3)).astype(np.float32)
    for layers in (Reshape((24,)), Linear(weight)), (Flatten(), Reshape((4, 3, 2)), Flatten(), Linear(weight)):
        net = Sequential(*layers).to(lib.backend)
        x = np.random.default_rng(2).standard_normal((5, *shape)).astype(np.float32)
        wanted = x.reshape(5, 24).astype(np.float64) @ weight
        for y in (net(lib.asarray(x)), ab.predict(net, x, batch_size=2)):
            np.testing.assert_allclose(lib.to_numpy(y), wanted, atol=1e-5)
    first = Sequential(Reshape((24,)), Linear(weight)).to(lib.backend)
    if shape[0] != 1:  # else it is a batch of one
        np.testing.assert_allclose(lib.to_numpy(first(lib.asarray(x[0]))), wanted[0], atol=1e-5)
        np.testing.assert_allclose(lib.to_numpy(ab.predict(first, x[0])), wanted[0], atol=1e-5)
    assert first.usual_sample == (24,)


@pytest.mark.numpy
@pytest.mark.parametrize("shape", [(5, 2, 4, 2), (5, 23), (2, 4, 2), (), (24, 24, 24)])
def test_a_reshape_of_other_sizes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ab.ShapeError, match=r"takes shape \(n, 24\) or \(24,\); found"):
        Sequential(Reshape((24,)))(np.zeros(shape))


@pytest.mark.numpy
def test_images_of_another_layout_are_refused_by_the_first_reshape() -> None:
    for net in (Sequential(Reshape((4, 4, 3))), Sequential(Flatten((4, 4, 3))), Sequential(Linear(np.ones((48, 2))))):
        with pytest.raises(ab.ShapeError, match="the network takes shape"):
            net(np.zeros((5, 3, 4, 4)))


def test_what_the_outputs_mean_is_seen_behind_calls_that_pass_them_on() -> None:
    one = Sequential(Linear(np.ones((3, 1))), "softmax", Dropout(), "identity")
    with pytest.raises(ab.DataError, match="a softmax of one output is always 1"):
        ab.predict(one, np.ones((2, 3)))
    assert Sequential(Linear(np.ones((3, 1))), "sigmoid", Dropout()).task().name == "two classes"
