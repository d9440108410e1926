"""PyTorch's own kernels: fewer calls, memory in the order that is faster, and code that torch.compile can trace."""

from __future__ import annotations

from typing import Any

from anyback._typing import Array
from anyback.backends._torch_attention import KERNELS
from anyback.backends._torch_convolution import Convolution, Pads, conv, in_its_order
from anyback.backends._torch_state import is_plain, version
from anyback.backends._ways import Kernel, Multiply
from anyback.numbers import FLOATS
from anyback.plan import Shape

__all__ = ["OWN", "by_onednn", "stacked", "with_zero_columns"]

_LARGEST = FLOATS["float32"].largest


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    if x.ndim != 2 or bias is None:
        y = x.matmul(weight)
        return y if bias is None else y + bias
    # One call for product and bias, without the microseconds of the standard's checks.
    return bias.addmm(x, weight)


def with_zero_columns(weight: Array, bias: Array | None = None) -> Multiply:
    import torch

    # MKL adds some rows of a narrow result in another order, depending on their alignment.
    outputs = weight.shape[1]
    with torch.inference_mode(False):  # the kept tensor may be used outside of that mode later
        more = max(12, -(-outputs // 4) * 4) - outputs
        wide = torch.nn.functional.pad(weight, (0, more))
        long = None if bias is None else torch.nn.functional.pad(bias, (0, more))
    return lambda x: _linear(x.to(weight.dtype), wide, long)[:, :outputs].contiguous()


def by_onednn(weight: Array, bias: Array | None = None, *, rows: int) -> Multiply:
    """Prepare a product of about so many rows by oneDNN's operators, with the weight in the order of its kernels."""
    import torch

    reorder, multiply = torch.ops.mkldnn._reorder_linear_weight, torch.ops.mkldnn._linear_pointwise

    def reordered() -> tuple[Any, Array]:
        with torch.inference_mode(False), torch.no_grad():  # in which it may be used in any other mode
            return version(weight), reorder(weight.detach().mT.contiguous(), rows)

    kept, unseen = reordered(), weight.is_inference()  # without a version, changes are not seen

    def product(x: Array) -> Array:
        nonlocal kept
        if unseen or not is_plain(x, weight, bias):
            return with_zero_columns(weight, bias)(x)
        of, turned = kept
        if of != version(weight):  # it was changed in place
            of, turned = kept = reordered()
        return multiply(x.to(weight.dtype), turned, bias, "none", [], "")

    return product


def stacked(weight: Array, bias: Array | None = None) -> Multiply:
    import torch

    def product(x: Array) -> Array:
        stack = x.to(weight.dtype).reshape(-1, 8, weight.shape[0])
        y = torch.bmm(stack, weight.expand(len(stack), *weight.shape)).reshape(-1, weight.shape[1])
        return y if bias is None else y + bias

    return product


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
        x = torch.nn.functional.pad(x, in_its_order(padding), value=float("-inf"))
    inside = [before for before, _ in padding] if even else 0
    return functions[len(size) - 1](x, size, stride, inside, dilation, ceil)


def _flatten(x: Array, *, shape: Shape | None = None) -> Array:
    return x if x.ndim == 2 else x.flatten(1)


def _pixels(x: Array, largest: Array) -> Array:
    import torch

    if x.is_floating_point():
        return x
    return x.to(largest.dtype) if x.dtype is torch.bool else x / largest  # in one pass, of the type of `largest`


def _clip(x: Array, *, low: float | None = None, high: float | None = None) -> Array:
    # This makes no tensor of each number, and torch.compile can trace it.
    return x if low is high is None else x.clamp(low, high)


# A gradient may need what would be overwritten.


def _relu(x: Array) -> Array:
    return x.clamp(0.0)


def _over_relu(x: Array) -> Array:
    return x.clamp(0.0) if x.requires_grad else x.relu_()


def _tanh(x: Array) -> Array:
    return x.tanh()


def _over_tanh(x: Array) -> Array:
    return x.tanh() if x.requires_grad else x.tanh_()


def _softmax(x: Array) -> Array:
    import torch

    if x.dtype != torch.float32 or x.is_mps or not x.shape[-1]:  # there is no wider type, or no number
        return NotImplemented
    # torch takes short rows one by one; the columns of a transposed copy it takes many at a time.
    if x.ndim > 1 and x.shape[0] != 1:
        y = x.mT.to(torch.float64, memory_format=torch.contiguous_format).clamp_(-_LARGEST, _LARGEST).softmax(-2)
        return y.mT.to(torch.float32, memory_format=torch.contiguous_format)
    # One row lies in memory as its column does: of one image, each call of torch counts.
    if x.ndim > 1:
        return x.mT.double().clamp_(-_LARGEST, _LARGEST).softmax(-2).mT.float()
    return x.double().clamp_(-_LARGEST, _LARGEST).softmax(-1).float()


def _sigmoid(x: Array) -> Array:
    return x.sigmoid()


def _over_sigmoid(x: Array) -> Array:
    return x.sigmoid() if x.requires_grad else x.sigmoid_()


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
    "conv": Kernel(conv, keeping=Convolution),
    "max_pool": Kernel(_max_pool, partial=True),
    "clip": Kernel(_clip),
    "flatten": Kernel(_flatten),
    "pixels": Kernel(_pixels),
    "relu": Kernel(_relu, _over_relu),
    "tanh": Kernel(_tanh, _over_tanh),
    "softmax": Kernel(_softmax, partial=True),
    "sigmoid": Kernel(_sigmoid, _over_sigmoid),
    "erf": Kernel(_erf),
    "erfc": Kernel(_erfc),
    **KERNELS,
}
