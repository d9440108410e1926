"""Text as a stream can show it, and plain data as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["encodable", "finite", "json_text"]

#: ASCII for what is drawn here and in the tables of measurements, where a stream lacks it.
_ASCII = {
    **dict(zip("░▒▓█▄▀▶", ".:+#.'>", strict=True)),
    **dict.fromkeys("▏▎▍▌▋▊▉", "-"),
    **dict(zip("µ×−–’…", ("u", "x", "-", "-", "'", "..."), strict=True)),
}


def encodable(text: str, encoding: str | None) -> str:
    r"""Return text as a stream can show it.

    Parameters
    ----------
    text : str
        Any text, lone surrogates of a file's name included.
    encoding : str or None
        The stream's; None is one that takes any text.

    Returns
    -------
    str
        The text itself where the encoding has all of it. What it lacks is drawn in ASCII, or escaped as in Python.

    Examples
    --------
    >>> print(encodable("▄█▄ é 出力", "cp1252"))
    .#. é \u51fa\u529b
    """
    if encoding is None or _has(encoding, text):
        return text
    return "".join(
        c if _has(encoding, c) else _ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text
    )


def _has(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def finite(value: Any) -> Any:
    """Return plain data with None in place of numbers that JSON has none for: nan and the infinities.

    Parameters
    ----------
    value : dict, list, tuple, str, number, bool or None
        Plain data, at any depth.

    Returns
    -------
    of the same kind

    Examples
    --------
    >>> finite({"accuracy": float("nan"), "errors": [0.5, float("inf")]})
    {'accuracy': None, 'errors': [0.5, None]}
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any, indent: int | None = None) -> str:
    """Return plain data as JSON that every reader of JSON takes; see `finite`."""
    return json.dumps(finite(value), indent=indent, allow_nan=False)
