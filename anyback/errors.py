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
    """Base of every error that anyback raises on purpose.

    Examples
    --------
    >>> import anyback as ab
    >>> try:
    ...     ab.load_model("mnist-mpl")
    ... except ab.AnybackError as error:
    ...     print(error)
    no network and no file 'mnist-mpl'; known networks: digits-mlp, ...
    """


class BackendError(AnybackError, RuntimeError):
    """An array library, a device or a precision that cannot be used here, or two that were mixed.

    Examples
    --------
    >>> import anyback as ab
    >>> try:
    ...     ab.asarray([1.0], backend="nunpy")
    ... except ab.BackendError as error:
    ...     print(error)
    unknown backend 'nunpy'; known: numpy, ...
    """


class WeightsError(AnybackError, ValueError):
    """A weights file, or a set of weights, that is not what it should be.

    Examples
    --------
    >>> import anyback as ab
    >>> try:
    ...     ab.read_weights("mine.txt")
    ... except ab.WeightsError as error:
    ...     print(error)
    mine.txt: unknown suffix '.txt'; known: .npz, ...
    """


class DataError(AnybackError, ValueError):
    """A data file, an array of inputs, or labels that are not what they should be.

    Examples
    --------
    >>> import anyback as ab
    >>> net = ab.load_model("digits-mlp", backend="numpy")
    >>> try:
    ...     ab.predict(net, ["a", "b"])
    ... except ab.DataError as error:
    ...     print(error)
    expected an array of numbers, found dtype str32; ...
    """


class JobError(AnybackError, RuntimeError):
    """A job in shards that cannot be begun, resumed or verified: its output, its marks or what it was begun with."""


class ShardError(JobError):
    """Shards of a job that cannot be computed or written; the others are kept, and the job can be resumed."""


class OperatorError(AnybackError, NotImplementedError):
    """An operator of a network that anyback cannot compute here.

    Examples
    --------
    The bytes of an ONNX file whose one operator is ``Sing``:

    >>> import anyback.onnx
    >>> def part(number, content):
    ...     return bytes([number << 3 | 2, len(content)]) + content
    >>> node = part(1, b"x") + part(2, b"y") + part(4, b"Sing")
    >>> graph = part(1, node) + part(11, part(1, b"x")) + part(12, part(1, b"y"))
    >>> try:
    ...     anyback.onnx.load(bytes([8, 8]) + part(7, graph) + part(8, bytes([16, 17])))
    ... except anyback.OperatorError as error:
    ...     print(error)
    the network uses operators that anyback does not have: ai.onnx.Sing of version 17
    """


class ShapeError(AnybackError, ValueError):
    """An array whose shape does not fit the layer or the network that it was given to.

    Examples
    --------
    >>> import anyback as ab, numpy as np
    >>> net = ab.load_model("digits-mlp", backend="numpy")
    >>> try:
    ...     net(np.ones(3))
    ... except ab.ShapeError as error:
    ...     print(error)
    the network takes shape ... or (8, 8); found (3,)
    """
