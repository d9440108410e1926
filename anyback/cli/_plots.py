"""What ``anyback plot`` draws: a table of pictures by name, and how one becomes a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from anyback import activations, inference
from anyback._files import replacing
from anyback.agreement import parity
from anyback.cli._data import check_count, sample_shape
from anyback.cli._targets import check_target
from anyback.datasets import Dataset
from anyback.errors import AnybackError, DataError
from anyback.evaluation import evaluate
from anyback.network import Network
from anyback.plots._activation import plot_activation
from anyback.plots._axes import figure_of, need_matplotlib
from anyback.plots._batch import plot_batch
from anyback.plots._images import plot_images, plot_probabilities, plot_weights
from anyback.plots._network import plot_network
from anyback.plots._results import plot_confusion, plot_parity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PICTURES", "Request", "check_picture", "save", "write"]

#: Suffix of a file -> what its format says beside the picture: no date, so that the same picture gives the same bytes.
METADATA: MappingProxyType[str, dict[str, None] | None] = MappingProxyType(
    {".png": None, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
)


@dataclass(frozen=True)
class Request:
    """What is asked for; a network and data are loaded only by the pictures that need them.

    Parameters
    ----------
    net : callable
        Takes the shape of one image, or None where no images are drawn, and returns the network.
    data : callable
        Returns the labelled images.
    functions : sequence of str
        Names of activations.
    count : int or None
        How many images are drawn, or compared, or are in the batch.
    index : int
        Which image.
    wrong : bool
        Whether only images that are read wrongly are drawn.
    backends : sequence of str or None
        Which libraries are compared; None is every one that can be used.
    """

    net: Callable[[tuple[int, ...] | None], Network]
    data: Callable[[], Dataset]
    functions: Sequence[str] = ()
    count: int | None = None
    index: int = 0
    wrong: bool = False
    backends: Sequence[str] | None = None


def _loaded(asked: Request) -> tuple[Dataset, Network]:
    """Return the labelled images that are asked for, and the network for them."""
    test = asked.data()
    return test, asked.net(sample_shape(test.images))


def _read(asked: Request) -> tuple[Dataset, np.ndarray]:
    """Return the images that are asked for, and how they are read."""
    test, net = _loaded(asked)
    result = evaluate(net, test.images, test.labels)
    if result.right is None:
        raise DataError("the network gives numbers, which are neither right nor wrong; expected one that gives labels")
    read = result.predictions
    chosen = ~result.right if asked.wrong else np.ones(len(test), dtype=bool)
    if not chosen.any():
        raise DataError(f"{test.name}: there is no image {'that is read wrongly' if asked.wrong else 'at all'} to draw")
    return test[chosen], read[chosen]


def _images(asked: Request) -> Axes:
    test, read = _read(asked)
    return plot_images(test.images, test.labels, read, limit=asked.count or 50)


def _confusion(asked: Request) -> Axes:
    test, net = _loaded(asked)
    return plot_confusion(evaluate(net, test.images, test.labels))


def _probabilities(asked: Request) -> Axes:
    test, _ = _read(asked)
    if not 0 <= asked.index < len(test):
        raise DataError(f"index: expected 0 to {len(test) - 1}, the images of {test.name}, found {asked.index}")
    image, label = test.images[asked.index], test.labels[asked.index]
    net = asked.net(sample_shape(test.images))
    y = inference.predict(net, image[None])
    return plot_probabilities(image, y, label, task=inference.task_for(net, y))


def _parity(asked: Request) -> Axes:
    (test, net), n = _loaded(asked), asked.count
    return plot_parity(parity(net, test.images[:n], test.labels[:n], asked.backends))


#: The pictures by name.
PICTURES: MappingProxyType[str, Callable[[Request], Axes]] = MappingProxyType(
    {
        "activations": lambda asked: plot_activation(
            [activations.get(name) for name in asked.functions or ("step", "sigmoid")]
        ),
        "network": lambda asked: plot_network(asked.net(None)),
        "images": _images,
        "confusion": _confusion,
        "probabilities": _probabilities,
        "weights": lambda asked: plot_weights(asked.net(None), limit=asked.count or 50),
        "batch": lambda asked: plot_batch(asked.net(None), asked.count or 100),
        "parity": _parity,
    }
)


def write(kind: str, asked: Request, out: Path | None, others: Collection[str | None] = ()) -> Path:
    """Draw a picture into a file, which is written whole or not at all.

    Parameters
    ----------
    kind : str
        A name in `PICTURES`.
    asked : Request
        What to draw.
    out : pathlib.Path or None
        A .png, .svg or .pdf file; None is anyback-KIND.png in the current folder.
    others : collection of str or None
        What is read, which `out` may not be.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    AnybackError
        If there is no such picture, or matplotlib is missing.
    DataError
        If the file cannot be written, or what is asked for does not fit the data.
    """
    if kind not in PICTURES:
        raise AnybackError(f"unknown picture {kind[:40]!r}; known: {', '.join(PICTURES)}")
    check_count(asked.count)
    out = Path(f"anyback-{kind}.png") if out is None else out
    check_picture(out, others)
    save(PICTURES[kind](asked), out)
    return out


def check_picture(out: Path, others: Collection[str | None] = ()) -> None:
    """Raise an error where a picture cannot become this file: before the work, not after it."""
    check_target(out, tuple(METADATA), others)
    need_matplotlib()
    import matplotlib as mpl

    mpl.use("agg")  # no screen is needed, whatever the user's settings name


def save(ax: Axes, out: Path) -> None:
    """Write the figure of `ax` to a .png, .svg or .pdf file, whole or not at all."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    suffix, figure = out.suffix.lower(), figure_of(ax)
    # Names inside an SVG do not change, and letters of a PDF are found and copied.
    settings = mpl.rc_context({"svg.hashsalt": "anyback", "pdf.fonttype": 42})
    with settings, replacing(out, DataError) as temporary:
        # Dark letters need their light ground, whatever the user's settings say.
        light = {"facecolor": figure.get_facecolor(), "transparent": False}
        figure.savefig(temporary, format=suffix[1:], dpi=150, metadata=METADATA[suffix], **light)
    plt.close(figure)  # nobody else has it
