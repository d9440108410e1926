"""predict_to and verify: the bits of one process for any shards and executor, kept and refused by name."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import os
import pickle
import random
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Library

import anyback as ab
from anyback import _progress, executors
from anyback.backends.numpy import NumPy
from anyback.cli import main
from anyback.datasets import idx
from anyback.inference import _batches
from anyback.inference._tiles import run_tiles
from anyback.layers import Flatten, Linear, Sequential
from anyback.ops import OPS, Rows, op
from anyback.streams import Job, _sources, shard
from anyback.streams._marks import Mark, Tally
from anyback.streams._outputs import output_at
from anyback.streams._rows import on_host


@pytest.fixture
def x(tmp_path: Path) -> np.ndarray:
    """Rows in x.npy: five shards of the smallest size and a rest."""
    images = ab.datasets.digits("test").images
    rows = np.random.default_rng(0).integers(0, len(images), 10_000)
    np.save(tmp_path / "x.npy", images[rows])
    return images[rows]


def answer(x: np.ndarray, net: Any = "digits-mlp") -> np.ndarray:
    return np.asarray(ab.predict(ab.load_model(net, backend="numpy") if isinstance(net, str) else net, x))


def rows_in(out: Path) -> np.ndarray:
    """Return what an output holds; a zarr array by the package of its makers."""
    if out.suffix == ".npy":
        return np.load(out)
    return np.asarray(pytest.importorskip("zarr").open(out, mode="r")[:])


def written(tmp_path: Path, name: str = "y.npy", net: Any = "digits-mlp", **options: Any) -> Path:
    ab.predict_to(tmp_path / name, net, tmp_path / "x.npy", progress=False, **options)
    assert ab.verify(tmp_path / name)
    return tmp_path / name


class Shuffled(Executor):
    """Computes what waits in an order by chance, in this thread, when it is asked for a result."""

    def __init__(self, seed: int) -> None:
        self.random, self.waiting = random.Random(seed), []  # type: ignore[var-annotated]

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, function, args))
        if len(self.waiting) == self.count:
            self.random.shuffle(self.waiting)
            for future, function, args in self.waiting:
                future.set_result(function(*args))
        return future

    count = 6


# -- The same bits ------------------------------------------------------------------------------------


@pytest.mark.bits
@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
@pytest.mark.parametrize("rows", [1, 3000, 5760, 100_000, None])
def test_the_bits_of_one_process_for_any_shard_size(x: np.ndarray, tmp_path: Path, name: str, rows: int | None) -> None:
    assert rows_in(written(tmp_path, name, shard_rows=rows)).tobytes() == answer(x).tobytes()


EXECUTORS: dict[str, Callable[[], Any]] = {
    "threads": lambda: ThreadPoolExecutor(3),
    "processes": lambda: 2,
    "by name": lambda: "processes",
    "shuffled": lambda: Shuffled(1),
    "otherwise shuffled": lambda: Shuffled(2),
}


@pytest.mark.bits
@pytest.mark.parametrize("make", EXECUTORS.values(), ids=EXECUTORS)
def test_the_bits_of_one_process_for_any_executor_and_order(
    x: np.ndarray, tmp_path: Path, make: Callable[[], Any]
) -> None:
    name = "y.npy" if make is EXECUTORS["by name"] else "y.zarr"
    executor = make()
    assert rows_in(written(tmp_path, name, executor=executor, shard_rows=1)).tobytes() == answer(x).tobytes()
    if isinstance(executor, ThreadPoolExecutor):
        executor.shutdown()


@pytest.mark.bits
def test_the_bits_of_one_process_on_every_library(lib: Library, x: np.ndarray, tmp_path: Path) -> None:
    if lib.id != str(lib.backend).partition(":")[0]:
        pytest.skip("a variant of a library that has its own row")
    floats = (x[:3000] / np.float32(16)).astype(np.float32)
    np.save(tmp_path / "x.npy", floats)
    net = ab.load_model("digits-mlp", backend=lib.backend)
    out = written(tmp_path, net=net, shard_rows=1)
    assert rows_in(out).tobytes() == lib.to_numpy(ab.predict(net, floats)).tobytes()


@pytest.mark.bits
@pytest.mark.parametrize("part", [range(3), (2, 0, 1)])
def test_the_bits_of_one_process_from_parts_on_several_machines(x: np.ndarray, tmp_path: Path, part: Any) -> None:
    done = [
        ab.predict_to(tmp_path / "y.zarr", "digits-mlp", tmp_path / "x.npy", shard_rows=1, shards=f"{i}/3")
        for i in part
    ]
    assert [d.done for d in done] == [False, False, True]
    assert sum(d.computed for d in done) == done[0].shards == 6
    assert rows_in(tmp_path / "y.zarr").tobytes() == answer(x).tobytes()


def test_a_shard_is_a_pure_function_of_data(x: np.ndarray, tmp_path: Path) -> None:
    written(tmp_path, shard_rows=1)
    first = output_at(tmp_path / "y.npy").place.job()
    assert first is not None
    assert pickle.loads(pickle.dumps(first)) == first
    again = dataclasses.replace(first, output=str(tmp_path / "z.zarr"), part="")
    output = output_at(again.output)
    output.place.make()
    assert output.place.begin(again)
    marks = [shard(pickle.loads(pickle.dumps(again)), i) for i in (3, 1, 4, 1, 5, 0, 2)]
    place = output_at(tmp_path / "y.npy").place
    assert [m.sha256 for m in marks] == [place.mark(first, i).sha256 for i in (3, 1, 4, 1, 5, 0, 2)]  # type: ignore[union-attr]


# -- Formats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("chunks", [(700, 8, 8), (2500, 4, 8)])
def test_zarr_arrays_of_both_versions_are_read(x: np.ndarray, tmp_path: Path, version: int, chunks: Any) -> None:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(tmp_path / "x.zarr", shape=x.shape, chunks=chunks, dtype=x.dtype, zarr_format=version)
    array[:] = x
    ab.predict_to(tmp_path / "y.zarr", "digits-mlp", tmp_path / "x.zarr", shard_rows=1)
    assert rows_in(tmp_path / "y.zarr").tobytes() == answer(x).tobytes()


def test_of_a_group_of_zarr_arrays_one_is_given(x: np.ndarray, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.create_group(tmp_path / "x.zarr")
    for name in ("images", "others"):
        group.create_array(name, shape=x.shape, chunks=(2000, 8, 8), dtype=x.dtype)[:] = x
    with pytest.raises(ab.DataError, match="is a group of zarr arrays; give the path of one of them: images, others"):
        ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.zarr")
    ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.zarr" / "images")
    assert rows_in(tmp_path / "y.npy").tobytes() == answer(x).tobytes()


def test_a_hostile_zarr_array_is_one_clear_error(tmp_path: Path) -> None:
    pytest.importorskip("zarr")

    def opened(name: str, about: dict[str, Any]) -> None:
        (tmp_path / "x.zarr").mkdir(exist_ok=True)
        (tmp_path / "x.zarr" / name).write_text(json.dumps(about), encoding="utf-8")
        ab.predict_to(tmp_path / f"{next(numbers)}.npy", "digits-mlp", tmp_path / "x.zarr")

    numbers = itertools.count()
    for shape, chunks in (([10**12, 10**12], [1, 64]), ([2, *[1] * 80], [1] * 81), ([5, 64], [0, 64])):
        about = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default"},
            "fill_value": 0,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        }
        with pytest.raises((ab.DataError, ab.ShardError)):
            opened("zarr.json", about)
    (tmp_path / "x.zarr" / "zarr.json").unlink()
    (tmp_path / "x.zarr" / "0.0").write_bytes(pickle.dumps(Opens(tmp_path / "run")))
    v2 = {"zarr_format": 2, "shape": [4, 64], "chunks": [4, 64], "dtype": "<f4", "fill_value": 0, "order": "C"}
    for packed in (
        {"filters": [{"id": "pickle"}], "compressor": None},
        {"filters": None, "compressor": {"id": "pickle"}},
    ):
        with pytest.raises(ab.DataError, match="pickle"):
            opened(".zarray", {**v2, **packed})
    assert not (tmp_path / "run").exists()


class Opens:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def test_what_is_missing_of_a_zarr_array_reads_as_nan(x: np.ndarray, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    ab.predict_to(tmp_path / "y.zarr", "digits-mlp", tmp_path / "x.npy", shard_rows=1, shards="1/3")
    array = zarr.open(tmp_path / "y.zarr", mode="r")
    assert array.metadata.zarr_format == 3
    assert array.chunks == (1920, 10)
    nan = np.isnan(array[:]).all(axis=1)
    np.testing.assert_array_equal(nan, np.arange(10_000) // 1920 % 3 != 1)
    assert not ab.verify(tmp_path / "y.zarr")
    assert ab.verify(tmp_path / "y.zarr").missing == (0, 2, 3, 5)


@pytest.mark.parametrize("chunk", [1, 3, 7, 24, 100, 1000])
@pytest.mark.parametrize("tile", [1, 5, 24, 64])
@pytest.mark.parametrize("most", [1, 50, 1 << 20])
def test_pieces_are_whole_tiles_and_no_chunk_is_read_twice(
    chunk: int, tile: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, read = np.arange(500), []

    def take(start: int, stop: int) -> np.ndarray:
        read.append((start, stop))
        return rows[start:stop]

    monkeypatch.setattr(_sources, "_BYTES", most * rows.itemsize)
    source = _sources.Source(rows.shape, rows.dtype, chunk, take)
    for start, stop in ((0, 500), (2 * tile, 6 * tile), (3 * tile, 500), (480, 480)):
        read.clear()
        found = list(source.pieces(start, stop, tile))
        np.testing.assert_array_equal(np.concatenate([rows[:0], *(piece for _, piece in found)]), rows[start:stop])
        assert [first for first, _ in found] == [int(piece[0]) for _, piece in found]
        assert all(len(piece) % tile == 0 for _, piece in found[:-1])
        assert all(b == a for (_, b), (a, _) in itertools.pairwise(read))
        assert all(stop % chunk == 0 for _, stop in read[:-1])
        assert all(stop - start <= max(most, chunk) for start, stop in read)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read(x: np.ndarray, tmp_path: Path, packed: bool) -> None:
    data = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in x.shape) + x.tobytes()
    (tmp_path / "x-ubyte").write_bytes(gzip.compress(data) if packed else data)
    ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x-ubyte", shard_rows=1)
    assert rows_in(tmp_path / "y.npy").tobytes() == answer(x).tobytes()
    mapped = idx.mapped(tmp_path / "x-ubyte")
    assert isinstance(mapped, np.memmap) != packed
    np.testing.assert_array_equal(mapped, x)
    (tmp_path / "x-ubyte").write_bytes(data[:-1])
    with pytest.raises(ab.DataError, match="cut off"):
        idx.mapped(tmp_path / "x-ubyte")


@pytest.mark.parametrize("dtype", ["float16", ">f4", "float64", "int16", "bool"])
def test_inputs_of_any_type(x: np.ndarray, tmp_path: Path, dtype: str) -> None:
    y = (x / 16 if np.dtype(dtype).kind == "f" else x).astype(dtype)
    np.save(tmp_path / "x.npy", y)
    assert rows_in(written(tmp_path)).tobytes() == answer(y).tobytes()


@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
@pytest.mark.parametrize("n", [0, 1, 1920])
def test_few_rows_and_none(x: np.ndarray, tmp_path: Path, name: str, n: int) -> None:
    np.save(tmp_path / "x.npy", x[:n])
    assert rows_in(written(tmp_path, name)).tobytes() == answer(x[:n]).tobytes()


def test_a_file_has_its_name_once_all_of_it_is_there(x: np.ndarray, tmp_path: Path) -> None:
    ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", shard_rows=1, shards="0/2")
    assert not (tmp_path / "y.npy").exists()
    ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", shard_rows=1, shards="1/2")
    assert (tmp_path / "y.npy").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "y.npy", "y.npy.anyback"]


def test_bfloat16_is_written_as_float32() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    found = on_host(np.asarray([0.1, np.nan, -np.inf], bfloat16))
    assert found.dtype == np.float32
    assert found.astype(bfloat16).tobytes() == np.asarray([0.1, np.nan, -np.inf], bfloat16).tobytes()


# -- Networks -----------------------------------------------------------------------------------------


def test_a_network_in_memory_is_saved_beside_the_output(x: np.ndarray, tmp_path: Path) -> None:
    net = Sequential(Linear(np.arange(640, dtype=np.float32).reshape(64, 10) / 640), "softmax")
    np.save(tmp_path / "x.npy", x.reshape(-1, 64))
    out = written(tmp_path, "y.zarr", net, executor=2, shard_rows=1)
    assert rows_in(out).tobytes() == answer(x.reshape(-1, 64), net).tobytes()
    (saved,) = (out / ".anyback").glob("network-*.safetensors")
    assert ab.load_model(saved, backend="numpy")(x[0].reshape(64)).tobytes() == net(x[0].reshape(64)).tobytes()
    assert ab.predict_to(out, net, tmp_path / "x.npy", resume=True).computed == 0


def test_a_network_that_cannot_be_saved_is_refused_with_what_to_do(x: np.ndarray, tmp_path: Path) -> None:
    net = Sequential(lambda x: x * 2)
    with pytest.raises(ab.JobError, match=r"cannot be saved: .*functions of yours.*pass the path"):
        ab.predict_to(tmp_path / "y.zarr", net, tmp_path / "x.npy")
    assert not (tmp_path / "y.zarr").exists()


def test_a_network_from_an_onnx_file_is_taken_by_its_path(x: np.ndarray, tmp_path: Path) -> None:
    models = pytest.importorskip("onnx_models")
    weights = np.arange(640, dtype=np.float32).reshape(64, 10) / 640
    graph = models.made(
        [models.node("MatMul", "x w", "y")],
        [models.value("x", "n", 64)],
        [models.value("y", "n", 10)],
        models.constant("w", weights),
    )
    (tmp_path / "net.onnx").write_bytes(graph)
    floats = x.reshape(-1, 64).astype(np.float32)
    np.save(tmp_path / "x.npy", floats)
    out = written(tmp_path, net=tmp_path / "net.onnx", shard_rows=1)
    assert rows_in(out).tobytes() == answer(floats, ab.load_model(tmp_path / "net.onnx", backend="numpy")).tobytes()


def test_an_onnx_file_that_changes_is_noticed_in_its_other_files_too(tmp_path: Path) -> None:
    onnx, models = pytest.importorskip("onnx"), pytest.importorskip("onnx_models")
    np.save(tmp_path / "x.npy", np.ones((5000, 64), np.float32))

    def save(scale: float) -> None:
        graph = models.made(
            [models.node("MatMul", "x w", "y")],
            [models.value("x", "n", 64)],
            [models.value("y", "n", 10)],
            models.constant("w", scale * np.ones((64, 10), np.float32)),
        )
        (tmp_path / "w.bin").unlink(missing_ok=True)
        whole = onnx.load_from_string(graph)
        onnx.save(whole, tmp_path / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)

    save(1)
    before = (tmp_path / "net.onnx").read_bytes()
    options: dict[str, Any] = {"shard_rows": 1, "resume": True}
    ab.predict_to(tmp_path / "y.npy", tmp_path / "net.onnx", tmp_path / "x.npy", shards="0/2", **options)
    save(2)
    assert (tmp_path / "net.onnx").read_bytes() == before
    with pytest.raises(ab.JobError, match="another network"):
        ab.predict_to(tmp_path / "y.npy", tmp_path / "net.onnx", tmp_path / "x.npy", **options)


# -- Resuming -----------------------------------------------------------------------------------------


def half(tmp_path: Path, name: str = "y.zarr", **options: Any) -> Path:
    """Write every second shard of a job."""
    options = {"net": "digits-mlp", "source": tmp_path / "x.npy", "shard_rows": 1, "shards": "1/2", **options}
    assert not ab.predict_to(tmp_path / name, progress=False, **options).done
    return tmp_path / name


def times(out: Path) -> dict[str, int]:
    """Return when each file of an output was written."""
    place = output_at(out).place.folder
    files = [*(place / "marks").iterdir(), *(out.iterdir() if out.is_dir() else ())]
    return {path.name: path.stat().st_mtime_ns for path in files if path.is_file()}


@pytest.mark.parametrize("name", ["y.npy", "y.zarr"])
def test_what_is_there_is_kept(x: np.ndarray, tmp_path: Path, name: str) -> None:
    before = times(half(tmp_path, name))
    done = ab.predict_to(tmp_path / name, "digits-mlp", tmp_path / "x.npy", resume=True)  # and the size of shards too
    assert (done.shards, done.computed, done.done) == (6, 3, True)
    after = times(tmp_path / name)
    assert {file: after[file] for file in before} == before
    assert rows_in(tmp_path / name).tobytes() == answer(x).tobytes()
    assert ab.predict_to(tmp_path / name, "digits-mlp", tmp_path / "x.npy", resume=True).computed == 0
    assert times(tmp_path / name) == after


def test_a_job_that_is_there_is_not_begun_again_unasked(x: np.ndarray, tmp_path: Path) -> None:
    half(tmp_path)
    with pytest.raises(ab.JobError, match=r"begun already; resume it \(resume=True, --resume\)"):
        ab.predict_to(tmp_path / "y.zarr", "digits-mlp", tmp_path / "x.npy")
    (tmp_path / "z.npy").write_bytes(b"mine")
    (tmp_path / "z.zarr").mkdir()
    (tmp_path / "z.zarr" / "zarr.json").write_bytes(b"mine")
    for name in ("z.npy", "z.zarr"):
        with pytest.raises(ab.JobError, match="is there already, and no job"):
            ab.predict_to(tmp_path / name, "digits-mlp", tmp_path / "x.npy", resume=True)
    assert (tmp_path / "z.npy").read_bytes() == (tmp_path / "z.zarr" / "zarr.json").read_bytes() == b"mine"


def another_input(tmp_path: Path) -> dict[str, Any]:
    np.save(tmp_path / "x.npy", np.load(tmp_path / "x.npy"))
    return {}


def another_chunk(tmp_path: Path) -> dict[str, Any]:
    (chunk, *_) = (p for p in (tmp_path / "x.zarr").rglob("*") if p.is_file() and ".json" not in p.name)
    chunk.write_bytes(chunk.read_bytes())
    return {"source": tmp_path / "x.zarr"}


def another_version(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "y.zarr" / ".anyback" / "job.json"
    path.write_text(path.read_text(encoding="utf-8").replace(np.__version__, "1.0"), encoding="utf-8")
    return {}


def edited(**fields: Any) -> Callable[[Path], dict[str, Any]]:
    def edit(tmp_path: Path) -> dict[str, Any]:
        path = tmp_path / "y.zarr" / ".anyback" / "job.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        assert not fields.items() <= record.items()
        path.write_text(json.dumps({**record, **fields}), encoding="utf-8")
        return {}

    return edit


#: What differs when a job is resumed -> how it is refused.
CHANGES: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "network": (lambda _: {"net": Sequential(Flatten(), Linear(np.ones((64, 10), np.float32)))}, "another network"),
    "file": (edited(sha256="0" * 64), r"another network \(sha256: 0000"),
    "arrays": (edited(arrays="0" * 64), r"another network \(arrays: 0000"),
    "width": (edited(sample=[11]), r"another network \(sample"),
    "result": (edited(result="float64"), r"another network \(result"),
    "input": (another_input, r"another input \(stamp"),
    "chunk": (another_chunk, r"another input \(stamp"),
    "rows of the input": (edited(shape=[10_001, 8, 8]), r"another input \(shape"),
    "dtype": (edited(dtype="<f4"), r"another input \(dtype"),
    "shard size": (lambda _: {"shard_rows": 2000}, r"another shard size \(rows: 1920, now 3840"),
    "version": (another_version, r"another version \(versions: .*numpy 1\.0, now .*numpy"),
    "precision": (edited(precision="tf32"), r"another precision \(precision: tf32, now highest"),
    "backend": (edited(backend="cupy:0"), r"another backend \(backend: cupy:0, now numpy:cpu"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_refused_by_name(x: np.ndarray, tmp_path: Path, change: str) -> None:
    options: dict[str, Any] = {"net": "digits-mlp", "source": tmp_path / "x.npy", "shard_rows": 1}
    if change == "chunk":
        zarr = pytest.importorskip("zarr")
        zarr.create_array(tmp_path / "x.zarr", shape=x.shape, chunks=(700, 8, 8), dtype=x.dtype)[:] = x
        options["source"] = tmp_path / "x.zarr"
    before = times(half(tmp_path, **options))
    edit, match = CHANGES[change]
    with pytest.raises(ab.JobError, match=match + ".*remove"):
        ab.predict_to(tmp_path / "y.zarr", **{**options, **edit(tmp_path)}, resume=True)
    assert times(tmp_path / "y.zarr") == before


def test_the_tests_change_every_field_that_decides(x: np.ndarray, tmp_path: Path) -> None:
    half(tmp_path)
    place = output_at(tmp_path / "y.zarr").place
    job = place.job()
    assert job is not None
    paths = {"network", "input", "output"}
    free = {"on_bad"}  # rows that were good have the same bits
    for field in dataclasses.fields(Job):
        value = getattr(job, field.name)
        other = {**value, "x": ""} if isinstance(value, dict) else (value * 2 or "x" if value else "x")
        changed = dataclasses.replace(job, **{field.name: other})
        assert (changed.id == job.id) == (field.name in paths | free), field.name


def test_an_input_that_changes_meanwhile_is_no_success(x: np.ndarray, tmp_path: Path) -> None:
    def change(done: int, total: int) -> None:
        os.utime(tmp_path / "x.npy", ns=(1, 1))

    with pytest.raises(ab.JobError, match="changed meanwhile"):
        ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", progress=change)
    assert not (tmp_path / "y.npy").exists()
    assert not ab.verify(tmp_path / "y.npy")


# -- Bad rows -----------------------------------------------------------------------------------------

BAD = (0, 77, 1919, 1920, 5000, 9998, 9999)


@pytest.fixture
def floats(x: np.ndarray, tmp_path: Path) -> np.ndarray:
    """Rows of floating-point numbers in x.npy."""
    rows = (x / 16).astype(np.float32).reshape(-1, 64)
    np.save(tmp_path / "x.npy", rows)
    return rows


@pytest.mark.parametrize("workers", [None, 2])
def test_nan_is_counted_and_named_and_its_row_nan(floats: np.ndarray, tmp_path: Path, workers: int | None) -> None:
    expected = answer(floats)
    floats[BAD, 3] = np.nan
    np.save(tmp_path / "x.npy", floats)
    with pytest.warns(UserWarning, match="7 of 10000 rows are bad"):
        done = ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", workers, shard_rows=1)
    expected[BAD, :] = np.nan
    assert np.load(tmp_path / "y.npy").tobytes() == expected.tobytes()
    assert (done.bad, list(done.bad_rows)) == (7, list(BAD))
    verified = ab.verify(tmp_path / "y.npy")
    assert (verified.ok, verified.bad, verified.bad_rows) == (True, 7, dict.fromkeys(BAD, "nan in the input"))


def test_nan_behind_infinite_numbers_is_found_in_the_output(floats: np.ndarray, tmp_path: Path) -> None:
    floats[BAD[1:], :] = np.inf
    floats[0, 3] = np.nan
    np.save(tmp_path / "x.npy", floats)
    with pytest.warns(UserWarning, match="7 of 10000 rows are bad"):
        done = ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", shard_rows=1)
    assert np.flatnonzero(np.isnan(np.load(tmp_path / "y.npy")).any(axis=1)).tolist() == list(BAD)
    assert done.bad_rows == {0: "nan in the input", **dict.fromkeys(BAD[1:], "nan in the output")}


def test_the_first_hundred_bad_rows_are_named(floats: np.ndarray, tmp_path: Path) -> None:
    floats[::10, 0] = np.nan
    np.save(tmp_path / "x.npy", floats)
    with pytest.warns(UserWarning, match="1000 of 10000 rows are bad"):
        done = ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", shard_rows=1)
    assert (done.bad, list(done.bad_rows)) == (1000, list(range(0, 1000, 10)))


def test_of_the_bad_rows_of_many_marks_a_hundred_are_held() -> None:
    tally = Tally()
    for i in random.Random(0).sample(range(50), 50):
        named = {1000 * i + row: "nan in the input" for row in range(60)}
        for _ in range(2):  # as where two drivers see one mark
            tally.add(Mark("", i, "", 80, named, f"advice {i}"))
        assert len(tally.bad_rows) <= 100
    assert (tally.bad, len(tally.shards)) == (50 * 80, 50)
    assert list(tally.bad_rows) == [*range(60), *range(1000, 1040)]


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> Sequential:
    """A network that cannot compute a row with a 99 in it, and says so of the whole batch."""

    @op(rows=Rows.ALONE)
    def picky(x: Any) -> Any:
        if np.any(np.asarray(x) == 99):
            raise ValueError("99 is too much")
        return x

    class Picky:
        def calls(self, given: int, into: Any) -> int:
            return int(into.call(OPS["picky"], given))

    monkeypatch.setitem(OPS, "picky", picky)
    return Sequential(Picky(), *ab.load_model("digits-mlp", backend="numpy"))


def test_a_row_that_fails_alone_is_found_and_leaves_the_bits_of_the_others(
    floats: np.ndarray, tmp_path: Path, picky: Any
) -> None:
    expected = answer(floats, picky)
    expected[BAD, :] = np.nan
    floats[BAD, 5] = 99
    np.save(tmp_path / "x.npy", floats)
    for name, rows in (("a.npy", 1), ("b.npy", None)):
        with pytest.warns(UserWarning, match="7 of 10000 rows are bad"):
            done = ab.predict_to(tmp_path / name, picky, tmp_path / "x.npy", shard_rows=rows)
        assert np.load(tmp_path / name).tobytes() == expected.tobytes()
        assert done.bad_rows == dict.fromkeys(BAD, "ValueError: 99 is too much")


def test_a_network_that_fails_is_not_taken_for_bad_rows(floats: np.ndarray, tmp_path: Path, picky: Any) -> None:
    floats[1920 : 2 * 1920] = 99
    np.save(tmp_path / "x.npy", floats)
    with pytest.raises(ab.ShardError, match=r"shard 1, rows 1920 to 3839: more than 1,000 rows fail"):
        ab.predict_to(tmp_path / "y.npy", picky, tmp_path / "x.npy", shard_rows=1)
    assert ab.verify(tmp_path / "y.npy").missing == (1,)  # the others are there
    np.save(tmp_path / "x.npy", np.full((3, 64), 99, np.float32))
    with pytest.raises(ab.ShardError, match="no row can be computed; the first: ValueError: 99"):
        ab.predict_to(tmp_path / "z.npy", picky, tmp_path / "x.npy")


def test_a_library_that_breaks_is_not_taken_for_bad_rows(
    floats: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def broken(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise RuntimeError("the device is lost")
        return run_tiles(*args)

    monkeypatch.setattr(_batches, "run_tiles", broken)
    with pytest.raises(ab.ShardError, match="the device is lost"):
        ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy")
    assert ab.verify(tmp_path / "y.npy").missing == (0,)


def test_bad_rows_can_raise(floats: np.ndarray, tmp_path: Path) -> None:
    floats[BAD, 3] = np.nan
    np.save(tmp_path / "x.npy", floats)
    options: dict[str, Any] = {"net": "digits-mlp", "source": tmp_path / "x.npy", "shard_rows": 1}
    with pytest.raises(ab.ShardError, match=r"shard 0, rows 0 to 1919: 3 bad rows; the first: row 0, nan in the input"):
        ab.predict_to(tmp_path / "y.npy", **options, on_bad="raise")
    with pytest.warns(UserWarning, match="7 of"):  # and be let in when the job is resumed
        assert ab.predict_to(tmp_path / "y.npy", **options, resume=True).done


def test_outputs_of_integers_have_no_nan(x: np.ndarray, tmp_path: Path) -> None:
    models = pytest.importorskip("onnx_models")
    graph = models.made(
        [models.node("ArgMax", "x", "y", axis=1, keepdims=0)],
        [models.value("x", "n", 64)],
        [models.value("y", "n", code=7)],
    )
    (tmp_path / "net.onnx").write_bytes(graph)
    np.save(tmp_path / "x.npy", x.reshape(-1, 64).astype(np.float32))
    options: dict[str, Any] = {"net": tmp_path / "net.onnx", "source": tmp_path / "x.npy", "shard_rows": 1}
    with pytest.raises(ab.JobError, match="int64, which has no nan for bad rows: pass on_bad='raise'"):
        ab.predict_to(tmp_path / "y.zarr", **options)
    ab.predict_to(tmp_path / "y.zarr", **options, on_bad="raise", shards="0/2")
    part = rows_in(tmp_path / "y.zarr")
    labels = x.reshape(-1, 64).argmax(axis=1)
    there = part != np.iinfo(np.int64).min
    np.testing.assert_array_equal(part[there], labels[there])
    assert 0 < there.sum() < 10_000
    ab.predict_to(tmp_path / "y.zarr", **options, on_bad="raise", resume=True)
    np.testing.assert_array_equal(rows_in(tmp_path / "y.zarr"), labels)


# -- Memory -------------------------------------------------------------------------------------------


def test_memory_that_runs_out_halves_the_batch_with_the_same_bits(
    floats: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def small(run: Any) -> Any:
        def call(ready: Any, backend: Any, rows: Any, *placed: Any) -> Any:
            taken.append(len(rows))
            if len(rows) > most:
                raise MemoryError
            return run(ready, backend, rows, *placed)

        return call

    monkeypatch.setattr(NumPy, "tiles", 4)
    monkeypatch.setattr(_batches, "run_tiles", small(_batches.run_tiles))
    monkeypatch.setattr(_batches, "run_tile", small(_batches.run_tile))
    most = 1920
    ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy")
    assert taken[:2] == [1, 4 * 1920]
    assert max(taken[-5:]) == 1920
    most = 1919
    with pytest.raises(ab.ShardError, match="numpy:cpu has too little memory for a tile of 1920 rows: MemoryError"):
        ab.predict_to(tmp_path / "z.npy", "digits-mlp", tmp_path / "x.npy")
    monkeypatch.undo()
    assert np.load(tmp_path / "y.npy").tobytes() == answer(floats).tobytes()


def test_a_library_says_that_memory_ran_out(lib: Library) -> None:
    if lib.id in ("dask", "cupy"):
        pytest.skip("takes memory when it is computed" if lib.id == "dask" else "takes all memory of a device")
    with pytest.raises(Exception) as found:  # noqa: PT011  # of each library's own type
        lib.xp.zeros((1 << 28, 1 << 27), dtype=lib.xp.float32) + 1
    assert lib.backend.ran_out(found.value)
    assert not lib.backend.ran_out(ValueError("another"))


MEMORY = """
import sys, threading, time
import numpy as np, anyback as ab

def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

def watch():
    while True:
        most.append(max(most[-1], anonymous()))
        time.sleep(0.002)

most = [0]
ab.predict_to(sys.argv[1] + ".first.npy", "digits-mlp", sys.argv[2], progress=False)
threading.Thread(target=watch, daemon=True).start()
for i, rows in enumerate(sys.argv[3:]):
    most[:] = [anonymous()]
    ab.predict_to(f"{sys.argv[1]}.{i}.npy", "digits-mlp", rows, shard_rows=40_000, progress=False)
    print(most[-1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what Linux says of a process")
def test_memory_does_not_grow_with_rows(x: np.ndarray, tmp_path: Path) -> None:
    for n in (100_000, 800_000):
        array = np.lib.format.open_memmap(tmp_path / f"{n}.npy", "w+", x.dtype, (n, 64))
        for start in range(0, n, 10_000):
            array[start : start + 10_000] = x.reshape(-1, 64)
    args = [tmp_path / "y", tmp_path / "x.npy", tmp_path / "100000.npy", tmp_path / "800000.npy"]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, args)], capture_output=True, text=True, check=True, timeout=120
    )
    small, large = map(int, done.stdout.split())
    assert large - small < 10_000, f"{small} kB, {large} kB"


# -- Progress -----------------------------------------------------------------------------------------


def test_progress_counts_what_was_there(x: np.ndarray, tmp_path: Path) -> None:
    half(tmp_path)
    seen: list[tuple[int, int]] = []
    ab.predict_to(
        tmp_path / "y.zarr",
        "digits-mlp",
        tmp_path / "x.npy",
        resume=True,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(6160, 10_000), (8080, 10_000), (10_000, 10_000)]


def test_a_log_gets_a_line_a_minute(
    x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: next(clock))
    ab.predict_to(tmp_path / "y.zarr", "digits-mlp", tmp_path / "x.npy", shard_rows=1)
    assert capsys.readouterr().err.splitlines() == [
        "anyback: 5,760 of 10,000 rows, 77 a second, 0:00:55 left",
        "anyback: 10,000 of 10,000 rows, 67 a second, 0:00:00 left",
    ]


# -- Refused ------------------------------------------------------------------------------------------


def test_bad_arguments_are_one_clear_error(x: np.ndarray, tmp_path: Path) -> None:
    def refused(error: type[Exception], match: str, **options: Any) -> None:
        given = {"out": tmp_path / "y.zarr", "net": "digits-mlp", "source": tmp_path / "x.npy", **options}
        with pytest.raises(error, match=match):
            ab.predict_to(**given)
        assert not (tmp_path / "y.zarr").exists()

    refused(ab.JobError, r"y\.h5: unknown suffix '\.h5'; known: \.zarr, \.npy", out=tmp_path / "y.h5")
    refused(ab.AnybackError, "on_bad: expected 'nan' or 'raise', found 'drop'", on_bad="drop")
    refused(ab.DataError, "expected a path, found ndarray; numpy.save", source=x)
    refused(ab.DataError, "No such file", source=tmp_path / "none.npy")
    refused(ab.DataError, "holds one sample", source=saved(tmp_path, x[0]))
    refused(ab.DataError, "holds one number", source=saved(tmp_path, x[0, 0, 0]))
    refused(ab.DataError, "holds <U1; expected numbers", source=saved(tmp_path, np.asarray(["a"])))
    refused(ab.ShapeError, "takes shape", source=saved(tmp_path, x[:, :, :3]))
    refused(ab.AnybackError, "shard_rows: expected a whole number of at least 1, found 0", shard_rows=0)
    refused(ab.AnybackError, "shards: expected i/n .* found '3/3'", shards="3/3")
    refused(ab.WeightsError, "no network and no file", net="mnist-mpl")
    refused(ab.DataError, "is no zarr array|to read zarr arrays: pip install", source=tmp_path)
    np.savez(tmp_path / "x.npz", x)
    refused(ab.DataError, r"is an \.npz archive, whose rows cannot be read in parts", source=tmp_path / "x.npz")
    (tmp_path / "x.txt").write_text("1 2 3", encoding="utf-8")
    refused(
        ab.DataError, r"expected an \.npy file, a zarr array or IDX; it seems to be text", source=tmp_path / "x.txt"
    )
    refused(ab.AnybackError, "executor: expected a number of processes.* found cloud", executor="cloud")
    with pytest.raises(ab.JobError, match="no output of predict_to"):
        ab.verify(tmp_path / "none.zarr")


def saved(tmp_path: Path, x: np.ndarray) -> Path:
    np.save(tmp_path / "other.npy", x)
    return tmp_path / "other.npy"


def test_rows_that_depend_on_each_other_are_refused(tmp_path: Path) -> None:
    models = pytest.importorskip("onnx_models")
    graph = models.made(
        [models.node("ReduceMean", "x", "m", axes=[0]), models.node("Sub", "x m", "y")],
        [models.value("x", "n", 64)],
        [models.value("y", "n", 64)],
    )
    (tmp_path / "net.onnx").write_bytes(graph)
    np.save(tmp_path / "x.npy", np.ones((5, 64), np.float32))
    with (
        pytest.warns(UserWarning, match="depend on the other rows"),
        pytest.raises(ab.DataError, match="cannot be computed apart"),
    ):
        ab.predict_to(tmp_path / "y.npy", tmp_path / "net.onnx", tmp_path / "x.npy")


def test_of_several_outputs_one_is_named(tmp_path: Path) -> None:
    models = pytest.importorskip("onnx_models")
    graph = models.made(
        [models.node("Neg", "x", "y"), models.node("Abs", "x", "z")],
        [models.value("x", "n", 4)],
        [models.value("y", "n", 4), models.value("z", "n", 4)],
    )
    (tmp_path / "net.onnx").write_bytes(graph)
    np.save(tmp_path / "x.npy", np.ones((5, 4), np.float32))
    options: dict[str, Any] = {"net": tmp_path / "net.onnx", "source": tmp_path / "x.npy"}
    with pytest.raises(ab.JobError, match=r"has 2 outputs \(y, z\); name one of them: select='y'"):
        ab.predict_to(tmp_path / "y.npy", **options)
    ab.predict_to(tmp_path / "y.npy", **options, select="y", executor=1)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), -np.ones((5, 4)))
    with pytest.raises(ab.JobError, match=r"another network \(select: y, now z\)"):
        ab.predict_to(tmp_path / "y.npy", **options, select="z", resume=True)


# -- The command line ---------------------------------------------------------------------------------


@pytest.fixture
def anyback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[Any, str]]:
    """Run the command in this process and in the test's folder; return its exit code and what it said."""

    def run(*args: object) -> tuple[Any, str]:
        monkeypatch.chdir(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)  # as outside tests, where it is a line and no error
            with pytest.raises(SystemExit) as end:
                main(list(map(str, args)))
        return end.value.code, "".join(capsys.readouterr())

    return run


def test_the_command_writes_a_job_part_by_part_and_verifies_it(x: np.ndarray, tmp_path: Path, anyback: Any) -> None:
    job = ("predict", "digits-mlp", "x.npy", "-o", "y.zarr")
    code, said = anyback(*job, "--shard-rows", 1, "--shards", "0/2")
    assert (code, said) == (0, "10,000 rows are not all there yet: a part was written to y.zarr, 3 of 6 shards now\n")
    code, said = anyback("verify", "y.zarr")
    assert code == 1
    assert re.search("missing +3: 1, 3, 5\n.*\n.*\nfinished +no", said)
    code, said = anyback(*job)
    assert (code, "begun already; resume it" in said) == (2, True)
    code, said = anyback(*job, "--resume", "--workers", 1)
    assert (code, said) == (0, "10,000 rows written to y.zarr, 3 of 6 shards now\n")
    code, said = anyback("verify", "y.zarr", "--json")
    assert (code, json.loads(said)["ok"], json.loads(said)["shards"]) == (0, True, 6)
    (tmp_path / "y.zarr" / "c.2.0").write_bytes(b"")
    code, said = anyback("verify", "y.zarr")
    assert code == 1
    assert "shard 2: " in said


def test_a_shard_that_fails_has_an_exit_code_of_its_own(floats: np.ndarray, tmp_path: Path, anyback: Any) -> None:
    floats[0] = np.nan
    np.save(tmp_path / "x.npy", floats)
    code, said = anyback("predict", "digits-mlp", "x.npy", "-o", "y.npy", "--on-bad", "raise")
    assert (code, said.count("\n")) == (3, 1)
    assert "row 0, nan in the input" in said
    code, said = anyback("predict", "digits-mlp", "x.npy", "-o", "y.npy", "--resume")
    assert (code, "warning: 1 of 10000 rows are bad" in said) == (0, True)


def test_the_command_gives_a_plain_file_its_activations(x: np.ndarray, tmp_path: Path, anyback: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = {"W1": rng.normal(size=(64, 9)), "b1": rng.normal(size=9), "W2": rng.normal(size=(9, 4)), "b2": np.ones(4)}
    ab.write_weights(tmp_path / "w.npz", {name: array.astype(np.float32) for name, array in arrays.items()})
    options = ("--hidden", "relu", "--output", "softmax", "--pixels", 16)
    code, said = anyback("predict", "w.npz", "x.npy", "-o", "y.zarr", *options)
    assert code == 0, said
    net = ab.load_model(tmp_path / "w.npz", hidden="relu", output="softmax", pixels=16, shape=(8, 8), backend="numpy")
    assert rows_in(tmp_path / "y.zarr").tobytes() == answer(x, net).tobytes()


def test_the_command_needs_a_place_for_shards(x: np.ndarray, anyback: Any) -> None:
    code, said = anyback("predict", "digits-mlp", "x.npy", "--resume")
    assert code == 2
    assert "give --out, one of .zarr, .npy" in said
    assert anyback("predict", "digits-mlp", "x.npy", "-o", "y.csv", "--workers", 2)[0] == 2
    assert anyback("predict", "digits-mlp", "x.npy", "-o", "y.npy", "--workers", 0)[0] == 2


# -- Processes ----------------------------------------------------------------------------------------


def ended(path: str, times: int) -> int:
    """End the process so many times, then return its number."""
    with open(path, "a", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write("x")
    if os.path.getsize(path) <= times:  # noqa: PTH202
        os._exit(9)
    return os.getpid()


def test_a_process_that_dies_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_MOST_DEATHS", 2)
    with executors.Processes(2) as pool:
        first = pool.submit(ended, str(tmp_path / "a"), 1)
        others = [pool.submit(pow, 2, i) for i in range(20)]
        assert [other.result() for other in others] == [2**i for i in range(20)]
        assert first.result() != os.getpid()
        with pytest.raises(ab.JobError, match="ended 2 times while it computed this"):
            pool.submit(ended, str(tmp_path / "b"), 2).result()
        assert pool.submit(pow, 2, 5).result() == 32


def test_a_script_without_its_guard_is_told_so(x: np.ndarray, tmp_path: Path) -> None:
    code = "import anyback as ab\nab.predict_to('y.npy', 'digits-mlp', 'x.npy', 1)\n"
    (tmp_path / "script.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "anyback.errors.JobError: the executor broke: processes end while they start; a script that starts processes "
        "does so under if __name__ == '__main__'; what is there is kept: mend it, and resume"
    )


def test_an_executor_that_was_shut_down_and_one_that_fails_are_said(x: np.ndarray, tmp_path: Path) -> None:
    class Fails(Executor):
        def submit(self, *args: Any, **named: Any) -> Any:
            future: Future[Any] = Future()
            future.set_exception(OSError("a worker has no disk"))
            return future

    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(ab.JobError, match=r"the executor broke: cannot schedule new futures after shutdown; .*resume"):
        ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", pool)
    with pytest.raises(ab.ShardError, match=r"^shard 0: OSError: a worker has no disk; .*resume"):
        ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", Fails(), resume=True)


def test_an_executor_that_breaks_is_said_and_the_job_resumed(x: np.ndarray, tmp_path: Path) -> None:
    class Broken(ThreadPoolExecutor):
        count = 0

        def submit(self, *args: Any, **named: Any) -> Any:
            self.count += 1
            if self.count > 3:
                raise BrokenExecutor("a worker is gone")
            return super().submit(*args, **named)

    with Broken(1) as pool, pytest.raises(ab.JobError, match=r"the executor broke: a worker is gone; .*resume"):
        ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", pool, shard_rows=1)
    assert ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", resume=True).done
    assert rows_in(tmp_path / "y.npy").tobytes() == answer(x).tobytes()
