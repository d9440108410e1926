"""From a live module of PyTorch to a network: one row for each class that is known."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from anyback import activations
from anyback._typing import DType
from anyback.backends import BackendLike
from anyback.errors import DataError, OperatorError
from anyback.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    Linear,
    MaxPool,
    Scale,
)
from anyback.network import Network
from anyback.sources._objects import Refused, check_object, host_copy, only, placed

__all__ = ["MODULES", "Row", "from_torch"]


def from_torch(module: Any, *, backend: BackendLike | None = None, dtype: str | DType | None = None) -> Network:
    """Return the network that a trained module of PyTorch is.

    Parameters
    ----------
    module : torch.nn.Module
        A layer whose class is in `MODULES`, or a ``torch.nn.Sequential`` of such layers, which may be nested.
    backend : str, Backend or None
        Where the weights go; None is the current choice. They are copied: training on changes nothing here.
    dtype : str, data type or None
        A floating-point type for the weights; None keeps theirs.

    Returns
    -------
    Network
        A `Sequential`.

    Raises
    ------
    OperatorError
        If modules of other classes are inside, or options that anyback does not have: all of them are named.
    DataError
        If it is no module, or one in training mode whose answers differ in evaluation mode.
    BackendError
        If the backend cannot be used.

    Examples
    --------
    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Softmax(dim=1))
    >>> net = from_torch(module.eval(), backend="numpy")
    >>> [summary.name for summary in net.summary()]
    ['linear', 'softmax']
    """
    check_object(module, "torch")
    leaves = list(_leaves(module))
    training = [f"{path or 'it'} ({type(m).__name__})" for path, m in leaves if m.training and _changes(m)]
    if training:
        raise DataError(
            f"the module is in training mode, in which {training[0]} computes something else; call module.eval() first"
        )
    seen, refused, layers = _Seen(), Refused("torch"), []
    for path, leaf in leaves:
        if (row := MODULES.get(_name(leaf))) is None:
            refused.add(path, leaf, _cure(leaf))
            seen.lost = True
            continue
        try:
            _check_plain(leaf)
            layers += row.make(leaf, seen)
        except OperatorError as error:
            refused.add(path, leaf, error)
        seen.axes = row.axes or seen.axes
    refused.check()
    return placed(layers, backend, dtype)


def _cure(module: Any) -> str:
    """Return what to pass where a module is only around another, as of torch.compile; else nothing."""
    theirs = type(module).__module__.startswith("torch.")
    return next((f"pass its {name}" for name in ("_orig_mod", "module") if theirs and hasattr(module, name)), "")


def _name(module: Any) -> str:
    return f"{type(module).__module__}.{type(module).__name__}"


def _changes(module: Any) -> bool:
    """Return whether a module computes something else in training."""
    row = MODULES.get(_name(module))
    return row is not None and row.trains


def _leaves(module: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the layers of a module in their order, each behind its path."""
    if _name(module) != _SEQUENTIAL or module._forward_hooks or module._forward_pre_hooks:
        yield path, module
        return
    # Not named_children, which leaves out a module that is there twice.
    for name, child in module._modules.items():
        yield from _leaves(child, f"{path}.{name}" if path else name)


_SEQUENTIAL = "torch.nn.modules.container.Sequential"


def _check_plain(module: Any) -> None:
    """Raise `OperatorError` where something else than the module's class says what it computes."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise OperatorError("it has hooks, as of weight_norm and prune, that may change what it computes")
    if "forward" in vars(module):
        raise OperatorError("its forward was replaced")


class _Seen:
    """What is known while layers are converted.

    Attributes
    ----------
    axes : int or None
        The axes of the value that comes in, the batch included; None where that is not known.
    lost : bool
        Whether a module came before that is not converted, so that what depends on `axes` is not to be refused.
    """

    def __init__(self) -> None:
        self.axes: int | None = None
        self.lost = False
        # By identity, which is theirs as long as they are held, and by whether they were transposed.
        self._arrays: dict[tuple[int, bool], tuple[Any, np.ndarray]] = {}

    def array(self, tensor: Any, turned: bool = False) -> Any:
        """Return a tensor, or its transpose, as an array of NumPy, one for each tensor; None for None."""
        if tensor is None:
            return None
        if tensor.is_meta:
            raise DataError("the module has no weights, since it is on the device meta; load them first")
        key = id(tensor), turned
        if key not in self._arrays:
            x = host_copy(tensor)
            self._arrays[key] = tensor, np.ascontiguousarray(x.T) if turned else x
        return self._arrays[key][1]


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


# -- What each class becomes --------------------------------------------------------------------------


def _linear(module: Any, seen: _Seen) -> list[Any]:
    if seen.axes not in (None, 2) and not seen.lost:
        raise OperatorError(f"it gets {seen.axes} axes, expected (n, in_features); put a torch.nn.Flatten before it")
    return [Linear(seen.array(module.weight, turned=True), seen.array(module.bias))]


def _conv(module: Any, seen: _Seen, axes: int) -> list[Any]:
    only(module, padding_mode="zeros")
    padding: Any = module.padding
    if padding == "valid":
        padding = 0
    elif padding == "same":  # of an odd number, one more behind
        wholes = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        padding = tuple((whole // 2, whole - whole // 2) for whole in wholes)
    weight, bias = seen.array(module.weight), seen.array(module.bias)
    return [Conv(weight, bias, module.stride, padding, module.dilation, module.groups)]


def _batch_norm(module: Any, seen: _Seen) -> list[Any]:
    if module.running_mean is None:
        raise OperatorError("track_running_stats=False, so that rows depend on each other")
    mean, variance = seen.array(module.running_mean), seen.array(module.running_var)
    return [BatchNorm(mean, variance, seen.array(module.weight), seen.array(module.bias), module.eps)]


def _layer_norm(module: Any, seen: _Seen) -> list[Any]:
    weight, bias = seen.array(module.weight), seen.array(module.bias)
    return [LayerNorm(module.normalized_shape, weight, bias, epsilon=module.eps)]


def _max_pool(module: Any, seen: _Seen, axes: int) -> list[Any]:
    only(module, return_indices=False)
    options = {name: _each(getattr(module, name), axes) for name in ("stride", "padding", "dilation")}
    return [MaxPool(_each(module.kernel_size, axes), **options, ceil=module.ceil_mode)]


def _average_pool(module: Any, seen: _Seen, axes: int) -> list[Any]:
    only(module, divisor_override=None)
    options = {name: _each(getattr(module, name), axes) for name in ("stride", "padding")}
    count = module.count_include_pad
    return [AveragePool(_each(module.kernel_size, axes), **options, ceil=module.ceil_mode, count_padding=count)]


def _adaptive_pool(module: Any, seen: _Seen, axes: int) -> list[Any]:
    if _each(module.output_size, axes) != (1,) * axes:
        raise OperatorError(f"output_size={module.output_size!r} (1 is converted)")
    return [GlobalAveragePool()]


def _flatten(module: Any, seen: _Seen) -> list[Any]:
    only(module, start_dim=1)
    if module.end_dim not in (-1, None if seen.axes is None else seen.axes - 1):
        raise OperatorError(f"end_dim={module.end_dim} (-1 is converted)")
    return [Flatten()]


def _softmax(module: Any, seen: _Seen, function: Any) -> list[Any]:
    dim = 1 if module.dim is None and seen.axes == 2 else module.dim
    known = dim is not None and dim in (-1, None if seen.axes is None else seen.axes - 1)
    if not known and not seen.lost:
        raise OperatorError(f"dim={module.dim} (the last axis is converted, dim=-1)")
    return [function]


def _gelu(module: Any, seen: _Seen) -> list[Any]:
    only(module, approximate="none")
    return [activations.gelu]


def _softplus(module: Any, seen: _Seen) -> list[Any]:
    # Beyond a threshold of 20, log(1 + exp(x)) is x but for 2e-9; below, the threshold would be seen.
    if module.threshold < 20:
        raise OperatorError(f"threshold={module.threshold!r} (20 or above is converted)")
    if module.beta == 1:
        return [activations.softplus]
    return [Scale(float(module.beta)), activations.softplus, Scale(1 / float(module.beta))]


def _leaky_relu(module: Any, seen: _Seen) -> list[Any]:
    return [functools.partial(activations.leaky_relu, slope=float(module.negative_slope))]


def _elu(module: Any, seen: _Seen) -> list[Any]:
    return [functools.partial(activations.elu, alpha=float(module.alpha))]


def _dropout(module: Any, seen: _Seen) -> list[Any]:
    return [Dropout(float(module.p))]


def _plain(module: Any, seen: _Seen, function: Any) -> list[Any]:
    return [function]


class Row(NamedTuple):
    """A class of PyTorch: what makes layers of its objects, the axes of what it gives, and whether training differs.

    Zero axes are those of what comes in.
    """

    make: Callable[[Any, _Seen], list[Any]]
    axes: int = 0
    trains: bool = False


def _rows(module: str, **rows: Row) -> dict[str, Row]:
    return {f"torch.nn.modules.{module}.{name}": row for name, row in rows.items()}


def _of_axes(name: str, make: Callable[..., list[Any]]) -> dict[str, Row]:
    """Return the rows of a class that is there for one to three axes."""
    return {f"{name}{axes}d": Row(functools.partial(make, axes=axes), axes + 2) for axes in (1, 2, 3)}


def _function(function: Any) -> Row:
    return Row(functools.partial(_plain, function=function))


_DROPS = Row(_dropout, trains=True)

#: The classes that are converted, by module and name: a class of the user's of the same name is another.
MODULES: MappingProxyType[str, Row] = MappingProxyType(
    _rows("linear", Linear=Row(_linear, 2), Identity=_function(activations.identity))
    | _rows("conv", **_of_axes("Conv", _conv))
    | _rows("batchnorm", **{f"BatchNorm{axes}d": Row(_batch_norm, trains=True) for axes in (1, 2, 3)})
    | _rows("normalization", LayerNorm=Row(_layer_norm))
    | _rows("pooling", **_of_axes("MaxPool", _max_pool))
    | _rows("pooling", **_of_axes("AvgPool", _average_pool))
    | _rows("pooling", **_of_axes("AdaptiveAvgPool", _adaptive_pool))
    | _rows("flatten", Flatten=Row(_flatten, 2))
    | _rows("dropout", **dict.fromkeys(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"), _DROPS))
    | _rows(
        "activation",
        ReLU=_function(activations.relu),
        Sigmoid=_function(activations.sigmoid),
        Tanh=_function(activations.tanh),
        SiLU=_function(activations.silu),
        Softmax=Row(functools.partial(_softmax, function=activations.softmax)),
        LogSoftmax=Row(functools.partial(_softmax, function=activations.log_softmax)),
        LeakyReLU=Row(_leaky_relu),
        ELU=Row(_elu),
        GELU=Row(_gelu),
        Softplus=Row(_softplus),
    )
)
