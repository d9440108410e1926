"""The files around the code agree with each other, and with what a package index shows."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def files() -> list[Path]:
    """Return what is written by hand: text that could hold an address."""
    folders = [ROOT / name for name in ("anyback", "benchmarks", "docs", "notebooks", "tests", "tools", ".github")]
    found = [path for folder in folders for path in folder.rglob("*") if "_build" not in path.parts]
    found += [path for path in ROOT.iterdir() if path.is_file()]
    return [p for p in found if p.suffix in {".py", ".md", ".yml", ".yaml", ".cff", ".toml", ".sh"}]


def test_the_address_stands_in_one_place() -> None:
    address = PROJECT["urls"]["Source"].partition("://")[2]
    holding = {path for path in files() if address in path.read_text(encoding="utf-8")}
    assert holding == {ROOT / "pyproject.toml"}
    assert all(url.startswith(PROJECT["urls"]["Source"]) for url in PROJECT["urls"].values() if address in url)


def test_every_python_that_is_named_is_tested() -> None:
    prefix = "Programming Language :: Python :: 3."
    named = [c.removeprefix(prefix[:-2]) for c in PROJECT["classifiers"] if c.startswith(prefix)]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    tested = re.findall(r'"([\d.]+)"', re.findall(r"python: \[(.*)\]", workflow)[0])
    assert named == tested
    assert PROJECT["requires-python"] == f">={named[0]}"
    assert sys.version_info >= tuple(map(int, named[0].split(".")))


def test_the_readme_on_a_package_index_leads_into_the_repository() -> None:
    try:
        found = importlib.metadata.metadata("anyback")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("anyback is not installed")
    if not any(PROJECT["urls"]["Source"] in url for url in found.get_all("Project-URL", [])):
        pytest.skip("the anyback that is installed is not this one")
    text = found.get("Description") or found.get_payload()  # where the package importlib_metadata reads it, the first
    links = re.findall(r"\]\(([^)#]+)\)", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))
    assert links
    start = rf"{re.escape(PROJECT['urls']['Source'])}/(?:raw|blob)/v{re.escape(PROJECT['version'])}/"
    inside = [re.sub(start, "", link) for link in links]
    assert not {link for link in inside if ":" not in link and not (ROOT / link).exists()}
    assert not {link for link in links if ":" not in link}, "they lead nowhere there"
    assert any(link.endswith(".png") for link in links)
