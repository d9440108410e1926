"""What `onnx_networks.py` measures in a process of its own; nothing is imported here that loading could import."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(words: list[str]) -> None:
    """Print what a function returns as JSON."""
    what, path, name, small = words
    functions = (loading, memory, modules, compiling, running, ready)
    found = {function.__name__: function for function in functions}[what]
    print(json.dumps(found(path, name, small)), flush=True)


def loader(name: str) -> Callable[[str], Any]:
    """Return what loads a file."""
    if name == "onnx.load":
        import onnx

        return onnx.load
    if name == "onnx.reference.ReferenceEvaluator":
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator
    if name == "onnxruntime.InferenceSession":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return lambda path: onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    if name == "anyback.onnx.load":
        from anyback.onnx import load

        return load
    from anyback.onnx._files import read_model

    return read_model


def loading(path: str, name: str, small: str) -> float:
    """Return the processor time of loading a file, when a small one was loaded before."""
    load = loader(name)
    load(small)
    started = time.process_time()
    kept = load(path)
    seconds = time.process_time() - started
    del kept
    return seconds


def memory(path: str, name: str, small: str) -> int:
    """Return how many bytes the process grows by at most while a file is loaded, pages of the file among them.

    The most memory since the process began is compared with what it has when loading begins: no less than what loading
    takes.
    """
    load = loader(name)
    before = status("VmRSS")
    kept = load(path)
    grown = status("VmHWM") - before
    del kept
    return grown


def status(row: str) -> int:
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return 1024 * int(rows[row].split()[0])


def modules(path: str, name: str, small: str) -> list[str]:
    """Return the modules that loading imports beyond those of anyback, when a network from no file was there before."""
    import anyback

    anyback.load_model("digits-mlp", backend="numpy")
    before = set(sys.modules)
    anyback.load_model(path, backend="numpy")
    return sorted(module for module in set(sys.modules) - before if module.split(".")[0] != "anyback")


def compiling(path: str, name: str, small: str) -> float:
    """Return the processor time of the first call of a network on JAX beyond that of the second."""
    import jax
    import onnx_rows

    from anyback import backends
    from anyback.onnx import load

    net = load(path).to("jax")
    host = {port.name for port in net.signature.inputs if port.host}
    given: dict[str, Any] = {
        key: x if key in host else backends.asarray(x, backend="jax") for key, x in onnx_rows.inputs_of(name).items()
    }
    jax.block_until_ready(jax.jit(lambda x: x + 1)(jax.numpy.zeros(1)))  # what JAX needs to begin
    times = []
    for _ in range(2):
        started = time.process_time()
        jax.block_until_ready(net(**given))
        times.append(time.process_time() - started)
    return times[0] - times[1]


def running(path: str, name: str, small: str) -> int:
    """Return how many bytes the process grows by at most while it loads a network and computes one image.

    Beyond the weights, as large as the file, and the output. What computes has done a small network before.
    """
    import onnx_rows

    from anyback import backends
    from anyback.onnx import load

    resnet, lenet = list(onnx_rows.NETWORKS)[:2]
    images = {path: onnx_rows.inputs_of(resnet)["x"][:1], small: onnx_rows.inputs_of(lenet)["x"][:1]}

    def run(file: str) -> int:
        x = images[file]
        if name == "ONNX Runtime":
            return int(onnx_rows.session(Path(file)).run(None, {"x": x})[0].nbytes)
        library = name.rpartition(" ")[2]
        return int(backends.to_numpy(load(file).to(library)(backends.asarray(x, backend=library))).nbytes)

    run(small)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the most from now on
    before = status("VmRSS")
    output = run(path)
    return status("VmHWM") - before - Path(path).stat().st_size - output


def ready(path: str, words: str, small: str) -> tuple[list[float], list[float]]:
    """Return the processor times of loading a file and lowering it, and those of one pass over 100 images.

    `words` are the library, the number of rounds and the network. What is checked once in a process is checked in each
    round; of large images, a pass is ten times one over ten.
    """
    import numpy as np
    import onnx_rows

    from anyback import backends, inference
    from anyback.backends import _ways
    from anyback.inference._tiles import ready_for
    from anyback.onnx import load

    library, count, name = words.split(" ", 2)
    x = onnx_rows.inputs_of(name)["x"][:1]
    times = 10 if x.size > 10_000 else 1
    rows = np.concatenate([x] * (100 // times))
    kept = load(path).to(library)
    backends.to_numpy(inference.predict(kept, rows))
    loads, passes = [], []
    for _ in range(int(count)):
        _ways.chosen_way.cache_clear()
        started = time.process_time()
        net = load(path).to(library)
        with backends.scope(net.backend) as precision, net.backend.one_thread():
            ready_for(net, net.backend, precision, str(x.dtype), x.shape[1:], len(rows))
        loads.append(time.process_time() - started)
        started = time.process_time()
        backends.to_numpy(inference.predict(kept, rows))
        passes.append(times * (time.process_time() - started))
    return loads, passes
