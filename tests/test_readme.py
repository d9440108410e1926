"""The README tells the truth: its code runs, its files exist, its tables match the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anyback import backends, models

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_code_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 3
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), scope)
    printed = capsys.readouterr().out
    assert "Evaluation(accuracy=0.9" in printed
    assert "[0.31682708 0.69627909]" in printed


def test_the_files_named_exist() -> None:
    named = set(re.findall(r"`((?:tests|tools|anyback|benchmarks)/[\w./-]+)`", README))
    assert len(named) > 5
    named |= {link for link in re.findall(r"\]\(([^)#:]+)\)", README)}
    assert {"pictures/activations.png", "notebooks"} <= named
    assert not {name for name in named if not (ROOT / name).exists()}


def test_every_backend_is_in_the_table() -> None:
    for name in backends.ROWS:
        assert f"| `{name}` |" in README


def test_every_network_is_in_the_table() -> None:
    for name in models.NETWORKS:
        assert f"| `{name}` |" in README


def test_the_test_command_is_marked_for_ci() -> None:
    assert re.search(r"<!-- test-command -->\n```sh\n[^\n]+\n```", README)
