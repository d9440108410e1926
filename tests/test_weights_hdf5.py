"""HDF5 files and Keras archives: what h5py wrote is read to the last bit, and nothing outside the file is opened."""

from __future__ import annotations

import io
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import needs
from test_weights import ARRAYS, arrays_or_refused, assert_same, refused

import anyback as ab
from anyback.weights import hdf5


def hdf5_file(fill: Callable[[Any], object]) -> bytes:
    needs("h5py")
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        fill(made)
    return file.getvalue()


def keras_archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, raw in members:
            made.writestr(name, raw)
    return file.getvalue()


def test_what_h5py_writes_is_read_to_the_last_bit(tmp_path: Path) -> None:
    arrays = {f"layers/{name}/vars/0": x for name, x in ARRAYS.items() if x.size}
    data = hdf5_file(lambda file: [file.create_dataset(name, data=x) for name, x in arrays.items()])
    assert_same(hdf5.read(data), arrays)
    assert_same(hdf5.read_keras(keras_archive(("config.json", b"{}"), ("model.weights.h5", data))), arrays)
    (tmp_path / "a.weights.h5").write_bytes(data)
    assert_same(ab.read_weights(tmp_path / "a.weights.h5", allow_nonfinite=True), arrays)


def fills(outside: Path) -> dict[str, tuple[Callable[[Any], object], str]]:
    needs("h5py")
    import h5py

    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource(str(outside), "x", (2,))
    raw = [(str(outside), 0, 8)]
    return {
        "a link to a file": (lambda f: f.__setitem__("x", h5py.ExternalLink(str(outside), "x")), "'x': a link to"),
        "a soft link": (lambda f: f.__setitem__("x", h5py.SoftLink("/y")), "'x': a link to"),
        "bytes of another file": (lambda f: f.create_dataset("x", (2,), "f4", external=raw), "'x': .*in another file"),
        "a view of another file": (lambda f: f.create_virtual_dataset("x", layout), "'x': .*in another file"),
        "compressed": (lambda f: f.create_dataset("x", data=np.ones(99), compression="gzip"), "'x': it is compressed"),
        "never written": (lambda f: f.create_dataset("x", (1 << 30,), "f8"), "bytes, which the file has not"),
        "text": (lambda f: f.create_dataset("x", data="text"), "'x': dtype 'object'"),
        "complex": (lambda f: f.create_dataset("x", data=np.ones(2, complex)), "'x': dtype 'complex128'"),
        "a type": (lambda f: f.__setitem__("x", np.dtype("f4")), "'x': neither a group nor an array"),
        "a group in itself": (lambda f: f.__setitem__("x", f["/"]), "groups within more than 32 groups"),
        "one array, many names": (
            lambda f: [f.create_dataset("x", data=np.ones(1000))] + [f.__setitem__(f"y{i}", f["x"]) for i in range(99)],
            "more data than it holds",
        ),
    }


@pytest.mark.parametrize(
    "case",
    [
        *("a link to a file", "a soft link", "bytes of another file", "a view of another file", "compressed"),
        *("never written", "text", "complex", "a type", "a group in itself", "one array, many names"),
    ],
)
def test_what_is_no_array_in_the_file_is_refused(tmp_path: Path, case: str) -> None:
    outside = tmp_path / "outside.h5"
    outside.write_bytes(hdf5_file(lambda file: file.create_dataset("x", data=np.ones(2, "f4"))))
    fill, message = fills(outside)[case]
    refused(hdf5.read, hdf5_file(fill), message)


def test_without_h5py_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ab.WeightsError, match=r"w.h5: it is an HDF5 file, which h5py reads: pip install h5py$"):
        ab.read_weights(tmp_path / "w.h5")
    (tmp_path / "w.keras").write_bytes(keras_archive(("config.json", b""), ("model.weights.h5", b"\x89HDF\r\n\x1a\n")))
    with pytest.raises(ab.WeightsError, match=r"w.keras: model.weights.h5: .*pip install h5py$"):
        ab.read_weights(tmp_path / "w.keras")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a Keras archive: BadZipFile"),
        (keras_archive(("config.json", b"{}")), "it has no model.weights.h5"),
        (keras_archive(("model.weights.h5", b"x")), "model.weights.h5: not an HDF5 file"),
        (keras_archive(("model.weights.h5", b"x"), compression=zipfile.ZIP_DEFLATED), "encrypted or compressed"),
    ],
)
def test_what_is_no_archive_of_keras_is_refused(data: bytes, message: str) -> None:
    refused(hdf5.read_keras, data, message)


def test_another_file_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"<!DOCTYPE html><html>")
    with pytest.raises(ab.WeightsError, match="not an HDF5 file; it seems to be an HTML page"):
        ab.read_weights(tmp_path / "w.h5")


def test_damage_gives_arrays_or_a_refusal() -> None:
    data = hdf5_file(lambda f: [f.create_dataset(f"layers/{i}", data=np.ones((3, i + 1), "f4")) for i in range(3)])
    rng = random.Random(0)
    for _ in range(300):
        kept = bytearray(data)
        for _ in range(rng.randrange(1, 5)):
            kept[rng.randrange(len(kept))] = rng.choice((0, 1, 255, rng.randrange(256)))
        arrays_or_refused(hdf5.read, bytes(kept))
    for length in range(0, len(data), 97):
        refused(hdf5.read, data[:length], "not an HDF5 file")
