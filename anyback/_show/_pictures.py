"""Images without a plotting library: block characters for a terminal, small PNG files for a notebook."""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Sequence

import numpy as np

__all__ = ["blocks", "image_html", "png", "side_by_side"]


def blocks(image: np.ndarray) -> str:
    """Return an image as block characters, of about the same shape on a terminal.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (height, width), any real dtype; scaled as in `png`, and white is drawn solid.

    Returns
    -------
    str
        Lines of equal width. A small image takes a line for each row of pixels, in shades; one of more than 16
        rows takes a line for two, and its empty margins are cut off.

    Examples
    --------
    >>> import numpy as np
    >>> print(blocks(np.asarray([[0, 8, 16], [0, 4, 0]])))
      ▒▒██
      ░░
    """
    ink = _scaled(image)
    if ink.shape[0] <= 16:
        shades = np.rint(4 * ink).astype(int)
        return "\n".join("".join(" ░▒▓█"[shade] * 2 for shade in row) for row in shades)
    solid = ink > 0.4
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    if not rows.size:
        return ""
    solid = solid[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    halves = np.pad(solid, ((0, solid.shape[0] % 2), (0, 0))).astype(int)
    return "\n".join("".join(" ▄▀█"[i] for i in row) for row in 2 * halves[::2] + halves[1::2])


def side_by_side(pictures: Sequence[str], captions: Sequence[str], gap: int = 4) -> str:
    """Return pictures made of lines next to each other, each over its caption.

    Parameters
    ----------
    pictures : sequence of str
        Pictures, each of lines of equal width.
    captions : sequence of str
        One line for each.
    gap : int
        Columns between two pictures.

    Returns
    -------
    str

    Examples
    --------
    >>> print(side_by_side(["##", "#"], ["two", "one"], gap=1))
    ##  #
    two one
    """
    split = [picture.splitlines() for picture in pictures]
    height = max((len(lines) for lines in split), default=0)
    columns = []
    for lines, caption in zip(split, captions, strict=True):
        width = max(map(len, [*lines, caption]))
        columns.append([line.ljust(width) for line in [*lines, *[""] * (height - len(lines)), caption]])
    return "\n".join((" " * gap).join(row).rstrip() for row in zip(*columns, strict=True))


# -- Images -------------------------------------------------------------------------------------------


def png(image: np.ndarray, size: int = 1) -> bytes:
    r"""Return an image as a PNG file.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (height, width), any real dtype. The smallest value, or 0 where all are above, is black; the largest
        is white. What is not finite is black.
    size : int
        The picture is enlarged by a whole factor to at least this many pixels, each pixel to a square.

    Returns
    -------
    bytes
        A greyscale PNG, 8 bits a pixel.

    References
    ----------
    W3C, "Portable Network Graphics (PNG) Specification", third edition, 2025, sections 5 and 11.

    Examples
    --------
    >>> import numpy as np
    >>> png(np.eye(8))[:8]
    b'\x89PNG\r\n\x1a\n'
    """
    grey = np.rint(255 * _scaled(image)).astype(np.uint8)
    factor = -(-size // max(grey.shape))
    grey = grey.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = grey.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = grey
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8 bits, greyscale
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _scaled(image: np.ndarray) -> np.ndarray:
    """Return an image in float64, from 0 to 1."""
    values = np.asarray(image, dtype=np.float64)
    finite = np.isfinite(values)
    least, most = min(values[finite].min(initial=0.0), 0.0), values[finite].max(initial=0.0)
    values = np.where(finite, values, least) / 2 - least / 2  # halves: the whole range may not fit the type
    return values / ((most / 2 - least / 2) or 1.0)


def image_html(image: np.ndarray, caption: str = "", size: int = 64) -> str:
    """Return an image as HTML that needs no other file: a PNG inside a ``data:`` address, over its caption.

    Parameters
    ----------
    image : numpy.ndarray
        As in `png`.
    caption : str
        Plain text; it is escaped.
    size : int
        The longer side, in pixels of the screen.

    Returns
    -------
    str
    """
    data = base64.b64encode(png(image, size)).decode("ascii")
    text = html.escape(caption)
    sides = f"width:{size * image.shape[1] // max(image.shape)}px;height:{size * image.shape[0] // max(image.shape)}px"
    style = f"{sides};image-rendering:pixelated;display:block;margin:0 auto 2px"
    return (
        '<div style="text-align:center;line-height:1.2">'
        f'<img src="data:image/png;base64,{data}" alt="{text or "image"}" style="{style}">{text}</div>'
    )
