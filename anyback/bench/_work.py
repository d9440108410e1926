"""The work that is timed, and what a row is that does it.

A row is a name, a group and a function that prepares: it takes the `Work` and returns a function without arguments
that does it all, from integer pixels in the host's memory to probabilities in the host's memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anyback import inference, models
from anyback.bounds import certify
from anyback.errors import AnybackError, DataError
from anyback.network import Network, is_chain
from anyback.ops import known_op

__all__ = ["Prepare", "Row", "Work"]

#: How far the probabilities of a row may be from anyback's: it must do the same work, at its own rounding.
_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Work:
    """A network and images, and the answer that every row must give.

    Parameters
    ----------
    model : str
        Name or file of the network.
    net : Network
        The network, on NumPy in float32.
    x : numpy.ndarray, integer
        Pixels: shape (n, in_features), where the network takes flat images, else as they are given.
    layers : tuple of (numpy.ndarray, numpy.ndarray)
        Weight (in_features, out_features) and bias (out_features,) of each linear layer, float32, of a network of
        linear layers with sigmoids between them and softmax at the end; empty for any other network.
    pixels : float
        The largest pixel value, by which pixels are divided.
    threads : int
        How many threads a row may use.
    expected : numpy.ndarray
        The probabilities that anyback gives on NumPy, shape (n, classes).
    decided : numpy.ndarray of bool
        Whose labels no rounding can change, shape (n,).
    """

    model: str
    net: Network
    x: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    pixels: float
    threads: int
    expected: np.ndarray
    decided: np.ndarray

    @staticmethod
    def of(model: str, images: np.ndarray, pixels: float | None = None, threads: int = 1) -> Work:
        """Return the work of a network, by name or file, on images of integers, shape (n, ...)."""
        net = models.load_model(model, pixels=pixels, backend="numpy", dtype="float32")
        if images.dtype.kind not in "iu" or not images.size:
            raise DataError(f"expected images of integers, at least one, found {images.dtype} {images.shape}")
        if not net.is_batch(images):
            images = images[None]
        flat = np.ascontiguousarray(images.reshape(len(images), -1))
        x = flat if flat.shape[1:] in net.sample_shapes or not net.sample_shapes else images
        largest = pixels or (1.0 if net.largest_pixel is None else float(net.largest_pixel))
        expected = np.asarray(inference.predict(net, x))
        return Work(model, net, x, _layers(net), float(largest), threads, expected, certify(net, x).decided)

    @property
    def weights(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """The layers, for rows that are written for such networks; `AnybackError` where the network is another."""
        if not self.layers:
            raise AnybackError("written for linear layers with biases, sigmoids between them and softmax at the end")
        return self.layers

    def first(self, n: int) -> Work:
        """Return the same work on the first `n` images."""
        return replace(self, x=self.x[:n], expected=self.expected[:n], decided=self.decided[:n])

    def fault(self, y: Any) -> str:
        """Return what is wrong with probabilities, in words; empty where they are the same as anyback's."""
        y = np.asarray(y)
        if y.size != self.expected.size or y.shape[-1] != self.expected.shape[-1]:
            return f"gives shape {y.shape}, expected {self.expected.shape}"
        y = y.reshape(self.expected.shape)
        differ = (np.argmax(y, axis=1) != np.argmax(self.expected, axis=1)) & self.decided
        if differ.any():
            return f"{int(differ.sum())} labels differ from anyback's, first in row {int(np.argmax(differ))}"
        error = float(np.max(np.abs(y - self.expected)))
        return "" if error <= _TOLERANCE else f"probabilities differ from anyback's by up to {error:.2g}"


#: What a network by hand is made of: what comes before the products, and what follows each of them but the last.
_BEFORE, _BETWEEN, _LAST = {"flatten", "pixels", "identity"}, "sigmoid", "softmax"


def _layers(net: Network) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return weight and bias of each linear layer, where the network is what the rows by hand compute; else nothing."""
    names = [call.op.name if known_op(call.op) else "" for call in net.calls]
    start = next((i for i, name in enumerate(names) if name not in _BEFORE), len(names))
    depth = names.count("linear")
    if not is_chain(net) or not depth or names[start:] != ["linear", _BETWEEN] * (depth - 1) + ["linear", _LAST]:
        return ()
    found = [[net.array_of(i) for i in call.arguments[1:]] for call in net.calls if call.op.name == "linear"]
    pairs = [(np.asarray(weight), np.asarray(bias)) for weight, bias in found if bias is not None]
    return tuple(pairs) if len(pairs) == depth else ()


Prepare = Callable[[Work], Callable[[], Any]]


@dataclass(frozen=True)
class Row:
    """One way to do the work.

    Parameters
    ----------
    name : str
        What it is.
    group : str
        ``"floor"``, ``"book"``, ``"by hand"``, ``"anyback"`` or ``"peer"``.
    prepare : callable
        Takes a `Work`, imports and builds what it needs, and returns a function without arguments that does the work
        and returns probabilities, complete, as anything that NumPy makes an array of. Whatever it raises is the
        reason why there is no number.
    tables : tuple of str
        The tables it is in: ``"throughput"``, and ``"latency"``, where the work is one image, shape (1, in_features).
    package : str
        Distribution package whose version is reported.
    """

    name: str
    group: str
    prepare: Prepare
    tables: tuple[str, ...] = ("throughput",)
    package: str = ""
