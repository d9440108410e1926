"""PyTorch: CPUs and GPUs. Always through array-api-compat, since torch itself differs from the standard."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np

from anyback._typing import Array, Device, DType
from anyback.backends._precision import get_precision, offered_precision
from anyback.backends._programs import Program
from anyback.backends._settings import Setting
from anyback.backends._torch_convolution import channels_apart
from anyback.backends._torch_kernels import OWN, by_onednn, stacked, with_zero_columns
from anyback.backends._torch_state import prefers_onednn, switches
from anyback.backends._ways import Kernel, Product, Way, kept, single_rows, whole_tiles
from anyback.backends.base import Backend
from anyback.errors import BackendError
from anyback.numbers import PrecisionName

__all__ = ["Torch"]

#: A tile of fewer rows is filled up to a multiple of this number. Elementwise kernels treat the numbers that do not
#: fill their vectors in another way, and so many rows leave none.
_FEW_ROWS = 64


class Torch(Backend):
    name: ClassVar[str] = "torch"
    package: ClassVar[str] = "torch"
    extra: ClassVar[str] = "torch"
    namespace: ClassVar[str] = "array_api_compat.torch"
    own: ClassVar[Mapping[str, Kernel]] = OWN
    tile: ClassVar[int] = 1024
    tiles: ClassVar[int] = 8

    @property
    def on_host(self) -> bool:
        return self._kind() == "cpu"

    def devices(self) -> tuple[str, ...]:
        import torch

        found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        if torch.backends.mps.is_available():
            found.append("mps")
        return tuple(found)

    def device_of(self, x: Array) -> str | None:
        return str(x.device)

    def device_object(self) -> Device:
        import torch

        try:
            # "meta" computes shapes alone; it is no device that is listed, but one that is asked for.
            device = torch.device(str(self.device))
            torch.empty(0, device=device)
        except Exception:  # RuntimeError, AssertionError: it depends on how torch was built
            raise self.no_such_device() from None
        return device

    def from_numpy(self, x: np.ndarray, device: Device) -> Array:
        import torch

        if any(stride < 0 for stride in x.strides):  # torch has no such arrays, of one row neither
            x = x.copy()
        if x.dtype.name == "bfloat16":  # NumPy's comes from ml_dtypes, which torch does not know
            bits = torch.asarray(np.ascontiguousarray(x).view(np.int16), device=device)
            return bits.view(torch.bfloat16)
        # A tensor can be written to, so one for the user gets memory of its own where that of `x` is read-only.
        return torch.asarray(x if x.flags.writeable else x.copy(), device=device)

    def put_tile(self, x: np.ndarray) -> Array:
        import torch

        if x.flags.writeable or x.dtype.name == "bfloat16" or any(stride < 0 for stride in x.strides):
            return self.asarray(x)
        # Nothing here writes to a tile. from_dlpack takes the memory as it is; torch.asarray would warn of it.
        shared = torch.from_dlpack(x)
        return shared if self.device is None else shared.to(self.device_object())

    def more_than_numbers(self, x: Array) -> str | None:
        import torch

        if x.is_nested:
            return "it is nested; pad it, for example with torch.nested.to_padded_tensor(x, 0)"
        return None if x.layout is torch.strided else "it is sparse; pass x.to_dense()"

    def to_numpy(self, x: Array) -> np.ndarray:
        import torch

        if x.is_meta:
            raise BackendError("torch:meta computes shapes alone: there are no numbers to look at")
        x = x.detach().cpu()
        if x.dtype != torch.bfloat16:
            return x.numpy()
        try:
            from ml_dtypes import bfloat16
        except ImportError:
            raise BackendError("NumPy has no bfloat16 of its own; pip install ml_dtypes, or cast it") from None
        return x.view(torch.int16).numpy().view(bfloat16)

    def one_thread(self) -> AbstractContextManager[Any]:
        return _threads.held(1)

    def precision(self, name: str) -> AbstractContextManager[Any]:
        import torch

        kind = self._kind()
        autocast = kind != "meta" and torch.is_autocast_enabled(kind)
        return _products_without_autocast(name, kind) if autocast else _products_on(kind).held(name)

    def in_settings(self, program: Program, precision: PrecisionName | None = None) -> Program:
        usual = super().in_settings(program, precision)
        if precision is not None or self._kind() != "cpu":
            return usual
        import torch

        compiling, autocast = torch.compiler.is_compiling, torch.is_autocast_enabled

        def call(values: list[Array]) -> tuple[Array, ...]:
            if compiling():
                return usual(values)
            if autocast("cpu"):
                return tuple([channels_apart(y) for y in usual(values)])
            # What `scope` does, without making its objects: a tenth of the time of one image.
            _on_cpu.enter(offered_precision(self))
            try:
                ys = program(values)
            finally:
                _on_cpu.leave()
            return tuple([channels_apart(y) for y in ys])

        return call

    def programs(self, run: Program, host: Sequence[int] = (), one: Program | None = None) -> tuple[Program, Program]:
        program, first = self.in_settings(run), self.in_settings(one or run)

        def program_of_one(values: list[Array]) -> tuple[Array, ...]:
            values[0] = values[0][None]  # half a microsecond less than with an ellipsis
            return tuple([y[0] if y.ndim else y for y in first(values)])

        return program, program_of_one

    def handed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **attributes: function(*map(channels_apart, arguments), **attributes)

    def unwatched(self, x: Array) -> AbstractContextManager[Any]:
        import torch

        # What is made in inference mode can never take part in a gradient, the weights of a network among it.
        return torch.inference_mode(False) if torch.is_inference_mode_enabled() else super().unwatched(x)

    def compiling(self) -> AbstractContextManager[Any] | None:
        import torch

        if not torch.compiler.is_compiling():
            return None
        kind = self._kind()
        if not _as_asked(kind):
            raise BackendError(
                "torch is set to round the operands of products, and what it compiles runs as it is set; call "
                "torch.set_float32_matmul_precision('highest') before"
            )
        return torch.autocast(kind, enabled=False)

    def _kind(self) -> str:
        return (self.device or "cpu").partition(":")[0]

    def offered(self) -> tuple[str, ...]:
        import torch

        device = torch.device(self.device or "cpu")
        if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):  # Ampere and later
            return ("highest", "tf32")
        return ("highest", "bf16") if device.type == "cpu" and _cpu_multiplies_in_bf16() else ("highest",)

    def contiguous(self, tile: Array) -> Array:
        return tile.contiguous()

    def wait(self, x: Array) -> None:
        import torch

        if x.is_cuda:
            torch.cuda.synchronize(x.device)

    def widest_float(self, x: Array) -> str:
        return "float32" if x.device.type == "mps" else "float64"  # Apple's GPUs have no float64

    def ways(self, product: Product) -> tuple[Way, ...]:
        whole, *others, single = super().ways(product)
        if self.device == "meta":  # without numbers there is nothing to check
            return (whole,)
        if keeping := self.own[product.op].keeping if product.op in self.own else None:
            return kept(lambda kernel: whole_tiles(kernel, product.tile), keeping), kept(single_rows, keeping)
        if product.op == "linear":
            tile, readies = product.tile, [("whole tiles", whole.ready), ("zero columns", with_zero_columns)]
            wide = product.dtype == "float32" and product.multiply_adds > 0 and get_precision() == "highest"
            if self.on_host and wide and prefers_onednn():
                readies.insert(0, ("oneDNN", functools.partial(by_onednn, rows=tile)))
            # On a CPU a few rows take no whole tile, where they have the same bits in fewer rows as well.
            multiples = sorted({math.gcd(tile, _FEW_ROWS) if self.on_host else tile, tile})
            whole, *others = (Way(name, tile, multiple, ready) for name, ready in readies for multiple in multiples)
            others.append(Way("stacks of 8 rows", 8, 8, stacked))
        return whole, *others, single

    def ran_out(self, error: BaseException) -> bool:
        import torch

        if super().ran_out(error) or isinstance(error, torch.OutOfMemoryError):
            return True
        # The allocator of the host raises a plain RuntimeError, in these words on Linux, and on Windows.
        return any(words in str(error) for words in ("can't allocate memory", "not enough memory"))

    def default_float(self, x: Array) -> DType:
        import torch

        return torch.get_default_dtype()


# -- Settings -----------------------------------------------------------------------------------------


def _set_threads(number: int) -> Callable[[], object]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    return lambda: torch.set_num_threads(before)


def _nothing() -> None: ...


def _set_products(name: str, kind: str) -> Callable[[], object]:
    wanted = "ieee" if name == "highest" else name
    # To read a switch takes a tenth of a microsecond; to set it and put it back, much longer.
    before = [(switch, read()) for switch, read in switches(kind)]
    # On a CPU nothing is rounded unless somebody asks for it.
    as_it_is = "none" if kind == "cpu" and name == "highest" else wanted
    changed = [(switch, setting) for switch, setting in before if setting != wanted and setting != as_it_is]
    if not changed:
        return _nothing

    def put_back() -> None:
        for switch, setting in changed:
            switch.fp32_precision = setting

    for switch, _ in changed:
        switch.fp32_precision = wanted
    return put_back


@contextlib.contextmanager
def _products_without_autocast(name: str, kind: str) -> Iterator[None]:
    # Inside autocast torch multiplies in bfloat16 or float16, and the answer is of that type.
    import torch

    with torch.autocast(kind, enabled=False), _products_on(kind).held(name):
        yield


def _as_asked(kind: str) -> bool:
    """Return whether torch's own switches say no less than the precision in force."""
    import torch

    switch = torch.backends.mkldnn.matmul if kind == "cpu" else torch.backends.cuda.matmul
    return switch.fp32_precision in ("none", "ieee", get_precision())


# What torch.compiler.assume_constant_result does, without torch: it is called while compiling, and not looked into.
_as_asked._dynamo_marked_constant = True  # type: ignore[attr-defined]


_threads = Setting("torch's number of threads", _set_threads)
_on_cpu, _elsewhere = (
    Setting("torch's precision", functools.partial(_set_products, kind=kind)) for kind in ("cpu", "cuda")
)


def _products_on(kind: str) -> Setting:
    return _on_cpu if kind == "cpu" else _elsewhere


@functools.cache
def _cpu_multiplies_in_bf16() -> bool:
    # Measured, since the setting is a permission: a processor without such units ignores it.
    import torch

    # Named, since the defaults may be others; 1 + 2**-12 is 1 in bfloat16.
    x = torch.full((256, 256), 1 + 2.0**-12, dtype=torch.float32, device="cpu")
    with torch.autocast("cpu", enabled=False), _on_cpu.held("bf16"):
        return bool(torch.matmul(x, x)[0, 0] == 256)
