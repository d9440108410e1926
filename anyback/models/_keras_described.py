"""A layer of Keras as it describes itself, live or in a file, and the value that goes from layer to layer.

Keras keeps the channels of images last, anyback first. Images are turned once, at the first layer that needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback.errors import OperatorError
from anyback.layers import Flatten, Permute, Reshape

__all__ = ["Described", "Sizes", "Value", "is_size"]

#: The shape of a value in Keras, the batch included; None is any size.
Sizes = tuple[int | None, ...]

_LARGEST_SIZE = 1 << 31


@dataclass(frozen=True)
class Described:
    """A layer of Keras.

    Parameters
    ----------
    kind : str
        The name of its class; empty where the class is not Keras' own.
    path : str
        Its name, behind those of the models that it is in.
    option : callable
        Takes a name and a default, and returns what the layer has under that name.
    weights : callable
        Takes the names of the weights, and returns as many arrays in the order of Keras.
    activation : str, Described or None
        Its own: the name of a function of Keras, or a layer; any other text says what was found instead.
    """

    kind: str
    path: str
    option: Callable[[str, Any], Any]
    weights: Callable[[Sequence[str]], list[np.ndarray]]
    activation: str | Described | None = None

    def only(self, **options: Any) -> None:
        """Raise `OperatorError` where an option, if the layer has it, is not the one value that is converted."""
        for name, wanted in options.items():
            if (found := self.option(name, wanted)) != wanted:
                raise _refused(name, found, f"{wanted!r} is converted")

    def flag(self, name: str, default: bool) -> bool:
        """Return an option that is true or false."""
        if not isinstance(found := self.option(name, default), bool):
            raise _refused(name, found, "True and False are converted")
        return found

    def number(self, name: str, default: float) -> float:
        """Return an option that is a finite number; None is the default."""
        found = self.option(name, default)
        found = default if found is None else found
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not abs(found) < math.inf:
            raise _refused(name, found, "a number is converted")
        try:
            return float(found)
        except OverflowError:
            raise _refused(name, found, "a number is converted") from None

    def sizes(self, name: str, axes: int, default: int | None = 1) -> tuple[int, ...]:
        """Return an option that is a whole number above 0, for all axes or for each."""
        found = self.option(name, default)
        each = (found,) * axes if isinstance(found, int) else tuple(found) if isinstance(found, (list, tuple)) else ()
        if len(each) != axes or not all(is_size(size) for size in each):
            raise _refused(name, found, f"whole numbers above 0 for {axes} axes are converted")
        return each


def is_size(found: Any) -> bool:
    """Return whether something is a whole number above 0 that an axis may have."""
    return isinstance(found, int) and not isinstance(found, bool) and 0 < found < _LARGEST_SIZE


def _refused(name: str, found: Any, converted: str) -> OperatorError:
    # Of a file: short, and with nothing in it that a terminal would obey.
    return OperatorError(f"{name}={ascii(found)[:60]} ({converted})")


class Value:
    """What comes out of the layers that were converted so far.

    Parameters
    ----------
    shape : tuple of (int or None)
        Its shape in Keras, the batch included.

    Attributes
    ----------
    layers : list
        The layers of anyback.
    flattened : tuple of int or None
        The shape in Keras of images that were flattened with their channels first; None where there are none.
    flat_next : bool
        Whether the next weights behind a layer are those of a Dense, which can take another order of features.
    """

    def __init__(self, shape: Sizes) -> None:
        self.shape, self.layers = shape, list[Any]()
        self.flattened: tuple[int, ...] | None = None
        self.flat_next = False
        self._turned = False  # whether the channels come first
        sizes = tuple(size for size in shape[1:] if size is not None)
        if self.axes > 0 and len(sizes) == self.axes + 1:
            self.layers.append(Reshape(sizes))  # says what one image looks like

    @property
    def axes(self) -> int:
        """How many axes lie between the batch and the channels."""
        return len(self.shape) - 2

    def images(self) -> None:
        """Put the channels first, where there are axes of images."""
        if self.axes > 0 and not self._turned:
            self.layers.append(Permute((self.axes + 1, *range(1, self.axes + 1))))
            self._turned = True

    def as_keras(self) -> None:
        """Put the channels last."""
        if self._turned:
            self.layers.append(Permute((*range(2, self.axes + 2), 1)))
            self._turned = False

    def flatten(self) -> None:
        """Put all numbers of a sample along one axis: in Keras' order, or in ours if the next layer is a Dense."""
        sizes = tuple(size for size in self.shape[1:] if size is not None)
        if self._turned and self.flat_next and len(sizes) == self.axes + 1:
            self.flattened = sizes
            self._turned = False
        self.as_keras()
        self.layers.append(Flatten())

    def flat(self) -> None:
        """Drop the axes of images, each of which has size 1."""
        self.layers.append(Flatten())
        self._turned = False
