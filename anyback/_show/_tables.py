"""Tables: made once, shown as text of any width or as HTML."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Table", "caption_html", "flow_html"]

#: Between two columns of text.
_GAP = "  "
#: Characters below which a column of words is not folded: what is still too wide is left to the terminal.
_NARROWEST = 8


@dataclass(frozen=True)
class Table:
    """A table of text, which is shown as lines or as HTML.

    Parameters
    ----------
    header : sequence of str
        The titles of the columns; empty for a table that has none.
    rows : sequence of sequences of str
        The cells; a line feed in a cell begins a new line of it.
    caption : str
        A line of text above the table.
    notes : sequence of str
        Lines of text below the table.
    left : sequence of int
        Numbers of the columns that hold words: they stand to the left, and are folded where there is no room. Other
        columns hold numbers and stand to the right.
    shade : sequence of sequences of str or None
        A CSS colour for each cell, or an empty string.

    Examples
    --------
    >>> print(Table(("layer", "parameters"), [("Linear", "3,250"), ("sigmoid", "")], "A network"))
    A network
    layer    parameters
    Linear        3,250
    sigmoid
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    notes: Sequence[str] = ()
    left: Sequence[int] = (0,)
    shade: Sequence[Sequence[str]] | None = None

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        r"""Return the table as lines, with the caption above and the notes below.

        Parameters
        ----------
        width : int or None
            Characters that a line of the table has room for. Where that is not enough, titles of numbers are broken at
            spaces, and then words are folded; nothing is left out. None is as many as the cells need.

        Returns
        -------
        str

        Examples
        --------
        >>> table = Table(("backend", "labels differ"), [("numpy", "0"), ("array_api_strict", "0")])
        >>> print(table.text(width=20))
                      labels
        backend       differ
        numpy              0
        array_api_st       0
        rict
        """
        lines = [tuple(cell.split("\n") for cell in line) for line in ([self.header] if self.header else [])]
        lines += [tuple(cell.split("\n") for cell in row) for row in self.rows]
        if width is not None and self.header and _total(_widths(lines)) > width:
            lines[0] = tuple(cell if i in self.left else " ".join(cell).split() for i, cell in enumerate(lines[0]))
        widths = self._fitted(_widths(lines), width)
        drawn = [self._line(line, widths, title=bool(self.header) and i == 0) for i, line in enumerate(lines)]
        return "\n".join([*([self.caption] if self.caption else []), *drawn, *self.notes])

    def _fitted(self, widths: list[int], width: int | None) -> list[int]:
        """Return the widths of the columns, those of words reduced until a line fits, the widest first."""
        more = 0 if width is None else _total(widths) - width
        words = [i for i in self.left if i < len(widths)]
        while more > 0 and words:
            widest = max(words, key=lambda i: widths[i])
            if widths[widest] <= _NARROWEST:
                break
            widths[widest] -= 1
            more -= 1
        return widths

    def _line(self, line: Sequence[Sequence[str]], widths: Sequence[int], title: bool) -> str:
        """Return a row, of as many lines as its longest cell; titles end on the same line, other cells begin on it."""
        cells = [_folded(cell, width) for cell, width in zip(line, widths, strict=True)]
        height = max(map(len, cells), default=0)
        blank = [[""] * (height - len(cell)) for cell in cells]
        cells = [b + cell if title else cell + b for b, cell in zip(blank, cells, strict=True)]
        return "\n".join(
            _GAP.join(
                text.ljust(width) if i in self.left else text.rjust(width)
                for i, (text, width) in enumerate(zip(part, widths, strict=True))
            ).rstrip()
            for part in zip(*cells, strict=True)
        )

    def html(self) -> str:
        """Return the table as HTML, with the caption above and the notes below; every text is escaped."""
        # Colours and lines are left to the notebook's theme, light or dark.
        columns = max(map(len, [self.header, *self.rows]))
        aligned = [f"text-align:{'left' if i in self.left else 'right'}" for i in range(columns)]
        head = "".join(f'<th style="{a}">{_escaped(cell)}</th>' for a, cell in zip(aligned, self.header, strict=False))
        body = []
        for i, row in enumerate(self.rows):
            colours = [f";background:{c}" if c else "" for c in self.shade[i]] if self.shade else [""] * len(row)
            cells = zip(aligned, colours, row, strict=True)
            body.append("".join(f'<td style="{a}{c}">{_escaped(cell)}</td>' for a, c, cell in cells))
        notes = "".join(f"<li>{_escaped(note)}</li>" for note in self.notes)
        return (
            f"{caption_html(self.caption) if self.caption else ''}<table>"
            f"{f'<thead><tr>{head}</tr></thead>' if head else ''}"
            f"<tbody>{''.join(f'<tr>{b}</tr>' for b in body)}</tbody></table>{f'<ul>{notes}</ul>' if notes else ''}"
        )


def _widths(lines: Sequence[Sequence[Sequence[str]]]) -> list[int]:
    """Return the number of characters that each column needs."""
    return [max(len(part) for cell in column for part in cell) for column in zip(*lines, strict=True)]


def _total(widths: Sequence[int]) -> int:
    """Return the number of characters of a line."""
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _folded(cell: Sequence[str], width: int) -> list[str]:
    """Return the lines of a cell, each of at most `width` characters: broken at spaces, else anywhere."""
    folded = []
    for part in cell:
        fits = len(part) <= width
        folded += [part] if fits else textwrap.wrap(part, width, break_on_hyphens=False) or [""]
    return folded


def _escaped(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def caption_html(text: str) -> str:
    """Return a line of plain text as an HTML paragraph."""
    return f"<p>{html.escape(text)}</p>"


def flow_html(parts: Sequence[str]) -> str:
    """Return pieces of HTML next to each other, in as many rows as the page needs."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(parts)}</div>'
