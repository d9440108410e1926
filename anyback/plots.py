"""What people would rather look at than read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["blocks", "side_by_side"]


def blocks(image: np.ndarray) -> str:
    """Return an image as block characters, two pixels high and one wide for each.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (height, width), any real dtype; the brightest pixel is drawn solid.

    Returns
    -------
    str
        Lines of equal width; empty margins are cut off.

    Examples
    --------
    >>> import numpy as np
    >>> print(blocks(np.asarray([[0, 9, 9, 0], [0, 9, 0, 0], [0, 0, 9, 0]])))
    █▀
     ▀
    """
    ink = np.asarray(image, dtype=np.float64)
    ink = ink > 0.4 * ink.max() if ink.size and ink.max() > 0 else np.zeros(ink.shape, dtype=bool)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not rows.size:
        return ""
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ink = np.pad(ink, ((0, ink.shape[0] % 2), (0, 0)))
    return "\n".join(
        "".join(" ▄▀█"[2 * upper + lower] for upper, lower in zip(above, below, strict=True))
        for above, below in zip(ink[::2].astype(int), ink[1::2].astype(int), strict=True)
    )


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
