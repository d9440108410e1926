"""State dicts as ``torch.save`` writes them, made without PyTorch: right ones, and ones that claim anything."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

STORAGES = {
    "f2": "HalfStorage",
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "i1": "CharStorage",
    "i2": "ShortStorage",
    "i4": "IntStorage",
    "i8": "LongStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}
ORDERED = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: object) -> bytes:
    if isinstance(value, int) and not isinstance(value, bool):
        return b"\x8a\x08" + struct.pack("<q", max(min(value, 2**63 - 1), -(2**63)))
    return {None: b"N", True: b"\x88", False: b"\x89"}.get(value, b"G" + struct.pack(">d", 1.5))  # type: ignore[call-overload]


def numbers(values: Sequence[object]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(kind: str = "FloatStorage", key: str = "0", length: object = 6, place: bytes = text("cpu")) -> bytes:
    return b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + place + number(length) + b"tQ"


def tensor(
    held: bytes = storage(),
    offset: object = 0,
    sizes: Sequence[object] = (2, 3),
    strides: Sequence[object] = (3, 1),
    end: bytes = b"\x89" + ORDERED,
) -> bytes:
    """Return the part of a pickle that makes a tensor; by default, a right one of six numbers."""
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + held + number(offset)
    return made + numbers(sizes) + numbers(strides) + end + b"tR"


def entries(items: Mapping[str, bytes]) -> bytes:
    """Return the program of a dict of entries, with what a state dict notes of its modules."""
    notes = b"}" + text("_metadata") + ORDERED + b"sb"
    return b"\x80\x02" + ORDERED + b"(" + b"".join(text(k) + v for k, v in items.items()) + b"u" + notes + b"."


def archive(
    program: bytes,
    parts: Mapping[str, bytes] | None = None,
    *,
    order: bytes | None = b"little",
    root: str = "archive",
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """Return the zip archive of a pickle and of storages; by default one of six numbers of float32."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr(f"{root}/data.pkl", program)
        if order is not None:
            made.writestr(f"{root}/byteorder", order)
        for key, raw in ({"data/0": np.arange(6, dtype="<f4").tobytes()} if parts is None else parts).items():
            made.writestr(f"{root}/{key}", raw)
        made.writestr(f"{root}/version", b"3\n")
    return file.getvalue()


def state_dict(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the file of arrays."""
    items, parts = {}, {}
    for i, (name, array) in enumerate(arrays.items()):
        plain = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        held = storage(STORAGES[plain.dtype.str[1:]], str(i), plain.size)
        items[name] = tensor(held, 0, plain.shape, [step // plain.itemsize for step in plain.strides])
        parts[f"data/{i}"] = plain.tobytes()
    return archive(entries(items), parts)
