"""What a file is, whatever it is called: the first bytes say so."""

from __future__ import annotations

import re

__all__ = ["kind_of", "seems"]

_LOOKED_AT = 1024  # bytes

#: How a file begins -> what it is, in words. The first pattern that fits holds.
_KINDS = {
    rb"version https://git-lfs": "a Git LFS pointer",
    rb"(?i)(?:\xef\xbb\xbf)?\s*<(?:[^\0]*<)?(?:!doctype html|html|head|body|title)\b": "an HTML page",
    rb"(?:\xef\xbb\xbf)?\s*<\?xml": "XML",
    rb"(?s)PK\x03\x04.{26}[^\0]*?(?:data\.pkl|byteorder|\.format_version)": "a PyTorch archive",
    rb"(?s)PK\x03\x04.{26}(?:metadata|config)\.json": "a Keras archive",
    rb"(?s)PK\x03\x04.{26}[^\0]*?\.npy": "an .npz archive",
    rb"PK[\x03\x05]": "a zip archive",
    rb"(?s)\x80.\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.": "a legacy PyTorch file",
    rb"\x93NUMPY": "a NumPy .npy file",
    rb"\x89HDF\r?\n": "an HDF5 file",
    rb"\x1f\x8b": "a gzip file",
    rb"BZh[1-9]": "a bzip2 file",
    rb"\xfd7zXZ\0": "an xz file",
    rb"\x28\xb5\x2f\xfd": "a Zstandard file",
    rb"7z\xbc\xaf": "a 7z archive",
    rb"Rar!": "a RAR archive",
    rb"\x78[\x01\x5e\x9c\xda]": "a zlib stream",
    rb"(?s).{257}ustar": "a tar archive",
    rb"\x89PNG\r?\n": "a PNG picture",
    rb"\xff\xd8\xff": "a JPEG picture",
    rb"GIF8[79]a": "a GIF picture",
    rb"%PDF-": "a PDF",
    rb"PAR1": "a Parquet file",
    rb"MATLAB 5\.0": "a MATLAB file",
    rb"GGUF": "a GGUF file",
    rb"(?s).{4}TFL3": "a TensorFlow Lite model",
    rb"\0\0[\x08\x09\x0b-\x0e][\x01-\x04]": "an IDX file",
    rb'(?s).{5}\0\0\0\{\s*["}]': "a safetensors file",
    rb"\x08[\x01-\x14](?:\x12[\x01-\x40][ -~]|\x3a)": "an ONNX model",
    rb"\x80[\x02-\x05](?:\x95|[^\0-\x08\xf8-\xff])": "a pickle",
    rb"[}\]]q\0|\((?:[dlt]p[0-9]|lp|dq|[SVIXKUF(c])|c[\w.]+\r?\n\w+\r?\n": "a pickle",
    rb'(?:\xef\xbb\xbf)?\s*(?:\{\s*["}]|\[\s*[-"\[{\d\]tfn])': "JSON",
    rb"\0+\Z": "nothing but zero bytes",
    rb"[\t\n\r -~]+\Z": "text",
}

#: What to do about kinds that are never what was meant, whoever reads them.
_CURES = {
    "empty": "get it again",
    "nothing but zero bytes": "get it again: it was not written or downloaded to its end",
    "a Git LFS pointer": "run `git lfs pull` to get the file that it stands for",
    "an HTML page": "open the address in a browser, and download the file itself",
}


def kind_of(data: bytes) -> str:
    r"""Return what a file seems to be by its first bytes, in words; the empty string where nothing is known.

    Parameters
    ----------
    data : bytes
        The file, or its first bytes.

    Returns
    -------
    str
        Such as "a gzip file", "an HTML page" or "empty".

    Examples
    --------
    >>> kind_of(b"<!DOCTYPE html><title>404</title>")
    'an HTML page'
    >>> kind_of(b"\x1f\x8b\x08")
    'a gzip file'
    >>> kind_of(b"")
    'empty'
    """
    if not data:
        return "empty"
    begin = bytes(data[:_LOOKED_AT])
    return next((kind for pattern, kind in _KINDS.items() if re.match(pattern, begin)), "")


def seems(data: bytes, **cures: str) -> str:
    """Return what a file seems to be and what to do about it, to end an error message with, or the empty string.

    Parameters
    ----------
    data : bytes
        The file, or its first bytes.
    **cures : str
        What to do, by a word of the kind in small letters: ``gzip="unpack it"``. Kinds that are never what was
        meant (an HTML page, a Git LFS pointer, an empty file) have a cure already.

    Returns
    -------
    str

    Examples
    --------
    >>> seems(b"")
    '; it is empty: get it again'
    >>> seems(b"BZh9", bzip2="unpack it first")
    '; it seems to be a bzip2 file: unpack it first'
    """
    kind = kind_of(data)
    if not kind:
        return ""
    words = kind.lower().replace(".", " ").split()
    cure = _CURES.get(kind) or next((cures[word] for word in words if word in cures), "")
    said = f"; it is {kind}" if kind in ("empty", "nothing but zero bytes") else f"; it seems to be {kind}"
    return f"{said}: {cure}" if cure else said
