"""1,797 handwritten digits of 8 × 8 pixels that come with the package: nothing is downloaded.

E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, licence CC BY 4.0, in the form of scikit-learn's ``load_digits``; the file is made
by ``tools/make_digits.py``, which adds the split.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anyback.datasets._dataset import Dataset, Split, checked_split

__all__ = ["digits"]


def digits(split: Split = "test") -> Dataset:
    """Return the embedded digits: small, and always at hand.

    Parameters
    ----------
    split : str
        ``"train"`` (1,297 images, on which ``digits-mlp`` was trained) or ``"test"`` (500 others).

    Returns
    -------
    Dataset
        ``images`` of shape (n, 8, 8), uint8 from 0 to 16; ``labels`` of shape (n,), uint8 from 0 to 9.

    Raises
    ------
    DataError
        If there is no such split.

    Notes
    -----
    The split is at random within each class, so the same people wrote digits of both parts.

    References
    ----------
    Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.

    Examples
    --------
    >>> test = digits("test")
    >>> test.images.shape, test.labels[:5]
    ((500, 8, 8), array([0, 1, 4, 5, 8], dtype=uint8))
    """
    wanted = checked_split(split)
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        chosen = file["test"] == (wanted == "test")
        return Dataset(file["images"][chosen], file["labels"][chosen], "digits", wanted)
