"""Plots of networks, images, and results.

Every function draws into `ax`, or into a new figure where that is None, and returns the Axes; none shows or saves
anything. They take arrays of any library. matplotlib is imported when the first of them is called; `Image`, `blocks`
and `side_by_side` do not need it.
"""

from anyback._show import blocks, side_by_side
from anyback.plots._activation import plot_activation
from anyback.plots._batch import plot_batch
from anyback.plots._image import Image
from anyback.plots._images import plot_images, plot_probabilities, plot_weights
from anyback.plots._network import plot_network
from anyback.plots._results import plot_confusion, plot_parity

__all__ = [
    "Image",
    "blocks",
    "plot_activation",
    "plot_batch",
    "plot_confusion",
    "plot_images",
    "plot_network",
    "plot_parity",
    "plot_probabilities",
    "plot_weights",
    "side_by_side",
]
