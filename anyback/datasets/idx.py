"""The IDX format of MNIST: a magic number, a shape, and the numbers themselves, all big-endian.

Bytes 0 and 1 are zero, byte 2 names the type, byte 3 counts the axes, then comes one 32-bit size for each axis, as
the page that MNIST was first published on says at its end (yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

import math
import os
import re
import sys
import zlib
from typing import Any

import numpy as np

from anyback._files import read_bounded, shown
from anyback._kinds import seems
from anyback.errors import DataError

__all__ = ["NotIdxError", "mapped", "parse", "read"]

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 8
#: The largest file, in bytes.
_MOST_BYTES = 1 << 32
#: A compressed file may unfold to so many bytes, and to more only up to so many times its own size.
_UNFOLDED, _TIMES = 1 << 26, 100
_GZIP = b"\x1f\x8b"
_ZEROS = re.compile(rb"\0*")
#: Bytes that are unfolded at once: what is left of them at the end of each member is copied.
_CHUNK = 1 << 13
#: Members of a gzip file that may be empty; more of them are made to take time.
_MOST_EMPTY = 1000


class NotIdxError(DataError):
    """A file of another format."""


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
        raise type(error)(f"{shown(path)}: {error}") from None


def mapped(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the array in an IDX file without reading it, where it is not compressed; else as `read` does.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    numpy.ndarray
        Read-only and in the file's byte order, where it is a map of the file.

    Raises
    ------
    DataError
        If there is no such file, or it is not exactly one IDX array.
    """
    try:
        with open(path, "rb") as stream:  # noqa: PTH123  # takes any path
            head = stream.read(4 + 4 * _MOST_AXES)
            size = os.fstat(stream.fileno()).st_size
    except OSError as cause:
        raise DataError(f"{shown(path)} cannot be read: {cause.strerror or cause}") from None
    if head[:2] == _GZIP:
        return read(path)
    try:
        dtype, shape, start = _parse_header(head)
        _check_size(dtype, shape, size - start)
    except DataError as error:
        raise type(error)(f"{shown(path)}: {error}") from None
    if not math.prod(shape):  # no file of no bytes can be mapped
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape)


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
    if data[:2] == _GZIP:
        data = _unfold(data)
    dtype, shape, start = _parse_header(data)
    _check_size(dtype, shape, len(data) - start)
    array = np.frombuffer(data, dtype=dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=True)


def _check_size(dtype: np.dtype[Any], shape: tuple[int, ...], found: int) -> None:
    """Raise `DataError` where there are more or fewer bytes behind the header than it says."""
    expected = math.prod(shape) * dtype.itemsize
    if found != expected:
        what = "cut off" if found < expected else "too long"
        raise DataError(f"{what}: shape {shape} of {dtype.name} needs {expected:,} bytes, found {found:,}")


def _unfold(data: bytes) -> bytes:
    """Return the bytes inside a gzip file, never more than its IDX header claims and never too many."""
    dtype, shape, start = _parse_header(_gunzip(data, 4 + 4 * _MOST_AXES))
    claimed, most = start + math.prod(shape) * dtype.itemsize, max(_UNFOLDED, _TIMES * len(data))
    if claimed > most:
        raise DataError(f"it claims {claimed:,} bytes, more than {most:,}; unpack it with gunzip first")
    return _gunzip(data, claimed + 1)  # one more, so that what is too long is seen to be


def _gunzip(data: bytes, most: int) -> bytes:
    """Return the first bytes that a gzip file unfolds to, at most `most`, as gunzip would.

    A file may have several members, one after the other, and zeros between and after them (RFC 1952, section 2.2).
    """
    view, whole, at, empty = memoryview(data), bytearray(), 0, 0
    while at < len(data) and len(whole) < most:
        if data[at : at + 2] != _GZIP:
            raise DataError("there is more after the end of the gzip file")
        stream, before = zlib.decompressobj(wbits=31), len(whole)  # 31: a gzip header, checksum and length
        while not stream.eof and len(whole) < most:
            if at >= len(data):
                raise DataError("a gzip file without its end")
            chunk = view[at : at + _CHUNK]
            try:
                whole += stream.decompress(chunk, most - len(whole))
            except zlib.error as error:
                raise DataError(f"a damaged gzip file ({error})") from None
            at += len(chunk)
        empty += len(whole) == before
        if empty > _MOST_EMPTY:
            raise DataError(f"more than {_MOST_EMPTY:,} empty members in a gzip file; unpack it with gunzip first")
        at = _ZEROS.match(data, at - len(stream.unused_data)).end()  # type: ignore[union-attr]  # it matches anywhere
    return bytes(whole)


def _parse_header(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return the type, the shape, and where the numbers begin."""
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES or not 1 <= data[3] <= _MOST_AXES:
        expected = f"expected two zero bytes, a type and 1 to {_MOST_AXES} axes at its start"
        raise NotIdxError(f"not an IDX file: {expected}{seems(data)}")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DataError(f"cut off: {data[3]} axes need {start} bytes of header, found {len(data)}")
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    dtype = np.dtype(_TYPES[data[2]])
    # An axis of length 0 makes an array empty, and yet NumPy can hold no axes whose product is beyond an address.
    if 0 in shape and math.prod(filter(None, shape)) * dtype.itemsize > sys.maxsize:
        raise DataError(f"axes too long: no array has shape {shape}")
    return dtype, shape, start
