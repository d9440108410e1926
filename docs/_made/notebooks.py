"""The notebooks as pages: their texts become notebooks, which are run when the pages are built."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import jupytext
import nbformat

SOURCES = Path(__file__).parents[2] / "notebooks"


def make(docs: Path) -> None:
    """Write the notebooks into ``notebooks/``, and the page that lists them."""
    folder = docs / "notebooks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = []
    for source in sorted(SOURCES.glob("[0-9]*.py")):
        book = jupytext.read(source)
        for cell in book.cells:  # a drawing of equations whose name the page's own renderer knows
            cell.metadata.pop("jupyter", None)
        nbformat.write(book, folder / f"{source.stem}.ipynb")
        names.append(source.stem)
    readme = (SOURCES / "README.md").read_text(encoding="utf-8")
    table = "\n".join(re.findall(r"^\|.*$", readme, flags=re.MULTILINE)[: len(names) + 2])
    for name in names:
        table = table.replace(f"`{name}`", f"[{name.replace('_', ' ')}]({name}.ipynb)")
    lines = [
        *("# Notebooks", "", "In English and Japanese. They were run when these pages were built.", "", table, ""),
        *("```{toctree}", ":hidden:", "", *names, "```"),
    ]
    (folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
