"""State dicts of PyTorch, as ``torch.save`` writes them, read as data: PyTorch is not needed, and nothing is ever run.

Such a file is a zip archive of a pickle, ``*/data.pkl``, and of the bytes that it speaks of, ``*/data/0`` and so on.
The pickle goes through the closed interpreter of pickles, to which a storage is a type, a name and a number of
elements, and a tensor is a place in a storage, a shape and strides: all are checked before a byte is looked at.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any, ClassVar

import numpy as np

from anyback.errors import WeightsError
from anyback.weights._arrays import DTYPES, bfloat16, checked_shape, make_array, quoted
from anyback.weights._machine import ARRAY_WORK, Array, Machine, Name, arrays_of
from anyback.weights._zips import members

__all__ = ["read"]

_WHAT = "a state dict of PyTorch"
_SAVE = "save the state dict alone: torch.save(module.state_dict(), path)"
#: PyTorch's names of storages -> the types of their numbers.
_STORAGES = {
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "BFloat16Storage": "bf16",
    "CharStorage": "i1",
    "ShortStorage": "i2",
    "IntStorage": "i4",
    "LongStorage": "i8",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
_MOST_STRIDE = 1 << 40
_BYTE_ORDERS = {b"little": "<", b"big": ">"}


def read(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in a state dict.

    Parameters
    ----------
    data : bytes
        The whole file, of PyTorch 1.6 or later.

    Returns
    -------
    dict of str to numpy.ndarray
        Each writeable, C-contiguous, in the machine's byte order, with the axes that PyTorch gave it: the weight of a
        linear layer is (out_features, in_features). bfloat16 by the package ml_dtypes.

    Raises
    ------
    WeightsError
        If the bytes are anything but a dict of names to tensors.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_archive(archive, len(data))
    except WeightsError:
        raise
    except Exception as error:  # zipfile has many ways to say that an archive is broken
        raise WeightsError(f"not {_WHAT}: {type(error).__name__}") from None


def _read_archive(archive: zipfile.ZipFile, size: int) -> dict[str, np.ndarray]:
    parts = members(archive, size)
    roots = [name.removesuffix("data.pkl") for name in parts if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise WeightsError(f"not {_WHAT}: expected one */data.pkl in the archive, found {len(roots)}")
    (root,) = roots
    if other := [name for name in parts if not name.startswith(root)]:
        raise WeightsError(f"not {_WHAT}: member {quoted(other[0])} is not in {quoted(root)}")
    if any(name == f"{root}constants.pkl" or name.startswith(f"{root}code/") for name in parts):
        raise WeightsError("it is a program of TorchScript; take module = torch.jit.load(path), and " + _SAVE)
    order = archive.read(parts[f"{root}byteorder"]) if f"{root}byteorder" in parts else b"little"
    if order not in _BYTE_ORDERS:
        raise WeightsError(f"not {_WHAT}: its byte order is {quoted(order)}, neither little nor big")
    storages = {
        name.removeprefix(f"{root}data/"): part for name, part in parts.items() if name.startswith(f"{root}data/")
    }
    code = archive.read(parts[f"{root}data.pkl"])
    return arrays_of(_Machine(code, size, archive, storages, _BYTE_ORDERS[order]), _WHAT)


class _Storage:
    """Bytes of the archive, and the type of their numbers."""

    def __init__(self, raw: bytes, dtype: np.dtype[Any]) -> None:
        self.raw, self.dtype = raw, dtype


class _Machine(Machine):
    """The interpreter, with PyTorch's names beside NumPy's."""

    names: ClassVar = {
        **Machine.names,
        ("torch._utils", "_rebuild_tensor_v2"): "tensor",
        ("torch._utils", "_rebuild_parameter"): "parameter",
        **{("torch", name): name for name in _STORAGES},
    }
    calls: ClassVar = Machine.calls | {"tensor", "parameter"}
    advice: ClassVar = f"; where it is a checkpoint or more than one thing, {_SAVE}"

    def __init__(
        self, code: bytes, size: int, archive: zipfile.ZipFile, parts: dict[str, zipfile.ZipInfo], order: str
    ) -> None:
        super().__init__(code, size)
        self.archive, self.parts, self.order = archive, parts, order
        self.storages: dict[str, _Storage] = {}

    def why_not(self, module: str) -> str:
        said = f"as a whole pickled module does, where only names and tensors are data; {_SAVE}, or as .safetensors"
        return f"{said}; nothing was run"

    def set_items(self, target: Any, items: list[Any]) -> None:
        # The state of an optimizer has numbers for names; it is read on, so that the error says what is in the file.
        items[::2] = [str(key) if type(key) is int else key for key in items[::2]]
        super().set_items(target, items)

    def build(self) -> None:
        # What a state dict notes of the versions of its modules.
        if type(self.stack[-1]) is dict and set(self.stack[-1]) == {"_metadata"} and type(self.stack[-2]) is dict:
            self.pop()
        else:
            super().build()

    def persistent(self) -> None:
        key = self.pop()
        if type(key) is not tuple or len(key) != 5 or key[0] != "storage":
            raise WeightsError("a storage that is not ('storage', type, name, place, length)")
        _, kind, name, place, length = key
        if type(kind) is not Name or kind.token not in _STORAGES:
            raise WeightsError(f"a storage of another type than {', '.join(_STORAGES)}")
        if type(name) is not str or name not in self.parts or type(place) is not str:
            raise WeightsError(f"storage {quoted(name)} is not in the archive")
        if name not in self.storages:
            code = _STORAGES[kind.token]
            dtype = bfloat16() if code == "bf16" else DTYPES[code]
            self.storages[name] = _Storage(self.archive.read(self.parts[name]), dtype.newbyteorder(self.order))  # type: ignore[arg-type]
        storage = self.storages[name]
        if storage.dtype.name != (
            "bfloat16" if _STORAGES[kind.token] == "bf16" else DTYPES[_STORAGES[kind.token]].name
        ):
            raise WeightsError(f"storage {quoted(name)} is there with two types")
        if type(length) is not int or length * storage.dtype.itemsize != len(storage.raw):
            raise WeightsError(
                f"storage {quoted(name)} holds {len(storage.raw):,} bytes, which are not {quoted(str(length))} numbers"
                f" of {storage.dtype.name}"
            )
        self.push(storage)

    def call_tensor(self, arguments: tuple[Any, ...]) -> Array:
        if len(arguments) not in (6, 7) or type(arguments[0]) is not _Storage:
            raise WeightsError("a tensor that is not made of a storage")
        storage, offset, shape, strides, grad, hooks, *more = arguments
        if type(grad) is not bool or hooks != {} or more not in ([], [None], [{}]):
            raise WeightsError("a tensor with hooks, or with signs or conjugates that are still to be taken")
        sizes = checked_shape(shape)
        if type(strides) is not tuple or len(strides) != len(sizes):
            raise WeightsError("a tensor with other strides than one for each axis")
        if not all(type(step) is int and 0 <= step <= _MOST_STRIDE for step in (offset, *strides)):
            raise WeightsError("a tensor with an offset or strides that are no whole numbers of 0 to 2**40")
        width, count = storage.dtype.itemsize, len(storage.raw) // storage.dtype.itemsize
        last = offset + sum((size - 1) * step for size, step in zip(sizes, strides, strict=True))
        empty = 0 in sizes
        if (offset if empty else last + 1) > count:
            raise WeightsError(f"a tensor that ends at number {last + 1:,} of a storage of {count:,}")
        elements = 0 if empty else int(np.prod(sizes, dtype=object))
        self.spend(ARRAY_WORK + elements * width)
        if empty:
            return Array(make_array(b"", storage.dtype, sizes, False))
        # The bytes alone: what numbers they are is for the one place that makes arrays of bytes.
        steps = tuple(step * width for step in strides)
        picked = np.ndarray(sizes, f"V{width}", storage.raw, offset * width, steps)
        return Array(make_array(picked.tobytes(), storage.dtype, sizes, False))

    def call_parameter(self, arguments: tuple[Any, ...]) -> Array:
        if len(arguments) != 3 or type(arguments[0]) is not Array or arguments[2] != {}:
            raise WeightsError("a parameter that is not made of a tensor")
        return arguments[0]
