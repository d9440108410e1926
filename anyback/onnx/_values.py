"""The values of names while a graph becomes a network, and the network that is being made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anyback.network import Builder
from anyback.onnx._plumbing import constant, to_device, to_host

__all__ = ["ROWS", "Known", "Made", "Making", "Value", "is_fixed", "sizes_of"]

#: How many rows the first input has while a graph becomes a network, beyond all sizes that a file can hold; the others
#: have fewer, each another number. So a size that is much smaller is the same for every number of rows.
ROWS = (1 << 31) - 1


def is_fixed(sizes: Any) -> bool:
    """Return whether sizes, found for `ROWS` rows, are the same for any number of rows."""
    return bool(np.all(np.abs(sizes) < ROWS >> 1))


@dataclass(frozen=True, eq=False)
class Known:
    """A value that is known when the file is loaded: a NumPy array, a list of them, or None for an empty optional.

    Parameters
    ----------
    value : numpy.ndarray, list or None
        What it is.
    held : str
        ONNX's name of its type where the array holds it in another type, else "".
    """

    value: Any
    held: str = ""

    @property
    def is_numbers(self) -> bool:
        """Whether it is an array of numbers, which can be on a device."""
        return isinstance(self.value, np.ndarray) and self.value.dtype.kind in "biufc"


@dataclass(frozen=True, eq=False)
class Made:
    """A value that is computed when the network runs.

    Parameters
    ----------
    number : int
        Its number in `making`.
    making : Making
        The network or the body that computes it, or is given it.
    host : bool
        Whether it is a NumPy array on the host, whatever library computes: what depends on shapes alone.
    held : str
        ONNX's name of its type where the array holds it in another type, else "".
    sizes : numpy.ndarray or None
        Of sizes on the host: what they are for `ROWS` rows, where that is known.
    """

    number: int
    making: Making
    host: bool = False
    held: str = ""
    sizes: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The whole shape for `ROWS` rows; None where it is not known."""
        return self.making.into.shape_of(self.number)


Value = Known | Made


def sizes_of(value: Value | None) -> Any:
    """Return what a value is for `ROWS` rows, where it is known or holds sizes; else None."""
    return None if value is None else value.value if isinstance(value, Known) else value.sizes


@dataclass(eq=False)
class Making:
    """A network that is being made, or a body inside it, which takes values of the outer network as inputs.

    Parameters
    ----------
    parent : Making or None
        For a body, the network or body around it.
    """

    parent: Making | None = None
    into: Builder = field(default_factory=lambda: Builder(0, None))
    #: For a body: numbers in the parent of the values that it is given beside its own inputs, and theirs here.
    captured: dict[int, int] = field(default_factory=dict)
    _constants: dict[int, int] = field(default_factory=dict)
    _moved: dict[tuple[int, str], int] = field(default_factory=dict)
    _held: list[Known] = field(default_factory=list)  # or another object might get the identity of one

    def number(self, value: Value) -> int:
        """Return the number of a value in this network; a known value becomes an array of the outermost network."""
        if isinstance(value, Made) and value.making is self:
            return value.number
        if isinstance(value, Known) and not value.is_numbers:
            return self.constant(value)
        if self.parent is None:
            found = self.into.array(value.value if isinstance(value, Known) else None)
            if found is None:
                raise AssertionError("a value of another network")
            return found
        outer = self.parent.number(value)
        if outer not in self.captured:
            self.captured[outer] = self.into.input(self.parent.into.shape_of(outer))
        return self.captured[outer]

    def constant(self, known: Known) -> int:
        """Return the number of a call that gives a known value on the host."""
        if id(known) not in self._constants:
            self._held.append(known)
            self._constants[id(known)] = self.into.call(constant, value=known.value)
        return self._constants[id(known)]

    def on_host(self, value: Value) -> int:
        """Return the number of a value as a NumPy array on the host."""
        if isinstance(value, Known):
            return self.constant(value)
        return self.number(value) if value.host else self._once(self.number(value), to_host, ())

    def on_device(self, value: Value, like: int) -> int:
        """Return the number of a value as an array of the library and on the device of value `like`."""
        if isinstance(value, Made) and value.host:
            return self._once(self.number(value), to_device, (like,))
        return self.number(value)

    def _once(self, number: int, op: Any, others: tuple[int, ...]) -> int:
        key = number, op.name
        if key not in self._moved:
            self._moved[key] = self.into.call(op, number, *others)
        return self._moved[key]
