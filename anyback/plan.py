"""A plan: a network made ready for one array library, as data, and the loop that runs it.

Examples
--------
>>> import anyback as ab, numpy as np
>>> from anyback.lower import lower, multiply_adds, simplified
>>> from anyback.network import value_types
>>> net = ab.load_model("digits-mlp", backend="numpy")
>>> multiply_adds(net, net.shapes((1, 8, 8))), value_types(net, ["uint8"])[-1]
(9200, 'float32')
>>> [call.op.name for call in simplified(net, ["uint8"]).calls]  # the scale of pixels is in the first weight
['flatten', 'linear', 'sigmoid', 'linear', 'sigmoid', 'linear', 'softmax']
>>> plan = lower(net, net.backend, "highest", ["uint8"], [(8, 8)])
>>> isinstance(plan, Plan), plan.dtypes, plan.rows is Rows.PRODUCT
(True, ('uint8',), True)
>>> first: Step = plan.steps[2]
>>> first.kernel, first.in_place, isinstance(net.last().op.casts, Casts)
('sigmoid', True, True)
>>> shape: Shape = plan.shapes[0]
>>> x = np.zeros((1, *shape), np.uint8)
>>> (y,) = run(plan.steps, plan.outputs, [x, *plan.arrays])
>>> (again,) = runner(plan.steps, plan.outputs, 1 + len(plan.arrays))([x, *plan.arrays])
>>> check_rows([y])  # outputs without rows would be an error
>>> y.shape, np.array_equal(y, again)
((1, 10), True)
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyback._typing import Array
from anyback.errors import AnybackError, DataError
from anyback.numbers import PrecisionName

__all__ = ["Casts", "Plan", "Rows", "Shape", "Step", "check_rows", "run", "runner"]

#: The sizes of an array's axes.
Shape = tuple[int, ...]


class Rows(enum.IntEnum):
    """How a row of an op's output depends on the rows of its input; the larger, the less is known."""

    #: On its own row alone, by construction: elementwise, or along the features.
    ALONE = 0
    #: On its own row alone, but a library may sum in another order at another place in the product.
    PRODUCT = 1
    #: Perhaps on all rows; but the op is a pure function of its arguments, whose values are not needed to trace it.
    ANY = 2
    #: Nothing is known.
    UNKNOWN = 3


@dataclass(frozen=True)
class Casts:
    """The rule for the types of an op's arguments and result, applied around whatever computes the op.

    Parameters
    ----------
    apply : callable or None
        Called with a kernel, its arguments and its attributes; returns the result. None calls the kernel as it is.
    result : callable
        Takes the names of the arguments' dtypes (None where one is unknown or absent), and the name of the library's
        default floating-point type; returns the name of the result's dtype, or None.
    """

    apply: Callable[..., Any] | None
    result: Callable[..., str | None]


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a plan.

    Parameters
    ----------
    compute : callable
        The op's own function, in the standard alone. `Backend.load` puts a kernel of the library in its place.
    kernel : str or None
        The name under which a library may have a kernel of its own; None for an op that is not in the table.
    arguments : tuple of (int or None)
        Numbers of values: the inputs, then the arrays, then the results of earlier steps. None is an absent argument.
    attributes : mapping of str to value
        The other arguments, by name.
    casts : Casts or None
        The rule of types around `compute`; None calls it as it is.
    results : int
        How many values the step gives.
    product : Product or None
        What the step multiplies by, where a check chooses how; else None.
    way : str
        The name of the way that was chosen; else empty.
    in_place : bool
        Whether the step may overwrite its first argument.
    frees : tuple of int
        The values that no later step uses.
    opaque : bool
        Whether nothing is known of the op, which is a function of the user's.
    where : str
        What errors call the step of a network from a file, such as ``"step 3, Conv 'conv1'"``; else empty.
    """

    compute: Callable[..., Any]
    kernel: str | None
    arguments: tuple[int | None, ...]
    attributes: Mapping[str, Any]
    casts: Casts | None = None
    results: int = 1
    product: Any = None
    way: str = ""
    in_place: bool = False
    frees: tuple[int, ...] = ()
    opaque: bool = False
    where: str = ""


@dataclass(frozen=True, eq=False)
class Plan:
    """A network for one library, for inputs of known types and sample shapes, and one precision.

    Parameters
    ----------
    backend : Backend
        The library and the device.
    precision : str
        The precision of products.
    dtypes : tuple of str
        The dtype of each input.
    shapes : tuple of tuple of int
        The shape of one sample of each input.
    steps : tuple of Step
        In the order in which they run.
    arrays : tuple of array
        The arrays that the steps use, on the device.
    outputs : tuple of int
        Numbers of the values that are returned.
    rows : Rows
        The least that is known of a row of the outputs.
    tile : int
        The most rows that a library is given.
    step : int
        The rows of a tile that are computed at a time; a tile is a multiple of it.
    multiple : int
        Fewer rows may be computed at a time, but a multiple of this number.
    """

    backend: Any
    precision: PrecisionName
    dtypes: tuple[str, ...]
    shapes: tuple[Shape, ...]
    steps: tuple[Step, ...]
    arrays: tuple[Array, ...]
    outputs: tuple[int, ...]
    rows: Rows
    tile: int
    step: int
    multiple: int


def runner(steps: Sequence[Step], outputs: Sequence[int], given: int) -> Callable[[list[Any]], tuple[Array, ...]]:
    """Return the function that runs steps: see `run`, of which it is the part that takes the values.

    Parameters
    ----------
    steps : sequence of Step
        In order.
    outputs : sequence of int
        Numbers of the values to return.
    given : int
        How many values there are before the first step.

    Returns
    -------
    callable
        Takes the list of values.
    """
    if _in_a_row(steps, outputs, given):
        return _row_runner(steps)
    ready = [(s.compute, s.arguments, s.attributes, s.results, s.frees, s.where) for s in steps]

    def call(values: list[Any]) -> tuple[Array, ...]:
        taken: list[Any] = []
        where = ""
        try:
            for compute, arguments, attributes, results, frees, where in ready:  # noqa: B007
                taken = [None if i is None else values[i] for i in arguments]
                found = compute(*taken, **attributes) if attributes else compute(*taken)
                if results == 1:
                    values.append(found)
                else:
                    values.extend(found)
                for i in frees:
                    values[i] = None
        except Exception as error:
            if where:
                _explain(error, where, taken)
            raise
        return tuple([values[i] for i in outputs])

    return call


def _in_a_row(steps: Sequence[Step], outputs: Sequence[int], given: int) -> bool:
    """Return whether each step takes the result of the step before it, and behind that given values in a row."""
    for place, step in enumerate(steps):
        first, *rest = step.arguments or (None,)
        chained = first == given + place - 1 if place else first is not None and first < given
        beside = [] if not rest or rest[0] is None else list(range(rest[0], rest[0] + len(rest)))
        if not chained or step.results != 1 or rest != beside or (rest and rest[-1] not in range(given)):
            return False
    return bool(steps) and tuple(outputs) == (given + len(steps) - 1,)


def _row_runner(steps: Sequence[Step]) -> Callable[[list[Any]], tuple[Array, ...]]:
    """Return the function that runs steps for which `_in_a_row` is true; it keeps the last result alone.

    On NumPy all steps of one image take twenty microseconds, of which this loop takes four fewer than that of `runner`.
    """
    ready = []
    for step in steps:
        compute = functools.partial(step.compute, **step.attributes) if step.attributes else step.compute
        rest = step.arguments[1:]
        ready.append((compute, rest[0] or 0 if rest else 0, (rest[-1] or 0) + 1 if rest else 0, step.where))
    source = steps[0].arguments[0] or 0

    def call(values: list[Any]) -> tuple[Array, ...]:
        x = values[source]
        begin = end = 0
        where = ""
        try:
            for compute, begin, end, where in ready:  # noqa: B007
                x = compute(x, *values[begin:end]) if end else compute(x)
        except Exception as error:
            if where:
                _explain(error, where, [x, *values[begin:end]])
            raise
        return (x,)

    return call


def run(steps: Sequence[Step], outputs: Sequence[int], values: list[Any]) -> tuple[Array, ...]:
    """Return the outputs of the steps.

    Parameters
    ----------
    steps : sequence of Step
        In order.
    outputs : sequence of int
        Numbers of the values to return.
    values : list
        The inputs, then the arrays. The list may be changed: values that no later step uses are dropped.

    Returns
    -------
    tuple of array
    """
    return runner(steps, outputs, len(values))(values)


def check_rows(outputs: Sequence[Array]) -> None:
    """Raise `DataError` where an output has no axis of rows."""
    if any(not y.shape for y in outputs):
        raise DataError("the network gives one number for all rows, not outputs for each row; call net(x) for it")


def _explain(error: Exception, where: str, arguments: Sequence[Any]) -> None:
    """Raise an error as one of ours that says where it happened; of memory, numbers and the like, only add that."""
    shapes = ", ".join(str(tuple(x.shape)) for x in arguments if hasattr(x, "shape"))
    said = f"{where}{f', of inputs of shape {shapes}' if shapes else ''}"
    if isinstance(error, AnybackError):
        raise type(error)(f"{said}: {error}") from error
    if isinstance(error, _OF_THE_INPUT) and "OutOfMemory" not in type(error).__name__:
        what = " ".join(str(error).split())[:200]
        raise DataError(f"{said}: {type(error).__name__}: {what}") from error
    error.add_note(said)


#: What libraries raise for arrays that an op does not take.
_OF_THE_INPUT = (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError)
