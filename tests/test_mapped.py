"""Memory maps on Dask: the graph takes along where the numbers are, and no numbers."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import usable

import anyback as ab

pytestmark = pytest.mark.dask

IMAGES = np.concatenate([ab.datasets.digits("test").images] * 8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    usable("dask")
    np.save(tmp_path / "images.npy", IMAGES)
    return tmp_path / "images.npy"


def graph_size(y: object) -> int:
    return len(pickle.dumps(dict(y.__dask_graph__())))  # type: ignore[attr-defined]


def test_an_answer_takes_no_input_along(path: Path) -> None:
    net = ab.load_model("digits-mlp", backend="dask")
    mapped = np.load(path, mmap_mode="r")
    y = ab.predict(net, mapped)
    weights = sum(x.nbytes for x in net.to("numpy").arrays)
    assert graph_size(y) < weights + 30_000 < mapped.nbytes
    expected = ab.predict(ab.load_model("digits-mlp", backend="numpy"), IMAGES)
    np.testing.assert_array_equal(ab.to_numpy(y), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(y)).compute(scheduler="processes"), expected)


@pytest.mark.parametrize("dtype", ["uint8", ">i4", "float16", "float64", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_part_is_read_from_where_it_is(tmp_path: Path, dtype: str, order: str) -> None:
    usable("dask")
    whole = np.random.default_rng(0).integers(0, 100, (2000, 6, 2)).astype(dtype, order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "x.npy", whole)
    whole.tofile(tmp_path / "x.raw")
    raw = np.memmap(tmp_path / "x.raw", dtype, "r", offset=5 * 24 * whole.itemsize, shape=(1000, 6, 2))
    for x in (np.load(tmp_path / "x.npy", mmap_mode="r"), raw):
        for part in (x, x[7:], x[::3, 1:5], x[5], x.T, x[100:1900, ..., 1]):
            y = ab.asarray(part, backend="dask")
            assert part.dtype.byteorder == ">" or graph_size(y) < 1000
            np.testing.assert_array_equal(y.compute(), np.asarray(part))
            np.testing.assert_array_equal(y[1:3].compute(), np.asarray(part)[1:3])


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_what_may_be_written_to_is_copied_at_once(path: Path, mode: str) -> None:
    x = np.load(path, mmap_mode=mode)  # type: ignore[call-overload]
    y = ab.asarray(x, backend="dask")
    x[:] = 0
    x.flags.writeable = False  # the map of a file that was written to
    np.testing.assert_array_equal(y.compute(), IMAGES)
    assert not ab.asarray(x, backend="dask").compute().any()


def test_backwards_or_empty_parts_are_copied(path: Path) -> None:
    x = np.load(path, mmap_mode="r")
    for part in (x[::-1], x[:0], x[3:3], x[2, 1, 1:2][0:0]):
        np.testing.assert_array_equal(ab.asarray(part, backend="dask").compute(), np.asarray(part))


def test_a_file_that_is_replaced_before_the_answer_is_computed_is_an_error(path: Path) -> None:
    y = ab.predict(ab.load_model("digits-mlp", backend="dask"), np.load(path, mmap_mode="r"))
    np.save(path.with_name("other.npy"), IMAGES[::-1])
    os.utime(path.with_name("other.npy"), ns=(1, 1))
    path.with_name("other.npy").replace(path)
    with pytest.raises(ab.DataError, match=r"images\.npy has changed since the answer was asked for"):
        y.compute()
    path.unlink()
    with pytest.raises(ab.DataError, match=r"images\.npy cannot be read again: No such file"):
        y.compute()


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a mapped file as it is")
def test_a_file_that_was_replaced_or_removed_before_is_taken_from_its_map(path: Path) -> None:
    x = np.load(path, mmap_mode="r")
    path.rename(path.with_name("moved.npy"))
    np.testing.assert_array_equal(ab.asarray(x, backend="dask").compute(), IMAGES)
    np.save(path, 16 - IMAGES)
    np.testing.assert_array_equal(ab.asarray(x, backend="dask").compute(), IMAGES)
