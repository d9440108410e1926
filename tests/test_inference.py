"""predict and evaluate: the same bits however the work is cut, constant memory, clear errors."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import tracemalloc
import warnings
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import array_api_compat
import numpy as np
import pytest
from conftest import Library, libraries, usable

import anyback as ab
from anyback import backends, functional
from anyback.activations import ACTIVATIONS, sigmoid
from anyback.backends import _jax_steps
from anyback.backends.numpy import NumPy
from anyback.inference import _batches
from anyback.inference._tiles import Ready, run_tiles
from anyback.layers import Flatten, Linear, Pixels, Sequential
from anyback.ops import OPS

SIZES = (1, 7, 100, 256, 1000, 10000)


def network(lib: Library, features: int = 40) -> Sequential:
    """Return a network with random weights, wide enough that the order of summation matters."""
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(size=(features, 30)), rng.normal(size=(30, 10))
    return Sequential((Linear(lib.asarray(w1), lib.asarray(np.ones(30))), sigmoid, Linear(lib.asarray(w2))))


def inputs(n: int, features: int = 40) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, features)).astype(np.float32)


def test_what_runs_here_is_what_ships(lib: Library) -> None:
    # Other test modules wrap these on JAX and Dask, for themselves.
    assert sigmoid is ACTIVATIONS["sigmoid"]
    assert not [f for f in (*ACTIVATIONS.values(), functional.linear) if hasattr(f, "_lazy_xp_function")]


@pytest.mark.bits
def test_the_same_bits_for_every_batch_size(lib: Library) -> None:
    net, x = network(lib), inputs(2500)
    reference = lib.to_numpy(ab.predict(net, x))
    np.testing.assert_allclose(reference, lib.to_numpy(net(lib.asarray(x))), rtol=1e-4, atol=1e-4)
    for size in SIZES:
        assert lib.to_numpy(ab.predict(net, x, batch_size=size)).tobytes() == reference.tobytes(), size


@pytest.mark.bits
@pytest.mark.parametrize("features", [40, 1500])  # a small product, and one that is not: NumPy stacks other numbers
def test_the_same_bits_for_every_number_of_rows(lib: Library, features: int) -> None:
    tile = lib.backend.tile
    net, x = network(lib, features), inputs(tile + 5, features)
    reference = lib.to_numpy(ab.predict(net, x))
    for n in (1, 2, 23, 24, 25, 191, 192, 193, tile - 1, tile, tile + 1):
        assert lib.to_numpy(ab.predict(net, x[:n])).tobytes() == reference[:n].tobytes(), n


@pytest.mark.bits
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_same_bits_of_every_activation_for_every_number_of_rows(name: str, dtype: str) -> None:
    weight = np.random.default_rng(3).normal(size=(40, 13)).astype(dtype)
    net, x = Sequential((Linear(weight), ACTIVATIONS[name])), inputs(2 * NumPy.tile, 40).astype(dtype)
    reference = ab.predict(net, x)
    for n in (1, 3, 24, 29, 200, NumPy.tile + 7):
        assert ab.predict(net, x[:n]).tobytes() == reference[:n].tobytes(), n


@pytest.mark.bits
def test_the_same_bits_after_a_function_of_the_user(lib: Library) -> None:
    # Its product may come out otherwise for another number of rows, so it is given whole tiles alone.
    weight = lib.asarray(np.random.default_rng(4).normal(size=(30, 30)))
    shapes = []

    def own(x: Any) -> Any:
        shapes.append(x.shape)
        return x @ weight

    (linear, *_), x = network(lib).layers, inputs(lib.backend.tile + 3)
    net = Sequential((linear, own))
    reference = lib.to_numpy(ab.predict(net, x))
    for n in (1, 24, 200):
        assert lib.to_numpy(ab.predict(net, x[:n])).tobytes() == reference[:n].tobytes(), n
    assert len(set(shapes)) == 1


@pytest.mark.bits
def test_the_same_bits_for_any_number_of_workers(lib: Library) -> None:
    net, x = network(lib), inputs(5 * lib.backend.tiles * lib.backend.tile // 2)
    reference = lib.to_numpy(ab.predict(net, x, workers=1)).tobytes()
    for workers in (2, 3):
        assert lib.to_numpy(ab.predict(net, x, workers=workers)).tobytes() == reference


@pytest.mark.bits
def test_the_same_bits_whatever_the_rows_around(lib: Library) -> None:
    net, x = network(lib), inputs(300)
    reference = lib.to_numpy(ab.predict(net, x))
    other = x.copy()
    other[1:] = 1e6
    assert lib.to_numpy(ab.predict(net, other))[0].tobytes() == reference[0].tobytes()
    assert lib.to_numpy(ab.predict(net, x[:1]))[0].tobytes() == reference[0].tobytes()


def test_host_arrays_memory_maps_and_device_arrays_agree(lib: Library, tmp_path: Path) -> None:
    net, x = network(lib), inputs(700)
    np.save(tmp_path / "x.npy", x)
    reference = lib.to_numpy(ab.predict(net, x)).tobytes()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert lib.to_numpy(ab.predict(net, mapped)).tobytes() == reference
    assert lib.to_numpy(ab.predict(net, lib.asarray(x))).tobytes() == reference
    assert lib.to_numpy(ab.predict(net, np.asfortranarray(x))).tobytes() == reference


@pytest.mark.bits
@pytest.mark.parametrize("other", libraries("numpy", "torch", "array_api_strict"))
def test_the_order_of_memory_does_not_change_bits(other: str) -> None:
    backend = usable(other)
    net, x = network(Library("numpy", backends.resolve("numpy")), 784), inputs(100, 784)
    columns = backend.asarray(np.ascontiguousarray(x.T)).T
    assert ab.predict(net, columns).tobytes() == ab.predict(net, x).tobytes()
    assert ab.predict(net, columns[:24, :]).tobytes() == ab.predict(net, x)[:24].tobytes()


def test_foreign_byte_orders_change_nothing() -> None:
    net, x = network(Library("numpy", backends.resolve("numpy"))), inputs(30)
    expected = ab.predict(net, x)
    y = ab.predict(net, x.astype(">f4"))
    assert type(y) is np.ndarray
    assert y.tobytes() == expected.tobytes()
    swapped = net.map(lambda a: a.astype(">f4"))
    assert ab.predict(swapped, x).astype(np.float32).tobytes() == expected.tobytes()
    assert ab.predict(swapped, np.ones((30, 40), np.uint8)).dtype.isnative


def test_the_answer_shares_no_memory_with_the_input(lib: Library) -> None:
    net = Sequential((Pixels(lib.asarray(np.asarray(255.0))),))  # passes floats as they are
    for shape in ((4,), (3, 4), (lib.backend.tile, 4)):
        for x in (np.ones(shape, dtype=np.float32), lib.asarray(np.ones(shape))):
            y = ab.predict(net, x)
            if lib.backend.name == "dask":
                y = y.compute()  # its graph holds the input until then
            changed, other = (y, x) if array_api_compat.is_writeable_array(y) else (x, y)
            if array_api_compat.is_writeable_array(changed):  # else both are JAX's, which nobody can change
                changed[...] = 7.0
            np.testing.assert_array_equal(ab.to_numpy(other), np.ones(shape))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_no_features_at_all(lib: Library, shape: tuple[int, int], dtype: str) -> None:
    net = Sequential((Linear(lib.asarray(np.zeros(shape))),))
    y = lib.to_numpy(ab.predict(net, np.zeros((5, shape[0]), dtype=dtype)))
    np.testing.assert_array_equal(y, np.zeros((5, shape[1])))


def test_layers_of_the_user_keep_their_ways(lib: Library) -> None:
    weight = lib.asarray(np.random.default_rng(5).normal(size=(40, 40)))

    class Doubled(Linear):
        def __call__(self, x: Any) -> Any:
            return 2 * (x @ self.weight)

    class Residual(Sequential):
        def forward(self, x: Any) -> Any:
            return x + super().forward(x)

    net, x = Sequential((Residual((Doubled(weight), sigmoid)),)), inputs(70)
    expected = x + 1 / (1 + np.exp(-2 * x @ lib.to_numpy(weight)))
    y = lib.to_numpy(ab.predict(net, x))
    np.testing.assert_allclose(y, expected, atol=1e-5)
    for n in (1, 24):
        assert lib.to_numpy(ab.predict(net, x[:n])).tobytes() == y[:n].tobytes()


def test_one_sample_gives_one_row_and_an_empty_batch_none(lib: Library) -> None:
    net, x = network(lib), inputs(3)
    assert lib.to_numpy(ab.predict(net, x[1])).tobytes() == lib.to_numpy(ab.predict(net, x))[1].tobytes()
    assert ab.predict(net, x[1]).shape == (10,)
    assert ab.predict(net, x[:0]).shape == (0, 10)
    listed = lib.to_numpy(ab.predict(net, x.tolist(), batch_size=2))  # Python's floats take the network's type
    assert listed.tobytes() == lib.to_numpy(ab.predict(net, x)).tobytes()


@pytest.mark.array_api_strict
def test_input_from_another_library_is_moved(lib: Library) -> None:
    strict = usable("array_api_strict")
    net, x = network(lib), inputs(10)
    y = ab.predict(net, strict.asarray(x))
    assert lib.to_numpy(y).tobytes() == lib.to_numpy(ab.predict(net, x)).tobytes()


@pytest.mark.parametrize("n", [10, 24, 4000])
def test_the_input_is_not_changed(lib: Library, n: int) -> None:
    net, x = network(lib), inputs(n)
    before = x.copy()
    for layers in (
        net.layers,
        (sigmoid, *net.layers),
        (Flatten((40,)), sigmoid),
        (Sequential((sigmoid,)), *net.layers),
    ):
        ab.predict(Sequential(layers), x)
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("rows", [0, 1, 3, 5000])
def test_a_network_that_gives_one_number_for_all_rows_is_refused(lib: Library, rows: int) -> None:
    net = Sequential(
        Linear(lib.asarray(np.ones((3, 2), np.float32))), lambda x: array_api_compat.array_namespace(x).sum(x)
    )
    with pytest.raises(ab.DataError, match="gives one number for all rows"):
        ab.predict(net, np.ones((rows, 3), np.float32))


def test_what_a_function_of_the_user_has_seen_stays(lib: Library) -> None:
    first, *rest = network(lib).layers
    seen: list[Any] = []
    x = inputs(30)
    ab.predict(Sequential((first, lambda y: seen.append(y) or y, *rest)), x)  # type: ignore[func-returns-value]
    if lib.backend.name == "jax":
        import jax

        assert isinstance(seen[0], jax.core.Tracer)  # it has seen the shapes, and no values that could change
    else:
        expected = x @ lib.to_numpy(first.weight) + 1
        np.testing.assert_allclose(lib.to_numpy(seen[0])[:30], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_input(tmp_path: Path, workers: int) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    peaks = []
    for rows in (20_000, 200_000):
        mapped = np.lib.format.open_memmap(tmp_path / "big.npy", mode="w+", dtype=np.uint8, shape=(rows, 64))
        ab.predict(net, mapped[:300])
        tracemalloc.start()
        y = ab.predict(net, mapped, workers=workers)
        peaks.append(tracemalloc.get_traced_memory()[1] - y.nbytes)
        tracemalloc.stop()
        del mapped
    # When two threads hold most is a matter of chance; the larger input has 12,800,000 bytes.
    assert peaks[0] < 5_000_000
    assert peaks[1] < (peaks[0] + 100_000 if workers == 1 else 5_000_000)


@pytest.mark.bits
def test_two_processes_give_the_same_bits() -> None:
    code = (
        "import anyback as ab, hashlib; net = ab.load_model('digits-mlp');"
        "print(hashlib.sha256(ab.predict(net, ab.datasets.digits('test').images).tobytes()).hexdigest())"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "ab"
    }
    assert len(found) == 1


@pytest.mark.bits
def test_the_number_of_blas_threads_does_not_change_bits() -> None:
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    net = Sequential((Linear(rng.normal(size=(784, 50)).astype(np.float32)),))
    x = inputs(3000, 784)
    found = set()
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.add(ab.predict(net, x).tobytes())
    assert len(found) == 1


@pytest.mark.jax
def test_one_compilation_whatever_the_batch_sizes() -> None:
    net = ab.load_model("digits-mlp", backend="jax")
    x = ab.datasets.digits("test").images
    traced = []
    watched = Sequential((lambda x: traced.append(x.shape) or x, *net.layers))  # type: ignore[func-returns-value]
    ab.predict(watched, x)
    once = len(traced)
    for size in (1, 100, 500, 10_000):
        ab.predict(watched, x, batch_size=size)
        ab.predict(watched, x[:17], batch_size=size)
        ab.predict(watched, np.concatenate([x] * 20), batch_size=size)
    assert len(traced) == once > 0


@pytest.mark.jax
def test_another_number_of_rows_compiles_nothing_on_a_cpu() -> None:
    backend = usable("jax:cpu")
    import jax

    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None
    )
    net = ab.load_model("digits-mlp", backend=backend)
    x = np.concatenate([ab.datasets.digits("test").images] * 25)
    assert len(x) > 2 * backend.tile
    ab.predict(net, x)
    assert compiled
    compiled.clear()
    for n in (1, 2, 499, 3001, len(x) - 1):
        assert ab.predict(net, x[:n]).shape == (n, 10)
        assert ab.predict(net, jax.device_put(x[:n], backend.device_object())).shape == (n, 10)
    assert not compiled


@pytest.mark.jax
def test_predict_passes_through_a_program_of_the_users() -> None:
    backend = usable("jax:cpu")
    import jax

    net, x = ab.load_model("digits-mlp", backend=backend), ab.datasets.digits("test").images
    expected = np.asarray(ab.predict(net, x)).tobytes()
    assert np.asarray(jax.jit(lambda x: ab.predict(net, x))(x)).tobytes() == expected
    assert np.asarray(jax.jit(lambda one: one * ab.predict(net, x))(1.0)).tobytes() == expected
    # A network that asks another while it is compiled.
    asking = Sequential((lambda v: v + 0 * ab.predict(net, x[:1])[0, 0], *net.layers))
    floats = x.astype(np.float32) / 16
    np.testing.assert_allclose(ab.predict(asking, floats), ab.predict(net, floats), atol=1e-6)


@pytest.mark.jax
def test_kernels_of_jax_know_the_device_where_it_is_not_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    usable("jax:cpu")
    import jax

    from anyback.backends._jax_kernels import _on_cpu

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    seen: list[bool] = []
    net = Sequential(Linear(np.ones((4, 3), np.float32)), lambda x: (seen.append(_on_cpu(x)), x)[1]).to("jax:cpu")
    x = np.ones((5, 4), np.float32)
    ab.predict(net, x), net(ab.asarray(x, backend="jax:cpu")), ab.predict(net, x[0])
    assert seen
    assert all(seen)
    assert _on_cpu(ab.asarray(x, backend="jax:cpu"))
    jax.jit(lambda x: (seen.append(_on_cpu(x)), x)[1])(x)
    assert not seen[-1]


@pytest.mark.jax
def test_an_xla_without_the_option_for_one_thread_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    usable("jax:cpu")
    net, x = ab.load_model("digits-mlp", backend="jax"), np.ones((70, 64), np.float32)
    expected = np.asarray(ab.predict(net, x))
    monkeypatch.setattr(_jax_steps, "_THREADS", "xla_no_such_option")
    np.testing.assert_allclose(ab.predict(ab.load_model("digits-mlp", backend="jax"), x), expected, atol=1e-6)


@pytest.mark.jax
def test_a_mask_needs_no_promotion_of_ranks() -> None:
    usable("jax:cpu")
    import jax

    q, mask = jax.numpy.ones((2, 1, 3, 4)), jax.numpy.zeros((3, 3))
    with jax.numpy_rank_promotion("raise"):
        np.testing.assert_allclose(OPS["attention"](q, q, q, mask, scale=1.0), q)


@pytest.mark.jax
def test_the_first_answer_is_of_the_rows_that_were_given() -> None:
    usable("jax:cpu")
    pytest.importorskip("onnx")
    from onnx_models import constant, made, node, value

    memory, rows = np.ones(1 + 2560 * 128, np.float32), np.random.default_rng(0).random((2560, 128), np.float32)
    x = memory[memory.ctypes.data % 64 == 0 :][: rows.size].reshape(rows.shape)  # JAX takes a copy of these rows
    x[...] = rows
    # Whether the rows of a running sum stay apart is asked of trials, which are placed in memory as the rows are.
    nodes = [node("MatMul", "x w", "a"), node("CumSum", "a axis", "y")]
    arrays = constant("w", rows[:128, :32]), constant("axis", np.asarray(1))
    net = ab.onnx.load(made(nodes, [value("x", "n", 128)], [value("y", "n", 32)], *arrays)).to("jax:cpu")
    wanted = np.cumsum(rows @ rows[:128, :32], axis=1)
    np.testing.assert_allclose(np.asarray(ab.predict(net, x)), wanted, rtol=1e-4)


def test_rows_are_computed_before_others_take_their_memory() -> None:
    memory = np.empty((4, 1))

    class Later(NumPy):
        def put_tile(self, x: np.ndarray) -> np.ndarray:
            memory[: len(x)] = x
            return memory[: len(x)]

        def first_rows(self, y: np.ndarray, count: int) -> np.ndarray:
            return y[:count].copy()

    x = np.arange(7.0)[:, None]
    for tile in (1, 2, 3, 4):
        ready = Ready(SimpleNamespace(tile=tile, multiple=tile), lambda rows: (rows,))
        for count in range(1, 5):
            np.testing.assert_array_equal(run_tiles(ready, Later(), x[:count])[0], x[:count])


@pytest.mark.jax
def test_a_tile_from_the_host_goes_to_the_device_of_the_network() -> None:
    usable("jax:cpu")
    code = (
        "import anyback as ab, jax, numpy as np; from anyback.layers import Linear, Sequential;"
        "there = jax.devices('cpu')[1]; x = jax.device_put(np.ones((3, 2), np.float32), there);"
        "print(ab.predict(Sequential((ab.activations.sigmoid,)), x).devices() == {there});"
        "jax.config.update('jax_default_device', there); net = Sequential((Linear(jax.numpy.ones((2, 2))),));"
        "jax.config.update('jax_default_device', None); seen = [];"
        "net = Sequential((*net.layers, lambda y: seen.append(str(jax.config.jax_default_device)) or y));"
        "print(ab.predict(net, np.ones((3, 2), np.float32)).devices() == {there}, seen[-1] == str(there))"
    )
    flags = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=flags, check=False)
    assert child.stdout.split() == ["True"] * 3, child.stderr


@pytest.mark.bits
@pytest.mark.dask
def test_dask_computes_later_with_the_same_bits(tmp_path: Path) -> None:
    from threadpoolctl import threadpool_limits

    backend = usable("dask")
    net = ab.load_model("digits-mlp", backend=backend)
    x = np.concatenate([ab.datasets.digits("test").images] * 40)
    np.save(tmp_path / "x.npy", x)
    expected = ab.predict(net.to("numpy"), x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    ab.predict(net, mapped[:1])
    tracemalloc.start()
    y = ab.predict(net, mapped)
    assert tracemalloc.get_traced_memory()[1] < x.nbytes / 2  # nothing was read
    tracemalloc.stop()
    assert len(y.__dask_graph__()) == len(y.chunks[0]) < len(x) / backend.tile  # a task reads, and computes many tiles
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            assert y.compute().tobytes() == expected.tobytes()
    assert pickle.loads(pickle.dumps(y)).compute().tobytes() == expected.tobytes()


def test_evaluate_counts(lib: Library) -> None:
    net = ab.load_model("digits-mlp", backend=lib.backend)
    test = ab.datasets.digits("test")
    result = ab.evaluate(net, test.images, test.labels, batch_size=64)
    assert result.total == len(test.labels) == result.confusion.sum()
    assert result.correct == np.trace(result.confusion)
    assert result.accuracy == result.correct / result.total >= 0.95
    assert result.confusion.shape == (10, 10)
    np.testing.assert_array_equal(result.confusion.sum(axis=1), np.bincount(test.labels, minlength=10))
    assert result.backend.startswith(lib.backend.name)
    assert result.precision == "highest"
    assert f"accuracy={result.accuracy:.4f}" in repr(result)


def test_evaluate_agrees_with_float64_numpy(lib: Library) -> None:
    net = ab.load_model("digits-mlp", backend=lib.backend)
    test = ab.datasets.digits("test")
    x = test.images.reshape(-1, 64) / 16.0
    for layer in (layer for layer in net.layers if isinstance(layer, Linear)):
        w, b = (np.asarray(ab.to_numpy(a), dtype=np.float64) for a in (layer.weight, layer.bias))
        x = x @ w + b
        x = 1 / (1 + np.exp(-x)) if w.shape[1] != 10 else np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(ab.evaluate(net, test.images, test.labels).predictions, x.argmax(axis=1))
    np.testing.assert_allclose(ab.to_numpy(ab.predict(net, test.images)), x, atol=2e-6)


def test_two_classes_from_one_output(lib: Library) -> None:
    net = Sequential((Linear(lib.asarray([[1.0]])), sigmoid))
    x = np.asarray([[-2.0], [-1.0], [1.0], [3.0]], dtype=np.float32)
    result = ab.evaluate(net, x, [0, 1, 1, 1])
    np.testing.assert_array_equal(result.confusion, [[1, 0], [1, 2]])


@pytest.mark.numpy
def test_what_was_asked_once_is_answered_alike_again() -> None:
    # What is known of a type and a shape is not asked again; values are.
    net = ab.load_model("digits-mlp", backend="numpy")
    images = ab.datasets.digits("test").images
    scaled = (images[:3] / 16).astype(np.float32)
    for x in (images[0], images[:3], scaled[0], scaled, images[:3].reshape(3, -1), images[:3].astype(np.int64)):
        first = ab.predict(net, x)
        kept = first.copy()
        first[...] = 7  # the caller's own
        assert ab.predict(net, x).tobytes() == kept.tobytes()
        assert ab.predict(net, x, batch_size=1, workers=2).tobytes() == kept.tobytes()
        assert ab.predict(net, x[..., ::-1][..., ::-1]).tobytes() == kept.tobytes()
        assert ab.predict(net, np.asfortranarray(x)).tobytes() == kept.tobytes()
    for _ in range(2):
        with pytest.warns(UserWarning, match="nan in 1 of 3 rows"):
            ab.predict(net, np.where(np.arange(3)[:, None, None] == 1, np.float32(np.nan), scaled))
        with pytest.warns(UserWarning, match="floating-point numbers up to 16"):
            ab.predict(net, scaled * 16)
        with pytest.raises(ab.BackendError, match="does not offer precision"):
            ab.predict(net, scaled, precision="tf32")
        with pytest.raises(ab.ShapeError):
            ab.predict(net, scaled[:, 1:])


@pytest.mark.numpy
def test_wider_rows_than_the_weights_pass_through_a_chain_of_products() -> None:
    rng = np.random.default_rng(7)
    a, b, c, d = (rng.normal(size=shape).astype(np.float32) for shape in ((40, 30), (30, 20), (20, 20), (20, 10)))
    x = inputs(50)
    hidden = [1 / (1 + np.exp(-(x.astype(np.float64) @ a)))]
    for weight in (b, c, d):
        hidden.append(hidden[-1] @ weight if weight is d else np.tanh(hidden[-1] @ weight))
    layers = [Linear(a), sigmoid, Linear(b), "tanh", Linear(c), "tanh", Linear(d)]
    wide = [*layers[:2], lambda y: y.astype(np.float64), *layers[2:]]
    mixed = [*layers[:4], Linear(c.astype(np.float64)), "tanh", Linear(d.astype(np.float64))]
    for net, dtype in ((layers, np.float32), (wide, np.float64), (mixed, np.float64)):
        y = ab.predict(Sequential(*net), x)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, hidden[-1], atol=1e-5)
        assert ab.predict(Sequential(*net), x[7]).tobytes() == y[7].tobytes()


@pytest.mark.numpy
def test_results_come_in_order_up_to_the_batch_that_fails() -> None:
    computed = []

    def task(start: int) -> int:
        computed.append(start)
        if start == 7:
            raise MemoryError(str(start))
        return start

    found = []
    with pytest.raises(MemoryError, match="7"):  # noqa: PT012
        for result in _batches._in_order(task, range(40), 3):
            found.append(result)
            assert len(computed) <= result + 8  # no more wait in memory than keep the workers busy
    assert found == list(range(7))
    assert list(_batches._in_order(str, range(3, 30, 2), 4)) == [str(i) for i in range(3, 30, 2)]


def test_nan_passes_through_and_is_counted_in_a_warning() -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    x = np.zeros((600, 64), dtype=np.float32)
    x[[3, 599], 5] = np.nan
    with pytest.warns(UserWarning, match="nan in 2 of 600 rows of the input"):
        y = ab.predict(net, x)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(y).any(axis=1)), [3, 599])
    with pytest.warns(UserWarning, match="nan in the output of 2 of 600 rows; they count as wrong"):
        result = ab.evaluate(net, x, np.zeros(600, dtype=int))
    assert result.nan_rows == 2
    assert result.confusion.sum() == 598
    x[[3, 599], 5] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ab.predict(net, np.abs(x) + np.float32(1e30))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(9, dtype=int), r"labels: expected shape \(10,\), one for each input, found \(9,\)"),
        (np.zeros((10, 10), dtype=int), r"of one-hot labels pass labels.argmax\(1\)"),
        (np.full(10, 10), "labels: expected 0 to 9, found 10"),
        (np.full(10, -1), "labels: expected 0 or above, found -1"),
        (np.zeros(10), "labels: expected integers, found float64"),
        (["a"] * 10, "expected an array of numbers"),
    ],
)
def test_wrong_labels_are_a_data_error(labels: object, message: str) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    with pytest.raises(ab.DataError, match=message):
        ab.evaluate(net, np.zeros((10, 64), dtype=np.uint8), labels)


@pytest.mark.parametrize("name", ["batch_size", "workers"])
@pytest.mark.parametrize("value", [0, -3, 1.5, "many"])
def test_numbers_below_one_are_refused(name: str, value: object) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    with pytest.raises(ab.AnybackError, match=f"{name}: expected a whole number of at least 1"):
        ab.predict(net, np.zeros((2, 64)), **{name: value})  # type: ignore[arg-type]


def test_an_empty_data_set_scores_nan() -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    result = ab.evaluate(net, np.zeros((0, 64)), [])
    assert np.isnan(result.accuracy)
    assert result.confusion.shape == (10, 10)


def test_progress_is_told_and_silent_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    tile = backends.resolve("numpy").tile
    x = np.zeros((2 * tile + 88, 64), dtype=np.uint8)
    told: list[tuple[int, int]] = []
    ab.predict(net, x, tile, progress=lambda done, total: told.append((done, total)))
    assert told == [(tile, len(x)), (2 * tile, len(x)), (len(x), len(x))]
    ab.predict(net, x, progress=True)
    assert capfd.readouterr() == ("", "")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ab.predict(net, np.zeros((600, 64), dtype=np.uint8), progress=True)
    assert "600/600" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_leaves_cleanly(workers: int) -> None:
    import threading

    net = ab.load_model("digits-mlp", backend="numpy")
    before = threading.active_count()

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ab.predict(net, np.zeros((5000, 64), dtype=np.uint8), progress=interrupt, workers=workers)
    assert threading.active_count() == before
    assert backends.get_precision() == "highest"
    assert ab.predict(net, np.zeros((1, 64), dtype=np.uint8)).shape == (1, 10)


def test_a_plan_is_loaded_once_and_goes_with_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = NumPy.load
    monkeypatch.setattr(NumPy, "load", lambda self, plan: loaded.append(weakref.ref(plan)) or load(self, plan))
    net = ab.load_model("digits-mlp", backend="numpy")
    for n in (1, 1, 500, 5000):
        ab.predict(net, np.zeros((n, 64)))
    assert len(loaded) == 1
    ab.predict(net, np.zeros((1, 64), dtype=np.uint8))  # integers take another plan
    assert len(loaded) == 2
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
    assert [plan() for plan in loaded] == [None, None]


@pytest.mark.array_api_strict
def test_no_device_array_moves_to_the_host_in_predict() -> None:
    strict = usable("array_api_strict:device1")  # NumPy cannot read this device's arrays
    net = ab.load_model("digits-mlp", backend=strict)
    y = ab.predict(net, strict.asarray(ab.datasets.digits("test").images))
    assert y.shape == (500, 10)
    assert y.device == strict.device_object()


def test_the_input_may_be_changed_as_soon_as_predict_returns(lib: Library) -> None:
    net = network(lib, 784)
    rng = np.random.default_rng(2)
    for _ in range(5):
        buffer = rng.normal(size=(8192, 784)).astype(np.float32)
        expected = lib.to_numpy(ab.predict(net, buffer.copy()))
        y = ab.predict(net, buffer)
        if lib.backend.name == "dask":
            y = lib.to_numpy(y)  # its graph holds the input until it is computed
            assert y.tobytes() == expected.tobytes()
            continue
        buffer[:] = 0
        assert lib.to_numpy(y).tobytes() == expected.tobytes()


@pytest.mark.bits
def test_threads_that_predict_at_once_get_the_same_bits_and_leave_the_settings_as_they_were(lib: Library) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_info

    def settings() -> list[object]:
        found: list[object] = [row["num_threads"] for row in threadpool_info()]
        if lib.backend.name == "torch":
            import torch

            found += [torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision]
        return found

    net, x = network(lib, 784), np.random.default_rng(2).normal(size=(1500, 784)).astype(np.float32)
    expected, before = lib.to_numpy(ab.predict(net, x)).tobytes(), settings()
    with ThreadPoolExecutor(max_workers=3) as pool:
        found = list(pool.map(lambda _: lib.to_numpy(ab.predict(net, x)).tobytes(), range(12)))
    assert set(found) == {expected}
    assert settings() == before


@pytest.mark.bits
@pytest.mark.dask
@pytest.mark.parametrize("chunks", [(100, 784), (1000, 392), (2000, 784)])
def test_the_chunks_of_a_dask_array_do_not_change_bits(chunks: tuple[int, int]) -> None:
    backend = usable("dask")
    import dask.array as da

    rng = np.random.default_rng(0)
    net = Sequential((Linear(backend.asarray(rng.normal(size=(784, 50)).astype(np.float32))), sigmoid))
    x = inputs(2000, 784)
    expected = ab.to_numpy(ab.predict(net, x)).tobytes()
    assert ab.to_numpy(ab.predict(net, da.from_array(x, chunks=chunks))).tobytes() == expected


@pytest.mark.bits
@pytest.mark.dask
@pytest.mark.parametrize("rows", [7, 500, 2000, 5001])
@pytest.mark.parametrize("kind", ["array", "map", "blocks"])
def test_a_task_on_dask_takes_as_many_whole_tiles_as_are_asked_for(tmp_path: Path, rows: int, kind: str) -> None:
    backend = usable("dask")
    import dask.array as da

    net = ab.load_model("digits-mlp", backend=backend)
    x = np.concatenate([ab.datasets.digits("test").images] * 13)[: 3 * 1920 + 17]
    np.save(tmp_path / "x.npy", x)
    expected = ab.predict(net.to("numpy"), x).tobytes()
    given = {
        "array": lambda: x,
        "map": lambda: np.load(tmp_path / "x.npy", mmap_mode="r"),
        "blocks": lambda: da.from_array(x, chunks=(rows, 8, 4)),
    }[kind]()
    for size in (None, 1, rows):
        y = ab.predict(net, given, batch_size=size)
        step = -(-(size or 8 * backend.tile) // backend.tile) * backend.tile
        if kind == "blocks" and size is None and rows >= backend.tile:
            assert y.chunks[0] == given.chunks[0]  # nothing is copied
        else:
            assert set(y.chunks[0][:-1]) <= {step}
        assert ab.to_numpy(y).tobytes() == expected


@pytest.mark.dask
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_nan_in_a_dask_array_is_counted_and_said_when_it_is_computed(scheduler: str) -> None:
    backend = usable("dask")
    import dask.array as da

    net = ab.load_model("digits-mlp", backend=backend)
    x = np.zeros((4500, 64), np.float32)
    x[[3, 2500, 2501], 5] = np.nan
    y = ab.predict(net, da.from_array(x, chunks=(2000, 64)))
    with pytest.warns(UserWarning, match="nan in") as found:
        computed = y.compute(scheduler=scheduler)
    assert sorted(str(row.message) for row in found) == [
        "nan in 1 of the rows 0 to 1,999 of the input; their outputs are nan",
        "nan in 2 of the rows 2,000 to 3,999 of the input; their outputs are nan",
    ]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(computed).any(axis=1)), [3, 2500, 2501])


@pytest.mark.dask
def test_a_dask_array_of_unknown_length_says_what_to_do() -> None:
    backend = usable("dask")
    import dask.array as da

    net = Sequential((Linear(backend.asarray(np.ones((4, 2), dtype=np.float32))),))
    x = da.ones((10, 4), dtype="float32")
    with pytest.raises(ab.DataError, match="compute_chunk_sizes"):
        ab.predict(net, x[x[:, 0] > 0])


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4", ">i2"])
def test_numbers_of_another_type_than_the_weights_are_taken(lib: Library, dtype: str) -> None:
    net = network(lib)
    x = np.rint(10 * inputs(20)).astype(dtype)
    if np.dtype(dtype).name not in (*lib.dtypes, "int16"):
        with pytest.raises(ab.BackendError, match="has no"):
            ab.predict(net, x)
        return
    y = lib.to_numpy(ab.predict(net, x))
    np.testing.assert_allclose(y, lib.to_numpy(ab.predict(net, x.astype(np.float32))), rtol=1e-4, atol=1e-4)
    assert y.dtype == (np.float64 if dtype == "float64" else np.float32)


def test_mirrored_and_reversed_input_is_taken(lib: Library) -> None:
    net, x = network(lib), inputs(1024)
    expected = lib.to_numpy(ab.predict(net, x[::-1, ::-1].copy()))
    assert lib.to_numpy(ab.predict(net, x[::-1, ::-1])).tobytes() == expected.tobytes()
    assert lib.to_numpy(ab.predict(net, np.asfortranarray(x[::-1, ::-1]))).tobytes() == expected.tobytes()


@pytest.mark.parametrize("call", [ab.predict, ab.certify, lambda net, x: ab.evaluate(net, x, [0])])
def test_a_name_in_place_of_a_network_says_what_to_do(call: object) -> None:
    with pytest.raises(ab.AnybackError, match="expected a network, found str; load one with"):
        call("digits-mlp", np.zeros((1, 64)))  # type: ignore[operator]
