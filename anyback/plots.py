"""What people would rather look at than read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["blocks", "side_by_side"]


def blocks(image: np.ndarray) -> str:
    """Return an image as block characters, of about the same shape on a terminal.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (height, width), any real dtype; the brightest pixel is drawn solid.

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
    ink = np.asarray(image, dtype=np.float64)
    ink = ink / (ink.max(initial=0.0) or 1.0)
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
