"""A row has its bits: whatever its position, the rows around it, and how many there are.

``nox -s processors`` runs these tests where other processors are imitated, so they are few and quick.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import Library

import anyback as ab
from anyback import backends
from anyback._typing import Array
from anyback.activations import ACTIVATIONS, identity, sigmoid, softmax
from anyback.backends import Product
from anyback.backends._ways import Multiply, Way, chosen_way
from anyback.backends.numpy import NumPy
from anyback.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Flatten,
    LayerNorm,
    Linear,
    MaxPool,
    Residual,
    Sequential,
)
from anyback.ops import OPS

pytestmark = pytest.mark.bits

#: From how many rows on a product is moved: around the multiples of 8, 12, 24 and 320 that libraries and backends use.
STARTS = (1, 2, 3, 5, 6, 7, 8, 11, 12, 13, 23, 25, 97, 191, 193, 319, 321)
#: Sizes of a weight: few features, one to three columns, whole and broken blocks of 4, 8 and 16, more than one panel.
SHAPES = ((1, 1), (2, 1), (3, 2), (4, 3), (8, 16), (9, 10), (17, 7), (50, 1), (64, 17), (100, 10), (784, 50), (50, 300))


def rows(n: int, features: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(1).standard_normal((n, features)).astype(dtype)


def layer(lib: Library, features: int, outputs: int, dtype: str = "float32") -> Linear:
    rng = np.random.default_rng(features * 1000 + outputs)
    weight, bias = rng.standard_normal((features, outputs)), rng.standard_normal(outputs)
    return Linear(lib.asarray(weight, dtype), lib.asarray(bias, dtype))


def moved(lib: Library, net: Sequential, x: np.ndarray, starts: tuple[int, ...] = STARTS) -> list[int]:
    """Return from which starts on the rows have other bits than among all rows."""
    whole = lib.to_numpy(ab.predict(net, x))
    assert np.isfinite(whole).all()
    parts = {s: lib.to_numpy(ab.predict(net, x[s:])) for s in starts if s < len(x)}
    assert parts
    return [s for s, part in parts.items() if part.tobytes() != whole[s:].tobytes()]


@pytest.mark.parametrize(("features", "outputs"), SHAPES)
def test_a_row_has_its_bits_at_every_position(lib: Library, features: int, outputs: int) -> None:
    for dtype in {"float32", "float64"} & set(lib.dtypes):
        net = Sequential((layer(lib, features, outputs, dtype),))
        assert moved(lib, net, rows(400, features, dtype)) == [], dtype


def test_a_row_has_its_bits_among_equal_rows(lib: Library) -> None:
    # As many copies as show every place of every product: if one differs, the library sums by place.
    net = Sequential((layer(lib, 100, 50), sigmoid, layer(lib, 50, 10), softmax))
    y = lib.to_numpy(ab.predict(net, np.repeat(rows(1, 100), lib.backend.tile + 30, axis=0)))
    assert np.unique(y.view(np.uint32), axis=0).shape == (1, 10)


@pytest.mark.parametrize("kind", ["uint8", "bool", "float64"])
def test_a_row_has_its_bits_whatever_the_type_of_the_input(lib: Library, kind: str) -> None:
    if kind not in {*lib.dtypes, "uint8", "bool"}:
        pytest.skip(f"{lib.id} has no {kind}")
    net = Sequential((layer(lib, 64, 17), sigmoid, layer(lib, 17, 10)))
    values = np.random.default_rng(2).integers(0, 17, (300, 64))
    assert moved(lib, net, values.astype(kind)) == []


def test_a_row_has_its_bits_across_tiles_and_batches(lib: Library) -> None:
    net = Sequential((layer(lib, 64, 50), sigmoid, layer(lib, 50, 10), softmax))
    x = rows(2 * lib.backend.tile + 7, 64)
    whole = lib.to_numpy(ab.predict(net, x))
    assert moved(lib, net, x, (1, 13, lib.backend.tile - 1, lib.backend.tile, lib.backend.tile + 1)) == []
    for size in (1, 100, lib.backend.tile + 1):
        for workers in (1, 2):
            again = lib.to_numpy(ab.predict(net, x, batch_size=size, workers=workers))
            assert again.tobytes() == whole.tobytes(), (size, workers)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_a_row_has_its_bits_after_every_activation(lib: Library, name: str) -> None:
    net = Sequential((layer(lib, 20, 7), ACTIVATIONS[name]))
    assert moved(lib, net, rows(300, 20), (1, 2, 7, 8, 23, 97)) == []


def test_a_row_has_its_bits_in_a_layer_of_the_user(lib: Library) -> None:
    inner = layer(lib, 30, 30)

    def residual(x: Array) -> Array:
        return x + inner(x)

    net = Sequential((layer(lib, 20, 30), residual, layer(lib, 30, 9)))
    assert moved(lib, net, rows(300, 20), (1, 2, 6, 12, 25, 193)) == []


def test_the_digits_have_their_bits(lib: Library) -> None:
    net = ab.load_model("digits-mlp", backend=lib.backend)
    assert moved(lib, net, ab.datasets.digits().images) == []


def test_the_book_s_images_have_their_bits(lib: Library, data_dir: object) -> None:
    net = ab.load_model("mnist-mlp", backend=lib.backend)
    images = ab.datasets.mnist().images[:2000]
    assert moved(lib, net, images) == []
    assert moved(lib, net, (images / 255).astype(np.float32), (1, 6, 13)) == []


def convolutions(lib: Library) -> dict[str, Sequential]:
    """Return networks of images (3, 9, 8): plain, depthwise, and with pooling and norms."""
    rng = np.random.default_rng(11)

    def a(*shape: int) -> Array:
        return lib.asarray(rng.standard_normal(shape))

    positive = lib.asarray(rng.uniform(0.5, 2, 6))
    return {
        "plain": Sequential(Conv(a(5, 3, 3, 3), a(5)), "relu", Conv(a(7, 5, 2, 2), padding=1, stride=2), Flatten()),
        "one by one": Sequential(Conv(a(9, 3, 1, 1), a(9)), "tanh", Flatten(), layer(lib, 648, 10)),
        "depthwise": Sequential(
            Conv(a(3, 1, 3, 3), a(3), groups=3, padding=1), Conv(a(6, 1, 3, 2), groups=3, dilation=2), Flatten()
        ),
        "pooling and norms": Sequential(
            Conv(a(6, 3, 3, 3), a(6), padding=1),
            MaxPool((2, 2), ceil=True),
            BatchNorm(a(6), positive, a(6), a(6)),
            Residual(Conv(a(6, 2, 3, 3), groups=3, padding=1)),
            LayerNorm((5, 4), a(5, 4)),
            BatchNorm(a(6), positive),
            AveragePool((3, 2), stride=1, padding=1, count_padding=False),
            Flatten(),
            layer(lib, 150, 10),
            softmax,
        ),
    }


@pytest.mark.parametrize("name", ["plain", "one by one", "depthwise", "pooling and norms"])
def test_a_row_has_its_bits_in_a_convolution_network(lib: Library, name: str) -> None:
    net, x = convolutions(lib)[name], rows(100, 3 * 9 * 8).reshape(100, 3, 9, 8)
    assert moved(lib, net, x, (1, 2, 3, 5, 7, 8, 13, 31, 32, 33, 64, 97, 99)) == []
    whole = lib.to_numpy(ab.predict(net, x))
    for size, workers in ((1, 1), (33, 2)):
        again = lib.to_numpy(ab.predict(net, x, batch_size=size, workers=workers))
        assert again.tobytes() == whole.tobytes(), (size, workers)
    assert lib.to_numpy(ab.predict(net, x[41])).tobytes() == whole[41].tobytes()
    assert lib.to_numpy(ab.predict(net, x[::-1][:40])).tobytes() == whole[::-1][:40].tobytes()


@pytest.mark.parametrize("name", ["plain", "depthwise", "pooling and norms"])
def test_an_image_has_its_bits_among_equal_images(lib: Library, name: str) -> None:
    net = convolutions(lib)[name]
    x = np.repeat(rows(1, 3 * 9 * 8).reshape(1, 3, 9, 8), lib.backend.step + 30, axis=0)
    y = lib.to_numpy(ab.predict(net, x))
    assert len(np.unique(y.view(np.uint32), axis=0)) == 1


# -- The ways, and the check that chooses one ---------------------------------------------------------


def test_a_row_of_large_values_has_its_bits(lib: Library) -> None:
    # Tiles have fewer rows than a backend's step, of which products take some at a time.
    rng = np.random.default_rng(3)
    thin = Conv(lib.asarray(rng.standard_normal((2, 1, 1, 1))), stride=1)
    net = Sequential(
        (thin, AveragePool((32, 32)), Flatten(), layer(lib, 2 * 64, 50), sigmoid, layer(lib, 50, 10), softmax)
    )
    images = rng.standard_normal((37, 1, 256, 256)).astype(np.float32)
    assert lib.backend.rows_of_tile(2 * 256 * 256) <= 64
    assert moved(lib, net, images, (1, 3, 8, 24, 31)) == []


@pytest.mark.numpy
def test_no_way_warns_of_what_is_behind_it() -> None:
    backend, kernel = backends.resolve("numpy"), backends.resolve("numpy").own["sigmoid"]
    weight, x = np.full((20, 16), 100, np.float32), np.full((384, 20), -100, np.float32)
    product = OPS["linear"].product((backend.tile, 20), ((20, 16), None), weight.dtype, {}, backend.tile)
    for way in backend.ways(product):
        y = way.ready(weight, None, behind=kernel.behind)(x[: 2 * way.rows])  # a warning of overflow would be an error
        np.testing.assert_array_equal(y, np.zeros((len(y), 16)), err_msg=way.name)


@pytest.mark.parametrize("shape", [(1, 1), (9, 10), (50, 300)])
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_every_way_multiplies(lib: Library, shape: tuple[int, int], kind: str) -> None:
    # Also those that are not taken here, since another processor takes them.
    if lib.backend.name == "jax":
        pytest.skip("JAX compiles a network as a whole: below")
    backend = backends.backend_of(lib.asarray([1.0]), device=True)
    weight = np.random.default_rng(4).standard_normal(shape).astype(np.float32)
    bias = np.arange(shape[1], dtype=np.float32)
    x = np.random.default_rng(5).integers(-9, 9, (384, shape[0])).astype(kind)
    expected = x.astype(np.float64) @ weight.astype(np.float64)
    product = OPS["linear"].product((backend.tile, shape[0]), (shape, shape[1:]), weight.dtype, {}, backend.tile)
    ways = backend.ways(product) if lib.backend.name != "dask" else (backend.way("highest", product),)
    for way in ways:
        count = way.rows + way.multiple if way.rows > way.multiple else max(way.rows, 8)
        tile = np.resize(x, (count, shape[0]))
        wanted = np.resize(expected, (count, shape[1]))
        for added in (bias, None):
            multiply = way.ready(lib.asarray(weight), None if added is None else lib.asarray(added))
            y = lib.to_numpy(multiply(lib.asarray(tile, None)))
            assert y.dtype == np.float32
            np.testing.assert_allclose(y, wanted + (0 if added is None else added), atol=2e-4, err_msg=way.name)


@pytest.mark.numpy
@pytest.mark.parametrize("name", sorted(name for name, own in NumPy.own.items() if own.behind))
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, 8, 9, 240, 500, 1920])
def test_an_op_behind_a_product_changes_no_bit(name: str, bias: bool, count: int) -> None:
    own, tile = NumPy.own[name], NumPy.tile
    weight = 0.1 * rows(64, 50)
    added = rows(1, 50)[0] if bias else None
    x = rows(count, 64)
    product = OPS["linear"].product((tile, 64), ((64, 50), (50,)), weight.dtype, {}, tile)
    ways = [way for way in NumPy("cpu").ways(product) if way.fuses]
    assert len(ways) > 4
    for way in ways:
        alone = own.compute(way.ready(weight, added)(x))
        assert way.ready(weight, added, behind=own.behind)(x).tobytes() == alone.tobytes(), way.name


@pytest.mark.numpy
@pytest.mark.parametrize("count", [1, 8, 9, 23, 240, 500, 1920])
def test_products_in_a_chain_have_the_bits_that_they_have_one_by_one(count: int) -> None:
    sizes, behind, tile = (64, 50, 100, 10), NumPy.own["sigmoid"].behind, NumPy.tile
    weights = [0.1 * rows(n, m) for n, m in itertools.pairwise(sizes)]
    product = OPS["linear"].product((tile, 64), ((64, 50), None), np.dtype("float32"), {}, tile)
    chained = [way for way in NumPy("cpu").ways(product) if way.chains]
    assert len(chained) > 3
    chosen = chosen_way(NumPy("cpu"), "highest", product)
    for way in chained:
        last, x = None, rows(count, 64)
        for weight in reversed(weights):
            last = way.ready(weight, None, behind=behind, then=last)
        for weight in weights:
            x = way.ready(weight, None, behind=behind)(x)
            if way.columns:
                one = way.ready(np.eye(x.shape[1], dtype=x.dtype), None)
                assert one(np.asfortranarray(x)).tobytes() == x.tobytes()
        assert last is not None
        y = last(rows(count, 64))
        np.testing.assert_allclose(y, x, rtol=1e-5, err_msg=way.name)
        # A way that sums by place here may sum otherwise in a chain.
        assert way != chosen or y.tobytes() == x.tobytes(), way.name


def test_a_residual_around_products_is_not_taken_into_their_chain(lib: Library) -> None:
    net = Sequential(layer(lib, 64, 50), sigmoid, Residual(Sequential(layer(lib, 50, 50), "relu")), layer(lib, 50, 10))
    x = rows(1000, 64)
    a, b, c, d, e, f = (lib.to_numpy(y).astype(np.float64) for y in net.arrays)
    hidden = 1 / (1 + np.exp(-(x @ a + b)))
    expected = (hidden + np.maximum(hidden @ c + d, 0)) @ e + f
    np.testing.assert_allclose(lib.to_numpy(ab.predict(net, x)), expected, atol=1e-4)
    assert moved(lib, net, x, (1, 7, 13, 241)) == []


@pytest.mark.parametrize("classes", [1, 2, 7, 8, 9, 10, 33, 64, 65, 100])
def test_one_row_has_the_softmax_that_it_has_among_others(lib: Library, classes: int) -> None:
    if "softmax" not in lib.backend.own or not backends.backend_of(lib.asarray([1.0]), device=True).on_host:
        pytest.skip("no kernel that takes one row another way")
    x = 20 * rows(50, classes)
    x[7, 0], x[8, -1], x[9, 0] = np.inf, -np.inf, np.nan
    x[10], x[11] = -np.inf, -np.inf
    x[11, 0] = -np.finfo(np.float32).max
    whole = lib.to_numpy(softmax(lib.asarray(x)))
    alone = np.concatenate([lib.to_numpy(softmax(lib.asarray(x[i : i + 1]))) for i in range(len(x))])
    np.testing.assert_array_equal(np.isnan(alone), np.isnan(whole))
    assert np.nan_to_num(alone).tobytes() == np.nan_to_num(whole).tobytes()  # nan has many bits


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 11, 23, 24, 25, 30, 191, 193])
def test_a_few_rows_have_the_bits_that_they_have_among_many(lib: Library, count: int) -> None:
    net = Sequential((layer(lib, 784, 50), sigmoid, layer(lib, 50, 100), sigmoid, layer(lib, 100, 10), softmax))
    x = rows(400, 784)
    whole = lib.to_numpy(ab.predict(net, x))
    for start in (0, 3, 200):
        assert lib.to_numpy(ab.predict(net, x[start : start + count])).tobytes() == whole[start:][:count].tobytes()


def test_an_infinite_number_meets_no_guard(lib: Library) -> None:
    net = Sequential((layer(lib, 64, 50), identity))
    x = rows(30, 64)
    x[3, 5], x[4, 6] = np.inf, -np.inf
    y = lib.to_numpy(ab.predict(net, x))
    assert np.isinf(y[3:5]).all()
    assert np.isfinite(y[5:]).all()


@pytest.mark.numpy
def test_a_way_that_sums_by_place_is_not_taken() -> None:
    """The check sees one column of one row that is one unit in the last place off, in a whole or a shorter product."""

    def broken(rows: int, place: int, whole: int = 24, multiple: int = 8) -> Way:
        def ready(weight: Array) -> Multiply:
            def multiply(x: Array) -> Array:
                y = np.add.reduce(x[:, :, None] * weight, axis=1)
                if len(x) == rows:
                    y[place, -1] = np.nextafter(y[place, -1], np.float32(np.inf))
                return y

            return multiply

        return Way("broken", whole, multiple, ready)

    class Own(type(backends.resolve("numpy"))):  # type: ignore[misc]
        place: tuple[int, ...] = 0, 0

        def ways(self, product: Product) -> tuple[Way, ...]:
            return broken(*self.place), *super().ways(product)[-1:]

    product = OPS["linear"].product((24, 9), ((9, 10),), np.dtype("float32"), {}, 24)

    for rows, place, name in (
        (24, 0, "single rows"),
        (24, 23, "single rows"),
        (8, 7, "single rows"),
        (23, 0, "broken"),
    ):
        kind = type("Placed", (Own,), {"place": (rows, place)})
        assert chosen_way(kind("cpu"), "highest", product).name == name, (rows, place)

    large = OPS["linear"].product((192, 9), ((9, 10),), np.dtype("float32"), {}, 192)
    for rows in range(4, 193, 4):
        kind = type("Shorter", (Own,), {"place": (rows, 2, 192, 4)})
        assert chosen_way(kind("cpu"), "highest", large).name == "single rows", rows


@pytest.mark.jax
def test_jax_takes_shorter_steps_where_places_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    from anyback.backends._jax_steps import Steps

    net = ab.load_model("digits-mlp", backend="jax")
    images = ab.datasets.digits().images
    whole = np.asarray(ab.predict(net, images))
    asked = []

    def unsteady(self: object, *arguments: object) -> bool:
        asked.append(arguments)
        return False

    monkeypatch.setattr(Steps, "_same_everywhere", unsteady)
    other = net.map(lambda x: x)  # whose plan is not loaded yet
    one_by_one = np.asarray(ab.predict(other, images))
    assert len(asked) == 2
    np.testing.assert_allclose(one_by_one, whole, atol=2e-6)
    assert np.asarray(ab.predict(other, images[7:])).tobytes() == one_by_one[7:].tobytes()
