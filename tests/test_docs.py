"""The documentation, as far as that needs no Sphinx: its code runs, and every public name has an example."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import anyback

DOCS = Path(__file__).parent.parent / "docs"
PACKAGE = Path(anyback.__file__).parent
#: How a page names a cell that is run when it is built.
CELL = re.compile(r"^```\{code-cell\}.*?\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
PAGES = sorted(path for path in DOCS.rglob("*.md") if "```{code-cell}" in path.read_text(encoding="utf-8"))

if not DOCS.is_dir():
    pytest.skip("the documentation is not here", allow_module_level=True)


def made(name: str) -> Any:
    """Return a module of ``docs/_made``, which makes pages."""
    spec = importlib.util.spec_from_file_location(f"docs_made_{name}", DOCS / "_made" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


# -- The pages that are written by hand ---------------------------------------------------------------


def test_the_pages_that_are_asked_for_are_there() -> None:
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in PAGES}
    how_to = "gpu_notebook from_pytorch from_scikit_learn onnx weights_files same_bits proven_labels"
    assert {"index", "tour", "design", *(f"how-to/{name}" for name in how_to.split())} <= pages


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_the_code_of_a_page_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "\n".join(CELL.findall(path.read_text(encoding="utf-8")))
    for library in ("dask", "jax", "matplotlib", "onnx", "skl2onnx", "sklearn", "torch"):
        if re.search(rf"\b(?:import|from) {library}\b|\"{library}[\":]", code):
            pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANYBACK_BACKEND", "numpy")
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(compile(code, str(path), "exec"), {"__name__": "page"})
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_files_of_the_repository_that_a_page_names_are_there(path: Path) -> None:
    if {"api", "made", "notebooks"} & set(path.relative_to(DOCS).parts):
        return
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|tools|docs|benchmarks)/[\w./-]+)`", text)
    assert not [name for name in named if not (DOCS.parent / name).exists()]


# -- The API ------------------------------------------------------------------------------------------

API = made("api")


def run_docstrings() -> set[str]:
    """Return the docstrings that pytest collects and runs as doctests."""
    finder, found = doctest.DocTestFinder(exclude_empty=True), set()
    for path in PACKAGE.rglob("*.py"):
        parts = [p for p in path.relative_to(PACKAGE.parent).with_suffix("").parts if p != "__init__"]
        if parts[-1] == "__main__":
            continue
        try:
            module = importlib.import_module(".".join(parts))
        except ImportError:
            continue
        for test in finder.find(module, ".".join(parts)):
            if any(doctest.SKIP not in example.options for example in test.examples):
                found.add(inspect.cleandoc(test.docstring))
    return found


def test_every_public_name_has_words_and_an_example_that_pytest_runs() -> None:
    names, run = API.names(), run_docstrings()
    assert len(names) > 150
    assert [name.full for name in names if not name.text] == []
    without = {name.full for name in names if inspect.cleandoc(name.example or "-") not in run}
    assert without == API.DOWNLOADED


def test_a_name_without_an_example_is_seen() -> None:
    def plain() -> None:
        """Do nothing."""

    def skipped() -> None:
        """Do nothing.

        >>> skipped()  # doctest: +SKIP
        """

    assert API.Name("anyback", "plain", plain).example == ""
    assert API.Name("anyback", "skipped", skipped).example == ""
    assert API.Name("anyback.errors", "NoSuchThing", 3).text == ""


def test_every_name_of_every_public_module_has_one_page() -> None:
    pages = [name.page.lower() for name in API.names()]
    assert len(pages) == len(set(pages))  # on file systems that do not tell cases apart, too
    known = {id(name.value) for name in API.names()}
    for module in API.importable():
        loaded = importlib.import_module(module)
        assert all(id(getattr(loaded, n)) in known or inspect.ismodule(getattr(loaded, n)) for n in loaded.__all__)


# -- The design ---------------------------------------------------------------------------------------


def test_the_drawing_of_the_house_has_every_room_and_imports_run_down_in_it() -> None:
    house = made("house")
    svg = house.drawing()
    floor_of = {room: number for number, floor in enumerate(house.FLOORS.values()) for room in floor}
    assert house.rooms() <= set(floor_of)
    assert all(f">{room}</text>" in svg for room in house.rooms())
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if room in floor_of and isinstance(node, ast.ImportFrom) and (node.module or "").startswith("anyback"):
                words = node.module.split(".")
                targets = [words[1]] if len(words) > 1 else [alias.name for alias in node.names]
                for target in targets:
                    assert floor_of.get(target, 99) >= floor_of[room], f"{room} imports {target}, which is drawn above"


# -- The benchmarks -----------------------------------------------------------------------------------


def test_tables_are_made_of_the_committed_reports(tmp_path: Path) -> None:
    made("benchmarks").make(tmp_path)
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    for report in (DOCS.parent / "benchmarks" / "reports").glob("*.json"):
        text = (tmp_path / "made" / f"{report.stem}.md").read_text(encoding="utf-8")
        assert f"made/{report.stem}.md" in page
        assert re.search(r"(?:Measured|Committed) on \d{4}-\d\d-\d\d|On a day that the report does not say", text)
        assert "processor" in text
        assert text.count("|") > 50
    assert not re.search(r"\d\.\d", page), "a number is typed by hand"
