"""What a file is, whatever it is called."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import time
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest
from safetensors.numpy import save as save_safetensors

from anyback._kinds import kind_of, seems

ARRAYS = {"W1": np.ones((2, 3)), "b1": np.ones(3)}


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def npz(save: object = np.savez) -> bytes:
    file = io.BytesIO()
    save(file, **ARRAYS)  # type: ignore[operator]
    return file.getvalue()


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"content")
    return file.getvalue()


KINDS = {
    b"": "empty",
    bytes(100): "nothing but zero bytes",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n": "a Git LFS pointer",
    b"<!DOCTYPE html>\n<html>": "an HTML page",
    b"\n\n<!doctype HTML>": "an HTML page",
    b"\xef\xbb\xbf<html lang=en>": "an HTML page",
    b"<!-- served by 7 -->\n<head>": "an HTML page",
    b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">': "an HTML page",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>': "XML",
    gzip.compress(b"x", mtime=0): "a gzip file",
    bz2.compress(b"x"): "a bzip2 file",
    lzma.compress(b"x"): "an xz file",
    zlib.compress(b"x"): "a zlib stream",
    zipped("a.txt"): "a zip archive",
    zipped("archive/data.pkl"): "a PyTorch archive",
    zipped("metadata.json"): "a Keras archive",
    npz(): "an .npz archive",
    npz(np.savez_compressed): "an .npz archive",
    npy(): "a NumPy .npy file",
    b"\x89HDF\r\n\x1a\n\0\0": "an HDF5 file",
    b"\x89PNG\r\n\x1a\n\0\0": "a PNG picture",
    b"\0\0\x08\x03\0\0\x27\x10": "an IDX file",
    save_safetensors(ARRAYS): "a safetensors file",
    json.dumps({"W1": [[1.0]]}).encode(): "JSON",
    b"[\n  1, 2]": "JSON",
    b"W1,b1\r\n0.5,1\r\n": "text",
    b"\x08\x08\x12\x07pytorch\x1a": "an ONNX model",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M": "a legacy PyTorch file",
    b"\xfa\xce\x00\x01": "",
    **{pickle.dumps(ARRAYS, protocol): "a pickle" for protocol in range(6)},
    **{pickle.dumps(OrderedDict(ARRAYS), protocol): "a pickle" for protocol in range(6)},
    pickle.dumps(ARRAYS, 0).replace(b"\n", b"\r\n"): "a pickle",
    pickle.dumps([1.0]): "a pickle",
    pickle.dumps(np.ones(3)): "a pickle",
}


@pytest.mark.parametrize("data", KINDS, ids=lambda data: f"{KINDS[data]}-{data[:10]!r}")
def test_the_first_bytes_say_what_a_file_is(data: bytes) -> None:
    assert kind_of(data) == KINDS[data]


def test_what_a_file_seems_to_be_ends_a_message_with_a_cure() -> None:
    assert seems(b"") == "; it is empty: get it again"
    assert "git lfs pull" in seems(b"version https://git-lfs.github.com/spec/v1\n")
    assert seems(npy(), npy="use np.savez") == "; it seems to be a NumPy .npy file: use np.savez"
    assert seems(npy()) == "; it seems to be a NumPy .npy file"
    assert seems(b"\xfa\xce\x00\x01") == ""


@pytest.mark.parametrize(
    "piece", [b"<!--", b"<!---->", b"<?xml", b" ", b"\n<", b"PK\x03\x04", b"(", b"c.", b"\x08\x08"]
)
def test_no_bytes_make_the_look_a_long_one(piece: bytes) -> None:
    start = time.process_time()
    kind_of(piece * 100_000)
    assert time.process_time() - start < 0.5
