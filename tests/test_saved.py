"""Networks kept in files: the same network comes back, and a file that says anything else is refused in one line."""

from __future__ import annotations

import copy
import functools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Library
from test_op_facts import EVERY

import anyback as ab
from anyback import activations, weights
from anyback.activations import ACTIVATIONS
from anyback.cli import main
from anyback.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePool,
    LayerNorm,
    Linear,
    MaxPool,
    Permute,
    Pixels,
    Reshape,
    Residual,
    Scale,
    Sequential,
)
from anyback.models._saved import _LAYERS
from anyback.network import NETWORK_TEXT, VERSION, Builder, Network, Port, Signature
from anyback.ops import OPS, Rows, array_parameters, checked_attributes, op


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng((seed, *shape)).standard_normal(shape) / 2).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return np.abs(numbers(*shape, seed=9)) + np.float32(0.5)


def square(width: int = 6, seed: int = 0) -> Linear:
    return Linear(numbers(width, width, seed=seed), numbers(width, seed=seed))


IMAGE = (2, 7, 6)
SHARED = square(seed=3)

#: Every layer and activation, each in a network with the shape of what it takes.
NETWORKS: dict[str, tuple[Sequential, tuple[int, ...]]] = {
    "linear": (Sequential(Linear(numbers(6, 4), numbers(4))), (6,)),
    "linear without bias": (Sequential(Linear(numbers(6, 4))), (6,)),
    "linear of a transposed weight": (Sequential(Linear(numbers(40, 60).T, numbers(40)), "tanh"), (60,)),
    "conv": (Sequential(Conv(numbers(4, 2, 3, 3), numbers(4), stride=(2, 1), padding=((1, 0), (2, 2)))), IMAGE),
    "conv in groups": (Sequential(Conv(numbers(4, 1, 2, 2), groups=2, dilation=2)), IMAGE),
    "conv of one axis": (Sequential(Conv(numbers(3, 2, 3)), "relu"), (2, 9)),
    "max_pool": (Sequential(MaxPool((2, 3), padding=1, ceil=True)), IMAGE),
    "average_pool": (Sequential(AveragePool((2, 2), stride=1, padding=1, count_padding=False)), IMAGE),
    "global_average_pool": (Sequential(GlobalAveragePool(), "tanh"), IMAGE),
    "permute": (Sequential(Permute((3, 1, 2)), Conv(numbers(4, 2, 3, 3))), (7, 6, 2)),
    "batch_norm": (Sequential(BatchNorm(numbers(2), positive(2), numbers(2, seed=1), numbers(2, seed=2))), IMAGE),
    "batch_norm alone": (Sequential(BatchNorm(numbers(6), positive(6), epsilon=1e-3)), (6,)),
    "layer_norm": (Sequential(LayerNorm((7, 6), numbers(7, 6), numbers(7, 6, seed=1))), IMAGE),
    "layer_norm alone": (Sequential(LayerNorm((6,), epsilon=0.1)), (6,)),
    "flatten": (Sequential(Flatten()), IMAGE),
    "flatten of one shape": (Sequential(Flatten((7, 6)), Linear(numbers(42, 3))), (7, 6)),
    "reshape": (Sequential(Reshape((2, 21)), Conv(numbers(2, 2, 5))), (42,)),
    "pixels": (Sequential(Flatten((7, 6)), Pixels(np.asarray(255, np.float32)), Linear(numbers(42, 3))), (7, 6)),
    "scale": (Sequential(square(), Scale(0.3)), (6,)),
    "dropout": (Sequential(square(), Dropout(0.4)), (6,)),
    "residual": (Sequential(square(), Residual(Sequential(square(seed=1), "relu")), "softmax"), (6,)),
    "residual with a shortcut": (Sequential(Residual(square(seed=1), square(seed=2)), "tanh"), (6,)),
    "residual in a residual": (Sequential(Residual(Residual(square(seed=1))), Dropout()), (6,)),
    "the same layer twice": (Sequential(SHARED, "relu", SHARED, Residual(SHARED)), (6,)),
    "a network in a network": (Sequential(Sequential(square(), "relu"), Sequential(square(seed=1))), (6,)),
    "a slope of one's own": (Sequential(square(), functools.partial(activations.leaky_relu, slope=0.2)), (6,)),
    "an alpha of one's own": (Sequential(square(), functools.partial(activations.elu, alpha=2)), (6,)),
    "nothing": (Sequential(), (6,)),
    **{f"activation {name}": (Sequential(square(), name, square(seed=1), name), (6,)) for name in ACTIVATIONS},
    **{f"{name} alone": (Sequential(name), (6,)) for name in ACTIVATIONS},
}


def test_every_layer_and_every_op_is_kept() -> None:
    kept = {call.op.name for net, _ in NETWORKS.values() for call in net.calls}
    of_no_layer = {"attention", "clip", "dense", "erf", "erfc", "gelu_by_erf", "pick"}
    assert kept >= {*OPS} - of_no_layer
    assert {*_LAYERS} == {name for name in OPS if name in kept - {*ACTIVATIONS, "add"}}


def loaded(net: Network, folder: Path, **options: Any) -> Network:
    net.save(folder / "mine.safetensors")
    return ab.load_model(folder / "mine.safetensors", **options)


def same_calls(a: Network, b: Network) -> bool:
    def plain(net: Network) -> list[Any]:
        return [(c.op.name, c.arguments, checked_attributes(c.op, c.attributes), c.name, c.source) for c in net.calls]

    return plain(a) == plain(b)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_network_comes_back(name: str, lib: Library, tmp_path: Path) -> None:
    net, sample = NETWORKS[name]
    net = net.map(lambda x: lib.asarray(x, None))
    found = loaded(net, tmp_path, backend=lib.backend)
    assert (type(found), str(found), found.inputs) == (type(net), str(net), net.inputs)
    assert same_calls(found, net)
    assert [x.shape for x in found.arrays] == [x.shape for x in net.arrays]
    assert [x.dtype for x in found.arrays] == [x.dtype for x in net.arrays]
    x = lib.asarray(np.random.default_rng(1).standard_normal((5, *sample)))
    assert lib.to_numpy(found(x)).tobytes() == lib.to_numpy(net(x)).tobytes()
    assert lib.to_numpy(ab.predict(found, x)).tobytes() == lib.to_numpy(ab.predict(net, x)).tobytes()
    if name == "pixels":
        whole = lib.asarray(np.arange(210).reshape(5, 7, 6), "uint8")
        assert lib.to_numpy(found(whole)).tobytes() == lib.to_numpy(net(whole)).tobytes()
        assert float(found.largest_pixel) == 255


def test_layers_come_back_as_layers(tmp_path: Path) -> None:
    net = Sequential(square(), Residual(square(seed=1)), Flatten((6,)), Dropout(), "relu", Scale(2.0))
    found = loaded(net, tmp_path, backend="numpy")
    assert isinstance(found, Sequential)
    assert len(found) == len(net) == 6
    assert [type(layer) for layer in (found[0], found[2], found[5])] == [Linear, Flatten, Scale]
    assert found[4] is activations.relu
    assert len(found[:2].calls) == 3
    assert np.array_equal(found[0].weight, net[0].weight)


def test_an_array_that_is_used_twice_is_kept_once(tmp_path: Path) -> None:
    net = NETWORKS["the same layer twice"][0]
    found = loaded(net, tmp_path, backend="numpy")
    assert len(weights.read_weights(tmp_path / "mine.safetensors")) == len(found.arrays) == 2
    assert found.summary() == net.summary()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_types_are_kept(dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("ml_dtypes")
    net = ab.load_model("digits-mlp", dtype=dtype, backend="numpy")
    found = loaded(net, tmp_path, backend="numpy")
    assert found.dtype == net.dtype
    assert all(a.tobytes() == b.tobytes() for a, b in zip(found.arrays, net.arrays, strict=True))
    assert loaded(net, tmp_path, dtype="float32", backend="numpy").dtype == np.float32


def test_a_network_that_has_a_name_is_kept_with_its_images(tmp_path: Path) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    images = ab.datasets.digits("test").images
    found = loaded(net, tmp_path, backend="numpy")
    assert np.array_equal(ab.predict(found, images), ab.predict(net, images))
    assert found.inputs == net.inputs
    assert np.array_equal(found(images[0].reshape(64)), net(images[0]))


def test_a_number_of_numpy_is_kept_as_a_number(tmp_path: Path) -> None:
    net = Sequential(square(), Scale(np.float32(0.3)))
    found = loaded(net, tmp_path, backend="numpy")
    assert found.calls[-1].attributes == {"factor": float(np.float32(0.3))}
    x = numbers(4, 6)
    assert found(x).tobytes() == net(x).tobytes()


def graph() -> Network:
    """Return a network of two inputs and two outputs with names and classes."""
    into = Builder(2)
    weight = into.array(numbers(3, 3))
    first = into.call(OPS["linear"], 0, weight, source="/fc/Gemm")
    both = into.call(OPS["add"], first, 1, name="joined")
    shares = into.call(OPS["softmax"], both)
    ports = Port("a", "float32", ("n", 3)), Port("b", "float32", (None, 3))
    arrays, calls, inputs, outputs = into.fields([shares, both], (((3,),), ((3,),)))
    return Network(arrays, calls, inputs, outputs, Signature(ports, ("shares", "sum")), ("cat", 7, 1.5))


def test_names_classes_and_several_outputs_are_kept(lib: Library, tmp_path: Path) -> None:
    net = graph().map(lambda x: lib.asarray(x, None))
    found = loaded(net, tmp_path, backend=lib.backend)
    assert found.signature == net.signature
    assert found.classes == ("cat", 7, 1.5)
    assert same_calls(found, net)
    assert str(found) == str(net)
    a, b = (lib.asarray(numbers(4, 3, seed=i)) for i in (1, 2))
    expected, given = net(a, b), found(b=b, a=a)
    assert given.keys() == {"shares", "sum"}
    assert all(lib.to_numpy(given[name]).tobytes() == lib.to_numpy(expected[name]).tobytes() for name in given)


@pytest.mark.numpy
def test_layers_keep_their_classes(tmp_path: Path) -> None:
    net = Sequential(Linear(numbers(3, 2)), "softmax", classes=("cat", "dog"))
    found = loaded(net, tmp_path, backend="numpy")
    assert isinstance(found, Sequential)
    assert found.classes == ("cat", "dog")


def test_an_array_may_be_what_a_network_gives(tmp_path: Path) -> None:
    into = Builder()
    weight = into.array(numbers(3, 3))
    into.call(OPS["linear"], 0, weight)
    net = Network(*into.fields([weight], (((3,),),)))
    assert np.array_equal(loaded(net, tmp_path, backend="numpy").select(1)(numbers(2, 3)), numbers(3, 3))


# -- What is refused when a network is saved ----------------------------------------------------------


@dataclass(frozen=True)
class Doubled:
    def __call__(self, x: Any) -> Any:
        return 2 * x


@op(rows=Rows.ALONE)
def halved(x: Any) -> Any:
    return x / 2


class Other(Sequential):
    def __call__(self, x: Any) -> Any:
        return 2 * super().__call__(x)


REFUSED = {
    "a function": (Sequential(square(), lambda x: x), r"functions of yours: <lambda>; save the network without them"),
    "a layer of the user's": (Sequential(square(), Doubled()), r"Doubled; save the network without them, and put them"),
    "an op that is not in the table": (Sequential(halved), r"not in the table of ops: halved; add each to it"),
    "a subclass": (Other(square()), "Other computes something else than its calls"),
    "nan": (Sequential(Linear(numbers(2, 2) * np.nan)), "nan or infinite numbers in linear_1_weight"),
    "an infinite factor": (Sequential(Scale(float("inf"))), "call 1, scale: factor: expected a finite number"),
    "an array as a factor": (Sequential(Scale(np.ones(2))), "factor: expected a finite number, found array"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_file_cannot_hold_is_named(name: str, tmp_path: Path) -> None:
    net, message = REFUSED[name]
    with pytest.raises(ab.WeightsError, match=message) as caught:
        net.save(tmp_path / "mine.safetensors")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_an_op_that_a_program_puts_into_the_table_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(OPS, "halved", halved)
    found = loaded(Sequential(square(), halved), tmp_path, backend="numpy")
    assert np.array_equal(found(numbers(6)), square()(numbers(6)) / 2)
    monkeypatch.delitem(OPS, "halved")
    with pytest.raises(ab.WeightsError, match="call 2: unknown op 'halved'; a newer anyback may know it"):
        ab.load_model(tmp_path / "mine.safetensors")


@pytest.mark.parametrize("name", ["mine.npz", "mine.pkl", "mine.onnx", "mine.pt", "mine"])
def test_another_suffix_is_refused_with_the_one_that_works(name: str, tmp_path: Path) -> None:
    with pytest.raises(ab.WeightsError, match=r"is kept as \.safetensors, found the suffix '.*'; give the file the"):
        Sequential(square()).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_needed() -> None:
    with pytest.raises(ab.WeightsError, match="expected a path, found int"):
        Sequential(square()).save(3)  # type: ignore[arg-type]


def test_nothing_is_left_half_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"before")

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ab.WeightsError, match="cannot be written: No space left on device"):
        Sequential(square()).save(path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


# -- What is refused when a file is loaded ------------------------------------------------------------


@pytest.mark.parametrize("option", [{"hidden": "relu"}, {"output": "softmax"}, {"pixels": 255}])
def test_the_file_itself_says_what_it_computes(option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ab.WeightsError, match=f"says itself what it computes; leave out {next(iter(option))}"):
        loaded(Sequential(square()), tmp_path, **option)


def test_a_shape_is_one_that_the_network_takes(tmp_path: Path) -> None:
    net = Sequential(Flatten((7, 6)), Linear(numbers(42, 3)))
    assert loaded(net, tmp_path, shape=(7, 6), backend="numpy").inputs == net.inputs
    with pytest.raises(ab.WeightsError, match=r"says itself that it takes shape .* found shape=\(2, 3\); leave"):
        loaded(net, tmp_path, shape=(2, 3))


def command(args: list[str]) -> Any:
    with pytest.raises(SystemExit) as done:
        main(args)
    return done.value.code or 0


def test_the_command_line_takes_such_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "mine.safetensors", tmp_path / "other.safetensors"
    ab.load_model("digits-mlp", backend="numpy").save(source)
    assert command(["evaluate", str(source), "--data", "digits"]) == 0
    assert "488" in capsys.readouterr().out
    assert command(["convert", str(source), str(target)]) == 0
    assert str(ab.load_model(target, backend="numpy")) == str(ab.load_model(source, backend="numpy"))
    assert command(["convert", str(source), str(tmp_path / "mine.npz")]) == 2
    assert ".npz has no place for anyback.network; write .safetensors" in capsys.readouterr().err
    assert not (tmp_path / "mine.npz").exists()


def test_texts_of_other_programs_change_nothing(tmp_path: Path) -> None:
    weights.write_file(tmp_path / "a.safetensors", {"W1": numbers(3, 2), "b1": numbers(2)}, {"format": "pt"})
    assert ab.load_model(tmp_path / "a.safetensors", hidden="relu", output="identity").width == 2
    with pytest.raises(ab.WeightsError, match=r"\.npz has no place for format; write \.safetensors"):
        weights.write_file(tmp_path / "a.npz", {"W1": numbers(3, 2)}, {"format": "pt"})


def rich() -> Sequential:
    return Sequential(
        Reshape((1, 4, 4)),
        Pixels(np.asarray(255, np.float32)),
        Conv(numbers(2, 1, 2, 2), numbers(2), padding=1),
        BatchNorm(numbers(2), positive(2)),
        AveragePool((2, 2)),
        functools.partial(activations.leaky_relu, slope=0.5),
        Dropout(),
        Flatten(),
        Residual(Linear(numbers(8, 8), numbers(8))),
        LayerNorm((8,)),
        Linear(numbers(3, 8).T),
        "softmax",
    )


def parts(net: Network, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what a file says of a network, and its arrays."""
    net.save(folder / "rich.safetensors")
    file = weights.read_file(folder / "rich.safetensors")
    return json.loads(file.texts[NETWORK_TEXT]), file.arrays


def written(record: Any, arrays: dict[str, np.ndarray], folder: Path, text: str = "") -> Path:
    path = folder / "changed.safetensors"
    path.write_bytes(weights.safetensors.write(arrays, {NETWORK_TEXT: text or json.dumps(record)}))
    return path


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value in nested lists and objects."""
    yield ()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        for rest in places(item):
            yield (key, *rest)


def changed(record: Any, way: tuple[Any, ...], value: Any, remove: bool = False) -> Any:
    if not way:
        return value
    record = copy.deepcopy(record)
    *before, last = way
    inner = functools.reduce(lambda found, key: found[key], before, record)
    if remove:
        del inner[last]
    else:
        inner[last] = value
    return record


BAD: list[Any] = [None, True, -1, 0, 3, 10**6, 2**62, 10**30, 0.5, 1e308, "", "relu", "\ud800", [], [0], [[1, 2]], {}]
BAD += [{"a": 1}, [10**9] * 4, "x" * 2000, "\x1b[2J"]


def outcome(path: Path, shape: tuple[int, ...]) -> str:
    """Return what comes of a file: an error in one line, or a network, which then computes or says why not."""
    try:
        net = ab.load_model(path, backend="numpy")
    except ab.WeightsError as error:
        said = str(error)
        return "refused" if said.isprintable() and len(said) < 600 else f"not one line: {said}"
    str(net)
    try:
        net(np.ones(shape, np.float32)) if len(net.inputs) == 1 else net(numbers(4, 3), numbers(4, 3))
    except (ab.AnybackError, MemoryError):
        return "loaded, does not compute"
    return "loaded"


@pytest.mark.parametrize("kind", ["Sequential", "Network"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_hostile_calls_are_refused_or_harmless(kind: str, tmp_path: Path) -> None:
    record, arrays = parts(rich() if kind == "Sequential" else graph(), tmp_path)
    shape = (2, 16)
    assert outcome(written(record, arrays, tmp_path), shape) == "loaded"
    found = []
    ways = list(places(record))
    for place, way in enumerate(ways):
        for value in BAD[place % 3 :: 3]:  # a third at each place: all at all places together
            found.append(outcome(written(changed(record, way, value), arrays, tmp_path), shape))
        if way:
            found.append(outcome(written(changed(record, way, None, remove=True), arrays, tmp_path), shape))
    assert len(found) > 500
    assert {*found} <= {"refused", "loaded", "loaded, does not compute"}
    assert found.count("refused") > 0.8 * len(found)


def test_the_arrays_of_a_file_are_those_of_the_network(tmp_path: Path) -> None:
    record, arrays = parts(rich(), tmp_path)
    name = next(iter(arrays))
    less = {k: x for k, x in arrays.items() if k != name}
    with pytest.raises(ab.WeightsError, match=f"arrays: '{name}' is not in the file"):
        ab.load_model(written(record, less, tmp_path))
    with pytest.raises(ab.WeightsError, match="holds arrays that the network does not: 'more'"):
        ab.load_model(written(record, {**arrays, "more": numbers(2)}, tmp_path))
    for other in (numbers(5), numbers(5, 5), numbers(1, 1, 1, 1), np.asarray(3), np.asarray(0.5, np.float32)):
        for name in arrays:
            if arrays[name].shape != other.shape or other.dtype != np.float32:
                path = written(record, {**arrays, name: other}, tmp_path)
                with pytest.raises(ab.WeightsError, match="its network: "):
                    ab.load_model(path)


TEXTS = {
    "no JSON": ("{", "expected JSON"),
    "deep": ("[" * 100_000 + "]" * 100_000, "expected JSON"),
    "deep, whole": ('{"version":' + "[" * 500 + "]" * 500 + "}", "expected a version"),
    "no object": ("[]", "expected a JSON object"),
    "twice": ('{"version":1,"version":1}', "'version' is there twice"),
    "nan": ('{"version":NaN}', "NaN is no number of JSON"),
    "a long number": ('{"version":' + "1" * 5000 + "}", "expected JSON"),
    "an old version": ('{"version":0}', f"kept in version 0 of the format, and this anyback reads version {VERSION}"),
    "a new version": (f'{{"version":{VERSION + 1}}}', "load it with the anyback that saved it, or a newer one"),
    "a version in words": ('{"version":"1"}', "expected a version"),
    "fields": ('{"version":1}', "expected an object with version, class, inputs"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_network_is_refused(name: str, tmp_path: Path) -> None:
    text, message = TEXTS[name]
    with pytest.raises(ab.WeightsError, match=message) as caught:
        ab.load_model(written(None, {"a": numbers(2)}, tmp_path, text))
    assert str(caught.value).startswith(f"{tmp_path / 'changed.safetensors'}: its network: ")


def test_values_are_defined_before_they_are_used(tmp_path: Path) -> None:
    record, arrays = parts(Sequential(square(), "relu"), tmp_path)
    record["calls"][0]["arguments"][0] = 4  # what the second call gives
    with pytest.raises(
        ab.WeightsError, match="call 1, linear: expected the number of an earlier value, below 3, found 4"
    ):
        ab.load_model(written(record, arrays, tmp_path))


def test_a_weight_that_is_computed_is_refused(tmp_path: Path) -> None:
    into = Builder()
    weight = into.call(OPS["relu"], into.array(numbers(3, 3)) or 0)
    net = Network(*into.fields([into.call(OPS["linear"], 0, weight)], (((3,),),)))
    with pytest.raises(
        ab.WeightsError, match="call 2, linear: its weight is computed, and a file keeps it as an array"
    ):
        net.save(tmp_path / "mine.safetensors")
    record, arrays = parts(Sequential(square(), BatchNorm(numbers(6), positive(6))), tmp_path)
    record["calls"][1]["arguments"][1] = 0
    with pytest.raises(
        ab.WeightsError, match="call 2, batch_norm: expected arrays of the file behind its first argument"
    ):
        ab.load_model(written(record, arrays, tmp_path))


def test_many_calls_take_no_long_time(tmp_path: Path) -> None:
    record, arrays = parts(Sequential("relu"), tmp_path)
    call = record["calls"][0]
    record["calls"] = [{**call, "arguments": [i]} for i in range(9_999)]
    record["outputs"] = [9_999]
    assert len(ab.load_model(written(record, arrays, tmp_path)).calls) == 9_999
    record["calls"] = record["calls"] * 2
    with pytest.raises(ab.WeightsError, match="calls: expected a list of at most 10,000 values"):
        ab.load_model(written(record, arrays, tmp_path))


@pytest.mark.parametrize("name", EVERY)
def test_the_attributes_of_every_op_are_of_a_known_kind(name: str) -> None:
    case = EVERY[name]
    found = checked_attributes(OPS[case.op], case.attributes)
    assert found == dict(case.attributes)
    assert len(array_parameters(OPS[case.op])) >= len(case.arguments(2))
    for attribute in found:
        for bad in ("text", [[["x"]]], {"a": 1}, 10**400, float("nan")):
            with pytest.raises(ab.DataError, match=f"{attribute}: expected "):
                checked_attributes(OPS[case.op], {**case.attributes, attribute: bad})
    with pytest.raises(ab.DataError, match="unknown other"):
        checked_attributes(OPS[case.op], {**case.attributes, "other": 1})
