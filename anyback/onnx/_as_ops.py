"""Operators that become calls of ops of the table, so that the facts of the ops hold for the network.

A product by weights is then computed in a way with equal bits, a batch normalization is folded, and rows are known not
to depend on each other. An operator that has no such op, or not for its parameters, is called itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.numbers import FLOATS, dtype_name
from anyback.onnx._operator import Operator
from anyback.onnx._values import Known, Made, Making, Value, is_fixed, sizes_of
from anyback.ops import OPS, Rows, known_op

__all__ = ["as_op", "multiplied"]

Given = Sequence[Value | None]
#: The name of an op, its arguments, and its attributes.
Call = tuple[str, Sequence[Value | None], Mapping[str, Any]]


def as_op(
    operator: Operator, given: Given, attributes: Mapping[str, Any], making: Making, source: str = ""
) -> int | None:
    """Add the call of the op that computes what an operator computes, and return its number; None where there is none.

    Parameters
    ----------
    operator : Operator
        The operator.
    given : sequence of (value or None)
        Its inputs.
    attributes : mapping of str to value
        Its attributes, without those that are absent.
    making : Making
        The network that is being made.
    source : str
        The name of the node in the file.
    """
    form = _FORMS.get(operator.name) if not operator.domain else None
    if form is None or not given or not isinstance(given[0], Made) or given[0].host:
        return None
    if operator.name not in _OF_ANY_TYPE and not _is_floating(making, making.number(given[0])):
        return None
    shape = making.into.shape_of(making.number(given[0]))
    if shape is not None and not is_fixed(shape[1:]):  # the rows are at another axis than the first, as in no op
        return None
    full = {name: parameter.default for name, parameter in operator.attributes.items()} | dict(attributes)
    if operator.name == "Add":
        full["other"] = making.into.shape_of(making.number(given[1])) if isinstance(given[1], Made) else None
    found = form(operator, given, full, shape)
    if found is None:
        return None
    name, arguments, more = found
    numbers = [None if value is None else making.number(value) for value in arguments]
    return making.into.call(OPS[name], *numbers, source=source, **more)


def multiplied(x: Value | None, weight: Array | None, making: Making) -> Made | None:
    """Add a call of `linear` of rows and a weight, and return its result; None where `x` is not known to be rows."""
    if weight is None or not isinstance(x, Made) or x.host:
        return None
    number = making.number(x)
    shape = making.into.shape_of(number)
    if shape is None or len(shape) != 2 or shape[1] != weight.shape[0]:
        return None
    return Made(making.into.call(OPS["linear"], number, making.into.array(weight), None), making)


def _is_floating(making: Making, number: int) -> bool:
    """Return whether a value is known to hold floating-point numbers, by the calls that it comes from."""
    todo, seen = [number], set()
    while todo:  # of an operator with one type for all, any argument decides
        number = todo.pop()
        call = making.into.call_of(number)
        if number in seen or call is None:
            continue
        seen.add(number)
        if call.op.casts.apply is not None or call.op.name == "received":
            return True  # integers become floating-point numbers there
        if call.op.name == "Cast":
            return call.attributes["to"] in FLOATS
        if known_op(call.op) or call.op.rows is Rows.ALONE:
            todo.extend(i for i in call.arguments[:1] if i is not None)
        elif call.op.name in _OF_FLOATS:
            return True
        elif call.op.name in _OF_ONE_TYPE:
            todo.extend(i for i in call.arguments if i is not None)
    return False


def _weights(*values: Value | None) -> list[Array] | None:
    """Return values as arrays where each is absent or a known array of floating-point numbers; else None."""
    found = []
    for value in values:
        x = None if value is None else value.value if isinstance(value, Known) else value
        if x is not None and not (isinstance(x, np.ndarray) and dtype_name(x.dtype) in FLOATS):
            return None
        found.append(x)
    return found


def _past(given: Given, place: int) -> Value | None:
    return given[place] if len(given) > place else None


def _same(name: str) -> Callable[..., Call | None]:
    """Return the form of an operator that is an op of one argument."""
    return lambda operator, given, attributes, shape: (name, given[:1], {})


def _along_features(name: str) -> Callable[..., Call | None]:
    def form(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
        if shape is None or len(shape) < 2 or (operator.since < 13 and len(shape) != 2):
            return None
        axis = attributes["axis"]
        return (name, given[:1], {}) if axis % len(shape) == len(shape) - 1 else None

    return form


def _linear(weight: Array, bias: Array | None, x: Value | None, shape: Any) -> Call | None:
    if shape is None or len(shape) != 2 or weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[1:]):
        return None
    return "linear", (x, Known(np.ascontiguousarray(weight)), None if bias is None else Known(bias)), {}


def _gemm(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    known = _weights(given[1], _past(given, 2))
    if known is None or attributes["transA"] or known[0] is None:
        return None
    weight, bias = known
    weight = weight.T if attributes["transB"] else weight
    if bias is not None and bias.size == weight.shape[-1]:
        bias = bias.reshape(-1)
    elif bias is not None:
        return None
    if attributes["alpha"] != 1:
        weight = _rounded(attributes["alpha"] * weight.astype(np.float64), weight)
    if bias is not None and attributes["beta"] != 1:
        bias = _rounded(attributes["beta"] * bias.astype(np.float64), bias)
    return _linear(weight, bias, given[0], shape)


def _rounded(x: Array, like: Array) -> Array:
    return x.astype(like.dtype)


def _matmul(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    known = _weights(given[1])
    if known is None or known[0] is None:
        return None
    (weight,) = known
    if shape is not None and len(shape) > 2 and weight.ndim == 2:
        return "dense", (given[0], Known(np.ascontiguousarray(weight)), None), {}
    return _linear(weight, None, given[0], shape)


def _window(attributes: Mapping[str, Any], size: tuple[int, ...]) -> dict[str, Any] | None:
    """Return stride, padding and dilation as the ops take them; None where they depend on the size of the image."""
    axes = len(size)
    if attributes["auto_pad"] not in ("NOTSET", "VALID"):
        return None
    pads = tuple(attributes["pads"] or (0,) * 2 * axes) if attributes["auto_pad"] == "NOTSET" else (0,) * 2 * axes
    if min(pads) < 0:
        return None
    return {
        "stride": tuple(attributes["strides"] or (1,) * axes),
        "padding": tuple(zip(pads[:axes], pads[axes:], strict=True)),
        "dilation": tuple(attributes.get("dilations") or (1,) * axes),
    }


def _conv(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    known = _weights(given[1], _past(given, 2))
    if known is None or known[0] is None or known[0].ndim not in (3, 4, 5):
        return None
    window = _window(attributes, known[0].shape[2:])
    return None if window is None else ("conv", given, {**window, "groups": attributes["group"]})


def _pool(name: str) -> Callable[..., Call | None]:
    def form(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
        size = tuple(attributes["kernel_shape"])
        window = _window(attributes, size)
        if window is None or attributes.get("storage_order") or not 1 <= len(size) <= 3:
            return None
        if any(2 * max(pads) > k for pads, k in zip(window["padding"], size, strict=True)):
            return None
        if name == "average_pool":
            if set(window["dilation"]) != {1}:
                return None
            del window["dilation"]
            window["count_padding"] = bool(attributes.get("count_include_pad"))
        return name, given[:1], {**window, "size": size, "ceil": bool(attributes.get("ceil_mode"))}

    return form


def _batch_norm(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    known = _weights(*given[1:])
    by_place = not attributes.get("spatial", 1)  # of old versions, whose parameters have a number for each place
    if known is None or by_place or attributes.get("training_mode") or any(x is None for x in known):
        return None
    weight, bias, mean, variance = given[1:]
    return "batch_norm", (given[0], mean, variance, weight, bias), {"epsilon": float(attributes["epsilon"])}


def _reshaped(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    target = sizes_of(given[1]) if len(given) > 1 else None
    if shape is None or len(shape) < 2 or target is None:
        return None
    first, *rest = np.reshape(target, -1).tolist()
    of_rows = first in (0, -1) or (first == shape[0] and not is_fixed(first))
    if not of_rows or not rest or 0 in rest or (first == -1 and -1 in rest) or not is_fixed((*shape[1:], *rest)):
        return None  # the first axis may not be that of the rows, or not it alone
    size = math.prod(shape[1:])
    others = -math.prod(rest) if -1 in rest else math.prod(rest)
    if size % others or (-1 not in rest and size != others):
        return None
    return "reshape", given[:1], {"shape": tuple(size // others if k == -1 else k for k in rest)}


def _permute(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    first, *rest = attributes["perm"] or (None,)
    return ("permute", given[:1], {"axes": tuple(rest)}) if first == 0 and len(rest) > 1 else None


def _layer_norm(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    known = _weights(given[1], _past(given, 2))
    if known is None or known[0] is None or shape is None or len(shape) < 2 or attributes["axis"] % len(shape) == 0:
        return None
    last = tuple(shape[attributes["axis"] % len(shape) :])
    if any(x is not None and x.shape != last for x in known):
        return None
    return "layer_norm", given[:3], {"shape": last, "epsilon": float(attributes["epsilon"])}


def _gelu(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    return ("gelu", given[:1], {}) if attributes["approximate"] == "none" else None


def _add(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    second = given[1]
    same = isinstance(second, Made) and not second.host and shape is not None and shape == attributes["other"]
    return ("add", given, {}) if same and not attributes.get("broadcast") else None


def _clip(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    bounds = {}
    for place, (name, bound) in enumerate((("min", "low"), ("max", "high")), start=1):
        value = _past(given, place)
        # Attributes of old versions, or inputs.
        found = attributes.get(name) if value is None else value.value if isinstance(value, Known) else value
        if found is not None:
            if isinstance(found, Made) or np.size(found) != 1 or np.isnan(found).any():
                return None
            bounds[bound] = float(np.reshape(found, ()))
    return ("clip", given[:1], bounds) if bounds else None


def _global_mean(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    if shape is None or not 3 <= len(shape) <= 5:
        return None
    size = tuple(shape[2:])
    return "average_pool", given[:1], {"size": size, "stride": size, "padding": ((0, 0),) * len(size)}


def _flatten(operator: Operator, given: Given, attributes: Mapping[str, Any], shape: Any) -> Call | None:
    return ("flatten", given[:1], {}) if attributes["axis"] == 1 else None


#: Operators whose result is floating-point, and those whose first result has the type of all arguments.
_OF_FLOATS = (
    "Conv",
    "ConvTranspose",
    "DequantizeLinear",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "InstanceNormalization",
    "Softmax",
    *("LinearRegressor", "Normalizer", "Scaler"),
)
_OF_ONE_TYPE = ("Add", "Clip", "Concat", "Div", "Mul", "Pad", "ReduceMean", "Resize", "Sub")
#: Operators whose ops leave the type of numbers alone, and those that take no integers.
_OF_ANY_TYPE = (
    *("Flatten", "MaxPool", "Reshape", "Transpose"),
    *("Gelu", "LayerNormalization", "LogSoftmax", "MatMul", "Softmax"),
)
_FORMS: dict[str, Callable[..., Call | None]] = {
    "Add": _add,
    "Clip": _clip,
    "GlobalAveragePool": _global_mean,
    "Relu": _same("relu"),
    "Sigmoid": _same("sigmoid"),
    "Tanh": _same("tanh"),
    "Softplus": _same("softplus"),
    "Softmax": _along_features("softmax"),
    "LogSoftmax": _along_features("log_softmax"),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "LayerNormalization": _layer_norm,
    "Gelu": _gelu,
    "Conv": _conv,
    "MaxPool": _pool("max_pool"),
    "AveragePool": _pool("average_pool"),
    "BatchNormalization": _batch_norm,
    "Reshape": _reshaped,
    "Flatten": _flatten,
    "Transpose": _permute,
}
