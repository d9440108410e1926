"""What `onnx_networks.py` measures: the files, and the functions that use them."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from anyback import backends, bench, inference
from anyback.bench._clock import fresh_process, reason
from anyback.bench._report import amount
from anyback.onnx import load

__all__ = ["COMPILED", "LOADED", "LOADERS", "STEPS", "Files", "Line", "in_process", "network_rows", "session"]
__all__ += ["Rows", "step_rows", "voice_rows"]

#: How far an answer may be from that of ONNX Runtime, as a share of its largest number.
NEAR = 2e-4
#: Operators of the network of small steps, and of the one that is nodes without weights.
STEPS, NODES = 200, 5000
LIBRARIES = ("numpy", "torch", "jax")
VOICE = "silero_vad/data/silero_vad.onnx"

#: Network -> what `tools/onnx_from_torch.py` calls it, and the shape of its input.
NETWORKS = {
    "ResNet-18, one image": ("resnet18", (1, 3, 224, 224)),
    "LeNet, 1,000 images": ("lenet", (1000, 1, 28, 28)),
    "depthwise, one image": ("mobilenet", (1, 3, 224, 224)),
    "transformer, 16 sequences": ("transformer", (16, 24)),
}
#: What is loaded: weights of 45 MB, tables of trees, nodes without weights, and what is a little of all.
LOADED = ("ResNet-18, one image", "random forest", "nodes without weights", "voice detector")
#: What loads a file: `onnx.load` gives messages, as does the part of anyback that reads, the others what can be run.
LOADERS = (
    "onnx.load",
    "anyback, the messages alone",
    "anyback.onnx.load",
    "onnx.reference.ReferenceEvaluator",
    "onnxruntime.InferenceSession",
)
COMPILED = (*NETWORKS, "voice detector", "small steps")

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Line:
    """One row of a table; `ratio` is the median of the ratios of one round each, `least_ratio` that of the minima."""

    table: str
    name: str
    group: str
    value: float | None = None
    unit: str = "s"
    least: float | None = None
    ratio: float | None = None
    least_ratio: float | None = None
    spread: float = 0.0
    goal: float | None = None
    note: str = ""
    wrong: bool = False

    @staticmethod
    def of(result: bench.Result, least: float, least_ratio: float, goal: float | None) -> Line:
        """Return a result with its minimum beside it, and the most that its ratio should be."""
        found = result
        return Line(
            *(found.table, found.name, found.group, found.value, found.unit, least, found.ratio),
            *(least_ratio, found.spread, goal),
        )

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        found = self.least if self.ratio is None else self.least_ratio
        return not self.wrong and found is not None and found <= self.goal

    @property
    def judged(self) -> str:
        if self.ratio is None:
            return "not measured" if self.least is None else self.said(self.least)
        return f"{self.least_ratio:.2f}"

    @property
    def goal_said(self) -> str:
        if self.goal is None:
            return ""
        return f"{self.goal:g}" if self.ratio is not None else self.said(self.goal)

    def said(self, x: float) -> str:
        """Return a number in the unit."""
        return amount(x, self.unit) if self.unit else f"{x:g}"


# -- Files ----------------------------------------------------------------------------------------


class Files:
    """The files, each made when it is first asked for."""

    def __init__(self, folder: Path, packages: Path | None) -> None:
        self._folder, self._packages = folder, packages

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        if name == "voice detector":
            if self._packages is None:
                sys.exit("onnx_networks.py: --packages: expected the folder that silero-vad is installed in")
            return self._packages / VOICE
        path = self._folder / f"{name.replace(' ', '-').replace(',', '')}.onnx"
        if not path.exists():
            made = {"random forest": forest, "nodes without weights": nodes, "small steps": small_steps}
            path.write_bytes(made[name]() if name in made else exported(name))
        return path


def inputs_of(name: str) -> Inputs:
    """Return what a network is called with."""
    random = np.random.default_rng(0)
    if name == "voice detector":
        sound = (0.1 * random.standard_normal((1, 576))).astype(np.float32)
        return {"input": sound, "state": np.zeros((2, 1, 128), np.float32), "sr": np.asarray(16000)}
    shape = (1, 8) if name == "small steps" else NETWORKS[name][1]
    if len(shape) == 2 and name in NETWORKS:
        return {"x": random.integers(97, size=shape)}
    return {"x": random.standard_normal(shape).astype(np.float32)}


@functools.cache
def module(name: str) -> Any:
    """Return a network of PyTorch with random weights."""
    import onnx_from_torch
    import torch

    torch.manual_seed(7)
    return onnx_from_torch.trained(onnx_from_torch.NETWORKS[NETWORKS[name][0]][0])


def exported(name: str) -> bytes:
    import onnx_from_torch
    import torch

    return onnx_from_torch.written(module(name), torch.from_numpy(inputs_of(name)["x"][:1]), dynamo=False)


def forest() -> bytes:
    import onnx_from_sklearn
    from sklearn.ensemble import RandomForestClassifier

    made = functools.partial(RandomForestClassifier, 100, random_state=0)
    return onnx_from_sklearn.export(made, onnx_from_sklearn.digits, {"zipmap": False}).model


def chain(operators: list[str], constants: Mapping[str, np.ndarray]) -> bytes:
    """Return operators one behind the other; those that take two numbers take a constant in turn."""
    from onnx import TensorProto, helper, numpy_helper

    found, names, last = [], sorted(constants), "x"
    for i, name in enumerate(operators):
        more = [names[i % len(names)]] if name in ("Add", "Mul") else []
        found.append(helper.make_node(name, [last, *more], [f"v{i}"], name=f"node_{i}"))
        last = f"v{i}"
    x, y = (helper.make_tensor_value_info(v, TensorProto.FLOAT, ["n", 8]) for v in ("x", last))
    weights = [numpy_helper.from_array(array, key) for key, array in constants.items()]
    graph = helper.make_graph(found, "chain", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def nodes() -> bytes:
    return chain(["Relu", "Neg", "Abs"] * (NODES // 3), {})


def small_steps() -> bytes:
    random = np.random.default_rng(0)
    constants = {f"c{i}": random.uniform(0.5, 1.5, (1, 8)).astype(np.float32) for i in range(7)}
    return chain([("Add", "Mul", "Relu")[i % 3] for i in range(STEPS)], constants)


# -- Networks -------------------------------------------------------------------------------------


@dataclass
class Rows:
    """Functions by name, the first of which is the measure; the library of those of anyback; and what failed."""

    functions: dict[str, Callable[[], Any]] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    failed: list[Line] = field(default_factory=list)

    def add(self, row: str, make: Callable[[], Callable[[], Any]], wanted: np.ndarray, library: str = "") -> None:
        """Add a row that answers right; say of another what is wrong."""
        try:
            run = make()
            fault = wrong(run(), wanted)
        except Exception as error:  # whatever a library throws belongs into its row, not over the others
            self.failed.append(Line("", row, "anyback", note=f"not measured: {reason(error)}"))
            return
        if fault:
            self.failed.append(Line("", row, "anyback", note=fault, wrong=True))
            return
        self.functions[row] = run
        if library:
            self.libraries[row] = library


def wrong(y: Any, wanted: np.ndarray) -> str:
    """Return what is wrong with an answer; empty where nothing is."""
    y = np.asarray(backends.to_numpy(y))
    if y.shape != wanted.shape:
        return f"gives shape {y.shape}, expected {wanted.shape}"
    off = float(np.abs(y - wanted).max() / np.abs(wanted).max())
    return "" if off <= NEAR else f"is off by {off:.1g} of the largest number"


def session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def ended(function: Callable[[], Any], place: Any) -> Callable[[], Any]:
    """Return a function that ends when its result is there."""

    def run() -> Any:
        y = function()
        place.wait(y)
        return y

    return run


def network_rows(files: Files, name: str) -> Rows:
    """Return the rows of a network of images: ONNX Runtime, anyback, and the library that made it."""
    path, x = files.path(name), inputs_of(name)["x"]
    runtime, rows = session(path), Rows()
    wanted = runtime.run(None, {"x": x})[0]
    rows.add("ONNX Runtime", lambda: lambda: runtime.run(None, {"x": x})[0], wanted)
    for library in LIBRARIES:
        net = load(path).to(library)
        place = net.backend
        given = backends.asarray(x, backend=library)
        called = functools.partial(net, given)
        rows.add(f"anyback {library}, net(x)", functools.partial(ended, called, place), wanted, library)

        def predicted(net: Any = net) -> Any:
            return backends.to_numpy(inference.predict(net, x))

        rows.add(f"anyback {library}, predict", lambda run=predicted: run, wanted, library)
    rows.add("PyTorch itself", lambda: eager(name, x), wanted)
    rows.add("jax.jit by hand", lambda: jax_by_hand(name, x), wanted)
    return rows


def jax_by_hand(name: str, x: np.ndarray) -> Callable[[], Any]:
    import jax_by_hand

    return jax_by_hand.by_hand(module(name), x)


def eager(name: str, x: np.ndarray) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(1)
    made, given = module(name), torch.from_numpy(x)

    @torch.inference_mode()
    def run() -> Any:
        return made(given).numpy()

    return run


def voice_rows(files: Files) -> Rows:
    """Return the rows of one frame of a voice detector: a probability, and the state for the next frame."""
    path, given = files.path("voice detector"), inputs_of("voice detector")
    runtime, rows = session(path), Rows()
    wanted = runtime.run(None, given)[0]
    rows.add("ONNX Runtime", lambda: lambda: runtime.run(None, given)[0], wanted)
    net = load(path)
    rows.add("anyback numpy, net(x)", lambda: lambda: net(**given)["output"], wanted, "numpy")
    rows.add("anyback jax, net(x)", lambda: voice_on_jax(path, given, jit=False), wanted, "jax")
    rows.add("anyback jax, under jit", lambda: voice_on_jax(path, given, jit=True), wanted, "jax")
    return rows


def voice_on_jax(path: Path, given: Inputs, jit: bool) -> Callable[[], Any]:
    import jax

    net = load(path).to("jax")
    host = {port.name for port in net.signature.inputs if port.host}
    known = {name: x for name, x in given.items() if name in host}
    moved = {name: backends.asarray(x, backend="jax") for name, x in given.items() if name not in host}

    def call(**named: Any) -> Any:
        return net(**named, **known)

    run = jax.jit(call) if jit else call

    def finished() -> Any:
        return run(**moved)["output"].block_until_ready()

    return finished


# -- Steps ----------------------------------------------------------------------------------------


def step_rows(files: Files) -> dict[str, Callable[[], Any]]:
    """Return the same small steps: bare, as a network runs them, and through its door."""
    net, x = load(files.path("small steps")), inputs_of("small steps")["x"]
    calls = [call for call in net.calls if call.op.name in ("Add", "Mul", "relu")]
    if len(calls) != STEPS:
        raise AssertionError(f"expected {STEPS} calls, found {len(calls)}")
    place = net.backend
    others = [[net.array_of(i) for i in call.arguments[1:]] for call in calls]
    kernels = [(call.op.bound(place), rest) for call, rest in zip(calls, others, strict=True)]
    numpys = {"Add": np.add, "Mul": np.multiply, "relu": np.maximum}
    bare = [(numpys[call.op.name], rest or [0]) for call, rest in zip(calls, others, strict=True)]

    def loop(functions: list[tuple[Any, list[Any]]]) -> Any:
        y = x
        for function, rest in functions:
            y = function(y, *rest)
        return y

    rows: dict[str, Callable[[], Any]] = {
        "the same kernels in a loop": lambda: loop(kernels),
        "net.program": lambda: net.program([x, *net.arrays])[0],
        "net(x)": lambda: net(x),
        "NumPy's functions in a loop": lambda: loop(bare),
    }
    wanted = loop(bare)
    for name, run in rows.items():
        if wrong(run(), wanted):
            raise AssertionError(f"{name}: {wrong(run(), wanted)}")
    return rows


# -- Processes of their own -----------------------------------------------------------------------

_CODE = "import sys; sys.path.insert(0, {folder!r}); import onnx_child; onnx_child.main({words!r})"


def in_process(what: str, path: Path, name: str, small: Path | str = "") -> Any:
    """Return what a function of `onnx_child.py` returns in a process of its own."""
    code = _CODE.format(folder=str(Path(__file__).parent), words=[what, str(path), name, str(small)])
    return json.loads(fresh_process(code)[1])
