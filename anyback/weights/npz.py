"""NumPy's .npz: a zip archive of .npy files, read without pickle and with every claim checked before it is obeyed.

The .npy format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import io
import math
import warnings
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from anyback.errors import WeightsError
from anyback.weights._arrays import DTYPES, checked_name, checked_shape, make_array, quoted

__all__ = ["read", "write"]

_MOST_MEMBERS = 10_000
_MEMBER = b"PK\x01\x02"  # how each begins in the archive's list
_LONGEST_HEADER = 10_000
#: Uncompressed bytes in all: more than this only in a file that is itself at least a twentieth as large.
_MOST_BYTES = 1 << 28
_MOST_RATIO = 20
_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def read(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in an .npz archive.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    dict of str to numpy.ndarray
        Each writeable, C-contiguous, in the machine's byte order.

    Raises
    ------
    WeightsError
        If the bytes are anything but an archive of arrays of numbers.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> np.savez(file, b1=np.asarray([1.0, 2.0]))
    >>> read(file.getvalue())
    {'b1': array([1., 2.])}
    """
    # Counted here first: zipfile makes an object of each, ten times as large as what it read.
    if data.count(_MEMBER) > _MOST_MEMBERS:
        raise WeightsError(f"more than {_MOST_MEMBERS:,} members")
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as archive:
            warnings.simplefilter("ignore")  # of zipfile, about names that are refused below
            return _read_members(archive, max(_MOST_BYTES, _MOST_RATIO * len(data)))
    except WeightsError:
        raise
    except Exception as error:  # zipfile and zlib have many ways to say that an archive is broken
        raise WeightsError(f"not an .npz archive: {type(error).__name__}") from None


def _read_members(archive: zipfile.ZipFile, most: int) -> dict[str, np.ndarray]:
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    if total > most:
        raise WeightsError(f"it claims {total:,} bytes, more than {most:,}, the most for a file of its size")
    arrays: dict[str, np.ndarray] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name == member.filename or not name:
            raise WeightsError(f"member {quoted(member.filename)}: expected a name that ends in .npy")
        if checked_name(name) in arrays:
            raise WeightsError(f"member {quoted(name)} is there twice")
        if member.flag_bits & 1 or member.compress_type not in _COMPRESSIONS:
            raise WeightsError(f"member {quoted(name)} is encrypted, or compressed in another way than deflate")
        with archive.open(member) as stream:
            try:
                arrays[name] = _read_npy(stream, member.file_size)
            except WeightsError as error:
                raise WeightsError(f"member {quoted(name)}: {error}") from None
    return arrays


def _read_npy(stream: IO[bytes], size: int) -> np.ndarray:
    """Return the array of an .npy file of so many bytes."""
    magic = stream.read(8)
    if len(magic) < 8 or magic[:6] != b"\x93NUMPY" or magic[6] not in (1, 2, 3) or magic[7]:
        raise WeightsError("not an .npy file")
    width = 2 if magic[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > _LONGEST_HEADER:
        raise WeightsError(f"a header of {length:,} bytes, more than {_LONGEST_HEADER:,}")
    dtype, shape, fortran = _parse_header(stream.read(length))
    claimed = 8 + width + length + math.prod(shape) * dtype.itemsize
    if claimed != size:
        raise WeightsError(f"its header claims {claimed:,} bytes, the archive holds {size:,}")
    raw = stream.read(claimed)
    if stream.read(1):
        raise WeightsError("it holds more than the archive claims")
    return make_array(raw, dtype, shape, fortran)


def _parse_header(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    try:
        fields = ast.literal_eval(header.decode("utf-8").strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise WeightsError("its header is not one of .npy") from None
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise WeightsError("its header has other fields than descr, fortran_order and shape")
    descr, fortran = fields["descr"], fields["fortran_order"]
    if type(descr) is not str or descr[:1] not in "<>|=" or descr[1:] not in DTYPES or type(fortran) is not bool:
        raise WeightsError(f"dtype {quoted(descr)}; known: {', '.join(DTYPES)}")
    return DTYPES[descr[1:]].newbyteorder(descr[:1]), checked_shape(fields["shape"]), fortran  # type: ignore[arg-type]


def write(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return an .npz archive of the arrays: uncompressed, and the same bytes for the same arrays.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        C-contiguous, in the machine's byte order.

    Returns
    -------
    bytes

    Raises
    ------
    WeightsError
        If a name or a type does not fit the format.
    """
    if len(arrays) > _MOST_MEMBERS:
        raise WeightsError(f".npz holds at most {_MOST_MEMBERS:,} arrays here; write .safetensors")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            if array.dtype.str[1:] not in DTYPES:
                raise WeightsError(f"{quoted(name)}: .npz holds no {array.dtype.name}; write .safetensors")
            if not name or "/" in name or "\\" in name or "\0" in name:
                raise WeightsError(f"{quoted(name)}: .npz needs names without a slash; write .safetensors")
            # A fixed date, the first that a zip archive can hold.
            with archive.open(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return file.getvalue()
