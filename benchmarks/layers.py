"""Measure where the time of `predict` goes: ``python benchmarks/layers.py``; for libraries that compute at once.

Each layer alone, on the tiles that the layer before it gives, and everything; what the layers do not add up to is
cutting, moving and putting together, and that a layer alone finds its input in the caches.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

from threadpoolctl import threadpool_limits

from anyback import backends, bench, datasets, inference, models
from anyback._show import table_text
from anyback.backends import Backend
from anyback.layers import Layer


def main() -> int:
    """Print a table for each backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", default="numpy,torch", help="which, with commas between")
    parser.add_argument("--model", default="mnist-mlp", choices=sorted(models.NETWORKS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=25)
    asked = parser.parse_args()
    bench.restart(asked.threads)
    images = {"digits": datasets.digits, "mnist": datasets.mnist}[models.NETWORKS[asked.model].data]("test").images
    with threadpool_limits(asked.threads):
        for spec in asked.backends.split(","):
            print(f"{measured(backends.resolve(spec), asked.model, images, asked.rounds)}\n", flush=True)
    return 0


def measured(place: Backend, model: str, images: Any, count: int) -> str:
    """Return a table of the layers: time for all images, and the share of all of it."""
    net = models.load_model(model, backend=place)
    tiles = [backends.asarray(images[i : i + place.tile], backend=place) for i in range(0, len(images), place.tile)]
    tiles = tiles[: len(images) // place.tile]  # the last is shorter, and would be computed in another way
    functions: dict[str, Callable[[], Any]] = {"predict": lambda: inference.predict(net, images)}
    with place.steady():
        for number, layer in enumerate(net.flat()):
            functions[f"{number} {getattr(layer, '__name__', type(layer).__name__)}"] = over(layer, tiles, place)
            tiles = [layer(tile) for tile in tiles]
        times = bench.rounds(functions, count)
    scale = {name: 1.0 if name == "predict" else len(images) / (len(tiles) * place.tile) for name in functions}
    medians = {name: scale[name] * statistics.median(times[name]) for name in functions}
    whole = medians.pop("predict")
    medians["the rest"] = whole - sum(medians.values())
    rows = [(name, f"{1e3 * t:.2f} ms", f"{t / whole:.2f}") for name, t in medians.items()]
    return table_text(
        (str(place), f"{len(images):,} images", "share"), [*rows, ("predict", f"{1e3 * whole:.2f} ms", "")]
    )


def over(layer: Layer, tiles: list[Any], place: Backend) -> Callable[[], Any]:
    """Return a function that computes a layer on tiles."""

    def run() -> Any:
        for tile in tiles:
            y = layer(tile)
        place.wait(y)

    return run


if __name__ == "__main__":
    sys.exit(main())
