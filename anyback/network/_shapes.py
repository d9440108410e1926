"""What is known of the shapes of a network's values, and whether it is a chain."""

from __future__ import annotations

from typing import Any

from anyback.network._call import known

__all__ = ["is_chain", "usual_shapes"]


def usual_shapes(net: Any, n: int = 1) -> list[Any]:
    """Return the whole shapes of all values for a batch of `n` usual samples; None where one is not known."""
    samples = [known(shapes[-1]) if shapes else None for shapes in net.inputs]
    found: list[Any] = net.shapes(*[None if sample is None else (n, *sample) for sample in samples], n=n)
    return found


def is_chain(net: Any) -> bool:
    """Return whether each call takes what the one before it gives, and beside that nothing but arrays."""
    given = 0
    for number, call in net.results():
        first, *others = call.arguments
        if first != given or call.results != 1 or any(i is not None and net.array_of(i) is None for i in others):
            return False
        given = number
    return len(net.inputs) == 1 and net.outputs == (given,)
