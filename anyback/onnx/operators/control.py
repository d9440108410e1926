"""Operators that contain graphs: branches and loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.backends import Backend, array_namespace
from anyback.errors import DataError, OperatorError, ShapeError
from anyback.onnx._arrays import beside
from anyback.onnx._operator import Body, Host, Ints, operator, several
from anyback.onnx._plumbing import on_host

__all__ = ["If", "Loop", "Scan", "Scan_8"]

#: The most steps of a loop.
MOST_TRIPS = 1_000_000


@operator()
def If(cond: Array, *, then_branch: Body, else_branch: Body, outputs: int) -> Any:
    """Return the outputs of one of two graphs; both are computed where the condition has no value yet."""
    if not isinstance(cond, (np.ndarray, np.generic)):
        if not backends.is_concrete(cond):
            return several(_joined(cond, then_branch(), else_branch()), outputs)
        cond = backends.to_numpy(cond)
    return several((then_branch if np.all(cond) else else_branch)(), outputs)


def _joined(cond: Array, yes: tuple[Array, ...], no: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return for each output that of one branch or the other, by a condition; both have one shape and type."""
    xp = array_namespace(cond)
    for a, b in zip(yes, no, strict=True):
        forms = [getattr(x, "shape", "of no array") for x in (a, b)]  # a sequence or an optional has none
        if forms[0] != forms[1] or "of no array" in forms or a.dtype != b.dtype:
            raise OperatorError(
                f"If: its branches give shape {forms[0]} and {forms[1]}; which of them it is must be known "
                "while a program is being traced: call the network outside of it"
            )
    chosen = xp.reshape(cond, ())
    return tuple(xp.where(chosen, a, b) for a, b in zip(yes, no, strict=True))


@operator(loop=True)
def Loop(
    M: Host | None = None,
    cond: Array | None = None,
    *v_initial: Any,
    body: Body,
    endless: bool,
    condition_on_host: bool,
    outputs: int,
) -> Any:
    """Return the values after the last step of a loop, then what its steps gave, stacked along a new first axis."""
    trips = None if M is None else max(0, int(np.reshape(M, ())))
    if trips is not None and trips > MOST_TRIPS:
        raise DataError(f"Loop: expected at most {MOST_TRIPS:,} steps, found {trips:,}")
    begins = True if cond is None else bool(np.all(on_host(cond)))
    carried, outer = len(v_initial), body.outer
    device = next((x for x in (*v_initial, *outer) if not isinstance(x, (np.ndarray, np.generic, list))), None)
    # Values on the host stay there, and the form of a sequence changes with each step: such loops run in Python.
    host = any(isinstance(x, (np.ndarray, np.generic, list)) for x in v_initial)
    backend = backends.backend_of(np.zeros(1) if host or device is None else device)
    always: Any = np.asarray(True)
    if device is not None and not condition_on_host:  # the body may compute with the condition and arrays of the device
        always = beside(always, device)

    def step(number: Any, state: tuple[Any, ...], again: Any = always) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
        found = body(number, again, *state)
        return found[0], tuple(found[1 : carried + 1]), tuple(found[carried + 1 :])

    if not begins or trips == 0:
        return several((*v_initial, *_none_of(lambda: step(np.asarray(0, np.int64), v_initial)[2])), outputs)
    if endless:
        if trips is None:
            raise OperatorError("Loop: it has no last step")
        state, given = backend.scan(lambda number, state, _: step(number, state)[1:], v_initial, (), trips)
        return several((*state, *given), outputs)
    if body.outputs == carried + 1:
        return several(_while(backend, step, v_initial, trips, always), outputs)
    parts, state, again = [], v_initial, always
    for number in range(MOST_TRIPS if trips is None else trips):
        again, state, found = step(np.asarray(number, np.int64), state, again)
        parts.append(found)
        if not np.all(on_host(again)):
            break
    else:
        _ended(trips)
    return several((*state, *(backend.stacked(part) for part in zip(*parts, strict=True))), outputs)


def _while(backend: Backend, step: Any, state: tuple[Any, ...], trips: int | None, begin: Any) -> tuple[Any, ...]:
    """Return the values after the last step of a loop whose steps give no other outputs."""

    def once(number: Any, state: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        again, state, _ = step(number, state, begin)
        ended = isinstance(number, np.ndarray) and trips is None and number == MOST_TRIPS - 1
        if ended:
            _ended(trips)
        return again.reshape(()) if isinstance(again, np.ndarray) else array_namespace(again).reshape(again, ()), state

    try:
        return backend.repeat(once, state, 0, MOST_TRIPS if trips is None else trips)
    except TypeError as error:  # JAX compiles the step
        said = str(error).splitlines()[0]
        raise OperatorError(f"Loop: its values must keep shape and type while a program is traced: {said}") from error


def _ended(trips: int | None) -> None:
    if trips is None:
        raise DataError(f"Loop: it did not end after {MOST_TRIPS:,} steps")


def _none_of(run: Any) -> tuple[Array, ...]:
    """Return the outputs of a loop without steps: empty arrays of the shapes and types that one step gives."""
    return tuple(x[None, ...][:0, ...] for x in run())


@operator(since=9)
def Scan(
    *initial_state_and_scan_inputs: Array,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Ints | None = None,
    scan_input_directions: Ints | None = None,
    scan_output_axes: Ints | None = None,
    scan_output_directions: Ints | None = None,
    outputs: int,
) -> Any:
    """Return the state after a body has been applied step by step along sequences, and the outputs of all steps."""
    given, many = initial_state_and_scan_inputs, num_scan_inputs
    if not 1 <= many <= len(given):
        raise ShapeError(f"Scan: expected from 1 to {len(given)} sequences, found {many}")
    state, sequences = given[: len(given) - many], []
    for place, x in enumerate(given[len(given) - many :]):
        xp = array_namespace(x)
        steps = xp.moveaxis(x, _at(scan_input_axes, place), 0)
        sequences.append(xp.flip(steps, axis=0) if _at(scan_input_directions, place) else steps)
    counts = {x.shape[0] for x in sequences}
    if len(counts) > 1:
        raise ShapeError(f"Scan: expected sequences of one length, found {', '.join(map(str, sorted(counts)))}")
    carried, count = len(state), counts.pop()

    def step(number: Any, state: tuple[Any, ...], parts: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        found = body(*state, *parts)
        return tuple(found[:carried]), tuple(found[carried:])

    if count:
        state, results = backends.backend_of(sequences[0]).scan(step, state, sequences, count)
    else:
        zeros = tuple(array_namespace(x).zeros(x.shape[1:], dtype=x.dtype) for x in sequences)
        results = _none_of(lambda: step(0, state, zeros)[1])
    turned = []
    for place, y in enumerate(results):
        xp = array_namespace(y)
        steps = xp.flip(y, axis=0) if _at(scan_output_directions, place) else y
        turned.append(xp.moveaxis(steps, 0, _at(scan_output_axes, place)))
    return several((*state, *turned), outputs)


def _at(values: Sequence[int] | None, place: int) -> int:
    return values[place] if values is not None and place < len(values) else 0


@operator(since=8, name="Scan")
def Scan_8(
    sequence_lens: Host | None = None,
    *initial_state_and_scan_inputs: Array,
    body: Body,
    directions: Ints | None = None,
    num_scan_inputs: int,
    outputs: int,
) -> Any:
    """Return the outputs of `Scan` for each row of a batch; each row may have its own number of steps."""
    given, rows = initial_state_and_scan_inputs, []
    first = len(given) - num_scan_inputs
    for row in range(given[0].shape[0]):
        steps = None if sequence_lens is None else int(sequence_lens[row])
        parts = [x[row, ...] for x in given]
        parts[first:] = [x[:steps, ...] for x in parts[first:]]
        found = Scan.compute(
            *parts, body=body, num_scan_inputs=num_scan_inputs, scan_input_directions=directions, outputs=body.outputs
        )
        rows.append(found if body.outputs > 1 else (found,))
    columns = [list(column) for column in zip(*rows, strict=True)]
    for column in columns[first:]:
        longest = max(y.shape[0] for y in column)
        column[:] = [_padded(y, longest) for y in column]
    return several(tuple(array_namespace(column[0]).stack(column) for column in columns), outputs)


def _padded(y: Array, count: int) -> Array:
    """Return an array with zeros added behind its first axis, up to `count` entries."""
    if y.shape[0] == count:
        return y
    xp = array_namespace(y)
    zeros = xp.zeros((count - y.shape[0], *y.shape[1:]), dtype=y.dtype, device=array_api_compat.device(y))
    return xp.concat([y, zeros], axis=0)
