"""One call of an op, and the sample shapes that an op takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anyback.numbers import FLOATS
from anyback.ops import Op
from anyback.plan import Shape

__all__ = ["Call", "Sample", "fits", "known", "taken"]

#: The shape of a sample; None stands for a size that may be any.
Sample = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an op.

    Parameters
    ----------
    op : Op
        The op that is called.
    arguments : tuple of (int or None)
        Numbers of values, in the op's own order: the inputs of the network, then its arrays, then the results of
        earlier calls. None is an absent argument.
    results : int
        How many values the call gives.
    attributes : mapping of str to value
        The op's other arguments, by name.
    name : str
        The name of the call in tables; empty for the op's name.
    source : str
        The name of the call in the network's file.
    """

    op: Op
    arguments: tuple[int | None, ...]
    results: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    source: str = ""

    def retyped(self, dtype: str) -> Call:
        """Return the call with `dtype` in place of each floating-point type that an attribute names, in bodies too."""
        new: dict[str, Any] = {}
        for name, value in self.attributes.items():
            if name in self.op.types:
                new[name] = dtype if value in FLOATS else value
            elif hasattr(value, "retyped"):  # a network
                new[name] = value.retyped(dtype)
        changed = any(value is not self.attributes[name] for name, value in new.items())
        return dataclasses.replace(self, attributes={**self.attributes, **new}) if changed else self


def known(sample: Sample) -> Shape | None:
    """Return a sample shape, or None where one of its sizes may be any."""
    sizes = [size for size in sample if size is not None]
    return tuple(sizes) if len(sizes) == len(sample) else None


def taken(op: Op, shapes: list[Any], attributes: Mapping[str, Any]) -> Shape | None:
    """Return the usual sample shape of an op's first argument, by the shapes of the others; None where not known."""
    samples = op.takes(*shapes[1:], **attributes)
    return known(samples[-1]) if samples else None


def fits(shape: tuple[int, ...], sample: Sample) -> bool:
    return len(shape) == len(sample) and all(b in (None, a) for a, b in zip(shape, sample, strict=True))
