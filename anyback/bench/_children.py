"""What is measured in a process of its own: each function here is called by `_clock.in_child`, by name."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from anyback import backends, inference, models
from anyback.bench._clock import rounds
from anyback.network import Network

__all__ = ["memory", "own_memory", "workers"]


def memory(model: str, pixels: float | None, backend: str, path: str) -> dict[str, int]:
    """Return how many bytes of memory predicting the images in a file takes at most, and those of the output.

    Pages of the file that are looked at through the map are the system's, which takes them back as it likes: what
    counts is memory of the process's own, and no library's allocator hides from that.
    """
    net, x = _net(model, pixels, backend), np.load(path, mmap_mode="r")
    backends.to_numpy(inference.predict(net, x[:1]))
    before = own_memory()
    y, peak = _peak(lambda: backends.to_numpy(inference.predict(net, x)))
    return {"before": before, "peak": peak, "output": y.nbytes}


def workers(model: str, pixels: float | None, backend: str, path: str, count: int) -> dict[str, object]:
    """Return the times of predicting with one worker and with two, and whether the bits are the same.

    And those of bare products in one thread and in two, in the same rounds: where they gain nothing, the second core
    was not free, and what is measured says nothing of the library.
    """
    net, x = _net(model, pixels, backend), np.load(path)

    def run(number: int) -> Callable[[], np.ndarray]:
        return lambda: backends.to_numpy(inference.predict(net, x, workers=number))

    def products(times: int) -> None:
        for _ in range(times):
            np.matmul(left, right)

    left, right = np.ones((512, 784), np.float32), np.ones((784, 50), np.float32)
    one, two = run(1), run(2)
    with ThreadPoolExecutor(2) as pool, threadpool_limits(1, user_api="blas"):
        bare = {"bare_one": lambda: products(200), "bare_two": lambda: list(pool.map(products, (100, 100)))}
        times = rounds({"one": one, "two": two, **bare}, count)
    return {**times, "same": bool(one().tobytes() == two().tobytes())}


def own_memory() -> int:
    """Return the bytes of memory in use that belong to this process alone; OSError where the system does not say."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    rows = dict(line.split(":", 1) for line in status.splitlines())
    return 1024 * int(rows["RssAnon"].split()[0])


def _peak(function: Callable[[], np.ndarray]) -> tuple[np.ndarray, int]:
    """Return what a function returns, and the most memory that was in use meanwhile, looked at every millisecond."""
    seen, done = [own_memory()], threading.Event()

    def watch() -> None:
        while not done.wait(1e-3):
            seen.append(own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with contextlib.ExitStack() as stack:
        stack.callback(watcher.join)
        stack.callback(done.set)
        y = function()
        seen.append(own_memory())
    return y, max(seen)


def _net(model: str, pixels: float | None, backend: str) -> Network:
    return models.load_model(model, pixels=pixels, backend=backend, dtype="float32")
