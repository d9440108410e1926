"""The notebooks' sources, as far as that is cheap; `nox -s notebooks` runs them."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
#: What hides a cell of checks: Jupyter shows no code of it, and Jupyter Book and nbconvert leave the cell out.
HIDDEN = 'jupyter={"source_hidden": true} tags=["hide", "remove-cell"]'

#: Notebook -> the checks that it holds at least.
CHECKS = {"01": 19, "02": 19, "03": 12, "04": 13, "05": 8, "06": 12}

each = pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)


class Cell(NamedTuple):
    """A cell: what stands beside its percent signs, and its text; that of Markdown without its comment signs."""

    header: str
    text: str

    @property
    def is_text(self) -> bool:
        return "[markdown]" in self.header

    @property
    def tags(self) -> set[str]:
        found = re.search(r"tags=\[(.*?)\]", self.header)
        return set(re.findall(r'"([\w-]+)"', found[1])) if found else set()

    @property
    def hidden(self) -> bool:
        return "hide" in self.tags


def cells(path: Path) -> list[Cell]:
    _, *rest = re.split(r"^# %%(.*)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = [Cell(header.strip(), text) for header, text in zip(rest[::2], rest[1::2], strict=True)]
    return [c._replace(text=re.sub(r"^# ?", "", c.text, flags=re.MULTILINE)) if c.is_text else c for c in found]


def code(path: Path, *, hidden: bool) -> list[Cell]:
    return [cell for cell in cells(path) if not cell.is_text and cell.hidden == hidden]


def checks(text: str) -> int:
    nodes = list(ast.walk(ast.parse(text)))
    asserted = sum(isinstance(node, ast.Assert) for node in nodes)
    return asserted + sum(isinstance(node, ast.Attribute) and node.attr.startswith("assert") for node in nodes)


def names(text: str, context: type[ast.expr_context]) -> set[str]:
    return {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def languages(block: str) -> tuple[bool, bool]:
    """Return whether a block of Markdown holds English words, and whether it holds Japanese."""
    prose = re.sub(r"`[^`]*`|\$[^$]*\$|<[^>]*>", "", block)
    return bool(re.search(r"\b[a-z]+ [a-z]+", prose)), bool(JAPANESE.search(prose))


def kind(block: str) -> str:
    """Return whether a block is a list, a table or a paragraph, and how long the first two are."""
    marks = {"list": r"^(?:\d+\.|[-*]) ", "table": r"^\|"}
    counts = {name: len(re.findall(mark, block, flags=re.MULTILINE)) for name, mark in marks.items()}
    return next((f"{name} of {n}" for name, n in counts.items() if n), "paragraph")


def without_partner(text: str) -> list[str]:
    """Return what stands in one language alone: headings hold both, and a Japanese block follows each English one."""
    faults, waiting = [], ""
    for block in re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).strip().split("\n\n"):
        if block.startswith("#"):
            english, _, japanese = block.partition(" · ")
            if waiting or not re.search("[a-z]", english) or JAPANESE.search(english) or not JAPANESE.search(japanese):
                faults.append(waiting or block)
            waiting = ""
        elif not JAPANESE.search(block):
            faults += [waiting] if waiting else []
            waiting = block
        else:
            if not waiting or kind(waiting) != kind(block):
                faults.append(block)
            waiting = ""
    return [*faults, waiting] if waiting else faults


def test_the_rule_of_two_languages_sees_what_is_missing() -> None:
    assert without_partner("# Name · 名前\n\nIt is here.\n\nここにあります。\n\n- a\n- b\n\n- あ\n- い") == []
    assert without_partner("# Name\n\nIt is here.\n\nここにあります。") == ["# Name"]
    assert without_partner("It is here.\n\nIt is there.\n\nここにあります。") == ["It is here."]
    assert without_partner("It is here.\n\nここにあります。\n\nIt is there.") == ["It is there."]
    assert without_partner("ここにあります。") == ["ここにあります。"]
    assert without_partner("1. a\n2. b\n\n1. あ") == ["1. あ"]


def test_there_are_six_in_order() -> None:
    assert [path.name[:2] for path in SOURCES] == [f"{i:02}" for i in range(1, len(SOURCES) + 1)]
    assert len(SOURCES) == 6


@each
def test_each_opens_with_the_two_lines_that_choose_a_gpu(path: Path) -> None:
    first = next(cell.text for cell in cells(path) if not cell.is_text)
    # Without the name in front, the notebook would show what the line returns.
    assert first.split() == ["import", "os", "_", "=", 'os.environ.setdefault("ANYBACK_BACKEND",', '"auto")']


@each
def test_every_heading_paragraph_list_and_table_is_in_english_and_japanese(path: Path) -> None:
    texts = [cell.text for cell in cells(path) if cell.is_text]
    assert sum(text.startswith("#") for text in texts) >= 5
    assert [fault for text in texts for fault in without_partner(text)] == []


@each
def test_both_languages_stand_before_every_run_of_code(path: Path) -> None:
    found = [cell for cell in cells(path) if not cell.hidden]
    assert found[0].is_text
    runs = [before for before, cell in itertools.pairwise(found) if before.is_text and not cell.is_text]
    assert runs
    assert [cell.text for cell in runs if languages(cell.text) != (True, True)] == []


@each
def test_checks_are_in_hidden_cells_and_nowhere_else(path: Path) -> None:
    assert [cell.text for cell in code(path, hidden=False) if checks(cell.text)] == []
    hidden = code(path, hidden=True)
    assert {cell.header for cell in hidden} == {HIDDEN}
    assert [cell.text for cell in hidden if not checks(cell.text)] == []
    assert sum(checks(cell.text) for cell in hidden) >= CHECKS.get(path.name[:2], 5)


@each
def test_the_notebook_works_and_shows_the_same_without_its_hidden_cells(path: Path) -> None:
    made: set[str] = set()
    for cell in cells(path):
        if cell.is_text:
            continue
        if not cell.hidden:
            made -= names(cell.text, ast.Store)
            assert not made & names(cell.text, ast.Load), cell.text
            continue
        made |= names(cell.text, ast.Store)
        for statement in ast.parse(cell.text).body:
            assert not isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef), cell.text
        assert "print" not in names(cell.text, ast.Load), cell.text


@each
def test_cells_promise_pictures(path: Path) -> None:
    tags = [cell.tags for cell in code(path, hidden=False)]
    assert {"picture"} in tags
    assert set().union(*tags) <= {"picture", "html"}


def opening(path: Path) -> str:
    """Return the lines of a notebook's opening that choose where new arrays are made, and say it."""
    first = itertools.takewhile(lambda cell: not cell.text.startswith("## "), cells(path))
    lines = "\n".join(cell.text for cell in first if not cell.is_text).splitlines()
    # What else some notebooks import need not be here.
    wanted = r"import (?:os|logging|anyback as ab)$|_ = os\.|logging\.|print\(\"new arrays"
    return "\n".join(line for line in lines if re.match(wanted, line))


def test_the_opening_writes_nothing_in_red_where_there_is_no_gpu() -> None:
    openings = {opening(path) for path in SOURCES}
    env = {name: value for name, value in os.environ.items() if name != "ANYBACK_BACKEND"}
    for script in openings:  # the same in each, but for what is imported
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("new arrays are made on ")


# -- The files that are attached to releases ----------------------------------------------------------

TOOL = Path(__file__).parent.parent / "tools" / "notebook_files.py"
ADDRESS = "https://github.com/someone/anyback"


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("notebook_files", TOOL)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def smi(version: str) -> str:
    """Return what ``nvidia-smi`` prints first."""
    line = "+" + "-" * 88 + "+"
    return f"Mon Nov 30 11:00:00 2026\n{line}\n| NVIDIA-SMI 580.65.06    {version} |\n{line}"


@pytest.mark.skipif(os.name == "nt", reason="imitates a program by a script of sh")
@pytest.mark.parametrize(
    ("said", "extras", "removed"),
    [
        (None, "plot", []),
        ("Failed to initialize NVML: Driver/library version mismatch", "plot", []),
        (smi("Driver Version: 550.54.15    CUDA Version: 12.4"), "plot,cupy12", ["cupy-cuda13x"]),
        (smi("Driver Version: 580.65.06    CUDA Version: 13.0"), "plot,cupy13", ["cupy-cuda12x"]),
        (smi("Driver Version: 470.82.01    CUDA Version: 11.4"), "plot", []),
        (smi("KMD Version: 610.10    CUDA UMD Version: 14.1"), "plot,cupy13", ["cupy-cuda12x"]),
    ],
)
def test_the_first_cell_installs_the_cupy_of_the_gpu(
    tool: Any, said: str | None, extras: str, removed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said is not None:  # a program of that name, which the cell finds and runs
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
    asked: list[list[str]] = []
    run = subprocess.run

    def only_programs(command: list[str], **options: Any) -> Any:
        if command[0] != sys.executable:
            return run(command, **options)
        asked.append(command[3:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("subprocess.run", only_programs)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(compile(tool.install_cell(ADDRESS), "cell", "exec"), {})
    assert [command[-1] for command in asked if command[0] == "uninstall"] == removed
    (installed,) = [command for command in asked if command[0] == "install"]
    assert f"anyback[{extras}] @ git+{ADDRESS}" in installed
    assert {"scikit-learn", "skl2onnx"} <= set(installed)


def test_the_first_cell_does_nothing_where_anyback_is(tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *a, **k: pytest.fail("it ran something"))
    exec(compile(tool.install_cell(ADDRESS), "cell", "exec"), {})


def test_files_for_releases_open_with_a_link_and_the_cell_that_installs(tool: Any, tmp_path: Path) -> None:
    cell = {"cell_type": "code", "execution_count": 1, "id": "a", "metadata": {}, "outputs": [], "source": "1"}
    book = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "01_first.ipynb").write_text(json.dumps(book))
    command = [sys.executable, str(TOOL), str(tmp_path), str(tmp_path / "made"), "--repository", f"{ADDRESS}.git"]
    subprocess.run(command, check=True, capture_output=True)
    made = json.loads((tmp_path / "made" / "01_first.ipynb").read_text(encoding="utf-8"))
    link = "https://colab.research.google.com/github/someone/anyback/blob/notebooks/01_first.ipynb"
    assert link in made["cells"][0]["source"]
    assert languages(made["cells"][0]["source"]) == (True, True)
    assert f'git+" + "{ADDRESS}"' in made["cells"][1]["source"]
    assert made["cells"][2:] == [cell]
    assert link in (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert tool.colab("https://example.org/anyback", "a.ipynb") is None
    with pytest.raises(SystemExit, match=r"\[project.urls\] Source"):
        tool.repository({"project": {}})
