"""Make and fetch real ONNX files, and run them on every array library: ``nox -s onnx-files``.

What a file means is what the same file answers on NumPy with float64 in place of float32. Every library must come
within 2e-5 of the largest number of that answer, with the same labels. ONNX Runtime must come within 2e-4; where it
does not, whoever else answers in float64 (the library that made the network, or the reference of the package onnx) must
come as near, which shows whose fault it is. JAX has float64 enabled for files that use it.
``python tools/onnx_files.py sklearn`` runs the files whose names hold that word.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_in_packages
from onnx import TensorProto, version_converter
from onnx_float64 import as_float64
from onnx_sample import Maker, Sample

from anyback import backends, bench
from anyback._show import Table, json_text
from anyback.backends._machine import environment
from anyback.bench._tables import versions
from anyback.onnx import load

#: How far a library may be from float64, and ONNX Runtime, both as a share of the largest number of the answer.
NEAR, NEAR_RUNTIME = 2e-5, 2e-4
LIBRARIES = "numpy,torch,jax,array_api_strict,dask"
#: Where files are made, and what that needs beside PyTorch.
MODULES = ("onnx_from_torch", "onnx_from_keras", "onnx_from_sklearn")
PACKAGES = ("array-api-strict", "dask", "jax", "keras", "onnx", "onnxruntime", "onnxscript", "scikit-learn", "skl2onnx")

Answer = dict[str, np.ndarray]


@dataclass
class Outcome:
    """What one library makes of a file: how far it is off, whether labels are the same, and how long it takes."""

    off: float | None = None
    same_labels: bool | None = None
    seconds: float | None = None
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.error and self.off is not None and self.off <= NEAR and self.same_labels is not False


@dataclass
class Row:
    """What all make of a file: each array library, ONNX Runtime, and who answers in float64."""

    name: str
    operators: int = 0
    libraries: dict[str, Outcome] = field(default_factory=dict)
    runtime: Outcome = field(default_factory=Outcome)
    maker: Outcome = field(default_factory=Outcome)
    reference: Outcome = field(default_factory=Outcome)
    error: str = ""

    @property
    def confirmed(self) -> bool:
        """Whether someone who shares no code with anyback finds the same; nobody may be able to."""
        judges = [judge.off for judge in (self.runtime, self.maker, self.reference) if judge.off is not None]
        return not judges or min(judges) <= NEAR_RUNTIME

    @property
    def ok(self) -> bool:
        return not self.error and self.confirmed and all(found.ok for found in self.libraries.values())

    def notes(self) -> list[str]:
        """Return what is wrong, and who is."""
        found = [f"{self.name}: {self.error}"] if self.error else []
        for library, outcome in self.libraries.items():
            if not outcome.ok:
                found.append(f"{self.name}: {library}: {outcome.error or said(outcome)}")
        if self.runtime.error:
            found.append(f"{self.name}: ONNX Runtime: {self.runtime.error}")
        judges = {"ONNX Runtime": self.runtime, "who made it, in float64,": self.maker}
        far = {who: judge.off for who, judge in judges.items() if judge.off is not None and judge.off > NEAR_RUNTIME}
        if far:
            others = "; ".join(f"{who} is off by {number(off)}" for who, off in far.items())
            agrees = "someone else agrees with anyback" if self.confirmed else "NOBODY AGREES WITH ANYBACK"
            found.append(f"{self.name}: {others}; {agrees}")
        return found


def said(outcome: Outcome) -> str:
    labels = ", and labels differ" if outcome.same_labels is False else ""
    return f"off by {number(outcome.off)}{labels}"


def number(x: float | None) -> str:
    return "" if x is None else "0" if x == 0 else f"{x:.1e}"


# -- Answers --------------------------------------------------------------------------------------


def typed(inputs: Mapping[str, np.ndarray], model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Return the inputs in the types that a model declares."""
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    return {name: np.asarray(x, onnx.helper.tensor_dtype_to_np_dtype(kinds[name])) for name, x in inputs.items()}


def answer(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], library: str, dtype: str | None = None) -> Answer:
    """Return the outputs of a model on a library, by name: all but those that the library cannot hold."""
    texts = library == "jax"  # whose programs give no texts: who wants labels takes them from the network's classes
    names = [v.name for v in model.graph.output if not (texts and v.type.tensor_type.elem_type == TensorProto.STRING)]
    net = load(model.SerializeToString(), names).to(library, dtype=dtype)
    host = {port.name for port in net.signature.inputs if port.host}
    given = {n: x if n in host else backends.asarray(x, backend=library) for n, x in typed(inputs, model).items()}
    found = net(**given)
    found = found if isinstance(found, dict) else {names[0]: found}
    return {n: y if isinstance(y, np.ndarray) else np.asarray(backends.to_numpy(y)) for n, y in found.items()}


def enabled(model: onnx.ModelProto, library: str) -> contextlib.AbstractContextManager[Any]:
    """Return what lets a library hold the numbers of a model: JAX has no float64 unless it is told."""
    if library != "jax" or TensorProto.DOUBLE not in {tensor.data_type for tensor in model.graph.initializer}:
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


def runtime_answer(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> Answer:
    """Return what ONNX Runtime answers; probabilities by class become columns."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, map(columns, session.run(names, typed(inputs, model))), strict=True))


def reference_answer(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> Answer:
    """Return what the reference of the package onnx answers."""
    from onnx.reference import ReferenceEvaluator

    if all(not opset.domain and opset.version < 14 for opset in model.opset_import):
        model = version_converter.convert_version(model, 17)  # it trains batch normalisations of old versions
    names = [value.name for value in model.graph.output]
    return dict(zip(names, map(columns, ReferenceEvaluator(model).run(names, typed(inputs, model))), strict=True))


def columns(y: Any) -> np.ndarray:
    return np.asarray([list(row.values()) for row in y] if isinstance(y, list) else y)


def judged(found: Answer, truth: Answer, axis: int | None) -> Outcome:
    """Return how far an answer is from the truth: the worst of all outputs, each as a share of its largest number."""
    off, same = 0.0, True
    labelled = axis is not None
    for name, wanted in truth.items():
        if name not in found:
            continue
        y = found[name]
        if y.shape != wanted.shape:
            return Outcome(error=f"{name} has shape {y.shape}, expected {wanted.shape}")
        if wanted.dtype.kind != "f":  # labels
            same &= bool(np.array_equal(y.astype(wanted.dtype), wanted))
            continue
        off = max(off, distance(np.asarray(y, np.float64), np.asarray(wanted, np.float64)))
        if labelled and axis is not None:
            same &= bool((y.argmax(axis=axis) == wanted.argmax(axis=axis)).all())
            labelled = False
    return Outcome(off, same)


def distance(y: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest difference, as a share of the largest number; numbers that are not finite must be equal."""
    finite = np.isfinite(wanted)
    if not np.array_equal(y[~finite], wanted[~finite], equal_nan=True) or not np.isfinite(y[finite]).all():
        return float("inf")
    largest = float(np.abs(wanted[finite]).max(initial=0.0))
    return float(np.abs(y - wanted)[finite].max(initial=0.0)) / (largest or 1.0)


# -- Files ----------------------------------------------------------------------------------------


def attempt(answered: Any, truth: Answer, axis: int | None) -> Outcome:
    """Return the outcome of a function that answers; its error, where it raises one."""
    started = time.perf_counter()
    try:
        found = answered()
    except Exception as error:
        return Outcome(error=reason(error))
    seconds = time.perf_counter() - started
    return dataclasses.replace(judged(found, truth, axis), seconds=seconds)


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:240]}"


def row_of(name: str, sample: Sample, libraries: Sequence[str]) -> Row:
    """Return what all make of a sample."""
    model = onnx.load_from_string(sample.model)
    row = Row(name, sum(1 for _ in nodes(model.graph)))
    wide = as_float64(model)
    try:
        truth = answer(wide, sample.inputs, "numpy", "float64")
    except Exception as error:
        row.error = reason(error)
        return row
    axis, inputs = sample.axis, sample.inputs
    row.runtime = attempt(lambda: runtime_answer(model, inputs), truth, axis)
    if sample.expected:
        shaped = {n: np.reshape(y, truth[n].shape) for n, y in sample.expected.items()}
        row.maker = judged(shaped, truth, axis)
    if row.runtime.error or (row.runtime.off or 0) > NEAR_RUNTIME:
        row.reference = attempt(lambda: reference_answer(wide, inputs), truth, axis)
    for library in libraries:
        with enabled(model, library):
            row.libraries[library] = attempt(lambda library=library: answer(model, inputs, library), truth, axis)
    return row


def nodes(graph: Any) -> Any:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes(inner)


def all_makers(packages: Path | None) -> dict[str, Maker]:
    """Return what makes each file; a package that is missing is told when its files are made."""
    found: dict[str, Maker] = {}
    for module in MODULES:
        try:
            found |= importlib.import_module(module).MAKERS
        except ImportError as error:
            found[f"{module.rpartition('_')[2]}, all of its files"] = failing(error)
    return found | (onnx_in_packages.makers(packages) if packages is not None else {})


def failing(error: Exception) -> Maker:
    def make() -> Sample:
        raise error

    return make


# -- Report ---------------------------------------------------------------------------------------


def table(rows: Sequence[Row], libraries: Sequence[str]) -> Table:
    header = [
        "file",
        "operators",
        *(cell for library in libraries for cell in (library, "s")),
        "labels",
        "ORT",
        "maker",
    ]
    lines = []
    for row in rows:
        cells = [row.name, str(row.operators)]
        for library in libraries:
            found = row.libraries.get(library, Outcome())
            cells += [number(found.off) or "fails", "" if found.seconds is None else f"{found.seconds:.2f}"]
        same = {found.same_labels for found in row.libraries.values()} - {None}
        labels = "differ" if False in same else "same" if same else ""
        lines.append([*cells, labels, number(row.runtime.off), number(row.maker.off)])
    notes = [note for row in rows for note in row.notes()]
    return Table(header, lines, "Largest difference from float64, as a share of its largest number", notes)


def report(rows: Sequence[Row], seconds: float) -> dict[str, Any]:
    """Return everything for JSON."""
    return {
        "title": "Real ONNX files: largest difference from the same file in float64, as a share of its largest number",
        "limits": {"library": NEAR, "ONNX Runtime": NEAR_RUNTIME},
        "files": [{**dataclasses.asdict(row), "ok": row.ok, "notes": row.notes()} for row in rows],
        "seconds": round(seconds, 1),
        "environment": {
            "date": time.strftime("%Y-%m-%d"),
            **environment(),
            "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
            **versions(["torch", *PACKAGES]),
            **dict(pinned.split("==") for pinned in onnx_in_packages.PACKAGES),
        },
        "ok": all(row.ok for row in rows),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="run the files whose names hold one of these words")
    parser.add_argument("--backends", default=LIBRARIES, help="which libraries, with commas between")
    parser.add_argument("--packages", type=Path, help="the folder that packages with files are installed in")
    parser.add_argument("--keep", type=Path, help="a folder to write the files to")
    parser.add_argument("--json", type=Path, help="the file to write")
    return parser.parse_args()


def main() -> int:
    """Make the files, run them, print and write what came out; return the exit code."""
    asked = arguments()
    bench.restart(1)
    warnings.simplefilter("ignore")
    started, rows, libraries = time.perf_counter(), [], asked.backends.split(",")
    for name, make in all_makers(asked.packages).items():
        if asked.names and not any(word in name for word in asked.names):
            continue
        try:
            sample = make()
        except Exception as error:
            rows.append(Row(name, error=f"not made: {reason(error)}"))
            continue
        if asked.keep:
            asked.keep.mkdir(parents=True, exist_ok=True)
            (asked.keep / f"{name.replace(', ', '-').replace(' ', '-')}.onnx").write_bytes(sample.model)
        with np.errstate(all="ignore"):
            rows.append(row_of(name, sample, libraries))
        print(f"{name}: {'ok' if rows[-1].ok else 'FAILS'}", file=sys.stderr, flush=True)
    print(table(rows, libraries))
    print(f"{sum(row.ok for row in rows)} of {len(rows)} files reach the goal")
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json_text(report(rows, time.perf_counter() - started), 1) + "\n", encoding="utf-8")
    return 0 if rows and all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
