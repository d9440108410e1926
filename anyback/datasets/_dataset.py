"""What a data set is: images and their labels, as plain NumPy arrays."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np

from anyback import _show
from anyback.errors import DataError

__all__ = ["Dataset", "Sample", "Split", "checked_split"]

#: The parts of a data set, for type checkers and editors.
Split: TypeAlias = Literal["train", "test"]
#: Images that a data set shows of itself in a notebook.
_SHOWN = 20


@dataclass(frozen=True, eq=False, repr=False)
class Sample:
    """One image and its class; it shows itself, inline in a notebook or as block characters on a terminal.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (height, width), or (features,).
    label : int
        The class.

    Examples
    --------
    >>> Sample(np.asarray([[0, 8, 16], [0, 4, 0]]), 7)
      ▒▒██
      ░░
    label 7
    """

    image: np.ndarray
    label: int

    def __repr__(self) -> str:
        picture = _show.blocks(self.image) if self.image.ndim == 2 else f"{self.image.size} features"
        return f"{picture}\nlabel {self.label}"

    def _repr_html_(self) -> str:
        if self.image.ndim != 2 or not self.image.size:
            return _show.caption_html(repr(self))
        return _show.flow_html([_show.image_html(self.image, f"label {self.label}", size=112)])


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

    A part of it is a data set too, and one of it is a `Sample`:

    >>> import anyback as ab
    >>> test = ab.datasets.digits("test")
    >>> test[test.labels == 3]
    Dataset(digits test: 51 images of shape (8, 8), uint8)
    >>> test[0].label
    0
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

    @overload
    def __getitem__(self, rows: int | np.integer) -> Sample: ...
    @overload
    def __getitem__(self, rows: slice | list[int] | np.ndarray) -> Dataset: ...
    def __getitem__(self, rows: Any) -> Sample | Dataset:
        """Return one sample by its number, or a part by a slice, numbers or a mask."""
        if isinstance(rows, slice) or np.ndim(rows):
            rows = rows if isinstance(rows, slice) else np.asarray(rows)
            return Dataset(self.images[rows], self.labels[rows], self.name, self.split)
        number = operator.index(rows)
        return Sample(self.images[number], int(self.labels[number]))

    def _repr_html_(self) -> str:
        said = _show.caption_html(repr(self))
        if self.images.ndim != 3 or not self.images.size:
            return said
        shown = zip(self.images[:_SHOWN], self.labels[:_SHOWN], strict=True)
        return said + _show.flow_html([_show.image_html(image, str(label), size=56) for image, label in shown])

    def __repr__(self) -> str:
        shape = self.images.shape[1:]
        return f"Dataset({self.name} {self.split}: {len(self):,} images of shape {shape}, {self.images.dtype})"


def checked_split(split: Split) -> Split:
    """Return the name of a split, or raise `DataError` where there is no such split."""
    if split not in (known := get_args(Split)):
        raise DataError(f"unknown split {str(split)[:40]!r}; known: {', '.join(known)}")
    return split
