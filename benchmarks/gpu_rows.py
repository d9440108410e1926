"""What is measured on a GPU: anyback on each array library there, beside the best that is written by hand for it.

Images, weights and results stay on the device, and a row ends when its result is there. All of them multiply in full
float32, as anyback does: the libraries by themselves would round to TF32. What a library does best by hand is the
fastest of its ways here: the whole at once, in tiles, and from a graph of CUDA that was captured.
"""

from __future__ import annotations

import copy
import functools
import importlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_rows
import peers

from anyback import backends, bench, inference
from anyback.backends import Backend
from anyback.bench import Result, Work
from anyback.bench._clock import reason
from anyback.onnx import load

__all__ = ["BY_HAND", "COUNTS", "LIBRARIES", "RESNET", "measured", "places"]

LIBRARIES = ("cupy", "torch", "jax")
#: Images of the book's network.
COUNTS = (10_000, 1_000_000)
#: Images of a tile of what is written by hand.
TILES = (16_384, 65_536, 262_144)
RESNET, BATCH = "ResNet-18, 64 images", 64
#: What a row by hand is called behind its library.
BY_HAND = ("by hand", "by hand, tiles", "by hand, captured graph", "by hand, channels last")

Run = Callable[[], Any]


def places() -> list[Backend]:
    """Return each library on its first GPU, of those that find one."""
    found = []
    for name in LIBRARIES:
        devices = backends.available_backends()[name].devices
        on_gpu = [device for device in devices if device.startswith(("cuda", "gpu"))]
        found += [backends.resolve(f"{name}:{device}") for device in on_gpu[:1]]
    return found


def measured(
    files: onnx_rows.Files, work: Work, count: int, on: Sequence[Backend], counts: Sequence[int] = COUNTS
) -> Iterator[Result]:
    """Yield the rows of the book's network, on images of `work` again and again, and of ResNet-18."""
    for n in counts:
        images = np.resize(work.x, (n, *work.x.shape[1:]))
        wanted = np.resize(work.expected, (n, *work.expected.shape[1:]))
        ways = functools.partial(mlp_ways, work, images)
        yield from rows(f"{work.model}, {n:,} images", ways, on, wanted, images.nbytes, count)
    path = files.path(next(iter(onnx_rows.NETWORKS)))
    x = np.random.default_rng(0).standard_normal((BATCH, 3, 224, 224)).astype(np.float32)
    wanted = onnx_rows.session(path).run(None, {"x": x})[0]
    yield from rows(RESNET, functools.partial(resnet_ways, path, x), on, wanted, x.nbytes, count)


def rows(
    name: str,
    ways: Callable[[Backend], Iterator[tuple[str, Callable[[], Run]]]],
    on: Sequence[Backend],
    wanted: np.ndarray,
    size: int,
    count: int,
) -> Iterator[Result]:
    """Yield the rows of one network; the first that answers right is the measure."""
    found = onnx_rows.Rows()
    for place in on:
        for row, make in ways(place):
            found.add(row, lambda make=make, place=place: onnx_rows.ended(make(), place), wanted)
    times = bench.rounds(found.functions, count)
    measure = next(iter(times.values()), [])
    for row, each in times.items():
        group = "anyback" if row.startswith("anyback") else "by hand"
        note = f"{size / statistics.median(each) / 1e9:.3g} GB/s of images, {launches(found.functions[row])}"
        yield Result.timed("gpu", f"{name}: {row}", group, each, measure, note=note)
    for line in found.failed:
        yield Result("gpu", f"{name}: {line.name}", line.group, note=line.note, wrong=line.wrong)


def launches(run: Run) -> str:
    """Return how many kernels and copies a call starts on the device, as NVIDIA's profiling interface counts them."""
    try:
        import torch
        from torch.profiler import ProfilerActivity, profile

        if not torch.cuda.is_available():
            return "launches not counted: PyTorch, which counts them for all libraries, finds no GPU"
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            run()
        on_device = [event for event in seen.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    except Exception as error:
        return f"launches not counted: {reason(error)}"
    return f"{len(on_device)} launches"


# -- The book's network -------------------------------------------------------------------------------


def mlp_ways(work: Work, images: np.ndarray, place: Backend) -> Iterator[tuple[str, Callable[[], Run]]]:
    """Yield what is measured on one library, by name, and what prepares it."""
    name = place.name

    def ours() -> Run:
        net, x = work.net.to(place), backends.asarray(images, backend=place)
        return lambda: inference.predict(net, x)

    yield f"anyback {name}", ours
    for row, make in MLP_BY_HAND[name].items():
        yield f"{name} {row}", functools.partial(make, work, images, place)


def in_tiles(place: Backend, n: int, make: Callable[[int], Run]) -> Run:
    """Return the fastest of the tiles that are smaller than the whole."""
    tiles = [(tile,) for tile in TILES if tile < n] or [(n // 2,)]
    return bench.fastest(lambda tile: onnx_rows.ended(make(tile), place), tiles)


def cupy_forward(work: Work, xp: Any) -> Callable[[Any], Any]:
    """Return the network on CuPy, where a bias and its sigmoid are one kernel; NumPy has no `fuse`."""
    *hidden, (last, bias) = [(xp.asarray(w), xp.asarray(b)) for w, b in peers.scaled(work)]
    fused = getattr(xp, "fuse", lambda function: function)
    sigmoid = fused(lambda z, b: 1 / (1 + xp.exp(-(z + b))))
    raised = fused(lambda z, b, most: xp.exp(z + b - most))

    def forward(x: Any) -> Any:
        h = x.astype(xp.float32)
        for w, b in hidden:
            h = sigmoid(h @ w, b)
        z = h @ last
        y = raised(z, bias, (z + bias).max(axis=1, keepdims=True))
        y /= y.sum(axis=1, keepdims=True)
        return y

    return forward


def cupy_whole(work: Work, images: np.ndarray, place: Backend) -> Run:
    forward, x = cupy_forward(work, importlib.import_module(place.name)), backends.asarray(images, backend=place)
    return lambda: forward(x)


def cupy_tiles(work: Work, images: np.ndarray, place: Backend) -> Run:
    xp = importlib.import_module(place.name)
    forward, x = cupy_forward(work, xp), backends.asarray(images, backend=place)

    def make(tile: int) -> Run:
        return lambda: xp.concatenate([forward(x[i : i + tile]) for i in range(0, len(x), tile)])

    return in_tiles(place, len(x), make)


def torch_given(work: Work, images: np.ndarray, place: Backend) -> tuple[list[Any], Any]:
    device = place.device_object()
    layers = [tuple(x.to(device) for x in pair) for pair in peers.torch_layers(work)]
    return layers, backends.asarray(images, backend=place)


def torch_whole(work: Work, images: np.ndarray, place: Backend) -> Run:
    import torch

    layers, x = torch_given(work, images, place)
    return torch.inference_mode()(lambda: peers.torch_forward(layers, x))


def torch_tiles(work: Work, images: np.ndarray, place: Backend) -> Run:
    import torch

    layers, x = torch_given(work, images, place)

    def make(tile: int) -> Run:
        return torch.inference_mode()(lambda: torch.cat([peers.torch_forward(layers, rows) for rows in x.split(tile)]))

    return in_tiles(place, len(x), make)


def torch_graph(work: Work, images: np.ndarray, place: Backend) -> Run:
    layers, x = torch_given(work, images, place)
    return captured(lambda: peers.torch_forward(layers, x))


def captured(forward: Run) -> Run:
    """Return a function that replays what PyTorch started on the GPU in one call of another."""
    import torch

    forward = torch.inference_mode()(forward)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what a first call prepares is not to be captured
        for _ in range(3):
            forward()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = forward()

    def run(forward: Run = forward) -> Any:  # which holds the arrays that the graph reads
        graph.replay()
        return y

    return run


def jax_given(work: Work, images: np.ndarray, place: Backend) -> tuple[Any, Any]:
    import jax

    return jax.device_put(peers.scaled(work), place.device_object()), backends.asarray(images, backend=place)


def jax_whole(work: Work, images: np.ndarray, place: Backend) -> Run:
    import jax

    (layers, x), forward = jax_given(work, images, place), jax.jit(peers.jax_forward)
    return exact_jax(lambda: forward(layers, x))


def jax_tiles(work: Work, images: np.ndarray, place: Backend) -> Run:
    layers, x = jax_given(work, images, place)

    def make(tile: int) -> Run:
        run = peers.jax_mapped(len(x), work.expected.shape[1], tile)
        return exact_jax(lambda: run(layers, x))

    return in_tiles(place, len(x), make)


def exact_jax(run: Run) -> Run:
    """Return a function whose products are of full float32."""
    import jax

    def exact() -> Any:
        with jax.default_matmul_precision("highest"):
            return run()

    return exact


_WHOLE, _TILES, _GRAPH, _LAST = BY_HAND
MLP_BY_HAND: Mapping[str, Mapping[str, Callable[[Work, np.ndarray, Backend], Run]]] = {
    "cupy": {_WHOLE: cupy_whole, _TILES: cupy_tiles},
    "torch": {_WHOLE: torch_whole, _TILES: torch_tiles, _GRAPH: torch_graph},
    "jax": {_WHOLE: jax_whole, _TILES: jax_tiles},
}


# -- ResNet-18 ----------------------------------------------------------------------------------------


def resnet_ways(path: Any, x: np.ndarray, place: Backend) -> Iterator[tuple[str, Callable[[], Run]]]:
    """Yield what is measured on one library; CuPy has no convolution to write one by hand with."""
    name = place.name

    def ours() -> Run:
        return functools.partial(load(path).to(place), backends.asarray(x, backend=place))

    yield f"anyback {name}", ours
    if name == "torch":
        yield f"{name} {_WHOLE}", lambda: exact_torch(torch_module(x, place))
        yield f"{name} {_LAST}", lambda: exact_torch(torch_module(x, place, channels_last=True))
        yield f"{name} {_GRAPH}", lambda: exact_torch(torch_module(x, place), captured)
    elif name == "jax":
        yield f"{name} {_WHOLE}", lambda: exact_jax(onnx_rows.jax_by_hand(next(iter(onnx_rows.NETWORKS)), x))


def torch_module(x: np.ndarray, place: Backend, channels_last: bool = False) -> Run:
    import torch

    made = copy.deepcopy(onnx_rows.module(next(iter(onnx_rows.NETWORKS)))).to(place.device_object())
    given = backends.asarray(x, backend=place)
    if channels_last:
        made, given = (one.to(memory_format=torch.channels_last) for one in (made, given))
    return torch.inference_mode()(lambda: made(given))


def exact_torch(run: Run, prepared: Callable[[Run], Run] = lambda run: run) -> Run:
    """Return a function whose convolutions are of full float32, prepared so, too."""
    import torch

    flags = functools.partial(torch.backends.cudnn.flags, allow_tf32=False)
    with flags():
        ready = prepared(run)

    def exact() -> Any:
        with flags():
            return ready()

    return exact
