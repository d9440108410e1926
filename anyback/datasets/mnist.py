"""MNIST: 70,000 handwritten digits of 28 × 28 pixels, downloaded once and checked.

Y. LeCun, C. Cortes, C. J. C. Burges, *The MNIST database of handwritten digits*; licence CC BY-SA 3.0.
"""

from __future__ import annotations

import numpy as np

from anyback.datasets import _download, idx
from anyback.datasets._dataset import Dataset, Split, checked_split
from anyback.errors import DataError

__all__ = ["load_mnist", "mnist"]

_PREFIXES = {"train": "train", "test": "t10k"}
_CLASSES = 10


def mnist(split: Split = "test") -> Dataset:
    """Return MNIST, from ``ANYBACK_DATA_DIR``, from the cache, or downloaded.

    Parameters
    ----------
    split : str
        ``"train"`` (60,000 images) or ``"test"`` (10,000).

    Returns
    -------
    Dataset
        ``images`` of shape (n, 28, 28), uint8 from 0 to 255; ``labels`` of shape (n,), uint8 from 0 to 9.

    Raises
    ------
    DataError
        If there is no such split, the files cannot be downloaded, or are not what they should be.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proceedings of the
    IEEE 86 (1998).

    Examples
    --------
    >>> mnist("test").images.shape  # doctest: +SKIP
    (10000, 28, 28)
    """
    prefix = _PREFIXES[checked_split(split)]
    images = idx.read(_download.fetch(f"{prefix}-images-idx3-ubyte.gz"))
    labels = idx.read(_download.fetch(f"{prefix}-labels-idx1-ubyte.gz"))
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise DataError(f"mnist: expected images (n, 28, 28) of uint8, found {images.shape} of {images.dtype}")
    if labels.ndim != 1 or labels.dtype != np.uint8 or labels.max(initial=0) >= _CLASSES:
        raise DataError(f"mnist: expected labels (n,) of uint8 below {_CLASSES}, found {labels.shape} {labels.dtype}")
    return Dataset(images, labels, "mnist", split)


def load_mnist(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return MNIST as the book's function of this name does.

    Parameters
    ----------
    normalize : bool
        True gives float32 pixels from 0 to 1, False uint8 from 0 to 255.
    flatten : bool
        True gives images of shape (n, 784), False (n, 1, 28, 28).
    one_hot_label : bool
        True gives labels of shape (n, 10), float64, 1 at the class and 0 elsewhere; False the classes, (n,), uint8.

    Returns
    -------
    tuple of tuple of numpy.ndarray
        ``(training images, training labels), (test images, test labels)``.

    Raises
    ------
    DataError
        As `mnist` does.

    References
    ----------
    Saitoh, *Deep Learning from Scratch*, O'Reilly Japan, 2016, section 3.6.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_mnist()  # doctest: +SKIP
    >>> x_test.shape, t_test.shape  # doctest: +SKIP
    ((10000, 784), (10000,))
    """

    def arranged(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
        images, labels = data.images, data.labels
        if normalize:
            images = images.astype(np.float32) / np.float32(255)
        images = images.reshape(-1, 784) if flatten else images[:, None, :, :]
        return images, np.eye(_CLASSES)[labels] if one_hot_label else labels

    return arranged(mnist("train")), arranged(mnist("test"))
