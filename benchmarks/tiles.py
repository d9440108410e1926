"""Measure the tile of each backend: ``python benchmarks/tiles.py``. base.py says what a tile is.

A large tile costs fewer calls, a small one stays in the caches and pads less: one image is padded to a whole tile,
unless the library computes a tile in pieces.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

from threadpoolctl import threadpool_limits

from anyback import backends, bench, datasets, inference, models
from anyback._show import Table
from anyback.backends import Backend

#: From 960 on they are multiples of the pieces in which NumPy and JAX take a tile.
SIZES = (120, 240, 480, 960, 1920, 3840, 7680)


def main(measured: Callable[[Backend, str, Any, int], str], description: str | None, libraries: str) -> int:
    """Print what `measured` returns for each backend that the command line names."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--backends", default=libraries, help="which, with commas between")
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
    """Return a table of the sizes: all images, against the tile that is set, and one image."""
    sizes = sorted({*SIZES, type(place).tile})
    many = {str(size): at(place, size, model, images) for size in sizes}
    one = {f"{size}, one": at(place, size, model, images[0]) for size in sizes}
    times = bench.rounds({**many, **one}, count)
    now = str(type(place).tile)
    rows = []
    for size in many:
        ratio = statistics.median(t / m for t, m in zip(times[size], times[now], strict=True))
        alone = statistics.median(times[f"{size}, one"])
        cells = (f"{1e3 * statistics.median(times[size]):.2f} ms", f"{ratio:.2f}", f"{1e6 * alone:,.0f} µs")
        rows.append((f"{size} (set)" if size == now else size, *cells))
    return Table((f"{place}, tile", f"{len(images):,} images", "ratio", "one image"), rows).text()


def at(place: Backend, size: int, model: str, x: Any) -> Callable[[], Any]:
    """Return a function that predicts in tiles of a size."""
    net = models.load_model(model, backend=place)

    def run() -> Any:
        with mock.patch.object(type(place), "tile", size):
            return backends.to_numpy(inference.predict(net, x))

    return run


if __name__ == "__main__":
    sys.exit(main(measured, __doc__, "numpy,jax,torch"))
