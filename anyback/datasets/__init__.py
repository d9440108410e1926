"""Data sets: images and labels as plain NumPy arrays, checked before they are given out."""

from anyback.datasets._dataset import Dataset, Sample
from anyback.datasets.digits import digits
from anyback.datasets.mnist import load_mnist, mnist

__all__ = ["Dataset", "Sample", "digits", "load_mnist", "mnist"]
