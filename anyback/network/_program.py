"""The function that runs the calls of a network with the kernels of its arrays' library."""

from __future__ import annotations

import weakref
from typing import Any

from anyback import backends
from anyback._typing import Array
from anyback.backends import Backend, Program, backend_of, of_one
from anyback.network._memory import Memory, freed
from anyback.network._types import of_one_float, value_types
from anyback.numbers import FLOATS, NUMBERS
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
    kernels: list[Any] = [None] * len(net.calls)
    apart = net.rows <= Rows.PRODUCT
    if backend is not None:
        memory = Memory(net) if apart else None  # of others, a value may be one number, which NumPy cannot overwrite
        over = [memory is not None and memory.may_overwrite(number, call) for number, call in net.results()]
        kernels = [call.op.kernel(backend, in_place) for call, in_place in zip(net.calls, over, strict=True)]
    run = _of_each_type(net, backend, kernels)
    if backend is None or net.rows is Rows.UNKNOWN:
        program = _where_the_input_is(run) if backend is None else backend.in_settings(run)
        return program, of_one(program)
    ports = () if net.signature is None else net.signature.inputs
    one = _of_each_type(net, backend, kernels, tiles=False) if apart else run
    return backend.programs(run, [i for i, port in enumerate(ports) if port.host], one)


def _of_each_type(net: Any, backend: Backend | None, kernels: list[Any], *, tiles: bool = True) -> Program:
    """Return the function that runs a network, without a cast around each op where the type of the input needs none.

    `tiles` is whether there may be as many rows as in a tile.
    """
    general = runner(_steps(net, backend, kernels, tiles=tiles), net.outputs, net.first_result)
    types = {x.dtype for x in net.arrays}
    names = [backends.dtype_name(dtype) for dtype in types]
    if len(names) != 1 or len(net.inputs) != 1 or names[0] not in FLOATS or FLOATS[names[0]].bits < 32:
        return general
    found: dict[Any, Program] = {}
    there = weakref.ref(net)  # a network that its own program held would outlive its last use

    def made(dtype: Any) -> Program:
        net, name = there(), "" if dtype is None else backends.dtype_name(dtype)
        if net is None or name not in NUMBERS:
            return general
        return runner(_steps(net, backend, kernels, name, tiles=tiles), net.outputs, net.first_result)

    def call(values: list[Array]) -> tuple[Array, ...]:
        dtype = getattr(values[0], "dtype", None)
        run = found.get(dtype)
        if run is None:
            run = found[dtype] = made(dtype)
        return run(values)

    return call


def _steps(
    net: Any, backend: Backend | None, kernels: list[Any], dtype: str | None = None, *, tiles: bool
) -> list[Step]:
    """Return the steps of a network, for an input of any type, or of one type alone."""
    types = None if dtype is None else value_types(net, [dtype])
    dead = freed(net)
    found = []
    for place, (number, call) in enumerate(net.results()):
        cast = types is None or not of_one_float(types, number, call)
        compute = call.op.bound(backend, kernels[place], cast=cast, tiles=tiles)
        if backend is not None and call.op.rows is Rows.UNKNOWN:
            compute = backend.handed(compute)
        found.append(
            Step(
                *(compute, None),
                *(call.arguments, dict(call.attributes)),
                results=call.results,
                frees=dead.get(number, ()),
                where=where(net, place),
            )
        )
    return found


def _where_the_input_is(run: Program) -> Program:
    """Return a program of a network without arrays: its first input says which library computes."""

    def call(values: list[Array]) -> tuple[Array, ...]:
        x = values[0]
        return backend_of(x, device=True).in_settings(run)(values) if hasattr(x, "dtype") else run(values)

    return call
