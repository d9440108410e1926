"""What PyTorch is set to do: its switches of precision, and whether it does more with arrays than compute."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from anyback._typing import Array
from anyback.backends._machine import vendor

__all__ = ["convolves_as_asked", "is_plain", "prefers_onednn", "switches", "version"]


@functools.cache
def switches(kind: str) -> tuple[tuple[Any, Callable[[], str]], ...]:
    """Return one switch for each library that may multiply on a kind of device, and a function that reads it."""
    import torch

    if kind == "cpu":
        found: tuple[Any, ...] = torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv
    else:  # cuDNN's TF32 is on unless set, whatever the others say
        found = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    return tuple((switch, _reader(switch)) for switch in found)


def _reader(switch: Any) -> Callable[[], str]:
    import torch

    read = getattr(torch._C, "_get_fp32_precision_getter", None)  # what the switch calls, at a sixth of its time
    if read is not None and {"backend", "op"} <= vars(switch).keys():
        return functools.partial(read, switch.backend, switch.op)
    return lambda: switch.fp32_precision


def convolves_as_asked() -> bool:
    """Return whether oneDNN may convolve, and rounds no operands."""
    import torch

    return torch.backends.mkldnn.enabled and switches("cpu")[1][1]() in ("none", "ieee")


@functools.cache
def prefers_onednn() -> bool:
    """Return whether oneDNN multiplies faster than MKL, by which torch multiplies.

    MKL leaves AVX-512 alone on processors that are not Intel's: on a Zen 5 its products take twice as long, and those
    of 10,000 images of the MLP 1.8 times (benchmarks/run.py, throughput). With AVX2 there is no difference.
    """
    import torch

    if not torch.backends.mkl.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        x = torch.ones(1, 1, device="cpu", dtype=torch.float32)
        turned = torch.ops.mkldnn._reorder_linear_weight(x, 1)
        right = torch.ops.mkldnn._linear_pointwise(x, turned, None, "none", [], "").tolist() == [[1.0]]
        return right and vendor() not in ("", "GenuineIntel")
    except (AttributeError, RuntimeError, TypeError):
        return False


def is_plain(*arrays: Array | None) -> bool:
    """Return whether torch does nothing with arrays but compute with their numbers: no gradient, no tracing."""
    import torch

    if torch.compiler.is_compiling() or _watched()() or torch.jit.is_tracing():
        return False
    graded, tangent = torch.is_grad_enabled(), torch.autograd.forward_ad.unpack_dual
    for x in arrays:
        if x is not None and (type(x) is not torch.Tensor or (graded and x.requires_grad) or tangent(x)[1] is not None):
            return False
    return True


@functools.cache
def _watched() -> Callable[[], bool]:
    """Return a function that tells whether a transformation such as `vmap`, or a mode, watches what torch computes."""
    import torch

    try:  # these functions are not public
        transforms, modes = torch._C._functorch.peek_interpreter_stack, torch._C._len_torch_dispatch_stack
        if transforms() is None and modes() >= 0:
            return lambda: transforms() is not None or modes() > 0
    except (AttributeError, TypeError):
        pass
    return lambda: True


def version(x: Array | None) -> tuple[int, int] | None:
    """Return what changes when torch changes an array in place, or is given another as its `data`; None for no such.

    Nothing tells of numbers that are changed past torch's own count: through ``x.data``, or NumPy's view of the memory.
    """
    return None if x is None or x.is_inference() else (x._version, x.data_ptr())
