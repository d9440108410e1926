"""What is asked of the benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from anyback.backends import Backend
from anyback.bench._work import Row, Work

__all__ = ["FEW", "Asked"]

#: Rounds of what takes seconds each: growth and fresh processes that load a library.
FEW = 7


@dataclass(frozen=True, eq=False)
class Asked:
    """What was asked for."""

    work: Work
    places: Sequence[Backend]
    peers: Sequence[Row]
    rounds: int
    most: int
    pixels: float | None
    folder: Path
    clock: Callable[[], float] = time.perf_counter
    kept: dict[str, Path] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.work.x)

    def many(self) -> Path:
        """Return a file of `most` images, those of the work again and again, made when it is first needed."""
        if "many" not in self.kept:
            self.kept["many"] = path = self.folder / "many.npy"
            x = self.work.x
            file = np.lib.format.open_memmap(path, mode="w+", dtype=x.dtype, shape=(self.most, *x.shape[1:]))
            for start in range(0, self.most, len(x)):
                file[start : start + len(x)] = x[: self.most - start]
            file.flush()
        return self.kept["many"]
