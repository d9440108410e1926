"""An image that notebooks and terminals show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from anyback import backends
from anyback._show import blocks, png
from anyback._typing import Array
from anyback.errors import DataError

__all__ = ["Image", "as_images", "one_image"]


@dataclass(frozen=True, eq=False, repr=False)
class Image:
    """An image that is shown without matplotlib: inline in a notebook, as block characters on a terminal.

    Parameters
    ----------
    pixels : array
        Shape (height, width), or (pixels,) for a square image; of any library. The largest value is white.

    Raises
    ------
    DataError
        If `pixels` is no image.

    Examples
    --------
    >>> import numpy as np
    >>> Image(np.asarray([[0, 8, 16], [0, 4, 0]]))
      ▒▒██
      ░░
    """

    pixels: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", one_image(self.pixels))

    def __repr__(self) -> str:
        return blocks(self.pixels)

    def _repr_png_(self) -> bytes:
        return png(self.pixels, size=160)


def one_image(x: Array) -> np.ndarray:
    """Return an image as a NumPy array of shape (height, width), or raise `DataError`."""
    image = backends.to_numpy(x)
    if image.ndim == 3 and image.shape[0] == 1:  # a channel
        return image[0]
    if image.ndim == 1 and (side := math.isqrt(image.size)) ** 2 == image.size:
        image = image.reshape(side, side)
    if image.ndim != 2 or 0 in image.shape:
        raise DataError(
            f"expected an image of shape (height, width), or (pixels,) of a square one, found {image.shape}"
        )
    return image


def as_images(x: Array) -> np.ndarray:
    """Return images as a NumPy array of shape (n, height, width), or raise `DataError`."""
    images = backends.to_numpy(x)
    if images.ndim == 4 and images.shape[1] == 1:  # a channel
        images = images[:, 0]
    if images.ndim == 2 and (side := math.isqrt(images.shape[1])) ** 2 == images.shape[1]:
        images = images.reshape(-1, side, side)
    if images.ndim != 3 or 0 in images.shape[1:]:
        hint = "; of one image pass image[None]" if images.ndim < 3 else ""
        raise DataError(
            f"expected images of shape (n, height, width), or (n, pixels) of square ones, found {images.shape}{hint}"
        )
    return images
