"""Loops of a known or unknown number of steps, in Python, which works on every library."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat
import numpy as np

from anyback._typing import Array
from anyback.errors import BackendError

__all__ = ["Loops", "ScanStep", "WhileStep"]

#: Takes the number of the step, the state and this step's part of each sequence; returns the state and its results.
ScanStep = Callable[[Any, tuple[Any, ...], tuple[Any, ...]], tuple[tuple[Any, ...], tuple[Any, ...]]]
#: Takes the number of the step and the state; returns whether there is another step, and the state.
WhileStep = Callable[[Any, tuple[Any, ...]], tuple[Any, tuple[Any, ...]]]


class Loops:
    """The loops of a backend; a library that compiles overrides them."""

    xp: Any
    device_of: Callable[[Any], str | None]

    def until(self, step: Callable[[Any], Any], state: Any, times: int) -> Any:
        """Return the state after `times` steps, or after fewer where the others would change nothing.

        Parameters
        ----------
        step : callable
            Takes a tuple of arrays and returns one of the same shapes and dtypes. The last array holds booleans; where
            all of them are true, steps leave the state as it is.
        state : tuple of array
            Before the first step.
        times : int
            The most steps.

        Returns
        -------
        tuple of array
        """
        for _ in range(times):
            state = step(state)
            if self.device_of(state[-1]) in (None, "meta"):
                continue
            # On arrays with bounds, whether it has ended may not be known: one more step changes no state that has.
            with contextlib.suppress(BackendError):
                if bool(self.xp.all(state[-1])):
                    break
        return state

    def scan(
        self, step: ScanStep, state: tuple[Any, ...], sequences: Sequence[Array], count: int
    ) -> tuple[tuple[Any, ...], tuple[Array, ...]]:
        """Return the state after `count` steps, and the results of all steps, stacked along a new first axis.

        Parameters
        ----------
        step : callable
            Takes the number of the step, the state, and for each sequence what lies at that number; returns the state
            and the results of the step. A pure function.
        state : tuple
            Arrays, before the first step. Where their shapes stay the same, a library may compile the step once.
        sequences : sequence of array
            Each of shape (count, ...).
        count : int
            How many steps.

        Returns
        -------
        tuple of tuple
        """
        results: list[tuple[Any, ...]] = []
        for number in range(count):
            state, found = step(np.asarray(number, np.int64), state, tuple(x[number, ...] for x in sequences))
            results.append(found)
        return state, tuple(self.stacked(parts) for parts in zip(*results, strict=True))

    def repeat(self, step: WhileStep, state: tuple[Any, ...], first: int, most: int) -> tuple[Any, ...]:
        """Return the state after the step that says that it was the last, or after `most` steps.

        Parameters
        ----------
        step : callable
            Takes the number of the step and the state; returns whether there is another step, an array of one boolean,
            and the state. A pure function.
        state : tuple
            Before the first step.
        first, most : int
            The number of the first step, and of the one behind the last.

        Returns
        -------
        tuple
        """
        for number in range(first, most):
            again, state = step(np.asarray(number, np.int64), state)
            if not bool(again):
                break
        return state

    def stacked(self, parts: Sequence[Any]) -> Array:
        """Return arrays of one shape and type, all of this library or all of NumPy, along a new first axis."""
        if all(isinstance(part, (np.ndarray, np.generic)) for part in parts):
            return np.stack(parts)
        return array_api_compat.array_namespace(*parts).stack(parts)
