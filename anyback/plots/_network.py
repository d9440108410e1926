"""A network as the book draws it: neurons and the lines between them, or a box for each call."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from anyback import backends
from anyback.network import Network, is_chain
from anyback.ops import Rows, known_op
from anyback.plots._axes import BLACK, BLUE, GREY, ORANGE, PALE, new_axes, without_frame
from anyback.plots._boxes import draw_boxes
from anyback.plots._calls import drawable, name_of, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_network"]

_INCH = 0.6  # of a unit of length in a new figure
_RADIUS = 0.34
_APART = 2.4  # between two columns of neurons, which are 1 apart in a column
_Point = tuple[float, float]


def plot_network(net: Network, *, largest: int = 12, ax: Axes | None = None) -> Axes:
    """Draw a network: each neuron where it is a chain of small linear layers, else each call of an op.

    Parameters
    ----------
    net : Network
        Any network, on any library.
    largest : int
        The most neurons of a layer that are drawn one by one.
    ax : matplotlib.axes.Axes or None
        Where to draw; None is a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Neurons are circles, and a grey one gives the bias. Weights are lines, blue where positive and orange where
        negative, and wider where larger. Calls are boxes, with the number of parameters on the right, and under each
        the shape of its result for one sample, ``?`` where it is not known. The box of a call that multiplies has a
        blue frame, and that of a function without known facts a dashed one. Of more than 100 calls the first 100 are
        drawn, and the title says so.

    Raises
    ------
    AnybackError
        If `net` is no network, or matplotlib is missing.

    Examples
    --------
    >>> import anyback as ab
    >>> ax = plot_network(ab.load_model("digits-mlp", backend="numpy"))
    >>> ax.get_title()
    '8 calls: 9,360 parameters'
    """
    net = drawable(net)
    columns = _neuron_columns(net)
    if columns is None or max(column.width for column in columns) > largest:
        return draw_boxes(ax, net)
    return _neurons(ax, columns)


@dataclass(frozen=True)
class _Column:
    """A column of neurons: the calls that compute them, and the weights of the lines that lead to them."""

    width: int
    names: tuple[str, ...]
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None


def _neuron_columns(net: Network) -> list[_Column] | None:
    """Return the columns of a chain of linear calls with elementwise ones between; None for any other network."""
    sample = net.usual_sample
    if not is_chain(net) or sample is None or len(sample) != 1:
        return None
    found = [_Column(sample[0], ())]
    for call in net.calls:
        if call.op.name == "linear" and known_op(call.op):
            weight, bias = [
                None if (x := net.array_of(i)) is None else backends.to_numpy(x) for i in call.arguments[1:]
            ]
            found.append(_Column(0 if weight is None else weight.shape[1], (), weight, bias))
        elif call.op.keeps_shape and call.op.rows is Rows.ALONE and not call.op.trained:
            found[-1] = replace(found[-1], names=(*found[-1].names, name_of(call)))
        else:
            return None
    return found if len(found) > 1 else None


def _neurons(ax: Axes | None, columns: list[_Column]) -> Axes:
    tallest = max(column.width for column in columns)
    lines = max(_caption(columns, i).count("\n") + 1 for i in range(len(columns)))
    bottom = -(tallest - 1) / 2 - 0.55
    xlim = (-0.8, (len(columns) - 1) * _APART + 0.8)
    ylim = (bottom - 0.25 - 0.25 * lines, (tallest - 1) / 2 + 1.45)
    # Of one layer, the network is narrower than the legend over it.
    ax = new_axes(ax, max(3.4, _INCH * (xlim[1] - xlim[0])), _INCH * (ylim[1] - ylim[0]) + 0.4)
    without_frame(ax)
    arrays = [x for column in columns for x in (column.weight, column.bias) if x is not None]
    top = max(float(np.max(np.abs(x), initial=0.0)) for x in arrays) or 1.0
    for i, (before, column) in enumerate(itertools.pairwise(columns)):
        here, there = _heights(before.width), _heights(column.width)
        if column.weight is not None:
            _weights(ax, column.weight / top, [(i * _APART, y) for y in here], [((i + 1) * _APART, y) for y in there])
        if column.bias is not None:
            at = (i * _APART, here[0] + 1)
            _weights(ax, column.bias[None] / top, [at], [((i + 1) * _APART, y) for y in there])
            _neuron(ax, at, "1", PALE)
    for i, column in enumerate(columns):
        letter = "x" if i == 0 else "y" if i == len(columns) - 1 else f"z^{{({i})}}"
        for k, height in enumerate(_heights(column.width), start=1):
            _neuron(ax, (i * _APART, height), f"${letter}_{{{k}}}$", "white")
        ax.text(i * _APART, bottom, _caption(columns, i), ha="center", va="top", fontsize=9, parse_math=False)
    ax.set(xlim=xlim, ylim=ylim)
    for colour, text in ((BLUE, "positive weight"), (ORANGE, "negative weight")):
        ax.plot([], [], color=colour, linewidth=2, label=text)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return ax


def _caption(columns: list[_Column], i: int) -> str:
    """Return the caption of a column of neurons: its name, and the elementwise calls."""
    name = "input" if i == 0 else "output" if i == len(columns) - 1 else f"layer {i}"
    return "\n".join([name, *(shortened(name, 16) for name in columns[i].names)])


def _heights(width: int) -> list[float]:
    return [(width - 1) / 2 - k for k in range(width)]


def _neuron(ax: Axes, at: tuple[float, float], text: str, colour: str) -> None:
    from matplotlib.patches import Circle

    ax.add_patch(Circle(at, _RADIUS, facecolor=colour, edgecolor=GREY, linewidth=1.2, zorder=3))
    ax.text(*at, text, ha="center", va="center", fontsize=9, color=BLACK, zorder=4)


def _weights(ax: Axes, shares: np.ndarray, starts: Sequence[_Point], ends: Sequence[_Point]) -> None:
    """Draw a line for each weight; `shares` are the weights divided by the largest, shape (starts, ends)."""
    for start, row in zip(starts, shares, strict=True):
        for end, share in zip(ends, row, strict=True):
            colour = PALE if share == 0 else BLUE if share > 0 else ORANGE
            width = 0.4 + 3.2 * abs(float(share))
            ax.plot(*zip(start, end, strict=True), color=colour, linewidth=width, alpha=0.8, zorder=1)
