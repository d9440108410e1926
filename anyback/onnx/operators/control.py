"""Operators that choose what is computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import OperatorError
from anyback.onnx._operator import Body, operator, several

__all__ = ["If"]


@operator()
def If(cond: Array, *, then_branch: Body, else_branch: Body, outputs: int) -> Any:
    """Return what one of two graphs gives; both are computed where the condition is not known yet."""
    if not isinstance(cond, (np.ndarray, np.generic)):
        if not backends.is_concrete(cond):
            return several(_joined(cond, then_branch(), else_branch()), outputs)
        cond = backends.to_numpy(cond)
    return several((then_branch if np.all(cond) else else_branch)(), outputs)


def _joined(cond: Array, yes: tuple[Array, ...], no: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return for each output the one of two that a condition chooses, of the same shape and type."""
    xp = array_namespace(cond)
    for a, b in zip(yes, no, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise OperatorError(
                f"If: its branches give shape {tuple(a.shape)} and {tuple(b.shape)}; which of them it is must be known "
                "while a program is being traced: call the network outside of it"
            )
    chosen = xp.reshape(cond, ())
    return tuple(xp.where(chosen, a, b) for a, b in zip(yes, no, strict=True))
