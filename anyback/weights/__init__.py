"""Weights in files: names and arrays, and nothing that could ever run.

Every format is a module with the same two verbs, ``read(bytes) -> arrays`` and ``write(arrays) -> bytes``; the files
themselves are handled here. Readers know only NumPy.

Examples
--------
>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     path = Path(folder, "mine.safetensors")
...     write_file(path, {"b1": np.asarray([1.0, 2.0])}, {"note": "by hand"})
...     read_file(path)
File(arrays={'b1': array([1., 2.])}, texts={'note': 'by hand'})
>>> [suffix for suffix, row in FORMATS.items() if row.write is not None]
['.npz', '.safetensors']

A row for a format of your own, and what reading gives:

>>> raw = Format(read=lambda data: {"x": np.frombuffer(data, np.uint8)}, kind="raw bytes")
>>> File(arrays=raw.read(b"AB"), texts={}).arrays
{'x': array([65, 66], dtype=uint8)}
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from anyback._files import read_bounded, replacing, shown
from anyback.errors import WeightsError
from anyback.weights._advice import about_file, about_suffix
from anyback.weights._arrays import checked_name, checked_shape, quoted

__all__ = ["FORMATS", "File", "Format", "read_file", "read_weights", "write_file", "write_weights"]

#: The largest file that is read, and so that is written, in bytes.
_MOST_BYTES = 1 << 33


@dataclass(frozen=True)
class Format:
    """A file format.

    Parameters
    ----------
    read : callable
        Returns the arrays that bytes hold, or raises `WeightsError`.
    write : callable or None
        Returns arrays as bytes; None where anyback only reads the format.
    kind : str
        What `anyback._kinds.kind_of` says of such a file.
    texts : callable or None
        Returns the texts that bytes hold beside the arrays, by name; `write`, if there is one, then takes such texts
        too. None where the format has no place for them.
    """

    read: Callable[[bytes], dict[str, np.ndarray]]
    write: Callable[..., bytes] | None = None
    kind: str = ""
    texts: Callable[[bytes], dict[str, str]] | None = None


def _of(module: str, function: str) -> Callable[..., Any]:
    """Return a function of a module beside this one, which is imported when the function is first called."""

    def call(*arguments: Any) -> Any:
        return getattr(importlib.import_module(f"{__name__}.{module}"), function)(*arguments)

    return call


#: The formats by suffix. To add one: a module beside this one, an entry here.
FORMATS: MappingProxyType[str, Format] = MappingProxyType(
    {
        ".npz": Format(_of("npz", "read"), _of("npz", "write"), "an .npz archive"),
        ".safetensors": Format(
            _of("safetensors", "read"),
            _of("safetensors", "write"),
            "a safetensors file",
            _of("safetensors", "metadata"),
        ),
        ".pkl": Format(_of("pickle", "read"), None, "a pickle"),
        ".pt": Format(_of("torch", "read"), None, "a PyTorch archive"),
        ".pth": Format(_of("torch", "read"), None, "a PyTorch archive"),
        ".h5": Format(_of("hdf5", "read"), None, "an HDF5 file"),
        ".keras": Format(_of("hdf5", "read_keras"), None, "a Keras archive", _of("hdf5", "read_keras_texts")),
    }
)


@dataclass(frozen=True)
class File:
    """What a weights file holds.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
        The arrays by name, in the order of the file.
    texts : dict of str to str
        The texts beside them, by name.
    """

    arrays: dict[str, np.ndarray]
    texts: dict[str, str]


def _format_of(path: Path) -> Format:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        known = f"known: {', '.join(FORMATS)}{about_suffix(suffix)}"
        raise WeightsError(f"{shown(path)}: unknown suffix {quoted(path.suffix)}; {known}")
    return FORMATS[suffix]


def read_weights(path: str | os.PathLike[str], *, allow_nonfinite: bool = False) -> dict[str, np.ndarray]:
    """Return the arrays in a weights file.

    Parameters
    ----------
    path : path-like
        A ``.npz``, ``.safetensors`` or ``.pkl`` file; a state dict of PyTorch, ``.pt`` or ``.pth``; or weights of
        Keras, ``.weights.h5`` or ``.keras``, where h5py is installed. Pickles, also those within state dicts, are read
        as data: nothing in them is run. The arrays of dicts within dicts have names with dots between, such as
        ``"fc1.weight"``, and those of HDF5 files their paths, such as ``"layers/dense/vars/0"``.
    allow_nonfinite : bool
        Whether nan and infinite numbers are let through.

    Returns
    -------
    dict of str to numpy.ndarray
        Each writeable, C-contiguous, in the machine's byte order, in the order of the file.

    Raises
    ------
    WeightsError
        If there is no such file, or it holds anything but arrays of numbers.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "weights.npz")
    ...     write_weights(path, {"b1": np.asarray([1.0, 2.0])})
    ...     read_weights(path)
    {'b1': array([1., 2.])}
    """
    return read_file(path, allow_nonfinite=allow_nonfinite).arrays


def read_file(path: str | os.PathLike[str], *, allow_nonfinite: bool = False) -> File:
    """Return the arrays in a weights file, and the texts beside them; see `read_weights`."""
    if not isinstance(path, (str, os.PathLike)):
        raise WeightsError(f"expected a path, found {type(path).__name__}")
    path = Path(path)
    if os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises where a name is too long
        raise WeightsError(f"{shown(path)} is a folder; expected a file of {', '.join(FORMATS)}")
    kind = _format_of(path)
    data = read_bounded(path, _MOST_BYTES, WeightsError)
    try:
        arrays = kind.read(data)
        texts = {} if kind.texts is None else kind.texts(data)
    except WeightsError as error:
        raise WeightsError(f"{shown(path)}: {error}{about_file(data, kind.kind)}") from None
    if not allow_nonfinite and (names := _nonfinite(arrays)):
        said = ", ".join(map(quoted, names[:20]))
        raise WeightsError(
            f"{shown(path)}: nan or infinite numbers in {said}; read_weights(allow_nonfinite=True) lets them in"
        )
    return File(arrays, texts)


def write_weights(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a weights file, to the last bit; the file appears whole or not at all.

    Parameters
    ----------
    path : path-like
        A ``.npz`` or ``.safetensors`` file; one that exists is replaced.
    arrays : mapping of str to numpy.ndarray
        Names and arrays of numbers, of any layout and byte order.

    Raises
    ------
    WeightsError
        If the arrays are none, or do not fit the format, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_weights(Path(folder, "weights.safetensors"), {"b1": np.asarray([1.0, 2.0])})
    """
    write_file(path, arrays)


def write_file(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], texts: Mapping[str, str] | None = None
) -> None:
    """Write arrays, and texts beside them where the format has a place for those; see `write_weights`."""
    path = Path(path)
    kind = _format_of(path)
    if kind.write is None:
        able = ", ".join(suffix for suffix, row in FORMATS.items() if row.write)
        raise WeightsError(f"{shown(path)}: {path.suffix} is only read; write one of {able}")
    if not isinstance(arrays, Mapping):
        raise WeightsError(f"{shown(path)}: expected names and their arrays, found {type(arrays).__name__}")
    if not (arrays or texts):
        raise WeightsError(f"{shown(path)}: expected at least one array, found none")
    if texts and kind.texts is None:
        able = ", ".join(suffix for suffix, row in FORMATS.items() if row.texts and row.write)
        raise WeightsError(f"{shown(path)}: {path.suffix} has no place for {', '.join(texts)}; write {able}")
    plain: dict[int, np.ndarray] = {}  # by the object: one array under many names is looked at once
    for name, array in arrays.items():
        checked_name(name)
        if id(array) not in plain:
            plain[id(array)] = _plain(name, array)
    given = {name: plain[id(array)] for name, array in arrays.items()}
    if (total := sum(array.nbytes for array in given.values())) > _MOST_BYTES:
        raise WeightsError(f"{shown(path)}: {total:,} bytes, more than {_MOST_BYTES:,}, the most that is read")
    data = kind.write(given, texts) if texts else kind.write(given)
    if len(data) > _MOST_BYTES:
        raise WeightsError(f"{shown(path)}: {len(data):,} bytes, more than {_MOST_BYTES:,}, the most that is read")
    with replacing(path, WeightsError) as temporary:
        temporary.write_bytes(data)


def _plain(name: str, array: object) -> np.ndarray:
    """Return an array of numbers C-contiguous and in the machine's byte order, or raise `WeightsError`."""
    if not isinstance(array, (np.ndarray, np.generic)):
        raise WeightsError(f"{quoted(name)}: expected a NumPy array, found {type(array).__name__}")
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise WeightsError(f"{quoted(name)}: expected numbers, found dtype {quoted(str(array.dtype))}")
    checked_shape(array.shape)
    native = array.dtype if array.dtype.isnative else array.dtype.newbyteorder("=")
    return np.asarray(array, dtype=native, order="C")


def _nonfinite(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of arrays that hold nan or infinite numbers."""
    with np.errstate(invalid="ignore"):  # some bits of nan warn where they are looked at
        return [name for name, x in arrays.items() if x.dtype.kind not in "biu" and not np.all(np.isfinite(x))]
