"""Weights in files: what libraries write is read to the last bit, and everything else is refused in one line."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_files
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from anyback import weights
from anyback.errors import WeightsError
from anyback.weights import FORMATS, npz, read_weights, safetensors, write_weights

#: What is read without h5py.
OURS = [suffix for suffix in FORMATS if suffix not in (".h5", ".keras")]
WRITABLE = [suffix for suffix, row in FORMATS.items() if row.write]
DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
#: The same examples on every run.
BOUNDED = settings(deadline=None, derandomize=True, max_examples=150, database=None)

RNG = np.random.default_rng(0)
MANY = RNG.integers(0, 256, size=(4, 3, 16), dtype=np.uint8)
ARRAYS: dict[str, np.ndarray] = {
    **{code: MANY.view(code) if code != "?" else MANY > 99 for code in DTYPES},
    "big-endian": RNG.normal(size=(2, 3)).astype(">f4"),
    "big-endian integers": np.arange(5, dtype=">u2"),
    "Fortran order": np.asfortranarray(RNG.normal(size=(3, 4))),
    "strided": np.arange(24.0)[::-3],
    "axes in another order": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "no axes": np.array(3.5, dtype=np.float32),
    "empty": np.empty((0, 3)),
    "empty, Fortran order": np.empty((3, 0, 2), order="F"),
    "read-only": np.broadcast_to(np.float32(2), (2, 2)),
    "nan, infinite, -0.0, denormal": np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324]),
    "bits of nan": np.array([0x7F800001, 0xFFC12345], dtype=np.uint32).view(np.float32),
}


def assert_same(found: Mapping[str, np.ndarray], expected: Mapping[str, Any]) -> None:
    """Names, shapes, dtypes and every bit."""
    assert sorted(found) == sorted(expected)
    assert_plain(found)
    for name, array in found.items():
        other = np.asarray(expected[name])
        assert (array.shape, array.dtype.name) == (other.shape, other.dtype.name), name
        assert array.tobytes() == other.astype(array.dtype, order="C").tobytes(), name


def assert_plain(found: Mapping[str, np.ndarray]) -> None:
    """Arrays as anyback promises them: of numbers, native, contiguous and writeable."""
    for name, array in found.items():
        assert type(name) is str
        assert type(array) is np.ndarray
        assert array.dtype.kind in "biuf" or array.dtype.name == "bfloat16"
        assert array.dtype.isnative
        assert array.flags.c_contiguous
        assert array.flags.writeable


def assert_one_line(error: BaseException) -> None:
    """A message has nothing in it that a terminal would obey."""
    message = str(error)
    assert message.isascii()
    assert message.isprintable()
    assert 0 < len(message) < 1000


def refused(read: Callable[[bytes], object], data: bytes, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        read(data)
    assert_one_line(caught.value)


def arrays_or_refused(read: Callable[[bytes], dict[str, np.ndarray]], data: bytes) -> None:
    """Whatever the bytes are: no other exception, and no other arrays."""
    try:
        found = read(data)
    except WeightsError as error:
        assert_one_line(error)
    else:
        assert_plain(found)


def damaged(data: bytes) -> Iterator[bytes]:
    """Yield the bytes with each bit flipped, and with each byte gone."""
    for i in range(len(data)):
        for bit in range(8):
            yield data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
        yield data[:i] + data[i + 1 :]


IN_A_SMALL_ROOM = """
import resource, sys
from pathlib import Path
import safetensors
from anyback import WeightsError, read_weights
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20), used + (512 << 20)))
for path in map(Path, sys.argv[1:]):
    try:
        read_weights(path)
        print("arrays")
    except WeightsError as error:
        print(str(error).removeprefix(f"{path}: "))
"""


def in_a_small_room(folder: Path, suffix: str, files: Mapping[str, bytes]) -> dict[str, str]:
    """Read files in a process with half a GiB to spare and a minute for all; return what it says of each."""
    if sys.platform != "linux":
        pytest.skip("the memory of a process is limited, and seen, only on Linux")
    paths = [folder / f"{i}{suffix}" for i in range(len(files))]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    command = [sys.executable, "-c", IN_A_SMALL_ROOM, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(files, done.stdout.splitlines(), strict=True))


def saved(suffix: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays as the format's own library writes them."""
    if suffix == ".pkl":
        return pickle.dumps(dict(arrays))
    if suffix in (".pt", ".pth"):
        return torch_files.state_dict(arrays)
    if suffix == ".safetensors":
        return save_safetensors(dict(arrays))
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


# -- Every format ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("suffix", WRITABLE)
def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path, suffix: str, name: str) -> None:
    path = tmp_path / f"w{suffix.upper()}"
    write_weights(str(path), {name: ARRAYS[name], "b1": np.ones(1)})
    found = read_weights(path, allow_nonfinite=True)
    assert_same(found, {name: ARRAYS[name], "b1": np.ones(1)})


@pytest.mark.parametrize(("suffix", "load"), [(".npz", np.load), (".safetensors", load_safetensors)])
def test_what_is_written_is_read_by_the_formats_own_library(
    tmp_path: Path, suffix: str, load: Callable[[Any], Mapping[str, np.ndarray]]
) -> None:
    path = tmp_path / f"w{suffix}"
    write_weights(path, ARRAYS)
    with contextlib.ExitStack() as stack:
        loaded = load(stack.enter_context(path.open("rb")) if suffix == ".npz" else path.read_bytes())
        assert_same({name: loaded[name].copy() for name in loaded}, ARRAYS)


def test_a_written_file_is_the_same_for_the_same_arrays(tmp_path: Path) -> None:
    for path in (tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "a.safetensors", tmp_path / "b.safetensors"):
        write_weights(path, ARRAYS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@st.composite
def any_array(draw: st.DrawFn) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from([code for code in DTYPES if code != "?"])))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), dtype=dtype).reshape(shape)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\\\0"), min_size=1, max_size=12)


@BOUNDED
@given(st.dictionaries(NAMES, any_array(), min_size=1, max_size=4))
def test_any_arrays_go_from_format_to_format_and_keep_every_bit(arrays: dict[str, np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, *others = (Path(folder, name) for name in ("0.pkl", "1.npz", "2.safetensors", "3.npz"))
        source.write_bytes(pickle.dumps(arrays))
        for other in others:
            write_weights(other, read_weights(source, allow_nonfinite=True))
            source = other
        assert_same(read_weights(source, allow_nonfinite=True), arrays)


@pytest.mark.parametrize("suffix", OURS)
@BOUNDED
@given(data=st.data())
def test_any_bytes_give_arrays_or_a_refusal(suffix: str, data: st.DataObject) -> None:
    valid = saved(suffix, {"W1": np.ones((2, 3), dtype=np.float32), "b1": np.arange(3)})
    kept = bytearray(data.draw(st.binary(max_size=300) | st.just(valid)))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(kept)))
        kept[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    arrays_or_refused(FORMATS[suffix].read, bytes(kept))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_any_damage_gives_arrays_or_a_refusal(suffix: str) -> None:
    for data in damaged(saved(suffix, {"W1": np.ones((1, 2), dtype=np.float32)})):
        arrays_or_refused(FORMATS[suffix].read, data)


@pytest.mark.parametrize("suffix", OURS)
def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(suffix: str) -> None:
    data = saved(suffix, {"W1": np.ones((1, 2), dtype=np.float32), "b": np.empty(0)})
    for length in range(len(data)):
        refused(FORMATS[suffix].read, data[:length], "^not an? |^member ")


@pytest.mark.parametrize("suffix", [".pkl", ".safetensors"])  # a zip archive may end in anything
def test_more_bytes_than_a_file_needs_are_refused(suffix: str) -> None:
    refused(FORMATS[suffix].read, saved(suffix, {"W1": np.ones(2)}) + b"more", "^not an? ")


OTHER_FILES = {
    "an HTML page": (b"<!DOCTYPE html><html>", "download the file itself"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "empty": (b"", "get it again"),
    "a gzip file": (gzip.compress(b"x"), "unpack it"),
    "an HDF5 file": (b"\x89HDF\r\n\x1a\n", "h5py"),
    "a NumPy .npy file": (b"\x93NUMPY\1\0", "numpy.savez"),
    "a PyTorch archive": (b"PK\3\4" + bytes(26) + b"archive/data.pkl", "suffix .pt"),
    "JSON": (b'{"W1": [[1.0]]}', ""),
}


@pytest.mark.parametrize("suffix", OURS)
@pytest.mark.parametrize("kind", OTHER_FILES)
def test_a_file_that_is_not_what_its_name_says_says_what_it_is(tmp_path: Path, suffix: str, kind: str) -> None:
    data, cure = OTHER_FILES[kind]
    if FORMATS[suffix].kind == kind:
        pytest.skip("it is what its name says")
    path = tmp_path / f"w{suffix}"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=f"it (is|seems to be) {kind}.*{cure}") as caught:
        read_weights(path)
    assert_one_line(caught.value)


@pytest.mark.parametrize("suffix", OURS)
@pytest.mark.parametrize("other", OURS)
def test_a_file_with_another_formats_suffix_says_which_it_should_have(tmp_path: Path, suffix: str, other: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(saved(other, {"W1": np.ones(3)}))
    same = FORMATS[suffix].kind == FORMATS[other].kind
    if same:
        path.write_bytes(path.read_bytes()[:-1])  # of the right kind, and broken
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert ("it seems to be" in str(caught.value)) == (not same)
    assert (f"give it the suffix {other.removesuffix('h')}" in str(caught.value)) == (not same)


@pytest.mark.parametrize("suffix", OURS)
def test_a_byte_that_is_no_boolean_is_refused(suffix: str) -> None:
    # Such an array would be equal to neither True nor False.
    refused(FORMATS[suffix].read, saved(suffix, {"mask": np.array([1, 2], dtype="u1").view("?")}), "neither 0 nor 1")


@pytest.mark.parametrize("suffix", OURS)
@pytest.mark.parametrize("name", ["\x1b[31m\r\n" * 9, "\u202e\U0001f4a3" * 40, "x" * 1000])
def test_what_a_file_is_named_inside_reaches_no_terminal(tmp_path: Path, suffix: str, name: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(saved(suffix, {name: np.array([np.nan]), "b1": np.ones(1)}))
    with pytest.raises(WeightsError, match="nan or infinite numbers in '") as caught:
        read_weights(path)
    assert_one_line(caught.value)


@pytest.mark.parametrize("suffix", OURS)
def test_a_name_longer_than_any_name_is_refused(suffix: str) -> None:
    refused(FORMATS[suffix].read, saved(suffix, {"x" * 1001: np.ones(1)}), "a name of 1,001 characters")


def test_readers_in_threads_leave_the_warnings_of_the_process_alone() -> None:
    files = {suffix: saved(suffix, {f"W{i}": np.ones((10, 10)) for i in range(20)}) for suffix in OURS}
    before, shown, interval = list(warnings.filters), warnings.showwarning, sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(FORMATS[s].read, data) for _ in range(40) for s, data in files.items()]:
                done.result()
    finally:
        sys.setswitchinterval(interval)
        after = list(warnings.filters)
        warnings.filters[:] = before  # so that no other test suffers  # type: ignore[index]
    assert after == before
    assert warnings.showwarning is shown


def test_nothing_in_the_package_changes_warnings_for_a_while() -> None:
    files = [
        path for path in Path(weights.__file__).parent.rglob("*.py") if "catch_warnings" in path.read_text("utf-8")
    ]
    assert files == []


@pytest.mark.parametrize("suffix", WRITABLE)
def test_one_array_written_under_many_names_is_memory_of_its_own_under_each(tmp_path: Path, suffix: str) -> None:
    array = np.asfortranarray(RNG.normal(size=(3, 4)))
    write_weights(tmp_path / f"w{suffix}", {f"W{i}": array for i in range(5)})
    found = read_weights(tmp_path / f"w{suffix}")
    assert_same(found, {f"W{i}": array for i in range(5)})
    found["W0"][:] = 0
    assert_same({"W1": found["W1"]}, {"W1": array})


@pytest.mark.parametrize("suffix", WRITABLE)
def test_more_than_is_ever_read_is_refused_before_it_is_written(tmp_path: Path, suffix: str) -> None:
    array = np.ones(1 << 17)  # 1 MiB
    with pytest.raises(WeightsError, match="the most that is read"):
        write_weights(tmp_path / f"w{suffix}", dict.fromkeys(map(str, range(9000)), array))


# -- .npz --------------------------------------------------------------------------------------------


def npy(
    descr: object = "<f8",
    shape: object = (2,),
    body: bytes = bytes(16),
    *,
    header: str | bytes | None = None,
    version: bytes = b"\1\0",
) -> bytes:
    """Return an .npy file that claims what it is told to."""
    if header is None:
        header = repr({"descr": descr, "fortran_order": False, "shape": shape})
    raw = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + version + len(raw).to_bytes(2 if version == b"\1\0" else 4, "little") + raw + body


def archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as made:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            made.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_is_equal_to_what_numpy_loads(save: Callable[..., None]) -> None:
    file = io.BytesIO()
    save(file, **ARRAYS)
    found = npz.read(file.getvalue())
    file.seek(0)
    with np.load(file) as loaded:
        assert list(found) == list(loaded)
        assert_same(found, dict(loaded))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_version_of_npy_is_read(version: tuple[int, int], order: Any) -> None:
    array = np.arange(12, dtype=">i4").reshape(3, 4).copy(order=order)
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    assert_same(npz.read(archive(("a.npy", file.getvalue()))), {"a": array})


BAD_NPY = {
    "more than there is": (npy(shape=(1 << 32,)), "claims"),
    "more than a file could hold": (npy(shape=(1 << 50,)), "whole numbers"),
    "a product beyond all numbers": (npy(shape=(1 << 39,) * 30), r"2\*\*40 elements"),
    "no element, but axes beyond NumPy": (npy(shape=(0, 1 << 39, 1 << 39), body=b""), r"2\*\*40 elements"),
    "fewer than there are": (npy(shape=(1,)), "claims"),
    "a negative size": (npy(shape=(-2,)), "none negative"),
    "a size that is no integer": (npy(shape=(2.0,)), "whole numbers"),
    "a size that is a boolean": (npy(shape=(True, 2)), "whole numbers"),
    "a size for a shape": (npy(shape=2), "expected a shape"),
    "bytes for a shape": (npy(shape=b"\2"), "header is not one"),
    "too many axes": (npy(shape=(1,) * 33), "at most 32 axes"),
    "objects": (npy("|O"), "dtype '|O'; known: b1, i1"),
    "text": (npy("<U2"), "dtype '<U2'"),
    "complex numbers": (npy("<c16", (1,)), "dtype '<c16'"),
    "fields": (npy([("x", "<f8")]), r"dtype \"\[\('x', '<f8'\)\]\""),
    "no dtype": (npy(""), "dtype ''"),
    "an escape for a dtype": (npy("\x1b[2J\n" * 50), "header is not one"),
    "a raw escape for a dtype": (
        npy(header="{'descr':'\x1b[2J','fortran_order':False,'shape':(2,)}"),
        r"dtype '\\x1b\[2J",
    ),
    "a field twice": (npy(header="{'descr':'<f8','fortran_order':False,'descr':'<f8'}"), "other fields"),
    "a size without a comma": (npy(header="{'descr':'<f8','fortran_order':False,'shape':(2)}"), "expected a shape"),
    "two commas": (npy(header="{'descr':'<f8','fortran_order':False,'shape':(2,,)}"), "whole numbers"),
    "code": (npy(header="__import__('os').system('true')"), "header is not one"),
    "code in a shape": (npy(header="{'descr':'<f8','fortran_order':False,'shape':(9**9**9,)}"), "header is not one"),
    "deep brackets": (npy(header="(" * 9000), "header is not one"),
    "deep signs": (npy(header="-" * 9000 + "1"), "header is not one"),
    "deep sums": (npy(header="1+" * 4900 + "1"), "header is not one"),
    "a long number": (npy(header="9" * 9000), "header is not one"),
    "a list for a key": (npy(header="{[]: 1}"), "header is not one"),
    "a warning": (npy(header=r"'\d'"), "header is not one"),
    "no fields": (npy(header="{}"), "other fields"),
    "a field too many": (npy(header="{'descr':'<f8','fortran_order':False,'shape':(2,),'x':1}"), "other fields"),
    "an order that is no boolean": (npy(header="{'descr':'<f8','fortran_order':1,'shape':(2,)}"), "True nor False"),
    "a header that is not text": (npy(header=b"\xff\xfe"), "header is not one"),
    "a header too long": (npy(header=" " * 10_001), "header of 10,001 bytes"),
    "a header longer than the file": (npy()[:40], "header is not one"),
    "another version": (npy(version=b"\4\0"), "not an .npy file"),
    "another minor version": (npy(version=b"\1\1"), "not an .npy file"),
    "no magic": (b"x" * 200, "not an .npy file"),
    "nothing": (b"", "not an .npy file"),
}


@pytest.mark.parametrize("case", BAD_NPY)
def test_an_npy_file_that_claims_anything_else_is_refused(case: str) -> None:
    member, message = BAD_NPY[case]
    refused(npz.read, archive(("a.npy", member)), f"member 'a': .*{message}")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }          \n",  # NumPy's
        "{'shape': (2L,), 'fortran_order': False, 'descr': '<f8'}",  # of Python 2, and in another order
        '{"descr":"<f8","fortran_order":False,"shape":(2,)}',
        "\n{ 'descr' : '<f8' , 'fortran_order' : False , 'shape' : [ 2 ] , }",
    ],
)
def test_a_header_may_be_written_in_any_way_that_is_a_dict(header: str) -> None:
    assert_same(npz.read(archive(("a.npy", npy(header=header)))), {"a": np.zeros(2)})


def test_members_that_begin_at_the_same_byte_are_refused() -> None:
    # One member's bytes would be read under many names; newer versions of zipfile warn of them.
    data = bytearray(archive(("a.npy", npy()), ("b.npy", npy())))
    entry = data.rindex(b"PK\1\2")
    data[entry + 42 : entry + 46] = bytes(4)
    refused(npz.read, bytes(data), "begin at the same byte")


def test_a_plain_npy_file_is_what_the_bad_ones_differ_from() -> None:
    assert_same(npz.read(archive(("a.npy", npy()), ("b/c.npy", npy()))), {"a": np.zeros(2), "b/c": np.zeros(2)})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (archive(("a.npy", npy()), ("a.npy", npy())), "'a' is there twice"),
        (archive(("a.txt", npy())), "member 'a.txt': expected a name that ends in .npy"),
        (archive((".npy", npy())), "expected a name"),
        (archive(("a.npy/", b"")), "expected a name"),
        (archive(("\x1b[2J\n.txt", npy())), r"member '\\x1b\[2J\\n.txt'"),
        (archive(("a.npy", npy()), compression=zipfile.ZIP_BZIP2), "another way than deflate"),
        (archive(("a.npy", npy()), compression=zipfile.ZIP_LZMA), "another way than deflate"),
        (archive(("a.npy", npy())).replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"), "encrypted"),
        (archive(("a.npy", npy(body=bytes(15) + b"\1"))).replace(bytes(15) + b"\1", bytes(15) + b"\2"), "BadZipFile"),
        (npy(), "not an .npz archive: BadZipFile"),
        (b"", "not an .npz archive: BadZipFile"),
    ],
)
def test_an_archive_of_anything_else_is_refused(data: bytes, message: str) -> None:
    refused(npz.read, data, message)


def test_objects_in_an_archive_are_never_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    file = io.BytesIO()
    np.savez(file, a=np.array([_Touch(canary)], dtype=object))
    refused(npz.read, file.getvalue(), "dtype '|O'")
    assert not canary.exists()
    file.seek(0)
    np.load(file, allow_pickle=True)["a"]
    assert canary.exists(), "the file was harmless"


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_bounds_of_an_archive_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = archive(("a.npy", npy(shape=(1 << 17,), body=bytes(1 << 20))), compression=zipfile.ZIP_DEFLATED)
    assert npz.read(zeros)["a"].size == 1 << 17
    monkeypatch.setattr(npz, "_MOST_BYTES", 1 << 19)
    refused(npz.read, zeros, "more than 524,288, the most for a file of its size")
    monkeypatch.setattr(npz, "_MOST_MEMBERS", 2)
    three = {"a": np.ones(1), "b": np.ones(1), "c": np.ones(1)}
    refused(npz.read, saved(".npz", three), "more than 2 members")
    with pytest.raises(WeightsError, match="at most 2 arrays"):
        npz.write(three)


def test_archives_that_claim_or_hide_gigabytes_cost_nothing(tmp_path: Path) -> None:
    packed = archive(("a.npy", npy() + bytes(100 << 20)), compression=zipfile.ZIP_DEFLATED)
    real = struct.pack("<I", len(npy()) + (100 << 20))
    bombs = {
        "headers of brackets": archive(
            *((f"{i}.npy", npy(header="{'descr':'<f8','fortran_order':" + "(" * 9000)) for i in range(3000)),
            compression=zipfile.ZIP_DEFLATED,
        ),
        "128 bytes claim 32 GiB": archive(("a.npy", npy(shape=(1 << 32,)))),
        "the archive claims 4 GB": packed.replace(real, struct.pack("<I", (1 << 32) - 2)),
        "100 MB in a member of few bytes": packed.replace(real, struct.pack("<I", len(npy()))),
        "many members": archive(("a.npy", b"")).replace(b"PK\1\2", b"PK\1\2" + b"PK\1\2" * 2_000_000),
    }
    assert packed.count(real) == 2, "in the member's own header, and in the list"
    said = in_a_small_room(tmp_path, ".npz", bombs)
    assert "arrays" not in said.values(), said


def test_long_headers_of_many_members_cost_little() -> None:
    header = "{'descr':'<f8','fortran_order':False,'shape':(2,)" + " " * 9000 + "}"
    data = archive(*((f"{i}.npy", npy(header=header)) for i in range(1000)), compression=zipfile.ZIP_DEFLATED)
    start = time.process_time()
    assert len(npz.read(data)) == 1000
    assert time.process_time() - start < 1, "9 MB of headers in a file of 200 kB"


# -- .safetensors ------------------------------------------------------------------------------------


def tensors(header: object, body: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + body


def entry(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4), **more: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def test_a_safetensors_file_is_equal_to_what_its_library_loads() -> None:
    native = {name: np.array(x, dtype=x.dtype.newbyteorder("="), order="C") for name, x in ARRAYS.items()}
    data = save_safetensors(native, metadata={"format": "np", "note": "a\nb"})
    assert_same(safetensors.read(data), load_safetensors(data))
    assert_same(safetensors.read(data), ARRAYS)


def test_the_order_of_a_safetensors_file_is_kept() -> None:
    header = {name: entry(offsets=(4 * i, 4 * i + 4)) for i, name in enumerate("zaybxc")}
    found = safetensors.read(tensors(header, np.arange(6, dtype="<f4").tobytes()))
    assert list(found) == list("zaybxc")
    assert [float(x[0]) for x in found.values()] == [0, 1, 2, 3, 4, 5]


F32 = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
BAD_SAFETENSORS = {
    "nothing": (b"", "header is longer"),
    "a length alone": (bytes(8), "not JSON"),
    "a header longer than the file": ((1 << 40).to_bytes(8, "little") + b"{}", "header is longer"),
    "a length beyond all files": (b"\xff" * 8 + b"{}", "header is longer"),
    "no JSON": (tensors(b"{'a': 1}"), "not JSON"),
    "no UTF-8": (tensors(b'{"\xff": 1}'), "not JSON"),
    "deep JSON": (tensors(b"[" * 200_000), "not JSON"),
    "deep objects": (tensors(b'{"a":' * 200_000), "not JSON"),
    "a long number": (tensors(b'{"a":' + b"9" * 10_000 + b"}"), "not JSON"),
    "a list": (tensors([]), "not a JSON object"),
    "a name twice": (tensors(b'{"a":' + F32 + b',"a":' + F32 + b"}", bytes(4)), "'a' is there twice"),
    "a name twice, written differently": (
        tensors(b'{"a":' + F32 + b',"\\u0061":' + F32 + b"}", bytes(4)),
        "'a' is there twice",
    ),
    "a field twice": (tensors(b'{"a":{"dtype":"F32",' + F32[1:] + b"}", bytes(4)), "'dtype' is there twice"),
    "no entry": (tensors({"a": 1}), "'a': expected dtype, shape"),
    "a field too many": (tensors({"a": entry(x=1)}, bytes(4)), "'a': expected dtype, shape"),
    "a gap": (tensors({"a": entry(offsets=(4, 8))}, bytes(8)), "not a safetensors file"),
    "a gap between two": (
        tensors({"a": entry(), "b": entry(offsets=(8, 12))}, bytes(12)),
        "not a safetensors file",
    ),
    "an overlap": (
        tensors({"a": entry(shape=(2,), offsets=(0, 8)), "b": entry(offsets=(4, 8))}, bytes(8)),
        "not a safetensors file",
    ),
    "the same bytes twice": (tensors({"a": entry(), "b": entry()}, bytes(4)), "not a safetensors file"),
    "offsets backwards": (tensors({"a": entry(offsets=(4, 0))}, bytes(4)), "not a safetensors file"),
    "offsets below zero": (tensors({"a": entry(offsets=(-4, 0))}, bytes(4)), "not a safetensors file"),
    "offsets beyond the file": (tensors({"a": entry(shape=(2,), offsets=(0, 8))}, bytes(4)), "not a safetensors file"),
    "offsets of another shape": (tensors({"a": entry(shape=(2,))}, bytes(4)), "not a safetensors file"),
    "offsets that are text": (tensors({"a": entry(offsets="04")}, bytes(4)), "not a safetensors file"),
    "a huge shape": (tensors({"a": entry(shape=(1 << 62,) * 4)}, bytes(4)), "above 2"),
    "a huge product": (tensors({"a": entry(shape=(1 << 39,) * 30)}, bytes(4)), r"2\*\*40 elements"),
    "a shape of fractions": (tensors({"a": entry(shape=(1.0,))}, bytes(4)), "whole numbers"),
    "a shape of text": (tensors({"a": entry(shape="1")}, bytes(4)), "expected a shape"),
    "no dtype": (tensors({"a": entry(None)}, bytes(4)), "dtype 'NoneType'; known: BOOL"),
    "a list for a dtype": (tensors({"a": entry(["F32"])}, bytes(4)), "dtype 'list'"),
    "eight bits": (tensors({"a": entry("F8_E4M3", offsets=(0, 1))}, bytes(1)), "dtype 'F8_E4M3'; known: BOOL"),
    "an escape for a dtype": (tensors({"a": entry("\x1b[2J\n" * 99)}, bytes(4)), r"dtype '\\x1b\[2J"),
    "an escape for a name": (tensors({"\x1b[2J\n" * 99: entry(offsets=(4, 8))}, bytes(8)), "not a safetensors file"),
    "half a character": (tensors(b'{"\\ud800":' + F32 + b"}", bytes(4)), "not a safetensors file|half a character"),
    "metadata that is no text": (tensors({"__metadata__": {"a": 1}, "a": entry()}, bytes(4)), "not a safetensors file"),
}


@pytest.mark.parametrize("case", BAD_SAFETENSORS)
def test_a_safetensors_file_of_anything_else_is_refused(case: str) -> None:
    refused(safetensors.read, *BAD_SAFETENSORS[case])


def test_a_plain_safetensors_file_is_what_the_bad_ones_differ_from() -> None:
    data = tensors({"__metadata__": {"a": "1"}, "a": entry()}, struct.pack("<f", 1.5))
    assert_same(safetensors.read(data), {"a": np.array([1.5], dtype=np.float32)})


def test_headers_that_cost_more_than_they_weigh_are_refused_at_once(tmp_path: Path) -> None:
    names = b",".join(b'"%d":0' % i for i in range(300_000))
    said = in_a_small_room(
        tmp_path,
        ".safetensors",
        {
            "a name twice among many": tensors(b"{" + names + b',"299999":0}'),
            "deep": tensors(b"[" * 9_000_000),
            "wide": tensors(b"[" + b"[]," * 3_000_000 + b"[]]"),
            "huge": tensors({"a": entry(shape=(1 << 39,), offsets=(0, 1 << 41))}, bytes(4)),
        },
    )
    assert "arrays" not in said.values(), said
    assert said["a name twice among many"] == "not a safetensors file: '299999' is there twice"


def test_bfloat16_is_read_and_written_to_the_last_bit() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    bits = np.arange(1 << 16, dtype="<u2").reshape(2, -1)
    data = tensors({"a": entry("BF16", bits.shape, (0, 1 << 17)), "b": entry("F32", (), (1 << 17, (1 << 17) + 4))},
                   bits.tobytes() + struct.pack("<f", 2))  # fmt: skip
    found = safetensors.read(data)
    assert_same(found, {"a": bits.view(bfloat16), "b": np.float32(2)})
    assert found["a"][0, 0x3F80] == 1
    assert_same(safetensors.read(safetensors.write(found)), found)


@pytest.mark.torch
def test_bfloat16_is_as_pytorch_reads_and_writes_it() -> None:
    import safetensors.torch as theirs
    import torch

    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    tensor = torch.arange(-6, 6).reshape(3, 4).to(torch.bfloat16) / 7
    found = safetensors.read(theirs.save({"a": tensor, "b": torch.ones(2)}))
    assert found["a"].dtype == bfloat16
    np.testing.assert_array_equal(found["a"].astype(np.float32), tensor.float().numpy())
    again = theirs.load(safetensors.write(found))
    assert torch.equal(again["a"], tensor)
    assert torch.equal(again["b"], torch.ones(2))


def test_bfloat16_of_the_other_byte_order_is_written_as_its_numbers(tmp_path: Path) -> None:
    bfloat16 = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    bits = np.array([0x803F], dtype="<u2" if sys.byteorder == "little" else ">u2")
    write_weights(tmp_path / "w.safetensors", {"a": bits.view(bfloat16.newbyteorder("S"))})
    assert read_weights(tmp_path / "w.safetensors")["a"].astype(float) == 1


def test_bfloat16_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    refused(safetensors.read, tensors({"a": entry("BF16", (2,))}, bytes(4)), "'a': .*pip install ml_dtypes")


# -- read_weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", OURS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path: Path, suffix: str, dtype: str, value: float) -> None:
    path = tmp_path / f"w{suffix}"
    arrays = {"W1": np.ones(3, dtype), "b1": np.array([1, value], dtype), "b2": np.array(value, dtype)}
    path.write_bytes(saved(suffix, arrays))
    with pytest.raises(WeightsError, match=r"nan or infinite numbers in '(b1', 'b2|b2', 'b1)'; .*allow") as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert_same(read_weights(path, allow_nonfinite=True), arrays)


@pytest.mark.parametrize(
    ("dtype", "bits"), [("float32", 0x7F800001), ("float16", 0x7C01), ("bfloat16", 0x7F81), ("bfloat16", 0xFF80)]
)
def test_what_is_not_finite_is_refused_without_a_warning(tmp_path: Path, dtype: str, bits: int) -> None:
    kind = np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)
    path = tmp_path / "w.safetensors"
    write_weights(path, {"b1": np.array([bits], dtype=f"u{kind.itemsize}").view(kind)})
    with pytest.raises(WeightsError, match="nan or infinite numbers in 'b1'"):
        read_weights(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npz", "missing.npz does not exist; check the path"),
        ("folder.npz", "folder.npz is a folder; expected a file of .npz"),
        ("folder", "folder is a folder; expected a file of .npz"),
        ("file.npz/w.npz", "cannot be read: Not a directory"),
        ("file.bin", "file.bin: unknown suffix '.bin'; known: .npz, .safetensors, .pkl, .pt, .pth, .h5, .keras"),
        ("file", "unknown suffix ''"),
        ("file.\x1b[2J\n", r"unknown suffix '.\\x1b\[2J\\n'"),
        ("a\0b.npz", "cannot be read: embedded null"),
        (f"{'x' * 300}.npz", "cannot be read: File name too long"),
        ("file.npz", "file.npz: not an .npz archive"),
        ("pipe.npz", "pipe.npz is not a regular file"),
        ("zero.npz", "zero.npz is not a regular file"),
    ],
)
def test_a_path_that_is_no_weights_file_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "file.npz").write_bytes(b"x")
    if name in ("pipe.npz", "zero.npz"):
        if not hasattr(os, "mkfifo"):
            pytest.skip("there are no pipes and devices here")
        os.mkfifo(tmp_path / "pipe.npz")  # nobody writes to it: reading would wait for ever
        (tmp_path / "zero.npz").symlink_to("/dev/zero")
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(tmp_path / name)
    assert_one_line(caught.value)
    assert str(caught.value).count("is a folder") <= 1
    assert str(caught.value).count(str(tmp_path)) <= 1, "it says the path twice"


def test_a_file_larger_than_the_limit_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.npz"
    write_weights(path, {"b1": np.ones(2)})
    monkeypatch.setattr(weights, "_MOST_BYTES", path.stat().st_size)
    read_weights(path)
    write_weights(path, {"b1": np.ones(2)})
    monkeypatch.setattr(weights, "_MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(WeightsError, match=r"larger than .* the most that is read"):
        read_weights(path)
    with pytest.raises(WeightsError, match="the most that is read"):
        write_weights(path, {"b1": np.ones(2)})


def test_a_file_that_has_more_than_its_size_is_refused(tmp_path: Path) -> None:
    endless = Path("/proc/self/status")  # a regular file of, it says, no bytes
    if not endless.is_file():
        pytest.skip("there is no such file here")
    (tmp_path / "w.npz").symlink_to(endless)
    with pytest.raises(WeightsError, match="grew while it was read"):
        read_weights(tmp_path / "w.npz")


# -- write_weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/w.npz", "cannot be written: No such file or directory"),
        ("file.npz/w.npz", "cannot be written: Not a directory"),
        ("folder.npz", "cannot be written: it is a folder"),
        ("null.npz", "cannot be written: it is not a regular file"),
        ("a\0b.npz", "cannot be written: embedded null"),
        (f"{'x' * 300}.npz", "cannot be written: File name too long"),
        ("w.pkl", ".pkl is only read; write one of .npz, .safetensors"),
        ("w.h5", ".h5 is only read; write one of .npz, .safetensors"),
        ("w.bin", "unknown suffix '.bin'; known: .npz"),
        ("w", "unknown suffix ''"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused_and_left_alone(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "file.npz").write_bytes(b"x")
    if name == "null.npz":
        if os.name != "posix":
            pytest.skip("there is no /dev/null here")
        (tmp_path / name).symlink_to("/dev/null")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WeightsError, match=message) as caught:
        write_weights(tmp_path / name, {"b1": np.ones(1)})
    assert_one_line(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file.npz").read_bytes() == b"x"
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "expected at least one array, found none"),
        ([("b1", np.ones(1))], "expected names and their arrays, found list"),
        ({"b1": np.array([None])}, "'b1': expected numbers, found dtype 'object'"),
        ({"b1": np.array(["x"])}, "'b1': expected numbers, found dtype '<U1'"),
        ({"b1": np.ones(1, dtype=complex)}, "'b1': expected numbers, found dtype 'complex128'"),
        ({"b1": np.ones(1, dtype="M8[s]")}, "'b1': expected numbers"),
        ({"b1": np.zeros(1, dtype=[("\x1b[2J\n" * 99, "f8")])}, "'b1': expected numbers"),
        ({"b1": np.ones(1, dtype=np.longdouble)}, "holds no|'b1'"),
        ({"b1": np.ones((1,) * 33)}, "at most 32 axes"),
        ({"b1": [1.0]}, "'b1': expected a NumPy array, found list"),
        ({1: np.ones(1)}, "expected names as strings, found int"),
        ({"\x1b[2J\n": [1.0]}, r"'\\x1b\[2J\\n': expected a NumPy array"),
        ({"\ud800": np.ones(1)}, r"'\\ud800': a name with half a character"),
        ({"x" * 1001: np.ones(1)}, "a name of 1,001 characters"),
    ],
)
def test_what_no_weights_are_is_not_written(tmp_path: Path, suffix: str, arrays: Any, message: str) -> None:
    if suffix == ".npz" and message.startswith("holds no") and np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("a long double is a double here")
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"before")
    with pytest.raises(WeightsError, match=message) as caught:
        write_weights(path, arrays)
    assert_one_line(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("suffix", "name", "message"),
    [
        (".npz", "a/b", "names without a slash; write .safetensors"),
        (".npz", "a\\b", "names without a slash"),
        (".npz", "a\0b", "names without a slash"),
        (".npz", "", "names without a slash"),
        (".safetensors", "__metadata__", "no place for an array named '__metadata__'"),
    ],
)
def test_a_name_that_one_format_cannot_hold_is_refused(tmp_path: Path, suffix: str, name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        write_weights(tmp_path / f"w{suffix}", {name: np.ones(1)})
    other = tmp_path / ("w.npz" if suffix == ".safetensors" else "w.safetensors")
    write_weights(other, {name: np.ones(1)})
    assert_same(read_weights(other), {name: np.ones(1)})


def test_bfloat16_is_for_safetensors(tmp_path: Path) -> None:
    array = np.ones(2, dtype=pytest.importorskip("ml_dtypes").bfloat16)
    with pytest.raises(WeightsError, match=r"'b1': \.npz holds no bfloat16; write \.safetensors"):
        write_weights(tmp_path / "w.npz", {"b1": array})


def test_names_that_fill_more_than_a_header_are_neither_written_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safetensors, "_LONGEST_HEADER", 100)
    with pytest.raises(WeightsError, match="its header would be longer"):
        write_weights(tmp_path / "w.safetensors", {"x" * 100: np.ones(1)})
    refused(safetensors.read, save_safetensors({"x" * 100: np.ones(1)}), "its header is longer than the file, or than")


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("verb", ["write_bytes", "replace"])
def test_a_file_appears_whole_or_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, verb: str
) -> None:
    path = tmp_path / "w.npz"
    write_weights(path, {"b1": np.zeros(1)})
    before = path.read_bytes()

    def fail(self: Path, *_: object) -> None:
        with self.open("ab") as file:
            file.write(b"half")
        raise fault

    monkeypatch.setattr(Path, verb, fail)
    with pytest.raises((WeightsError, KeyboardInterrupt)) as caught:
        write_weights(path, {"b1": np.ones(1)})
    assert "No space left" in str(caught.value) or isinstance(fault, KeyboardInterrupt)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".npz")
    write_weights(path, {"b1": np.ones(1)})
    write_weights(path, {"b1": np.zeros(1)})
    assert_same(read_weights(path), {"b1": np.zeros(1)})
    assert list(tmp_path.iterdir()) == [path]


def test_formats_are_rows_of_one_table() -> None:
    for suffix, row in FORMATS.items():
        assert suffix.startswith(".")
        assert suffix == suffix.lower()
        assert callable(row.read)
        assert row.write is None or callable(row.write)
    with pytest.raises(TypeError):
        FORMATS[".h5"] = FORMATS[".npz"]  # type: ignore[index]


def test_a_link_stays_a_link_and_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    target, link = tmp_path / "weights.npz", tmp_path / "link.npz"
    write_weights(target, {"a": np.ones(1)})
    target.chmod(0o600)
    mode = target.stat().st_mode  # Windows has fewer of them
    link.symlink_to(target)
    write_weights(link, {"a": np.zeros(2)})
    assert link.is_symlink()
    assert target.stat().st_mode == mode
    np.testing.assert_array_equal(read_weights(target)["a"], [0, 0])
