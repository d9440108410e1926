"""The command line, as a person meets it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import libraries

import anyback as ab
from anyback.plots import _command


def anyback(*args: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "anyback", *map(str, args)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        check=False,
    )


def test_evaluate_needs_no_argument_and_no_download(tmp_path: Path) -> None:
    done = anyback("evaluate", ANYBACK_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    for word in ("digits-mlp", "numpy:cpu", "highest", "500", "accuracy", "images per second", "right"):
        assert word in done.stdout
    assert "█" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_evaluate_as_json() -> None:
    record = json.loads(anyback("evaluate", "--json").stdout)
    assert record["total"] == 500
    assert record["accuracy"] == record["correct"] / 500 >= 0.95
    assert np.sum(record["confusion"]) == 500


@pytest.mark.parametrize("name", libraries())
def test_the_books_network_on_every_backend(name: str, data_dir: Path) -> None:
    done = anyback("evaluate", "mnist-mlp", ANYBACK_BACKEND=name)
    assert done.returncode == 0, done.stderr
    assert "0.9352 (9,352 of 10,000)" in done.stdout


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_batch_size_changes_nothing(size: int, data_dir: Path) -> None:
    done = anyback("evaluate", "mnist-mlp", "--batch-size", size, "--json")
    assert json.loads(done.stdout)["correct"] == 9352


def test_predict_writes_what_it_prints(tmp_path: Path) -> None:
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


def test_two_classes_and_nan_are_labelled_as_evaluate_does(tmp_path: Path) -> None:
    ab.write_weights(tmp_path / "w.npz", {"W1": np.ones((2, 1), np.float32), "b1": np.zeros(1, np.float32)})
    np.save(tmp_path / "x.npy", np.asarray([[3, 1], [-3, -1], [np.nan, 0]], np.float32))
    done = anyback("predict", "w.npz", "x.npy", "--output", "sigmoid", "-o", "y.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "anyback: warning: nan in 1 of 3 rows of the input; their outputs are nan\n"
    table = np.genfromtxt(tmp_path / "y.csv", delimiter=",", names=True)
    assert table["label"].tolist() == [1, 0, -1]
    printed = anyback("predict", "w.npz", "x.npy", "--output", "sigmoid", cwd=tmp_path).stdout
    assert [line.split("\t")[1] for line in printed.splitlines()] == ["1", "0", "-1"]


def test_a_plain_file_of_weights_takes_the_images_of_a_data_set(data_dir: Path, tmp_path: Path) -> None:
    done = anyback("evaluate", data_dir / "sample_weight.pkl", "--data", "mnist", "--pixels", 255, "--json")
    assert json.loads(done.stdout)["correct"] == 9352


def test_predict_reads_idx(data_dir: Path) -> None:
    done = anyback("predict", "mnist-mlp", data_dir / "t10k-images-idx3-ubyte.gz")
    assert done.stdout.splitlines()[0].split("\t")[:2] == ["0", "7"]
    assert len(done.stdout.splitlines()) == 10_000


def test_convert_keeps_every_bit(data_dir: Path, tmp_path: Path) -> None:
    assert anyback("convert", data_dir / "sample_weight.pkl", tmp_path / "w.safetensors").returncode == 0
    assert anyback("convert", tmp_path / "w.safetensors", tmp_path / "w.npz").returncode == 0
    original, copy = ab.read_weights(data_dir / "sample_weight.pkl"), ab.read_weights(tmp_path / "w.npz")
    assert set(copy) == set(original) == {"W1", "b1", "W2", "b2", "W3", "b3"}
    for name, x in original.items():
        assert copy[name].dtype == x.dtype
        assert copy[name].tobytes() == x.tobytes()


def test_data_from_a_file(tmp_path: Path) -> None:
    test = ab.datasets.digits("test")
    np.savez(tmp_path / "d.npz", images=test.images, labels=test.labels)
    record = json.loads(anyback("evaluate", "digits-mlp", "--data", "d.npz", "--json", cwd=tmp_path).stdout)
    assert record["total"] == 500


def test_doctor_says_what_works_and_what_mends_the_rest() -> None:
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


def test_parity_prints_a_row_for_each_library_and_writes_json(tmp_path: Path) -> None:
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


def test_parity_draws_what_it_prints(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    done = anyback("parity", "--backends", "numpy", "--plot", "p.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "numpy:cpu" in done.stdout
    assert (tmp_path / "p.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_parity_exits_with_1_where_a_library_that_is_asked_for_is_missing() -> None:
    done = anyback("parity", "--backends", "numpy, numpy:cuda:7")
    assert done.returncode == 1
    assert "NO AGREEMENT" in done.stdout
    assert "numpy:cuda:7: BROKEN: cannot be used" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("kind", _command.PICTURES)
def test_plot_writes_a_picture(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    # A setting that would need a screen changes nothing.
    done = anyback("plot", kind, "-b", "numpy", "-n", "20", "-o", "p.png", cwd=tmp_path, MPLBACKEND="tkagg")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{kind} written to p.png\n"
    assert done.stderr == ""
    data = (tmp_path / "p.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


def test_plot_writes_svg_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.SVG"):
        assert anyback("plot", "activations", "step", "relu", "-o", name, cwd=tmp_path).returncode == 0
    a, b = (tmp_path / name for name in ("a.svg", "b.SVG"))
    assert a.read_bytes() == b.read_bytes()
    assert a.read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_plot_names_its_file_after_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "images.png").write_text("mine")
    done = anyback("plot", "images", "--wrong", cwd=tmp_path)
    assert done.stdout == "images written to anyback-images.png\n"
    assert (tmp_path / "images.png").read_text() == "mine"


MISTAKES = [
    (("evaluate", "mnist-cnn"), "no network and no file 'mnist-cnn'"),
    (
        ("evaluate", "mnist-cnn", "--data", "digits"),
        "no network and no file 'mnist-cnn'; known networks: digits-mlp",
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
    (("predict", "digits-mlp", "good.npy", "-o", "y.txt"), "unknown suffix '.txt'; known: .npy, .csv"),
    (("predict", "digits-mlp", "good.npy", "-o", "no/such/y.npy"), "cannot be written"),
    (("parity", "--backends", "nunpy"), "unknown backend 'nunpy'; known: numpy"),
    (("parity", "--backends", "numpy", "--json", "no/such/p.json"), "cannot be written"),
    (("parity", "--backends", "numpy", "--plot", "p.jpg"), "unknown suffix '.jpg'; known: .png, .svg"),
    (("bench", "--what", "througput"), "unknown table 'througput'; known: throughput, latency"),
    (("bench", "--backends", "nunpy"), "unknown backend 'nunpy'; known: numpy"),
    (("bench", "--threads", "0"), "threads: expected 1 to"),
    (("bench", "--threads", "100000"), "the cores that there are, found 100000"),
    (("bench", "--rounds", "0"), "rounds: expected a whole number of at least 1"),
    (("bench", "--most", "-1"), "most: expected a whole number of at least 1"),
    (("bench", "--data", "floats.npz"), "expected images of integers"),
    (("bench", "no-such-net", "--data", "digits"), "no network and no file 'no-such-net'"),
    (("bench", "no-such-net"), "no network and no file 'no-such-net'"),
    (("bench", "text.npz"), "which data? pass --data"),
    (("bench", "--backends", "numpy", "--json", "no/such/b.json"), "cannot be written"),
    (("convert", "text.npy", "w.npz"), "suffix"),
    (("plot", "activation"), "unknown picture 'activation'; known: activations, network"),
    (("plot", "activations", "sigmod"), "unknown activation 'sigmod'; known: identity"),
    (("plot", "activations", "softmax"), "softmax has no curve"),
    (("plot", "activations", "-o", "a.pdf"), "unknown suffix '.pdf'; known: .png, .svg"),
    (("plot", "activations", "-o", "no/such/a.png"), "cannot be written"),
    (("plot", "network", "mnist-cnn"), "no network and no file 'mnist-cnn'"),
    (("plot", "network", "digits-mlp", "mnist-mlp"), "network: expected one network, found 2 names"),
    (("plot", "probabilities", "--index", "500"), "index: expected 0 to 499, the images of digits, found 500"),
    (("plot", "batch", "-n", "0"), "count: expected a whole number of at least 1, found 0"),
    (("convert", "text.npz", "w.npz"), "text.npz"),
]


@pytest.mark.parametrize(("args", "message"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(args: tuple[str, ...], message: str, tmp_path: Path) -> None:
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


def test_help_names_every_command() -> None:
    done = anyback("--help")
    assert done.returncode == 0
    for command in ("evaluate", "predict", "parity", "bench", "convert", "doctor", "plot"):
        assert command in done.stdout
        assert anyback(command, "--help").returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="signals differ on Windows")
def test_ctrl_c_is_quiet_and_leaves_no_file(tmp_path: Path) -> None:
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
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "anyback: interrupted\n")
    assert [p.name for p in tmp_path.iterdir()] == ["big.npy"]


def _kilobytes_read(pid: int, name: str) -> int:
    """Return how much of a mapped file a process has looked at."""
    try:
        mappings = Path(f"/proc/{pid}/smaps").read_text()
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
