"""A network as the book draws it: neurons and the lines between them, or layers and the shapes that flow through."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.activations import ACTIVATIONS
from anyback.errors import AnybackError, DataError
from anyback.layers import Linear, Sequential
from anyback.plots._axes import BLUE, GREEN, GREY, ORANGE, PALE, new_axes, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_batch", "plot_network"]

_INCH = 0.6  # of a unit of length in a new figure
_RADIUS = 0.34
_APART = 2.4  # between two columns of neurons, which are 1 apart in a column


@dataclass(frozen=True)
class _Stage:
    """A linear layer, and the activation that follows it."""

    weight: np.ndarray
    bias: np.ndarray | None
    activation: str

    @property
    def inputs(self) -> int:
        return self.weight.shape[0]

    @property
    def outputs(self) -> int:
        return self.weight.shape[1]


def _stages(net: Sequential) -> list[_Stage]:
    """Return the linear layers, or raise `DataError` where there is none to draw."""
    found: list[_Stage] = []
    for layer in net.flat():
        if isinstance(layer, Linear):
            bias = None if layer.bias is None else backends.to_numpy(layer.bias)
            found.append(_Stage(backends.to_numpy(layer.weight), bias, ""))
        elif found and not found[-1].activation and _is_known(layer):
            found[-1] = _Stage(found[-1].weight, found[-1].bias, layer.__name__)
    if not found:
        raise DataError("expected a network with linear layers; this one has none to draw")
    return found


def _is_known(layer: Callable[[Array], Array]) -> bool:
    return layer in ACTIVATIONS.values()


def plot_network(net: Sequential, *, largest: int = 12, ax: Axes | None = None) -> Axes:
    """Draw a network: each neuron where layers are small, else each layer with its shape.

    Parameters
    ----------
    net : Sequential
        A network with linear layers, on any library.
    largest : int
        The most neurons of a layer that are drawn one by one.
    ax : matplotlib.axes.Axes or None
        Where to draw; None is a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Neurons are circles, and a grey one gives the bias; weights are lines, blue where positive and orange where
        negative, the wider the larger. Layers are boxes.

    Raises
    ------
    DataError
        If there is no linear layer.
    AnybackError
        If matplotlib is missing.

    Examples
    --------
    >>> import anyback as ab
    >>> ax = plot_network(ab.load_model("digits-mlp", backend="numpy"))
    >>> [text.get_text() for text in ax.texts][:3]
    ['64', '50', '100']
    """
    stages = _stages(net)
    widths = [stages[0].inputs, *(stage.outputs for stage in stages)]
    names = ["input", *(f"layer {i}" for i in range(1, len(stages))), "output"]
    shape = net.sample_shapes[-1] if net.sample_shapes else ()
    image = "×".join(map(str, shape)) if len(shape) > 1 else ""
    under = [f"{name}\n{said}" for name, said in zip(names, [image, *(s.activation for s in stages)], strict=True)]
    if max(widths) <= largest:
        return _neurons(ax, stages, widths, under)
    return _boxes(ax, stages, widths, under)


def _neurons(ax: Axes | None, stages: list[_Stage], widths: list[int], under: list[str]) -> Axes:
    bottom = -(max(widths) - 1) / 2 - 0.55
    xlim = (-0.8, (len(widths) - 1) * _APART + 0.8)
    ylim = (bottom - 0.75, max(_heights(width)[0] for width in widths) + 1.45)
    # Of one layer, the network is narrower than the legend over it.
    ax = new_axes(ax, max(3.4, _INCH * (xlim[1] - xlim[0])), _INCH * (ylim[1] - ylim[0]) + 0.4)
    without_frame(ax)
    top = max(float(np.max(np.abs(stage.weight), initial=0.0)) for stage in stages)
    top = max([top, *(float(np.max(np.abs(s.bias), initial=0.0)) for s in stages if s.bias is not None)]) or 1.0
    for i, stage in enumerate(stages):
        here, there = _heights(widths[i]), _heights(widths[i + 1])
        for k, column in enumerate(stage.weight):
            for j, value in enumerate(column):
                _line(ax, (i * _APART, here[k]), ((i + 1) * _APART, there[j]), float(value) / top)
        if stage.bias is not None:
            at = (i * _APART, here[0] + 1)
            for j, value in enumerate(stage.bias):
                _line(ax, at, ((i + 1) * _APART, there[j]), float(value) / top)
            _neuron(ax, at, "1", PALE)
    for i, width in enumerate(widths):
        letter = "x" if i == 0 else "y" if i == len(stages) else f"z^{{({i})}}"
        for k, height in enumerate(_heights(width), start=1):
            _neuron(ax, (i * _APART, height), f"${letter}_{{{k}}}$", "white")
    for i, text in enumerate(under):
        ax.text(i * _APART, bottom, text, ha="center", va="top", fontsize=9)
    ax.set(xlim=xlim, ylim=ylim)
    for colour, text in ((BLUE, "positive weight"), (ORANGE, "negative weight")):
        ax.plot([], [], color=colour, linewidth=2, label=text)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return ax


def _heights(width: int) -> list[float]:
    return [(width - 1) / 2 - k for k in range(width)]


def _neuron(ax: Axes, at: tuple[float, float], text: str, colour: str) -> None:
    from matplotlib.patches import Circle

    ax.add_patch(Circle(at, _RADIUS, facecolor=colour, edgecolor=GREY, linewidth=1.2, zorder=3))
    ax.text(*at, text, ha="center", va="center", fontsize=9, zorder=4)


def _line(ax: Axes, start: tuple[float, float], end: tuple[float, float], share: float) -> None:
    """Draw a weight, a share of the largest from -1 to 1."""
    colour = PALE if share == 0 else BLUE if share > 0 else ORANGE
    ax.plot(*zip(start, end, strict=True), color=colour, linewidth=0.4 + 3.2 * abs(share), alpha=0.8, zorder=1)


def _boxes(ax: Axes | None, stages: list[_Stage], widths: list[int], under: list[str]) -> Axes:
    from matplotlib.patches import Polygon, Rectangle

    half, apart = 0.32, 2.5
    heights = [0.7 + 0.35 * math.log2(max(width, 1)) for width in widths]
    bottom = -max(heights) / 2 - 0.15
    xlim, ylim = (-0.9, (len(widths) - 1) * apart + 0.9), (bottom - 0.7, max(heights) / 2 + 0.1)
    ax = new_axes(ax, _INCH * (xlim[1] - xlim[0]), _INCH * (ylim[1] - ylim[0]) + 0.3)
    without_frame(ax)
    for i in range(len(stages)):
        left, right = i * apart + half, (i + 1) * apart - half
        a, b = heights[i] / 2, heights[i + 1] / 2
        ax.add_patch(Polygon([(left, a), (right, b), (right, -b), (left, -a)], facecolor=PALE, zorder=1))
    for i, (width, height) in enumerate(zip(widths, heights, strict=True)):
        box = Rectangle((i * apart - half, -height / 2), 2 * half, height, facecolor="white", edgecolor=BLUE, zorder=2)
        ax.add_patch(box)
        ax.text(i * apart, 0, f"{width}", ha="center", va="center", fontsize=min(11, 33 / len(f"{width}")), zorder=3)
    for i, stage in enumerate(stages):
        text = f"W {stage.inputs}×{stage.outputs}" + ("" if stage.bias is None else f"\nb {stage.outputs}")
        ax.text((i + 0.5) * apart, 0, text, ha="center", va="center", fontsize=9, zorder=3)
    for i, text in enumerate(under):
        ax.text(i * apart, bottom, text, ha="center", va="top", fontsize=9)
    ax.set(xlim=xlim, ylim=ylim)
    count = sum(s.weight.size + (0 if s.bias is None else s.bias.size) for s in stages)
    ax.set_title(f"{'-'.join(map(str, widths))}: {count:,} parameters", fontsize="medium")
    return ax


# -- Shapes -------------------------------------------------------------------------------------------


def plot_batch(net: Sequential, n: int = 100, *, ax: Axes | None = None) -> Axes:
    """Draw what shapes flow through a network that is given a batch: one line for each matrix product.

    Parameters
    ----------
    net : Sequential
        A network with linear layers, on any library.
    n : int
        Rows of the batch.
    ax : matplotlib.axes.Axes or None
        Where to draw; None is a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Matrices are rectangles, whose sides grow with the logarithm of their lengths. Sides of one colour in one line
        have the same length: orange ones are summed over, and the others are the shape of the result.

    Raises
    ------
    DataError
        If there is no linear layer.
    AnybackError
        If `n` is below 1, or matplotlib is missing.

    Examples
    --------
    >>> import anyback as ab
    >>> ax = plot_batch(ab.load_model("digits-mlp", backend="numpy"), 100)
    >>> [text.get_text() for text in ax.texts if "×" in text.get_text()][:3]
    ['100×64', '64×50', '100×50']
    """
    if n < 1:
        raise AnybackError(f"n: expected at least 1 row, found {n}")
    stages = _stages(net)
    lengths = {n, *(stage.inputs for stage in stages), *(stage.outputs for stage in stages)}
    longest = max(_side(length) for length in lengths)
    line = longest + 0.9  # room for a line of rectangles and what stands under them
    spread = longest + 0.9
    half = longest / 2 + 0.2
    xlim, ylim = (-half, 2.7 * spread + half), (-(len(stages) - 1) * line - half - 0.4, half)
    ax = new_axes(ax, _INCH * (xlim[1] - xlim[0]), _INCH * (ylim[1] - ylim[0]) + 0.5)
    without_frame(ax)
    for i, stage in enumerate(stages):
        y = -i * line
        last = i == len(stages) - 1
        names = ("X" if i == 0 else f"Z{i}", f"W{i + 1}", "Y" if last else f"Z{i + 1}")
        shapes = ((n, stage.inputs), (stage.inputs, stage.outputs), (n, stage.outputs))
        sides = ((BLUE, ORANGE), (ORANGE, GREEN), (BLUE, GREEN))
        centres = (0.0, spread, 2.7 * spread)
        for name, shape, colours, x in zip(names, shapes, sides, centres, strict=True):
            _matrix(ax, x, y, name, shape, colours)
        ax.text(spread / 2, y, "·", ha="center", va="center", fontsize=16, fontweight="bold")
        begin, end = 1.5 * spread, 2.2 * spread
        ax.annotate("", (end, y), (begin, y), arrowprops={"arrowstyle": "->", "color": GREY, "linewidth": 1.2})
        said = ", ".join(part for part in ("" if stage.bias is None else f"+ b{i + 1}", stage.activation) if part)
        ax.text((begin + end) / 2, y + 0.12, said, ha="center", va="bottom", fontsize=9)
    ax.set(xlim=xlim, ylim=ylim)
    ax.set_title("sides of one colour are equally long;\nthe orange ones are summed over", fontsize="medium")
    return ax


def _side(length: int) -> float:
    return 1.0 + 0.1 * math.log2(max(length, 1))


def _matrix(ax: Axes, x: float, y: float, name: str, shape: tuple[int, int], colours: tuple[str, str]) -> None:
    """Draw a matrix around a point, its left and upper side in colours, its shape under it."""
    from matplotlib.patches import Rectangle

    height, width = map(_side, shape)
    left, top = x - width / 2, y + height / 2
    ax.add_patch(Rectangle((left, y - height / 2), width, height, facecolor=PALE, edgecolor="none"))
    for colour, along, up in (
        (colours[0], [left, left], [y - height / 2, top]),
        (colours[1], [left, left + width], [top, top]),
    ):
        ax.plot(along, up, color=colour, linewidth=3, solid_capstyle="butt")
    ax.text(x, y, name, ha="center", va="center", fontsize=10)
    ax.text(x, y - height / 2 - 0.1, f"{shape[0]}×{shape[1]}", ha="center", va="top", fontsize=9)
