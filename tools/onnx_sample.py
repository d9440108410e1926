"""A real ONNX file with inputs for it, and what the library that wrote the file says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Maker", "Sample"]


@dataclass(frozen=True, eq=False)
class Sample:
    """A model and one call of it.

    Parameters
    ----------
    model : bytes
        The file.
    inputs : mapping of str to numpy.ndarray
        What to call it with, by the names of the file's inputs.
    axis : int or None
        The axis of the first output of floating-point numbers whose largest number is the label; None where there are
        no labels.
    expected : mapping of str to numpy.ndarray
        What the library that made the network answers in float64, by the names of the file's outputs; some outputs or
        none.
    """

    model: bytes
    inputs: Mapping[str, np.ndarray]
    axis: int | None = None
    expected: Mapping[str, np.ndarray] = field(default_factory=dict)


#: Makes a sample.
Maker = Callable[[], Sample]
