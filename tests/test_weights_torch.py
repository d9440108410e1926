"""State dicts of PyTorch: what PyTorch wrote is read to the last bit, and whatever else a file claims is refused."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_weights import arrays_or_refused, assert_same, refused
from torch_files import ORDERED, archive, entries, number, state_dict, storage, tensor, text

import anyback as ab
from anyback.weights.torch import read

SIX = np.arange(6, dtype=np.float32)


def one(made: bytes = tensor(), **options: Any) -> bytes:
    return archive(entries({"W": made}), **options)


# -- What is read ------------------------------------------------------------------------------------


def test_a_plain_state_dict_is_what_the_bad_ones_differ_from() -> None:
    assert_same(read(one()), {"W": SIX.reshape(2, 3)})
    assert_same(read(one(order=None, root="mine.v2")), {"W": SIX.reshape(2, 3)})
    assert_same(read(one(tensor(strides=(1, 2)))), {"W": SIX.reshape(3, 2).T})
    assert_same(read(one(tensor(offset=2, sizes=(2,), strides=(3,)))), {"W": SIX[2::3]})
    assert_same(read(one(tensor(sizes=(), strides=(), offset=5))), {"W": np.float32(5)})
    assert_same(read(one(tensor(sizes=(0, 4), strides=(4, 1), offset=6))), {"W": np.empty((0, 4), np.float32)})
    assert_same(read(one(tensor(sizes=(2, 2), strides=(0, 1)))), {"W": np.stack([SIX[:2], SIX[:2]])})


def test_a_file_of_a_big_endian_machine_is_read() -> None:
    parts = {"data/0": SIX.astype(">f4").tobytes()}
    assert_same(read(one(order=b"big", parts=parts)), {"W": SIX.reshape(2, 3)})


def test_two_tensors_of_one_storage_are_memory_of_their_own() -> None:
    found = read(archive(entries({"a": tensor(), "b": tensor()})))
    found["a"][:] = 0
    assert_same({"b": found["b"]}, {"b": SIX.reshape(2, 3)})


def modules() -> dict[str, Any]:
    from torch import nn

    return {
        "sequential": nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)),
        "convolution": nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
    }


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ["sequential", "convolution"])
def test_what_pytorch_saves_is_read_to_the_last_bit(tmp_path: Path, name: str, dtype: str) -> None:
    import torch

    module = modules()[name].to(getattr(torch, dtype))
    for suffix in ("pt", "pth"):
        torch.save(module.state_dict(), tmp_path / f"w.{suffix}")
        found = ab.read_weights(tmp_path / f"w.{suffix}")
        assert list(found) == list(module.state_dict())
        for key, value in module.state_dict().items():
            assert found[key].dtype.name == str(value.dtype).removeprefix("torch.")
            assert found[key].shape == tuple(value.shape)
            np.testing.assert_array_equal(found[key].astype(np.float64), value.double().numpy())


@pytest.mark.torch
def test_views_integers_parameters_and_dicts_of_dicts_are_read() -> None:
    import torch

    base = torch.arange(24).reshape(4, 6)
    given = {
        "turned": base.T,
        "steps": base[1:, ::2],
        "repeated": base[0].expand(3, 6),
        "none": base[:0],
        "bytes": base.to(torch.uint8),
        "flags": base > 5,
        "int16": base.short(),
        "int8": base.to(torch.int8),
        "int32": base.int(),
        "parameter": torch.nn.Parameter(base.double()),
        "one": torch.tensor(2.5),
    }
    file = io.BytesIO()
    torch.save({"outer": given, "array": np.ones(2)}, file)
    expected = {f"outer.{name}": x.detach().numpy().copy() for name, x in given.items()} | {"array": np.ones(2)}
    assert_same(read(file.getvalue()), expected)


# -- What is refused, with the cure ------------------------------------------------------------------


@pytest.mark.torch
def test_whole_modules_old_files_programs_and_checkpoints_are_refused_with_the_cure(tmp_path: Path) -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    optimizer = torch.optim.Adam(module.parameters())
    optimizer.step()
    checkpoint = {"model": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    cases: dict[str, tuple[Any, str]] = {
        "module": (
            module,
            r"'torch.nn.modules.container' 'Sequential', as a whole .*torch.save\(module.state_dict\(\)",
        ),
        "checkpoint": (
            checkpoint,
            r"entry 'optimizer.param_groups': .* found list; where it is a checkpoint.*state_dict",
        ),
        "tensor": (torch.ones(2), "expected a state dict of PyTorch, found an array"),
    }
    path = tmp_path / "w.pt"
    for what, message in cases.values():
        torch.save(what, path)
        with pytest.raises(ab.WeightsError, match=message):
            ab.read_weights(path)
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ab.WeightsError, match=r"seems to be a legacy PyTorch file: write it again with torch\.save"):
        ab.read_weights(path)


def test_a_program_of_torchscript_says_how_its_weights_are_had() -> None:
    refused(read, one(parts={"data/0": b"", "code/__torch__.py": b"", "constants.pkl": b""}), r"torch\.jit\.load")


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_what_would_run_code_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    program = pickle.dumps({"W": Touch(canary)}, 2)
    refused(read, archive(program), "nothing was run")
    assert not canary.exists()
    pickle.loads(program)
    assert canary.exists(), "the payload was harmless"


BAD = {
    "beyond its end": (one(tensor(sizes=(2, 4))), "ends at number 7 of a storage of 6"),
    "an offset beyond": (one(tensor(offset=1)), "ends at number 7 of a storage of 6"),
    "strides beyond": (one(tensor(strides=(4, 1))), "ends at number 7 of a storage of 6"),
    "huge strides": (one(tensor(strides=(1 << 62, 1))), "no whole numbers of 0 to"),
    "strides that wrap around": (one(tensor(strides=(1 << 40, 1 << 40))), "ends at number"),
    "a negative offset": (one(tensor(offset=-1)), "no whole numbers of 0 to"),
    "a negative stride": (one(tensor(strides=(-3, 1))), "no whole numbers of 0 to"),
    "a stride that is a boolean": (one(tensor(strides=(3, True))), "no whole numbers of 0 to"),
    "a stride too few": (one(tensor(strides=(1,))), "one for each axis"),
    "a negative size": (one(tensor(sizes=(-2, 3))), "none negative"),
    "a size that is no number": (one(tensor(sizes=(2, 1.5))), "whole numbers"),
    "too many axes": (one(tensor(sizes=(1,) * 33, strides=(1,) * 33)), "at most 32 axes"),
    "one number many times": (one(tensor(sizes=(1 << 30,), strides=(0,))), "more data than it holds"),
    "more elements than any": (one(tensor(sizes=(1 << 40,) * 2, strides=(0, 0))), r"2\*\*40 elements"),
    "nothing, behind the end": (one(tensor(sizes=(0,), strides=(1,), offset=7)), "of a storage of 6"),
    "a longer storage": (one(tensor(storage(length=7))), "24 bytes, which are not '7' numbers of float32"),
    "a shorter storage": (one(tensor(storage(length=5))), "24 bytes, which are not '5' numbers"),
    "a length that is none": (one(tensor(storage(length=None))), "24 bytes, which are not"),
    "another type": (one(tensor(storage("DoubleStorage"))), "24 bytes, which are not '6' numbers of float64"),
    "a type without numbers": (one(tensor(storage("ComplexFloatStorage"))), "'ComplexFloatStorage', as a whole"),
    "a dict for a type": (one(tensor(storage().replace(b"ctorch\nFloatStorage\n", b"}"))), "of another type than"),
    "two types of one storage": (
        archive(entries({"a": tensor(), "b": tensor(storage("IntStorage"))})),
        "is there with two types",
    ),
    "a storage that is not there": (one(tensor(storage(key="1"))), "storage '1' is not in the archive"),
    "a storage outside": (one(tensor(storage(key="../version"))), r"storage '\.\./version' is not in"),
    "a place that is none": (one(tensor(storage(place=b"N"))), "not in the archive"),
    "no storage": (one(tensor(number(1))), "not made of a storage"),
    "a storage of two words": (one(b"(" + text("storage") + text("0") + b"tQ"), "a storage that is not"),
    "a storage for a tensor": (one(storage()), "expected an array, found"),
    "hooks": (one(tensor(end=b"\x89}" + text("a") + b"Ns")), "hooks"),
    "a sign to be taken": (one(tensor(end=b"\x89" + ORDERED + b"}" + text("neg") + b"\x88s")), "signs or conjugates"),
    "no tensor in a parameter": (one(b"ctorch._utils\n_rebuild_parameter\n(N\x88" + ORDERED + b"tR"), "not made of a"),
    "a function": (one(b"ctorch._utils\n_rebuild_tensor_v2\n"), "found a function"),
    "a type that is called": (one(b"ctorch\nFloatStorage\n)R"), "a call of what is no function"),
    "quantized": (one(b"ctorch._utils\n_rebuild_qtensor\n)R"), "'_rebuild_qtensor', as a whole"),
    "a state of something else": (archive(b"\x80\x02}}" + text("a") + b"Nsb."), "expected a tuple as state"),
    "a number": (one(number(3)), "'W': expected an array, found int; where it is a checkpoint"),
    "a list": (archive(b"\x80\x02]."), "expected a state dict of PyTorch, found list"),
    "no end": (archive(b"\x80\x02}"), "cut off"),
    "an empty program": (archive(b""), "cut off"),
    "a name twice": (
        archive(entries({"a.b": tensor(), "a": b"}" + text("b") + tensor() + b"s"})),
        "'a.b' is there twice",
    ),
    "a dict in itself": (archive(b"\x80\x02}q\0" + text("a") + b"h\0s."), "dicts within more than 16|more data"),
    "another byte order": (one(order=b"middle"), "byte order is b'middle'"),
    "compressed": (one(compression=zipfile.ZIP_DEFLATED), "encrypted or compressed"),
    "deep folders": (one(root="a/b"), r"expected one \*/data.pkl in the archive, found 0"),
    "no archive": (b"x" * 99, "not a state dict of PyTorch: BadZipFile"),
    "nothing": (b"", "not a state dict of PyTorch: BadZipFile"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_state_dict_that_claims_anything_else_is_refused(case: str) -> None:
    refused(read, *BAD[case])


def test_dicts_that_are_named_again_and_again_cost_little() -> None:
    code = b"\x80\x02}q\0" + text("x") + tensor() + b"s"
    for i in range(14):
        code += b"}q" + bytes([i + 1]) + b"(" + text("a") + b"h" + bytes([i]) + text("b") + b"h" + bytes([i]) + b"u"
    refused(read, archive(code + b"."), "more data than it holds")


def zipped(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, raw in members:
            made.writestr(name, raw)
    return file.getvalue()


def test_members_of_another_kind_are_refused() -> None:
    program = entries({"W": tensor()})
    refused(read, zipped(("a/data.pkl", program), ("b/data.pkl", program)), "found 2")
    refused(read, zipped(("a/data.pkl", program), ("b/data/0", SIX.tobytes())), "member 'b/data/0' is not in 'a/'")
    refused(read, zipped(("a/data.pkl", b"}."), ("x" * 1001, b"")), "a name of 1,001 characters")
    twice = bytearray(one())
    entry = twice.rindex(b"PK\1\2")
    twice[entry + 42 : entry + 46] = bytes(4)
    refused(read, bytes(twice), "begin at the same byte")
    claims = one().replace(b"\x18\0\0\0\x18\0\0\0", b"\xff\xff\xff\x7f\xff\xff\xff\x7f")
    assert claims != one()
    refused(read, claims, "claim more bytes than the file has")


def test_any_damage_gives_arrays_or_a_refusal() -> None:
    assert_mutations_refused(state_dict({"0.weight": np.ones((2, 3), np.float32), "0.bias": np.arange(2)}), 600)


@pytest.mark.torch
def test_any_damage_of_pytorchs_own_file_gives_arrays_or_a_refusal() -> None:
    import torch

    file = io.BytesIO()
    torch.save(modules()["sequential"].state_dict(), file)
    assert_mutations_refused(file.getvalue(), 400)


def assert_mutations_refused(data: bytes, count: int) -> None:
    """Bytes are changed in the file, and in its pickle, whose check sum then is right."""
    rng = random.Random(0)
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        members = [(name, made.read(name)) for name in made.namelist()]
    arrays = []

    def counted(changed: bytes) -> dict[str, np.ndarray]:
        found = read(changed)
        arrays.append(found)
        return found

    for i in range(count):
        changed: Callable[[bytes], bytes] = lambda raw: mutated(raw, rng)  # noqa: E731
        if i % 2:
            arrays_or_refused(counted, changed(data))
        else:
            pieces = [(name, changed(raw) if name.endswith("data.pkl") else raw) for name, raw in members]
            arrays_or_refused(counted, zipped(*pieces))
    assert 0 < len(arrays) < count


def mutated(data: bytes, rng: random.Random) -> bytes:
    kept = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(kept))
        kept[at : at + rng.randrange(3)] = rng.choice((b"", bytes([rng.randrange(256)]), b"\xff", kept[:4]))
    return bytes(kept)
