"""PyTorch's kernels of what transformers are made of: one call of torch for each op, or few."""

from __future__ import annotations

import math

from anyback._typing import Array
from anyback.backends._ways import Kernel
from anyback.plan import Shape

__all__ = ["KERNELS"]


def _gelu_by_erf(x: Array) -> Array:
    import torch

    return torch.nn.functional.gelu(x)


def _layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, shape: Shape, epsilon: float
) -> Array:
    import torch

    return torch.nn.functional.layer_norm(x, shape, weight, bias, epsilon)


def _dense(x: Array, weight: Array, bias: Array | None = None) -> Array:
    import torch

    if bias is None:
        return torch.matmul(x, weight)
    rows = x.reshape(math.prod(x.shape[:-1]), weight.shape[0])  # a size of -1 is not known where there are no features
    return torch.addmm(bias, rows, weight).reshape(*x.shape[:-1], weight.shape[1])


def _attention(q: Array, k: Array, v: Array, mask: Array | None = None, *, scale: float) -> Array:
    import torch

    # Of 24 places, two thirds of the time of scaled_dot_product_attention.
    scores = torch.matmul(q * scale, k.mT)
    return torch.matmul((scores if mask is None else scores + mask).softmax(-1), v)


def _permute(x: Array, *, axes: Shape) -> Array:
    return x.permute(0, *axes)


def _pick(x: Array, *, axis: int, index: int) -> Array:
    return x.select(axis, index)


#: The kernels by the names of ops. Together they take a small transformer from 2.0 of PyTorch's own module to 1.0.
KERNELS = {
    "gelu_by_erf": Kernel(_gelu_by_erf),
    "layer_norm": Kernel(_layer_norm),
    "dense": Kernel(_dense),
    "attention": Kernel(_attention),
    "permute": Kernel(_permute),
    "pick": Kernel(_pick),
}
