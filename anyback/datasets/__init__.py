"""Data sets: images and labels as plain NumPy arrays, checked before they are given out.

Examples
--------
Type checkers and editors know the names of the splits:

>>> which: Split = "test"
>>> digits(which)
Dataset(digits test: 500 images of shape (8, 8), uint8)
"""

from anyback.datasets._dataset import Dataset, Sample, Split
from anyback.datasets.digits import digits
from anyback.datasets.mnist import load_mnist, mnist

__all__ = ["Dataset", "Sample", "Split", "digits", "load_mnist", "mnist"]
