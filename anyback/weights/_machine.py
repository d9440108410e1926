"""The closed interpreter of pickles: dicts of arrays are made from a file's bytes, and nothing is ever run.

A pickle is a program for a stack machine that may call any function of Python. This module interprets the opcodes
that dicts of arrays are made of, and no other; the few names that such files contain are tokens here, each with
a rule of its own, and arrays are built from bytes whose number was checked first. An allow-list for Python's own
interpreter would not do: NumPy's functions, given forged arguments, read memory that is not theirs.

Opcodes: the standard library's `pickletools`; protocols 0 to 5, strings of Python 2 included.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anyback.errors import WeightsError
from anyback.weights._advice import about_module
from anyback.weights._arrays import DTYPES, checked_name, checked_shape, make_array, quoted

__all__ = ["ARRAY_WORK", "Array", "Machine", "Name", "arrays_of", "kind"]

_MOST_OPCODES = 1_000_000
_MOST_DIGITS = 20
_MOST_DEPTH = 16
_LINE_ENDS = (
    "; every line feed in it has a CR before it: its line ends were changed on the way, by Git (autocrlf), by FTP in "
    "text mode or by a file opened without 'b'; get it again, or write it again, as binary"
)
_WHOLE = "; where it is a whole object, save the arrays in it by name, with numpy.savez or anyback.write_weights"
#: Work for each byte of the file, counted in bytes that are made; arrays and entries cost as much beside their own.
_MOST_WORK = 8
ARRAY_WORK = 128
_ENTRY = 32

#: Escapes of Python 2's strings, and backslashes that begin none, which Python reads as themselves, but warns of.
_NO_ESCAPE = re.compile(rb"(\\[\\'\"abfnrtvx0-7\n])|(\\)")
_OCTAL_ABOVE_A_BYTE = re.compile(rb"(?<!\\)(?:\\\\)*\\[4-7][0-7]{2}")

#: NumPy 1.16 named the module of its compiled code itself.
_MULTIARRAY = ("core.multiarray", "_core.multiarray", "core._multiarray_umath")
#: Names that files of arrays contain, under every module that NumPy ever kept them in -> the token for each.
_NAMES = {
    **{(f"numpy.{module}", "_reconstruct"): "reconstruct" for module in _MULTIARRAY},
    **{(f"numpy.{module}", "scalar"): "scalar" for module in _MULTIARRAY},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "frombuffer" for core in ("core", "_core")},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
    ("collections", "OrderedDict"): "dict",
}


@dataclass(frozen=True)
class Name:
    """What a name in the file became: a token, which is text and no function."""

    token: str


@dataclass
class _Dtype:
    code: str
    order: str = "="

    def make(self) -> np.dtype[Any]:
        return DTYPES[self.code].newbyteorder(self.order)  # type: ignore[arg-type]


@dataclass
class Array:
    """An array; none where the file has not given its numbers yet."""

    array: np.ndarray | None = None


_MARK = object()


def arrays_of(machine: Machine, what: str) -> dict[str, np.ndarray]:
    """Return the arrays that a machine's program makes, or raise `WeightsError` with what the file should be.

    Parameters
    ----------
    machine : Machine
        One that has not run.
    what : str
        In words, for the errors: ``"a pickled dict of arrays"``.

    Returns
    -------
    dict of str to numpy.ndarray
        Those of dicts within dicts under their names with dots between, such as ``"fc1.weight"``.
    """
    try:
        result = machine.run()
    except (WeightsError, IndexError) as error:
        said = "its stack is empty" if isinstance(error, IndexError) else error
        code = machine.data.obj
        ends = _LINE_ENDS if 0 < code.count(b"\n") == code.count(b"\r\n") else ""  # type: ignore[attr-defined]
        raise WeightsError(f"not {what}: byte {machine.position:,}: {said}{ends}") from None
    if type(result) is not dict:
        raise WeightsError(f"expected {what}, found {kind(result)}")
    return _apart(_flat(result, machine), machine)


def _flat(entries: dict[str, Any], machine: Machine) -> dict[str, Any]:
    """Return entries without the dicts that are among their values: the entries of those take their place."""
    found: dict[str, Any] = {}
    open_dicts = [("", iter(entries.items()))]
    while open_dicts:
        prefix, items = open_dicts[-1]
        for key, value in items:
            name = prefix + key
            if prefix:  # the memo may name one dict again and again
                machine.spend(_ENTRY + len(name))
                checked_name(name)
            if type(value) is dict:
                if len(open_dicts) == _MOST_DEPTH:
                    raise WeightsError(f"entry {quoted(name)}: dicts within more than {_MOST_DEPTH} dicts")
                open_dicts.append((f"{name}.", iter(value.items())))
                break
            if name in found:
                raise WeightsError(f"entry {quoted(name)} is there twice")
            found[name] = value
        else:
            open_dicts.pop()
    return found


def _apart(entries: dict[str, Any], machine: Machine) -> dict[str, np.ndarray]:
    """Return the arrays of entries, each its own memory: one that has several names is copied for each."""
    seen: set[int] = set()
    found = {}
    for name, value in entries.items():
        if not isinstance(value, Array) or value.array is None:
            raise WeightsError(f"entry {quoted(name)}: expected an array, found {kind(value)}{machine.advice}")
        if id(value) not in seen:
            found[name] = value.array
        else:
            try:
                machine.spend(ARRAY_WORK + value.array.nbytes)
            except WeightsError as error:
                raise WeightsError(f"entry {quoted(name)}: one array under too many names: {error}") from None
            found[name] = value.array.copy()
        seen.add(id(value))
    return found


def kind(value: object) -> str:
    """Return what a value of the machine is, in words, for a message."""
    return {Name: "a function", _Dtype: "a dtype", Array: "an array"}.get(type(value), type(value).__name__)


class Machine:
    """The stack machine: one method for each group of opcodes, found by the table below.

    Parameters
    ----------
    data : bytes
        The program.
    size : int or None
        Bytes of the whole file, to which the work is held in proportion; None is that of `data`.
    """

    #: The names that are known, each with its token.
    names: ClassVar[Mapping[tuple[str, str], str]] = _NAMES
    #: The tokens that may be called; what that means is the method ``call_`` and the token.
    calls: ClassVar[frozenset[str]] = frozenset(
        {"reconstruct", "dtype", "scalar", "frombuffer", "encode", "bytes", "dict"}
    )
    #: What to say of an entry that is no array.
    advice: ClassVar[str] = ""

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self.data = memoryview(data)
        self.position = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        # What may be made in all: the memo lets a short file name the same things again and again.
        self.budget = _MOST_WORK * ((len(data) if size is None else size) + 1024)

    def run(self) -> Any:
        for _ in range(_MOST_OPCODES):
            opcode = self.take(1)[0]
            if opcode == ord("."):
                if self.position != len(self.data):
                    raise WeightsError("there is more after its end")
                return self.stack[-1]
            if opcode not in _OPCODES:
                raise WeightsError(f"opcode {opcode:#04x} is not one that arrays are made of")
            _OPCODES[opcode](self)
        raise WeightsError(f"more than {_MOST_OPCODES:,} opcodes")

    # -- Bytes ---------------------------------------------------------------------------------------

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.data) - self.position:
            raise WeightsError("it is cut off")
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def line(self, most: int | None = None) -> bytes:
        # find on the file's own bytes: a memoryview has none, and a copy for each line would cost its square.
        end = self.data.obj.find(b"\n", self.position)  # type: ignore[attr-defined]
        if end < 0 or (most is not None and end - self.position > most):
            raise WeightsError("a line is too long, or has no end")
        return bytes(self.take(end + 1 - self.position)[:-1])

    def decimal(self) -> int:
        digits = self.line(_MOST_DIGITS).removesuffix(b"L")
        if not digits.removeprefix(b"-").isdigit():
            raise WeightsError("expected a whole number")
        return int(digits)

    # -- Stack ---------------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise WeightsError("a mark is where a value should be")
        return value

    def since_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                found = self.stack[i + 1 :]
                del self.stack[i:]
                return found
        raise WeightsError("there is no mark")

    def top(self, wanted: type) -> Any:
        if type(self.stack[-1]) is not wanted:
            raise WeightsError(f"expected {wanted.__name__}, found {kind(self.stack[-1])}")
        return self.stack[-1]

    # -- Opcodes -------------------------------------------------------------------------------------

    def integer_line(self) -> None:
        start = self.position
        value = self.decimal()
        # Protocol 0 writes False and True as the integers 00 and 01.
        written = bytes(self.data[start : self.position - 1])
        self.push({b"00": False, b"01": True}.get(written, value))

    def long(self, count: int) -> None:
        if count > 16:
            raise WeightsError("an integer of more than 16 bytes")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def float_line(self) -> None:
        try:
            self.push(float(self.line(64)))
        except ValueError:
            raise WeightsError("expected a number") from None

    def text(self, raw: bytes, encoding: str) -> None:
        try:
            self.push(raw.decode(encoding))
        except UnicodeDecodeError:
            raise WeightsError("text in another encoding than it claims") from None

    def python2_string_line(self) -> None:
        line = self.line()
        if len(line) < 2 or line[:1] not in b"'\"" or line[-1:] != line[:1]:
            raise WeightsError("a string without quotes")
        if _OCTAL_ABOVE_A_BYTE.search(line):
            raise WeightsError("a string with a wrong escape")
        try:
            self.push(codecs.escape_decode(_NO_ESCAPE.sub(rb"\1\2\2", line[1:-1]))[0])
        except ValueError:
            raise WeightsError("a string with a wrong escape") from None

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise WeightsError("the stack is empty")
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def set_items(self, target: Any, items: list[Any]) -> None:
        if type(target) is not dict or len(items) % 2:
            raise WeightsError("entries that belong to no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Checked before it is hashed: hashing a nested tuple may take years.
            name = checked_name(_text(key))
            if name in target:
                raise WeightsError(f"entry {quoted(name)} is there twice")
            target[name] = value

    def global_name(self, module: Any, name: Any) -> None:
        key = (_text(module), _text(name))
        if key not in self.names:
            raise WeightsError(f"it names {quoted(key[0])} {quoted(key[1])}, {self.why_not(key[0])}")
        self.push(Name(self.names[key]))

    def why_not(self, module: str) -> str:
        known = about_module(module)
        return f"{known}; nothing was run" if known else f"which no array needs; nothing was run{_WHOLE}"

    def persistent(self) -> None:
        raise WeightsError("opcode 0x51 is not one that arrays are made of")

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if type(function) is not Name or type(arguments) is not tuple or function.token not in self.calls:
            raise WeightsError("a call of what is no function")
        self.push(getattr(self, f"call_{function.token}")(arguments))

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if type(state) is not tuple:
            raise WeightsError("expected a tuple as state")
        if type(target) is _Dtype:
            target.order = _byte_order(state)
        elif type(target) is Array and target.array is None and len(state) == 5:
            _, shape, dtype, fortran, raw = state
            target.array = self.array(raw, dtype, shape, bool(_flag(fortran)))
        else:
            raise WeightsError(f"a state that does not fit {kind(target)}")

    def put(self, index: int) -> None:
        value = self.stack[-1]
        if value is _MARK:
            raise WeightsError("a mark is where a value should be")
        self.memo[index] = value

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise WeightsError("a memo that was never made")
        self.push(self.memo[index])

    # -- What calls mean -----------------------------------------------------------------------------

    def spend(self, count: int) -> None:
        self.budget -= count
        if self.budget < 0:
            raise WeightsError("it makes more data than it holds")

    def array(self, raw: Any, dtype: Any, shape: Any, fortran: bool) -> np.ndarray:
        if type(raw) not in (bytes, memoryview) or type(dtype) is not _Dtype or type(shape) is not tuple:
            raise WeightsError("an array that is not made of bytes, a dtype and a shape")
        self.spend(ARRAY_WORK + len(raw))
        return make_array(raw, dtype.make(), checked_shape(shape), fortran)

    def call_reconstruct(self, arguments: tuple[Any, ...]) -> Array:
        if len(arguments) != 3 or arguments[:2] != (Name("ndarray"), (0,)) or _raw(arguments[2]) != b"b":
            raise WeightsError("an array of another kind than numpy.ndarray")
        return Array()

    def call_dtype(self, arguments: tuple[Any, ...]) -> _Dtype:
        if len(arguments) != 3 or not all(type(a) in (bool, int) for a in arguments[1:]):
            raise WeightsError("a dtype of another kind")
        code = _text(arguments[0])
        if code not in DTYPES:
            raise WeightsError(f"dtype {quoted(code)}; known: {', '.join(DTYPES)}")
        return _Dtype(code)

    def call_scalar(self, arguments: tuple[Any, ...]) -> Array:
        if len(arguments) != 2:
            raise WeightsError("a scalar that is not made of a dtype and bytes")
        return Array(self.array(_raw(arguments[1]), arguments[0], (), False))

    def call_frombuffer(self, arguments: tuple[Any, ...]) -> Array:
        if len(arguments) not in (4, 5) or arguments[3] not in ("C", "F", "K"):
            raise WeightsError("a buffer without dtype, shape and order")
        raw, dtype, shape, order, *axes = arguments
        array = self.array(raw, dtype, shape, order == "F")
        return Array(_transposed(array, axes) if order == "K" else array)

    def call_encode(self, arguments: tuple[Any, ...]) -> bytes:
        if len(arguments) != 2 or type(arguments[0]) is not str or arguments[1] != "latin1":
            raise WeightsError("bytes in another encoding than latin1")
        self.spend(_ENTRY + len(arguments[0]))
        try:
            return arguments[0].encode("latin1")
        except UnicodeEncodeError:
            raise WeightsError("text that is not latin1 where bytes should be") from None

    def call_bytes(self, arguments: tuple[Any, ...]) -> bytes:
        if arguments:
            raise WeightsError("bytes made from something")
        return b""

    def call_dict(self, arguments: tuple[Any, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if arguments:  # Python 2 wrote the entries as one list of pairs
            if len(arguments) != 1 or type(arguments[0]) is not list:
                raise WeightsError("a dict that is not made of pairs")
            self.spend(_ENTRY * len(arguments[0]))
            for pair in arguments[0]:
                if type(pair) not in (list, tuple) or len(pair) != 2:
                    raise WeightsError("a dict that is not made of pairs")
                self.set_items(made, list(pair))
        return made


def _transposed(array: np.ndarray, rest: list[Any]) -> np.ndarray:
    """Return the array as NumPy 2.4 and later write one that is contiguous only with its axes in another order."""
    axes = rest[0] if rest and type(rest[0]) is tuple and len(rest[0]) == array.ndim else ()
    if not all(type(axis) is int for axis in axes) or sorted(axes) != list(range(array.ndim)):
        raise WeightsError("an order of axes that is none")
    return array.transpose(axes).copy(order="C")


def _text(value: Any) -> str:
    """Return a string of Python 3, or one of Python 2 that is ASCII."""
    if type(value) is str:
        return value
    if type(value) is bytes and value.isascii():
        return value.decode("ascii")
    raise WeightsError(f"expected a name, found {kind(value)}")


def _raw(value: Any) -> Any:
    """Return bytes, of which a string of Python 2 or an old one-letter code is a form."""
    return value.encode("latin1") if type(value) is str and value.isascii() and len(value) < 2 else value


def _flag(value: Any) -> bool:
    if type(value) not in (bool, int) or value not in (0, 1):
        raise WeightsError("expected true or false")
    return bool(value)


def _byte_order(state: tuple[Any, ...]) -> str:
    # (version, order, None, None, None, -1, -1, flags): what is None or -1 would make it a type of another kind.
    plain = len(state) in (8, 9) and state[2:7] == (None, None, None, -1, -1) and state[7] in (0, 1)
    if not plain or (len(state) == 9 and state[8] is not None):
        raise WeightsError("a dtype with fields, metadata or of another kind")
    order = _text(state[1])
    if order not in {"<", ">", "|", "="}:
        raise WeightsError("a byte order that is none")
    return order


def _appended(machine: Machine, items: list[Any]) -> None:
    machine.top(list).extend(items)


def _named_on_stack(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.global_name(module, name)


def _one_entry(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items(machine.stack[-1], [key, value])


def _entries(machine: Machine) -> None:
    items = machine.since_mark()
    machine.set_items(machine.stack[-1], items)


def _whole_dict(machine: Machine) -> None:
    made: dict[str, Any] = {}
    machine.set_items(made, machine.since_mark())
    machine.push(made)


def _protocol(machine: Machine) -> None:
    if machine.take(1)[0] > 5:
        raise WeightsError("a protocol above 5")


_OPCODES: dict[int, Callable[[Machine], object]] = {
    code[0]: action
    for code, action in {
        # the frame of the file
        b"\x80": _protocol,
        b"\x95": lambda m: m.number("<Q"),  # how long the next part is: of use to streams alone
        # numbers and constants
        b"I": Machine.integer_line,
        b"L": lambda m: m.push(m.decimal()),
        b"J": lambda m: m.push(m.number("<i")),
        b"K": lambda m: m.push(m.number("<B")),
        b"M": lambda m: m.push(m.number("<H")),
        b"\x8a": lambda m: m.long(m.number("<B")),
        b"\x8b": lambda m: m.long(m.number("<I")),
        b"F": Machine.float_line,
        b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
        b"N": lambda m: m.push(None),
        b"\x88": lambda m: m.push(True),
        b"\x89": lambda m: m.push(False),
        # text and bytes
        b"S": Machine.python2_string_line,
        b"T": lambda m: m.push(bytes(m.take(m.number("<I")))),
        b"U": lambda m: m.push(bytes(m.take(m.number("<B")))),
        b"V": lambda m: m.text(m.line(), "raw-unicode-escape"),
        b"X": lambda m: m.text(bytes(m.take(m.number("<I"))), "utf-8"),
        b"\x8c": lambda m: m.text(bytes(m.take(m.number("<B"))), "utf-8"),
        b"\x8d": lambda m: m.text(bytes(m.take(m.number("<Q"))), "utf-8"),
        b"B": lambda m: m.push(m.take(m.number("<I"))),
        b"C": lambda m: m.push(bytes(m.take(m.number("<B")))),
        b"\x8e": lambda m: m.push(m.take(m.number("<Q"))),
        b"\x96": lambda m: m.push(m.take(m.number("<Q"))),
        # tuples, lists, dicts
        b"(": lambda m: m.push(_MARK),
        b"0": lambda m: m.stack.pop(),
        b"1": Machine.since_mark,
        b")": lambda m: m.push(()),
        b"t": lambda m: m.push(tuple(m.since_mark())),
        b"\x85": lambda m: m.tuple_of(1),
        b"\x86": lambda m: m.tuple_of(2),
        b"\x87": lambda m: m.tuple_of(3),
        b"]": lambda m: m.push([]),
        b"l": lambda m: m.push(m.since_mark()),
        b"a": lambda m: _appended(m, [m.pop()]),
        b"e": lambda m: _appended(m, m.since_mark()),
        b"}": lambda m: m.push({}),
        b"d": _whole_dict,
        b"s": _one_entry,
        b"u": _entries,
        # names, calls, states
        b"c": lambda m: m.global_name(m.line(100), m.line(100)),
        b"\x93": _named_on_stack,
        b"R": Machine.reduce,
        b"Q": lambda m: m.persistent(),
        b"b": lambda m: m.build(),
        # the memo
        b"p": lambda m: m.put(m.decimal()),
        b"q": lambda m: m.put(m.number("<B")),
        b"r": lambda m: m.put(m.number("<I")),
        b"\x94": lambda m: m.put(len(m.memo)),
        b"g": lambda m: m.get(m.decimal()),
        b"h": lambda m: m.get(m.number("<B")),
        b"j": lambda m: m.get(m.number("<I")),
    }.items()
}
