"""The networks of `tools/onnx_from_torch.py` as they are written by hand on JAX: weights as arguments, under `jit`.

Images have their channels last, as in Flax; batch normalizations are folded into the convolutions before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx_from_torch as networks
from torch import nn

__all__ = ["by_hand"]

#: A part of a network: its weights, and the function that takes them and an array.
Part = tuple[Any, Callable[[Any, Any], Any]]


def by_hand(module: nn.Module, x: np.ndarray) -> Callable[[], Any]:
    """Return the function without arguments that computes a network of PyTorch on `x`, and waits for the answer."""
    weights, apply = part(module)

    @jax.jit
    def run(weights: Any, x: Any) -> Any:
        return apply(weights, x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)

    placed, given = jax.device_put(weights), jax.device_put(x)
    return lambda: run(placed, given).block_until_ready()


def part(module: nn.Module) -> Part:
    kind = type(module)
    if kind in FUNCTIONS:
        function = FUNCTIONS[kind]
        return (), lambda _, x: function(x)
    return PARTS[kind](module)


def host(x: Any) -> np.ndarray:
    return np.asarray(x.detach(), np.float32)


def chain(parts: Sequence[Part]) -> Part:
    functions = [function for _, function in parts]

    def apply(weights: Any, x: Any) -> Any:
        for own, function in zip(weights, functions, strict=True):
            x = function(own, x)
        return x

    return [weights for weights, _ in parts], apply


def sequential(module: nn.Sequential) -> Part:
    return chain(list(folded(list(module))))


def folded(modules: list[nn.Module]) -> Iterator[Part]:
    for module, behind in zip(modules, [*modules[1:], None], strict=True):
        if isinstance(module, nn.Conv2d):
            yield conv(module, behind if isinstance(behind, nn.BatchNorm2d) else None)
        elif not isinstance(module, nn.BatchNorm2d | nn.Dropout | nn.Identity):
            yield part(module)


def conv(module: nn.Conv2d, norm: nn.BatchNorm2d | None = None) -> Part:
    weight = host(module.weight).transpose(2, 3, 1, 0)
    bias = np.zeros(weight.shape[-1], np.float32) if module.bias is None else host(module.bias)
    if norm is not None:
        factor = host(norm.weight) / np.sqrt(host(norm.running_var) + np.float32(norm.eps))
        weight, bias = weight * factor, (bias - host(norm.running_mean)) * factor + host(norm.bias)
    stride, groups = module.stride, module.groups
    padding = [(p, p) for p in module.padding]

    def apply(own: Any, x: Any) -> Any:
        axes = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, own[0], stride, padding, dimension_numbers=axes, feature_group_count=groups)
        return y + own[1]

    return (weight, bias), apply


def linear(module: nn.Linear) -> Part:
    return (host(module.weight).T.copy(), host(module.bias)), lambda own, x: x @ own[0] + own[1]


def layer_norm(module: nn.LayerNorm) -> Part:
    def apply(own: Any, x: Any) -> Any:
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + module.eps) * own[0] + own[1]

    return (host(module.weight), host(module.bias)), apply


def max_pool(module: nn.MaxPool2d) -> Part:
    k, s, p = (1, module.kernel_size, module.kernel_size, 1), (1, module.stride, module.stride, 1), module.padding
    return (), lambda _, x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, k, s, [(0, 0), (p, p), (p, p), (0, 0)])


def average_pool(module: nn.AvgPool2d) -> Part:
    k = (1, module.kernel_size, module.kernel_size, 1)
    return (), lambda _, x: jax.lax.reduce_window(x, 0.0, jax.lax.add, k, k, "VALID") / module.kernel_size**2


def residual(module: networks.Residual) -> Part:
    (ahead, first), (past, second) = part(module.ahead), part(module.past)
    return (ahead, past), lambda own, x: jax.nn.relu(first(own[0], x) + second(own[1], x))


def squeeze(module: networks.Squeeze) -> Part:
    weights, weigh = part(module.weigh)
    return weights, lambda own, x: x * weigh(own, x)


def depthwise(module: networks.Depthwise) -> Part:
    weights, ahead = part(module.ahead)
    return weights, lambda own, x: x + ahead(own, x) if module.same else ahead(own, x)


def attentive(module: networks.Attentive) -> Part:
    parts = [part(m) for m in (*module.norms, module.project, module.merge, module.dense)]
    (one, two, project, merge, dense), heads = [function for _, function in parts], module.heads

    def apply(own: Any, x: Any) -> Any:
        n, t, width = x.shape
        q, k, v = project(own[2], one(own[0], x)).reshape(n, t, 3, heads, -1).transpose(2, 0, 3, 1, 4)
        scores = q @ k.swapaxes(-1, -2) / np.sqrt(np.float32(width // heads))
        y = jax.nn.softmax(jnp.where(np.tri(t, dtype=bool), scores, -jnp.inf)) @ v
        x = x + merge(own[3], y.swapaxes(1, 2).reshape(n, t, width))
        return x + dense(own[4], two(own[1], x))

    return [weights for weights, _ in parts], apply


def transformer(module: networks.Transformer) -> Part:
    behind, apply = chain([sequential(module.layers), part(module.norm), part(module.last)])
    weights = host(module.words.weight), host(module.places.weight), behind
    return weights, lambda own, x: apply(own[2], own[0][x] + own[1][: x.shape[1]])


FUNCTIONS: dict[type, Callable[[Any], Any]] = {
    nn.ReLU: jax.nn.relu,
    nn.ReLU6: jax.nn.relu6,
    nn.Tanh: jnp.tanh,
    nn.GELU: lambda x: jax.nn.gelu(x, approximate=False),
    nn.Hardswish: jax.nn.hard_swish,
    nn.Hardsigmoid: jax.nn.hard_sigmoid,
    nn.LogSoftmax: jax.nn.log_softmax,
    nn.Identity: lambda x: x,
    nn.AdaptiveAvgPool2d: lambda x: x.mean((1, 2), keepdims=True),
    nn.Flatten: lambda x: x.transpose(0, 3, 1, 2).reshape(len(x), -1),
}
PARTS: dict[type, Callable[[Any], Part]] = {
    nn.Sequential: sequential,
    nn.Conv2d: conv,
    nn.Linear: linear,
    nn.LayerNorm: layer_norm,
    nn.MaxPool2d: max_pool,
    nn.AvgPool2d: average_pool,
    networks.Residual: residual,
    networks.Squeeze: squeeze,
    networks.Depthwise: depthwise,
    networks.Attentive: attentive,
    networks.Transformer: transformer,
}
