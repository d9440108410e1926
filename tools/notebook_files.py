"""Make notebooks ready to be opened anywhere: ``python tools/notebook_files.py FROM TO [--repository ADDRESS]``.

Each gets two cells in front: a link that opens it in Colab, and one that installs anyback where it is missing, with the
CuPy of the GPU that is there. Beside them goes a page with a link to each. The address of the repository stands in one
place, ``[project.urls] Source`` in ``pyproject.toml``. Colab opens files of GitHub alone, so what is written here is
to be the branch `BRANCH` there.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
INSTALL = Path(__file__).with_name("notebook_install.py")
#: Where Colab finds the notebooks.
BRANCH = "notebooks"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


def repository(project: Mapping[str, Any]) -> str:
    """Return the address of the repository by the table of ``pyproject.toml``."""
    address = project["project"].get("urls", {}).get("Source")
    if not address:
        raise SystemExit("where is the repository? Write [project.urls] Source in pyproject.toml, or give --repository")
    return str(address).rstrip("/").removesuffix(".git")


def colab(address: str, name: str) -> str | None:
    """Return what opens a notebook of the branch in Colab; None where the repository is not on GitHub."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", address)
    return found and f"https://colab.research.google.com/github/{found[1]}/blob/{BRANCH}/{name}"


def install_cell(address: str) -> str:
    """Return the code that installs anyback from the repository."""
    _, code = INSTALL.read_text(encoding="utf-8").split("# ---\n")
    return code.strip().replace("ADDRESS", repr(address).replace("'", '"'))


def ready(book: dict[str, Any], address: str, name: str) -> dict[str, Any]:
    """Return a notebook with the cells in front."""
    link = colab(address, name)
    text = [
        *([f"[![Colab]({BADGE})]({link})", ""] if link else []),
        "The next cell installs anyback where it is missing, with CuPy where there is a GPU. In Colab, choose one by",
        "*Runtime > Change runtime type* first.",
        "",
        "次のセルは、anybackがなければインストールします。GPUがあれば、CuPyも一緒に入れます。",
        "ColabでGPUを使うには、先に「ランタイム > ランタイムのタイプを変更」で選びます。",
    ]
    code = {"cell_type": "code", "execution_count": None, "outputs": [], "source": install_cell(address)}
    cells = [{"cell_type": "markdown", "source": "\n".join(text)}, code]
    named = [{"id": f"install-{i}", "metadata": {"tags": ["install"]}, **cell} for i, cell in enumerate(cells)]
    return {**book, "cells": [*named, *book["cells"]]}


def index(address: str, names: list[str]) -> str:
    """Return a page with a link to each notebook."""
    lines = ["# anyback: notebooks · 例題", ""]
    for name in names:
        link = colab(address, name)
        lines.append(f"- [{name}]({name})" + (f" [![Colab]({BADGE})]({link})" if link else ""))
    return "\n".join([*lines, "", f"Made from the texts in {address}/tree/main/notebooks.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("given", type=Path, help="folder of .ipynb files")
    parser.add_argument("made", type=Path, help="folder to write to")
    parser.add_argument("--repository", help="its address, where it is not that in pyproject.toml")
    options = parser.parse_args()
    table = {"project": {"urls": {"Source": options.repository}}} if options.repository else None
    address = repository(table or tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    options.made.mkdir(parents=True, exist_ok=True)
    names = []
    for path in sorted(options.given.glob("[0-9]*.ipynb")):
        book = ready(json.loads(path.read_text(encoding="utf-8")), address, path.name)
        text = json.dumps(book, ensure_ascii=False, indent=1) + "\n"
        (options.made / path.name).write_text(text, encoding="utf-8")
        names.append(path.name)
    if not names:
        raise SystemExit(f"{options.given} holds no notebooks")
    (options.made / "README.md").write_text(index(address, names), encoding="utf-8")
    print(f"{len(names)} notebooks in {options.made}")


if __name__ == "__main__":
    main()
