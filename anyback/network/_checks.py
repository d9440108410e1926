"""Checks of a network before it is used."""

from __future__ import annotations

from typing import Any

from anyback.errors import AnybackError, DataError
from anyback.network._graph import Network

__all__ = ["check_network", "check_outputs", "checked_network"]


def checked_network(net: Any) -> Network:
    """Return `net`, or raise an error where it is no network, or its output does not depend on the input."""
    check_network(net)
    check_outputs(net, net.width)
    return net


def check_network(net: Any) -> None:
    """Raise `AnybackError` where a value is no network."""
    if not isinstance(net, Network):
        raise AnybackError(f"expected a network, found {type(net).__name__}; load one with anyback.load_model(...)")


def check_outputs(net: Network, width: int | None) -> None:
    """Raise `DataError` where a network of `width` outputs ends in a distribution over one, which is always 1."""
    if width == 1 and (last := net.last()) is not None and last.op.gives == "distribution":
        raise DataError(
            "a softmax of one output is always 1, whatever the input; two classes from one output take "
            "output='sigmoid', a number takes output='identity'"
        )
