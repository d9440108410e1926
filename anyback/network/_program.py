"""The function that runs the calls of a network with the kernels of its arrays' library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyback._typing import Array
from anyback.backends import backend_of
from anyback.network._memory import freed
from anyback.plan import Rows, Step, runner

__all__ = ["program_of", "where"]


def where(net: Any, place: int) -> str:
    """Return the name of a call in errors, for networks from files; empty for other networks."""
    if net.signature is None:
        return ""
    call = net.calls[place]
    return f"step {place + 1}, {call.name or call.op.name}{f' {call.source[:80]!r}' if call.source else ''}"


def program_of(net: Any) -> Callable[[list[Array]], tuple[Array, ...]]:
    """Return the function that takes the inputs and the arrays of a network in one list, and returns its outputs."""
    backend = backend_of(net.arrays[0]) if net.arrays else None
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
        return runner(steps, net.outputs)
    ports = () if net.signature is None else net.signature.inputs
    return backend.program(steps, net.outputs, [i for i, port in enumerate(ports) if port.host])
