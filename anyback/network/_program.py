"""What runs the calls of a network, with the kernels of its arrays' library."""

from __future__ import annotations

from typing import Any

from anyback._typing import Array
from anyback.backends import Program, backend_of, of_one
from anyback.network._memory import freed
from anyback.plan import Rows, Step, runner

__all__ = ["programs_of", "where"]


def where(net: Any, place: int) -> str:
    """Return what errors call a call of a network from a file; empty for another network."""
    if net.signature is None:
        return ""
    call = net.calls[place]
    return f"step {place + 1}, {call.name or call.op.name}{f' {call.source[:80]!r}' if call.source else ''}"


def programs_of(net: Any) -> tuple[Program, Program]:
    """Return the functions that take what a network computes with in one list, and return its outputs.

    The list is the inputs and the arrays. The second function is given one sample, without the axis of the batch. Both
    enter the settings of the library.
    """
    backend = backend_of(net.arrays[0], device=True) if net.arrays else None
    dead = freed(net)
    steps = [
        Step(
            *(call.op.bound(backend), None, call.arguments, dict(call.attributes)),
            results=call.results,
            frees=dead.get(number, ()),
            where=where(net, place),
        )
        for place, (number, call) in enumerate(net.results())
    ]
    if backend is None or net.rows is Rows.UNKNOWN:
        run = runner(steps, net.outputs)
        program = _where_the_input_is(run) if backend is None else backend.in_settings(run)
        return program, of_one(program)
    ports = () if net.signature is None else net.signature.inputs
    return backend.programs(steps, net.outputs, [i for i, port in enumerate(ports) if port.host])


def _where_the_input_is(run: Program) -> Program:
    """Return a program of a network without arrays: its first input says which library computes."""

    def call(values: list[Array]) -> tuple[Array, ...]:
        x = values[0]
        return backend_of(x, device=True).in_settings(run)(values) if hasattr(x, "dtype") else run(values)

    return call
