"""The safetensors format, by its own library, after a check of the header.

A file is eight bytes with the length of a header, the header as JSON, and the bytes of the arrays:
https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import collections
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from anyback.errors import WeightsError
from anyback.weights._arrays import DTYPES, bfloat16, checked_name, checked_shape, make_array, quoted

__all__ = ["metadata", "read", "write"]

_LONGEST_HEADER = 10_000_000
#: The format's names of types -> those that weights may have; bfloat16 comes with the package ml_dtypes.
_TYPES = {
    "BOOL": "b1",
    **{f"I{8 * n}": f"i{n}" for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": f"u{n}" for n in (1, 2, 4, 8)},
    **{f"F{8 * n}": f"f{n}" for n in (2, 4, 8)},
}


def read(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in a safetensors file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    dict of str to numpy.ndarray
        Each writeable, C-contiguous, in the machine's byte order; bfloat16 by the package ml_dtypes.

    Raises
    ------
    WeightsError
        If the bytes are anything but arrays of numbers in this format.

    Examples
    --------
    >>> read(write({"b1": np.asarray([1.0, 2.0])}))
    {'b1': array([1., 2.])}
    """
    # Not the library's form for NumPy, of which only some versions know bfloat16, and which takes any byte for a bool.
    from safetensors import SafetensorError, deserialize

    header = _checked_header(data)
    try:
        parts = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError, TypeError, OverflowError) as error:
        raise WeightsError(f"not a safetensors file: {quoted(str(error), 200)}") from None
    found = {}
    for name, entry in header.items():  # in the order of the file: the library's own is a new one each time
        try:
            found[name] = make_array(parts[name]["data"], _dtype(entry["dtype"]), tuple(entry["shape"]), False)
        except WeightsError as error:
            raise WeightsError(f"{quoted(name)}: {error}") from None
    return found


def metadata(data: bytes) -> dict[str, str]:
    """Return the texts that a safetensors file holds beside its arrays, by name.

    Parameters
    ----------
    data : bytes
        The whole file, which `read` has read.

    Returns
    -------
    dict of str to str
        What is there but is no text is left out: other programs may write what they like.

    Examples
    --------
    >>> metadata(write({"b1": np.asarray([1.0, 2.0])}, {"by": "hand"}))
    {'by': 'hand'}
    """
    found = _header(data).get("__metadata__")
    texts = found.items() if isinstance(found, dict) else ()
    return {name: text for name, text in texts if isinstance(text, str)}


def _dtype(name: str) -> np.dtype[Any]:
    if name in _TYPES:
        return DTYPES[_TYPES[name]].newbyteorder("<")
    return bfloat16()


def _header(data: bytes) -> dict[str, Any]:
    """Return the header, a JSON object, or raise `WeightsError`."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _LONGEST_HEADER):
        raise WeightsError("not a safetensors file: its header is longer than the file, or than 10 MB")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_without_duplicates)
    except WeightsError:  # which is a ValueError too
        raise
    except (ValueError, RecursionError):
        raise WeightsError("not a safetensors file: its header is not JSON") from None
    if not isinstance(header, dict):
        raise WeightsError("not a safetensors file: its header is not a JSON object")
    return header


def _checked_header(data: bytes) -> dict[str, dict[str, Any]]:
    """Return the header's entries for arrays, or raise `WeightsError`."""
    header = _header(data)
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise WeightsError(f"{quoted(name)}: expected dtype, shape and data_offsets")
        if entry["dtype"] not in (*_TYPES, "BF16"):
            known = ", ".join((*_TYPES, "BF16"))
            raise WeightsError(f"{quoted(name)}: dtype {quoted(entry['dtype'])}; known: {known}")
        checked_name(name)
        checked_shape(entry["shape"])
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = collections.Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise WeightsError(f"not a safetensors file: {quoted(twice)} is there twice")
    return found


def write(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str] | None = None) -> bytes:
    """Return a safetensors file of the arrays.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        C-contiguous, in the machine's byte order.
    texts : mapping of str to str or None
        What the file holds beside them, by name.

    Returns
    -------
    bytes

    Raises
    ------
    WeightsError
        If a type does not fit the format.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    if "__metadata__" in arrays:
        raise WeightsError(".safetensors has no place for an array named '__metadata__'; rename it")
    known = {np.dtype(code).name for code in _TYPES.values()} | {"bfloat16"}
    if unknown := sorted({array.dtype.name for array in arrays.values()} - known):
        raise WeightsError(f".safetensors holds no {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    try:
        data = save(dict(arrays), metadata=dict(texts) if texts else None)
    except SafetensorError as error:
        raise WeightsError(f".safetensors does not hold these arrays: {quoted(str(error), 200)}") from None
    if int.from_bytes(data[:8], "little") > _LONGEST_HEADER:
        raise WeightsError("too many names or texts for .safetensors: its header would be longer than 10 MB")
    return data
