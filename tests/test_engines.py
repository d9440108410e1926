"""Engines that people have: Dask, Ray, Spark and xarray, with real workers in processes on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import usable

import anyback as ab
from anyback.executors import EXECUTORS, opened

pytestmark = pytest.mark.filterwarnings("default")  # of the engines themselves

IMAGES = ab.datasets.digits("test").images
NET = ab.load_model("digits-mlp", backend="numpy")
EXPECTED = ab.predict(NET, IMAGES)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of Dask's with two workers, each a process."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Ray with two processors on this machine."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """Spark with two threads on this machine, which start Python's processes."""
    sql = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    builder = sql.SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


# -- Engines that compute shards ----------------------------------------------------------------------


def many(folder: Path, rows: int = 1920 * 40 - 9) -> tuple[Path, bytes]:
    """Write an input; return its path, and the bytes that one process computes."""
    x = IMAGES[np.random.default_rng(0).integers(0, len(IMAGES), rows)]
    np.save(folder / "x.npy", x)
    return folder / "x.npy", ab.predict(NET, x).tobytes()


def check(out: Path, expected: bytes) -> None:
    assert ab.verify(out)
    assert np.load(out).tobytes() == expected


@contextlib.contextmanager
def killing(pids: Callable[[], list[int]], marks: Path) -> Iterator[list[int]]:
    """Kill one of the processes once a shard is there, and another later; give the list of those that were killed."""
    killed: list[int] = []
    ended = threading.Event()

    def run() -> None:
        for shards in (1, 12):
            while not ended.is_set() and len(list(marks.glob("*.json"))) < shards:
                time.sleep(0.002)
            if not ended.is_set():
                pid = next(pid for pid in pids() if pid not in killed)
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


@pytest.mark.dask
def test_dask_computes_shards_though_workers_are_killed(client: Any, tmp_path: Path) -> None:
    source, expected = many(tmp_path)
    out = tmp_path / "y.npy"

    def pids() -> list[int]:
        while True:
            with contextlib.suppress(Exception):  # one was just killed
                return list(client.run(os.getpid, on_error="ignore").values())

    with killing(pids, tmp_path / "y.npy.anyback" / "marks") as killed:
        done = ab.predict_to(out, "digits-mlp", source, client.get_executor(), 1920, progress=False)
    assert done.done
    assert len(killed) == 2
    check(out, expected)


@pytest.mark.dask
def test_dask_is_an_executor_by_name(client: Any, tmp_path: Path) -> None:
    source, expected = many(tmp_path, 5000)
    assert ab.predict_to(tmp_path / "y.npy", NET, source, "dask", 1920, progress=False).computed == 3
    check(tmp_path / "y.npy", expected)


def test_ray_computes_shards_though_workers_are_killed(ray: Any, tmp_path: Path) -> None:
    source, expected = many(tmp_path)

    def pids() -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (path / "cmdline").read_bytes().startswith(b"ray::_called"):
                    found.append(int(path.name))
        return found or [0]

    def working() -> list[int]:
        while (found := pids()) == [0]:
            time.sleep(0.002)
        return found

    with killing(working, tmp_path / "y.npy.anyback" / "marks") as killed:
        done = ab.predict_to(tmp_path / "y.npy", "digits-mlp", source, "ray", 1920, progress=False)
    assert done.done
    assert len(killed) == 2
    check(tmp_path / "y.npy", expected)


def test_an_error_of_a_shard_on_ray_is_one_line(ray: Any, tmp_path: Path) -> None:
    x = np.zeros((4000, 64), np.float32)
    x[2000] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ab.ShardError, match=r"^shard 1, rows 1920 to 3839: 1 bad rows; the first: row 2000, [^\n]*$"):
        ab.predict_to(tmp_path / "y.npy", "digits-mlp", tmp_path / "x.npy", "ray", 1920, on_bad="raise", progress=False)


def test_a_task_on_ray_can_be_cancelled(ray: Any) -> None:
    with opened("ray") as pool:
        assert pool is not None
        futures = [pool.submit(time.sleep, 30) for _ in range(4)]
        assert all(future.cancel() for future in futures)
        assert pool.submit(sum, [1, 2]).result() == 3


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_an_engine_that_is_not_installed_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = {"dask": "distributed"}.get(name, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ab.AnybackError, match=f"needs {package}: pip install {package}"), EXECUTORS[name]():
        pass


# -- Engines that carry the rows ----------------------------------------------------------------------


@pytest.fixture
def predictor(tmp_path: Path) -> ab.Predictor:
    NET.save(tmp_path / "mine.safetensors")
    return ab.Predictor(tmp_path / "mine.safetensors", backend="numpy")


@pytest.mark.dask
@pytest.mark.parametrize("rows", [7, 100, 500])
def test_dask_maps_blocks(predictor: ab.Predictor, rows: int) -> None:
    import dask.array as da

    x = da.from_array(IMAGES.reshape(500, 64), chunks=(rows, 64))
    y = x.map_blocks(predictor, dtype="float32", chunks=(x.chunks[0], (10,)))
    for scheduler in ("threads", "processes"):
        assert y.compute(scheduler=scheduler).tobytes() == EXPECTED.tobytes()


@pytest.mark.dask
def test_workers_of_dask_map_blocks_and_refuse_another_file(client: Any, predictor: ab.Predictor) -> None:
    import dask.array as da

    x = da.from_array(IMAGES.reshape(500, 64), chunks=(100, 64))
    assert x.map_blocks(predictor, dtype="float32", chunks=(x.chunks[0], (10,))).compute().tobytes() == (
        EXPECTED.tobytes()
    )
    NET.map(lambda a: a + 1).save(predictor._source)
    client.restart()
    with pytest.raises(ab.WeightsError, match="is another file than the predictor was made of"):
        x.map_blocks(predictor, dtype="float32", chunks=(x.chunks[0], (10,))).compute()


@pytest.mark.dask
def test_predict_on_workers_of_dask_says_of_nan_and_gives_the_same_bits(client: Any, tmp_path: Path) -> None:
    backend = usable("dask")
    x = np.concatenate([IMAGES] * 9).reshape(-1, 64).astype(np.float32) / 16
    x[[3, 4000], 5] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.warns(UserWarning, match="nan in 2 of 4500 rows"):
        expected = ab.predict(NET, x)
    y = ab.predict(NET.to(backend), np.load(tmp_path / "x.npy", mmap_mode="r"), batch_size=1)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        computed = y.compute()
        said: list[str] = []
        for _ in range(500):  # what workers warn of comes by itself
            said = sorted(str(row.message) for row in found if "nan in" in str(row.message))
            if len(said) >= 2:
                break
            time.sleep(0.01)
    assert computed.tobytes() == expected.tobytes()
    assert said == [
        "nan in 1 of the rows 0 to 1,919 of the input; their outputs are nan",
        "nan in 1 of the rows 3,840 to 4,499 of the input; their outputs are nan",
    ]


@pytest.mark.dask
def test_xarray_applies_it_along_the_axis_of_the_features(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    x = xarray.DataArray(IMAGES.reshape(5, 100, 64), dims=("day", "place", "pixel"))
    predictor = ab.Predictor(NET, axes=1)
    options: dict[str, Any] = {"input_core_dims": [["pixel"]], "output_core_dims": [["label"]]}
    whole = xarray.apply_ufunc(predictor, x, **options)
    assert whole.dims == ("day", "place", "label")
    assert whole.values.tobytes() == EXPECTED.tobytes()
    in_blocks = xarray.apply_ufunc(
        predictor,
        x.transpose("pixel", "place", "day").chunk(day=2, place=33),
        dask="parallelized",
        output_dtypes=["float32"],
        dask_gufunc_kwargs={"output_sizes": {"label": 10}},
        **options,
    )
    found = in_blocks.transpose("day", "place", "label").compute(scheduler="threads")
    assert np.ascontiguousarray(found.values).tobytes() == EXPECTED.tobytes()


@pytest.mark.parametrize("batch_size", [7, 128])
@pytest.mark.parametrize("batch_format", ["numpy", "pandas"])
def test_ray_data_maps_batches(ray: Any, predictor: ab.Predictor, batch_size: int, batch_format: str) -> None:
    import ray.data

    rows = ray.data.from_items([{"id": i, "image": x} for i, x in enumerate(IMAGES)])
    found = rows.map_batches(
        ab.Predictor,
        fn_constructor_args=(predictor._source,),
        fn_constructor_kwargs={"sha256": predictor.sha256, "column": "image", "keep": ["id"], "backend": "numpy"},
        batch_size=batch_size,
        batch_format=batch_format,
        concurrency=2,
    ).to_pandas()
    found = found.sort_values("id").drop(columns="id")
    y = np.stack(list(found["output"])) if batch_format == "numpy" else found.to_numpy()
    assert y.astype(np.float32).tobytes() == EXPECTED.tobytes()


def test_spark_predicts_batches(spark: Any, predictor: ab.Predictor) -> None:
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, FloatType

    x = IMAGES.reshape(500, 64).astype(np.float32) / 16
    rows = spark.createDataFrame([(i, row.tolist()) for i, row in enumerate(x)], "id long, image array<float>")
    udf = predict_batch_udf(
        lambda: predictor, return_type=ArrayType(FloatType()), batch_size=64, input_tensor_shapes=[[64]]
    )
    found = rows.select("id", udf("image").alias("output")).orderBy("id").collect()
    assert np.asarray([row.output for row in found], np.float32).tobytes() == ab.predict(NET, x).tobytes()
