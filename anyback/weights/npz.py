"""NumPy's .npz: a zip archive of .npy files, read without pickle and with every claim checked before it is obeyed.

The .npy format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from anyback.errors import WeightsError
from anyback.weights._arrays import DTYPES, checked_name, checked_shape, make_array, quoted

__all__ = ["read", "write"]

_MOST_MEMBERS = 10_000
_PIECE = 1 << 20
_MEMBER = b"PK\x01\x02"  # how each begins in the archive's list
_LONGEST_HEADER = 10_000
#: Uncompressed bytes in all: more than this only in a file that is itself at least a twentieth as large.
_MOST_BYTES = 1 << 28
_MOST_RATIO = 20
#: A header of .npy: a dict of Python's with three fields. Each pattern reads a byte once.
_BEGIN = re.compile(rb"\s*\{")
_FIELD = re.compile(
    rb"""\s*(?P<quote>['"])(?P<key>\w{1,20})(?P=quote)\s*:\s*"""
    rb"""(?P<value>'[^'\\]*'|"[^"\\]*"|\([\w\s,.-]*\)|\[[^\[\]]*\]|[\w.-]+)\s*(?:,|(?=\}))"""
)
_END = re.compile(rb"\s*\}\s*\Z")
_QUOTES = "'\""
_MOST_COMMAS = 64
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
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
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
    # Newer versions of zipfile warn of such members, one of which may be read again and again.
    if len({member.header_offset for member in members}) < len(members):
        raise WeightsError("not an .npz archive: two members begin at the same byte")
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
    # In pieces: zipfile's own way to read much adds piece to piece, and copies all of them each time.
    raw = bytearray(math.prod(shape) * dtype.itemsize)
    for start in range(0, len(raw), _PIECE):
        piece = stream.read(min(_PIECE, len(raw) - start))
        raw[start : start + len(piece)] = piece
        if len(piece) < min(_PIECE, len(raw) - start):
            raise WeightsError("it holds less than the archive claims")
    if stream.read(1):
        raise WeightsError("it holds more than the archive claims")
    return make_array(raw, dtype, shape, fortran)


def _parse_header(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Return what a header says, by a look at each byte once: Python's own parser takes far longer for some bytes."""
    fields: dict[bytes, bytes] = {}
    rest = _BEGIN.match(header)
    position = rest.end() if rest else len(header)
    while field := _FIELD.match(header, position):
        if field["key"] in fields or len(fields) == 3:
            raise WeightsError("its header has other fields than descr, fortran_order and shape")
        fields[field["key"]] = field["value"]
        position = field.end()
    if not rest or not _END.match(header, position):
        raise WeightsError("its header is not one of .npy")
    if set(fields) != {b"descr", b"fortran_order", b"shape"}:
        raise WeightsError("its header has other fields than descr, fortran_order and shape")
    descr = fields[b"descr"][1:-1].decode("latin1")
    fortran = {b"True": True, b"False": False}.get(fields[b"fortran_order"])
    if fields[b"descr"][:1] not in b"'\"" or descr[:1] not in tuple("<>|=") or descr[1:] not in DTYPES:
        raise WeightsError(
            f"dtype {quoted(fields[b'descr'].decode('latin1').strip(_QUOTES))}; known: {', '.join(DTYPES)}"
        )
    if fortran is None:
        raise WeightsError("its fortran_order is neither True nor False")
    return DTYPES[descr[1:]].newbyteorder(descr[:1]), checked_shape(_sizes(fields[b"shape"])), fortran  # type: ignore[arg-type]


def _sizes(value: bytes) -> Any:
    """Return a header's shape; what is no whole number in it is None."""
    if value[:1] not in b"([" or value.count(b",") > _MOST_COMMAS:
        return None
    sizes = [size.strip().removesuffix(b"L") for size in value[1:-1].split(b",")]
    if sizes[-1] == b"" and (len(sizes) > 1 or value == b"()"):  # the comma at the end
        sizes.pop()
    elif len(sizes) == 1 and value[:1] == b"(":  # (2) is no tuple
        return None
    return tuple(int(size) if size.isdigit() and len(size) < 20 else None for size in sizes)


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
