"""Measure where the time of `predict` goes: ``python benchmarks/layers.py``; for libraries that compute at once.

Each layer alone, on the tiles that the layer before it gives, and everything; what the layers do not add up to is
cutting, moving and putting together, and that a layer alone finds its input in the caches and leaves it as it is.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

import tiles

from anyback import backends, bench, inference, models
from anyback._show import Table
from anyback.backends import Backend
from anyback.layers import Sequential


def measured(place: Backend, model: str, images: Any, count: int) -> str:
    """Return a table of the layers: time for all images, and the share of all of it."""
    net = models.load_model(model, backend=place)
    inputs = [backends.asarray(images[i : i + place.tile], backend=place) for i in range(0, len(images), place.tile)]
    inputs = inputs[: len(images) // place.tile]  # the last is shorter, and would be computed in another way
    functions: dict[str, Callable[[], Any]] = {"predict": lambda: inference.predict(net, images)}
    with place.steady():
        for number, layer in enumerate(net.flat()):
            run = place.compile(Sequential((layer,)), "highest")  # in the way of `predict`, which is not that of a call
            functions[f"{number} {getattr(layer, '__name__', type(layer).__name__)}"] = over(run, inputs, place)
            inputs = [run(tile, place.tile) for tile in inputs]
        times = bench.rounds(functions, count)
    scale = {name: 1.0 if name == "predict" else len(images) / (len(inputs) * place.tile) for name in functions}
    medians = {name: scale[name] * statistics.median(times[name]) for name in functions}
    whole = medians.pop("predict")
    medians["the rest"] = whole - sum(medians.values())
    rows = [(name, f"{1e3 * t:.2f} ms", f"{t / whole:.2f}") for name, t in medians.items()]
    header = (str(place), f"{len(images):,} images", "share")
    return Table(header, [*rows, ("predict", f"{1e3 * whole:.2f} ms", "")]).text()


def over(layer: Callable[[Any, int], Any], inputs: list[Any], place: Backend) -> Callable[[], Any]:
    """Return a function that computes a compiled layer on tiles."""

    def run() -> Any:
        for tile in inputs:
            y = layer(tile, place.tile)
        place.wait(y)

    return run


if __name__ == "__main__":
    sys.exit(tiles.main(measured, __doc__, "numpy,torch"))
