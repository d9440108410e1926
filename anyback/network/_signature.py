"""The names of a network's inputs and outputs, where it has several or comes from a file that names them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.errors import DataError, ShapeError
from anyback.network._call import Sample

__all__ = ["Port", "Signature", "called_by_name"]


@dataclass(frozen=True)
class Port:
    """An input of a network.

    Parameters
    ----------
    name : str
        As the file names it.
    dtype : str
        The type that the file declares, such as ``"float32"``; empty where it declares none.
    shape : tuple of (int, str or None), or None
        The whole shape that the file declares, the batch included: a size, the name of a size, or None for one that may
        be any. None where it declares no shape.
    host : bool
        Whether the values are needed before anything is computed, such as those of a shape: then the input may be a
        NumPy array, whatever library computes.
    kind : str
        ``"tensor"``; or ``"sequence"`` or ``"optional"``, whose value is a list of arrays, an array or None.
    """

    name: str
    dtype: str = ""
    shape: tuple[int | str | None, ...] | None = None
    host: bool = False
    kind: str = "tensor"

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The shapes that one sample may have; empty where any shape will do."""
        return (tuple(size if isinstance(size, int) else None for size in self.shape[1:]),) if self.shape else ()

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `ShapeError` where the whole shape of an input does not fit the declared one."""
        if self.shape is None:
            return
        fits = len(shape) == len(self.shape) and all(
            not isinstance(size, int) or size == found for size, found in zip(self.shape, shape, strict=True)
        )
        if not fits:
            raise ShapeError(f"{self.name}: the network takes shape {self.words()}; found {shape}")

    def words(self) -> str:
        """Return the declared shape in words."""
        sizes = ["any" if size is None else str(size) for size in self.shape or ()]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


@dataclass(frozen=True)
class Signature:
    """The names of a network's inputs and outputs, and what its file declares of the inputs.

    Parameters
    ----------
    inputs : tuple of Port
        In the order in which they are passed.
    outputs : tuple of str
        In the order of the network's outputs.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]

    def bound(self, given: Sequence[Array], named: Mapping[str, Array]) -> list[Array]:
        """Return the inputs in order, or raise `DataError` where some are missing, unknown or given twice."""
        names = [port.name for port in self.inputs]
        found = dict(zip(names, given, strict=False))
        twice = sorted(found.keys() & named.keys())
        unknown = sorted(named.keys() - set(names))
        missing = [name for name in names if name not in found and name not in named]
        if len(given) > len(names) or twice or unknown or missing:
            said = [f"{word} {', '.join(some)}" for word, some in (("missing", missing), ("unknown", unknown)) if some]
            said += [f"given twice {', '.join(twice)}"] if twice else []
            said += [f"found {len(given)} inputs"] if len(given) > len(names) else []
            raise DataError(f"the network takes the inputs {', '.join(names)}: {'; '.join(said)}")
        found |= named
        return [found[name] for name in names]

    def chosen(self, outputs: Sequence[str]) -> Signature:
        """Return the same signature with these outputs alone."""
        return dataclasses.replace(self, outputs=tuple(outputs))


def called_by_name(net: Any, given: Sequence[Array], named: Mapping[str, Array]) -> Any:
    """Return the outputs of a network that names its inputs; each input is a whole array, never one sample."""
    signature: Signature = net.signature
    inputs = signature.bound(given, named)
    backend = None
    for place, port in enumerate(signature.inputs):
        if port.kind != "tensor":
            for x in _arrays_in(inputs[place]):
                backend = net.backend_beside(x)
            continue
        if port.host:
            x = inputs[place]  # it may hold texts, which NumPy alone has
            if not isinstance(x, np.ndarray):
                if not backends.is_concrete(x):
                    raise DataError(
                        f"{port.name}: its values must be known before anything is computed, such as those of a shape; "
                        "use it in the program as a NumPy array, not as an argument that is traced"
                    )
                inputs[place] = backends.to_numpy(x)
        else:
            backend = net.backend_beside(inputs[place])
        port.check(tuple(inputs[place].shape))
    # A program enters the settings of its arrays' library by itself.
    with contextlib.nullcontext() if net.arrays or backend is None else backends.scope(backend):
        return net.named_outputs(net.program([*inputs, *net.arrays]))


def _arrays_in(value: Any) -> Iterator[Array]:
    """Yield the arrays of a value: of a nested sequence all of them, of an array itself, of None none."""
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _arrays_in(part)
    elif value is not None:
        yield value
