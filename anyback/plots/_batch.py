"""The picture of the shapes in a network for a batch: a line for each product."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyback.errors import AnybackError, DataError
from anyback.network import Call, Network, usual_shapes
from anyback.ops import Rows
from anyback.plan import Shape
from anyback.plots._axes import BLACK, BLUE, GREEN, GREY, ORANGE, PALE, new_axes, scale_in, without_frame
from anyback.plots._calls import drawable, name_of, shape_words, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_batch"]

_INCH = 0.6  # of a unit of length in a new figure
#: The most letters beside a line of the picture, and the most calls.
_CHARACTERS, _BESIDE = 16, 6
_Point = tuple[float, float]
_Matrices = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
#: The most products that are drawn; where there are more, the title says so.
_MOST = 20


def plot_batch(net: Network, n: int = 100, *, ax: Axes | None = None) -> Axes:
    """Draw the shapes of a network's products for a batch: one line for each product.

    Parameters
    ----------
    net : Network
        Any network that multiplies, as linear layers and convolutions do, on any library.
    n : int
        Rows of the batch.
    ax : matplotlib.axes.Axes or None
        The Axes to draw into; None is a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Matrices are rectangles, whose sides grow with the logarithm of their lengths. Sides of one colour in one line
        have the same length: orange ones are summed over, and the others are the shape of the result. A product of
        arrays of more axes, such as a convolution, is drawn as a product of matrices, with the shapes of the arrays
        under it. The calls behind a product stand beside it. Of more than 20 products the first 20 are drawn, and the
        title says so.

    Raises
    ------
    DataError
        If the network has no product.
    AnybackError
        If `net` is no network, `n` is below 1, or matplotlib is missing.

    Examples
    --------
    >>> import anyback as ab
    >>> ax = plot_batch(ab.load_model("digits-mlp", backend="numpy"), 100)
    >>> [text.get_text() for text in ax.texts if "×" in text.get_text()][:3]
    ['100×64', '64×50', '100×50']
    """
    net = drawable(net)
    if n < 1:
        raise AnybackError(f"n: expected at least 1 row, found {n}")
    before, lines = _products(net, n)
    if not lines:
        raise DataError("expected a network with a product, such as a linear layer; this one has none to draw")
    shown = lines[:_MOST]
    longest = max(_side(length) for line in shown for shape in line.matrices for length in shape)
    under = 0.9 if all(line.shapes == line.matrices for line in shown) else 1.25  # room for what stands there
    spread, half = longest + 0.9, longest / 2 + 0.2
    xlim = (-half - (1.5 if before else 0.0), 2.7 * spread + half + (2.0 if any(p.behind for p in shown) else 0.0))
    ylim = (-(len(shown) - 1) * (longest + under) - half - under + 0.5, half)
    scale = scale_in(ax, xlim, ylim, 0.8 * _INCH)
    ax = new_axes(ax, _INCH * (xlim[1] - xlim[0]), _INCH * (ylim[1] - ylim[0]) + 0.5)
    without_frame(ax)
    for i, line in enumerate(shown):
        _line(ax, line, -i * (longest + under), spread, scale)
    _aside(ax, -half, 0.0, "first", before, "right", scale)
    ax.set(xlim=xlim, ylim=ylim)
    cut = f"the first {_MOST} of {len(lines)} products; " if len(shown) < len(lines) else ""
    ax.set_title(
        f"{cut}sides of one colour are equally long;\nthe orange ones are summed over; not to scale", fontsize="medium"
    )
    return ax


# -- Products -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Product:
    """A product: the names and the shapes of its operands and its result.

    Parameters
    ----------
    names : tuple of str
        The names of the left operand, the right operand and the result.
    shapes : tuple of (tuple of int or None)
        The whole shapes; None where one is not known.
    matrices : tuple of tuple of int
        The shapes as a product of matrices; a length that is not known is 0.
    over : str
        The bias, and the elementwise calls that follow, in words.
    behind : tuple of str
        The names of the other calls before the next product.
    """

    names: tuple[str, ...]
    shapes: tuple[Shape | None, ...]
    matrices: _Matrices
    over: str
    behind: tuple[str, ...]


def _products(net: Network, n: int) -> tuple[list[str], list[_Product]]:
    """Return the names of the calls before the first product, and the products."""
    shapes, calls = usual_shapes(net, n), list(net.results())
    places = [place for place, (_, call) in enumerate(calls) if call.op.products]
    # A value has the name of the last product that it was made of, counted from 1, or of the input.
    names = {i: (0, f"X{i + 1}" if len(net.inputs) > 1 else "X") for i in range(len(net.inputs))}
    found: list[_Product] = []
    for place, (number, call) in enumerate(calls):
        name = _latest({names[i] for i in call.arguments if i in names})
        if call.op.products:
            count = len(found) + 1
            name = count, "Y" if count == len(places) else f"Z{count}"
            operands = [names[i][1] if i in names else f"W{count}" for i in (*call.arguments, None)[:2]]
            three, matrices = _shapes(net, call, shapes, number, n)
            following = [c for _, c in calls[place + 1 : [*places, len(calls)][count]]]
            over, behind = _followers(following)
            added = [f"+ b{count}"] if any(i is not None for i in call.arguments[2:]) else []
            found.append(_Product((*operands, name[1]), three, matrices, ", ".join([*added, *over]), behind))
        names |= dict.fromkeys(range(number, number + call.results), name)
    return [name_of(call) for _, call in calls[: [*places, len(calls)][0]]], found


def _latest(made_of: set[tuple[int, str]]) -> tuple[int, str]:
    """Return number and name of the last product that values were made of, or of the input; ``X`` of several inputs."""
    last = max((count for count, _ in made_of), default=0)
    names = [name for count, name in made_of if count == last]
    return last, names[0] if len(names) == 1 else "X"


def _followers(following: list[Call]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the elementwise calls that come first, and of the others."""
    same = next((k for k, call in enumerate(following) if not _is_elementwise(call)), len(following))
    found = tuple(map(name_of, following))
    return found[:same], found[same:]


def _shapes(
    net: Network, call: Call, shapes: list[Any], number: int, n: int
) -> tuple[tuple[Shape | None, ...], _Matrices]:
    """Return the shapes of a product's operands and its result, as they are and as matrices."""
    given = _filled(call, [None if i is None else shapes[i] for i in call.arguments], n)
    three = (*given, None)[0], (*given, None)[1], shapes[number]
    by_array = len(given) > 1 and net.array_of(call.arguments[1]) is not None
    return three, _matrices(call, given, shapes[number]) if by_array else ((0, 0), (0, 0), (0, 0))


def _is_elementwise(call: Call) -> bool:
    return call.op.keeps_shape and call.op.rows is Rows.ALONE


def _filled(call: Call, given: list[Shape | None], n: int) -> list[Shape | None]:
    """Return the shapes of the arguments; where that of the first is not known, the one that the op takes."""
    if given[0] is None and (samples := call.op.takes(*given[1:], **call.attributes)):
        sizes = tuple(size for size in samples[-1] if size is not None)
        return [(n, *sizes) if len(sizes) == len(samples[-1]) else None, *given[1:]]
    return given


def _matrices(call: Call, given: Sequence[Shape | None], result: Shape | None) -> _Matrices:
    """Return the shapes of two matrices and their product, by the number of multiply-adds that the op says."""
    weight, depth = given[1], 0
    if result is not None and given[0] is not None:
        depth = call.op.multiply_adds(*given, **call.attributes) // max(1, math.prod(result))  # of each number of it
    if not depth or weight is None or result is None:
        return (0, 0), (0, 0), (0, 0)
    columns = math.prod(weight) // depth
    rows = math.prod(result) // max(1, columns)
    return (rows, depth), (depth, columns), (rows, columns)


# -- Drawing ------------------------------------------------------------------------------------------


def _line(ax: Axes, product: _Product, y: float, spread: float, scale: float) -> None:
    sides = ((BLUE, ORANGE), (ORANGE, GREEN), (BLUE, GREEN))
    centres = (0.0, spread, 2.7 * spread)
    for x, name, shape, matrix, colours in zip(
        centres, product.names, product.shapes, product.matrices, sides, strict=True
    ):
        _matrix(ax, (x, y), name, matrix, colours, scale)
        words = shape_words(shape)
        under = words if shape == matrix or 0 in matrix else f"{words}\nas {shape_words(matrix)}"
        ax.text(x, y - _side(matrix[0]) / 2 - 0.1, under, ha="center", va="top", fontsize=9 * scale)
    ax.text(spread / 2, y, "·", ha="center", va="center", fontsize=16 * scale, fontweight="bold")
    begin, end = 1.5 * spread, 2.2 * spread
    ax.annotate("", (end, y), (begin, y), arrowprops={"arrowstyle": "->", "color": GREY, "linewidth": 1.2 * scale})
    over = textwrap.fill(product.over, _CHARACTERS, max_lines=3, placeholder=" …")
    ax.text((begin + end) / 2, y + 0.12, over, ha="center", va="bottom", fontsize=9 * scale, parse_math=False)
    _aside(
        ax, 2.7 * spread + max(_side(product.matrices[2][1]), 1.2) / 2 + 0.2, y, "then", product.behind, "left", scale
    )


def _aside(ax: Axes, x: float, y: float, word: str, names: Sequence[str], side: str, scale: float) -> None:
    """Write which calls come before a product, or after it."""
    if names:
        shown = [*names[:_BESIDE], *([f"and {len(names) - _BESIDE} more"] if len(names) > _BESIDE else [])]
        said = "\n".join([word, *(shortened(name, _CHARACTERS) for name in shown)])
        ax.text(x, y, said, ha=side, va="center", fontsize=9 * scale, color=GREY, parse_math=False)


def _side(length: int) -> float:
    return 1.0 + 0.1 * math.log2(max(length, 1))


def _matrix(ax: Axes, at: _Point, name: str, shape: tuple[int, int], colours: tuple[str, str], scale: float) -> None:
    """Draw a matrix around a point, its left and upper side in colours."""
    from matplotlib.patches import Rectangle

    (x, y), (height, width) = at, map(_side, shape)
    left, top = x - width / 2, y + height / 2
    ax.add_patch(Rectangle((left, y - height / 2), width, height, facecolor=PALE, edgecolor="none"))
    for colour, along, up in (
        (colours[0], [left, left], [y - height / 2, top]),
        (colours[1], [left, left + width], [top, top]),
    ):
        ax.plot(along, up, color=colour, linewidth=3 * scale, solid_capstyle="butt")
    ax.text(x, y, name, ha="center", va="center", fontsize=10 * scale, color=BLACK)
