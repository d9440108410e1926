"""Pickles read as data: what Python and NumPy write is equal to what they load; nothing else is, and nothing runs."""

from __future__ import annotations

import _codecs
import functools
import os
import pickle
import struct
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy._core.multiarray import _reconstruct, scalar
from numpy._core.numeric import _frombuffer
from test_weights import ARRAYS, BOUNDED, arrays_or_refused, assert_same, damaged, in_a_small_room, refused

from anyback.errors import WeightsError
from anyback.weights import read_weights
from anyback.weights._machine import Machine
from anyback.weights.pickle import read

PROTOCOLS = range(6)
FIELDS = np.dtype([("x", "f8"), ("y", "f8")])


class Call:
    """Pickled, it is a call of a function, and what to set in what the call returns."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


# -- What is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_what_pickle_loads(protocol: int, name: str) -> None:
    array = ARRAYS[name]
    data = pickle.dumps({name: array, "b1": np.ones(2, dtype=np.float32)}, protocol)
    assert_same(read(data), pickle.loads(data))
    assert_same(read(data), {name: array, "b1": np.ones(2, dtype=np.float32)})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numbers_of_numpy_are_arrays_without_axes(protocol: int) -> None:
    numbers = {np.dtype(x.dtype).str: x.dtype.newbyteorder("=").type(x.flat[0]) for x in ARRAYS.values() if x.size}
    assert all(isinstance(number, np.generic) for number in numbers.values())
    data = pickle.dumps(numbers, protocol)
    assert_same(read(data), pickle.loads(data))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_names_keep_their_order_in_every_kind_of_dict(protocol: int) -> None:
    arrays = {name: np.array(float(i)) for i, name in enumerate(["W2", "b1", "W1", "b2", "重み", "a\nb\\u0041", ""])}
    for made in (arrays, OrderedDict(arrays)):
        found = read(pickle.dumps(made, protocol))
        assert list(found) == list(arrays)
        assert_same(found, arrays)
    assert read(pickle.dumps({}, protocol)) == {}
    assert_same(read(pickle.dumps({"b1": np.ones(1)}, protocol)), {"b1": np.ones(1)})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_array_under_two_names_is_read_under_both(protocol: int) -> None:
    array = np.arange(3.0)
    assert_same(read(pickle.dumps({"a": array, "b": array}, protocol)), {"a": array, "b": array})


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("size", [0, 1, 255, 256, 70_000])
def test_buffers_within_the_file_are_read(size: int, readonly: bool) -> None:
    array = np.arange(size, dtype=np.uint8)
    array.flags.writeable = not readonly
    data = pickle.dumps({"a": array}, 5)
    assert b"_frombuffer" in data
    assert_same(read(data), {"a": array})


def test_buffers_outside_the_file_are_refused() -> None:
    data = pickle.dumps({"a": np.ones(3)}, 5, buffer_callback=[].append)
    refused(read, data, "opcode 0x97")


@pytest.mark.parametrize("protocol", range(4))
def test_the_modules_that_numpy_used_to_have_are_known(protocol: int) -> None:
    data = pickle.dumps(ARRAYS | {"number": np.float32(3)}, protocol)
    old, new = (
        data.replace(b"numpy._core", core).replace(b"numpy.core", core) for core in (b"numpy.core", b"numpy._core")
    )
    assert old != new
    assert_same(read(old), pickle.loads(data))
    assert_same(read(new), pickle.loads(data))
    assert_same(read(old.replace(b"core.multiarray", b"core._multiarray_umath")), pickle.loads(data))


def python2(protocol: int, arrays: dict[str, np.ndarray], ordered: bool) -> bytes:
    """Return a dict of arrays as Python 2 pickled it, its strings being bytes."""

    def text(value: bytes) -> bytes:
        if protocol == 0:
            return b"S" + repr(value)[1:].encode() + b"\n"
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"I%d\n" % value if protocol == 0 else b"J" + struct.pack("<i", value)

    def shape(sizes: tuple[int, ...]) -> bytes:
        return (
            b"(" + b"".join(b"L%dL\n" % s if protocol < 2 else b"\x8a\x02" + struct.pack("<h", s) for s in sizes) + b"t"
        )

    def one(array: np.ndarray) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + number(0) + b"t" + text(b"b") + b"tR"
        order = array.dtype.str[:1].encode()
        kind = b"cnumpy\ndtype\n(" + text(array.dtype.str[1:].encode()) + number(0) + number(1) + b"tR("
        kind += number(3) + text(order) + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        fortran = {0: b"I00\n", 1: b"I00\n", 2: b"\x89"}[protocol]
        return made + b"(" + number(1) + shape(array.shape) + kind + fortran + text(array.tobytes()) + b"tb"

    start = b"\x80\x02" if protocol == 2 else b""
    items = [text(name.encode()) + one(array) for name, array in arrays.items()]
    if ordered:
        pairs = b"".join(b"(" + item + b"lp9\na" for item in items)
        return start + b"ccollections\nOrderedDict\n((lp1\n" + pairs + b"tR."
    return start + (b"(d" if protocol == 0 else b"}") + b"".join(item + b"s" for item in items) + b"."


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_pickles_of_python_2_are_what_pickle_loads_as_latin1(protocol: int, ordered: bool) -> None:
    every_byte = np.arange(256, dtype=np.uint8).reshape(16, 16)
    arrays = {"W1": every_byte, "b1": np.array([1.5, -0.0], dtype=">f4"), "quoted": np.array([0x27225C0A], dtype="<u4")}
    data = python2(protocol, arrays, ordered)
    assert_same(pickle.loads(data, encoding="latin1"), arrays)
    assert_same(read(data), arrays)


def test_an_escape_that_only_python_2_took_is_read_without_a_warning() -> None:
    data = python2(0, {"b1": np.frombuffer(b"\\d\\7", dtype=np.uint8)}, False).replace(rb"\\d\\7", rb"\d\\7")
    assert_same(read(data), {"b1": np.frombuffer(b"\\d\\7", dtype=np.uint8)})


@BOUNDED
@given(st.lists(st.sampled_from([b"\\", b"d", b"7", b"x41", b"n", b"8", b"'", b"(", b"\r"]), max_size=12))
def test_escapes_are_read_as_python_reads_them(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    code = b"}S'b1'\nS'" + text + b"'\ns."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected: object = pickle.loads(code, encoding="bytes")[b"b1"]
        except Exception:
            expected = None
    assume(expected is not None and b"777" not in text)
    machine = Machine(code)
    assert machine.run() == {"b1": expected}


def test_the_books_file_is_what_pickle_loads(data_dir: Path) -> None:
    path = data_dir / "sample_weight.pkl"
    found = read_weights(path)
    shapes = {"W1": (784, 50), "b1": (50,), "W2": (50, 100), "b2": (100,), "W3": (100, 10), "b3": (10,)}
    assert {name: x.shape for name, x in found.items()} == shapes
    assert {x.dtype for x in found.values()} == {np.dtype(np.float32)}
    with path.open("rb") as file:
        assert_same(found, pickle.load(file))


# -- What would run code -----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "payload",
    [
        lambda path: Call(os.system, f'echo > "{path}"'),
        lambda path: Call(eval, f"open({path!r}, 'w').close()"),
        lambda path: Call(exec, f"open({path!r}, 'w').close()"),
        lambda path: Call(np.save, path, np.ones(1)),
        lambda path: Call(Path(path).touch),
        lambda path: Call(functools.reduce, os.mkdir, (path, 0o700)),
    ],
    ids=["os.system", "eval", "exec", "numpy.save", "getattr", "functools.reduce"],
)
@pytest.mark.parametrize("place", ["value", "key", "instead", "in a shape", "before an array"])
def test_what_would_run_code_runs_nothing(
    tmp_path: Path, protocol: int, payload: Callable[[str], Call], place: str
) -> None:
    canary = tmp_path / "canary.npy"
    call = payload(str(canary))
    whole: Any = {
        "value": {"W1": call},
        "key": {call: np.ones(1)},
        "instead": call,
        "in a shape": {
            "W1": Call(_reconstruct, np.ndarray, (0,), b"b", state=(1, (call,), np.dtype("f8"), False, b""))
        },
        "before an array": {"W0": np.ones(1), "x": [call], "W1": np.ones(1)},
    }[place]
    data = pickle.dumps(whole, protocol)
    refused(read, data, "which no array needs; nothing was run")
    assert not canary.exists()
    if place == "value":
        pickle.loads(data)
        assert canary.exists(), "the payload was harmless"


@pytest.mark.parametrize(
    "name",
    [
        *("numpy load", "numpy memmap", "numpy core.multiarray.fromfile", "numpy.core.multiarray fromfile"),
        *("functools partial", "builtins getattr", "__builtin__ eval", "builtins bytearray", "builtins dict"),
        *("numpy.ctypeslib as_array", "numpy matrix", "copyreg _reconstructor", "codecs encode", "_codecs decode"),
        *(
            "numpy.core.multiarray _reconstruct.__globals__",
            "collections defaultdict",
            " numpy ndarray",
            "a" * 90 + " b",
        ),
    ],
)
def test_a_name_that_no_array_needs_is_refused(name: str) -> None:
    module, _, attribute = name.rpartition(" ")
    refused(read, f"c{module}\n{attribute}\n.".encode(), "which no array needs; nothing was run")
    strings = b"".join(b"\x8c" + bytes([len(s)]) + s.encode() for s in (module, attribute))
    refused(read, b"\x80\x04" + strings + b"\x93.", "which no array needs; nothing was run")


@pytest.mark.parametrize(
    "code",
    [
        *(b"(S'true'\nios\nsystem\n.", b"(cnumpy\nndarray\no.", b"(cnumpy\nndarray\nS'true'\no."),  # INST, OBJ
        *(b"cnumpy\nndarray\n)\x81.", b"cnumpy\nndarray\n)}\x92."),  # NEWOBJ, NEWOBJ_EX
        *(b"\x82\x01.", b"\x83\x01\x00.", b"\x84\x01\x00\x00\x00."),  # EXT1, EXT2, EXT4
        *(b"Pid\n.", b"NQ."),  # PERSID, BINPERSID
        *(b"\x97.", b"C\x01x\x98."),  # NEXT_BUFFER, READONLY_BUFFER
        *(b"\x8f.", b"\x8f(N\x90.", b"(\x91.", b"N2."),  # sets, DUP
        *(b"\xff.", b"\x00."),
    ],
)
def test_an_opcode_that_no_array_needs_is_refused(code: bytes) -> None:
    refused(read, code, "opcode 0x")


class Subclass(np.ndarray):
    """An array with ideas of its own."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        np.array([None, {}], dtype=object),
        np.zeros(2, FIELDS),
        np.zeros(2, np.dtype("f8", metadata={"a": 1})),
        np.zeros(2, "c16"),
        np.zeros(2, "M8[s]"),
        np.array(["text"]),
        np.array([b"bytes"]),
        np.zeros(2, "V8"),
        np.ones(2).view(Subclass),
        np.ma.array([1.0, 2.0], mask=[True, False]),
        np.complex64(1),
        np.str_("text"),
        np.dtype("f8"),
        np.ndarray,
        [np.ones(1)],
        {"W1": [np.ones(1)]},
        (),
        1.5,
        b"bytes",
        "\x1b[2J\n" * 99,
        True,
        None,
        {1, 2},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_array_of_numbers_is_refused(protocol: int, value: object) -> None:
    refused(
        read,
        pickle.dumps({"W1": value}, protocol),
        r"not a pickled dict of arrays|'W1(\.W1)?': expected an array, found",
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value", [np.ones(1), [np.ones(1)], (), None, "W1", b"W1", np.dtype("f8"), np.ndarray], ids=str
)
def test_what_is_no_dict_is_refused(protocol: int, value: object) -> None:
    refused(read, pickle.dumps(value, protocol), "expected a pickled dict of arrays, found ")


# -- What is forged ----------------------------------------------------------------------------------


def dtype(*state: Any, code: Any = "f8") -> Call:
    return Call(np.dtype, code, False, True, state=state or (3, "<", None, None, None, -1, -1, 0))


def array(
    kind: Any = None,
    shape: Any = (2,),
    raw: Any = bytes(16),
    fortran: Any = False,
    start: Any = (np.ndarray, (0,), b"b"),
) -> Call:
    return Call(_reconstruct, *start, state=(1, shape, dtype() if kind is None else kind, fortran, raw))


def buffer(raw: Any = bytes(16), kind: Any = None, shape: Any = (2,), order: Any = "C", *axes: Any) -> Call:
    return Call(_frombuffer, raw, dtype() if kind is None else kind, shape, order, *axes)


ENTRIES = {
    "elements of another size": array(dtype(3, "<", None, None, None, 1 << 40, 1, 0)),
    "elements of no size": array(dtype(3, "<", None, None, None, 0, 1, 0)),
    "elements aligned in another way": array(dtype(3, "<", None, None, None, -1, 1 << 20, 0)),
    "flags of objects": array(dtype(3, "<", None, None, None, -1, -1, 63)),
    "arrays in an array": array(dtype(3, "<", (np.dtype("f8"), (1 << 30,)), None, None, -1, -1, 0)),
    "names of fields": array(dtype(3, "<", None, ("x",), None, -1, -1, 0)),
    "fields": array(dtype(3, "<", None, ("x",), {"x": (np.dtype("O"), 0)}, 8, 8, 27)),
    "metadata": array(dtype(4, "<", None, None, None, -1, -1, 0, {"a": 1})),
    "a short state of a dtype": array(dtype(3, "<")),
    "no byte order": array(dtype(3, "x", None, None, None, -1, -1, 0)),
    "a byte order that is no text": array(dtype(3, 1, None, None, None, -1, -1, 0)),
    "objects": array(dtype(code="O8")),
    "a dtype that is code": array(dtype(code="f8,f8")),
    "a dtype that is a dtype": array(dtype(code=np.dtype("f8"))),
    "a dtype that is text": array(kind="f8"),
    "an escape for a dtype": array(dtype(code="\x1b[2J\n" * 99)),
    "a dtype's arguments": array(Call(np.dtype, "f8", {}, True)),
    "more than there is": array(shape=(1 << 32,)),
    "more than a file could hold": array(shape=(1 << 39,) * 30),
    "no element, but axes beyond NumPy": array(shape=(0, 1 << 39, 1 << 39), raw=b""),
    "fewer than there are": array(shape=(1,)),
    "a negative size": array(shape=(-2,)),
    "two negative sizes": array(shape=(-2, -1)),
    "a huge size": array(shape=(1 << 63,)),
    "a size that is no integer": array(shape=(2.0,)),
    "a shape that is a list": array(shape=[2]),
    "too many axes": array(shape=(2, *(1,) * 32)),
    "bytes that are text": array(raw="\0" * 16),
    "bytes that are objects": array(raw=[None, None]),
    "bytes that are nothing": array(raw=None),
    "an order that is no boolean": array(fortran=2),
    "an order that is a tuple": array(fortran=()),
    "another class": array(start=(np.matrix, (0,), b"b")),
    "a class that is text": array(start=("ndarray", (0,), b"b")),
    "another shape to begin with": array(start=(np.ndarray, (1 << 40,), b"b")),
    "another type to begin with": array(start=(np.ndarray, (0,), "O")),
    "no type to begin with": array(start=(np.ndarray, (0,))),
    "no state": Call(_reconstruct, np.ndarray, (0,), b"b"),
    "a state that is a dict": Call(_reconstruct, np.ndarray, (0,), b"b", state={"shape": (1,)}),
    "a state that is short": Call(_reconstruct, np.ndarray, (0,), b"b", state=(1, (0,))),
    "a state for a number": Call(scalar, dtype(), bytes(8), state=(1, (1,), dtype(), False, bytes(8))),
    "too few bytes of a number": Call(scalar, dtype(), bytes(7)),
    "a number that is an object": Call(scalar, dtype(code="O8"), [1]),
    "a number of no bytes": Call(scalar, dtype()),
    "a buffer of another order": buffer(bytes(16), None, (2,), "A"),
    "a buffer without an order of axes": buffer(bytes(16), None, (2,), "K"),
    "a buffer with too many axes": buffer(bytes(16), None, (2,), "K", (0, 1)),
    "a buffer with an axis that is none": buffer(bytes(16), None, (2,), "K", (1,)),
    "a buffer with an axis twice": buffer(bytes(16), None, (2, 1), "K", (0, 0)),
    "a buffer with a negative axis": buffer(bytes(16), None, (2,), "K", (-1,)),
    "a buffer with an axis that is text": buffer(bytes(16), None, (2,), "K", ("0",)),
    "a buffer in the middle": buffer(bytes(16), None, (2,), "C", None, 8),
    "a buffer of text": buffer("\0" * 16),
    "another encoding": array(raw=Call(_codecs.encode, "x" * 16, "utf-7")),
    "an encoding of errors": array(raw=Call(_codecs.encode, "x" * 16, "latin1", "ignore")),
    "text that is not latin1": array(raw=Call(_codecs.encode, "\u20ac" * 16, "latin1")),
    "bytes of a number": array(shape=(0,), raw=Call(bytes, 1 << 40)),
    "a list that is called": Call(OrderedDict, 1),
    "pairs of three": Call(OrderedDict, [(1, 2, 3)]),
}


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("case", ENTRIES)
def test_a_forged_array_is_refused(protocol: int, case: str) -> None:
    refused(
        read,
        pickle.dumps({"W1": ENTRIES[case]}, protocol),
        "not a pickled dict of arrays: byte|entry 'W1': expected an",
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_well_formed_array_is_what_the_forged_ones_differ_from(protocol: int) -> None:
    whole = {"a": array(), "b": buffer(), "c": Call(scalar, dtype(), bytes(8)), "d": array(fortran=True, shape=(1, 2))}
    whole["e"] = buffer(np.arange(6.0).tobytes(), None, (2, 3), "K", (1, 0))
    expected = {"a": np.zeros(2), "b": np.zeros(2), "c": np.zeros(()), "d": np.zeros((1, 2))}
    expected["e"] = np.arange(6.0).reshape(2, 3).T
    assert_same(read(pickle.dumps(whole, protocol)), expected)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"", "cut off"),
        (b".", "its stack is empty"),
        (b"N.", "found NoneType"),
        (b"}.N.", "more after its end"),
        (b"}N.", "found NoneType"),
        (b"(.", "expected a pickled dict"),
        (b"a.", "its stack is empty"),
        (b"Na.", "its stack is empty"),
        (b"NNa.", "expected list"),
        (b"t.", "there is no mark"),
        (b"N\x86.", "the stack is empty"),
        (b"(N\x86.", "a mark is where"),
        (b"(q\0.", "a mark is where"),
        (b"NNNs.", "belong to no dict"),
        (b"}(Nu.", "belong to no dict"),
        (b"}NNs.", "expected a name, found NoneType"),
        (b"}}}s.", "expected a name, found dict"),
        (b"}(K\1Nu.", "expected a name, found int"),
        (b"}U\1\xffNs.", "expected a name, found bytes"),
        (b"}(U\1aNU\1aNu.", "'a' is there twice"),
        (b"}(X\5\0\0\0\x1b[2J\nNX\5\0\0\0\x1b[2J\nNu.", r"'\\x1b\[2J\\n' is there twice"),
        (b"}X\3\0\0\0\xed\xa0\x80Ns.", "another encoding"),
        (b"}V\\ud800\nNs.", "half a character"),
        (b"V\\u12\n.", "another encoding"),
        (b"h\0.", "never made"),
        (b"g1e9\n.", "whole number"),
        (b"I1_0\n.", "whole number"),
        (b"I\xd9\xa1\n.", "whole number"),
        (b"I\n.", "whole number"),
        (b"I" + b"9" * 5000 + b"\n.", "too long"),
        (b"L" + b"9" * 5000 + b"L\n.", "too long"),
        (b"I1", "no end"),
        (b"Fx\n.", "expected a number"),
        (b"\x8a\x11" + bytes(17) + b".", "more than 16 bytes"),
        (b"\x8b\xff\xff\xff\xff.", "more than 16 bytes"),
        (b"Sx\n.", "without quotes"),
        (b"S'\n.", "without quotes"),
        (b"S'x\"\n.", "without quotes"),
        (b"S'\\x1'\n.", "wrong escape"),
        (b"S'\\\\\\777'\n.", "wrong escape"),  # one octal digit more than a byte has
        (b"\x80\6.", "protocol above 5"),
        (b"NNR.", "what is no function"),
        (b"cnumpy\nndarray\n)R.", "what is no function"),
        (b"cnumpy\ndtype\nNR.", "what is no function"),
        (b"Nb.", "its stack is empty"),
        (b"N)b.", "does not fit NoneType"),
        (b"])b.", "does not fit list"),
        (b"cnumpy\nndarray\n)b.", "does not fit a function"),
        (b"NN\x93.", "expected a name, found NoneType"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "cut off"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "cut off"),
        (b"\x96\0\0\0\0\0\0\0\x80.", "cut off"),
        (b"B\xff\xff\xff\xff.", "cut off"),
        (b"T\xff\xff\xff\xff.", "cut off"),
    ],
)
def test_a_program_that_makes_no_sense_says_where(code: bytes, message: str) -> None:
    refused(read, code, message)


@pytest.mark.parametrize("protocol", range(3))
def test_a_pickle_whose_line_ends_were_changed_says_so(protocol: int) -> None:
    data = pickle.dumps({"W1": np.arange(20.0)}, protocol)
    refused(read, data.replace(b"\n", b"\r\n"), "line ends were changed")
    with pytest.raises(WeightsError) as caught:
        read(data[:-1])
    assert "line ends" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("cupy._core.core array", r"arrays of CuPy; save NumPy arrays instead: .*cupy\.asnumpy\(x\)"),
        ("torch._utils _rebuild_tensor_v2", r"arrays of PyTorch; .*x\.detach\(\)\.cpu\(\)\.numpy\(\)"),
        ("jax._src.array _reconstruct_array", r"arrays of JAX; .*numpy\.asarray\(x\)"),
        ("joblib.numpy_pickle NumpyArrayWrapper", r"joblib\.load it, and save its NumPy arrays"),
    ],
)
def test_arrays_of_other_libraries_say_how_to_save_numpys(name: str, cure: str) -> None:
    module, _, attribute = name.partition(" ")
    refused(read, f"}}S'W1'\nc{module}\n{attribute}\n".encode(), cure + ".*nothing was run")


# -- What would cost too much ------------------------------------------------------------------------


def test_bombs_cost_nothing(tmp_path: Path) -> None:
    double = b"0h\0h\0\x86q\0" * 90
    raw, text = bytes(1 << 20), "x" * (1 << 20)
    bytes_of = np.dtype("u1")
    half = b"T" + struct.pack("<i", 8 << 20) + b"x" * (8 << 20) + b"q\0"
    bombs = {
        "a memo of 4 GB": b"]r\xff\xff\xff\xff.",
        "a memo of no end": b"]p99999999999999999999\n.",
        "a tuple of tuples for a key": b"})q\0" + double + b"Ns.",
        "a tuple of tuples for a value": b"}X\1\0\0\0a)q\0" + double + b"s.",
        "a tuple of tuples for a module": b")q\0" + double + b"h\0\x93.",
        "a tuple of tuples for arguments": b"cnumpy\ndtype\n)q\0" + double + b"R.",
        "a tuple of tuples for a shape": pickle.dumps({"a": array(shape=_doubled(90))}, 4),
        "a tuple of tuples for a state": b"cnumpy\ndtype\n(X\2\0\0\0f8\x89\x88tR)q\0" + double + b"b.",
        "lists in lists": b"]q\0" + b"0](h\0h\0eq\0" * 90 + b".",
        "a list in itself": b"]q\0h\0ah\0a.",
        "a dict in itself": b"}q\0X\1\0\0\0ah\0s.",
        "punycode": pickle.dumps({"a": Call(_codecs.encode, "é" * 180_000, "punycode")}),
        "one buffer in many arrays": pickle.dumps({str(i): buffer(raw, bytes_of, (1 << 20,)) for i in range(4096)}, 5),
        "one buffer in many states": pickle.dumps({str(i): array(bytes_of, (1 << 20,), raw) for i in range(4096)}, 4),
        "one text in many bytes": pickle.dumps([Call(_codecs.encode, text, "latin1") for _ in range(4096)], 2),
        "one text in many names": half + b"}h\0Ns0" * 160_000 + b".",
        "deep tuples": b")" + b"\x85" * 900_000 + b".",
        "deep lists": b"]" * 450_000 + b"a" * 449_999 + b".",
        "deep marks": b"(" * 450_000 + b"t" * 450_000 + b".",
        "steps without end": b"N0" * 900_000 + b"}.",
        "a long line": b"I" + b"9" * (8 << 20) + b"\n.",
        "one dict made of many pairs": _dicts(3_000, 6_000, b""),
        "one dict made of many pairs, and dropped": _dicts(3_000, 6_000, b"0"),
        "one array made again and again": _again(b"h\0h\1R0", 300_000),
        "one array under many names": _again(b"X\6\0\0\0%06dh\2s", 150_000, b"h\0h\1Rq\x020}"),
        "many lines without end": b"S''\n" * 200_000 + b"I" + b"x" * 1000,
        "many empty arrays": pickle.dumps({str(i): buffer(b"", bytes_of, (0,)) for i in range(40_000)}),
    }
    said = in_a_small_room(tmp_path, ".pkl", bombs)
    assert said.pop("many empty arrays") == "arrays"
    assert "arrays" not in said.values(), said
    assert "more than 1,000,000 opcodes" in said["steps without end"]
    for case in bombs:
        if case.startswith(("one buffer", "one dict", "one array")):
            assert "makes more data than it holds" in said[case]


def _dicts(pairs: int, calls: int, after: bytes) -> bytes:
    """Return a pickle that makes one OrderedDict of many pairs again and again through the memo."""
    made = b"".join(b"(X\5\0\0\0%05dK\1t" % i for i in range(pairs))
    start = b"\x80\2ccollections\nOrderedDict\nq\0](" + made + b"e\x85q\1"
    return start + (b"h\0h\1R" + after) * calls + b"."


def _again(code: bytes, times: int, start: bytes = b"") -> bytes:
    """Return a pickle that does the same with an array's function and arguments of 4 kB, memo 0 and 1, many times."""
    kind = b"cnumpy\ndtype\n(X\2\0\0\0u1\x89\x88tR"
    raw = b"B" + struct.pack("<I", 4096) + bytes(4096)
    begin = b"cnumpy._core.numeric\n_frombuffer\nq\0(" + raw + kind + b"M\0\x10\x85X\1\0\0\0Ctq\x01"
    return b"\x80\4" + begin + start + b"".join(code % i if b"%" in code else code for i in range(times)) + b"."


def test_one_array_under_many_names_is_memory_of_its_own_under_each() -> None:
    array = np.arange(1000.0)
    found = read(pickle.dumps({f"W{i}": array for i in range(5)}))
    assert_same(found, {f"W{i}": array for i in range(5)})
    found["W0"][:] = 0
    assert_same({"W1": found["W1"]}, {"W1": array})


def test_the_work_that_a_pickle_asks_for_is_in_proportion_to_it() -> None:
    start = time.process_time()
    refused(read, _dicts(800, 1600, b"0"), "makes more data than it holds")
    assert time.process_time() - start < 0.1, "21 kB"


def _doubled(times: int) -> tuple[Any, ...]:
    made: tuple[Any, ...] = ()
    for _ in range(times):
        made = (made, made)
    return made


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_damage_gives_arrays_or_a_refusal(protocol: int) -> None:
    data = pickle.dumps({"W1": np.ones((2, 1), dtype=np.float32), "s": np.float64(2)}, protocol)
    for changed in damaged(data):
        arrays_or_refused(read, changed)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(protocol: int) -> None:
    data = pickle.dumps({"W1": np.ones((2, 1), dtype=np.float32), "s": np.float64(2)}, protocol)
    for length in range(len(data)):
        refused(read, data[:length], "^not a pickled dict of arrays: byte")


#: What arrays are made of, for programs that come further than arbitrary bytes would.
PIECES = [
    *(bytes([code]) for code in b"()0123stuadelbR.}]N\x85\x86\x87\x88\x89\x93\x94"),
    *(b"K\0", b"K\1", b"K\2", b"J\xff\xff\xff\xff", b"q\0", b"q\1", b"h\0", b"h\1", b"G" + bytes(8), b"C\1b"),
    *(b"\x8c\1a", b"\x8c\2f8", b"\x8c\1<", b"\x8c\1C", b"\x8c\6latin1", b"U\1b", b"C\x08" + bytes(8), b"C\0"),
    *(b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n", b"ccollections\nOrderedDict\n"),
    *(b"cnumpy.core.multiarray\n" + name for name in (b"_reconstruct\n", b"scalar\n")),
    b"cnumpy.core.numeric\n_frombuffer\n",
    b"cnumpy\ndtype\n(\x8c\2f8\x89\x88tR",
    b"(K\3\x8c\1<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tC\1btR",
    b"(K\1(K\1tcnumpy\ndtype\n(\x8c\2f8\x89\x88tR\x89C\x08" + bytes(8) + b"tb",
]


@BOUNDED
@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_program_gives_arrays_or_a_refusal(pieces: list[bytes]) -> None:
    arrays_or_refused(read, b"".join(pieces) + b".")
