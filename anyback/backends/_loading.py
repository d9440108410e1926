"""Loading a plan: its steps get a library's kernels, with the rule for types around each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from anyback._typing import Array
from anyback.backends._ways import Kernel, Product, Way
from anyback.numbers import FLOATS, dtype_name
from anyback.plan import Plan, Step

__all__ = ["Loader", "computing", "loaded_steps"]


class Loader(Protocol):
    """The method of a backend that loading uses."""

    def way(self, precision: str, product: Product) -> Way:
        """Return the chosen way to compute a product."""


def loaded_steps(backend: Loader, own: Mapping[str, Kernel], plan: Plan) -> tuple[Step, ...]:
    """Return the steps of a plan with the kernels that compute them.

    Parameters
    ----------
    backend : Backend
        The backend of the plan.
    own : mapping of str to Kernel
        Its kernels, by the names of ops.
    plan : Plan
        The plan.

    Returns
    -------
    tuple of Step
        The weights of products are prepared, so those steps take their first argument alone.
    """
    values = [None] * len(plan.shapes) + list(plan.arrays)
    return tuple(_loaded(backend, own.get(step.kernel or ""), step, values, plan.precision) for step in plan.steps)


def computing(own: Kernel | None, step: Step, in_place: bool = False) -> Callable[..., Any]:
    """Return the function of a step: the library's kernel or the op's own function, within the rule for types."""
    plain = step.compute if own is None else own.over(step.compute, in_place)
    return plain if step.casts is None or step.casts.apply is None else functools.partial(step.casts.apply, plain)


def _loaded(backend: Loader, own: Kernel | None, step: Step, values: list[Any], precision: str) -> Step:
    compute = computing(own, step, step.in_place)
    if step.product is None:
        return dataclasses.replace(step, compute=compute)
    way = backend.way(precision, step.product)
    arrays = [None if i is None else values[i] for i in step.arguments[1:]]
    multiply = _multiplied(way.ready(*arrays, **step.attributes), compute, arrays, step.attributes)
    return dataclasses.replace(step, compute=multiply, arguments=step.arguments[:1], attributes={})


def _multiplied(
    ready: Callable[[Array], Array],
    compute: Callable[..., Array],
    arrays: list[Array | None],
    attributes: Mapping[str, Any],
) -> Callable[[Array], Array]:
    """Return what computes a product for rows of any type; those of a wider one than the weight's are unforeseen."""
    bits = FLOATS[dtype_name(next(a.dtype for a in arrays if a is not None))].bits

    def multiply(x: Array) -> Array:
        found = FLOATS.get(dtype_name(x.dtype))
        if found is not None and found.bits > bits:  # what a function of the user's made
            return compute(x, *arrays, **attributes)
        return ready(x)

    return multiply
