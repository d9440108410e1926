"""The function that runs the calls of a network with the kernels of its arrays' library."""

from __future__ import annotations

from typing import Any

from anyback import backends
from anyback._typing import Array, DType
from anyback.backends import Backend, Program, backend_of, of_one
from anyback.network._memory import freed
from anyback.network._types import of_one_float, value_types
from anyback.numbers import FLOATS
from anyback.plan import Rows, Step, runner

__all__ = ["programs_of", "where"]


def where(net: Any, place: int) -> str:
    """Return the name of a call in errors, for networks from files; empty for other networks."""
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
    run = runner(_steps(net, backend), net.outputs, net.first_result)
    dtype = net.arrays[0].dtype if net.arrays and len(net.inputs) == 1 else None
    name = "" if dtype is None else backends.dtype_name(dtype)
    if name in FLOATS and FLOATS[name].bits >= 32 and all(x.dtype == dtype for x in net.arrays):
        run = _of_own_type(run, runner(_steps(net, backend, name), net.outputs, net.first_result), dtype)
    if backend is None or net.rows is Rows.UNKNOWN:
        program = _where_the_input_is(run) if backend is None else backend.in_settings(run)
        return program, of_one(program)
    ports = () if net.signature is None else net.signature.inputs
    return backend.programs(run, [i for i, port in enumerate(ports) if port.host])


def _steps(net: Any, backend: Backend | None, dtype: str | None = None) -> list[Step]:
    """Return the steps of a network, for inputs of any type, or of one type alone."""
    types = None if dtype is None else value_types(net, [dtype] * len(net.inputs))
    dead = freed(net)
    return [
        Step(
            *(call.op.bound(backend, cast=types is None or not of_one_float(types, number, call)), None),
            *(call.arguments, dict(call.attributes)),
            results=call.results,
            frees=dead.get(number, ()),
            where=where(net, place),
        )
        for place, (number, call) in enumerate(net.results())
    ]


def _of_own_type(run: Program, own: Program, dtype: DType) -> Program:
    """Return a program that computes as `own` does where its input is of a type, without a cast around each op."""

    def call(values: list[Array]) -> tuple[Array, ...]:
        return own(values) if getattr(values[0], "dtype", None) == dtype else run(values)

    return call


def _where_the_input_is(run: Program) -> Program:
    """Return a program of a network without arrays: its first input says which library computes."""

    def call(values: list[Array]) -> tuple[Array, ...]:
        x = values[0]
        return backend_of(x, device=True).in_settings(run)(values) if hasattr(x, "dtype") else run(values)

    return call
