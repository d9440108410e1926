"""How a library runs the steps of a network, and a plan: op by op, inside its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from anyback._typing import Array
from anyback.backends._device_types import numpy_type
from anyback.backends._loading import loaded_steps
from anyback.backends._precision import scope
from anyback.backends._ways import Kernel
from anyback.numbers import PrecisionName
from anyback.plan import Plan, Shape, runner

__all__ = ["Program", "Programs", "of_one"]

#: Takes the inputs and the arrays of a network in one list, and returns its outputs.
Program: TypeAlias = Callable[[list[Array]], tuple[Array, ...]]


def of_one(program: Program) -> Program:
    """Return a program that takes one sample without the axis of the batch, and returns outputs without it."""

    def call(values: list[Array]) -> tuple[Array, ...]:
        values[0] = values[0][None, ...]
        return tuple([y[0, ...] if y.ndim else y for y in program(values)])

    return call


class Programs:
    """The part of a backend that makes functions of steps; a library that compiles overrides it."""

    own: ClassVar[Mapping[str, Kernel]]
    one_thread: Callable[[], Any]
    contiguous: Callable[[Array], Array]
    asarray: Callable[[Array], Array]

    def in_settings(self: Any, program: Program, precision: PrecisionName | None = None) -> Program:
        """Return a program that sets the library's settings itself; a precision of None is the one in force."""

        def call(values: list[Array]) -> tuple[Array, ...]:
            with scope(self, precision):
                return program(values)

        return call

    def programs(self, run: Program, host: Sequence[int] = (), one: Program | None = None) -> tuple[Program, Program]:
        """Return the two functions that run a network without functions of the user's: for a batch, and for one sample.

        Parameters
        ----------
        run : callable
            Runs the steps of the network with the kernels of this library.
        host : sequence of int
            Numbers of the inputs that are NumPy arrays on every library, such as a shape.
        one : callable or None
            The same as `run`, for a batch of one row alone; None is `run`.

        Returns
        -------
        tuple of two callables
            Each takes the inputs and the arrays in one list, and returns the outputs, in the settings of the library.
            The second takes one sample without the axis of the batch, and returns its outputs without it.
        """
        return self.in_settings(run), of_one(self.in_settings(one or run))

    def looked(
        self, look: Callable[[list[Array]], None], inputs: Sequence[tuple[Shape, str]], arrays: Sequence[Array]
    ) -> None:
        """Call a function that records the shapes of what it computes, with inputs of these shapes and types.

        Parameters
        ----------
        look : callable
            Takes the inputs and the arrays in one list.
        inputs : sequence of (tuple of int, str)
            The whole shape and the dtype of each input. `arrays` are of this library.
        """
        with np.errstate(all="ignore"):
            look([*(self.asarray(np.zeros(shape, numpy_type(dtype))) for shape, dtype in inputs), *arrays])

    def load(self: Any, plan: Plan) -> Callable[..., tuple[Array, ...]]:
        """Return the function that runs a plan, with this library's kernels.

        Parameters
        ----------
        plan : Plan
            A plan for this library.

        Returns
        -------
        callable
            Takes the inputs as `put_tile` returns them, and returns the outputs for `first_rows`. It sets the library's
            settings itself, so it may be called in any thread or process. For a library that computes only when it is
            asked to, it may have a method `later`, which takes all rows at once: see Dask.
        """
        steps, given = loaded_steps(self, self.own, plan), len(plan.shapes) + len(plan.arrays)
        run = self.in_settings(runner(steps, plan.outputs, given), plan.precision)

        def call(*inputs: Array) -> tuple[Array, ...]:
            with self.one_thread():
                return run([*map(self.contiguous, inputs), *plan.arrays])

        return call

    def chosen(self, plan: Plan, run: Callable[..., tuple[Array, ...]]) -> dict[str, str]:
        """Return the name of the chosen way of each product of a plan, by the shape of the product's weight.

        `run` is the function that `load` returned for the plan.
        """
        products = [(step.product, step.way) for step in plan.steps if step.product is not None]
        return {"×".join(map(str, product.shapes[0])): way for product, way in products}
