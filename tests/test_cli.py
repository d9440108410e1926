"""The command line, called in this process but for a handful of tests, which need one of their own."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from conftest import libraries
from onnx_models import constant, made, node, value

import anyback as ab
from anyback.backends import BackendName
from anyback.bench._report import Report, Result
from anyback.cli import _commands, _data, _plots, _reports, main
from anyback.cli._app import app
from anyback.models import NETWORKS


@dataclasses.dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: object
    stdout: str
    stderr: str


Command = Callable[..., Done]


def surroundings() -> tuple[object, ...]:
    """Return what a command may change while it runs, and puts back."""
    handlers = [signal.getsignal(getattr(signal, n)) for n in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, n)]
    return warnings.showwarning, sys.stdout, sys.stderr, *handlers


@pytest.fixture
def anyback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command in this process."""

    def run(*args: object, cwd: Path | None = None, **environment: str) -> Done:
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)  # as outside tests, where it is a line and no error
            patch.setenv("ANYBACK_BENCH_THREADS", "1")  # or `anyback bench` would put itself in this process's place
            for name, value in environment.items():
                patch.setenv(name, value)
            if cwd is not None:
                patch.chdir(cwd)
            capsys.readouterr()
            before = surroundings()
            with pytest.raises(SystemExit) as end:
                main(list(map(str, args)))
            assert surroundings() == before
        return Done(end.value.code, *capsys.readouterr())

    return run


def in_a_process(*args: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "anyback", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


def test_evaluate_needs_no_argument_and_no_download(anyback: Command, tmp_path: Path) -> None:
    done = anyback("evaluate", ANYBACK_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    for word in ("digits-mlp", "numpy:cpu", "highest", "500", "accuracy", "images per second", "right"):
        assert word in done.stdout
    assert "█" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_evaluate_as_json(anyback: Command) -> None:
    record = json.loads(anyback("evaluate", "--json").stdout)
    assert record["total"] == 500
    assert record["accuracy"] == record["correct"] / 500 >= 0.95
    assert np.sum(record["confusion"]) == 500


@pytest.mark.parametrize("name", libraries())
def test_the_books_network_on_every_backend(anyback: Command, name: str, data_dir: Path) -> None:
    done = anyback("evaluate", "mnist-mlp", ANYBACK_BACKEND=name)
    assert done.returncode == 0, done.stderr
    assert "0.9352 (9,352 of 10,000)" in done.stdout


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_batch_size_changes_nothing(anyback: Command, size: int, data_dir: Path) -> None:
    done = anyback("evaluate", "mnist-mlp", "--batch-size", size, "--json")
    assert json.loads(done.stdout)["correct"] == 9352


def test_predict_writes_what_it_prints(anyback: Command, tmp_path: Path) -> None:
    test = ab.datasets.digits("test")
    np.save(tmp_path / "x.npy", test.images)
    assert anyback("predict", "digits-mlp", "x.npy", "-o", "y.npy", cwd=tmp_path).returncode == 0
    y = np.load(tmp_path / "y.npy")
    np.testing.assert_array_equal(y, ab.predict(ab.load_model("digits-mlp", backend="numpy"), test.images))
    assert anyback("predict", "digits-mlp", "x.npy", "-o", "y.csv", cwd=tmp_path).returncode == 0
    table = np.genfromtxt(tmp_path / "y.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(table["label"], y.argmax(axis=1))
    printed = anyback("predict", "digits-mlp", "x.npy", cwd=tmp_path).stdout.splitlines()
    assert [int(line.split("\t")[1]) for line in printed] == y.argmax(axis=1).tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "y.csv", "y.npy"]


def test_two_classes_and_nan_are_labelled_as_evaluate_does(anyback: Command, tmp_path: Path) -> None:
    ab.write_weights(tmp_path / "w.npz", {"W1": np.ones((2, 1), np.float32), "b1": np.zeros(1, np.float32)})
    np.save(tmp_path / "x.npy", np.asarray([[3, 1], [-3, -1], [np.nan, 0]], np.float32))
    done = anyback("predict", "w.npz", "x.npy", "--output", "sigmoid", "-o", "y.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "anyback: warning: nan in 1 of 3 rows of the input; their outputs are nan\n"
    table = np.genfromtxt(tmp_path / "y.csv", delimiter=",", names=True)
    assert table["label"].tolist() == [1, 0, -1]
    printed = anyback("predict", "w.npz", "x.npy", "--output", "sigmoid", cwd=tmp_path).stdout
    assert [line.split("\t")[1] for line in printed.splitlines()] == ["1", "0", "-1"]


def test_a_plain_file_of_weights_takes_the_images_of_a_data_set(
    anyback: Command, data_dir: Path, tmp_path: Path
) -> None:
    done = anyback("evaluate", data_dir / "sample_weight.pkl", "--data", "mnist", "--pixels", 255, "--json")
    assert json.loads(done.stdout)["correct"] == 9352


def test_the_books_convolution_network_is_scored_and_drawn(anyback: Command, data_dir: Path, tmp_path: Path) -> None:
    done = anyback("evaluate", "mnist-cnn", "--json")
    assert json.loads(done.stdout)["correct"] == 9600
    images = ab.datasets.mnist("test").images[:7]
    expected = ab.predict(ab.load_model("mnist-cnn", backend="numpy"), images)
    for forms in (images, images[:, None], images.reshape(7, -1)):
        np.save(tmp_path / "x.npy", forms)
        assert anyback("predict", "mnist-cnn", tmp_path / "x.npy", "-o", tmp_path / "y.npy").returncode == 0
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
    for kind in ("confusion", "probabilities", "images"):
        done = anyback("plot", kind, "mnist-cnn", "-o", tmp_path / f"{kind}.png")
        assert (done.returncode, (tmp_path / f"{kind}.png").is_file()) == (0, True), done.stderr


@pytest.mark.parametrize(("option", "has"), [(("hidden", "sigmoid"), "relu"), (("output", "identity"), "softmax")])
def test_activations_that_a_network_does_not_have_are_one_line(
    anyback: Command, option: tuple[str, str], has: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 28, 28), np.uint8))
    name, asked = option
    done = anyback("predict", "mnist-cnn", tmp_path / "x.npy", f"--{name}", asked)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"mnist-cnn has {name}='{has}', found '{asked}'; leave {name} out" in done.stderr


def test_images_that_do_not_fit_a_file_are_one_line(anyback: Command, tmp_path: Path) -> None:
    ab.write_weights(tmp_path / "w.npz", {"W1": np.ones((4, 2), np.float32), "b1": np.zeros(2, np.float32)})
    np.save(tmp_path / "x.npy", np.ones((5, 3, 3), np.float32))
    done = anyback("predict", "w.npz", "x.npy", cwd=tmp_path)
    said = "W1: expected 9 rows, one for each number of an image (3, 3), found 4"
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("x.csv", b"1,2,3\n", "text"),
        ("x.png", b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        ("x.npy", b"<!DOCTYPE html>", "an HTML page"),
        ("x", b"", "empty"),
    ],
)
def test_predict_says_what_a_file_is_and_what_it_reads(
    anyback: Command, tmp_path: Path, name: str, data: bytes, kind: str
) -> None:
    (tmp_path / name).write_bytes(data)
    done = anyback("predict", "digits-mlp", tmp_path / name)
    assert done.returncode == 2
    assert re.search(rf"it (is|seems to be) {kind}", done.stderr)
    assert ".npy" in done.stderr
    assert done.stderr.count("\n") == 1


TASKS = {
    "numbers": (1, "identity", np.asarray([1.5, 2.0, -1.0, 3.0]), {"mean_squared_error", "r_squared"}),
    "two": (1, "sigmoid", np.asarray([1, 1, 0, 1]), {"accuracy", "confusion"}),
    "classes": (3, "identity", np.asarray([0, 1, 2, 0]), {"accuracy", "confusion"}),
    "several": (3, "sigmoid", np.asarray([[1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]]), {"accuracy", "label_accuracy"}),
    "largest": (3, "sigmoid", np.asarray([0, 1, 2, 0]), {"accuracy", "confusion"}),
}


@pytest.fixture
def task(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, np.ndarray, set[str]]:
    """The activation of the last layer, outputs, and what JSON holds, for a network, data and inputs in a folder."""
    outputs, last, labels, kept = TASKS[request.param]
    rng = np.random.default_rng(0)
    weight, images = rng.normal(size=(4, outputs)).astype(np.float32), rng.random((4, 2, 2)).astype(np.float32)
    ab.write_weights(tmp_path / "w.npz", {"W1": weight, "b1": np.zeros(outputs, np.float32)})
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    np.save(tmp_path / "x.npy", images)
    net = ab.load_model(tmp_path / "w.npz", output=last, backend="numpy")
    return last, ab.predict(net, images.reshape(4, 4)), kept


each_task = pytest.mark.parametrize("task", TASKS, indirect=True)


@each_task
def test_evaluate_scores_by_what_the_outputs_mean(
    task: tuple[str, np.ndarray, set[str]], anyback: Command, tmp_path: Path
) -> None:
    last, _, kept = task
    args = ("evaluate", "w.npz", "--data", "d.npz", "--output", last)
    assert kept <= set(json.loads(anyback(*args, "--json", cwd=tmp_path).stdout))
    shown = anyback(*args, cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert ("R squared" in shown.stdout) == ("r_squared" in kept)
    assert ("all labels right" in shown.stdout) == ("label_accuracy" in kept)
    assert ("accuracy  " in shown.stdout) == ("confusion" in kept)


@each_task
def test_predict_writes_labels_beside_outputs_but_for_numbers(
    task: tuple[str, np.ndarray, set[str]], anyback: Command, tmp_path: Path
) -> None:
    last, y, kept = task
    assert anyback("predict", "w.npz", "x.npy", "--output", last, "-o", "y.csv", cwd=tmp_path).returncode == 0
    header, *rows = (tmp_path / "y.csv").read_text().splitlines()
    numbers = "r_squared" in kept
    several = last == "sigmoid" and y.shape[1] > 1
    count = y.shape[1] if several else 1
    names = [] if numbers else [f"label{i}" for i in range(count)] if several else ["label"]
    assert header.split(",") == [*names, *(f"output{i}" for i in range(y.shape[1]))]
    labels = [] if numbers else [y > 0.5] if several else [y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5)]
    np.testing.assert_allclose([[float(x) for x in row.split(",")] for row in rows], np.column_stack([*labels, y]))
    printed = anyback("predict", "w.npz", "x.npy", "--output", last, cwd=tmp_path).stdout.splitlines()
    assert {len(line.split("\t")) for line in printed} == {2 if numbers else 3}


@each_task
def test_parity_compares_by_what_the_outputs_mean(
    task: tuple[str, np.ndarray, set[str]], anyback: Command, tmp_path: Path
) -> None:
    args = ("parity", "w.npz", "--data", "d.npz", "--output", task[0], "--backends", "numpy", "--json", "p.json")
    done = anyback(*args, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads((tmp_path / "p.json").read_text())
    assert (record["rows"][0]["accuracy"] is None) == ("r_squared" in task[2])


@pytest.mark.parametrize("task", ["numbers"], indirect=True)
@pytest.mark.parametrize("picture", ["images", "confusion", "probabilities"])
def test_pictures_of_labels_are_refused_where_there_are_numbers(
    task: tuple[str, np.ndarray, set[str]], picture: str, anyback: Command, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    done = anyback("plot", picture, "w.npz", "--data", "d.npz", "--output", "identity", "-o", "p.png", cwd=tmp_path)
    assert done.returncode == 2
    assert "numbers" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "p.png").exists()


def test_predict_reads_idx(anyback: Command, data_dir: Path) -> None:
    done = anyback("predict", "mnist-mlp", data_dir / "t10k-images-idx3-ubyte.gz")
    assert done.stdout.splitlines()[0].split("\t")[:2] == ["0", "7"]
    assert len(done.stdout.splitlines()) == 10_000


def test_convert_keeps_every_bit(anyback: Command, data_dir: Path, tmp_path: Path) -> None:
    assert anyback("convert", data_dir / "sample_weight.pkl", tmp_path / "w.safetensors").returncode == 0
    assert anyback("convert", tmp_path / "w.safetensors", tmp_path / "w.npz").returncode == 0
    original, copy = ab.read_weights(data_dir / "sample_weight.pkl"), ab.read_weights(tmp_path / "w.npz")
    assert set(copy) == set(original) == {"W1", "b1", "W2", "b2", "W3", "b3"}
    for name, x in original.items():
        assert copy[name].dtype == x.dtype
        assert copy[name].tobytes() == x.tobytes()


def test_data_from_a_file(anyback: Command, tmp_path: Path) -> None:
    test = ab.datasets.digits("test")
    np.savez(tmp_path / "d.npz", images=test.images, labels=test.labels)
    record = json.loads(anyback("evaluate", "digits-mlp", "--data", "d.npz", "--json", cwd=tmp_path).stdout)
    assert record["total"] == 500


def test_doctor_says_what_works_and_what_mends_the_rest(anyback: Command) -> None:
    done = anyback("doctor")
    assert done.returncode == 0, done.stderr
    record = json.loads(anyback("doctor", "--json").stdout)
    assert [row["name"] for row in record["backends"]] == [
        "numpy",
        "cupy",
        "jax",
        "torch",
        "dask",
        "array_api_strict",
    ]
    for row in record["backends"]:
        assert row["name"] in done.stdout
        assert row["usable"] or (row["reason"] and row["remedy"])
    checked = set(NETWORKS) - {"mnist-deep-cnn"}  # whose check takes long
    weights = {"×".join(map(str, x.shape)) for name in checked for x in NETWORKS[name].sketch().arrays if x.ndim > 1}
    assert set(record["products"]["numpy"]) == weights
    assert set(record["products"].get("jax", checked)) == checked
    assert "products in predict on numpy: 64×50 in " in done.stdout


def test_parity_prints_a_row_for_each_library_and_writes_json(anyback: Command, tmp_path: Path) -> None:
    done = anyback("parity", "--json", "p.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "p.json").read_text())
    assert [row["backend"] for row in record["rows"] if row["simulated"]] == ["numpy", "numpy"]
    for row in record["rows"]:
        assert row["backend"] in done.stdout
        assert row["usable"] or f"{row['backend']}: not usable: {row['reason']}" in done.stdout
    assert record["model"] == "digits-mlp"
    assert record["environment"]["cores"]
    assert max(map(len, done.stdout.split("digits-mlp,")[0].splitlines())) <= 80


@pytest.mark.parametrize("dense", [True, False], ids=["rows", "images"])
def test_an_onnx_file_takes_images_from_any_file(dense: bool, anyback: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    images = rng.standard_normal((9, 2, 5, 6)).astype(np.float32)
    kernel, weight = rng.standard_normal((3, 2, 3, 3)), rng.standard_normal((36, 4))
    nodes = [node("Conv", "x k", "a"), node("Flatten", "a", "b"), node("MatMul", "b w", "y")][: 3 if dense else 1]
    arrays = [constant("k", kernel.astype(np.float32)), constant("w", weight.astype(np.float32))]
    shape = ("n", 4) if dense else ("n", 3, 3, 4)
    outputs = [value("y" if dense else "a", *shape)]
    (tmp_path / "net.onnx").write_bytes(made(nodes, [value("x", "n", 2, 5, 6)], outputs, *arrays))
    np.savez(tmp_path / "labelled.npz", images=images, labels=np.arange(9) % 4)
    np.savez(tmp_path / "alone.npz", pictures=images)
    np.save(tmp_path / "alone.npy", images)
    for file in ("alone.npz", "alone.npy", *(["labelled.npz"] if dense else [])):
        done = anyback("parity", "net.onnx", "--data", file, "--backends", "numpy", "--json", "p.json", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        record = json.loads((tmp_path / "p.json").read_text())
        assert record["total"] == 9
        assert (record["rows"][0]["accuracy"] is None) == (file != "labelled.npz")
        assert 0 < record["rows"][0]["max_error"] < 1e-4
    said = anyback("parity", "net.onnx", cwd=tmp_path)
    assert (said.returncode, said.stdout) == (2, "")
    assert "net.onnx" not in said.stderr
    assert "which data? pass --data" in said.stderr
    if dense:
        assert anyback("evaluate", "net.onnx", "--data", "labelled.npz", cwd=tmp_path).returncode == 0
        assert len(anyback("predict", "net.onnx", "alone.npy", cwd=tmp_path).stdout.splitlines()) == 9
        assert anyback("plot", "network", "net.onnx", "-o", "n.svg", cwd=tmp_path).returncode == 0


def test_parity_draws_what_it_prints(anyback: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    done = anyback("parity", "--backends", "numpy", "--plot", "p.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "numpy:cpu" in done.stdout
    assert (tmp_path / "p.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_parity_exits_with_1_where_a_library_that_is_asked_for_is_missing(anyback: Command) -> None:
    done = anyback("parity", "--backends", "numpy, numpy:cuda:7")
    assert done.returncode == 1
    assert "NO AGREEMENT" in done.stdout
    assert "numpy:cuda:7: BROKEN: cannot be used" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("kind", _plots.PICTURES)
def test_plot_writes_a_picture(anyback: Command, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = anyback("plot", kind, "-b", "numpy", "-n", "20", "-o", "p.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{kind} written to p.png\n"
    assert done.stderr == ""
    data = (tmp_path / "p.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


def test_plot_needs_no_screen_whatever_the_settings_say(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = in_a_process("plot", "activations", "-o", "p.png", cwd=tmp_path, MPLBACKEND="tkagg")
    assert (done.returncode, done.stdout, done.stderr) == (0, "activations written to p.png\n", "")


def test_plot_writes_svg_with_the_same_bytes_each_time(anyback: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.SVG"):
        assert anyback("plot", "activations", "step", "relu", "-o", name, cwd=tmp_path).returncode == 0
    a, b = (tmp_path / name for name in ("a.svg", "b.SVG"))
    assert a.read_bytes() == b.read_bytes()
    assert a.read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_plot_writes_pdf_with_the_same_bytes_each_time(
    anyback: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    for name, day in (("a.pdf", "0"), ("b.PDF", "86400")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", day)  # the date that matplotlib would write
        done = anyback("plot", "activations", "step", "relu", "-o", name, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    a, b = ((tmp_path / name).read_bytes() for name in ("a.pdf", "b.PDF"))
    assert a == b
    assert a.startswith(b"%PDF-")
    assert a.rstrip().endswith(b"%%EOF")
    assert b"/FontFile2" in a, "the letters cannot be found and copied"


def test_plot_names_its_file_after_the_picture(anyback: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "images.png").write_text("mine")
    done = anyback("plot", "images", "--wrong", cwd=tmp_path)
    assert done.stdout == "images written to anyback-images.png\n"
    assert (tmp_path / "images.png").read_text() == "mine"


MISTAKES = [
    (("evaluate", "mnist-rnn"), "no network and no file 'mnist-rnn'"),
    (
        ("evaluate", "mnist-rnn", "--data", "digits"),
        "no network and no file 'mnist-rnn'; known networks: digits-mlp",
    ),
    (("evaluate", "--data", "cifar"), "unknown data 'cifar'; known: digits, mnist"),
    (("evaluate", "--data", "missing.npz"), "missing.npz does not exist"),
    (("evaluate", "--backend", "nunpy"), "unknown backend 'nunpy'; known: numpy"),
    (("evaluate", "--backend", "numpy:cuda"), "no device 'cuda' here"),
    (("evaluate", "--batch-size", "0"), "batch_size: expected a whole number of at least 1"),
    (("evaluate", "--batch-size", "many"), "'many'|valid integer"),
    (("evaluate", "--precision", "tf32"), "does not offer precision"),
    (("evaluate", "--hidden", "sigmod"), "unknown activation 'sigmod'"),
    (("evaluate", "--no-such-option"), "no-such-option"),
    (("evaluat",), "evaluat"),
    (("predict", "digits-mlp", "missing.npy"), "missing.npy does not exist"),
    (("predict", "digits-mlp", "."), "folder"),
    (("predict", "digits-mlp", "text.npy"), "is not an .npy file"),
    (("predict", "digits-mlp", "wide.npy"), "network takes shape"),
    (("predict", "digits-mlp", "objects.npy"), "is not an .npy file of numbers|expected an array of numbers"),
    (("predict", "digits-mlp", "good.npy", "-o", "y.txt"), "unknown suffix '.txt'; known: .npy, .csv, .zarr"),
    (("predict", "digits-mlp", "good.npy", "-o", "no/such/y.npy"), "cannot be written"),
    (("parity", "--data", "nowhere"), "unknown data 'nowhere'; known: digits, mnist, or an .npz, .npy or IDX file"),
    (("parity", "text.onnx"), "text.onnx"),
    (("parity", "--backends", "nunpy"), "unknown backend 'nunpy'; known: numpy"),
    (("parity", "--backends", "numpy", "--json", "no/such/p.json"), "cannot be written"),
    (("parity", "--backends", "numpy", "--plot", "p.jpg"), "unknown suffix '.jpg'; known: .png, .svg, .pdf"),
    (("bench", "--what", "througput"), "unknown table 'througput'; known: throughput, latency"),
    (("bench", "--backends", "nunpy"), "unknown backend 'nunpy'; known: numpy"),
    (("bench", "--threads", "0"), "threads: expected 1 to"),
    (("bench", "--threads", "100000"), "the cores that there are, found 100000"),
    (("bench", "--rounds", "0"), "rounds: expected a whole number of at least 1"),
    (("bench", "--most", "-1"), "most: expected a whole number of at least 1"),
    (("bench", "--data", "floats.npz"), "expected images of integers"),
    (("bench", "no-such-net", "--data", "digits"), "no network and no file 'no-such-net'"),
    (("bench", "no-such-net"), "no network and no file 'no-such-net'"),
    (("bench", "text.npz"), "not an .npz archive"),
    (("bench", "--backends", "numpy", "--json", "no/such/b.json"), "cannot be written"),
    (("convert", "text.npy", "w.npz"), "suffix"),
    (("plot", "activation"), "unknown picture 'activation'; known: activations, network"),
    (("plot", "activations", "sigmod"), "unknown activation 'sigmod'; known: identity"),
    (("plot", "activations", "softmax"), "softmax has no curve"),
    (("plot", "activations", "-o", "a.eps"), "unknown suffix '.eps'; known: .png, .svg, .pdf"),
    (("plot", "activations", "-o", "no/such/a.png"), "cannot be written"),
    (("plot", "network", "mnist-rnn"), "no network and no file 'mnist-rnn'"),
    (("plot", "network", "digits-mlp", "mnist-mlp"), "network: expected one network, found 2 names"),
    (("plot", "probabilities", "--index", "500"), "index: expected 0 to 499, the images of digits, found 500"),
    (("plot", "batch", "-n", "0"), "count: expected a whole number of at least 1, found 0"),
    (("convert", "text.npz", "w.npz"), "text.npz"),
]


@pytest.mark.parametrize(("args", "message"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(
    anyback: Command, args: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "floats.npz", images=np.zeros((2, 64)), labels=np.zeros(2, dtype=int))
    np.save(tmp_path / "good.npy", np.zeros((2, 64)))
    np.save(tmp_path / "wide.npy", np.zeros((2, 65)))
    np.save(tmp_path / "objects.npy", np.asarray([None]), allow_pickle=True)
    before = sorted(p.name for p in tmp_path.iterdir())
    done = anyback(*args, cwd=tmp_path)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("anyback: ")
    assert any(part in done.stderr for part in message.split("|")), done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize("args", [(), ("--help",)])
def test_help_names_every_command(args: tuple[str, ...], anyback: Command) -> None:
    done = anyback(*args)
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("evaluate", "predict", "parity", "bench", "convert", "doctor", "plot"):
        assert command in done.stdout
        assert anyback(command, "--help").returncode == 0


def test_the_version_is_printed(anyback: Command) -> None:
    assert anyback("--version") == Done(0, f"anyback {ab.__version__}\n", "")


@pytest.mark.skipif(os.name == "nt", reason="signals differ on Windows")
@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_is_quiet_and_leaves_no_file(number: int, code: int, said: str, tmp_path: Path) -> None:
    np.lib.format.open_memmap(tmp_path / "big.npy", mode="w+", dtype=np.uint8, shape=(40_000_000, 64))  # sparse
    command = [sys.executable, "-m", "anyback", "predict", "digits-mlp", "big.npy", "-o", "y.npy"]
    # Where a shell started these tests in the background, the signal is ignored, and by children too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and _kilobytes_read(process.pid, "big.npy") < 20_000:
            time.sleep(0.02)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (code, f"anyback: {said}\n")
    assert [p.name for p in tmp_path.iterdir()] == ["big.npy"]


def _kilobytes_read(pid: int, name: str) -> int:
    """Return how much of a mapped file a process has looked at."""
    try:
        mappings = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8")
    except OSError:
        pytest.skip("needs /proc")
    _, _, section = mappings.partition(name)
    found = re.search(r"Rss:\s+(\d+) kB", section)
    return int(found[1]) if found else 0


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((50_000, 64), dtype=np.uint8))
    command = [sys.executable, "-m", "anyback", "predict", "digits-mlp", "x.npy"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


# -- Streams ------------------------------------------------------------------------------------------


class Failing(io.RawIOBase):
    """A file that takes nothing, until it is mended."""

    def __init__(self, error: int) -> None:
        self.error: int | None = error

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        return len(data)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Make standard output fail with an error number."""
    streams = []

    def make(error: int) -> None:
        streams.append(Failing(error))
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(streams[-1]), encoding="utf-8"))

    yield make
    for stream in streams:
        stream.error = None  # it is closed with what it still holds


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A folder with a network, labelled images and inputs."""
    ab.write_weights(tmp_path / "w.npz", {"W1": np.eye(4, 3, dtype=np.float32), "b1": np.zeros(3, np.float32)})
    np.savez(tmp_path / "d.npz", images=np.ones((5, 4), np.uint8), labels=np.zeros(5, np.uint8))
    np.save(tmp_path / "x.npy", np.ones((2, 4), np.float32))
    return tmp_path


def measured(*args: object, **options: object) -> Report:
    """Stand for a measurement, with what no stream of ASCII and no JSON has."""
    rows = (Result("t", "numpy", "g", 2e-6, ratio=1.05), Result("t", "jax", "g", float("inf")))
    return Report("m", 1, 1, 1, {"t": "A table"}, rows, {"processor": "p", "blas": "b"})


#: Commands that print, and the files that they write.
PRINTING: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("--version",), ()),
    (("--help",), ()),
    ((), ()),
    (("evaluate",), ()),
    (("evaluate", "--json"), ()),
    (("evaluate", "w.npz", "--data", "d.npz"), ()),
    (("predict", "w.npz", "x.npy"), ()),
    (("predict", "w.npz", "x.npy", "-o", "出力.npy"), ("出力.npy",)),
    (("predict", "w.npz", "x.npy", "-o", "出力.csv"), ("出力.csv",)),
    (("convert", "w.npz", "重み.safetensors"), ("重み.safetensors",)),
    (("plot", "network", "w.npz", "-o", "図.png"), ("図.png",)),
    (("parity", "w.npz", "--data", "d.npz", "--backends", "numpy", "--json", "p.json"), ("p.json",)),
    (("parity", "--backends", "numpy", "--json", "p.json", "--plot", "p.svg"), ("p.json", "p.svg")),
    (("bench", "w.npz", "--data", "d.npz", "--json", "b.json"), ("b.json",)),
    (("doctor",), ()),
    (("doctor", "--json"), ()),
]
each_command = pytest.mark.parametrize(("args", "files"), PRINTING, ids=[" ".join(args) or "-" for args, _ in PRINTING])


@pytest.fixture(autouse=True)
def no_matplotlib_no_pictures(request: pytest.FixtureRequest) -> None:
    callspec = getattr(request.node, "callspec", None)
    args = callspec.params.get("args", ()) if callspec else ()
    if "plot" in args or "--plot" in args:
        pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@each_command
@pytest.mark.parametrize("encoding", ["ascii", "cp932", "cp437"])
def test_every_text_is_shown_on_every_stream(
    args: tuple[str, ...], files: tuple[str, ...], encoding: str, anyback: Command, inputs: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(_reports, "bench", measured)
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    done = anyback(*args, cwd=inputs)
    assert (done.returncode, done.stderr) == (0, "")
    text = raw.getvalue().decode(encoding)
    for name in files:
        assert (inputs / name).stat().st_size
        if "-o" in args:
            assert name in text or name.partition(".")[0].encode("ascii", "backslashreplace").decode() in text


def test_a_picture_of_a_digit_is_drawn_in_ascii_where_there_are_no_blocks(anyback: Command, monkeypatch: Any) -> None:
    blocks = anyback("evaluate").stdout.splitlines()[-9:]
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    anyback("evaluate")
    sys.stdout.seek(0)
    assert sys.stdout.read().splitlines()[-9:] == [line.translate(str.maketrans("░▒▓█", ".:+#")) for line in blocks]


def test_a_name_of_bytes_that_are_no_text_is_shown(anyback: Command, inputs: Path) -> None:
    name = os.fsdecode(b"y\xe9.npy")
    try:
        (inputs / name).touch()
    except OSError:
        pytest.skip("names of files are text here")
    assert anyback("predict", "w.npz", "x.npy", "-o", name, cwd=inputs).stdout == "2 rows written to 'y\\udce9.npy'\n"


def test_what_looks_like_markup_is_a_name(anyback: Command, inputs: Path) -> None:
    for name in ("a[/b].npz", "[red]b.npz", ":smile:.npz"):
        (inputs / name).parent.mkdir(exist_ok=True)
        (inputs / name).write_bytes((inputs / "w.npz").read_bytes())
        assert f" {name}\n" in anyback("evaluate", name, "--data", "d.npz", cwd=inputs).stdout


@each_command
def test_a_full_disk_behind_standard_output_is_one_line_and_code_2(
    args: tuple[str, ...], files: tuple[str, ...], anyback: Command, inputs: Path, failing: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(_reports, "bench", measured)
    failing(errno.ENOSPC)
    done = anyback(*args, cwd=inputs)
    assert done.returncode == 2
    assert done.stderr == f"anyback: standard output cannot be written: {os.strerror(errno.ENOSPC)}\n"
    assert {path.name for path in inputs.iterdir()} == {"w.npz", "d.npz", "x.npy", *files}  # written first


@each_command
def test_a_closed_pipe_is_silent(
    args: tuple[str, ...], files: tuple[str, ...], anyback: Command, inputs: Path, failing: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(_reports, "bench", measured)
    failing(errno.EPIPE)
    done = anyback(*args, cwd=inputs)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in inputs.iterdir()} == {"w.npz", "d.npz", "x.npy", *files}


def test_a_closed_pipe_hides_no_disagreement(anyback: Command, failing: Any) -> None:
    failing(errno.EPIPE)
    assert anyback("parity", "--backends", "numpy:cuda:7").returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_not_complained_of_again_at_the_end() -> None:
    for args in (["evaluate", "--json"], ["--help"]):
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            done = subprocess.run(
                [sys.executable, "-m", "anyback", *args], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_nothing_to_print_to_is_no_error(anyback: Command, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert anyback("predict", "w.npz", "x.npy", "-o", "y.npy", cwd=inputs).returncode == 0
    assert anyback("evaluate").returncode == 0
    assert anyback("evaluat").returncode == 2


@pytest.mark.parametrize("width", ["", "0", "1", "5", "-3", "²", "many", "1000000", "9" * 30])
def test_no_width_gives_an_empty_line_or_cuts_an_answer(width: str, anyback: Command) -> None:
    for args, answer in (
        (("evaluate",), "488 of"),
        (("parity", "--backends", "numpy"), "accuracy"),
        (("doctor",), "array_a"),
    ):
        done = anyback(*args, COLUMNS=width, LINES=width)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(line.strip() for line in done.stdout.splitlines())
        assert answer in done.stdout
        assert "…" not in done.stdout
    assert anyback("--help", COLUMNS=width, LINES=width).returncode == 0


# -- Files that are written ---------------------------------------------------------------------------

WRITING = [
    ("predict", "w.npz", "x.npy", "-o", "{}.npy"),
    ("predict", "w.npz", "x.npy", "-o", "{}.csv"),
    ("convert", "w.npz", "{}.safetensors"),
    ("parity", "w.npz", "--data", "d.npz", "--json", "{}.json"),
    ("parity", "w.npz", "--data", "d.npz", "--plot", "{}.png"),
    ("bench", "w.npz", "--data", "d.npz", "--json", "{}.json"),
    ("plot", "network", "w.npz", "-o", "{}.svg"),
]


@pytest.mark.parametrize("args", WRITING, ids=" ".join)
@pytest.mark.parametrize("target", ["no/such/out", "x.npy/out", "folder", "fifo", "n" * 300])
def test_a_target_that_cannot_be_written_is_noticed_before_the_work(
    args: tuple[str, ...], target: str, anyback: Command, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work was begun")

    for module, name in ((_data.models, "load_model"), (_commands.weights, "read_weights"), (_reports, "restart")):
        monkeypatch.setattr(module, name, work)
    named = [arg.format(target) for arg in args]
    if target == "folder":
        (inputs / named[-1]).mkdir()
    if target == "fifo":
        if not hasattr(os, "mkfifo"):
            pytest.skip("there are no named pipes here")
        os.mkfifo(inputs / named[-1])
    before = sorted(inputs.rglob("*"))
    done = anyback(*named, cwd=inputs)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be written" in done.stderr
    assert sorted(inputs.rglob("*")) == before


#: Commands, and the input that is their target under another name.
OVER_ITSELF = [
    (("predict", "w.npz", "x.npy", "-o"), "x.npy", ".npy"),
    (("convert", "w.npz"), "w.npz", ".npz"),
    (("parity", "w.npz", "--data", "d.npz", "--json"), "w.npz", ".json"),
    (("parity", "w.npz", "--data", "d.npz", "--plot"), "d.npz", ".png"),
    (("bench", "w.npz", "--data", "d.npz", "--json"), "d.npz", ".json"),
    (("plot", "network", "w.npz", "-o"), "w.npz", ".png"),
]


@pytest.mark.parametrize("link", [os.link, os.symlink])
@pytest.mark.parametrize(("args", "source", "suffix"), OVER_ITSELF)
def test_a_link_to_the_input_is_not_the_target(
    args: tuple[str, ...], source: str, suffix: str, link: Any, anyback: Command, inputs: Path
) -> None:
    link(inputs / source, inputs / f"link{suffix}")
    before = (inputs / source).read_bytes()
    done = anyback(*args, f"link{suffix}", cwd=inputs)
    assert done.returncode == 2
    assert done.stderr.startswith(f"anyback: link{suffix} is {source}, which this command uses too; choose another")
    assert (inputs / source).read_bytes() == before


@pytest.mark.parametrize(("args", "source"), [(args, source) for args, source, _ in OVER_ITSELF if args[0] != "plot"])
def test_the_input_is_not_the_target_however_it_is_spelled(
    args: tuple[str, ...], source: str, anyback: Command, inputs: Path
) -> None:
    for name in (source, f"./{source}", inputs / source):
        before = (inputs / source).read_bytes()
        done = anyback(*args, name, cwd=inputs)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert (inputs / source).read_bytes() == before


def test_two_outputs_are_two_files(anyback: Command, inputs: Path) -> None:
    done = anyback("parity", "--backends", "numpy", "--json", "p.svg", "--plot", "./p.svg", cwd=inputs)
    assert done.returncode == 2
    assert "p.svg is p.svg, which this command uses too" in done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize(
    "args",
    [
        ("predict", "w.npz", "fifo.{}"),
        ("evaluate", "fifo.{}"),
        ("evaluate", "--data", "fifo.{}"),
        ("convert", "fifo.{}", "y.npz"),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors", "pkl", "gz"])
def test_a_named_pipe_is_no_input_and_nobody_waits_for_it(
    args: tuple[str, ...], suffix: str, anyback: Command, inputs: Path
) -> None:
    def too_late(*_: object) -> None:
        raise AssertionError("it waits for a writer")

    os.mkfifo(inputs / f"fifo.{suffix}")
    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(20)
    try:
        done = anyback(*(arg.format(suffix) for arg in args), cwd=inputs)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert done.returncode == 2
    assert re.search("not a regular file|unknown suffix|unknown data", done.stderr)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("suffix", [".csv", ".npy"])
def test_files_keep_every_bit_of_the_outputs(dtype: str, suffix: str, anyback: Command, tmp_path: Path) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="NumPy's bfloat16 comes from ml_dtypes")
    rng = np.random.default_rng(0)
    kind = ab.asarray([1.0], dtype=dtype, backend="numpy").dtype
    weights = {"W1": rng.normal(size=(4, 3)).astype(kind), "b1": rng.normal(size=3).astype(kind)}
    ab.write_weights(tmp_path / "w.safetensors", weights)
    x = rng.integers(0, 9, size=(200, 4), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    assert anyback("predict", "w.safetensors", "x.npy", "-o", f"y{suffix}", cwd=tmp_path).returncode == 0
    expected = ab.predict(ab.load_model(tmp_path / "w.safetensors", backend="numpy"), x)
    assert expected.dtype == kind
    path = tmp_path / f"y{suffix}"
    found = np.load(path) if suffix == ".npy" else np.genfromtxt(path, delimiter=",", skip_header=1)[:, 1:]
    np.testing.assert_array_equal(found.astype(kind), expected)


def test_json_has_no_nan(anyback: Command, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def strict(text: str) -> Any:
        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is no JSON")

        return json.loads(text, parse_constant=refuse)

    np.savez(inputs / "none.npz", images=np.zeros((0, 8, 8), np.uint8), labels=np.zeros(0, int))
    record = strict(anyback("evaluate", "--data", "none.npz", "--json", cwd=inputs).stdout)
    assert (record["total"], record["accuracy"]) == (0, None)
    assert "nan" not in anyback("evaluate", "--data", "none.npz", cwd=inputs).stdout
    images = np.full((3, 4), np.nan, np.float32)
    np.savez(inputs / "nan.npz", images=images, labels=np.zeros(3, int))
    assert strict(anyback("evaluate", "w.npz", "--data", "nan.npz", "--json", cwd=inputs).stdout)["correct"] == 0
    anyback("parity", "w.npz", "--data", "nan.npz", "--backends", "numpy,numpy:cuda:7", "--json", "p.json", cwd=inputs)
    assert strict((inputs / "p.json").read_text())["ok"] is False
    monkeypatch.setattr(_reports, "bench", measured)
    assert anyback("bench", "--json", "b.json", cwd=inputs).returncode == 0
    assert [row["value"] for row in strict((inputs / "b.json").read_text())["results"]] == [2e-6, None]
    assert strict(anyback("doctor", "--json").stdout)["anyback"] == ab.__version__


# -- Signals ------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="signals differ on Windows")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_while_a_file_is_written_leaves_what_was_there(
    name: str, code: int, anyback: Command, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(stream: Any, y: np.ndarray) -> None:
        stream.write(b"half")
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(20)
        raise AssertionError("the signal was not heard")

    monkeypatch.setattr(_commands.np, "save", save)
    (inputs / "y.npy").write_bytes(b"mine")
    before = sorted(inputs.iterdir())
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    heard = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    found = signal.signal(getattr(signal, name), heard)
    try:
        done = anyback("predict", "w.npz", "x.npy", "-o", "y.npy", cwd=inputs)
    finally:
        signal.signal(getattr(signal, name), found)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr in ("anyback: terminated\n", "anyback: interrupted\n")
    assert sorted(inputs.iterdir()) == before
    assert (inputs / "y.npy").read_bytes() == b"mine"


@pytest.mark.skipif(os.name == "nt", reason="signals differ on Windows")
def test_a_signal_that_was_ignored_before_stays_ignored(anyback: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang_up(*args: object, **options: object) -> Report:
        os.kill(os.getpid(), signal.SIGHUP)
        return measured()

    monkeypatch.setattr(_reports, "bench", hang_up)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert anyback("bench").returncode == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_command_runs_in_any_thread(capsys: pytest.CaptureFixture[str]) -> None:
    codes = []

    def run() -> None:
        try:
            main(["--version"])
        except SystemExit as end:
            codes.append(end.code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert codes == [0]
    assert capsys.readouterr().out == f"anyback {ab.__version__}\n"


# -- Examples, completion, questions ------------------------------------------------------------------


def examples() -> dict[str, list[str]]:
    """Return the words of the example in the help of each command."""
    found = {}
    for command in app.registered_commands:
        lines = (command.epilog or "").splitlines()
        found[str(command.name)] = shlex.split(lines[-1]) if "Example:" in lines else []
    return found


@pytest.mark.parametrize("command", examples())
def test_the_example_in_the_help_of_a_command_runs(command: str, anyback: Command, tmp_path: Path) -> None:
    words = examples()[command]
    assert words[:2] == ["anyback", command], "there is no example"
    assert " ".join(words) in anyback(command, "--help").stdout
    if command == "plot":
        pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    np.save(tmp_path / "images.npy", ab.datasets.digits("test").images[:20])
    with (tmp_path / "weights.pkl").open("wb") as stream:
        pickle.dump({"W1": np.eye(4, 3), "b1": np.zeros(3)}, stream)
    if command == "verify":
        ab.predict_to(tmp_path / "outputs.npy", "digits-mlp", tmp_path / "images.npy")
    before = {path.name for path in tmp_path.iterdir()}
    done = anyback(*words[1:], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    written = {path.name for path in tmp_path.iterdir()} - before
    assert written == {word for word in words[2:] if "." in word} - before


#: What is typed -> what the last word becomes. Where nothing is said, the shell offers files.
COMPLETED = {
    "evaluate mnist-c": ["mnist-cnn"],
    "evaluate mine": [],
    "evaluate --data m": ["mnist"],
    "evaluate --backend ": [*get_args(BackendName)],
    "evaluate -b to": ["torch"],
    "evaluate --precision t": ["tf32"],
    "evaluate --hidden soft": ["softplus", "softmax"],
    "evaluate --output id": ["identity"],
    "predict d": ["digits-mlp"],
    "parity --backends numpy,j": ["numpy,jax"],
    "bench --what la": ["latency"],
    "bench --what throughput,la": ["throughput,latency"],
    "plot ": [*_plots.PICTURES],
    "plot activations t": ["tanh"],
    "plot network mnist-d": ["mnist-deep-cnn"],
    "doct": ["doctor"],
}


@pytest.mark.parametrize("typed", COMPLETED)
def test_the_shell_completes_names(typed: str, anyback: Command) -> None:
    words = f"anyback {typed}"
    place = str(len(words.split()) - (not words.endswith(" ")))
    done = anyback(COMP_WORDS=words, COMP_CWORD=place, _ANYBACK_COMPLETE="complete_bash")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == COMPLETED[typed]


@pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="there is no bash here")
def test_bash_completes_with_what_is_installed_and_no_library_is_imported(tmp_path: Path) -> None:
    (tmp_path / "anyback").write_text(f'#!/bin/sh\nexec "{sys.executable}" -X importtime -m anyback "$@" 2>>imported\n')
    (tmp_path / "anyback").chmod(0o755)
    script = """
        anyback --install-completion bash >/dev/null && . "$HOME/.bashrc" && rm imported
        COMP_WORDS=(anyback evaluate mnist-c) COMP_CWORD=2
        "$(complete -p anyback | sed 's/.*-F \\([^ ]*\\).*/\\1/')" anyback
        echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(Path(ab.__file__).parent.parent)
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert (done.stdout, done.stderr) == ("mnist-cnn\n", "")
    imported = {line.rpartition("|")[2].strip() for line in (tmp_path / "imported").read_text().splitlines()}
    assert "anyback.cli._complete" in imported
    assert not imported & {"jax", "torch", "dask", "cupy", "array_api_strict", "matplotlib", "sklearn", "scipy", "h5py"}


def test_convert_replaces_a_file_only_when_it_is_told_to(anyback: Command, inputs: Path) -> None:
    (inputs / "there.npz").write_bytes(b"mine")
    done = anyback("convert", "w.npz", "there.npz", cwd=inputs)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "anyback: there.npz is there already; --force replaces it\n"
    assert (inputs / "there.npz").read_bytes() == b"mine"
    assert anyback("convert", "w.npz", "there.npz", "--force", cwd=inputs).returncode == 0
    assert ab.read_weights(inputs / "there.npz").keys() == {"W1", "b1"}


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("\4", 130)])
def test_convert_asks_in_a_terminal(answer: str, code: int, inputs: Path) -> None:
    pty = pytest.importorskip("pty", reason="there are no terminals to imitate here")
    (inputs / "there.npz").write_bytes(b"mine")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "anyback", "convert", "w.npz", "there.npz"]
    with subprocess.Popen(command, cwd=inputs, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while b"Replace it?" not in said:
            said += os.read(ours, 1000)
        os.write(ours, answer.encode())
        assert process.wait(60) == code
    os.close(ours)
    assert ((inputs / "there.npz").read_bytes() == b"mine") == (code != 0)
