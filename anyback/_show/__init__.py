"""How things look without a plotting library: tables of text and HTML, block characters, JSON, and small PNG files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyback._lazy import lazily

if TYPE_CHECKING:
    from anyback._show._pictures import blocks, image_html, png, side_by_side
    from anyback._show._plain import encodable, finite, json_text
    from anyback._show._tables import Table, caption_html, flow_html

__all__ = [
    "Table",
    "blocks",
    "caption_html",
    "encodable",
    "finite",
    "flow_html",
    "image_html",
    "json_text",
    "png",
    "side_by_side",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "_pictures": ("blocks", "image_html", "png", "side_by_side"),
        "_plain": ("encodable", "finite", "json_text"),
        "_tables": ("Table", "caption_html", "flow_html"),
    },
)
