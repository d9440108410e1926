"""Measure where the time of `predict` goes: ``python benchmarks/layers.py``; for libraries that compute at once.

Each step of the plan alone, on the tiles that the steps before it give, and everything; what the steps do not add up
to is cutting, moving and putting together, and that a step alone finds its input in the caches and leaves it as it is.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import tiles

from anyback import backends, bench, inference, models
from anyback._show import Table
from anyback.backends import Backend
from anyback.backends._loading import loaded_steps
from anyback.lower import lower
from anyback.plan import Step


def measured(place: Backend, model: str, images: Any, count: int) -> str:
    """Return a table of the steps: time for all images, and the share of all of it."""
    net = models.load_model(model, backend=place)
    place = net.backend or place
    plan = lower(net, place, "highest", (str(images.dtype),), (images.shape[1:],))
    plan = dataclasses.replace(plan, steps=tuple(dataclasses.replace(s, in_place=False) for s in plan.steps))
    cuts = range(0, len(images) - plan.tile + 1, plan.tile)  # the last is shorter, and would be computed in another way
    values = [[backends.asarray(images[i : i + plan.tile], backend=place), *plan.arrays] for i in cuts]
    functions: dict[str, Callable[[], Any]] = {"predict": lambda: inference.predict(net, images)}
    with place.one_thread():
        for number, (step, named) in enumerate(zip(loaded_steps(place, place.own, plan), plan.steps, strict=True)):
            tiled = [[None if i is None else known[i] for i in step.arguments] for known in values]
            functions[f"{number} {named.kernel or 'user'}"] = over(step, tiled, place)
            for known, arguments in zip(values, tiled, strict=True):
                known.append(step.compute(*arguments, **step.attributes))
        times = bench.rounds(functions, count, clock=time.process_time)
    scale = {name: 1.0 if name == "predict" else len(images) / (len(values) * plan.tile) for name in functions}
    medians = {name: scale[name] * statistics.median(times[name]) for name in functions}
    whole = medians.pop("predict")
    medians["the rest"] = whole - sum(medians.values())
    rows = [(name, f"{1e3 * t:.2f} ms", f"{t / whole:.2f}") for name, t in medians.items()]
    header = (str(place), f"{len(images):,} images", "share")
    return Table(header, [*rows, ("predict", f"{1e3 * whole:.2f} ms", "")]).text()


def over(step: Step, tiled: list[list[Any]], place: Backend) -> Callable[[], Any]:
    """Return a function that computes a loaded step on the arguments of each tile."""

    def run() -> Any:
        for arguments in tiled:
            y = step.compute(*arguments, **step.attributes)
        place.wait(y)

    return run


if __name__ == "__main__":
    sys.exit(tiles.main(measured, __doc__, "numpy,torch"))
