"""What a data set is: images and their labels, as plain NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anyback.errors import DataError

__all__ = ["Dataset", "checked_split"]

SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and the classes they belong to.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (n, height, width), or (n, features).
    labels : numpy.ndarray, integer
        Shape (n,).
    name, split : str
        What they are, such as ``"mnist"`` and ``"test"``.

    Raises
    ------
    DataError
        If there are not as many labels as images.

    Examples
    --------
    >>> Dataset(np.zeros((3, 8, 8), dtype=np.uint8), np.asarray([7, 2, 1]), "digits", "test")
    Dataset(digits test: 3 images of shape (8, 8), uint8)
    """

    images: np.ndarray
    labels: np.ndarray
    name: str
    split: str

    def __post_init__(self) -> None:
        images, labels = np.shape(self.images), np.shape(self.labels)
        if not images or not labels or images[0] != labels[0]:
            raise DataError(f"{self.name}: expected one label for each image, found images {images}, labels {labels}")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = self.images.shape[1:]
        return f"Dataset({self.name} {self.split}: {len(self):,} images of shape {shape}, {self.images.dtype})"


def checked_split(split: str) -> str:
    """Return the name of a split, or raise `DataError` where there is no such split."""
    if split not in SPLITS:
        raise DataError(f"unknown split {str(split)[:40]!r}; known: {', '.join(SPLITS)}")
    return split
