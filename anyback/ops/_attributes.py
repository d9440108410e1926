"""Checks of an op's attributes that come from a file, by the annotations of the op's function."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

from anyback.errors import DataError
from anyback.ops._op import Op

__all__ = ["array_parameters", "checked_attributes"]

_MOST_AXES = 32
_LARGEST = (1 << 31) - 1


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _whole(value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not least <= operator.index(value) <= _LARGEST:
        raise TypeError
    return operator.index(value)


def _number(value: Any) -> float:
    # A NumPy scalar becomes the Python number of the same value; an array is refused, even one of shape ().
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise TypeError
    return int(value) if isinstance(value, Integral) and abs(int(value)) <= _LARGEST else float(value)


def _items(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)) or len(value) > _MOST_AXES:
        raise TypeError
    return list(value)


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(_whole(size) for size in _items(value))


def _pads(value: Any) -> tuple[tuple[int, int], ...]:
    found = []
    for pair in _items(value):
        before, behind = _items(pair)
        found.append((_whole(before, 0), _whole(behind, 0)))
    return tuple(found)


#: The annotation of an attribute -> the function that checks a value, and the words for what is expected.
_KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bool": (_truth, "true or false"),
    "int": (_whole, "a whole number from 1 to 2**31 - 1"),
    "Place": (functools.partial(_whole, least=0), "a whole number from 0 to 2**31 - 1"),
    "float": (_number, "a finite number"),
    "Shape": (_sizes, "whole numbers from 1 to 2**31 - 1, one for each axis"),
    "Pads": (_pads, "two whole numbers from 0 to 2**31 - 1 for each axis"),
}


def _kind_of(parameter: inspect.Parameter) -> str:
    """Return the annotation of a parameter as text."""
    kind = parameter.annotation
    return kind if isinstance(kind, str) else str(getattr(kind, "__name__", kind))


def _split(op: Op) -> tuple[dict[str, inspect.Parameter], dict[str, inspect.Parameter]]:
    """Return the parameters of an op that are arrays, and those that are attributes."""
    arrays: dict[str, inspect.Parameter] = {}
    attributes: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(op.compute).parameters.items():
        known = _kind_of(parameter).removesuffix(" | None") in _KINDS
        (attributes if known or parameter.kind is parameter.KEYWORD_ONLY else arrays)[name] = parameter
    return arrays, attributes


def array_parameters(op: Op) -> dict[str, bool]:
    """Return the parameters of an op that are arrays, in their order, and whether each may be absent.

    Examples
    --------
    >>> from anyback.ops import OPS
    >>> array_parameters(OPS["linear"])
    {'x': False, 'weight': False, 'bias': True}
    """
    return {name: parameter.default is None for name, parameter in _split(op)[0].items()}


def checked_attributes(op: Op, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an op as plain numbers and tuples, or raise an error where the op does not take them.

    Parameters
    ----------
    op : Op
        The op.
    attributes : mapping of str to value
        From a file or a call; lists stand for tuples.

    Returns
    -------
    dict of str to value

    Raises
    ------
    DataError
        If an attribute is unknown, is missing, or has a value that the op does not take.

    Examples
    --------
    >>> from anyback.ops import OPS
    >>> checked_attributes(OPS["reshape"], {"shape": [3, 4]})
    {'shape': (3, 4)}
    """
    known = _split(op)[1]
    missing = [name for name, p in known.items() if p.default is p.empty and name not in attributes]
    unknown = [ascii(name)[1:-1][:40] for name in attributes if name not in known]
    if missing or unknown:
        faults = [
            f"{word} {', '.join(names[:5])}" for word, names in (("missing", missing), ("unknown", unknown)) if names
        ]
        raise DataError(f"attributes: expected {', '.join(known) or 'none'}; {'; '.join(faults)}")
    return {name: _checked(name, _kind_of(known[name]), value) for name, value in attributes.items()}


def _checked(name: str, kind: str, value: Any) -> Any:
    if value is None and kind.endswith(" | None"):
        return None
    check, words = _KINDS.get(kind.removesuffix(" | None"), (None, ""))
    if check is None:
        raise DataError(f"{name}: a file holds no attribute of type {kind[:40]}")
    try:
        return check(value)
    except (TypeError, ValueError, OverflowError):
        found = type(value).__name__ if isinstance(value, (list, tuple, dict)) else ascii(value)[:40]
        raise DataError(f"{name}: expected {words}, found {found}") from None
