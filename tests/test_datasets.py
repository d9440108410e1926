"""Data sets: IDX files that lie, digits that are always there, and downloads from a server that does its worst."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import itertools
import math
import os
import random
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anyback as ab
from anyback import _files
from anyback.datasets import Dataset, _download, idx
from anyback.datasets._download import File

#: Generated files; ``ANYBACK_CASES=1000000`` asks for more, as before a release.
CASES = int(os.environ.get("ANYBACK_CASES", "2000"))

# -- IDX ----------------------------------------------------------------------------------------------


def idx_bytes(array: np.ndarray) -> bytes:
    """Return an array as an IDX file, written independently of the reader."""
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    shape = np.asarray(array.shape, dtype=">u4").tobytes()
    return bytes([0, 0, code, array.ndim]) + shape + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (0, 28, 28)])
def test_every_type_and_shape_is_read_in_the_machines_byte_order(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 100, size=shape).astype(dtype)
    for data in (idx_bytes(array), gzip.compress(idx_bytes(array))):
        found = idx.parse(data)
        np.testing.assert_array_equal(found, array, strict=True)
        assert found.flags.writeable
        assert found.dtype.isnative


def packed(data: bytes) -> bytes:
    """Return data as a gzip file, the same at any time: it names tests, which two processes must name alike."""
    return gzip.compress(data, mtime=0)


GOOD = idx_bytes(np.arange(12, dtype="u1").reshape(3, 4))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file: .*; it is empty: get it again"),
        (b"<!DOCTYPE html><html>", "not an IDX file: .*; it seems to be an HTML page: open the address"),
        (
            gzip.compress(b"version https://git-lfs.github.com/spec/v1", mtime=0),
            "it seems to be a Git LFS pointer: run `git lfs",
        ),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "not an IDX file: .* it seems to be a PNG picture"),
        (b"\0\0\x0a\x01" + bytes(4), "not an IDX file"),  # a type that there is not
        (b"\0\0\x08\0", "not an IDX file"),  # no axes
        (b"\0\0\x08\x09" + bytes(36), "not an IDX file: expected two zero bytes, a type and 1 to 8 axes"),
        (GOOD[:7], "cut off: 2 axes need 12 bytes of header, found 7"),
        (GOOD[:-1], r"cut off: shape \(3, 4\) of uint8 needs 12 bytes, found 11"),
        (GOOD + b"x", r"too long: shape \(3, 4\) of uint8 needs 12 bytes, found 13"),
        (b"\0\0\x0e\x02" + b"\xff" * 8, "cut off: shape"),  # claims 2**67 bytes
        (packed(GOOD)[:-9], "cut off|without its end"),
        (packed(GOOD)[:-4], "without its end"),
        (packed(GOOD[:-1]), "cut off"),
        (packed(GOOD + b"x"), "too long"),
        (packed(GOOD) + b"x", "more after the end"),
        (packed(GOOD)[:20] + b"\xff\xff" + packed(GOOD)[22:], "damaged gzip file"),
        (packed(b"\0\0\x08\x01\xff\xff\xff\xff"), "claims 4,294,967,303 bytes, more than"),
        (b"\x1f\x8b", "without its end"),
        (packed(GOOD) + bytes(9) + packed(b"x"), "too long"),
        (packed(GOOD) + bytes(9) + b"x", "more after the end"),
        (packed(GOOD[:9]) + packed(GOOD[9:])[:-1], "without its end"),
        (b"\0\0\x08\x04" + bytes(4) + b"\xff" * 12, r"axes too long: no array has shape \(0, 4294967295"),
    ],
)
def test_a_file_that_is_not_exactly_one_array_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ab.DataError, match=message) as caught:
        idx.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_small_file_that_unfolds_to_much_takes_little_memory() -> None:
    claimed_little = gzip.compress(GOOD[:-12] + bytes(100_000_000))
    tracemalloc.start()
    with pytest.raises(ab.DataError, match="too long"):
        idx.parse(claimed_little)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_members_and_zeros_are_read_as_gunzip_does() -> None:
    array = np.arange(40_000, dtype="i4").reshape(200, 200)
    raw = idx_bytes(array)
    for data in (
        gzip.compress(raw[:5]) + gzip.compress(raw[5:30_000]) + gzip.compress(raw[30_000:]),
        gzip.compress(raw, mtime=0) + bytes(100_000),
        gzip.compress(b"", mtime=0) + bytes(3) + gzip.compress(raw) + gzip.compress(b"") + bytes(1),
    ):
        assert gzip.decompress(data) == raw
        np.testing.assert_array_equal(idx.parse(data), array)


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"", mtime=0) * 50_000,
        b"".join(gzip.compress(raw, 0, mtime=0) for raw in [*(GOOD[i : i + 1] for i in range(24)), *[b"x"] * 40_000]),
        gzip.compress(GOOD, mtime=0) + gzip.compress(b"", mtime=0) * 50_000,
        gzip.compress(GOOD) + bytes(1_000_000),
        gzip.compress(idx_bytes(np.zeros(900_000_000, "u1")), 9),
        idx_bytes(np.zeros((0, 1), "u1"))[:-8] + bytes(4) + b"\xff" * 4,
    ],
    ids=["empty members", "small members", "members after", "zeros after", "zeros inside", "an empty array"],
)
def test_a_file_of_one_megabyte_takes_little_time_and_memory(data: bytes) -> None:
    assert len(data) < 1_100_000
    tracemalloc.start()
    begun = time.process_time()
    with contextlib.suppress(ab.DataError):
        idx.parse(data)
    took, peak = time.process_time() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (took < 5, peak < 1 << 28) == (True, True), f"{took:.1f} s, {peak:,} bytes"


def generated(choose: random.Random) -> bytes:
    """Return a file by the grammar of the format, in which any part may be wrong."""
    axes = [
        choose.choice([0, 1, 2, 3, 3, 7, 2**16, 2**31, 2**32 - 1]) for _ in range(choose.choice([0, 1, 1, 2, 3, 8, 9]))
    ]
    code = choose.choice([8, 8, 9, 11, 12, 13, 14, 10, 0])
    size = {8: 1, 9: 1, 11: 2, 12: 4, 13: 4, 14: 8}.get(code, 1) * math.prod(axes)
    size = max(0, size + choose.choice([0, 0, 0, 0, -1, 1])) if size < 10_000 else choose.choice([0, 9])
    raw = bytes([0, 0, code, len(axes)]) + b"".join(n.to_bytes(4, "big") for n in axes) + choose.randbytes(size)
    if choose.random() < 0.4:
        return raw
    cuts = sorted(choose.choices(range(len(raw) + 1), k=choose.choice([0, 0, 1, 2, 5])))
    pieces = [raw[i:j] for i, j in itertools.pairwise([0, *cuts, len(raw)])]
    between = choose.choice([b"", b"", b"\0", bytes(600), b"\x1f", b"\x1f\x8b"])
    packed = between.join(gzip.compress(piece, choose.choice([0, 1, 9]), mtime=0) for piece in pieces)
    packed += choose.choice([b"", b"", b"", bytes(5), b"x", b"\0x", b"\x1f\x8b\x08"])
    if choose.random() < 0.1:
        packed = gzip.compress(packed, mtime=0)
    return packed[: choose.randrange(len(packed))] if choose.random() < 0.1 else packed


def by_the_book(data: bytes) -> np.ndarray | None:
    """Return what a file of the grammar holds, read in the plainest way; None where it is not exactly one array."""
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return None
    code = data[2] if len(data) > 3 else 0
    if (
        code not in (8, 9, 11, 12, 13, 14)
        or data[:2] != b"\0\0"
        or not 1 <= data[3] <= 8
        or len(data) < 4 + 4 * data[3]
    ):
        return None
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    dtype = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}[code]
    flat = data[4 + 4 * data[3] :]
    if math.prod(shape) * np.dtype(dtype).itemsize != len(flat):
        return None
    try:
        return np.ndarray(shape, dtype, flat)
    except ValueError:  # NumPy has no such shape
        return None


def test_what_the_grammar_makes_is_read_rightly_or_refused() -> None:
    choose = random.Random(0)
    read = 0
    for _ in range(CASES):
        data = generated(choose)
        expected = by_the_book(data)
        if expected is None:
            with pytest.raises(ab.DataError):
                idx.parse(data)
        else:
            found = idx.parse(data)
            np.testing.assert_array_equal(found, expected)
            assert (found.dtype, found.shape) == (expected.dtype.newbyteorder("="), expected.shape)
            read += 1
    assert CASES / 10 < read < CASES * 9 / 10  # both happen


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.data())
def test_any_bytes_give_an_array_or_a_data_error(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([GOOD, gzip.compress(GOOD, mtime=0), b"\0\0"])))
    for position, value in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)))):
        raw[position] = value
    raw += data.draw(st.binary(max_size=40))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(ab.DataError):
        assert idx.parse(cut).dtype.isnative


@pytest.mark.parametrize(("path", "message"), [("missing", "does not exist"), (".", "is a folder")])
def test_a_path_that_is_no_file_is_a_data_error(path: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ab.DataError, match=message):
        idx.read(tmp_path / path)


# -- Data sets ----------------------------------------------------------------------------------------


@pytest.mark.sklearn
def test_digits_are_those_of_scikit_learn() -> None:
    load_digits = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed").load_digits
    train, test = ab.datasets.digits("train"), ab.datasets.digits("test")
    data = load_digits()
    ours = sorted(zip(map(bytes, [*train.images, *test.images]), [*train.labels, *test.labels], strict=True))
    assert ours == sorted(zip(map(bytes, data.images.astype(np.uint8)), data.target.astype(np.uint8), strict=True))


def test_digits_come_in_two_parts_with_every_class() -> None:
    train, test = ab.datasets.digits("train"), ab.datasets.digits("test")
    assert (len(train), len(test)) == (1297, 500)
    for part in (train, test):
        assert part.images.shape == (len(part), 8, 8)
        assert (part.images.dtype, part.labels.dtype) == (np.uint8, np.uint8)
        assert (part.images.min(), part.images.max()) == (0, 16)
        assert np.bincount(part.labels).min() > 0.09 * len(part)
    # Different pictures: what was trained on is not what is tested on.
    assert not set(map(bytes, train.images)) & set(map(bytes, test.images))


def test_the_networks_own_digits_are_read_at_0_95_or_more() -> None:
    test = ab.datasets.digits("test")
    assert ab.evaluate(ab.load_model("digits-mlp"), test.images, test.labels).accuracy >= 0.95


def test_mnist_is_what_it_is_known_to_be(data_dir: Path) -> None:
    test = ab.datasets.mnist("test")
    assert (test.images.shape, test.images.dtype) == ((10_000, 28, 28), np.uint8)
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert repr(test) == "Dataset(mnist test: 10,000 images of shape (28, 28), uint8)"


@pytest.mark.parametrize("load", [ab.datasets.digits, ab.datasets.mnist])
def test_an_unknown_split_lists_the_known(load: object) -> None:
    with pytest.raises(ab.DataError, match="unknown split 'validation'; known: train, test"):
        load("validation")  # type: ignore[operator]


def test_images_without_as_many_labels_are_refused() -> None:
    with pytest.raises(ab.DataError, match=r"expected one label for each image, found images \(3, 2\), labels \(2,\)"):
        Dataset(np.zeros((3, 2)), np.zeros(2, dtype=int), "mine", "all")
    with pytest.raises(ab.DataError, match="expected one label for each image"):
        Dataset(np.zeros(()), np.zeros(()), "mine", "all")


# -- Downloads: a real server on loopback, which can lie, stall and cut off ---------------------------

NAME = "t10k-labels-idx1-ubyte.gz"
CONTENT = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 10, 50_000).astype("u1")), mtime=0)


class Server(http.server.ThreadingHTTPServer):
    """A server whose folders behave as they are called, and which counts what it is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {NAME: CONTENT}
        self.asked: Counter[str] = Counter()
        self.over = threading.Event()

    def mirror(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{behaviour}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        behaviour, _, name = self.path.strip("/").partition("/")
        self.server.asked[behaviour] += 1
        data = self.server.files[name]
        if behaviour == "missing":
            self.send_error(404, "Not Found")
            return
        if behaviour == "hang":
            self.server.over.wait(30)
            return
        self.send_response(200)
        if behaviour != "endless":
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client had enough
            self.send_body(behaviour, data)

    def send_body(self, behaviour: str, data: bytes) -> None:
        if behaviour == "good":
            time.sleep(0.2)  # long enough for others to ask too, if they would
            self.wfile.write(data)
        elif behaviour == "lie":
            self.wfile.write(bytes(len(data)))
        elif behaviour == "cut":
            self.wfile.write(data[: len(data) // 2])
        elif behaviour == "stall":
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.server.over.wait(30)
        elif behaviour == "drip":
            for i in range(len(data)):
                if self.server.over.wait(0.05):
                    return
                self.wfile.write(data[i : i + 1])
        elif behaviour == "endless":
            while not self.server.over.is_set():
                self.wfile.write(bytes(1 << 16))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """Run the server, and make an empty folder the data folder."""
    monkeypatch.setenv("ANYBACK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_download, "_TIMEOUT", (5.0, 1.0))
    monkeypatch.setattr(_download, "_PATIENCE", 1.0)
    monkeypatch.setattr(_download, "_SLOWEST", 1e5)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


def offer(monkeypatch: pytest.MonkeyPatch, server: Server, *behaviours: str) -> None:
    """Make the files of a server, in these of its folders, the known ones."""
    rows = {
        name: File(
            hashlib.sha256(data).hexdigest(),
            len(data),
            tuple(map(server.mirror, behaviours)),
            hashlib.sha256(gzip.decompress(data)).hexdigest(),
        )
        for name, data in server.files.items()
    }
    monkeypatch.setattr(_download, "FILES", rows)


def files_below(folder: Path) -> dict[str, bytes]:
    """Return every file but locks, by its name."""
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"}


def test_a_file_is_downloaded_once_and_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server, "good")
    first = _download.fetch(NAME)
    assert first.read_bytes() == CONTENT
    assert _download.fetch(NAME) == first
    assert server.asked == {"good": 1}
    assert files_below(_download.data_dir()) == {NAME: CONTENT}


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("missing", "the server answers 404 Not Found"),
        ("lie", "expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}"),
        ("cut", f"cut off: {len(CONTENT) // 2:,} of {len(CONTENT):,} bytes came"),
        ("stall", f"{len(CONTENT) // 2:,} of {len(CONTENT):,} bytes came, then nothing for 1 s"),
        ("hang", f"0 of {len(CONTENT):,} bytes came, then nothing for 1 s"),
        ("drip", f"too slow: [0-9]+ of {len(CONTENT):,} bytes came in time"),
        ("endless", f"sends more than the {len(CONTENT):,} bytes"),
    ],
)
def test_a_server_that_fails_is_said_to_and_leaves_nothing(
    behaviour: str, message: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, behaviour)
    with pytest.raises(ab.DataError, match=message) as caught:
        _download.fetch(NAME)
    said = str(caught.value)
    assert said.startswith(f"{NAME} could not be downloaded (http://127.0.0.1:")
    assert said.endswith(f"put the file into {_download.data_dir()} by hand")
    assert "\n" not in said
    assert "0x" not in said
    assert files_below(_download.data_dir()) == {}


def test_the_second_mirror_helps_where_the_first_fails(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server, "missing", "cut", "good")
    assert _download.fetch(NAME).read_bytes() == CONTENT
    assert server.asked == {"missing": 1, "cut": 1, "good": 1}


def test_no_server_at_all_is_one_line(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server, "good")
    server.shutdown()
    server.server_close()
    with pytest.raises(ab.DataError, match=r"ConnectionError: .*refused") as caught:
        _download.fetch(NAME)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HTTPS_PROXY", "http://127.0.0.1:9", "ProxyError: .*refused"),
        ("HTTPS_PROXY", "http://127.0.0.1:port", "port|InvalidURL"),  # the lowest requests names no part of it
        ("HTTPS_PROXY", "socks5://127.0.0.1:9", "SOCKS"),
        (
            "REQUESTS_CA_BUNDLE",
            "missing.pem",
            "OSError: Could not find a suitable TLS CA certificate bundle.*missing.pem",
        ),
    ],
)
def test_what_keeps_a_connection_from_opening_is_named_and_not_the_folder(
    variable: str, value: str, message: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable.lower(), raising=False)  # which comes first
    monkeypatch.setenv(variable, value)
    file = File("0" * 64, 9, ("https://anyback.invalid/",))
    monkeypatch.setattr(_download, "FILES", {NAME: file})
    with pytest.raises(ab.DataError, match=message) as caught:
        _download.fetch(NAME)
    said = str(caught.value)
    assert said.startswith(f"{NAME} could not be downloaded (https://anyback.invalid/{NAME}: ")
    assert "cannot be written" not in said
    assert "\n" not in said
    assert files_below(_download.data_dir()) == {}


def test_a_disk_that_is_full_is_named_and_not_the_network(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server, "good", "good")

    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(ab.DataError, match=rf"{NAME} cannot be written: No space left on device"):
        _download.fetch(NAME)
    assert server.asked == {"good": 1}
    assert files_below(_download.data_dir()) == {}


def test_an_error_while_a_connection_is_opened_is_named_by_its_cause(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offer(monkeypatch, server, "good")
    secure = [File(f.sha256, f.size, ("https://127.0.0.1:9/",)) for f in _download.FILES.values()]
    monkeypatch.setattr(_download, "FILES", {NAME: secure[0]})
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(ab.DataError, match=r"could not be downloaded .*missing\.pem") as caught:
        _download.fetch(NAME)
    assert "cannot be written" not in str(caught.value)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTPS_PROXY", "http://[half/")
    with pytest.raises(ab.DataError, match=r"could not be downloaded .*(roxy|URL|Invalid)"):
        _download.fetch(NAME)


def test_a_download_that_was_killed_leaves_nothing_for_long(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server, "good")
    folder = _download.data_dir() / "downloads"
    folder.mkdir(parents=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (folder / f".anyback-{_files._host()}-{dead.pid}-{'0' * 16}.part").write_bytes(b"half")
    _download.fetch(NAME)
    assert files_below(_download.data_dir()) == {NAME: CONTENT}


def test_a_file_that_is_called_otherwise_on_the_mirrors_is_kept_under_its_own_name(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files = {"ch07/params.pkl": CONTENT}
    row = File(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), (server.mirror("good"),), there="ch07/params.pkl")
    monkeypatch.setattr(_download, "FILES", {"mine.pkl": row})
    assert _download.fetch("mine.pkl").read_bytes() == CONTENT
    assert files_below(_download.data_dir()) == {"mine.pkl": CONTENT}
    gone = dataclasses.replace(row, mirrors=(server.mirror("missing"),))
    monkeypatch.setattr(_download, "FILES", {"mine.pkl": row, "other.pkl": gone})
    with pytest.raises(ab.DataError, match=r"missing/ch07/params\.pkl: .*put the file, as other\.pkl, into .* by hand"):
        _download.fetch("other.pkl")


def test_a_file_put_there_by_hand_is_checked_and_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server, "good")
    by_hand = _download.data_dir() / NAME
    by_hand.parent.mkdir()
    by_hand.write_bytes(CONTENT)
    assert _download.fetch(NAME) == by_hand
    by_hand.write_bytes(CONTENT[:-1])
    wrong = hashlib.sha256(CONTENT[:-1]).hexdigest()
    expected = f"expected SHA-256 {hashlib.sha256(CONTENT).hexdigest()}, found {wrong}; replace it, or remove it"
    with pytest.raises(ab.DataError, match=expected):
        _download.fetch(NAME)
    assert by_hand.read_bytes() == CONTENT[:-1]  # the user's file is the user's
    assert not server.asked


@pytest.mark.parametrize("name", [NAME, "t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"])
def test_a_file_that_was_unpacked_is_used_under_every_name_that_tools_give_it(
    name: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, server, "good")
    plain = gzip.decompress(CONTENT)
    by_hand = _download.data_dir() / name
    by_hand.parent.mkdir()
    by_hand.write_bytes(plain)
    assert _download.fetch(NAME) == by_hand
    np.testing.assert_array_equal(idx.read(by_hand), idx.parse(CONTENT))
    by_hand.write_bytes(plain[:-1])
    with pytest.raises(ab.DataError, match=f"{name}: expected SHA-256 {hashlib.sha256(plain).hexdigest()}, found"):
        _download.fetch(NAME)
    by_hand.write_bytes(b"<!DOCTYPE html><title>404</title>")
    with pytest.raises(ab.DataError, match=r"it seems to be an HTML page: .*; replace it"):
        _download.fetch(NAME)
    assert not server.asked


def test_a_download_that_was_damaged_is_named_and_fetched_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    offer(monkeypatch, server, "good")
    path = _download.fetch(NAME)
    path.write_bytes(b"damaged")
    assert _download.fetch(NAME).read_bytes() == CONTENT
    assert f"found {hashlib.sha256(b'damaged').hexdigest()}; it seems to be text; it is downloaded again" in caplog.text
    assert server.asked == {"good": 2}


def test_a_folder_that_cannot_be_written_is_one_line_and_one_that_need_not_be_is_read(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offer(monkeypatch, server, "good")
    path = _download.fetch(NAME)
    before = sorted(path.parent.iterdir())
    path.parent.chmod(0o555)
    try:
        assert _download.fetch(NAME) == path
    finally:
        path.parent.chmod(0o755)
    assert sorted(path.parent.iterdir()) == before
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ANYBACK_DATA_DIR", str(tmp_path / "file" / "data"))
    with pytest.raises(ab.DataError, match=r"cannot be written \(.*\); set ANYBACK_DATA_DIR to a folder that can"):
        _download.fetch(NAME)


def test_four_processes_at_once_download_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server, "good")
    code = f"""
from anyback.datasets import _download
_download.FILES = {{{NAME!r}: _download.{_download.FILES[NAME]!r}}}
print(_download.fetch({NAME!r}))
"""
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert said == {str(_download.data_dir() / "downloads" / NAME)}
    assert [process.returncode for process in processes] == [0] * 4
    assert server.asked == {"good": 1}


def test_a_bar_is_shown_on_a_terminal_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, server, "good")
    path = _download.fetch(NAME)
    assert "%" not in capsys.readouterr().err
    path.unlink()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _download.fetch(NAME)
    assert f"{NAME}: 100%" in capsys.readouterr().err


def test_a_notebook_without_widgets_gets_a_bar_of_text_and_keeps_its_warnings() -> None:
    code = """
import sys, types, warnings
sys.modules["ipykernel"] = types.ModuleType("ipykernel")
import importlib.util
importlib.util.find_spec = lambda name, find=importlib.util.find_spec: None if name == "ipywidgets" else find(name)
from anyback._progress import bar
before = warnings.filters[:]
with bar(3, "B") as tell:
    tell(3)
assert warnings.filters == before
assert not {"tqdm.auto", "tqdm.notebook"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3/3" in done.stderr


def test_load_mnist_is_the_books(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    parts = {}
    for prefix, n in {"train": 6, "t10k": 4}.items():
        images, labels = rng.integers(0, 256, (n, 28, 28)).astype("u1"), rng.integers(0, 10, n).astype("u1")
        parts[prefix] = images, labels
        server.files[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(idx_bytes(images), mtime=0)
        server.files[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(idx_bytes(labels), mtime=0)
    offer(monkeypatch, server, "good")
    (x_train, t_train), (x_test, t_test) = ab.datasets.load_mnist()
    np.testing.assert_array_equal(
        x_train, parts["train"][0].reshape(6, 784).astype("f4") / np.float32(255), strict=True
    )
    np.testing.assert_array_equal(t_train, parts["train"][1], strict=True)
    assert (x_test.shape, t_test.tolist()) == ((4, 784), parts["t10k"][1].tolist())
    (x_train, _), (x_test, t_test) = ab.datasets.load_mnist(normalize=False, flatten=False, one_hot_label=True)
    np.testing.assert_array_equal(x_train, parts["train"][0][:, None], strict=True)
    assert t_test.shape == (4, 10)
    np.testing.assert_array_equal(t_test.argmax(axis=1), parts["t10k"][1])
    np.testing.assert_array_equal(t_test.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 28, 28), "u1"), np.zeros(2, "u1"), "one label for each image"),
        (np.zeros((3, 28, 28), "u1"), np.asarray([0, 10, 1], "u1"), "labels .* below 10"),
        (
            np.zeros((3, 28, 27), "u1"),
            np.zeros(3, "u1"),
            r"expected images \(n, 28, 28\) of uint8, found \(3, 28, 27\)",
        ),
        (np.zeros((3, 28, 28), "f4"), np.zeros(3, "u1"), "found .* of float32"),
        (np.zeros((3, 28, 28), "u1"), np.zeros((3, 1), "u1"), r"expected labels \(n,\)"),
    ],
)
def test_files_that_are_not_mnist_are_refused(
    images: np.ndarray, labels: np.ndarray, message: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["t10k-images-idx3-ubyte.gz"] = gzip.compress(idx_bytes(images), mtime=0)
    server.files[NAME] = gzip.compress(idx_bytes(labels), mtime=0)
    offer(monkeypatch, server, "good")
    with pytest.raises(ab.DataError, match=message):
        ab.datasets.mnist("test")


def test_the_known_files_have_checksums_and_two_mirrors() -> None:
    assert len(_download.FILES) == 7
    for file in _download.FILES.values():
        assert len(bytes.fromhex(file.sha256)) == 32
        assert len(file.mirrors) == 2
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in file.mirrors)


def test_the_files_at_hand_are_those_that_are_known(data_dir: Path) -> None:
    for name in ("t10k-images-idx3-ubyte.gz", NAME, "sample_weight.pkl", "simple_convnet_params.pkl"):
        data = (data_dir / name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (
            _download.FILES[name].sha256,
            _download.FILES[name].size,
        )
        if name.endswith(".gz"):
            assert hashlib.sha256(gzip.decompress(data)).hexdigest() == _download.FILES[name].unpacked
