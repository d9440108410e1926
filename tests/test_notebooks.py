"""The notebooks' sources, as far as that is cheap; `nox -s notebooks` runs them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def cells(path: Path) -> list[tuple[str, str]]:
    """Return the header and the text of each cell; the text of Markdown without its comment signs."""
    _, *rest = re.split(r"^# %%(.*)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = []
    for header, text in zip(rest[::2], rest[1::2], strict=True):
        found.append((header, re.sub(r"^# ?", "", text, flags=re.MULTILINE) if "[markdown]" in header else text))
    return found


def test_there_are_six_in_order() -> None:
    assert [path.name[:2] for path in SOURCES] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_each_opens_with_the_two_lines_that_choose_a_gpu(path: Path) -> None:
    first = next(text for header, text in cells(path) if "[markdown]" not in header)
    assert first.split() == ["import", "os", 'os.environ.setdefault("ANYBACK_BACKEND",', '"auto")']


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_headings_and_first_lines_are_in_english_and_japanese(path: Path) -> None:
    headings = 0
    for header, text in cells(path):
        if "[markdown]" not in header or not text.startswith("#"):
            continue
        headings += 1
        title, english, japanese = text.strip().split("\n\n")[:3]
        assert re.search("[a-z]", title.partition(" · ")[0]), title
        assert JAPANESE.search(title.partition(" · ")[2]), title
        assert not JAPANESE.search(english), english
        assert JAPANESE.search(japanese), japanese
    assert headings >= 5


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_cells_assert_and_promise_pictures(path: Path) -> None:
    code = [(header, text) for header, text in cells(path) if "[markdown]" not in header]
    nodes = [node for _, text in code for node in ast.walk(ast.parse(text))]
    asserted = sum(isinstance(node, ast.Assert) for node in nodes)
    asserted += sum(isinstance(node, ast.Attribute) and node.attr == "assert_allclose" for node in nodes)
    assert asserted >= 5
    tags = {tag for header, _ in code for tag in re.findall(r'"(\w+)"', header)}
    assert "picture" in tags
    assert tags <= {"picture", "html"}
