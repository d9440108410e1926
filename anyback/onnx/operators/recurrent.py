"""Recurrent layers: LSTM, GRU and RNN, in one or both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import OperatorError, ShapeError
from anyback.onnx._arrays import narrowed, widened
from anyback.onnx._operator import Floats, Turned, operator, several
from anyback.onnx._recurrent import Gates, Layer, activations, gru_step, lstm_step, recurrent, rnn_step

__all__ = ["GRU", "LSTM", "RNN"]

#: Whether each direction runs backwards, by ONNX's name for the directions.
_BACKWARDS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@operator()
def RNN(
    X: Array,
    W: Turned,
    R: Turned,
    B: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: Sequence[str] = ("Tanh", "Tanh"),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    output_sequence: int = 0,
    outputs: int = 1,
) -> Any:
    """Return the outputs of all steps, and the last: a plain recurrent layer."""
    run = _Run("RNN", rnn_step, X, W, R, B, sequence_lens, layout, direction, clip or 0.0)
    functions = run.functions(activations, activation_alpha, activation_beta, 1)
    return several(run.results(functions, (initial_h,)), outputs)


@operator()
def GRU(
    X: Array,
    W: Turned,
    R: Turned,
    B: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: Sequence[str] = ("Sigmoid", "Tanh") * 2,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    output_sequence: int = 0,
    outputs: int = 1,
) -> Any:
    """Return the outputs of all steps, and the last: a layer of gated recurrent units."""
    run = _Run("GRU", gru_step, X, W, R, B, sequence_lens, layout, direction, clip or 0.0)
    functions = run.functions(activations, activation_alpha, activation_beta, 2)
    found = run.results(functions, (initial_h,), linear_before_reset=bool(linear_before_reset))
    return several(found, outputs)


@operator()
def LSTM(
    X: Array,
    W: Turned,
    R: Turned,
    B: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    P: Array | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: Sequence[str] = ("Sigmoid", "Tanh", "Tanh") * 2,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    output_sequence: int = 0,
    outputs: int = 1,
) -> Any:
    """Return the outputs of all steps, the last, and the last cells: a layer of long short-term memories."""
    run = _Run("LSTM", lstm_step, X, W, R, B, sequence_lens, layout, direction, clip or 0.0)
    functions = run.functions(activations, activation_alpha, activation_beta, 3)
    found = run.results(functions, (initial_h, initial_c), P, input_forget=bool(input_forget))
    return several(found, outputs)


class _Run:
    """A call of a recurrent operator; half types are computed in float32 and rounded once."""

    def __init__(
        self,
        name: str,
        step: Gates,
        x: Array,
        weight: Array,
        recurrence: Array,
        bias: Array | None,
        lengths: Array | None,
        layout: int,
        direction: str,
        bounds: float,
    ) -> None:
        if direction not in _BACKWARDS:
            raise OperatorError(f"{name} has the direction {direction[:80]!r}; known: {', '.join(_BACKWARDS)}")
        self._directions = _BACKWARDS[direction]
        self._hidden = recurrence.shape[1]
        expected = (len(self._directions), self._hidden, weight.shape[-1])
        if x.ndim != 3 or weight.ndim != 3 or tuple(recurrence.shape) != expected or x.shape[-1] != weight.shape[1]:
            found = [
                f"({', '.join(map(str, (*w.shape[:-2], w.shape[-1], w.shape[-2])))})" for w in (weight, recurrence)
            ]
            raise ShapeError(
                f"{name} expected inputs (steps, n, features), weights (directions, gates * hidden, features) and "
                f"(directions, gates * hidden, hidden); found {tuple(x.shape)}, {found[0]} and {found[1]} for "
                f"{len(self._directions)} of them"
            )
        self._name, self._step, self._lengths, self._bounds = name, step, lengths, bounds
        self._dtype, self._layout = x.dtype, layout
        self._xp = array_namespace(x, weight)
        x, self._weight, self._recurrence = widened(x), widened(weight), widened(recurrence)
        self._bias = None if bias is None else widened(bias)
        self._x = self._xp.permute_dims(x, (1, 0, 2)) if layout else x

    def functions(
        self, names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None, each: int
    ) -> list[tuple[Any, ...]]:
        """Return the activations of each direction, of `each` gates."""
        wanted = each * len(self._directions)
        found = activations(names[:wanted], alphas or (), betas or (), self._name)
        if len(found) != wanted:
            raise OperatorError(f"{self._name} expected {wanted} activations, found {len(found)}")
        return [found[start : start + each] for start in range(0, wanted, each)]

    def results(
        self,
        functions: Sequence[tuple[Any, ...]],
        initial: tuple[Array | None, ...],
        peepholes: Array | None = None,
        **facts: Any,
    ) -> tuple[Array, ...]:
        """Return the outputs of all steps and the last states, as the layout wants them."""
        xp, n = self._xp, self._x.shape[1]
        found = []
        for number, backwards in enumerate(self._directions):
            bias, inner = self._biases(number, facts.get("linear_before_reset", False))
            layer = Layer(
                self._recurrence[number, ...],
                inner,
                None if peepholes is None else widened(peepholes)[number, ...],
                functions[number],
                self._hidden,
                self._bounds,
                **facts,
            )
            state = tuple(self._first(part, number, n) for part in initial)
            found.append(
                recurrent(self._x, self._weight[number, ...], bias, layer, self._step, state, self._lengths, backwards)
            )
        y = xp.stack([y for y, _ in found], axis=1)  # (steps, directions, n, hidden)
        last = [xp.stack(parts, axis=0) for parts in zip(*(state for _, state in found), strict=True)]
        if self._layout:
            y = xp.permute_dims(y, (2, 0, 1, 3))
            last = [xp.permute_dims(part, (1, 0, 2)) for part in last]
        return tuple(narrowed(part, self._dtype) for part in (y, *last))

    def _first(self, part: Array | None, number: int, n: int) -> Array:
        """Return the state of a direction before the first step: shape (n, hidden)."""
        if part is None:
            return self._xp.zeros((n, self._hidden), dtype=self._x.dtype, device=array_api_compat.device(self._x))
        part = widened(part)
        return part[:, number, :] if self._layout else part[number, ...]

    def _biases(self, number: int, apart: bool) -> tuple[Array | None, Array | None]:
        """Return the bias of the inputs, to which that of the state is added unless a step treats it apart."""
        xp, size = self._xp, self._weight.shape[-1]
        if self._bias is None:
            return None, xp.zeros_like(self._weight[number, 0, :]) if apart else None
        of_input, of_state = self._bias[number, :size], self._bias[number, size:]
        if not apart:
            return of_input + of_state, None
        return of_input, of_state
