"""Networks as graphs: arrays at any depth, arrays used twice, layers of the user's, and what is refused."""

from __future__ import annotations

import dataclasses
import functools
import gc
import pickle
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import Library, libraries

import anyback as ab
from anyback import backends
from anyback._typing import Array
from anyback.activations import ACTIVATIONS, relu, softmax
from anyback.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    LayerNorm,
    Linear,
    MaxPool,
    Pixels,
    Reshape,
    Residual,
    Scale,
    Sequential,
)
from anyback.lower import lower
from anyback.network import Builder, Network
from anyback.ops import OPS


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def square(seed: int = 0) -> Linear:
    return Linear(numbers(3, 3, seed=seed), numbers(3, seed=seed))


# -- Arrays at any depth ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Inner:
    factor: Any


@dataclass(frozen=True, eq=False)
class Deep:
    """A layer of the user's, with arrays in everything that holds things."""

    pair: Any
    table: Any
    inner: Inner
    net: Any

    def __call__(self, x: Array) -> Array:
        return self.net(x * self.pair[0] + self.pair[1][0]) * self.table["scale"] + self.inner.factor


class Pair(NamedTuple):
    factor: Any
    shift: Any

    def __call__(self, x: Array) -> Array:
        return x * self.factor + self.shift


@dataclass(frozen=True, eq=False)
class Holder:
    factor: Any

    def method(self, x: Array) -> Array:
        return x * self.factor


def multiplied(factor: Any, x: Array) -> Array:
    return x * factor


def shifted(x: Array, *, by: Any) -> Array:
    return x + by


V = [numbers(3, seed=i) for i in range(9)]

#: A layer that holds arrays -> those arrays.
HOLDERS: dict[str, tuple[Callable[[], Any], int]] = {
    "sequential in sequential": (lambda: Sequential(Sequential(square()), relu, Sequential(Sequential(square(1)))), 4),
    "residual": (lambda: Residual(Sequential(square(), relu), square(1)), 4),
    "residual in residual": (lambda: Residual(Residual(square())), 2),
    "tuple, list, dict, dataclass": (lambda: Deep((V[0], [V[1]]), {"scale": V[2]}, Inner(V[3]), square()), 6),
    "network in a dataclass": (
        lambda: Deep((V[0], [V[1]]), {"scale": V[2]}, Inner(V[3]), Sequential(square(), relu)),
        6,
    ),
    "named tuple": (lambda: Pair(V[0], V[1]), 2),
    "partial": (lambda: functools.partial(multiplied, V[0]), 1),
    "partial with a keyword": (lambda: functools.partial(shifted, by=V[0]), 1),
    "partial of an op with an array": (lambda: functools.partial(OPS["scale"], factor=V[0]), 1),
    "partial of a partial": (lambda: functools.partial(functools.partial(shifted), by=V[0]), 1),
    "bound method": (lambda: Holder(V[0]).method, 1),
    "partial of a bound method": (lambda: functools.partial(Holder(V[0]).method), 1),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_arrays_at_any_depth_are_seen_moved_and_counted(lib: Library, name: str) -> None:
    make, count = HOLDERS[name]
    net = Sequential(square(7), make(), softmax)
    assert len(net.arrays) == count + 2
    assert sum(row.parameters for row in net.summary()) == sum(a.size for a in net.arrays)
    x = numbers(4, 3)
    there = net.to(lib.backend)
    assert there.backend is not None
    assert there.backend.name == lib.backend.name
    expected = net(x)
    for y in (there(lib.asarray(x)), ab.predict(there, x)):
        np.testing.assert_allclose(lib.to_numpy(y), expected, rtol=2e-5, atol=2e-6)
    back = there.to("numpy")
    assert [a.tobytes() for a in back.arrays] == [a.tobytes() for a in net.arrays]
    assert isinstance(back, Sequential)
    np.testing.assert_allclose(back(x), expected, rtol=1e-6)


@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.numpy
def test_every_array_inside_has_a_say(name: str) -> None:
    net = Sequential(HOLDERS[name][0]())
    x = np.abs(numbers(5, 3))
    for i in range(len(net.arrays)):
        other = net.with_arrays([a * 3 + 1 if i == j else a for j, a in enumerate(net.arrays)])
        assert not np.allclose(other(x), net(x)), i
        assert not np.allclose(ab.predict(other, x), ab.predict(net, x)), i
        np.testing.assert_allclose(ab.predict(other, x), other(x), rtol=1e-5, atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("name", HOLDERS)
def test_torch_gives_gradients_of_every_array(name: str) -> None:
    import torch

    net = Sequential(HOLDERS[name][0]()).to("torch").map(lambda a: a.clone().requires_grad_(True))
    x = torch.rand(4, 3)
    net(x).square().sum().backward()
    assert all(a.grad is not None and float(a.grad.abs().max()) > 0 for a in net.arrays)
    # And of the network as it was made, of whose arrays PyTorch already kept track.
    assert torch.equal(ab.predict(net, x) > 1e9, net(x) > 1e9)


@pytest.mark.jax
@pytest.mark.parametrize("name", HOLDERS)
def test_jax_gives_gradients_of_every_array(name: str) -> None:
    import jax

    net = Sequential(HOLDERS[name][0]()).to("jax")
    x = jax.numpy.abs(jax.numpy.asarray(numbers(4, 3)))
    found = jax.grad(lambda arrays: (net.with_arrays(arrays)(x) ** 2).sum())(net.arrays)
    assert len(found) == len(net.arrays)
    for gradient, a in zip(found, net.arrays, strict=True):
        assert gradient.shape == a.shape
        assert float(jax.numpy.max(jax.numpy.abs(gradient))) > 0


@pytest.mark.numpy
def test_an_array_that_is_used_twice_is_held_and_counted_once() -> None:
    layer = square()
    net = Sequential(layer, relu, layer, Linear(layer.weight), functools.partial(multiplied, layer.bias))
    assert len(net.arrays) == 2
    assert [row.parameters for row in net.summary()] == [12, 0, 0, 0, 0]
    calls = []
    net.map(lambda a: calls.append(a) or a)  # type: ignore[func-returns-value]
    assert len(calls) == 2
    moved = net.to(dtype="float64")
    assert len(moved.arrays) == 2
    assert moved[0].weight is moved[2].weight is moved[3].weight
    np.testing.assert_allclose(moved(numbers(4, 3)), net(numbers(4, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.numpy
def test_a_layer_that_makes_its_arrays_is_moved_by_its_calls() -> None:
    @dataclass(frozen=True, eq=False)
    class Doubled:
        weight: Any
        unused: Any = field(default_factory=lambda: np.ones(5))

        def calls(self, given: int, into: Builder) -> int:
            return into.call(OPS["linear"], given, into.array(self.weight * 2), None)

    net = Sequential(Doubled(np.eye(3)), relu)
    moved = net.to(dtype="float32")
    assert [a.dtype.name for a in moved.arrays] == ["float32"]
    np.testing.assert_array_equal(moved(np.ones((2, 3), np.float32)), np.full((2, 3), 2, np.float32), strict=True)


# -- Layers that are changed --------------------------------------------------------------------------


@pytest.mark.numpy
def test_a_layer_that_is_replaced_changes_the_answers_to_integers_and_to_floats() -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    images = ab.datasets.digits("test").images[:50]
    place = next(i for i, layer in enumerate(net) if isinstance(layer, Linear))
    layers = list(net)
    layers[place] = dataclasses.replace(net[place], weight=net[place].weight * 0)
    other, x = Sequential(*layers), (images / 16).astype(np.float32)
    for given in (images, x):
        assert not np.allclose(ab.predict(net, given), ab.predict(other, given))
        np.testing.assert_allclose(ab.predict(other, given), other(given), atol=2e-6)
    np.testing.assert_allclose(ab.predict(other, images), ab.predict(other, x), atol=2e-6)


@pytest.mark.numpy
def test_what_is_folded_keeps_the_type_of_the_answer() -> None:
    for kinds in (("float32", "float64"), ("float64", "float32"), ("float16", "float32"), ("float16", "float16")):
        first, second = kinds
        norm = BatchNorm(*(np.abs(numbers(4, seed=i)).astype(second) for i in range(4)))
        conv = Conv(numbers(4, 1, 2, 2).astype(first), numbers(4).astype(first))
        net = Sequential(Pixels(np.asarray(255, first)), conv, norm)
        for x in (np.full((3, 1, 4, 4), 200, np.uint8), numbers(3, 1, 4, 4).astype(first)):
            y, expected = ab.predict(net, x), net(x)
            assert y.dtype == expected.dtype, (kinds, x.dtype)
            rtol = 4e-3 if expected.dtype == np.float16 else 1e-4
            np.testing.assert_allclose(y, expected, rtol=rtol, atol=rtol, err_msg=str((kinds, x.dtype)))


@pytest.mark.numpy
def test_small_half_weights_keep_their_digits_behind_pixels() -> None:
    weight = (numbers(64, 5) * 1e-3).astype(np.float16)  # over 255, below the smallest normal number
    net = Sequential(Pixels(np.asarray(255, np.float16)), Linear(weight))
    x = np.random.default_rng(1).integers(0, 255, (9, 64)).astype(np.uint8)
    expected = (x.astype(np.float64) / 255) @ weight.astype(np.float64)
    np.testing.assert_allclose(ab.predict(net, x).astype(float), expected, rtol=2e-3, atol=5e-5)


@pytest.mark.numpy
def test_a_function_that_is_named_as_an_op_is_that_function() -> None:
    def pixels(x: Array) -> Array:
        return x * 1.0 + 100.0

    def relu(x: Array) -> Array:
        return x - 1.0

    def identity(x: Array) -> Array:
        return x * 2.0

    net = Sequential(pixels, relu, identity, square(), Pixels(np.asarray(255.0, np.float32)))
    for x in (numbers(4, 3), np.arange(12, dtype=np.uint8).reshape(4, 3)):
        expected = ((x + 99.0) * 2.0) @ net[3].weight + net[3].bias
        np.testing.assert_allclose(net(x), expected, rtol=1e-5)
        np.testing.assert_allclose(ab.predict(net, x), expected, rtol=1e-5)
    assert Sequential(pixels).largest_pixel is None


# -- The graph ----------------------------------------------------------------------------------------


@pytest.mark.numpy
def test_select_gives_every_value_and_nothing_more() -> None:
    net = Sequential(square(), relu, Residual(square(1), square(2)), softmax)
    x, xs = numbers(4, 3), []
    values = [number for number, _ in net.results()]
    for number in values:
        xs.append(net.select(number)(x))
    np.testing.assert_allclose(xs[0], net[0](x), rtol=1e-6)
    np.testing.assert_allclose(xs[-1], net(x), rtol=1e-6)
    assert [len(net.select(number).arrays) for number in values] == [2, 2, 4, 4, 6, 6]
    both = net.select(values[-1], values[0])
    assert len(both.outputs) == 2
    np.testing.assert_allclose(both(x), net(x), rtol=1e-6)
    np.testing.assert_array_equal(net.select(0)(x), x)
    assert net.select(0).arrays == ()


@pytest.mark.numpy
def test_two_paths_meet_in_a_sum() -> None:
    x, branch, shortcut = numbers(4, 3), square(1), square(2)
    np.testing.assert_allclose(Residual(branch, shortcut)(x), branch(x) + shortcut(x), rtol=1e-6)
    np.testing.assert_allclose(Residual("relu")(x), np.maximum(x, 0) + x, rtol=1e-6)
    np.testing.assert_allclose(Residual(Sequential())(x), 2 * x)
    net = Sequential(Residual(branch, shortcut))
    np.testing.assert_allclose(ab.predict(net, x), net(x), rtol=1e-6, atol=1e-6)
    with pytest.raises(ab.ShapeError, match="layer 1: add expected two arrays of one shape"):
        Sequential(square(), Residual(Linear(numbers(3, 2))))


@pytest.mark.numpy
def test_layers_alone_and_in_a_tuple_are_one_network() -> None:
    layers = (square(), relu, square(1), softmax)
    one, other, listed = Sequential(*layers), Sequential(layers), Sequential(list(layers))
    x = numbers(4, 3)
    for net in (one, other, listed):
        assert net.layers == layers
        assert net(x).tobytes() == one(x).tobytes()
        assert repr(net) == repr(one)
    assert len(one) == 4
    assert list(one) == list(layers)
    assert (one[0], one[-1]) == (layers[0], layers[-1])
    assert one[:2].layers == layers[:2]
    np.testing.assert_allclose(one[2:](one[:2](x)), one(x), rtol=1e-6)
    assert len(one[1:1]) == 0
    with pytest.raises(IndexError):
        one[4]
    np.testing.assert_array_equal(Sequential()(x), x)
    np.testing.assert_array_equal(Sequential(())(x), x)
    np.testing.assert_array_equal(ab.predict(Sequential(), x), x)


def test_a_network_goes_with_its_last_use(lib: Library) -> None:
    # Without the collector of garbage, which comes late to large arrays.
    net = Sequential(Linear(lib.asarray(np.ones((3, 2), np.float32)), None), relu)
    x = lib.asarray(np.ones((1, 3), np.float32))
    net(x), net(x[0, ...])
    gone, program = weakref.ref(net), net.program
    gc.disable()
    try:
        del net
        assert gone() is None
    finally:
        gc.enable()
    (y,) = program([x, lib.asarray(np.ones((3, 2), np.float32))])  # of a type that it has seen
    assert lib.to_numpy(y).tolist() == [[3.0, 3.0]]


@pytest.mark.numpy
def test_a_network_without_arrays() -> None:
    net = Sequential(Reshape((1, 4, 4)), MaxPool((2, 2)), Flatten(), "softmax", Dropout())
    x = numbers(5, 16)
    assert net.backend is net.dtype is net.xp is None
    assert net(x).shape == (5, 4)
    np.testing.assert_allclose(ab.predict(net, x), net(x), rtol=1e-6)
    assert repr(net).startswith("Sequential\n")
    assert sum(row.parameters for row in net.summary()) == 0


@pytest.mark.numpy
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_by_its_name(name: str) -> None:
    x = numbers(4, 3)
    net = Sequential(square(), name)
    np.testing.assert_array_equal(net(x), Sequential(square(), ACTIVATIONS[name])(x))
    assert net[1] is ACTIVATIONS[name]


# -- What is no layer ---------------------------------------------------------------------------------


@pytest.mark.numpy
@pytest.mark.parametrize("bad", ["rellu", "", "Linear"])
def test_a_string_that_is_no_activation_lists_those_there_are(bad: str) -> None:
    with pytest.raises(ab.AnybackError, match=r"unknown activation .*; known: identity, step, sigmoid"):
        Sequential(square(), bad)
    with pytest.raises(ab.AnybackError, match="known: identity"):
        Sequential(Residual(bad))


@pytest.mark.numpy
@pytest.mark.parametrize("bad", [3, None, 2.5, np.ones(3), {"a": 1}, object()])
def test_what_cannot_be_called_is_refused(bad: object) -> None:
    with pytest.raises(ab.AnybackError, match=r"layer 1: expected a layer or a function, found \w+"):
        Sequential(relu, bad)


@pytest.mark.numpy
@pytest.mark.parametrize("kind", [Linear, Sequential, Dropout, dict])
def test_a_class_in_place_of_a_layer_is_refused(kind: type) -> None:
    with pytest.raises(ab.AnybackError, match=rf"layer 0: .* found the class {kind.__name__}; make one"):
        Sequential(kind)


@pytest.mark.torch
def test_a_module_of_torch_is_refused_with_what_to_write() -> None:
    import torch

    for module in (torch.nn.Linear(3, 2), torch.nn.Sequential(torch.nn.ReLU())):
        with pytest.raises(ab.AnybackError, match=r"layer 1: .* found a torch .*convert it: anyback") as raised:
            Sequential(relu, module)
        assert "\n" not in str(raised.value)


@pytest.mark.sklearn
def test_an_estimator_of_sklearn_is_refused_with_what_to_write() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    with pytest.raises(ab.AnybackError, match="found a sklearn LogisticRegression; convert it"):
        Sequential(linear_model.LogisticRegression())


@pytest.mark.numpy
def test_a_layer_of_keras_is_refused_with_what_to_write() -> None:
    layer = type("Layer", (), {"__module__": "keras.src.layers.layer", "__call__": lambda self, x: x})
    with pytest.raises(ab.AnybackError, match="found a keras Dense; convert it"):
        Sequential(type("Dense", (layer,), {"__module__": "keras.src.layers.core.dense"})())


# -- Layers of the user's -----------------------------------------------------------------------------


class Negated(Linear):
    def __call__(self, x: Array) -> Array:
        return -super().__call__(x)


class Rooted(Linear):
    def calls(self, given: int, into: Builder) -> int:
        return into.call(OPS["relu"], super().calls(given, into))


class Shouting(Sequential):
    def __call__(self, x: Array) -> Array:
        return super().__call__(x) * 10.0


@pytest.mark.numpy
def test_a_subclass_keeps_its_own_way() -> None:
    x, plain = numbers(4, 3), square()
    expected = x @ plain.weight + plain.bias
    for layer, wanted in (
        (Negated(plain.weight, plain.bias), -expected),
        (Rooted(plain.weight, plain.bias), np.maximum(expected, 0)),
        (Shouting(plain), expected * 10),
    ):
        net = Sequential(layer)
        assert len(net.arrays) == 2
        for y in (net(x), ab.predict(net, x), net.to(dtype="float32")(x), pickle.loads(pickle.dumps(net))(x)):
            np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5, err_msg=type(layer).__name__)
        assert type(net.map(lambda a: a + 0)[0]) is type(layer)


# -- Pickling -----------------------------------------------------------------------------------------


def every_layer() -> Sequential:
    return Sequential(
        Pixels(np.asarray(255.0, np.float32)),
        Reshape((1, 8, 8)),
        Conv(numbers(4, 1, 3, 3), numbers(4), padding=1),
        BatchNorm(numbers(4), np.abs(numbers(4)), numbers(4), numbers(4)),
        "relu",
        Residual(Sequential(Conv(numbers(4, 1, 3, 3), groups=4, padding=((1, 1), (2, 0))), "tanh")),
        MaxPool((2, 2)),
        Dropout(),
        AveragePool((2, 2), stride=1, padding=1, count_padding=False),
        Scale(0.5),
        LayerNorm((5, 5), numbers(5, 5)),
        Flatten(),
        Linear(numbers(100, 10), numbers(10)),
        softmax,
    )


@pytest.mark.numpy
def test_networks_and_plans_are_pickled() -> None:
    net = every_layer()
    x = np.random.default_rng(0).integers(0, 255, (7, 64)).astype(np.uint8)
    expected = ab.predict(net, x)
    copy = pickle.loads(pickle.dumps(net))
    assert copy(x).tobytes() == net(x).tobytes()
    assert ab.predict(copy, x).tobytes() == expected.tobytes()
    graph = pickle.loads(pickle.dumps(net.select(*net.outputs)))
    np.testing.assert_allclose(graph(x), net(x), rtol=1e-6)
    backend = backends.resolve("numpy:cpu")
    with backends.scope(backend) as precision:
        plan = lower(net, backend, precision, ("uint8",), ((64,),))
        again = pickle.loads(pickle.dumps(plan))
        rows = np.resize(x, (plan.tile, 64))
        assert backend.load(again)(rows)[0].tobytes() == backend.load(plan)(rows)[0].tobytes()
    np.testing.assert_array_equal(backend.load(again)(rows)[0][:7], expected)
    assert len(pickle.dumps(plan)) < 3 * sum(a.nbytes for a in plan.arrays) + 20_000


def test_every_layer_on_every_library(lib: Library) -> None:
    net = every_layer()
    x = np.random.default_rng(0).integers(0, 255, (7, 64)).astype(np.uint8)
    expected = net.to(dtype="float64")(x)
    there = net.to(lib.backend)
    for y in (there(lib.asarray(x, None)), ab.predict(there, x), ab.predict(there, x.reshape(7, 8, 8), batch_size=2)):
        np.testing.assert_allclose(lib.to_numpy(y), expected, atol=5e-5)
    single = ab.predict(there, x[0])
    np.testing.assert_allclose(lib.to_numpy(single), expected[0], atol=5e-5)
    assert [row.name for row in there.summary()] == [row.name for row in net.summary()]
    assert there.summary()[-2].output == (10,)


@pytest.mark.parametrize("library", libraries("numpy", "torch", "jax"))
def test_networks_of_graphs_are_moved_like_others(library: str) -> None:
    net = every_layer().select(*every_layer().outputs)
    assert type(net) is Network
    x = np.random.default_rng(0).integers(0, 255, (7, 64)).astype(np.uint8)
    np.testing.assert_allclose(backends.to_numpy(ab.predict(net.to(library), x)), net(x), atol=5e-5)


# -- Under transformations ----------------------------------------------------------------------------

FLOATS = np.random.default_rng(0).random((5, 64)).astype(np.float32)


@pytest.mark.jax
def test_every_layer_passes_through_jit_grad_and_vmap() -> None:
    import jax

    net, x = every_layer().to("jax"), jax.numpy.asarray(FLOATS)
    expected = every_layer()(FLOATS)
    for function in (jax.jit(net), jax.vmap(net), jax.jit(lambda x: ab.predict(net, x))):
        np.testing.assert_allclose(function(x), expected, atol=5e-5)
    assert float(jax.numpy.max(jax.numpy.abs(jax.grad(lambda x: net(x)[0, 0])(x)))) > 0


@pytest.mark.torch
@pytest.mark.filterwarnings("error")
def test_every_layer_is_compiled_by_torch_as_a_whole() -> None:
    import torch

    more = (
        MaxPool((3, 3), padding=((0, 1), (0, 1)), ceil=True),
        MaxPool((2, 2)),
        AveragePool((3, 3), ceil=True),
        AveragePool((2, 2)),
        *(AveragePool((2, 2), padding=1, count_padding=counted) for counted in (True, False)),
    )
    x = torch.from_numpy(FLOATS)
    for net in (every_layer(), *(Sequential(Reshape((1, 8, 8)), layer) for layer in more)):
        there = net.to("torch")
        torch._dynamo.reset()
        y = torch.compile(there, backend="eager", fullgraph=True)(x)
        np.testing.assert_allclose(y, net(FLOATS), atol=5e-5)


@pytest.mark.torch
def test_a_plan_that_was_made_without_gradients_gives_them_later() -> None:
    import torch

    net = every_layer().to("torch")
    with torch.inference_mode():
        ab.predict(net, torch.from_numpy(FLOATS))
    x = torch.from_numpy(FLOATS.copy()).requires_grad_(True)
    ab.predict(net, x)[0, 0].backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) > 0


@pytest.mark.dask
def test_every_layer_stays_lazy_on_dask() -> None:
    import dask
    import dask.array as da

    def computed(*args: object, **kwargs: object) -> None:
        raise AssertionError("the forward pass computed")

    net = every_layer().to("dask")
    with dask.config.set(scheduler=computed):
        y = net(da.from_array(FLOATS, chunks=(3, 64)))
    np.testing.assert_allclose(y.compute(), every_layer()(FLOATS), atol=5e-5)


@pytest.mark.parametrize("library", libraries("numpy", "torch"))
@pytest.mark.parametrize("way", ["itself", "a view", "a copy"])
def test_what_a_function_of_the_user_has_seen_is_never_overwritten(library: str, way: str) -> None:
    kept, gave = [], {"itself": lambda x: x, "a view": lambda x: x[:, :], "a copy": lambda x: x + 0}[way]

    def keep(x: Array) -> Array:
        y = gave(x)
        kept.append((x, backends.to_numpy(x).copy()))
        kept.append((y, backends.to_numpy(y).copy()))
        return y

    net = Sequential(square(), "tanh", keep, "sigmoid", "relu", square(1), keep, "relu", Residual("tanh"), keep, "tanh")
    x = numbers(50, 3)
    expected = net(x)
    there = net.to(library)
    for y in (there(backends.asarray(x, backend=library)), ab.predict(there, x)):
        np.testing.assert_allclose(backends.to_numpy(y), expected, rtol=1e-5, atol=1e-6)
    assert len(kept) >= 18
    for seen, copy in kept:
        np.testing.assert_array_equal(backends.to_numpy(seen), copy)


@pytest.mark.numpy
def test_layers_behind_unknown_sizes_are_checked_when_called() -> None:
    net = Sequential(Conv(numbers(2, 1, 3, 3)), MaxPool((2, 2)), Flatten(), Linear(numbers(8, 3)))
    assert net(numbers(4, 1, 6, 6)).shape == (4, 3)
    assert net.width == 3
    assert [row.output for row in net.summary()] == [None, None, None, (3,)]
    for shape in ((4, 1, 9, 9), (4, 2, 6, 6), (4, 1, 2, 2), (4, 1, 3, 3), (1, 9, 9)):
        for ask in (net, functools.partial(ab.predict, net)):
            with pytest.raises(ab.ShapeError, match=r"expected|takes|does not fit") as raised:
                ask(np.ones(shape, np.float32))
            assert "\n" not in str(raised.value)
    with pytest.raises(ab.ShapeError, match="layer 3: "):
        Sequential(Reshape((1, 6, 6)), Conv(numbers(2, 1, 3, 3)), Flatten(), Linear(numbers(9, 3)))


@pytest.mark.parametrize("own", ["float16", "float32", "float64"])
def test_an_input_of_the_networks_own_type_is_computed_as_one_of_any_other(lib: Library, own: str) -> None:
    if own not in lib.dtypes:
        pytest.skip(f"{lib.backend.name} has no {own} here")
    arrays = [numbers(4, 5), numbers(5), numbers(5, 3), numbers(3)]
    w, b, v, c = [lib.asarray(x, own) for x in arrays]
    net = Sequential(Linear(w, b), "sigmoid", Scale(2.0), Residual(Scale(0.5)), Linear(v, c), "softmax")
    x = np.round(numbers(6, 4) * 8) / 8  # numbers that each type holds
    y = net(lib.asarray(x, own))
    assert backends.dtype_name(y.dtype) == own
    np.testing.assert_array_equal(lib.to_numpy(net(lib.asarray(x[2], own))).shape, (3,))
    for other in {"float32", "float64"} & set(lib.dtypes):
        found = net(lib.asarray(x, other))
        assert backends.dtype_name(found.dtype) == max(own, other, key=lambda name: int(name[5:]))
        difference = lib.to_numpy(found).astype(np.float64) - lib.to_numpy(y).astype(np.float64)
        assert np.abs(difference).max() < (1e-2 if own == "float16" else 1e-6)
    if lib.backend.name == "numpy":  # the bytes of a number may lie in another order
        turned = net.with_arrays([a.astype(a.dtype.newbyteorder()) for a in net.arrays])
        for values in (x.astype(own), x.astype(np.dtype(own).newbyteorder())):
            np.testing.assert_allclose(turned(values), y, atol=1e-2 if own == "float16" else 1e-6)
