"""What is measured in fresh processes: importing, and the first answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback.bench._asked import FEW, Asked
from anyback.bench._clock import fresh_process, reason
from anyback.bench._report import Result
from anyback.errors import AnybackError

__all__ = ["BARE", "by_hand", "first_answers", "import_times"]


def import_times(asked: Asked) -> list[Result]:
    """Time importing in fresh processes, in turn; what is there before is Python alone."""
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    modules = ("array_api_compat.numpy", "numpy", "anyback")
    times: dict[str, list[float]] = {module: [] for module in modules}
    for turn in range(asked.rounds + 1):
        for module in modules:
            seconds = float(fresh_process(code.format(module), folder=asked.folder / "compiled")[1])
            if turn:  # the first reads files that are not in memory yet
                times[module].append(seconds)
    measure = times[modules[0]]
    return [
        Result.timed("import", f"import {m}", "anyback" if m == "anyback" else "by hand", times[m], measure)
        for m in modules
    ]


BARE = "bare NumPy"
#: What a fresh process says when it has its first answer: the label, and the processor time since Python started.
_SAID = "import time; print(label, time.process_time(), flush=True)"
_LOADED = """
import numpy as np
arrays, x = np.load({weights!r}), np.load({image!r}) / np.float32({pixels})
depth = len(arrays.files) // 2
"""
#: The same by hand, by library; the first is the measure.
_BY_HAND = {
    "numpy": _LOADED
    + """
for i in range(1, depth + 1):
    x = x @ arrays[f"W{{i}}"] + arrays[f"b{{i}}"]
    x = 1 / (1 + np.exp(-x)) if i < depth else x
label = int(x.argmax())
""",
    "torch": _LOADED
    + """
import torch
layers = [(torch.from_numpy(arrays[f"W{{i}}"]), torch.from_numpy(arrays[f"b{{i}}"])) for i in range(1, depth + 1)]
with torch.inference_mode():
    x = torch.from_numpy(x)
    for i, (weight, bias) in enumerate(layers, 1):
        x = x @ weight + bias
        x = torch.sigmoid(x) if i < depth else x
    label = int(x.argmax())
""",
    "jax": _LOADED
    + """
import jax
def forward(layers, x):
    for i, (weight, bias) in enumerate(layers, 1):
        x = x @ weight + bias
        x = jax.nn.sigmoid(x) if i < depth else jax.nn.softmax(x)
    return x
layers = jax.device_put([(arrays[f"W{{i}}"], arrays[f"b{{i}}"]) for i in range(1, depth + 1)])
label = int(np.asarray(jax.jit(forward)(layers, jax.device_put(x))).argmax())
""",
}
_OURS = """
import numpy as np, anyback as ab
net = ab.load_model({model!r}, pixels={given}, backend={backend!r})
x = ab.asarray(np.load({image!r}), backend={backend!r})
label = int(ab.to_numpy(net(x)).argmax())
"""


def by_hand(library: str) -> str:
    """Return the name of the row of a library without anyback."""
    return BARE if library == "numpy" else f"{library} by hand"


def first_answers(asked: Asked) -> list[Result]:
    """Time fresh processes, in turn, from their start to the label of one image: their own processor time.

    Each finds the compiled files of the one before.
    """
    work = asked.work
    image, weights = asked.folder / "one.npy", asked.folder / "weights.npz"
    np.save(image, work.x[0])
    words: dict[str, Any] = {"image": str(image), "weights": str(weights), "pixels": work.pixels, "model": work.model}
    codes, left_out = {}, []
    libraries = {"numpy", *(place.name for place in asked.places)}
    try:
        pairs = enumerate(work.weights, 1)
        arrays = {f"{letter}{i}": x for i, pair in pairs for letter, x in zip("Wb", pair, strict=True)}
        np.savez(weights, **arrays)  # type: ignore[arg-type]  # a name could be one of savez's own, but is not
        codes = {by_hand(name): code.format(**words) for name, code in _BY_HAND.items() if name in libraries}
    except AnybackError as error:
        left_out = [Result("first", BARE, "by hand", note=f"not measured: {reason(error)}")]
    groups = dict.fromkeys(codes, "by hand")
    for place in asked.places:
        codes[f"anyback {place}"] = _OURS.format(**words, given=asked.pixels, backend=str(place))
    times: dict[str, list[float]] = {name: [] for name in codes}
    wanted = str(int(np.argmax(work.expected[0])))
    wrong = set()
    for turn in range(min(asked.rounds, FEW) + 1):
        for name, code in codes.items():
            _, said = fresh_process(code + _SAID, work.threads, asked.folder / "compiled")
            label, seconds = said.split()
            wrong |= {name} if label != wanted else set()
            if turn:  # the first reads files that are not in memory yet, and compiles
                times[name].append(float(seconds))
    measure = next(iter(times.values()), [])
    timed = [
        Result.timed("first", name, groups.get(name, "anyback"), found, measure, wrong=name in wrong)
        for name, found in times.items()
    ]
    return timed + left_out
