"""HDF5 files and Keras archives, read by h5py where that is installed: plain data sets of numbers and no more.

Nothing outside the file is opened: links to other files, data kept in others and filters are refused.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from anyback.errors import WeightsError
from anyback.weights._arrays import DTYPES, checked_name, checked_shape, make_array, quoted
from anyback.weights._zips import members

__all__ = ["KERAS_TEXT", "read", "read_keras", "read_keras_texts"]

_MOST_OBJECTS = 100_000
_MOST_DEPTH = 32
_WEIGHTS = "model.weights.h5"
#: The member of a Keras archive that says what the model is.
KERAS_TEXT = "config.json"


def read(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in an HDF5 file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    dict of str to numpy.ndarray
        By their paths within the file, such as ``"layers/dense/vars/0"``, in the order in which the file lists them;
        each writeable, C-contiguous, in the machine's byte order.

    Raises
    ------
    WeightsError
        If h5py is not installed, or the bytes are anything but an HDF5 file of arrays of numbers.
    """
    if data[:4] != b"\x89HDF":
        raise WeightsError("not an HDF5 file")
    try:
        import h5py
    except ImportError:
        raise WeightsError("it is an HDF5 file, which h5py reads: pip install h5py") from None
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return _Walk(h5py, len(data)).arrays(file)
    except WeightsError:
        raise
    except Exception as error:  # the library has many ways to say that a file is broken
        raise WeightsError(f"not an HDF5 file of arrays: {type(error).__name__}") from None


def read_keras(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in a Keras archive: those of its file ``model.weights.h5``.

    Parameters
    ----------
    data : bytes
        The whole file, of Keras 3.

    Returns
    -------
    dict of str to numpy.ndarray
        As `read` returns them.

    Raises
    ------
    WeightsError
        If h5py is not installed, or the bytes are anything but such an archive.
    """
    weights = _member(data, _WEIGHTS)
    if weights is None:
        raise WeightsError(f"not a Keras archive: it has no {_WEIGHTS}")
    try:
        return read(weights)
    except WeightsError as error:
        raise WeightsError(f"{_WEIGHTS}: {error}") from None


def read_keras_texts(data: bytes) -> dict[str, str]:
    """Return what a Keras archive says of the model, its file ``config.json``, under that name.

    Parameters
    ----------
    data : bytes
        The whole file, of Keras 3.

    Returns
    -------
    dict of str to str
        Empty where the archive has no such file.

    Raises
    ------
    WeightsError
        If the bytes are anything but such an archive, or the file is no text.
    """
    config = _member(data, KERAS_TEXT)
    try:
        return {} if config is None else {KERAS_TEXT: config.decode()}
    except UnicodeDecodeError:
        raise WeightsError(f"{KERAS_TEXT}: not a text of UTF-8") from None


def _member(data: bytes, name: str) -> bytes | None:
    """Return a member of an archive; None where it is not there."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = members(archive, len(data))
            return archive.read(parts[name]) if name in parts else None
    except WeightsError:
        raise
    except Exception as error:  # zipfile has many ways to say that an archive is broken
        raise WeightsError(f"not a Keras archive: {type(error).__name__}") from None


class _Walk:
    """A walk through the groups of a file, with what may still be seen and made."""

    def __init__(self, h5py: Any, size: int) -> None:
        self.h5py, self.objects, self.bytes = h5py, _MOST_OBJECTS, 8 * (size + 1024)

    def arrays(self, group: Any, prefix: str = "", depth: int = 0) -> dict[str, np.ndarray]:
        if depth > _MOST_DEPTH:
            raise WeightsError(f"{quoted(prefix)}: groups within more than {_MOST_DEPTH} groups")
        found: dict[str, np.ndarray] = {}
        for key in group:
            name = checked_name(f"{prefix}{key}")
            self.objects -= 1
            if self.objects < 0:
                raise WeightsError(f"more than {_MOST_OBJECTS:,} groups and arrays")
            if not isinstance(group.get(key, getlink=True), self.h5py.HardLink):
                raise WeightsError(f"{quoted(name)}: a link to somewhere else, which is not followed")
            value = group[key]
            if isinstance(value, self.h5py.Group):
                found |= self.arrays(value, f"{name}/", depth + 1)
            elif isinstance(value.id, self.h5py.h5d.DatasetID):
                found[name] = self.array(name, value)
            else:
                raise WeightsError(f"{quoted(name)}: neither a group nor an array")
        return found

    def array(self, name: str, data: Any) -> np.ndarray:
        code = data.dtype.str[1:]
        if code not in DTYPES:
            raise WeightsError(f"{quoted(name)}: dtype {quoted(str(data.dtype))}; known: {', '.join(DTYPES)}")
        shape = checked_shape(data.shape)
        if data.external or data.is_virtual:
            raise WeightsError(f"{quoted(name)}: its numbers are in another file")
        if data.id.get_create_plist().get_nfilters():
            raise WeightsError(f"{quoted(name)}: it is compressed; write it without compression")
        # What was never written has no bytes in the file, however much it claims.
        if data.id.get_storage_size() != data.nbytes:
            raise WeightsError(f"{quoted(name)}: shape {shape} needs {data.nbytes:,} bytes, which the file has not")
        self.bytes -= data.nbytes
        if self.bytes < 0:
            raise WeightsError("it makes more data than it holds")
        return make_array(np.asarray(data[()]).tobytes(), data.dtype, shape, False)
