"""The errors of anyback: each says what was found, what was expected, and what to do."""

from __future__ import annotations

__all__ = [
    "AnybackError",
    "BackendError",
    "DataError",
    "JobError",
    "OperatorError",
    "ShapeError",
    "ShardError",
    "WeightsError",
]


class AnybackError(Exception):
    """Base of every error that anyback raises on purpose."""


class BackendError(AnybackError, RuntimeError):
    """An array library, a device or a precision that cannot be used here, or two that were mixed."""


class WeightsError(AnybackError, ValueError):
    """A weights file, or a set of weights, that is not what it should be."""


class DataError(AnybackError, ValueError):
    """A data file, an array of inputs, or labels that are not what they should be."""


class JobError(AnybackError, RuntimeError):
    """A job in shards that cannot be begun, resumed or verified: its output, its marks or what it was begun with."""


class ShardError(JobError):
    """Shards of a job that cannot be computed or written; the others are kept, and the job can be resumed."""


class OperatorError(AnybackError, NotImplementedError):
    """An operator of a network that anyback cannot compute here."""


class ShapeError(AnybackError, ValueError):
    """An array whose shape does not fit the layer or the network that it was given to."""
