"""One step of training: new weights from old ones and their gradients, as the operators of the training domain.

The inputs behind the rate and the number of the step are all weights, then all their gradients, then all of each
state. The outputs are all new weights, then all of each new state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError
from anyback.onnx._arrays import narrowed, widened
from anyback.onnx._operator import operator, several

__all__ = ["Adagrad", "Adam", "Momentum"]

_DOMAIN = "ai.onnx.preview.training"

#: Takes the rate and the number of the step as numbers of the type of the weights, the weights, the gradients and the
#: states of one group, and returns the new weights and states.
Step = Callable[..., tuple[Array, ...]]


def _stepped(step: Step, R: Array, T: Array, inputs: tuple[Array, ...], states: int, outputs: int, name: str) -> Any:
    """Return the results of a step for each group of weights, in the order of the operators."""
    if not inputs or len(inputs) % (2 + states):
        raise DataError(
            f"{name}: expected for each array of weights one of gradients and {states} more, found {len(inputs)} in all"
        )
    many = len(inputs) // (2 + states)
    groups = []
    for place in range(many):
        given = inputs[place::many]  # the weights, the gradients, and each state
        wide = [widened(x) for x in given]
        xp, kind = array_namespace(*wide), wide[0].dtype
        new = step(xp.astype(R, kind), xp.astype(T, kind), *wide)
        groups.append([narrowed(y, x.dtype) for y, x in zip(new, (given[0], *given[2:]), strict=True)])
    return several(tuple(group[part] for part in range(1 + states) for group in groups), outputs)


@operator(domain=_DOMAIN)
def Adagrad(
    R: Array,
    T: Array,
    *inputs: Array,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    outputs: int = 1,
) -> Any:
    """Return the weights and sums of squares after a step of Adagrad: Duchi, Hazan, Singer 2011."""

    def step(rate: Array, time: Array, x: Array, gradient: Array, squares: Array) -> tuple[Array, ...]:
        gradient = gradient + norm_coefficient * x
        squares = squares + gradient * gradient
        rate = rate / (1 + time * decay_factor)
        return x - rate * gradient / (array_namespace(x).sqrt(squares) + epsilon), squares

    return _stepped(step, R, T, inputs, 1, outputs, "Adagrad")


@operator(domain=_DOMAIN)
def Adam(
    R: Array,
    T: Array,
    *inputs: Array,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
    outputs: int = 1,
) -> Any:
    """Return the weights and both moments after a step of Adam: Kingma, Ba 2015; without correction at step 0."""

    def step(rate: Array, time: Array, x: Array, gradient: Array, momentum: Array, squares: Array) -> tuple[Array, ...]:
        xp = array_namespace(x)
        gradient = gradient + norm_coefficient * x
        momentum = alpha * momentum + (1 - alpha) * gradient
        squares = beta * squares + (1 - beta) * (gradient * gradient)
        later, one = time > 0, xp.ones_like(time)
        count = xp.where(later, time, one)
        corrected = rate * xp.sqrt(1 - beta**count) / (1 - alpha**count)
        y = x - xp.where(later, corrected, rate) * (momentum / (xp.sqrt(squares) + epsilon))
        return (1 - norm_coefficient_post) * y, momentum, squares

    return _stepped(step, R, T, inputs, 2, outputs, "Adam")


@operator(domain=_DOMAIN)
def Momentum(
    R: Array,
    T: Array,
    *inputs: Array,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
    outputs: int = 1,
) -> Any:
    """Return the weights and momenta after a step of gradient descent with momentum, Nesterov's or the standard one."""
    if mode not in ("standard", "nesterov"):
        raise DataError(f"Momentum has the mode {mode!r}; expected standard or nesterov")

    def step(rate: Array, time: Array, x: Array, gradient: Array, momentum: Array) -> tuple[Array, ...]:
        xp = array_namespace(x)
        gradient = gradient + norm_coefficient * x
        by = xp.where(time > 0, xp.full_like(time, beta), xp.ones_like(time))
        momentum = alpha * momentum + by * gradient
        return x - rate * (gradient + alpha * momentum if mode == "nesterov" else momentum), momentum

    return _stepped(step, R, T, inputs, 1, outputs, "Momentum")
