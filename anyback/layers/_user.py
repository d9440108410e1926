"""Functions of one array that the user wrote, as ops without known facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyback._typing import Array
from anyback.errors import AnybackError
from anyback.network import Builder, arrays_in, map_arrays
from anyback.ops import KEEP, Op
from anyback.plan import Shape

__all__ = ["user_call"]


class _User:
    """Computes a function of the user's; the arrays that were found inside it come as arguments."""

    def __init__(self, layer: Callable[[Array], Array], arrays: tuple[Array, ...], name: str) -> None:
        self.layer, self.arrays, self.__name__ = layer, arrays, name

    def __call__(self, x: Array, *arrays: Array) -> Array:
        if all(a is b for a, b in zip(arrays, self.arrays, strict=True)):
            return self.layer(x)
        new = {id(old): new for old, new in zip(self.arrays, arrays, strict=True)}
        return map_arrays(self.layer, lambda a: new[id(a)])(x)


def _unknown(*shapes: Shape | None, **attributes: Any) -> None:
    return None


#: The library of a foreign class -> the call that converts its objects.
_FOREIGN = {
    "torch": "anyback.from_torch(module)",
    "keras": "anyback.from_keras(model), or anyback.layers.Linear(*layer.get_weights()) and its like for one layer",
    "sklearn": "anyback.from_sklearn(estimator)",
}


def _check_callable(layer: Any, where: str) -> None:
    """Raise `AnybackError` where a layer cannot be called, or is an object of another library."""
    for kind in type(layer).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in _FOREIGN and kind.__name__ in ("Module", "Layer", "BaseEstimator"):
            raise AnybackError(
                f"{where}: expected a layer or a function, found a {library} {type(layer).__name__}; convert it: "
                f"{_FOREIGN[library]}"
            )
    if not callable(layer) or isinstance(layer, type):
        found = f"the class {layer.__name__}; make one" if isinstance(layer, type) else type(layer).__name__
        raise AnybackError(f"{where}: expected a layer or a function, found {found}")


def user_call(layer: Any, given: int, into: Builder) -> int:
    """Add the call of a function of one array, with the arrays inside it as arguments, and return its result's number.

    Raises
    ------
    AnybackError
        If it cannot be called, or is an object of another library.
    """
    _check_callable(layer, into.where)
    arrays = tuple({id(x): x for x in arrays_in(layer)}.values())  # each once, by identity
    name = str(getattr(layer, "__name__", type(layer).__name__))
    return into.call(Op(name, _User(layer, arrays, name), _unknown, casts=KEEP), given, *map(into.array, arrays))
