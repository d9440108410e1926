"""What all plots use: an Axes to draw into, and colours that people with every kind of colour vision tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyback.errors import AnybackError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLACK",
    "BLUE",
    "COLOURS",
    "GREEN",
    "GREY",
    "ORANGE",
    "PALE",
    "figure_of",
    "inches",
    "need_matplotlib",
    "new_axes",
    "scale_in",
    "without_frame",
]

# The palette of Okabe and Ito, "Color universal design", 2008: told apart with every kind of colour vision.
BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK)
GREY, PALE = "#666666", "#E4E4E4"


def need_matplotlib() -> None:
    """Raise `AnybackError` where matplotlib is not installed, with the command that installs it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise AnybackError("plots need matplotlib, which is not installed: pip install 'anyback[plot]'") from None


def new_axes(ax: Axes | None, width: float = 6.4, height: float = 4.0) -> Axes:
    """Return `ax`, or the Axes of a new figure of this size in inches; raise `AnybackError` without matplotlib."""
    need_matplotlib()
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return ax


def figure_of(ax: Axes) -> Any:
    """Return the figure that an Axes belongs to; raise `AnybackError` where it was removed from its figure."""
    figure = ax.get_figure()
    if figure is None:
        raise AnybackError("this Axes was removed from its figure; pass another, or ax=None for a new figure")
    return figure


def inches(ax: Axes) -> float:
    """Return the width of an Axes in inches, before the layout of its figure, which may change it a little."""
    return float(ax.get_window_extent().width / figure_of(ax).dpi)


def scale_in(ax: Axes | None, xlim: tuple[float, float], ylim: tuple[float, float], inch: float = 1.0) -> float:
    """Return the factor for the size of letters in a picture, whose units are `inch` inches long in a new figure.

    It is 1 in a new figure, which is made for the picture, and below 1 in a smaller Axes.
    """
    if ax is None:
        return 1.0
    size, dpi = ax.get_window_extent(), figure_of(ax).dpi
    unit = min(size.width / (xlim[1] - xlim[0]), size.height / (ylim[1] - ylim[0])) / dpi
    return float(min(1.0, unit / inch))


def without_frame(ax: Axes) -> None:
    """Remove the frame and the ticks of an Axes, and make units in both directions equally long."""
    ax.set_axis_off()
    ax.set_aspect("equal")
