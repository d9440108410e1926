"""What a backend is: an array library and how to use it, with defaults for any standard library.

A row overrides only what its library does its own way. The arithmetic is not here: it is written once, in
the standard, and runs on whatever arrays it is given.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import array_api_compat
import numpy as np

from anyback._typing import Array, Device, DType, Namespace
from anyback.backends._device_types import numpy_type, widest_float
from anyback.backends._loading import loaded_steps
from anyback.backends._loops import Loops
from anyback.backends._precision import scope
from anyback.backends._status import Status, Unusable, first_line
from anyback.backends._ways import Kernel, Product, Way, chosen_way, single_rows, stacks_of_eight, whole_tiles
from anyback.errors import BackendError
from anyback.plan import Plan, Rows, Shape, Step, runner

__all__ = ["Backend", "Status", "Unusable", "first_line"]


#: The most numbers of one value of a tile that is to stay in the cache; and of one that is not.
_MOST_NUMBERS, _MOST_MEMORY = 1 << 21, 1 << 23

#: Multiply-adds of a row that take a processor so long that there is nothing to win from more rows at a time.
_MUCH_WORK = 1 << 24

_NOTHING = contextlib.nullcontext()  # may be entered again and again, also inside itself


@dataclass(frozen=True)
class Backend(Loops):
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
    #: The library's own kernels, by the name of the op. Each computes what the op's function computes.
    own: ClassVar[Mapping[str, Kernel]] = {}
    #: Rows of one tile: the one shape that `predict` computes with (benchmarks/tiles.py measures it).
    tile: ClassVar[int] = 512
    #: Rows of the smallest tile, of which every tile is a multiple.
    step: ClassVar[int] = 32
    #: Tiles that `predict` takes at a time unless told otherwise.
    tiles: ClassVar[int] = 1
    #: Whether its devices differ in name only, so that one stands for all in a comparison.
    same_devices: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name if self.device is None else f"{self.name}:{self.device}"

    @property
    def on_host(self) -> bool:
        """Whether it computes on the host's processor, which one row of much work keeps busy, unlike a GPU."""
        return False

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

    def one_thread(self) -> AbstractContextManager[Any]:
        """Return a scope in which the library multiplies in one thread: the number of threads may change bits."""
        return _NOTHING

    def rows_of_tile(self, numbers: int, multiply_adds: int = 0) -> int:
        """Return the rows of a tile for a network whose largest value has so many numbers in a row.

        As many as `tile`, or fewer where a value of that many rows would not stay in the cache or take much memory. One
        where a row takes a processor so many multiply-adds that more rows at a time would not be faster: then no row is
        computed beside another.
        """
        if multiply_adds >= _MUCH_WORK and self.on_host:
            return 1
        fit = _MOST_NUMBERS // max(1, numbers) // self.step * self.step
        if fit or self.step * numbers <= _MOST_MEMORY:
            return max(self.step, min(self.tile, fit))
        # Values this large are a matter of memory: a part of a step.
        return next((rows for rows in (32, 16, 8, 4, 2) if rows < self.step and rows * numbers <= _MOST_MEMORY), 1)

    def multiple(self, rows: Rows, ways: Sequence[Way], tile: int) -> int:
        """Return the number of which the rows of the last tile are a multiple: a tile is filled up to it with zeros.

        Parameters
        ----------
        rows : Rows
            What is known of the rows of a plan.
        ways : sequence of Way
            The ways of its products.
        tile : int
            Rows of a whole tile.
        """
        return tile if rows >= Rows.ANY else math.lcm(1, *[way.multiple for way in ways])

    def ways(self, product: Product) -> tuple[Way, ...]:
        """Return the ways to compute a product, best first; the last holds by construction.

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
        if product.tile == 1:  # nothing can depend on a row's place
            return next(way for way in self.ways(product) if way.multiple == 1)
        return chosen_way(self, precision, product)

    def program(
        self, steps: Sequence[Step], outputs: tuple[int, ...], host: Sequence[int] = ()
    ) -> Callable[[list[Array]], tuple[Array, ...]]:
        """Return the function that runs the steps of a network, none of which is a function of the user's.

        Parameters
        ----------
        steps : sequence of Step
            With the kernels of this library.
        outputs : tuple of int
            Numbers of the values to return.
        host : sequence of int
            Numbers of the inputs that are NumPy arrays, whatever library computes, such as a shape.

        Returns
        -------
        callable
            Takes the inputs and the arrays in one list, and returns the outputs.
        """
        return runner(steps, outputs)

    def looked(
        self, look: Callable[[list[Array]], None], inputs: Sequence[tuple[Shape, str]], arrays: Sequence[Array]
    ) -> None:
        """Call a function that looks at the shapes of what it computes, with inputs of these shapes and types.

        Parameters
        ----------
        look : callable
            Takes the inputs and the arrays in one list.
        inputs : sequence of (tuple of int, str)
            The whole shape and the dtype of each input. `arrays` are of this library.
        """
        with np.errstate(all="ignore"):
            look([*(self.asarray(np.zeros(shape, numpy_type(dtype))) for shape, dtype in inputs), *arrays])

    def load(self, plan: Plan) -> Callable[..., tuple[Array, ...]]:
        """Return the function that runs a plan, with this library's kernels.

        Parameters
        ----------
        plan : Plan
            Of this library.

        Returns
        -------
        callable
            Takes the inputs as `put_tile` returns them, and returns the outputs, which go to `first_rows`. It enters
            the library's settings by itself, in any thread or process. Of a library that computes only when it is
            asked to, it may have a method `later`, which takes all rows at once: see Dask.
        """
        run = runner(loaded_steps(self, self.own, plan), plan.outputs)

        def call(*inputs: Array) -> tuple[Array, ...]:
            with scope(self, plan.precision), self.one_thread():
                return run([*map(self.contiguous, inputs), *plan.arrays])

        return call

    def chosen(self, plan: Plan) -> dict[str, str]:
        """Return, for each product of a plan by the shape of its weight, the name of the way that was chosen."""
        products = [(step.product, step.way) for step in plan.steps if step.product is not None]
        return {"×".join(map(str, product.shapes[0])): way for product, way in products}

    def contiguous(self, tile: Array) -> Array:
        """Return a tile with its rows one behind the other in memory, where the library knows of such things."""
        return tile

    def host_view(self, x: Array) -> Array:
        """Return an array of this library as one that is cheap to cut: itself, or NumPy's view of the same memory."""
        return x

    def put_tile(self, x: np.ndarray) -> Array:
        """Return rows on the host as a function of `load` takes them.

        The memory of `x` may be used as it is, so it must not change before `first_rows` has returned.
        """
        return self.asarray(x)

    def first_rows(self, y: Array, count: int) -> Array:
        """Return the first `count` rows of what a function of `load` returned; a NumPy array may stand for it."""
        return y if count == y.shape[0] else y[:count, ...]

    def ran_out(self, error: BaseException) -> bool:
        """Return whether an error says that the device's memory was too small for what was asked."""
        return isinstance(error, MemoryError)

    def wait(self, x: Array) -> None:
        """Block until `x` has been computed: for clocks."""

    def widest_float(self, x: Array) -> str:
        """Return the widest floating-point type of the device of `x`: ``"float64"`` or ``"float32"``."""
        return widest_float(self, self.device_of(x))

    def default_float(self, x: Array) -> DType:
        """Return the library's floating-point type for new arrays on the device of `x`."""
        types = self.xp.__array_namespace_info__().default_dtypes(device=array_api_compat.device(x))
        return types["real floating"]
