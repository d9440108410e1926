"""The function that runs the calls of a network with the kernels of its arrays' library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyback import backends
from anyback._typing import Array, DType
from anyback.backends import Backend, Program, backend_of, of_one
from anyback.network._call import Call
from anyback.network._memory import Memory, freed
from anyback.network._types import of_one_float, value_types
from anyback.numbers import FLOATS
from anyback.ops import known_op
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
        run = _by_type(net, backend, run, dtype)
    if backend is None or net.rows is Rows.UNKNOWN:
        program = _where_the_input_is(run) if backend is None else backend.in_settings(run)
        return program, of_one(program)
    ports = () if net.signature is None else net.signature.inputs
    return backend.programs(run, [i for i, port in enumerate(ports) if port.host])


def _steps(net: Any, backend: Backend | None, dtype: str | None = None) -> list[Step]:
    """Return the steps of a network, for inputs of any type, or of one type alone."""
    types = None if dtype is None else value_types(net, [dtype] * len(net.inputs))
    own = {} if backend is None else backend.own
    overwriting = any(call.op.name in own and own[call.op.name].overwrite for call in net.calls)
    dead, memory, steps = freed(net), Memory(net) if overwriting else None, []
    for place, (number, call) in enumerate(net.results()):
        compute = call.op.bound(
            backend,
            cast=types is None or not of_one_float(types, number, call),
            in_place=memory is not None and memory.may_overwrite(number, call),
        )
        step = Step(
            *(_prepared(compute, backend, net, call), None, call.arguments, dict(call.attributes)),
            results=call.results,
            frees=dead.get(number, ()),
            where=where(net, place),
        )
        steps.append(step)
    return steps


def _prepared(compute: Callable[..., Any], backend: Backend | None, net: Any, call: Call) -> Callable[..., Any]:
    """Return the function of a call; a weight that cannot change is brought into the kernel's own order once."""
    own = backend.own.get(call.op.name) if backend is not None and known_op(call.op) else None
    weight = net.array_of([*call.arguments, None, None][1])
    if backend is None or own is None or own.ready is None or weight is None or not backend.unchanging(weight):
        return compute
    ready, made = own.ready, list[Any]()

    def computing(x: Array, given: Array, *rest: Array | None, **attributes: Any) -> Array:
        mixed = any(a is not None and a.dtype != given.dtype for a in (x, *rest))
        if mixed or given is not weight:  # that of another network with the same calls
            return compute(x, given, *rest, **attributes)
        if not made:
            made.append(ready(weight, **attributes))
        return made[0](x, *rest)

    return computing


def _by_type(net: Any, backend: Backend | None, run: Program, own: DType) -> Program:
    """Return a program that casts no more than an input of this type needs; `run` takes inputs of any type.

    The steps are made when the first input of the arrays' own type, or of integers, comes: not every network meets any.
    """
    known: dict[DType, Program] = {}

    def call(values: list[Array]) -> tuple[Array, ...]:
        dtype = getattr(values[0], "dtype", None)
        program = known.get(dtype)
        if program is None:
            name = "" if dtype is None else backends.dtype_name(dtype)
            plain = "int" in name or (dtype is not None and dtype == own)
            program = runner(_steps(net, backend, name), net.outputs, net.first_result) if plain else run
            known[dtype] = program
        return program(values)

    return call


def _where_the_input_is(run: Program) -> Program:
    """Return a program of a network without arrays: its first input says which library computes."""

    def call(values: list[Array]) -> tuple[Array, ...]:
        x = values[0]
        return backend_of(x, device=True).in_settings(run)(values) if hasattr(x, "dtype") else run(values)

    return call
