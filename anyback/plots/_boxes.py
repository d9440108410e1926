"""The picture of a network as boxes: one for each call, in columns, with lines for the values between them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyback.network import Network
from anyback.plots._axes import BLUE, GREY, PALE, figure_of, new_axes, scale_in, without_frame
from anyback.plots._calls import Box, boxes_of, input_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_boxes"]

#: The most boxes that are drawn; where there are more, the title says so.
_MOST = 100
_IN_A_COLUMN = 16
# Lengths in inches of a new figure: of a box, between two boxes, of a line of details, between two lines that go
# around boxes, and of the room in front of a column.
_WIDTH, _GAP, _LINE, _LANE, _FRONT = 3.0, 0.36, 0.17, 0.14, 0.9
_TEXT, _SMALL = 10.0, 8.5
#: Characters of the small size that a line of a box has room for.
_CHARACTERS = 44


def draw_boxes(ax: Axes | None, net: Network) -> Axes:
    """Draw a box for each call, and lines for the values that they take."""
    boxes = boxes_of(net)
    columns = _columns(boxes[:_MOST])
    floor = min((here.bottom for column in columns for here in column.placed), default=0.0)
    xlim, ylim = (columns[0].left - 0.1, columns[-1].right + 0.1), (floor - _GAP - 0.1, 0.25)
    scale = scale_in(ax, xlim, ylim)
    # Room for the title; where there is too little, the layout cuts it.
    ax = new_axes(ax, xlim[1] - xlim[0] + 0.1, ylim[1] - ylim[0] + 0.6)
    without_frame(ax)
    ax.set(xlim=xlim, ylim=ylim)
    pen = _Pen(ax, scale)
    pen.text(columns[0].x, 0.08, input_words(net), ha="center")
    numbered = any(placed.elsewhere for column in columns for placed in column.placed)
    for column in columns:
        for here in column.placed:
            _box(pen, here, numbered)
            _lines(pen, here)
        for lane, routes in enumerate(column.lanes, start=1):
            for route in routes:
                _around(pen, column.x, column.x + _WIDTH / 2 + _LANE * lane, route)
    calls = f"{len(boxes):,} call{'' if len(boxes) == 1 else 's'}"
    parameters = f"{sum(box.parameters for box in boxes):,} parameters"
    cut = f"the first {_MOST} of {calls}; {parameters} in all"
    ax.set_title(cut if len(boxes) > _MOST else f"{calls}: {parameters}", fontsize="medium")
    return ax


# -- Places -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Placed:
    """A box at its place, and the origins of the values that it takes."""

    number: int
    box: Box
    lines: tuple[str, ...]
    x: float
    top: float
    bottom: float
    #: Whether it takes the result of the box right above it, or the input where it is the first.
    straight: bool
    #: The boxes of the same column whose results reach it by a line around other boxes.
    around: tuple[int, ...]
    #: The values that come from another column, or from another input, in words.
    elsewhere: tuple[str, ...]

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def leaves(self) -> float:
        """The height at which a value turns off the line below the box."""
        return self.bottom - _GAP / 3


@dataclass(frozen=True)
class _Route:
    """A line around boxes, from a height in the middle of a column to the boxes that take the value."""

    start: float
    ends: tuple[_Placed, ...]

    @property
    def end(self) -> float:
        return min(placed.middle for placed in self.ends)


@dataclass(frozen=True)
class _Column:
    """Boxes under each other, and the lines that go around them, in lanes."""

    left: float
    x: float
    placed: tuple[_Placed, ...]
    lanes: tuple[tuple[_Route, ...], ...]

    @property
    def right(self) -> float:
        return self.x + _WIDTH / 2 + _LANE * len(self.lanes)


def _columns(boxes: Sequence[Box]) -> list[_Column]:
    """Return the boxes in columns of equal numbers."""
    # Value -> the number of the box that gives it; -1 stands for the first input, which is above the first box.
    makers = {0: -1} | {i: number for number, box in enumerate(boxes) for i in box.results}
    count = max(1, -(-len(boxes) // _IN_A_COLUMN))
    height = max(1, -(-len(boxes) // count))
    found: list[_Column] = []
    for first in range(0, len(boxes) or 1, height):
        left = found[-1].right + 0.1 if found else 0.0
        part = boxes[first : first + height]
        fronts = any(_from_elsewhere(box, first, makers) for box in part)
        x = left + (_FRONT if fronts else 0.0) + _WIDTH / 2
        placed = tuple(_placed(part, first, x, makers))
        found.append(_Column(left, x, placed, _lanes(_routes(placed))))
    return found


def _from_elsewhere(box: Box, first: int, makers: Mapping[int, int]) -> tuple[str, ...]:
    """Return in words the values that come from outside of the column whose first box is `first`."""
    start = first or -1
    return tuple(
        f"from {makers[i] + 1}" if makers.get(i, -1) >= 0 else f"input {i + 1}"
        for i in box.sources
        if makers.get(i, -2) < start
    )


def _placed(boxes: Sequence[Box], first: int, x: float, makers: Mapping[int, int]) -> Iterator[_Placed]:
    """Yield the boxes of a column, from the height 0 downwards."""
    top, start = -_GAP, first or -1
    for number, box in enumerate(boxes, start=first):
        lines = _wrapped(box.details)
        bottom = top - 0.30 - _LINE * len(lines)
        near = {makers[i] for i in box.sources if makers.get(i, -2) >= start}
        around = tuple(sorted(near - {number - 1}))
        elsewhere = _from_elsewhere(box, first, makers)
        yield _Placed(number, box, lines, x, top, bottom, number - 1 in near, around, elsewhere)
        top = bottom - _GAP


def _wrapped(details: Sequence[str]) -> tuple[str, ...]:
    """Return the details of a box in lines, each detail in one line as far as it has room there."""
    whole = [detail.replace(" ", "\N{NO-BREAK SPACE}") for detail in details]
    lines = textwrap.wrap(", ".join(whole), _CHARACTERS, max_lines=3, placeholder=" …")
    return tuple(line.replace("\N{NO-BREAK SPACE}", " ") for line in lines)


def _routes(column: Sequence[_Placed]) -> list[_Route]:
    """Return the lines around boxes: one for each value, however many boxes take it."""
    ends: dict[int, list[_Placed]] = {}
    for here in column:
        for maker in here.around:
            ends.setdefault(maker, []).append(here)
    starts = {-1: -_GAP / 3} | {here.number: here.leaves for here in column}
    return [_Route(starts[maker], tuple(found)) for maker, found in ends.items()]


def _lanes(routes: Sequence[_Route]) -> tuple[tuple[_Route, ...], ...]:
    """Return the lines in lanes, so that no two of a lane are at one height; the shortest are next to the boxes."""
    lanes: list[list[_Route]] = []
    for route in sorted(routes, key=lambda r: r.start - r.end):
        free = (lane for lane in lanes if all(route.end > r.start or r.end > route.start for r in lane))
        if (lane := next(free, None)) is None:
            lanes.append(lane := [])
        lane.append(route)
    return tuple(map(tuple, lanes))


# -- Drawing ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pen:
    """Draws into an Axes, with letters and lines that fit its size."""

    ax: Axes
    scale: float

    def text(self, x: float, y: float, said: str, size: float = _SMALL, **style: Any) -> Any:
        look: dict[str, Any] = {"va": "center", "color": GREY, "parse_math": False, "zorder": 3} | style
        return self.ax.text(x, y, said, fontsize=size * self.scale, **look)

    def line(self, *points: tuple[float, float]) -> None:
        self.ax.plot(*zip(*points, strict=True), color=GREY, linewidth=self.scale, zorder=1)

    def arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        look: dict[str, Any] = {"arrowstyle": "-|>", "color": GREY, "linewidth": self.scale, "shrinkA": 0, "shrinkB": 0}
        look["mutation_scale"] = 8 * self.scale
        self.ax.annotate("", end, start, arrowprops=look)

    def length(self, text: Any) -> float:
        """Return the length of a text in inches of the picture."""
        return float(text.get_window_extent().width / figure_of(self.ax).dpi / self.scale)

    def cut(self, text: Any, room: float) -> None:
        """Shorten a text that is longer than a length in inches of the picture."""
        said = text.get_text()
        while len(said) > 1 and (length := self.length(text)) > room:
            said = said[: min(len(said) - 1, int(len(said) * room / length) + 1)]
            text.set_text(f"{said}…")


def _box(pen: _Pen, here: _Placed, numbered: bool) -> None:
    from matplotlib.patches import Rectangle

    box, left, right = here.box, here.x - _WIDTH / 2, here.x + _WIDTH / 2
    look: dict[str, Any] = {"edgecolor": BLUE if box.products else GREY, "linewidth": pen.scale, "zorder": 2}
    look |= {"facecolor": "white"} if box.known else {"facecolor": PALE, "linestyle": "--"}
    pen.ax.add_patch(Rectangle((left, here.bottom), _WIDTH, here.top - here.bottom, **look))
    room = _WIDTH - 0.2
    if box.parameters:
        room -= 0.1 + pen.length(pen.text(right - 0.1, here.top - 0.15, f"{box.parameters:,}", ha="right"))
    name = f"{here.number + 1}  {box.name}" if numbered else box.name
    pen.cut(pen.text(left + 0.1, here.top - 0.15, name, _TEXT, color="black"), room)
    for i, line in enumerate(here.lines):
        pen.cut(pen.text(left + 0.1, here.top - 0.33 - _LINE * i, line), _WIDTH - 0.2)


def _lines(pen: _Pen, here: _Placed) -> None:
    """Draw the lines into a box, except those around other boxes, and write the shapes of its results."""
    edge, below = here.x - _WIDTH / 2, here.bottom - _GAP / 2
    if here.straight:
        pen.arrow((here.x, here.top + _GAP), (here.x, here.top))
    if here.elsewhere:
        pen.arrow((edge - 0.2, here.middle), (edge, here.middle))
        pen.cut(pen.text(edge - 0.23, here.middle, "\n".join(here.elsewhere), ha="right"), _FRONT - 0.25)
    pen.line((here.x, here.bottom), (here.x, here.leaves))
    pen.cut(pen.text(here.x - 0.06, below, here.box.gives, ha="right"), _WIDTH / 2)
    if here.box.returned:
        pen.arrow((here.x, here.bottom), (here.x, here.bottom - _GAP))


def _around(pen: _Pen, x: float, beside: float, route: _Route) -> None:
    """Draw a line in a lane beside the boxes."""
    pen.line((x, route.start), (beside, route.start), (beside, route.end))
    for end in route.ends:
        pen.arrow((beside, end.middle), (x + _WIDTH / 2, end.middle))
