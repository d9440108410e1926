"""Pictures of images, of the network's outputs for them, and of weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.errors import DataError
from anyback.network import Network, usual_shapes
from anyback.plots._axes import BLUE, GREY, ORANGE, figure_of, inches, new_axes, without_frame
from anyback.plots._calls import drawable
from anyback.plots._image import as_images, one_image
from anyback.tasks import Task, task_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_images", "plot_probabilities", "plot_weights"]

#: Room between two images, in widths of one.
_GAP = 0.15
_INCH = 0.72  # side of a cell of the grid in a new figure


def plot_images(
    images: Array,
    labels: Array | None = None,
    predictions: Array | None = None,
    *,
    limit: int = 50,
    columns: int = 10,
    ax: Axes | None = None,
) -> Axes:
    """Draw images in a grid, each above its true label and the label that a network gave; wrong ones are framed.

    Parameters
    ----------
    images : array
        Shape (n, height, width), or (n, pixels) for square images.
    labels : array, integer, or None
        The true labels, shape (n,).
    predictions : array, integer, or None
        The labels that a network gave, shape (n,).
    limit : int
        The most images drawn; where there are more, the title says so.
    columns : int
        Images in a row.
    ax : matplotlib.axes.Axes or None
        Where to draw; None is a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one matplotlib image and one text for each image.

    Raises
    ------
    DataError
        If the shapes are not those of images, or there are not as many labels as images.
    AnybackError
        If matplotlib is missing.

    Examples
    --------
    >>> import anyback as ab
    >>> test = ab.datasets.digits("test")
    >>> ax = plot_images(test.images, test.labels, limit=20)
    >>> len(ax.images), ax.get_title()
    (20, 'the first 20 of 500 images')
    """
    pixels = as_images(images)
    truth, read = _column("labels", labels, len(pixels)), _column("predictions", predictions, len(pixels))
    shown = min(len(pixels), max(1, limit))
    captions, wrong = _captions(truth, read, shown)
    lines = max((caption.count("\n") + 1 for caption in captions if caption), default=0)
    ax = _grid(ax, pixels[:shown], columns, lines, captions, wrong, cmap="gray")
    if shown < len(pixels):
        ax.set_title(f"the first {shown:,} of {len(pixels):,} images", fontsize="medium")
    return ax


def _column(name: str, x: Array | None, n: int) -> np.ndarray | None:
    if x is None:
        return None
    values = backends.to_numpy(x)
    if values.shape != (n,):
        raise DataError(f"{name}: expected shape ({n},), one for each image, found {values.shape}")
    return values


def _captions(truth: np.ndarray | None, read: np.ndarray | None, n: int) -> tuple[list[str], list[bool]]:
    """Return the caption of each image, and whether its label is wrong."""
    if truth is None or read is None:
        known = truth if truth is not None else read
        return ["" if known is None else str(known[i]) for i in range(n)], [False] * n
    wrong = [bool(truth[i] != read[i]) for i in range(n)]
    return [f"read {read[i]}\nis {truth[i]}" if wrong[i] else str(truth[i]) for i in range(n)], wrong


def _grid(
    ax: Axes | None,
    images: np.ndarray,
    columns: int,
    lines: int,
    captions: Sequence[str],
    wrong: Sequence[bool],
    beside: float = 0.0,
    **look: Any,
) -> Axes:
    """Draw images of width 1 in one Axes, with room for `lines` of text under each, and inches beside them."""
    n, height, width = images.shape
    columns = max(1, min(columns, n))
    rows = -(-n // columns)
    aspect = height / width
    below = 0.2 * lines + _GAP
    x_end, y_end = columns * (1 + _GAP) - _GAP, rows * (aspect + below) - _GAP
    ax = new_axes(ax, max(2.0, _INCH * x_end + 0.2) + beside, _INCH * y_end + 0.4)
    without_frame(ax)
    size = min(9.0, 13 * inches(ax) / columns)  # of a caption, so that it is no wider than its image
    from matplotlib.patches import Rectangle

    for i, (row, column) in enumerate(itertools.islice(itertools.product(range(rows), range(columns)), n)):
        left, top = column * (1 + _GAP), row * (aspect + below)
        ax.imshow(images[i], extent=(left, left + 1, top + aspect, top), interpolation="nearest", **look)
        if wrong[i]:
            ax.add_patch(Rectangle((left, top), 1, aspect, fill=False, edgecolor=ORANGE, linewidth=2.5, clip_on=False))
        style: dict[str, Any] = {"color": ORANGE, "fontweight": "bold"} if wrong[i] else {}
        at = (left + 0.5, top + aspect + 0.05)
        ax.text(*at, captions[i], ha="center", va="top", fontsize=size, linespacing=1.0, **style)
    # imshow moves the limits to the last image.
    ax.set(xlim=(-0.03, x_end + 0.03), ylim=(y_end, -0.05))
    return ax


def plot_probabilities(
    image: Array, probabilities: Array, label: int | None = None, *, task: Task | None = None, ax: Axes | None = None
) -> Axes:
    """Draw an image beside the probability of each class.

    Parameters
    ----------
    image : array
        Shape (height, width), or (pixels,) for a square image.
    probabilities : array
        The network's output for it, shape (classes,), or (1,): the probability of the second of two classes.
    label : int or None
        The true label: if the answer is wrong, its bar and the name of the true class are marked.
    task : Task or None
        The task of the network; None is for probabilities of classes.
    ax : matplotlib.axes.Axes or None
        The Axes to draw the bars into; the image takes the left third of its place. None is a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        That of the bars; the image is in the Axes that was added to the figure last.

    Raises
    ------
    DataError
        If the shapes are not those of one image and its probabilities, or the outputs are numbers.
    AnybackError
        If matplotlib is missing.

    Examples
    --------
    >>> import anyback as ab
    >>> net, test = ab.load_model("digits-mlp", backend="numpy"), ab.datasets.digits("test")
    >>> ax = plot_probabilities(test.images[0], net(test.images[0]), test.labels[0])
    >>> ax.get_title()
    'read 0 with probability 0.999; it is 0'
    """
    picture, height = one_image(image), backends.to_numpy(probabilities)
    if height.ndim == 2 and len(height) == 1:
        height = height[0]
    if height.ndim != 1 or not height.size:
        raise DataError(f"probabilities: expected shape (classes,) for one image, found {height.shape}")
    task = task_of("probabilities", len(height)) if task is None else task
    if task.classes == 0:
        raise DataError("probabilities: the outputs of this network are numbers, which have none")
    outputs = height.astype(np.float64)[None]
    read, height = int(task.one_each.labels(outputs)[0]), task.by_class(outputs)[0]
    right = label is None or int(label) == read
    ax = new_axes(ax, 6.4, 2.8)
    beside = _left_third(ax)
    beside.imshow(picture, cmap="gray", interpolation="nearest")
    beside.set_axis_off()
    size = min(8.5, 22 * inches(ax) / len(height))  # of a number over a bar, so that it is no wider than the bar
    classes = np.arange(len(height))
    bars = ax.bar(classes, height, color=[BLUE if i == read else GREY for i in classes])
    if not right and read >= 0:
        bars[read].set(facecolor=ORANGE, hatch="//", edgecolor="white")
    for i in classes:
        if height[i] >= 0.0005 and size >= 5:
            ax.text(float(i), height[i] + 0.015, f"{height[i]:.3f}", ha="center", va="bottom", fontsize=size)
    ax.set(xlabel="class", ylabel="probability", ylim=(0, 1.1), xlim=(-0.6, len(height) - 0.4))
    ax.set_xticks(classes)
    if label is not None and 0 <= int(label) < len(height):
        ax.get_xticklabels()[int(label)].set(fontweight="bold", color=BLUE)
    ax.spines[["top", "right"]].set_visible(False)
    said = f"read {read} with probability {height[read]:.3f}" if read >= 0 else "nothing read: nan"
    ax.set_title(said if label is None else f"{said}; it is {int(label)}", fontsize="medium")
    return ax


def _left_third(ax: Axes) -> Axes:
    """Return a new Axes in the left third of the place of `ax`, which keeps the rest."""
    figure, place = figure_of(ax), ax.get_subplotspec()
    if place is not None:
        thirds = place.subgridspec(1, 2, width_ratios=(1, 2))
        ax.set_subplotspec(thirds[0, 1])
        return figure.add_subplot(thirds[0, 0])
    x, y, width, height = ax.get_position().bounds  # an Axes that was placed by hand
    ax.set_position((x + 0.4 * width, y, 0.6 * width, height))
    return figure.add_axes((x, y, 0.3 * width, height))


def plot_weights(net: Network, *, layer: int = 0, limit: int = 50, columns: int = 10, ax: Axes | None = None) -> Axes:
    """Draw the weights of a product as images: those of each neuron of a linear layer, or the filters.

    Parameters
    ----------
    net : Network
        A network with linear layers or convolutions, on any library.
    layer : int
        The number of the product, from 0. The first takes an image, so the weights of each neuron are an image.
    limit : int
        The most images drawn; where there are more, the title says so.
    columns : int
        Images in a row.
    ax : matplotlib.axes.Axes or None
        Where to draw; None is a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With one matplotlib image for each neuron, or for each channel of each filter, all on one scale of colours.

    Raises
    ------
    DataError
        If there is no such layer, or its weights are no images.
    AnybackError
        If `net` is no network, or matplotlib is missing.

    Examples
    --------
    >>> import anyback as ab
    >>> ax = plot_weights(ab.load_model("digits-mlp", backend="numpy"))
    >>> len(ax.images)
    50
    """
    pixels, what = _weight_images(drawable(net), layer)
    shown = min(len(pixels), max(1, limit))
    top = float(np.max(np.abs(pixels), initial=0.0)) or 1.0
    ax = _grid(ax, pixels[:shown], columns, 0, [""] * shown, [False] * shown, 0.9, cmap="RdBu", vmin=-top, vmax=top)
    named = f"the first {shown:,} of {len(pixels):,} {what}" if shown < len(pixels) else f"{shown:,} {what}"
    ax.set_title(f"W{layer + 1}: the weights of {named}", fontsize="medium")
    if ax.images:
        figure_of(ax).colorbar(ax.images[0], ax=ax, label="weight", fraction=0.05, pad=0.03)
    return ax


def _weight_images(net: Network, layer: int) -> tuple[np.ndarray, str]:
    """Return the weights of a product as images, shape (n, height, width), and the name of what each belongs to."""
    products = [
        (call.arguments[0], [net.array_of(i) for i in call.arguments]) for call in net.calls if call.op.products
    ]
    found = [(given, x) for given, arrays in products for x in arrays if x is not None and x.ndim > 1]
    if not found:
        raise DataError("expected a network with a product, such as a linear layer; this one has no weights to draw")
    if not 0 <= layer < len(found):
        raise DataError(f"layer: expected 0 to {len(found) - 1}, the products of the network, found {layer}")
    given, weight = found[layer][0], backends.to_numpy(found[layer][1])
    if weight.ndim == 2:  # (in_features, out_features): an image for each neuron
        image = _image_before(net, given)
        fits = image is not None and math.prod(image) == len(weight)
        return as_images(weight.T.reshape(-1, *image) if image is not None and fits else weight.T), "neurons"
    images = weight.reshape(-1, *weight.shape[-2:])  # of (out_channels, in_channels / groups, *window)
    return images, "filters" if len(images) == len(weight) else "channels of filters"


def _image_before(net: Network, number: int | None) -> tuple[int, ...] | None:
    """Return the shape of the image that a value was made of, where no product is between them."""
    shapes, calls = usual_shapes(net), dict(net.results())
    while number in calls and not calls[number].op.products:
        number = calls[number].arguments[0]
    shape = None if number is None or number in calls else shapes[number]
    if shape is None:
        return None
    sizes = shape[2:] if len(shape) == 4 and shape[1] == 1 else shape[1:]  # without an axis of one channel
    return sizes if len(sizes) == 2 else None
