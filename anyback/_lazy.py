"""Packages whose parts are imported when they are first used, so that importing one costs what is used of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, defined: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions ``__getattr__`` and ``__dir__`` of a package whose parts are imported when they are used.

    Type checkers and editors read the imports that the package has under ``TYPE_CHECKING``.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    defined : mapping of str to sequence of str
        Module of the package -> the public names that it defines.
    """
    places = {name: module for module, names in defined.items() for name in names}
    module = sys.modules[package]

    def get(name: str) -> Any:
        place = places.get(name, "" if name.startswith("_") else name)
        try:
            found = importlib.import_module(f"{package}.{place}") if place else None
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{place}":
                raise
            found = None
        if found is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name in places:  # a module is set as an attribute by its import
            found = vars(module)[name] = getattr(found, name)
        return found

    return get, lambda: sorted({*vars(module), *places, *getattr(module, "__all__", ())})
