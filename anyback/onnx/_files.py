"""ONNX files on the disk, which are mapped into memory, and the files beside them that hold their tensors."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anyback._files import shown
from anyback._kinds import kind_of
from anyback.errors import WeightsError
from anyback.onnx._checks import check_model
from anyback.onnx._messages import model_of
from anyback.onnx._model import Model
from anyback.onnx._wire import Wire

__all__ = ["parse_model", "read_model"]

#: The most bytes of a file: the format itself ends at 2 GB, a file of tensors beside it may be larger.
MOST_BYTES, MOST_EXTERNAL_BYTES = 1 << 31, 1 << 38
#: The entries by which a tensor says where its bytes are in another file.
_KEYS = {"location", "offset", "length", "checksum"}


def read_model(path: str | os.PathLike[str]) -> Model:
    """Return the model in an ONNX file.

    The file is mapped into memory; large tensors stay there until they are used.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Model

    Raises
    ------
    WeightsError
        If it is no sound model: the error names the file, what was expected and what was found.
    """
    path = Path(path)
    data = _mapped(path, MOST_BYTES, follow=True)
    try:
        return _parsed(data, _Beside(path.resolve().parent))
    except WeightsError as error:
        raise WeightsError(f"{shown(path)}: {error}") from None


def parse_model(data: bytes) -> Model:
    """Return the model in the bytes of an ONNX file, or raise `WeightsError` where they hold none."""
    return _parsed(data, None)


def _parsed(data: Any, beside: _Beside | None) -> Model:
    if not len(data):
        raise WeightsError("not an ONNX model: it is empty")
    head = bytes(data[:1024])
    try:
        model = model_of(Wire(data), len(data), _no_other_file if beside is None else beside.bytes)
    except WeightsError as error:
        kind = kind_of(head)
        raise WeightsError(f"{error}; it seems to be {kind}" if kind and "ONNX" not in kind else str(error)) from None
    check_model(model)
    return model


def _no_other_file(entries: Mapping[str, str]) -> np.ndarray:
    raise WeightsError("its tensors are in another file; load it by its path")


def _mapped(path: Path, limit: int, follow: bool) -> Any:
    """Return the bytes of a regular file, mapped into memory, or raise `WeightsError`."""
    name = shown(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    flags |= 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as cause:
        raise WeightsError(f"{name} cannot be read: {getattr(cause, 'strerror', None) or cause}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError(f"{name} is not a regular file; expected one")
        if not follow and status.st_nlink > 1:
            raise WeightsError(f"{name} has several names on the disk; expected a file of its own")
        if status.st_size > limit:
            raise WeightsError(f"{name} is larger than {limit:,} bytes, the most that is read")
        if not status.st_size:
            return b""
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except OSError as cause:
        raise WeightsError(f"{name} cannot be read: {cause.strerror or cause}") from None
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


class _Beside:
    """The files beside a model, in its folder, that hold the bytes of its tensors."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, np.ndarray] = {}

    def bytes(self, entries: Mapping[str, str]) -> np.ndarray:
        """Return the bytes that a tensor says are in another file."""
        unknown = sorted(entries.keys() - _KEYS)
        place = entries.get("location", "")
        if unknown or not place:
            raise WeightsError(f"a tensor in another file says {unknown or 'no location'}; known: {sorted(_KEYS)}")
        if place not in self._opened:
            self._opened[place] = np.frombuffer(_mapped(self._path(place), MOST_EXTERNAL_BYTES, follow=False), np.uint8)
        whole = self._opened[place]
        offset = self._number(entries.get("offset", "0"))
        length = self._number(entries["length"]) if "length" in entries else len(whole) - offset
        if offset > len(whole) or length < 0 or length > len(whole) - offset:
            raise WeightsError(f"a tensor lies at byte {offset:,} of {place[:80]!r}, which has {len(whole):,}")
        return whole[offset : offset + length]

    def _path(self, place: str) -> Path:
        """Return the path of a file in the folder of the model, or raise `WeightsError` where it is elsewhere."""
        said = place[:80]
        if "\\" in place or "\0" in place or place.startswith("/") or ":" in place:
            raise WeightsError(f"a tensor is said to be in {said!r}; expected a file in the folder of the model")
        path = self._folder / place
        if ".." in Path(place).parts or path.resolve() != path:
            raise WeightsError(f"a tensor is said to be in {said!r}, which leads out of the folder of the model")
        return path

    @staticmethod
    def _number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise WeightsError(f"a tensor in another file has the offset or length {text[:40]!r}")
        return int(text)
