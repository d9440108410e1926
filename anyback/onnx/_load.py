"""The network in an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Sequence

import anyback.onnx.operators  # noqa: F401, which declares the operators
from anyback._files import shown
from anyback.errors import AnybackError
from anyback.network import Network
from anyback.onnx._files import parse_model, read_model
from anyback.onnx._planner import network_of

__all__ = ["load"]


def load(source: str | os.PathLike[str] | bytes, outputs: Sequence[str] | None = None) -> Network:
    """Return the network in an ONNX file.

    Parameters
    ----------
    source : path-like or bytes
        The path of the file, or its bytes.
    outputs : sequence of str or None
        The names of the outputs that are wanted; None is all of them, or of a classifier that gives labels and
        probabilities the probabilities alone.

    Returns
    -------
    Network
        Its arrays are NumPy's.

    Raises
    ------
    WeightsError
        If the file does not hold a sound model.
    OperatorError
        If it uses operators that are not known here: all of them are named.

    Examples
    --------
    >>> import numpy as np
    >>> def part(number, content):  # one field of a file: its number, its length and what it holds
    ...     return bytes([number << 3 | 2, len(content)]) + content
    >>> node = part(1, b"x") + part(2, b"y") + part(4, b"Relu")
    >>> graph = part(1, node) + part(11, part(1, b"x")) + part(12, part(1, b"y"))
    >>> net = load(bytes([8, 8]) + part(7, graph) + part(8, bytes([16, 17])))
    >>> net(np.asarray([[-1.0, 2.0]]))
    array([[0., 2.]])

    """
    if isinstance(source, bytes):
        return network_of(parse_model(source), outputs)
    model = read_model(source)
    try:
        return network_of(model, outputs)
    except AnybackError as error:
        raise type(error)(f"{shown(source)}: {error}") from None
