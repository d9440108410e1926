"""What a shell completes: names that begin as what is typed; where none does, the shell offers files.

Nothing is imported for it but what the command needs anyway, and no array library is tried.

Examples
--------
>>> networks("mnist-c")
['mnist-cnn']
>>> several(backends)("numpy,ja")
['numpy,jax']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import get_args

import typer

from anyback.activations import ACTIVATIONS
from anyback.backends import BackendName
from anyback.bench import TABLES
from anyback.cli._data import DATASETS
from anyback.cli._plots import PICTURES
from anyback.models import NETWORKS

__all__ = ["activations", "backends", "data", "drawn", "networks", "pictures", "several", "tables"]


def _beginning(names: Iterable[str], typed: str) -> list[str]:
    return [name for name in names if name.startswith(typed)]


def networks(incomplete: str) -> list[str]:
    """Return the names of networks."""
    return _beginning(NETWORKS, incomplete)


def data(incomplete: str) -> list[str]:
    """Return the names of data sets."""
    return _beginning(DATASETS, incomplete)


def backends(incomplete: str) -> list[str]:
    """Return the names of backends, whether they work here or not, which would take seconds to see."""
    return _beginning(get_args(BackendName), incomplete)


def activations(incomplete: str) -> list[str]:
    """Return the names of activations."""
    return _beginning(ACTIVATIONS, incomplete)


def pictures(incomplete: str) -> list[str]:
    """Return what can be drawn."""
    return _beginning(PICTURES, incomplete)


def drawn(context: typer.Context, incomplete: str) -> list[str]:
    """Return what a picture is drawn of: activations, or a network."""
    return (activations if context.params.get("kind") == "activations" else networks)(incomplete)


def tables(incomplete: str) -> list[str]:
    """Return the tables of `anyback bench`."""
    return _beginning([*TABLES, "all"], incomplete)


def several(names: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """Return a completer of names with commas between, of which the last is completed."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names(last)]

    return complete
