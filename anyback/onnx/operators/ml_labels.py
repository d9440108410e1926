"""Operators of ``ai.onnx.ml`` that look values up: strings on the host, numbers on any library."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace, is_concrete, to_numpy
from anyback.errors import BackendError, DataError
from anyback.onnx._operator import Floats, Host, Ints, Prepared, Strings, operator
from anyback.onnx._scores import table
from anyback.onnx._text import each, is_text

__all__ = ["CategoryMapper", "LabelEncoder", "LabelEncoder_1"]

_ML = "ai.onnx.ml"
_Prepared = tuple[dict[str, np.ndarray], dict[str, Any]]


def _chosen(name: str, choices: dict[str, Any]) -> tuple[str, np.ndarray]:
    """Return the one attribute that is given, as an array, and the type that its name says."""
    given = {kind: values for kind, values in choices.items() if values is not None and np.size(values)}
    if len(given) != 1:
        raise DataError(f"LabelEncoder has {len(given)} attributes {name}_*; expected one")
    ((kind, values),) = given.items()
    if kind == "tensor":
        return kind, np.reshape(np.asarray(values), -1)
    return kind, np.asarray(values, {"strings": object, "int64s": np.int64, "floats": np.float32}[kind]).reshape(-1)


def _table(keys: np.ndarray, values: np.ndarray, default: Any) -> _Prepared:
    """Return how to look up: a dictionary where strings are on either side, else sorted keys and their values."""
    if keys.shape != values.shape:
        raise DataError(f"LabelEncoder has {keys.shape[0]} keys and {values.shape[0]} values")
    text = values.dtype.kind in "OU"
    if text or keys.dtype.kind in "OU":
        found = dict(zip(keys.tolist(), values.tolist(), strict=True))
        missing = next((v for k, v in zip(keys.tolist(), values.tolist(), strict=True) if k != k), default)
        dtype = "" if text else values.dtype.name
        return {}, {"pairs": found, "otherwise": default, "of_nan": missing, "dtype": dtype}
    arrays = {"default": np.asarray(default, values.dtype).reshape(1)}
    if keys.dtype.kind == "f" and (nan := np.isnan(keys)).any():
        arrays["missing"] = values[nan][-1:]
        keys, values = keys[~nan], values[~nan]
    keys, last = np.unique(keys[::-1], return_index=True)  # of equal keys the last one counts
    if len(keys):
        arrays |= {"keys": keys, "values": np.ascontiguousarray(values[::-1][last])}
    return arrays, {"pairs": None}


def _look_up(
    X: Array,
    keys: Array | None,
    values: Array | None,
    default: Any,
    missing: Any,
    pairs: dict[Any, Any] | None,
    dtype: str,
    operator: str,
) -> Array:
    if pairs is not None:
        if not is_text(X):
            if not is_concrete(X):
                raise BackendError(f"{operator} gives strings, which cannot be traced")
            X = to_numpy(X)
        return each(lambda x: pairs.get(x, default) if x == x else missing, X, np.dtype(dtype) if dtype else object)
    xp = array_namespace(X, default)
    if keys is None or values is None:
        y = xp.broadcast_to(default, X.shape)
    else:
        x = X if X.dtype == keys.dtype else xp.astype(X, keys.dtype)
        flat = xp.reshape(x, (-1,))
        place = xp.searchsorted(keys, flat)
        place = xp.where(place < keys.shape[0], place, xp.zeros_like(place))
        y = xp.where(xp.take(keys, place, axis=0) == flat, xp.take(values, place, axis=0), default)
        y = xp.reshape(y, X.shape)
    return y if missing is None else xp.where(xp.isnan(X), missing, y)


def _encoder(
    *,
    default_float: float = -0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    default_tensor: Host | None = None,
    keys_floats: Floats | None = None,
    keys_int64s: Ints | None = None,
    keys_strings: Strings | None = None,
    keys_tensor: Host | None = None,
    values_floats: Floats | None = None,
    values_int64s: Ints | None = None,
    values_strings: Strings | None = None,
    values_tensor: Host | None = None,
) -> _Prepared:
    of_keys = {"floats": keys_floats, "int64s": keys_int64s, "strings": keys_strings, "tensor": keys_tensor}
    of_values = {"floats": values_floats, "int64s": values_int64s, "strings": values_strings, "tensor": values_tensor}
    _, keys = _chosen("keys", of_keys)
    kind, values = _chosen("values", of_values)
    default: Any = {"floats": default_float, "int64s": default_int64, "strings": default_string}.get(kind)
    if default_tensor is not None and np.size(default_tensor):
        default = np.reshape(default_tensor, -1)[0]
        default = default if isinstance(default, str) else default.item()
    elif kind == "tensor":
        default = {"f": -0.0, "i": -1}.get(values.dtype.kind, "_Unused")
    return _table(keys, values, default)


def _encoder_1(
    *, classes_strings: Strings | None = None, default_int64: int = -1, default_string: str = "_Unused"
) -> _Prepared:
    classes = list(classes_strings or ())
    numbers = {name: i for i, name in reversed(list(enumerate(classes)))}
    return {}, {"pairs": (numbers, dict(enumerate(classes))), "defaults": (default_int64, default_string)}


def _mapper(
    *,
    cats_int64s: Ints | None = None,
    cats_strings: Strings | None = None,
    default_int64: int = -1,
    default_string: str = "_Unused",
) -> _Prepared:
    ints, strings = table(cats_int64s, "int64").tolist(), list(cats_strings or ())
    if len(ints) != len(strings):
        raise DataError(f"CategoryMapper has {len(ints)} integers and {len(strings)} strings")
    both = dict(zip(strings, ints, strict=True)), dict(zip(ints, strings, strict=True))
    return {}, {"pairs": both, "defaults": (default_int64, default_string)}


def _either_way(
    X: Array, pairs: tuple[dict[str, int], dict[int, str]], defaults: tuple[int, str], operator: str
) -> Array:
    """Return integers for strings, or strings for integers."""
    text = is_text(X)
    found, default = (pairs[0], defaults[0]) if text else (pairs[1], defaults[1])
    return _look_up(X, None, None, default, default, found, "int64" if text else "", operator)


@operator(domain=_ML, name="LabelEncoder", prepare=_encoder_1)
def LabelEncoder_1(X: Array, *, pairs: tuple[dict[str, int], dict[int, str]], defaults: tuple[int, str]) -> Array:
    """Return the places of strings in a list, or the strings at places."""
    return _either_way(X, pairs, defaults, "LabelEncoder")


@operator(domain=_ML, since=2, prepare=_encoder)
def LabelEncoder(
    X: Array,
    keys: Prepared | None = None,
    values: Prepared | None = None,
    default: Prepared | None = None,
    missing: Prepared | None = None,
    *,
    pairs: dict[Any, Any] | None = None,
    dtype: str = "",
    otherwise: Any = None,
    of_nan: Any = None,
) -> Array:
    """Return the value of each key."""
    if pairs is not None:
        default, missing = otherwise, of_nan
    return _look_up(X, keys, values, default, missing, pairs, dtype, "LabelEncoder")


@operator(domain=_ML, prepare=_mapper)
def CategoryMapper(X: Array, *, pairs: tuple[dict[str, int], dict[int, str]], defaults: tuple[int, str]) -> Array:
    """Return the integers of strings, or the strings of integers."""
    return _either_way(X, pairs, defaults, "CategoryMapper")
