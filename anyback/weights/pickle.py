"""Pickled dicts of NumPy arrays, read as data: nothing in a file is ever called, imported or looked up.

The interpreter is in `anyback.weights._machine`: it knows the opcodes and names that such dicts are made of, and no
other.
"""

from __future__ import annotations

import numpy as np

from anyback.weights._machine import Machine, arrays_of

__all__ = ["read"]


def read(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in a pickled dict.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    dict of str to numpy.ndarray
        Each writeable, C-contiguous, in the machine's byte order. NumPy scalars become arrays of shape ().

    Raises
    ------
    WeightsError
        If the bytes are anything but a pickled dict of names to arrays of numbers.

    Examples
    --------
    >>> import pickle
    >>> read(pickle.dumps({"b1": np.asarray([1.0, 2.0])}))
    {'b1': array([1., 2.])}
    """
    return arrays_of(Machine(data), "a pickled dict of arrays")
