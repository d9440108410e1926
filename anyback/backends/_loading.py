"""Loading a plan: its steps get a library's kernels, with the rule for types around each."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from anyback._typing import Array
from anyback.backends._ways import Kernel, Product, Way
from anyback.numbers import FLOATS, dtype_name
from anyback.plan import Plan, Step

__all__ = ["Loader", "computing", "loaded_steps"]


class Loader(Protocol):
    """The methods of a backend that loading uses."""

    def way(self, precision: str, product: Product) -> Way:
        """Return the chosen way to compute a product."""

    def handed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of the user's that is given the values of a network as its library usually has them."""


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
    chain = _Chain(backend, own, plan, len(values))
    last_first = [_loaded(chain, place, values) for place in reversed(range(len(plan.steps)))]  # each takes a later one
    return tuple(last_first[::-1])


class _Chain:
    """What the products of a plan compute together with the steps behind them."""

    def __init__(self, backend: Loader, own: Mapping[str, Kernel], plan: Plan, given: int) -> None:
        self.backend, self.own, self.steps = backend, own, plan.steps
        self.ways = [None if s.product is None else backend.way(plan.precision, s.product) for s in plan.steps]
        #: For each value the places of the steps that use it; -1 for an output.
        self._users: dict[int | None, list[int]] = {i: [-1] for i in plan.outputs}
        for place, step in enumerate(plan.steps):
            for i in step.arguments:
                self._users.setdefault(i, []).append(place)
        self._numbers = list(itertools.accumulate((step.results for step in plan.steps), initial=given))
        #: Place of a product -> that of the step that is computed behind it, place by place in its sums.
        self.behind: dict[int, int] = {}
        #: Place of a product -> that of the product of its result, of the same way.
        self.then: dict[int, int] = {}
        #: Products whose results may lie in memory column by column.
        self.columns: set[int] = set()
        for place, way in enumerate(self.ways):
            if way is not None and way.fuses:
                self._look_behind(place, way)
        self.computed = {*self.behind.values(), *self.then.values()}
        #: Place of a product -> what its way made ready, and the function of the step.
        self.ready: dict[int, Callable[[Array], Array]] = {}
        self.multiply: dict[int, Callable[[Array], Array]] = {}

    def kernel(self, place: int) -> Kernel | None:
        return self.own.get(self.steps[place].kernel or "")

    def _look_behind(self, place: int, way: Way) -> None:
        users = self._users.get(self._numbers[place], [])
        if len(users) == 1 and users[0] >= 0 and self._fits_behind(users[0]):
            self.behind[place] = users[0]
            users = self._users.get(self._numbers[users[0]], [])
        if not users or -1 in users:
            return
        alike = len(users) == 1 and self.ways[users[0]] == way and self._dtype(users[0]) == self._dtype(place)
        if way.chains and alike:
            self.then[place] = users[0]
        elif way.columns and all(self._takes_columns(user) for user in users):
            self.columns.add(place)

    def _dtype(self, place: int) -> str:
        return str(self.steps[place].product.dtype)

    def _fits_behind(self, place: int) -> bool:
        step, kernel = self.steps[place], self.kernel(place)
        plain = step.in_place and step.casts is None and not step.attributes and len(step.arguments) == 1
        return plain and kernel is not None and kernel.behind is not None

    def _takes_columns(self, place: int) -> bool:
        way, kernel = self.ways[place], self.kernel(place)
        return way.columns if way else kernel is not None and kernel.columns and self.steps[place].casts is None


def _as_it_is(x: Array) -> Array:
    return x


def computing(own: Kernel | None, step: Step, in_place: bool = False) -> Callable[..., Any]:
    """Return the function of a step: the library's kernel or the op's own function, within the rule for types."""
    plain = step.compute if own is None else own.over(step.compute, in_place)
    return plain if step.casts is None or step.casts.apply is None else functools.partial(step.casts.apply, plain)


def _loaded(chain: _Chain, place: int, values: list[Any]) -> Step:
    step, way = chain.steps[place], chain.ways[place]
    compute = computing(chain.kernel(place), step, step.in_place)
    if way is not None:
        arrays = [None if i is None else values[i] for i in step.arguments[1:]]
        options: dict[str, Any] = {"columns": True} if place in chain.columns else {}
        after: list[Callable[[Array], Array]] = []
        if place in chain.behind and (own := chain.kernel(chain.behind[place])) is not None:
            options["behind"] = own.behind
            after.append(own.compute)
        if place in chain.then:
            options["then"] = chain.ready[chain.then[place]]
            after.append(chain.multiply[chain.then[place]])
        chain.ready[place] = way.ready(*arrays, **step.attributes, **options)
        compute = _multiplied(chain.ready[place], compute, arrays, step.attributes, after)
        chain.multiply[place] = compute
        step = dataclasses.replace(step, arguments=step.arguments[:1], attributes={})
    elif step.opaque:
        compute = chain.backend.handed(compute)
    return dataclasses.replace(step, compute=_as_it_is if place in chain.computed else compute)


def _multiplied(
    ready: Callable[[Array], Array],
    compute: Callable[..., Array],
    arrays: list[Array | None],
    attributes: Mapping[str, Any],
    after: list[Callable[[Array], Array]],
) -> Callable[[Array], Array]:
    """Return what computes a product for rows of any type; those of a wider one than the weight's are unforeseen.

    `after` is what `ready` computes as well: what is behind the product, and the next one.
    """
    bits = FLOATS[dtype_name(next(a.dtype for a in arrays if a is not None))].bits

    def multiply(x: Array) -> Array:
        found = FLOATS.get(dtype_name(x.dtype))
        if found is None or found.bits <= bits:
            return ready(x)
        y = compute(x, *arrays, **attributes)  # what a function of the user's made
        for function in after:
            y = function(y)
        return y

    return multiply
