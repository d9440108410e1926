"""What `onnx_networks.py` measures in a process of its own; nothing is imported here that loading could import."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(what: str, path: str, name: str) -> None:
    """Print what a function returns as JSON."""
    print(json.dumps({"memory": memory, "modules": modules, "compiling": compiling}[what](path, name)), flush=True)


def memory(path: str, name: str) -> int:
    """Return how many bytes the process grows by at most while a file is loaded, pages of the file among them.

    The most memory since the process began is compared with what it has when loading begins: no less than what loading
    takes.
    """
    if name == "onnx.load":
        from onnx import load
    else:
        from anyback.onnx import load
    before = status("VmRSS")
    kept = load(path)
    grown = status("VmHWM") - before
    del kept
    return grown


def status(row: str) -> int:
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return 1024 * int(rows[row].split()[0])


def modules(path: str, name: str) -> list[str]:
    """Return the modules that loading imports beyond those of anyback, behind ``import anyback``."""
    import anyback

    before = set(sys.modules)
    anyback.load_model(path, backend="numpy")
    return sorted(module for module in set(sys.modules) - before if module.split(".")[0] != "anyback")


def compiling(path: str, name: str) -> float:
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
