"""Run the node suite of the package onnx on an array library, and compare with what is committed.

``python tools/onnx_suite.py numpy`` prints how many of its cases pass, and fails where one fails that did not before;
``--write`` commits what fails now, which may only be less. ``jit`` is JAX with each case inside one program.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

from anyback import backends
from anyback.network import Network
from anyback.onnx import load

#: What fails, by library and reason: a list that may only shrink.
FAILING = Path(__file__).with_name("onnx_suite.json")
LIBRARIES = {"strict": "array_api_strict", "jit": "jax"}


class Case(NamedTuple):
    """A model, its inputs and outputs, and how far outputs may be off."""

    name: str
    model: bytes
    data: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


def cases() -> Iterator[Case]:
    """Yield the cases of the suite; files or models in memory, as the release of onnx has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    for case in found:
        if case.model is not None:
            yield Case(case.name, case.model.SerializeToString(), case.data_sets, case.rtol, case.atol)
            continue
        folder = Path(case.model_dir)
        model = (folder / "model.onnx").read_bytes()
        graph = onnx.load_from_string(model).graph
        data = [
            tuple(
                [message(path, info) for path, info in zip(numbered(part, what), infos, strict=False)]
                for what, infos in (("input", graph.input), ("output", graph.output))
            )
            for part in sorted(folder.glob("test_data_set_*"))
        ]
        yield Case(case.name, model, data, case.rtol, case.atol)


def numbered(folder: Path, what: str) -> list[Path]:
    return sorted(folder.glob(f"{what}_*.pb"), key=lambda path: int(path.stem.rpartition("_")[2]))


def message(path: Path, info: Any) -> Any:
    kind = info.type.WhichOneof("value")
    made = {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto}.get(kind, TensorProto)()
    made.ParseFromString(path.read_bytes())
    return made


def plain(x: Any) -> Any:
    """Return numbers of types that NumPy lacks in the type that holds them; sequences as lists, texts as objects."""
    if x is None or isinstance(x, list):
        return None if x is None else [plain(part) for part in x]
    if isinstance(x, onnx.SequenceProto):
        return [plain(part) for part in x.tensor_values]
    if isinstance(x, onnx.OptionalProto):
        return plain(x.tensor_value) if x.elem_type == 1 else plain(x.sequence_value) if x.elem_type == 3 else None
    if isinstance(x, TensorProto):
        if x.data_type == TensorProto.STRING:
            return np.asarray([s.decode() for s in x.string_data], object).reshape(tuple(x.dims))
        x = numpy_helper.to_array(x)
    x = np.asarray(x)
    if x.dtype.kind in "US":
        return x.astype(object)
    name = x.dtype.name
    if x.dtype == object or hasattr(np, name):
        return x
    return x.astype(np.uint8 if name.startswith("uint") else np.int8 if name.startswith("int") else np.float32)


def answer(net: Network, inputs: dict[str, Any], library: str) -> list[Any]:
    """Return the outputs of a network, on one library."""
    place = LIBRARIES.get(library, library)
    net = net.to(place)
    host = {port.name for port in net.signature.inputs if port.host} if net.signature is not None else set()

    def put(x: Any) -> Any:
        if isinstance(x, list):
            return [put(part) for part in x]
        return backends.asarray(x, backend=place) if isinstance(x, np.ndarray) and x.dtype != object else x

    given = {name: x if name in host else put(x) for name, x in inputs.items()}
    if library == "jit":
        import jax

        fixed = {name: x for name, x in given.items() if name in host or not hasattr(x, "dtype")}
        found = jax.jit(lambda moving: net(**moving, **fixed))({n: x for n, x in given.items() if n not in fixed})
    else:
        found = net(**given)
    # JAX puts the names of a dict in order.
    return [found[name] for name in net.signature.outputs] if isinstance(found, dict) else [found]


def check(found: Any, wanted: Any, case: Case) -> None:
    if isinstance(wanted, list) or wanted is None:
        assert isinstance(found, list | tuple) == isinstance(wanted, list), "expected a sequence"
        for a, b in zip(found or (), wanted or (), strict=True):
            check(a, b, case)
        return
    found = plain(found if isinstance(found, np.ndarray | np.generic) else backends.to_numpy(found))
    assert found.shape == wanted.shape, f"shape {found.shape}, expected {wanted.shape}"
    assert found.dtype == wanted.dtype, f"type {found.dtype}, expected {wanted.dtype}"
    if wanted.dtype == object:
        assert (found == wanted).all(), "other texts"
    else:
        np.testing.assert_allclose(found, wanted, rtol=case.rtol, atol=case.atol)


def reason(case: Case, library: str) -> str:
    """Return why a case fails; empty where it passes."""
    try:
        names = [value.name for value in onnx.load_from_string(case.model).graph.output]
        for inputs, outputs in case.data:
            net = load(case.model, names)
            ports = net.signature.inputs if net.signature is not None else ()
            given = {port.name: plain(x) for port, x in zip(ports, inputs, strict=False)}
            for found, wanted in zip(answer(net, given, library), outputs, strict=True):
                check(found, plain(wanted), case)
    except AssertionError as error:
        return f"wrong: {' '.join(str(error).split())[:60]}"
    except Exception as error:
        said = str(error).strip().splitlines() or [""]
        # Without the folder that it ran in.
        return f"{type(error).__name__}: {re.sub(r'/[^ ]*/', '', said[0])[:100]}"
    return ""


def main() -> int:
    """Run the suite on one library."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=["numpy", "jax", "jit", "torch", "strict", "dask"])
    parser.add_argument("--write", action="store_true", help="commit what fails now")
    parser.add_argument("--part", type=int, default=1, help="run each n-th case alone")
    asked = parser.parse_args()
    if asked.library in ("jax", "jit"):
        import jax

        jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")
    known = json.loads(FAILING.read_text()) if FAILING.exists() else {}
    before = {name for names in known.get(asked.library, {}).values() for name in names}
    failing: dict[str, list[str]] = collections.defaultdict(list)
    total = 0
    for case in list(cases())[:: asked.part]:
        total += 1
        with np.errstate(all="ignore"):
            why = reason(case, asked.library)
        if why:
            failing[why].append(case.name.removeprefix("test_"))
    names = {name for group in failing.values() for name in group}
    print(f"{asked.library}: {total - len(names)} of {total} cases pass")
    new = sorted(names - before)
    if asked.write and asked.part == 1 and (asked.library not in known or not new):
        known[asked.library] = {why: sorted(group) for why, group in sorted(failing.items())}
        FAILING.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        return 0
    for name in new[:20]:
        print(f"fails now: {name}: {next(why for why, group in failing.items() if name in group)}")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
