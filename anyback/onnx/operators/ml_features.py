"""Operators of ``ai.onnx.ml`` that make features: scaled, filled in, encoded, chosen, put together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace, dtype_name, is_concrete, is_float, to_numpy
from anyback.errors import BackendError, DataError, ShapeError
from anyback.onnx._operator import Floats, Ints, Prepared, Strings, operator
from anyback.onnx._scores import as_rows, table
from anyback.onnx._sizes import together
from anyback.onnx._text import is_text
from anyback.onnx._types import check_size
from anyback.ops import same

__all__ = [
    "ArrayFeatureExtractor",
    "Binarizer",
    "FeatureVectorizer",
    "Imputer",
    "Normalizer",
    "OneHotEncoder",
    "Scaler",
    "ZipMap",
]

_ML = "ai.onnx.ml"
_Prepared = tuple[dict[str, np.ndarray], dict[str, Any]]


def _scaler(*, offset: Floats | None = None, scale: Floats | None = None) -> _Prepared:
    arrays = {"offset": table(offset, "float32"), "scale": table(scale, "float32")}
    neutral = {"offset": np.zeros(1, np.float32), "scale": np.ones(1, np.float32)}
    return {name: found if len(found) else neutral[name] for name, found in arrays.items()}, {}


@operator(domain=_ML, prepare=_scaler, shape=together)
def Scaler(X: Array, offset: Prepared, scale: Prepared) -> Array:
    """Return ``(X - offset) * scale`` as float32."""
    xp = array_namespace(X, offset)
    if X.dtype == offset.dtype:
        return (X - offset) * scale
    if dtype_name(X.dtype) == "float64":  # the difference may cancel
        return xp.astype((X - xp.astype(offset, X.dtype)) * xp.astype(scale, X.dtype), offset.dtype)
    return (xp.astype(X, offset.dtype) - offset) * scale


@operator(domain=_ML, shape=same)
def Normalizer(X: Array, *, norm: str = "MAX") -> Array:
    """Return rows divided by their largest value, or by the sum of absolute values or root of squares, as float32."""
    xp = array_namespace(X)
    x = X if dtype_name(X.dtype) in ("float32", "float64") else xp.astype(X, xp.float32)
    if norm == "MAX":
        divisor = xp.max(x, axis=-1, keepdims=True)
    elif norm == "L1":
        divisor = xp.sum(xp.abs(x), axis=-1, keepdims=True)
    elif norm == "L2":
        top = xp.max(xp.abs(x), axis=-1, keepdims=True)  # so that no square overflows
        top = xp.where(top > 0, top, xp.ones_like(top))
        divisor = top * xp.sqrt(xp.sum(xp.square(x / top), axis=-1, keepdims=True))
    else:
        raise DataError(f"Normalizer has norm {norm[:40]!r}; expected MAX, L1 or L2")
    y = x / xp.where(divisor == 0, xp.ones_like(divisor), divisor)
    return y if dtype_name(y.dtype) == "float32" else xp.astype(y, xp.float32)


def _imputer(
    *,
    imputed_value_floats: Floats | None = None,
    imputed_value_int64s: Ints | None = None,
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> _Prepared:
    if imputed_value_floats is not None and len(imputed_value_floats):
        replaced = float(np.float32(replaced_value_float))
        return {"imputed": table(imputed_value_floats, "float32")}, {"replaced": replaced}
    if imputed_value_int64s is None or not len(imputed_value_int64s):
        raise DataError("Imputer has no values to put in")
    return {"imputed": table(imputed_value_int64s, "int64")}, {"replaced": int(replaced_value_int64)}


@operator(domain=_ML, prepare=_imputer)
def Imputer(X: Array, imputed: Prepared, *, replaced: float) -> Array:
    """Return `X`, in which another value stands for each that equals `replaced`; nan equals nan here."""
    xp, x = array_namespace(X, imputed), X
    if imputed.shape[0] not in (1, X.shape[-1]):
        raise ShapeError(f"Imputer has {imputed.shape[0]} values; expected 1 or {X.shape[-1]}, the number of features")
    missing = xp.isnan(x) if math.isnan(replaced) else x == replaced
    return xp.where(missing, imputed if imputed.dtype == x.dtype else xp.astype(imputed, x.dtype), x)


@operator(domain=_ML)
def Binarizer(X: Array, *, threshold: float = 0.0) -> Array:
    """Return 1 where a value is above the threshold, else 0, in the type of `X`."""
    xp, x = array_namespace(X), X
    if is_float(x):
        return xp.astype(x > threshold, x.dtype)
    limits = xp.iinfo(x.dtype)
    if not threshold < limits.max:  # nan too
        return xp.zeros_like(x)
    if threshold < limits.min:
        return xp.ones_like(x)
    return xp.astype(x >= math.floor(threshold) + 1, x.dtype)


@operator(domain=_ML)
def ArrayFeatureExtractor(X: Array, Y: Array) -> Array:
    """Return the features of the numbers in `Y`, along the last axis."""
    shape = (1, math.prod(Y.shape)) if X.ndim == 1 else (*X.shape[:-1], math.prod(Y.shape))
    check_size(shape, "ArrayFeatureExtractor")
    if is_text(X):
        if not is_concrete(Y):
            raise BackendError("ArrayFeatureExtractor picks strings, which cannot be traced; select the scores alone")
        return np.reshape(np.take(X, np.reshape(to_numpy(Y), -1), axis=-1), shape)
    xp = array_namespace(X, Y)
    return xp.reshape(xp.take(X, xp.reshape(Y, (-1,)), axis=X.ndim - 1), shape)


@operator(domain=_ML)
def FeatureVectorizer(*X: Array, inputdimensions: Ints | None = None) -> Array:
    """Return the features of all inputs beside each other as float32, each cut or filled up with 0 to its number."""
    xp = array_namespace(*X)
    sizes = [x.shape[-1] for x in X] if inputdimensions is None else inputdimensions
    if len(sizes) != len(X):
        raise ShapeError(f"FeatureVectorizer has {len(sizes)} sizes for {len(X)} inputs")
    parts = []
    for given, size in zip(X, sizes, strict=True):
        x = as_rows(given, xp.float32)
        parts.append(x[:, :size] if size < x.shape[1] else x)
        if size > x.shape[1]:
            check_size((x.shape[0], size), "FeatureVectorizer")
            parts.append(xp.broadcast_to(xp.zeros_like(x[:, :1]), (x.shape[0], size - x.shape[1])))
    return xp.concat(parts, axis=1)


def _one_hot(*, cats_int64s: Ints | None = None, cats_strings: Strings | None = None, zeros: int = 1) -> _Prepared:
    if cats_strings is not None and len(cats_strings):
        return {}, {"places": {name: i for i, name in enumerate(cats_strings)}, "zeros": zeros}
    if cats_int64s is None or not len(cats_int64s):
        raise DataError("OneHotEncoder has no categories")
    return {"categories": table(cats_int64s, "int64")}, {"places": None, "zeros": zeros}


@operator(domain=_ML, prepare=_one_hot)
def OneHotEncoder(
    X: Array, categories: Prepared | None = None, *, places: dict[str, int] | None = None, zeros: int = 1
) -> Array:
    """Return, along a new last axis, 1 at the category of each value and 0 elsewhere, as float32."""
    if places is not None:
        check_size((*X.shape, len(places)), "OneHotEncoder")
        found = np.asarray([places.get(value, -1) for value in np.reshape(X, -1)], np.int64).reshape(X.shape)
        hot = found[..., None] == np.arange(len(places))
        xp = np
    else:
        if categories is None:
            raise DataError("OneHotEncoder has no categories")
        check_size((*X.shape, *categories.shape), "OneHotEncoder")
        xp = array_namespace(X, categories)
        x = X if X.dtype == categories.dtype else xp.astype(X, categories.dtype)
        hot = x[..., None] == categories
    if not zeros and is_concrete(hot) and not to_numpy(xp.all(xp.any(hot, axis=-1))):
        raise DataError("OneHotEncoder found a value that is none of its categories")
    return xp.astype(hot, xp.float32)


@operator(domain=_ML)
def ZipMap(X: Array, *, classlabels_int64s: Ints | None = None, classlabels_strings: Strings | None = None) -> Array:
    """Return the scores as they are: a column for each class, not a dictionary for each row."""
    return X
