"""The IDX format of MNIST: a magic number, a shape, and the numbers themselves, all big-endian.

Bytes 0 and 1 are zero, byte 2 names the type, byte 3 counts the axes, then comes one 32-bit size for each axis, as
the page that MNIST was first published on says at its end (yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

import math
import os
import zlib
from typing import Any

import numpy as np

from anyback._files import read_bounded
from anyback.errors import DataError

__all__ = ["parse", "read"]

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 8
#: The largest file, and the most that a compressed one may unfold to, in bytes.
_MOST_BYTES = 1 << 32
_MOST_UNFOLDED = 1 << 30


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the array in an IDX file, compressed by gzip or not.

    Parameters
    ----------
    path : path-like
        The file; its first bytes say whether it is compressed, not its name.

    Returns
    -------
    numpy.ndarray
        Writeable, in the machine's byte order.

    Raises
    ------
    DataError
        If there is no such file, or it is not exactly one IDX array.
    """
    data = read_bounded(path, _MOST_BYTES, DataError)
    try:
        return parse(data)
    except DataError as error:
        raise DataError(f"{os.fspath(path)}: {error}") from None


def parse(data: bytes) -> np.ndarray:
    """Return the array in the bytes of an IDX file, compressed by gzip or not.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    numpy.ndarray
        Writeable, in the machine's byte order.

    Raises
    ------
    DataError
        If the bytes are not exactly one IDX array.

    Examples
    --------
    >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    array([7, 2, 1], dtype=uint8)
    """
    if data[:2] == b"\x1f\x8b":
        data = _unfold(data)
    dtype, shape, start = _parse_header(data)
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - start
    if found != expected:
        what = "cut off" if found < expected else "too long"
        raise DataError(f"{what}: shape {shape} of {dtype.name} needs {expected:,} bytes, found {found:,}")
    array = np.frombuffer(data, dtype=dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=True)


def _unfold(data: bytes) -> bytes:
    """Return the bytes inside a gzip file, never more than its IDX header claims and never too many."""
    stream = zlib.decompressobj(wbits=31)  # 31: a gzip header, checksum and length
    try:
        head = stream.decompress(data, 4 + 4 * _MOST_AXES)
        dtype, shape, start = _parse_header(head)
        claimed = start + math.prod(shape) * dtype.itemsize
        if claimed > _MOST_UNFOLDED:
            raise DataError(f"it claims {claimed:,} bytes, more than {_MOST_UNFOLDED:,}; unpack it with gunzip first")
        # One more than it claims: so that what is too long is seen to be.
        rest = stream.decompress(stream.unconsumed_tail, max(1, claimed + 1 - len(head)))
    except zlib.error as error:
        raise DataError(f"a damaged gzip file ({error})") from None
    whole = head + rest
    if len(whole) >= claimed and stream.unused_data:
        raise DataError("there is more after the end of the gzip file")
    if len(whole) == claimed and not stream.eof:
        raise DataError("a gzip file without its end")
    return whole


def _parse_header(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return the type, the shape, and where the numbers begin."""
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES or not 1 <= data[3] <= _MOST_AXES:
        raise DataError(f"not an IDX file: expected two zero bytes, a type and 1 to {_MOST_AXES} axes at its start")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DataError(f"cut off: {data[3]} axes need {start} bytes of header, found {len(data)}")
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    return np.dtype(_TYPES[data[2]]), shape, start
