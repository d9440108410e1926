"""What all sources do: say whose an object is, refuse what cannot be converted, and put the network in its place."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback import backends
from anyback._typing import DType
from anyback.backends import BackendLike
from anyback.errors import DataError, OperatorError
from anyback.layers import Sequential
from anyback.models._keras import KERAS_EXPORT
from anyback.network import Network
from anyback.numbers import common_float, float_name

__all__ = [
    "SOURCES",
    "Refused",
    "Source",
    "check_object",
    "described",
    "host_copy",
    "is_flax",
    "library_of",
    "only",
    "placed",
]


@dataclass(frozen=True)
class Source:
    """A library whose objects become networks.

    Parameters
    ----------
    function : str
        The function of anyback that takes them.
    takes : str
        What it takes, in words.
    bases : tuple of str
        The classes of the library that such objects are made from.
    export : str
        How an object becomes an ONNX file, for what this function does not convert.
    """

    function: str
    takes: str
    bases: tuple[str, ...]
    export: str


_SKLEARN = 'open("mine.onnx", "wb").write(skl2onnx.to_onnx(estimator, X[:1]).SerializeToString())'
_KERAS = Source(
    "from_keras",
    "a keras.Sequential",
    ("Layer", "Model"),
    KERAS_EXPORT,
)
#: The sources by the package that their classes come from.
SOURCES = {
    "torch": Source("from_torch", "a torch.nn.Module", ("Module",), 'torch.onnx.export(module, (x,), "mine.onnx")'),
    "sklearn": Source("from_sklearn", "a fitted estimator or Pipeline of scikit-learn", ("BaseEstimator",), _SKLEARN),
    "keras": _KERAS,
    "tf_keras": _KERAS,
}


def library_of(found: object) -> str | None:
    """Return the package in `SOURCES` whose object it is; None where it is none of theirs."""
    # The first: with PyTorch behind it, a layer of Keras is a module of PyTorch as well.
    for kind in type(found).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in SOURCES and kind.__name__ in SOURCES[library].bases:
            return library
    return None


def check_object(found: Any, *wanted: str) -> None:
    """Raise `DataError` where an object is not of one of these libraries, with what to do about it."""
    library = library_of(found)
    if library in wanted:
        return
    source = SOURCES[wanted[0]]
    raise DataError(f"{source.function}: expected {source.takes}, found {described(found, library)}")


def is_flax(found: object) -> bool:
    """Return whether it is a module of Flax, of linen or nnx, whose parameters alone are taken."""
    bases = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(found).__mro__]
    return ("flax", "Module") in bases


def described(found: Any, library: str | None) -> str:
    """Return in words what an object is that a source does not take, and who takes it."""
    if isinstance(found, type):
        return f"the class {found.__name__}; make one of it, and train it"
    if isinstance(found, (str, os.PathLike)):
        return f"{str(found)[:60]!r}; a file is loaded by anyback.load_model"
    if library is not None:
        return f"a {library} {type(found).__name__}; pass it to anyback.{SOURCES[library].function}"
    if is_flax(found):
        return "a module of Flax; pass its parameters, those of model.init or flax.nnx.state(model, flax.nnx.Param)"
    if isinstance(found, (dict, list, tuple)):
        return f"a {type(found).__name__}; arrays are taken by anyback.from_arrays"
    return f"{type(found).__name__}"


class Refused:
    """What cannot be converted, gathered so that one error names all of it.

    Parameters
    ----------
    library : str
        A package in `SOURCES`.
    """

    def __init__(self, library: str) -> None:
        self._source, self._faults = SOURCES[library], list[str]()

    def add(self, path: str, found: Any, why: object = "") -> None:
        """Add an object by its path, such as ``"features.3"``, and what of it is not there; empty is all of it."""
        name = f"{path} ({type(found).__name__})" if path else type(found).__name__
        self._faults.append(f"{name}: {why}" if why else name)

    def check(self) -> None:
        """Raise `OperatorError` where anything was added."""
        if not self._faults:
            return
        said = "; ".join(self._faults[:20]) + (f"; and {more} more" if (more := len(self._faults) - 20) > 0 else "")
        raise OperatorError(
            f"{self._source.function} does not convert {said}. Go by a file: {self._source.export}, and then "
            'anyback.load_model("mine.onnx")'
        )


def only(found: Any, **options: Any) -> None:
    """Raise `OperatorError` where an option of an object, if it has it, is not the one value that anyback computes."""
    for name, wanted in options.items():
        value = getattr(found, name, wanted)
        if value != wanted:
            raise OperatorError(f"{name}={value!r} ({wanted!r} is converted)")


def host_copy(x: Any) -> np.ndarray:
    """Return an array of any library as one of NumPy's of its own memory: what trains on changes nothing here."""
    return np.array(backends.to_numpy(x.detach() if hasattr(x, "detach") else x))


def placed(
    layers: Sequence[Any],
    backend: BackendLike | None,
    dtype: str | DType | None,
    classes: Iterable[Any] | None = None,
) -> Network:
    """Return the network of layers with its arrays at a backend; None is the current choice.

    Numbers of several floating-point types, as of a scaler before a network, become the widest of them.
    """
    place = backends.resolve(backend)
    chosen = None if dtype is None else float_name(dtype)
    net = Sequential(*layers, classes=classes)
    types = {backends.dtype_name(x.dtype): x.dtype for x in net.arrays}
    if chosen is None and len(types) > 1:
        chosen = backends.dtype_name(functools.reduce(lambda a, b: common_float(np, a, b), types.values()))
    return net.to(place, dtype=chosen)
