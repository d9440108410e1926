"""Recurrent layers in one direction: one product for the inputs of all steps, then a product for each step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import array_api_compat

from anyback import backends
from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import OperatorError
from anyback.ops import OPS
from anyback.ops.special import clip

__all__ = ["Gates", "Layer", "activations", "gru_step", "lstm_step", "recurrent", "rnn_step"]

#: Takes the sums of the inputs, the state and the weights of the recurrence; returns the new state, the first of which
#: is the output.
Gates = Callable[[Array, tuple[Array, ...], "Layer"], tuple[Array, ...]]
Activation = Callable[[Array], Array]


@dataclass(frozen=True)
class Layer:
    """A layer along one direction.

    Parameters
    ----------
    weight : array
        Of the state: shape (hidden, gates * hidden).
    bias : array or None
        Of the state, where a step treats it apart from that of the input: shape (gates * hidden,).
    peepholes : array or None
        Of an LSTM: shape (3 * hidden,).
    functions : tuple of callable
        The activations.
    hidden : int
        The width of the state.
    bounds : float
        The sums are clipped to from ``-bounds`` to ``bounds``; 0 is no clipping.
    linear_before_reset, input_forget : bool
        As ONNX's attributes.
    """

    weight: Array
    bias: Array | None
    peepholes: Array | None
    functions: tuple[Activation, ...]
    hidden: int
    bounds: float = 0.0
    linear_before_reset: bool = False
    input_forget: bool = False

    def bounded(self, x: Array) -> Array:
        """Return sums within the bounds."""
        return clip(x, low=-self.bounds, high=self.bounds) if self.bounds else x

    def gates(self, x: Array) -> list[Array]:
        """Return the part of each gate: shape (n, hidden) each of (n, gates * hidden)."""
        return [x[..., start : start + self.hidden] for start in range(0, x.shape[-1], self.hidden)]


def rnn_step(sums: Array, state: tuple[Array, ...], layer: Layer) -> tuple[Array, ...]:
    """Return the next state of a plain recurrent layer: Elman 1990."""
    (function,) = layer.functions
    return (function(layer.bounded(sums + _times(state[0], layer.weight))),)


def gru_step(sums: Array, state: tuple[Array, ...], layer: Layer) -> tuple[Array, ...]:
    """Return the next state of a gated recurrent unit: Cho et al. 2014, https://arxiv.org/abs/1406.1078."""
    (h,), n = state, layer.hidden
    gate, candidate = layer.functions
    update, reset, new = layer.gates(sums)
    if layer.linear_before_reset:
        mixed = _times(h, layer.weight) + layer.bias
        z, r, inner = layer.gates(mixed)
        r = gate(layer.bounded(reset + r))
        inner = r * inner
    else:
        z, r = layer.gates(_times(h, layer.weight[:, : 2 * n]))
        r = gate(layer.bounded(reset + r))
        inner = _times(r * h, layer.weight[:, 2 * n :])
    z = gate(layer.bounded(update + z))
    return ((1 - z) * candidate(layer.bounded(new + inner)) + z * h,)


def lstm_step(sums: Array, state: tuple[Array, ...], layer: Layer) -> tuple[Array, ...]:
    """Return the next output and cell of a long short-term memory with peepholes: Gers et al. 2002.

    The journal's page: https://www.jmlr.org/papers/v3/gers02a.html.
    """
    h, c = state
    gate, candidate, output = layer.functions
    i, o, f, new = layer.gates(sums + _times(h, layer.weight))
    p_i, p_o, p_f = (None,) * 3 if layer.peepholes is None else layer.gates(layer.peepholes)
    i = gate(layer.bounded(i if p_i is None else i + p_i * c))
    f = 1 - i if layer.input_forget else gate(layer.bounded(f if p_f is None else f + p_f * c))
    c = f * c + i * candidate(layer.bounded(new))
    o = gate(layer.bounded(o if p_o is None else o + p_o * c))
    return o * output(c), c


def _times(x: Array, weight: Array) -> Array:
    return array_namespace(x).matmul(x, weight)


def recurrent(
    x: Array,
    weight: Array,
    bias: Array | None,
    layer: Layer,
    step: Gates,
    state: tuple[Array, ...],
    lengths: Array | None,
    backwards: bool,
) -> tuple[Array, tuple[Array, ...]]:
    """Return the outputs of a layer for all steps, and its last state.

    Parameters
    ----------
    x : array, floating-point
        Shape (steps, n, features).
    weight : array
        Of the inputs: shape (features, gates * hidden).
    bias : array or None
        Shape (gates * hidden,).
    layer : Layer
        Weights of the state, and how a step computes.
    step : callable
        One of `rnn_step`, `gru_step` and `lstm_step`.
    state : tuple of array
        Before the first step: shape (n, hidden) each.
    lengths : array or None
        The number of steps of each row: shape (n,). Behind them outputs are 0 and the state stays.
    backwards : bool
        Whether the steps of each row are taken from the last to the first.

    Returns
    -------
    tuple
        Outputs of shape (steps, n, hidden), and the last state.
    """
    xp, (steps, n, features) = array_namespace(x), x.shape
    sums = xp.matmul(xp.reshape(x, (steps * n, features)), weight)
    sums = xp.reshape(sums if bias is None else sums + bias, (steps, n, -1))
    sequences = [sums]
    if lengths is not None:
        numbers = xp.arange(steps, dtype=lengths.dtype, device=array_api_compat.device(lengths))
        sequences.append(xp.reshape(numbers, (-1, 1, 1)) < xp.reshape(lengths, (1, -1, 1)))
    if backwards:
        sequences = [xp.flip(part, axis=0) for part in sequences]

    def once(number: Any, state: tuple[Array, ...], parts: tuple[Array, ...]) -> Any:
        new = step(parts[0], state, layer)
        if len(parts) == 1:
            return new, (new[0],)
        there = parts[1]
        kept = tuple(xp.where(there, after, before) for after, before in zip(new, state, strict=True))
        return kept, (xp.where(there, new[0], xp.zeros_like(new[0])),)

    if not steps:
        return xp.zeros((0, n, layer.hidden), dtype=x.dtype, device=array_api_compat.device(x)), state
    state, (y,) = backends.backend_of(x).scan(once, state, sequences, steps)
    return (xp.flip(y, axis=0) if backwards else y), state


# -- Activations --------------------------------------------------------------------------------------


def _where(x: Array, yes: Array, no: Array) -> Array:
    return array_namespace(x).where(x >= 0, yes, no)


def _affine(x: Array, alpha: float, beta: float) -> Array:
    return alpha * x + beta


def _elu(x: Array, alpha: float, beta: float) -> Array:
    return _where(x, x, alpha * array_namespace(x).expm1(clip(x, high=0.0)))


def _hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    return clip(alpha * x + beta, low=0.0, high=1.0)


def _leaky_relu(x: Array, alpha: float, beta: float) -> Array:
    return _where(x, x, alpha * x)


def _scaled_tanh(x: Array, alpha: float, beta: float) -> Array:
    return alpha * array_namespace(x).tanh(beta * x)


def _softsign(x: Array, alpha: float, beta: float) -> Array:
    return x / (1 + array_namespace(x).abs(x))


def _thresholded_relu(x: Array, alpha: float, beta: float) -> Array:
    xp = array_namespace(x)
    return xp.where(x >= alpha, x, xp.zeros_like(x))


def _tanh(x: Array) -> Array:
    return array_namespace(x).tanh(x)


#: Activations without parameters, and those with two: with the values that these have where a file gives none.
_PLAIN: dict[str, Activation] = {
    "relu": OPS["relu"].formula,
    "sigmoid": OPS["sigmoid"].formula,
    "softplus": OPS["softplus"].formula,
    "tanh": _tanh,
}
_SCALED: dict[str, tuple[Callable[..., Array], float | None, float | None]] = {
    "affine": (_affine, 1.0, 0.0),
    "elu": (_elu, 1.0, 0.0),
    "hardsigmoid": (_hard_sigmoid, 0.2, 0.5),
    "leakyrelu": (_leaky_relu, 0.01, 0.0),
    "scaledtanh": (_scaled_tanh, 1.0, 1.0),
    "softsign": (_softsign, None, None),
    "thresholdedrelu": (_thresholded_relu, 1.0, 0.0),
}


def activations(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float], operator: str
) -> tuple[Activation, ...]:
    """Return activations by their names in any case; each takes its parameters, if it has any, from the lists in turn.

    Raises
    ------
    OperatorError
        If a name is not known.
    """
    found: list[Activation] = []
    alpha_of, beta_of = iter(alphas), iter(betas)
    for name in names:
        plain, scaled = _PLAIN.get(name.lower()), _SCALED.get(name.lower())
        if plain is not None:
            found.append(plain)
        elif scaled is not None:
            function, alpha, beta = scaled
            found.append(
                functools.partial(
                    function,
                    alpha=0.0 if alpha is None else next(alpha_of, alpha),
                    beta=0.0 if beta is None else next(beta_of, beta),
                )
            )
        else:
            known = ", ".join(sorted([*_PLAIN, *_SCALED]))
            raise OperatorError(f"{operator} has the activation {name[:80]!r}; known: {known}")
    return tuple(found)
