"""Files that a change of bytes does not reach: a grammar of each format makes them, and each is read or refused.

Two thousand for each format by default; ``ANYBACK_CASES=1000000`` asks for more, as before a release.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch_files
from test_weights import OURS, arrays_or_refused

from anyback.weights import FORMATS

CASES = int(os.environ.get("ANYBACK_CASES", "2000"))
SECONDS = 5
CODES = ("f8", "f4", "f2", "i8", "u1", "b1", "O", "c16", "")
SIZES = (0, 1, 2, 3, 4, 255, 1 << 31, 1 << 40, 1 << 62, -1)


def often(rng: random.Random, *usual: Any, odd: Any) -> Any:
    """Return one of the usual things, and rarely the odd one."""
    return odd if rng.random() < 0.04 else rng.choice(usual)


# -- Pickle ------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", max(min(value, 2**63 - 1), -(2**63)))


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


class Pickles:
    """Programs of a pickle: arrays, dicts and calls, with what the memo lets them repeat."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.memos = rng, 0

    def kept(self, code: bytes) -> bytes:
        """Put what the code makes into the memo."""
        self.memos += 1
        return code + b"r" + struct.pack("<I", self.memos - 1)

    def again(self) -> bytes:
        return b"j" + struct.pack("<I", often(self.rng, *range(self.memos), odd=self.memos))

    def thing(self, depth: int) -> bytes:
        rng = self.rng
        if depth <= 0:
            return rng.choice((b"N", b"\x88", b"K\x02", b"}", b")", b"]", text("a"), b"C\x02ab", number(1 << 40)))
        made = rng.choice((self.array, self.scalar, self.ordered, self.plain, self.row, self.old))(depth - 1)
        if rng.random() < 0.5:
            made = self.kept(made)
        return self.again() if self.memos and rng.random() < 0.3 else made

    def dtype(self, usual: str) -> bytes:
        code = often(self.rng, usual, odd=self.rng.choice(CODES))
        order = str(often(self.rng, "<", "|", ">", odd="x"))
        call = named("numpy", "dtype") + b"(" + text(code) + b"\x89\x88tR"
        return call + b"(K\x03" + text(order) + b"NNN" + number(-1) * 2 + b"K\x00tb"

    def buffer(self) -> tuple[bytes, bytes]:
        size = self.rng.choice((0, 1, 2, 16))
        raw = bytes(8 * size)
        code = b"B" + struct.pack("<I", len(raw)) + raw
        shape = b"(" + number(int(often(self.rng, size, odd=self.rng.choice(SIZES)))) + b"t"
        return code, shape

    def array(self, depth: int) -> bytes:
        raw, shape = self.buffer()
        order = text(often(self.rng, "C", "F", odd="K"))
        return named("numpy.core.numeric", "_frombuffer") + b"(" + raw + self.dtype("f8") + shape + order + b"tR"

    def old(self, depth: int) -> bytes:
        raw, shape = self.buffer()
        start = named("numpy.core.multiarray", "_reconstruct") + b"(" + named("numpy", "ndarray") + b"(K\0tC\1btR"
        return start + b"(K\x01" + shape + self.dtype("f8") + b"\x89" + raw + b"tb"

    def scalar(self, depth: int) -> bytes:
        return named("numpy.core.multiarray", "scalar") + b"(" + self.dtype("i8") + b"C\x08" + bytes(8) + b"tR"

    def row(self, depth: int) -> bytes:
        items = b"".join(self.thing(depth) for _ in range(self.rng.randrange(4)))
        return self.rng.choice((b"(" + items + b"t", b"](" + items + b"e", b"(" + items + b"l"))

    def entries(self, depth: int) -> list[bytes]:
        start = self.rng.randrange(9)
        return [text(f"W{start + i}") + self.thing(depth) for i in range(self.rng.randrange(4))]

    def plain(self, depth: int) -> bytes:
        return b"}(" + b"".join(self.entries(depth)) + b"u"

    def ordered(self, depth: int) -> bytes:
        many = self.rng.choice((1, 1, 1, 200))
        depth = depth if many == 1 else 0
        pairs = b"".join(b"(" + text(f"k{i}") + self.thing(depth) + b"t" for i in range(self.rng.randrange(3) * many))
        function, arguments = self.kept(named("collections", "OrderedDict")), self.kept(b"](" + pairs + b"e\x85")
        call = b"j" + struct.pack("<I", self.memos - 2) + b"j" + struct.pack("<I", self.memos - 1) + b"R"
        return function + arguments + b"R" + (b"0" + call) * self.rng.choice((0, 1, 300 if many > 1 else 3))

    def file(self) -> bytes:
        """Return a dict of arrays, made after whatever else may be made and kept."""
        code = b"\x80\x04" + (self.thing(3) + b"0" if self.rng.random() < 0.5 else b"") + b"}("
        for i in range(self.rng.randrange(1, 4)):
            array = self.kept(self.rng.choice((self.array, self.old, self.scalar))(0))
            code += text(f"W{i}") + often(self.rng, array, odd=self.thing(3))
            if self.rng.random() < 0.3:
                code += text(f"b{i}") + self.again()
        return code + b"u."


def a_pickle(rng: random.Random) -> bytes:
    return Pickles(rng).file()


# -- npz ---------------------------------------------------------------------------------------------


def an_npy(rng: random.Random) -> bytes:
    size, (code, width) = rng.choice((0, 1, 2, 3)), rng.choice((("<f8", 8), ("|u1", 1), (">f4", 4)))
    fields = [
        f"'descr': {often(rng, repr(code), odd=repr(rng.choice(CODES)))}",
        f"'fortran_order': {often(rng, 'False', 'True', odd='1')}",
        f"'shape': ({often(rng, size, odd=rng.choice(SIZES))},)",
    ]
    rng.shuffle(fields)
    if rng.random() < 0.05:
        fields.append(rng.choice([*fields, "'x': 1", "(" * 3000, "-" * 3000]))
    header = "{" + ", ".join(fields) + often(rng, ", }", "}", "} \n", "}" + " " * 5000, odd="")
    version = bytes((int(often(rng, 1, 2, 3, odd=9)), 0))
    length = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + length + header.encode() + bytes(size * width)


def an_npz(rng: random.Random) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", rng.choice((0, 8))) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for i in range(rng.randrange(5)):
            name = str(often(rng, f"W{i}.npy", f"b{i}.npy", odd=rng.choice(("W0.npy", ".npy", "a", "x" * 1500))))
            archive.writestr(name, an_npy(rng))
    data = bytearray(file.getvalue())
    if rng.random() < 0.1:  # a number in the archive's own list
        entry = data.rindex(b"PK\5\6") if b"PK\1\2" not in data else data.rindex(b"PK\1\2")
        data[entry + rng.randrange(4, 22)] = rng.choice((0, 1, 255))
    return bytes(data)


# -- safetensors -------------------------------------------------------------------------------------


def a_safetensors(rng: random.Random) -> bytes:
    header: dict[str, object] = {}
    at = 0
    for i in range(rng.randrange(5)):
        size = rng.choice((0, 1, 2))
        code, width = rng.choice((("F32", 4), ("F64", 8), ("U8", 1), ("BOOL", 1), ("BF16", 2)))
        end = at + size * width
        header[f"W{i}"] = {
            "dtype": often(rng, code, odd=rng.choice(("F8_E5M2", None, 1, ["F32"], {}))),
            "shape": often(rng, [size], [size, 1], odd=rng.choice(([1 << 40] * 3, [-1], 2, [True], [1.0], {}, [[1]]))),
            "data_offsets": often(rng, [at, end], odd=rng.choice(([end, at], [0, 1 << 63], [-1, 2], [0], "04", None))),
        }
        at = end
    if rng.random() < 0.2:
        header["__metadata__"] = often(rng, {"a": "b"}, {}, odd=rng.choice(([], {"a": 1}, "x", {"a": {"b": "c"}})))
    raw = json.dumps(header).encode() + b" " * rng.choice((0, 0, 5, 3000))
    if rng.random() < 0.05:
        raw = raw.replace(b"W1", b"W0").replace(b"]", rng.choice((b"]", b"]]", b"1e999]", b"NaN]")))
    length = int(often(rng, len(raw), odd=rng.choice((0, 1 << 40, len(raw) - 1))))
    return length.to_bytes(8, "little") + raw + bytes(at)


# -- State dicts -------------------------------------------------------------------------------------


def a_state_dict(rng: random.Random) -> bytes:
    items, parts = {}, {}
    for i in range(rng.randrange(1, 4)):
        count = rng.choice((0, 1, 2, 6))
        kind, width = rng.choice((("FloatStorage", 4), ("DoubleStorage", 8), ("ByteStorage", 1)))
        length = often(rng, count, odd=rng.choice(SIZES))
        held = torch_files.storage(kind, str(often(rng, i, odd=i + 1)), length)
        sizes, strides = ((2, 3), rng.choice(((3, 1), (1, 2)))) if count == 6 else ((count,), (1,))
        sizes = often(rng, sizes, odd=(*sizes[1:], rng.choice(SIZES)))
        strides = often(rng, strides, odd=(*strides[1:], rng.choice(SIZES)))
        tensor = torch_files.tensor(held, often(rng, 0, odd=rng.choice(SIZES)), sizes, strides)
        items[f"W{i}"] = often(
            rng, tensor, odd=rng.choice((b"N", b"}", b"]", torch_files.text("a"), b"ctorch\nSize\n"))
        )
        parts[f"data/{i}"] = bytes(count * width)
    return torch_files.archive(
        torch_files.entries(items),
        parts,
        order=often(rng, b"little", b"big", None, odd=b"none"),
        root=str(often(rng, "archive", "w", odd="a/b")),
        compression=often(rng, 0, odd=8),
    )


MAKERS: dict[str, Callable[[random.Random], bytes]] = {
    ".pkl": a_pickle,
    ".npz": an_npz,
    ".safetensors": a_safetensors,
    ".pt": a_state_dict,
    ".pth": a_state_dict,
}


def test_every_format_has_a_grammar() -> None:
    assert set(MAKERS) == set(OURS)


@pytest.mark.parametrize("suffix", MAKERS)
def test_whatever_a_grammar_makes_gives_arrays_or_a_refusal_at_little_cost(suffix: str) -> None:
    """Try ``ANYBACK_CASES`` files of the format, 2,000 if the variable is not set; some must be arrays, some not."""
    rng, read, found = random.Random(1), FORMATS[suffix].read, 0
    slowest = 0.0

    def counted(data: bytes) -> dict[str, np.ndarray]:
        nonlocal found
        arrays = read(data)
        found += bool(arrays)
        return arrays

    before = peak()
    for _ in range(CASES):
        data = MAKERS[suffix](rng)
        start = time.process_time()
        arrays_or_refused(counted, data)
        slowest = max(slowest, time.process_time() - start)
    assert slowest < SECONDS
    assert peak() - before < 1 << 30
    assert CASES / 50 < found < CASES * 49 / 50


def peak() -> int:
    """Return the most memory that this process ever had, in bytes; 0 where that is not known."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
