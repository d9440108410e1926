"""PyTorch's own kernels: fewer calls, memory in the order that is faster, and code that torch.compile can trace."""

from __future__ import annotations

from anyback._typing import Array
from anyback.backends._torch_attention import KERNELS
from anyback.backends._ways import Kernel, Multiply
from anyback.numbers import FLOATS
from anyback.plan import Shape

__all__ = ["OWN", "stacked", "with_zero_columns"]

Pads = tuple[tuple[int, int], ...]


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    import torch

    if x.ndim != 2 or bias is None:
        y = torch.matmul(x, weight)
        return y if bias is None else y + bias
    # One call for product and bias, without the microseconds of the standard's checks.
    return torch.addmm(bias, x, weight)


def with_zero_columns(weight: Array, bias: Array | None = None) -> Multiply:
    import torch

    # MKL adds some rows of a narrow result in another order, depending on their alignment.
    outputs = weight.shape[1]
    with torch.inference_mode(False):  # the kept tensor may be used outside of that mode later
        more = max(12, -(-outputs // 4) * 4) - outputs
        wide = torch.nn.functional.pad(weight, (0, more))
        long = None if bias is None else torch.nn.functional.pad(bias, (0, more))
    return lambda x: _linear(x.to(weight.dtype), wide, long)[:, :outputs].contiguous()


def stacked(weight: Array, bias: Array | None = None) -> Multiply:
    import torch

    def product(x: Array) -> Array:
        stack = x.to(weight.dtype).reshape(-1, 8, weight.shape[0])
        y = torch.bmm(stack, weight.expand(len(stack), *weight.shape)).reshape(-1, weight.shape[1])
        return y if bias is None else y + bias

    return product


def _conv(
    x: Array, weight: Array, bias: Array | None = None, *, stride: Shape, padding: Pads, dilation: Shape, groups: int
) -> Array:
    import torch

    functions = torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d
    even = all(before == behind for before, behind in padding)
    x = x if even else torch.nn.functional.pad(x, _in_its_order(padding))
    inside = [before for before, _ in padding] if even else 0
    return functions[weight.ndim - 3](x, weight, bias, stride, inside, dilation, groups)


def _max_pool(x: Array, *, size: Shape, stride: Shape, padding: Pads, dilation: Shape, ceil: bool = False) -> Array:
    import torch

    if not x.is_floating_point():
        return NotImplemented
    functions = torch.nn.functional.max_pool1d, torch.nn.functional.max_pool2d, torch.nn.functional.max_pool3d
    # torch pads by one number at both ends of an axis, of at most half of the window.
    even = all(before == behind <= k // 2 for (before, behind), k in zip(padding, size, strict=True))
    if not even:
        if ceil:  # with the padding enlarged instead, another last window might begin
            return NotImplemented
        x = torch.nn.functional.pad(x, _in_its_order(padding), value=float("-inf"))
    inside = [before for before, _ in padding] if even else 0
    return functions[len(size) - 1](x, size, stride, inside, dilation, ceil)


def _in_its_order(padding: Pads) -> list[int]:
    """Return padding as torch takes it: the last axis first."""
    return [number for pads in reversed(padding) for number in pads]


def _clip(x: Array, *, low: float | None = None, high: float | None = None) -> Array:
    # This makes no tensor of each number, and torch.compile can trace it.
    return x if low is high is None else x.clamp(low, high)


def _relu(x: Array) -> Array:
    return x.clamp(0.0)


def _tanh(x: Array) -> Array:
    return x.tanh()


def _softmax(x: Array) -> Array:
    import torch

    if x.dtype != torch.float32 or x.device.type == "mps" or not x.shape[-1]:  # there is no wider type, or no number
        return NotImplemented
    # torch takes short rows one by one; the columns of a transposed copy it takes many at a time.
    rows, largest = x.ndim > 1, FLOATS["float32"].largest
    if rows and x.shape[0] != 1:
        y = x.mT.to(torch.float64, memory_format=torch.contiguous_format).clamp_(-largest, largest).softmax(-2)
        return y.mT.to(torch.float32, memory_format=torch.contiguous_format)
    # One row lies in memory as its column does: of one image, each call of torch counts.
    y = (x.mT if rows else x).double().clamp_(-largest, largest).softmax(-2 if rows else -1)
    return (y.mT if rows else y).float()


def _sigmoid(x: Array) -> Array:
    import torch

    return torch.sigmoid(x)


def _erf(x: Array) -> Array:
    import torch

    # Within a unit in the last place, a fifth of the time of the op's function: benchmarks/run.py, the transformer.
    return torch.special.erf(x)


def _erfc(x: Array) -> Array:
    import torch

    return torch.special.erfc(x)


#: The kernels of PyTorch by the names of ops.
OWN = {
    "linear": Kernel(_linear),
    "conv": Kernel(_conv),
    "max_pool": Kernel(_max_pool, partial=True),
    "clip": Kernel(_clip),
    "relu": Kernel(_relu),
    "tanh": Kernel(_tanh),
    "softmax": Kernel(_softmax, partial=True),
    "sigmoid": Kernel(_sigmoid),
    "erf": Kernel(_erf),
    "erfc": Kernel(_erfc),
    **KERNELS,
}
