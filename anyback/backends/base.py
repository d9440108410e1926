"""What a backend is: an array library and how to use it, with defaults for any standard library.

A row overrides only what its library does its own way. The arithmetic is not here: it is written once, in
the standard, and runs on whatever arrays it is given.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import array_api_compat
import numpy as np

from anyback._typing import Array, Device, DType, Namespace
from anyback.backends import _special
from anyback.backends._ways import Product, Products, Tile, Way, chosen_way, single_rows, tile_in_hand
from anyback.errors import BackendError
from anyback.numbers import dtype_name, largest_of

if TYPE_CHECKING:
    from anyback.layers import Sequential

__all__ = ["Backend", "Status", "Unusable", "first_line"]


@dataclass(frozen=True)
class Status:
    """Whether a backend can be used here, and if not, why and what mends it.

    Parameters
    ----------
    name : str
        The backend.
    usable : bool
        True where an array was made and a first computation on it was right.
    version : str or None
        Version of the library, where it is installed.
    devices : tuple of str
        Devices by the names that `use_backend` takes after the colon; the default one first.
    reason, remedy : str or None
        Where not usable: why not, in words, and the command or the step that mends it.
    """

    name: str
    usable: bool
    version: str | None = None
    devices: tuple[str, ...] = ()
    reason: str | None = None
    remedy: str | None = None


class Unusable(Exception):
    """Raised inside a probe: why the library cannot be used, and what mends it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def first_line(error: BaseException) -> str:
    """Return an error as one line, short enough for a table."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


_NOTHING = contextlib.nullcontext()  # may be entered again and again, also inside itself


@dataclass(frozen=True)
class Backend:
    """An array library, and where on it: the default works for any library that follows the standard.

    Parameters
    ----------
    device : str or None
        Device by the library's own name, such as ``"cuda:1"``; None is the library's default.
    """

    device: str | None = None

    name: ClassVar[str] = ""
    #: Distribution package whose version is reported, and the extra of anyback that installs it.
    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    #: Module that holds the standard's functions, by which arrays of the library are recognised.
    namespace: ClassVar[str] = ""
    #: Rows of one tile: the one shape that `predict` computes with (benchmarks/tiles.py measures it).
    tile: ClassVar[int] = 512
    #: Tiles that `predict` takes at a time unless told otherwise.
    tiles: ClassVar[int] = 1
    #: Whether its devices differ in name only, so that one stands for all in a comparison.
    same_devices: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name if self.device is None else f"{self.name}:{self.device}"

    @property
    def workers(self) -> int:
        """Batches to compute at a time, each by a thread of its own; 1 where the library has its own threads."""
        return 1

    @property
    def xp(self) -> Namespace:
        """The namespace that holds the library's standard functions."""
        return importlib.import_module(self.namespace)

    # -- Is it there? --------------------------------------------------------------------------------

    def status(self) -> Status:
        """Import the library, make an array and compute with it; never raises.

        Returns
        -------
        Status
        """
        version = None
        try:
            version = self.version()
            devices = self.probe()
        except Unusable as why:
            return Status(self.name, False, version, (), why.reason, why.remedy)
        except Exception as error:  # whatever a broken installation throws is the answer, not a crash
            remedy = f"reinstall it: pip install --force-reinstall {self.package}"
            return Status(self.name, False, version, (), f"does not work: {first_line(error)}", remedy)
        return Status(self.name, True, version, devices)

    def version(self) -> str:
        """Return the version of the library, or raise `Unusable` where it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            pass
        remedy = f"pip install 'anyback[{self.extra}]'"
        raise Unusable(f"{self.package} is not installed", remedy)

    def probe(self) -> tuple[str, ...]:
        """Compute once on the device; return the devices, or raise `Unusable` or anything else."""
        self.first_kernel()
        return self.devices()

    def first_kernel(self) -> None:
        """Make a small array on the device, add it up, and compare: a device that is listed may still fail."""
        total = self.xp.sum(self.asarray(np.arange(8, dtype=np.float32)))
        if self.to_numpy(total) != 28:
            raise Unusable("computes wrong sums", f"reinstall it: pip install --force-reinstall {self.package}")

    def devices(self) -> tuple[str, ...]:
        """Return the names of the devices that are there, the default one first."""
        return tuple(str(device) for device in self.xp.__array_namespace_info__().devices())

    # -- Moving --------------------------------------------------------------------------------------

    def device_object(self) -> Device:
        """Return the library's own object for `device`, or raise `BackendError` naming those there are."""
        for device in self.xp.__array_namespace_info__().devices():
            if str(device) == self.device:
                return device
        raise self.no_such_device()

    def no_such_device(self) -> BackendError:
        """Return the error for a device that is not there."""
        known = ", ".join(f"{self.name}:{device}" for device in self.devices()) or "none"
        return BackendError(f"{self.name} has no device {self.device!r} here; known: {known}")

    def asarray(self, x: Array) -> Array:
        """Return `x`, a NumPy array or an array of this library, as an array on this device."""
        device = None if self.device is None else self.device_object()
        if isinstance(x, np.ndarray) and self.namespace != "array_api_compat.numpy":
            return self.from_numpy(x, device)
        return x if device is None else array_api_compat.to_device(x, device)

    def from_numpy(self, x: np.ndarray, device: Device) -> Array:
        """Copy a NumPy array to `device`; None is the default device."""
        return self.xp.asarray(x, device=device)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return an array of this library as a NumPy array."""
        return np.asarray(x)

    def device_of(self, x: Array) -> str | None:
        """Return the name of the device that `x` lives on; None where it has none (a traced array)."""
        device = array_api_compat.device(x)
        return None if device is None else str(device)

    def more_than_numbers(self, x: Array) -> str | None:
        """Return why an array of this library is no plain array of numbers, with what to pass; None where it is one."""
        return None

    # -- Its own way ---------------------------------------------------------------------------------

    def unwatched(self, x: Array) -> AbstractContextManager[Any]:
        """Return a scope in which an array made of `x` is one for good, whoever watches what is computed.

        Inside somebody's program that is being traced, or in a mode without gradients, it may be kept for later.
        """
        return _NOTHING

    def precision(self, name: str) -> AbstractContextManager[Any]:
        """Return a scope in which matrix products run at precision `name`; one of `offered`."""
        return _NOTHING

    def compiling(self) -> AbstractContextManager[Any] | None:
        """Return the scope to compute in where the library is just making a program of the caller's code; else None.

        Such a program runs later, so no setting can be held while it does.
        """
        return None

    def offered(self) -> tuple[str, ...]:
        """Return the precisions that this device offers."""
        return ("highest",)

    def steady(self) -> AbstractContextManager[Any]:
        """Return a scope in which the library sums in the same order however many threads there are."""
        return _NOTHING

    def compile(self, net: Sequential, precision: str) -> Callable[[Array, int], Array]:
        """Return a function that does what `net` does for a tile, of which so many rows count.

        A tile is what `lent` returns for rows on the host, or an array on this device. It has `tile` rows, or fewer but
        a multiple of `grain`. What comes out goes to `trimmed`. It is called where `precision` is in force.
        """
        products = Products(self, precision, net.arrays)

        def forward(tile: Array, count: int) -> Array:
            return Tile(products, net.rowwise).forward(net.forward, self.packed(tile))

        return forward

    def packed(self, tile: Array) -> Array:
        """Return a tile with its rows one behind the other in memory, where the library knows of such things."""
        return tile

    def grain(self, net: Sequential, precision: str, dtype: str) -> int:
        """Return the number of rows to a multiple of which the last tile of `dtype` is filled up.

        That of the rows whose bits do not depend on how many of them are computed at a time.
        """
        return self.tile

    def ways(self, width: int, outputs: int, dtype: str) -> tuple[Way, ...]:
        """Return the ways to multiply a tile by a weight of this shape, best first; the last holds by construction."""

        def whole(weight: Array, bias: Array | None) -> Product:
            return lambda x: self.product(x, weight, bias)

        def eights(weight: Array, bias: Array | None) -> Product:
            def product(x: Array) -> Array:
                stack = self.xp.reshape(x, (x.shape[0] // 8, 8, width))
                return self.xp.reshape(self.product(stack, weight, bias), (x.shape[0], outputs))

            return product

        tile = self.tile
        return Way("whole tiles", tile, tile, whole), Way("stacks of 8 rows", 8, 8, eights), single_rows(self)

    def chosen(self, net: Sequential, precision: str) -> dict[str, str]:
        """Return, for each weight of a network by its shape, the name of the way that `predict` takes here."""
        weights = [x for x in net.arrays if x.ndim == 2]
        return {
            f"{x.shape[0]}×{x.shape[1]}": chosen_way(self, precision, *map(int, x.shape), dtype_name(x.dtype)).name
            for x in weights
        }

    def sliceable(self, x: Array) -> Array:
        """Return an array of this library as one that is cheap to cut: itself, or NumPy's view of the same memory."""
        return x

    def lent(self, x: np.ndarray) -> Array:
        """Return rows on the host for a function of `compile`; they do not change before `trimmed` has returned."""
        return self.asarray(x)

    def trimmed(self, y: Array, count: int) -> Array:
        """Return the first `count` rows of what a function of `compile` returned; a NumPy array may stand for it."""
        return y if count == y.shape[0] else y[:count, ...]

    def wait(self, x: Array) -> None:
        """Block until `x` has been computed: for clocks."""

    # What a library lacks, does faster its own way, or gets wrong beyond the bounds that activations.py promises.

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """Return ``x @ weight + bias``; `x` is of the dtype of `weight`, or integers, which are cast to it.

        In `predict`, the bits of a row are the same whatever its place.
        """
        if bias is not None and bias.dtype != weight.dtype:
            return self.linear(x, weight, None) + (bias if x.ndim == 1 else bias[None, ...])
        tile = tile_in_hand()
        if tile is not None and x.ndim == 2 and x.shape[0]:
            y = tile.products.computed(x, weight, bias)
            if y is not None:
                tile.made = y
                return y
        return self.product(x, weight, bias)

    def product(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """Return ``x @ weight + bias`` in whatever way is fastest; the bias is of the dtype of `weight`."""
        xp = self.xp
        if x.dtype != weight.dtype:
            x = xp.astype(x, weight.dtype)
        # The function, not the operator: only the function promotes as the standard says on every library.
        y = xp.matmul(x, weight)  # (n, out_features)
        if bias is not None:
            # Into the memory of `y` where the library can, which nobody else has seen. The bias takes the axes of `y`,
            # since JAX may be told to refuse to add any.
            y += bias if y.ndim == 1 else xp.reshape(bias, (1,) * (y.ndim - 1) + bias.shape)
        return y

    def widest_float(self, x: Array) -> str:
        """Return the widest floating-point type of the device of `x`: ``"float64"`` or ``"float32"``."""
        return _widest_float(self, self.device_of(x))

    def default_float(self, x: Array) -> DType:
        """Return the library's floating-point type for new arrays on the device of `x`."""
        types = self.xp.__array_namespace_info__().default_dtypes(device=array_api_compat.device(x))
        return types["real floating"]

    def clipped(self, xp: Namespace, x: Array, low: float | None, high: float | None) -> Array:
        """Return `x`, in which no number is below `low` or above `high`, where they are given; nan stays."""
        x = x if low is None else xp.maximum(x, low)
        return x if high is None else xp.minimum(x, high)

    def softmax(self, x: Array, dtype: DType) -> Array:
        """Return ``exp(x) / sum(exp(x))`` along the last axis, computed in the widest type, which is not `dtype`.

        Infinities count as the largest finite numbers of `dtype`. A wider type makes the rounding of differences and
        sums too small to matter, and outputs are so few beside inputs that it takes little time.
        """
        xp, wide, largest = self.xp, self.widest_float(x), largest_of(dtype)
        if dtype_name(x.dtype) != wide:
            x = xp.astype(x, getattr(xp, wide))
        x = xp.minimum(xp.maximum(x, -largest), largest)
        exponential = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return xp.astype(exponential / xp.sum(exponential, axis=-1, keepdims=True), dtype)

    def sigmoid(self, x: Array) -> Array:
        """Return ``1 / (1 + exp(-x))`` of a floating-point array.

        As ``exp(min(x, 0)) / (1 + exp(-abs(x)))``: no exponential overflows, nothing cancels, and no mask is needed.
        """
        xp = self.xp
        return xp.exp(xp.minimum(x, 0.0)) / (1 + xp.exp(-xp.abs(x)))

    def tanh(self, x: Array) -> Array:
        """Return the hyperbolic tangent of a floating-point array."""
        return self.xp.tanh(x)

    def erfc(self, x: Array) -> Array:
        """Return the complementary error function of a floating-point array; the standard has none."""
        own = getattr(self.xp, "erfc", None)
        return _special.erfc(self.xp, x) if own is None else own(x)


@functools.cache
def _widest_float(backend: Backend, device: str | None) -> str:
    # Asked of the device, not of the library: Apple's GPUs have no float64, JAX has it only where enabled.
    place = None if device is None else dataclasses.replace(backend, device=device).device_object()
    found = backend.xp.__array_namespace_info__().dtypes(device=place, kind="real floating")
    return "float64" if "float64" in found else "float32"
