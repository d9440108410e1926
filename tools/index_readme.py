"""The README as a package index shows it: links and pictures lead into the repository, at the version's tag.

The index has none of the files beside the README. Hatchling runs this when it builds; the repository's address is in
``[project.urls]`` of pyproject.toml.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class IndexReadme(MetadataHookInterface):
    """What fills in the dynamic field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put the README into the metadata."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = absolute(text, metadata["urls"]["Source"], f"v{metadata['version']}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def absolute(text: str, source: str, tag: str) -> str:
    """Return Markdown with every relative link made absolute; code in fences stays as it is."""

    def whole(found: re.Match[str]) -> str:
        kind = "raw" if found["picture"] else "blob"  # the one is a file's bytes, the other a page that shows it
        return f"{found['picture']}[{found['text']}]({source}/{kind}/{tag}/{found['target']})"

    link = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>(?![a-z]+:|#)[^)\s]+)\)")
    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else link.sub(whole, part) for part in parts)
