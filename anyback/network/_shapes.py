"""The shapes of a network's values as far as they are known, and whether the network is a chain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from anyback.backends import Backend
from anyback.errors import ShapeError
from anyback.network._call import known, taken
from anyback.plan import Shape

__all__ = ["is_batch_to_flatten", "is_chain", "measured_shapes", "shapes_of", "usual_shapes"]


def shapes_of(net: Any, inputs: Sequence[Shape | None], n: int | None) -> list[Any]:
    """Return the whole shapes of all values, given those of the inputs; see `Network.shapes`."""
    found: list[Any] = [*inputs, *(tuple(x.shape) for x in net.arrays)]
    if n is None:
        n = inputs[0][0] if inputs and inputs[0] else 1
    for call in net.calls:
        given = [None if i is None else found[i] for i in call.arguments]
        if given and given[0] is None and (sample := taken(call.op, given, call.attributes)):
            given[0] = (n, *sample)
        shape = call.op.shape(*given, **call.attributes)
        found.extend([shape] if call.results == 1 else shape or [None] * call.results)
    return found


def usual_shapes(net: Any, n: int = 1) -> list[Any]:
    """Return the whole shapes of all values for a batch of `n` usual samples; None where one is not known."""
    samples = [known(shapes[-1]) if shapes else None for shapes in net.inputs]
    found: list[Any] = net.shapes(*[None if sample is None else (n, *sample) for sample in samples], n=n)
    return found


def measured_shapes(net: Any, backend: Backend, inputs: Sequence[tuple[Shape, str]]) -> list[Any]:
    """Return the whole shapes of all values, as found by computing the network on zeros, or by tracing it.

    Parameters
    ----------
    net : Network
        The network; no op is unknown.
    backend : Backend
        Where its arrays are.
    inputs : sequence of (tuple of int, str)
        The whole shape and the dtype of each input.

    Returns
    -------
    list
        By number; None for a value that is no array.
    """
    found: list[Any] = [*(shape for shape, _ in inputs), *(tuple(x.shape) for x in net.arrays)]
    calls = list(net.results())

    def look(values: list[Any]) -> None:
        del found[net.first_result :]
        last: dict[int, int] = {i: number for number, call in calls for i in call.arguments if i is not None}
        for number, call in calls:
            arguments = [None if i is None else values[i] for i in call.arguments]
            result = call.op.bound(backend)(*arguments, **call.attributes)
            results = [result] if call.results == 1 else list(result)
            found.extend(tuple(map(int, x.shape)) if hasattr(x, "shape") else None for x in results)
            values.extend(results)
            for i in call.arguments:
                if i is not None and last[i] == number:
                    values[i] = None

    backend.looked(look, list(inputs), list(net.arrays))
    return found


def is_batch_to_flatten(net: Any, shape: Shape) -> bool | None:
    """Return whether a shape is that of a batch of samples that the network makes flat, rather than of one of them.

    None where it is neither: the network takes samples of more axes than one, its file names its inputs, or its calls
    do not take this shape.
    """
    samples = net.inputs[0]
    if net.signature is not None or any(len(sample) != 1 for sample in samples):
        return None
    for rest, answer in ((shape[1:], True), (shape, False)):
        if len(rest) > 1 and (math.prod(rest),) in samples:
            try:
                net.shapes((1, *rest))
            except ShapeError:
                return None
            return answer
    return None


def is_chain(net: Any) -> bool:
    """Return whether each call takes the result of the call before it, and otherwise arrays of the network alone."""
    given = 0
    for number, call in net.results():
        first, *others = call.arguments
        if first != given or call.results != 1 or any(i is not None and net.array_of(i) is None for i in others):
            return False
        given = number
    return len(net.inputs) == 1 and net.outputs == (given,)
