"""What a backend is: an array library and how to use it, with defaults for any standard library.

A subclass overrides only what its library does in another way. The mathematics is not here: ops are written once, in
the standard, and run on the arrays that they are given.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import array_api_compat
import numpy as np

from anyback._typing import Array, Device, DType, Namespace
from anyback.backends._device_types import widest_float
from anyback.backends._loops import Loops
from anyback.backends._programs import Programs
from anyback.backends._status import Status, Unusable, first_line
from anyback.backends._ways import Kernel, Product, Way, chosen_way, single_rows, stacks_of_eight, whole_tiles
from anyback.errors import BackendError
from anyback.plan import Rows

__all__ = ["Backend", "Status", "Unusable", "first_line"]


#: The most numbers of one value of a tile that is to stay in the cache, and the most of any other value.
_MOST_NUMBERS, _MOST_MEMORY = 1 << 21, 1 << 23

#: From this number of multiply-adds of one row on, a processor gains nothing from computing more rows at a time.
_MUCH_WORK = 1 << 24

_NOTHING = contextlib.nullcontext()  # reusable and reentrant


@dataclass(frozen=True)
class Backend(Loops, Programs):
    """An array library and one of its devices; this class works for any library that follows the standard.

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
    #: The library's own kernels, by the name of the op. Each computes what the op's function computes.
    own: ClassVar[Mapping[str, Kernel]] = {}
    #: Rows of one tile, in which `predict` computes (benchmarks/tiles.py measures the best number).
    tile: ClassVar[int] = 512
    #: Rows of the smallest tile, of which every tile is a multiple.
    step: ClassVar[int] = 32
    #: Tiles of one batch of `predict` where no batch size is given.
    tiles: ClassVar[int] = 1
    #: Whether bits depend on the place of a row, or on how many there are, within matrix products alone; a row that is
    #: a matrix of a stack is multiplied by a call of its own.
    rows_apart: ClassVar[bool] = False
    #: Whether its devices differ in name only, so that a comparison takes one of them.
    same_devices: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name if self.device is None else f"{self.name}:{self.device}"

    @property
    def on_host(self) -> bool:
        """Whether it computes on the host's processor: a row of many multiply-adds keeps that busy, but not a GPU."""
        return False

    @property
    def checks_plans(self) -> bool:
        """Whether what `load` returns finds out itself in which steps a row has its bits, when it first computes."""
        return False

    @property
    def workers(self) -> int:
        """How many batches to compute at a time, each in its own thread; 1 where the library has threads itself."""
        return 1

    @property
    def xp(self) -> Namespace:
        """The namespace that holds the library's standard functions."""
        return importlib.import_module(self.namespace)

    # -- Is it there? --------------------------------------------------------------------------------

    def status(self) -> Status:
        """Return whether the library works, by importing it and computing with an array; never raises.

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
        except Exception as error:  # of a broken installation: it becomes the reason
            remedy = f"reinstall it: pip install --force-reinstall {self.package}"
            return Status(self.name, False, version, (), f"does not work: {first_line(error)}", remedy)
        return Status(self.name, True, version, devices)

    def version(self) -> str:
        """Return the version of the library, or raise `Unusable` where it is not installed."""
        import importlib.metadata

        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            pass
        remedy = f"pip install 'anyback[{self.extra}]'"
        raise Unusable(f"{self.package} is not installed", remedy)

    def probe(self) -> tuple[str, ...]:
        """Compute once on the device and return the names of all devices; raise `Unusable` or any other error."""
        self.first_kernel()
        return self.devices()

    def first_kernel(self) -> None:
        """Add up a small array on the device, and raise `Unusable` where the sum is wrong: a listed device may fail."""
        total = self.xp.sum(self.asarray(np.arange(8, dtype=np.float32)))
        if self.to_numpy(total) != 28:
            raise Unusable("computes wrong sums", f"reinstall it: pip install --force-reinstall {self.package}")

    def devices(self) -> tuple[str, ...]:
        """Return the names of the available devices, the default one first."""
        return tuple(str(device) for device in self.xp.__array_namespace_info__().devices())

    # -- Moving --------------------------------------------------------------------------------------

    def device_object(self) -> Device:
        """Return the library's own object for `device`, or raise `BackendError`, which names the available ones."""
        for device in self.xp.__array_namespace_info__().devices():
            if str(device) == self.device:
                return device
        raise self.no_such_device()

    def no_such_device(self) -> BackendError:
        """Return the error for a device that does not exist; it names the available ones."""
        known = ", ".join(f"{self.name}:{device}" for device in self.devices()) or "none"
        return BackendError(f"{self.name} has no device {self.device!r} here; known: {known}")

    def asarray(self, x: Array) -> Array:
        """Return `x`, a NumPy array or an array of this library, as an array on this device."""
        device = None if self.device is None else self.device_object()
        if isinstance(x, np.ndarray):
            return self.from_numpy(x, device)
        return x if device is None else array_api_compat.to_device(x, device)

    def from_numpy(self, x: np.ndarray, device: Device) -> Array:
        """Copy a NumPy array to `device`; None is the default device."""
        return self.xp.asarray(x, device=device)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return an array of this library as a NumPy array."""
        return np.asarray(x)

    def device_of(self, x: Array) -> str | None:
        """Return the name of the device that `x` is on; None where it has none, as a traced array."""
        device = array_api_compat.device(x)
        return None if device is None else str(device)

    def more_than_numbers(self, x: Array) -> str | None:
        """Return None for a plain array of numbers of this library; else why it is none, and what to pass instead."""
        return None

    # -- Its own way ---------------------------------------------------------------------------------

    def unwatched(self, x: Array) -> AbstractContextManager[Any]:
        """Return a scope in which an array made of `x` may be kept and used later.

        Without it, an array made while the caller's program is traced belongs to that program, and one made in a mode
        without gradients cannot take part in a gradient later.
        """
        return _NOTHING

    def precision(self, name: str) -> AbstractContextManager[Any]:
        """Return a scope in which matrix products run at precision `name`; one of `offered`."""
        return _NOTHING

    def compiling(self) -> AbstractContextManager[Any] | None:
        """Return the scope to compute in while the library compiles the caller's code into a program; else None.

        Such a program runs later, so a setting that is held now does not hold when it runs.
        """
        return None

    def offered(self) -> tuple[str, ...]:
        """Return the precisions that this device offers."""
        return ("highest",)

    def one_thread(self) -> AbstractContextManager[Any]:
        """Return a scope in which the library multiplies in one thread; another number of threads may change bits."""
        return _NOTHING

    def rows_of_tile(self, numbers: int, multiply_adds: int = 0) -> int:
        """Return the number of rows of a tile, for a network whose largest value has `numbers` numbers for each row.

        It is `tile`, or fewer where a value of that many rows would not stay in the cache, or would take too much
        memory. It is 1 where one row takes a processor so many multiply-adds that more rows at a time are not faster.
        """
        if multiply_adds >= _MUCH_WORK and self.on_host:
            return 1
        fit = _MOST_NUMBERS // max(1, numbers) // self.step * self.step
        if fit or self.step * numbers <= _MOST_MEMORY:
            return max(self.step, min(self.tile, fit))
        # Values this large exceed the cache anyhow: fewer rows than `step`, to bound the memory.
        return next((rows for rows in (32, 16, 8, 4, 2) if rows < self.step and rows * numbers <= _MOST_MEMORY), 1)

    def rows_of_step(self, tile: int) -> int:
        """Return how many rows of a tile are computed at a time: all, or fewer where a library takes it in parts."""
        return tile

    def multiple(self, rows: Rows, ways: Sequence[Way], tile: int) -> int:
        """Return the number to a multiple of which the last tile is filled up with rows of zeros.

        Parameters
        ----------
        rows : Rows
            The `rows` of the plan.
        ways : sequence of Way
            The ways of its products.
        tile : int
            The number of rows of a whole tile.
        """
        return tile if rows >= Rows.ANY else math.lcm(1, *[way.multiple for way in ways])

    def ways(self, product: Product) -> tuple[Way, ...]:
        """Return the ways to compute a product, best first; the last needs no check.

        Parameters
        ----------
        product : Product
            The op, the shapes of its arrays, and the rows of a tile.

        Returns
        -------
        tuple of Way
        """
        own = self.own.get(product.op)
        kernel = product.compute if own is None else own.over(product.compute)
        between = (stacks_of_eight(kernel),) if product.op == "linear" else ()
        return whole_tiles(kernel, product.tile), *between, single_rows(kernel)

    def way(self, precision: str, product: Product) -> Way:
        """Return the way to compute a product that the check chose on this processor; see `chosen_way`."""
        with self.one_thread():  # as it will compute; with more threads, other ways may be steady
            if product.tile == 1:  # a row has only one place
                return next(way for way in self.ways(product) if way.rows == 1)
            return chosen_way(self, precision, product)

    def handed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of the user's that is given the values of a network as its library usually has them."""
        return function

    def contiguous(self, tile: Array) -> Array:
        """Return a tile with its rows contiguous in memory; unchanged where the library has no such notion."""
        return tile

    def host_view(self, x: Array) -> Array:
        """Return an array of this library in a form that is cheap to slice: itself, or NumPy's view of its memory."""
        return x

    def put_tile(self, x: np.ndarray) -> Array:
        """Return rows of the host in the form that a function of `load` takes.

        The result may share the memory of `x`, so `x` must not change before `first_rows` has returned; or memory that
        the next call in this thread uses again.
        """
        return self.asarray(x)

    def first_rows(self, y: Array, count: int) -> Array:
        """Return the first `count` rows of an output of a function of `load`, as this library's array or NumPy's."""
        return y if count == y.shape[0] else y[:count, ...]

    def ran_out(self, error: BaseException) -> bool:
        """Return whether an error says that the device's memory was too small for what was asked."""
        return isinstance(error, MemoryError)

    def wait(self, x: Array) -> None:
        """Wait until `x` has been computed, so that times can be measured."""

    def widest_float(self, x: Array) -> str:
        """Return the widest floating-point type of the device of `x`: ``"float64"`` or ``"float32"``."""
        return widest_float(self, self.device_of(x))

    def default_float(self, x: Array) -> DType:
        """Return the library's floating-point type for new arrays on the device of `x`."""
        types = self.xp.__array_namespace_info__().default_dtypes(device=array_api_compat.device(x))
        return types["real floating"]
