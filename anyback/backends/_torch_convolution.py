"""PyTorch's convolution: on a CPU by oneDNN's operators, with the weight kept in the order that its kernels read."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from anyback._typing import Array
from anyback.backends._torch_state import convolves_as_asked, is_plain, version
from anyback.plan import Shape

__all__ = ["Convolution", "channels_apart", "conv", "in_its_order"]

Pads = tuple[tuple[int, int], ...]

#: Multiply-adds of an image from which on these operators pay: to call one takes 15 microseconds longer, and of a few
#: channels, such as LeNet's 6, oneDNN takes longer where those of a place lie together.
_WORTHWHILE = 1 << 19


def conv(
    x: Array, weight: Array, bias: Array | None = None, *, stride: Shape, padding: Pads, dilation: Shape, groups: int
) -> Array:
    import torch

    functions = torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d
    even = all(before == behind for before, behind in padding)
    x = x if even else torch.nn.functional.pad(x, in_its_order(padding))
    inside = [before for before, _ in padding] if even else 0
    return functions[weight.ndim - 3](x, weight, bias, stride, inside, dilation, groups)


def in_its_order(padding: Pads) -> list[int]:
    """Return padding as torch takes it: the last axis first."""
    return [number for pads in reversed(padding) for number in pads]


class _Kept(NamedTuple):
    """What is kept of a weight and a bias: for which state of theirs, and the weight in oneDNN's order, or None."""

    weight: Array
    bias: Array | None
    state: tuple[Any, ...]
    reordered: Array | None
    beside: Array | None


class Convolution:
    """The convolution of one call of a network, whose arrays are nearly always those of the call before.

    oneDNN's kernels read a weight in an order of their own. The public function reorders it each time, and works on
    images whose channels do not lie together: 1.7 times the time of ONNX Runtime for one image and ResNet-18, where
    these operators, which are those of `torch.compile`, take 1.07 (benchmarks/run.py, networks). They could compute the
    activation as well. That saves 1 % of the time, and oneDNN's maximum of 0 and nan is 0.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: _Kept | None = None  # replaced as a whole, so threads may share it

    def __call__(
        self,
        x: Array,
        weight: Array,
        bias: Array | None = None,
        *,
        stride: Shape,
        padding: Pads,
        dilation: Shape,
        groups: int,
    ) -> Array:
        import torch

        if not is_plain(x, weight, bias) or (operators := _operators()) is None:
            return conv(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
        reorder, convolve = operators
        where = [before for before, _ in padding], stride, dilation, groups
        kept, state = self._kept, _state(x, weight, bias)  # of before it is read: another thread may change it
        if kept is None or kept.weight is not weight or kept.bias is not bias or kept.state != state:
            reordered = beside = None
            if _takes(x, weight, bias, stride, padding, groups):
                with torch.inference_mode(False), torch.no_grad():  # in which it may be used in any other mode
                    reordered = reorder(weight.detach().contiguous(), *where, list(x.shape))
                    beside = None if bias is None else bias.detach().clone()
            kept = self._kept = _Kept(weight, bias, state, reordered, beside)
        if kept.reordered is None or not convolves_as_asked():
            return conv(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
        return convolve(x, kept.reordered, kept.beside, *where, "none", [], "")


def _state(x: Array, weight: Array, bias: Array | None) -> tuple[Any, ...]:
    """Return what decides on the order of a weight: the images, and the versions of arrays changed in place."""
    return x.shape, x.dtype, x.device, x.layout, version(weight), version(bias)


def _takes(x: Array, weight: Array, bias: Array | None, stride: Shape, padding: Pads, groups: int) -> bool:
    """Return whether oneDNN's operators are to convolve; they check less than the public function does."""
    import torch

    arrays = (x, weight) if bias is None else (x, weight, bias)
    return bool(
        all(a.dtype is torch.float32 and a.is_cpu and a.layout is torch.strided for a in arrays)
        and not any(a.is_inference() for a in arrays[1:])  # which have no version
        and x.ndim == weight.ndim == 4
        and x.shape[1] == weight.shape[1] * groups
        and weight.shape[0] % groups == 0
        and x.numel()
        and math.prod(x.shape[2:]) * weight.numel() >= _WORTHWHILE * math.prod(stride)
        and (bias is None or bias.shape == weight.shape[:1])
        and all(before == behind for before, behind in padding)
    )


@functools.cache
def _operators() -> tuple[Callable[..., Array], Callable[..., Array]] | None:
    """Return the operators that reorder a weight, and convolve with it; None where this torch has none of them."""
    import torch

    try:
        reorder, convolve = torch.ops.mkldnn._reorder_convolution_weight, torch.ops.mkldnn._convolution_pointwise
        found = reorder.default, convolve.default
        x = torch.ones(1, 1, 1, 1, device="cpu", dtype=torch.float32)
        where = [0, 0], [1, 1], [1, 1], 1
        y = found[1](x, found[0](x, *where, [1, 1, 1, 1]), None, *where, "none", [], "")
        return found if y.tolist() == [[[[1.0]]]] else None
    except (AttributeError, RuntimeError, TypeError):
        return None


def channels_apart(y: Any) -> Any:
    """Return an output in the order of memory that is usual, where `Convolution` has left it in another."""
    if getattr(y, "ndim", 0) != 4 or not is_plain(y) or y.is_contiguous():
        return y
    import torch

    return y.contiguous() if y.is_contiguous(memory_format=torch.channels_last) else y
