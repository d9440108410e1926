"""Every `xp` name that the package uses exists in each library's namespace, CuPy's too, without a GPU."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
from conftest import libraries

import anyback
from anyback import backends

PACKAGE = Path(anyback.__file__).parent


def names_used() -> set[str]:
    """Return the attributes of everything called `xp` in the package."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                value = node.value
                named = (isinstance(value, ast.Name) and value.id == "xp") or (
                    isinstance(value, ast.Attribute) and value.attr == "xp"
                )
                if named:
                    found.add(node.attr)
    return found


def test_the_search_finds_the_names() -> None:
    assert {"exp", "matmul", "maximum", "concat", "astype"} <= names_used()


@pytest.mark.parametrize("name", libraries(usable=False))  # CuPy's namespace is there without a GPU
def test_every_name_used_is_in_the_namespace(name: str) -> None:
    row = backends.ROWS[name]
    library = {"dask": "dask.array"}.get(name, name)
    pytest.importorskip(library, reason=f"{name} is not installed")
    namespace = importlib.import_module(row.namespace)
    # strict's file alone names its Device; asarray tries from_dlpack between GPUs, and goes by the host without.
    own = {"from_dlpack"} if name == "dask" else set()
    own |= set() if name == "array_api_strict" else {"Device"}
    missing = {used for used in names_used() - own if not hasattr(namespace, used)}
    assert not missing


@pytest.mark.array_api_strict
def test_every_name_used_is_in_the_standard() -> None:
    import array_api_strict

    assert not {used for used in names_used() if not hasattr(array_api_strict, used)}
