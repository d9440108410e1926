"""`Predictor`: pickled as a path and a hash, loaded once a process, the same bits in any batch and any container."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Library

import anyback as ab
from anyback.streams import _predictor

IMAGES = ab.datasets.digits("test").images
NET = ab.load_model("digits-mlp", backend="numpy")
EXPECTED = ab.predict(NET, IMAGES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    NET.save(tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def test_the_pickle_of_a_path_holds_no_weights(path: Path) -> None:
    predictor = ab.Predictor(path, backend="numpy")
    assert predictor.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(pickle.dumps(predictor)) < 1000 < sum(x.nbytes for x in NET.arrays)
    assert pickle.loads(pickle.dumps(predictor))(IMAGES).tobytes() == EXPECTED.tobytes()


def test_a_network_in_memory_is_pickled_as_itself() -> None:
    predictor = ab.Predictor(NET)
    sent = pickle.dumps(predictor)
    assert predictor.sha256 is None
    assert len(sent) > sum(x.nbytes for x in NET.arrays)
    first, second = pickle.loads(sent), pickle.loads(sent)
    assert first(IMAGES).tobytes() == EXPECTED.tobytes()
    assert first._network() is second._network()  # so that the second needs no plan of its own


def test_threads_and_tasks_of_a_process_load_the_file_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = pickle.dumps(ab.Predictor(path, backend="numpy"))
    monkeypatch.setattr(_predictor, "_networks", {})
    loads = []
    monkeypatch.setattr(_predictor, "load_model", lambda *a, **k: loads.append(a) or ab.load_model(*a, **k))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: pickle.loads(sent)(IMAGES[:3]).tobytes(), range(16)))
    assert len(loads) == 1
    assert set(found) == {EXPECTED[:3].tobytes()}


def test_a_process_keeps_no_more_than_eight_networks(tmp_path: Path, path: Path) -> None:
    for i in range(12):
        shutil.copy(path, tmp_path / f"{i}.safetensors")
        ab.Predictor(tmp_path / f"{i}.safetensors", backend="numpy")
    assert len(_predictor._networks) == 8


def test_other_processes_give_the_same_bits_in_any_batch(path: Path) -> None:
    predictor = ab.Predictor(path, backend="numpy")
    batches = [IMAGES[:1], IMAGES[1:7], IMAGES[7:300], IMAGES[300:]]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(predictor, batches))
    assert b"".join(y.tobytes() for y in found) == EXPECTED.tobytes()


def test_another_file_is_refused_where_it_is_loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = pickle.dumps(ab.Predictor(path, backend="numpy"))
    NET.map(lambda x: x + 1).save(path)
    monkeypatch.setattr(_predictor, "_networks", {})  # as in another process
    with pytest.raises(ab.WeightsError, match=r"mine\.safetensors is another file .* expected SHA-256 [0-9a-f]{64}, f"):
        pickle.loads(sent)(IMAGES)
    path.unlink()
    with pytest.raises(ab.WeightsError, match=r"mine\.safetensors does not exist; check the path"):
        pickle.loads(sent)(IMAGES)


def test_the_hash_may_be_given(path: Path) -> None:
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert ab.Predictor(path, backend="numpy", sha256=right.upper())(IMAGES).tobytes() == EXPECTED.tobytes()
    with pytest.raises(ab.WeightsError, match=f"expected SHA-256 {'0' * 64}, found {right}"):
        ab.Predictor(path, sha256="0" * 64)


def test_a_file_that_is_written_while_it_is_read_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*args: Any, **options: Any) -> Any:
        net = ab.load_model(*args, **options)
        path.write_bytes(path.read_bytes() + b"more")
        return net

    monkeypatch.setattr(_predictor, "load_model", slow)
    with pytest.raises(ab.WeightsError, match="is another file than the predictor was made of"):
        ab.Predictor(path, backend="numpy")


def test_arrays_of_an_onnx_file_that_lie_in_another_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = onnx.numpy_helper.from_array(weight, "w")
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])]
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", ["n", 2]), ("y", ["n", 3]))
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ports[:1], ports[1:], [value]))
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    sent = pickle.dumps(ab.Predictor(tmp_path / "m.onnx", backend="numpy"))
    x = np.eye(2, dtype=np.float32)
    np.testing.assert_array_equal(pickle.loads(sent)(x), weight)
    (tmp_path / "other").write_bytes((weight + 1).tobytes())
    (tmp_path / "other").replace(tmp_path / "m.data")
    np.testing.assert_array_equal(ab.Predictor(tmp_path / "m.onnx", backend="numpy")(x), weight + 1)
    monkeypatch.setattr(_predictor, "_networks", {})
    with pytest.raises(ab.WeightsError, match=r"m\.onnx is another file than"):
        pickle.loads(sent)(x)


def test_the_choices_of_the_maker_travel(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ab.use_backend("numpy"):
        sent = pickle.dumps(ab.Predictor(path))
    monkeypatch.setattr(_predictor, "_networks", {})
    monkeypatch.setenv("ANYBACK_BACKEND", "nothing")
    monkeypatch.setenv("ANYBACK_PRECISION", "bf16")
    assert pickle.loads(sent)(IMAGES).tobytes() == EXPECTED.tobytes()


def test_numpy_arrays_come_back_whatever_library_computes(lib: Library) -> None:
    net = NET.to(lib.backend)
    y = ab.Predictor(net)(IMAGES)
    assert type(y) is np.ndarray
    assert y.tobytes() == lib.to_numpy(ab.predict(net, IMAGES)).tobytes()
    own = ab.Predictor(net)(lib.asarray(IMAGES, None))
    assert lib.to_numpy(own).tobytes() == y.tobytes()


def test_a_dict_of_arrays_gives_one() -> None:
    batch = {"id": np.arange(500), "image": IMAGES}
    found = ab.Predictor(NET, column="image", keep=["id"], name="p")(batch)
    assert list(found) == ["id", "p"]
    assert found["id"] is batch["id"]
    assert found["p"].tobytes() == EXPECTED.tobytes()
    assert list(ab.Predictor(NET, keep="id")(batch)) == ["id", "output"]
    assert list(ab.Predictor(NET)({"any": IMAGES})) == ["output"]
    with pytest.raises(ab.DataError, match="expected one array to be the input, found 'id', 'image'; pass column="):
        ab.Predictor(NET)(batch)
    with pytest.raises(ab.DataError, match="the batch has no 'x'; it has 'id', 'image'"):
        ab.Predictor(NET, column="x")(batch)
    with pytest.raises(ab.DataError, match="'id': what is kept and an output have one name; pass name="):
        ab.Predictor(NET, column="image", keep=["id"], name="id")(batch)


def test_axes_before_those_of_a_sample_count_rows() -> None:
    grid = IMAGES.reshape(5, 4, 25, 64)
    y = ab.Predictor(NET, axes=1)(grid)
    assert y.shape == (5, 4, 25, 10)
    assert y.tobytes() == EXPECTED.tobytes()
    assert ab.Predictor(NET, axes=1)(grid[0, 0, 0]).tobytes() == EXPECTED[0].tobytes()
    assert ab.Predictor(NET, axes=1)(grid[:0]).shape == (0, 4, 25, 10)
    with pytest.raises(ab.ShapeError, match=r"axes=3: expected an array of at least as many, found shape \(500, 64\)"):
        ab.Predictor(NET, axes=3)(IMAGES.reshape(500, 64))


def test_lists_and_empty_batches() -> None:
    assert ab.Predictor(NET)(IMAGES[:3].tolist()).tobytes() == EXPECTED[:3].tobytes()
    assert ab.Predictor(NET)(IMAGES[:0]).shape == (0, 10)
    assert ab.Predictor(NET)([]).shape == (0, 10)
    for wrong, message in (([[1], [1, 2]], "ragged"), (None, "found None")):
        with pytest.raises(ab.DataError, match=message):
            ab.Predictor(NET)(wrong)


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [
        (3, {}, "expected a network, found int"),
        (NET, {"shape": (8, 8)}, "shape: for a network that is read from a file; leave it out"),
        (NET, {"sha256": "0" * 64}, "sha256: for a network that is read from a file"),
        ("none.npz", {}, "does not exist; check the path"),
    ],
)
def test_what_is_no_network_is_one_clear_error(net: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ab.AnybackError, match=message):
        ab.Predictor(net, **options)


@pytest.fixture
def pd() -> Any:
    return pytest.importorskip("pandas")


def test_a_frame_with_columns_of_numbers(pd: Any) -> None:
    frame = pd.DataFrame(IMAGES.reshape(-1, 64), index=np.arange(500)[::-1]).add_prefix("pixel_")
    frame.insert(0, "id", np.arange(500) * 2)
    found = ab.Predictor(NET, keep=["id"])(frame)
    assert list(found.columns) == ["id", *(f"output_{i}" for i in range(10))]
    assert (found.index == frame.index).all()
    assert found.drop(columns="id").to_numpy().tobytes() == EXPECTED.tobytes()
    assert ab.Predictor(NET, keep=["id"])(frame[:0]).shape == (0, 11)
    with pytest.raises(ab.DataError, match="'output_0': what is kept and an output have one name"):
        ab.Predictor(NET, keep=["output_0"])(frame.rename(columns={"id": "output_0"}))


@pytest.mark.parametrize("as_list", [False, True])
def test_a_frame_with_a_column_of_arrays(pd: Any, as_list: bool) -> None:
    rows = [x.tolist() if as_list else x for x in IMAGES]
    frame = pd.DataFrame({"id": np.arange(500), "image": rows})
    found = ab.Predictor(NET, column="image", keep=["id"])(frame)
    assert found.drop(columns="id").to_numpy().tobytes() == EXPECTED.tobytes()
    assert ab.Predictor(NET, column="image")(frame[:0]).shape == (0, 10)
    ragged = pd.DataFrame({"image": [IMAGES[0], IMAGES[0][:3]]})
    with pytest.raises(ab.DataError, match="column 'image': expected an array in each row, all of one shape"):
        ab.Predictor(NET, column="image")(ragged)


def test_names_that_a_frame_lacks(pd: Any) -> None:
    with pytest.raises(ab.DataError, match="the batch has no 'id'; it has 'a', 'b'"):
        ab.Predictor(NET, keep=["id"])(pd.DataFrame({"a": [1], "b": [2]}))
