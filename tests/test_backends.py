"""Backends: chosen, probed, moved between, never mixed, never replaced in silence."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Library, libraries, make_unusable, usable

import anyback as ab
from anyback import backends
from anyback._typing import Array, Device
from anyback.backends import _availability, _table
from anyback.backends.base import Backend, Status, Unusable
from anyback.errors import AnybackError, BackendError, DataError
from anyback.ops import OPS


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    import os

    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_every_backend_has_a_status_that_says_what_to_do() -> None:
    found = backends.available_backends()  # each tried in a process of its own
    assert list(found) == list(backends.ROWS)
    for name, status in found.items():
        assert status.name == name
        if status.usable:
            assert status.version
            assert status.devices
            assert status.reason is None
        else:
            assert status.reason
            assert status.remedy
        assert json.loads(json.dumps(dataclasses.asdict(status)))["name"] == name
    assert found["numpy"].usable


def test_probing_imports_nothing_into_this_process() -> None:
    code = """
import sys, anyback
heavy = {"jax", "torch", "dask", "cupy", "array_api_strict", "matplotlib", "requests", "rich", "typer"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
anyback.available_backends()
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_a_probe_that_raises_or_computes_wrongly_is_a_reason() -> None:
    class Broken(Backend):
        name, package, namespace = "broken", "numpy", "array_api_compat.numpy"

        def first_kernel(self) -> None:
            raise SystemError("no kernel image\nand more")

    class Wrong(Broken):
        def first_kernel(self) -> None:
            Backend.first_kernel(self)

        def to_numpy(self, x: object) -> np.ndarray:
            return np.asarray(27)

    status = Broken().status()
    assert not status.usable
    assert status.reason == "does not work: SystemError: no kernel image"
    assert "wrong sums" in str(Wrong().status().reason)


def test_a_probe_that_crashes_its_process_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_availability, "_tried", {})
    monkeypatch.setattr(_availability, "_CHILD", "import os; os.abort()")
    status = backends.available_backends()["jax"]
    assert not status.usable
    assert "crashed" in str(status.reason)


class CUDARuntimeError(Exception):
    """As CuPy raises it."""


@pytest.mark.parametrize(
    ("driver", "count", "reason"),
    [
        (False, 1, "installed, but there is no NVIDIA driver"),
        (True, CUDARuntimeError("too old"), "the NVIDIA driver offers no device: CUDARuntimeError: too old"),
        (True, 0, "the NVIDIA driver lists no device"),
        (True, 1, "the device is there, but a first kernel fails: OSError: no nvrtc"),
    ],
)
def test_cupy_says_which_step_is_missing(
    driver: bool, count: int | Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count_devices() -> int:
        if isinstance(count, Exception):
            raise count
        return count

    def fail(self: object) -> None:
        raise OSError("no nvrtc")

    cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDeviceCount=count_devices, CUDARuntimeError=CUDARuntimeError),
        MemoryPool=lambda: SimpleNamespace(malloc=None),
        using_allocator=contextlib.nullcontext,
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr("anyback.backends.cupy._driver_is_there", lambda: driver)
    monkeypatch.setattr(backends.ROWS["cupy"], "version", lambda self: "14.0")
    monkeypatch.setattr(backends.ROWS["cupy"], "first_kernel", fail)
    status = backends.ROWS["cupy"]().status()
    assert (status.usable, status.version, status.reason) == (False, "14.0", reason)
    assert status.remedy


@pytest.mark.cupy(usable=False)
def test_cupy_works_or_misses_the_driver() -> None:
    pytest.importorskip("cupy", reason="cupy is not installed")
    status = backends.ROWS["cupy"]().status()
    if shutil.which("nvidia-smi") is None:
        assert (status.usable, status.reason) == (False, "installed, but there is no NVIDIA driver")
    else:
        assert status.usable, status.reason
        assert status.devices[0].startswith("cuda:")


def test_a_package_that_is_not_there_names_the_command() -> None:
    class Absent(Backend):
        name, package, extra, namespace = "absent", "anyback-no-such-package", "absent", "no_such_module"

    status = Absent().status()
    assert (status.usable, status.version) == (False, None)
    assert status.reason == "anyback-no-such-package is not installed"
    assert status.remedy == "pip install 'anyback[absent]'"
    with pytest.raises(Unusable):
        Absent().version()


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(BackendError, match="unknown backend 'nunpy'; known: numpy, cupy, jax"):
        ab.asarray([1.0], backend="nunpy")
    with pytest.raises(BackendError, match=r"no device 'cuda:7' here; known: numpy:cpu"):
        ab.asarray([1.0], backend="numpy:cuda:7")
    with pytest.raises(BackendError, match="expected a backend's name"):
        ab.asarray([1.0], backend=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in backends.ROWS if name != "numpy"])
def test_an_unusable_backend_is_an_error_and_never_replaced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_unusable(monkeypatch, name)
    with pytest.raises(
        BackendError, match=rf"^{name} cannot be used: broken on purpose\..+ `anyback doctor` says what works"
    ):
        ab.load_model("digits-mlp", backend=name)


def test_asking_for_a_missing_backend_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(Backend):
        name, package, extra, namespace = "absent", "anyback-no-such-package", "absent", "no_such_module"

    def started(row: type[Backend]) -> Status:
        raise AssertionError(f"a process was started for {row.name}")

    monkeypatch.setattr(_availability, "_tried", {})
    monkeypatch.setattr(_availability, "_status_of", started)
    monkeypatch.setitem(backends.ROWS, "absent", Absent)
    said = "absent cannot be used: .* is not installed. pip install .* `anyback doctor` says what works here"
    with pytest.raises(BackendError, match=said):
        backends.resolve("absent")


def test_what_works_is_tried_once_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def tried(row: type[Backend]) -> Status:
        started.append(row.name)
        time.sleep(0.02)
        return Status(row.name, row.name == "numpy", "1", ("cpu",))

    monkeypatch.setattr(_availability, "_tried", {})
    monkeypatch.setattr(_availability, "_status_of", tried)
    with ThreadPoolExecutor(4) as pool:
        found = [job.result() for job in [pool.submit(backends.available_backends) for _ in range(4)]]
    assert str(backends.resolve("auto")) == "numpy"
    found[0].clear()  # the caller's own
    assert list(backends.available_backends()) == list(backends.ROWS)
    assert sorted(started) == sorted(backends.ROWS)


# -- A row that a program adds --


class Boxed:
    """NumPy's numbers as the arrays of a library that nobody knows."""

    device = "cpu"

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        return boxes

    def to_device(self, device: Any, stream: Any = None) -> Boxed:
        return self

    def __getattr__(self, name: str) -> Any:
        if name not in ("dtype", "shape", "ndim"):
            raise AttributeError(name)
        return getattr(self.x, name)


def boxing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of NumPy as one of boxed arrays."""

    def opened(a: Any) -> Any:
        if isinstance(a, list | tuple) and any(isinstance(part, Boxed) for part in a):
            return [opened(part) for part in a]
        return a.x if isinstance(a, Boxed) else a

    def boxed(*args: Any, **kwargs: Any) -> Any:
        y = function(*map(opened, args), **kwargs)
        return Boxed(np.asarray(y)) if isinstance(y, (np.ndarray, np.generic)) else y

    return boxed


for operator in ("add", "radd", "sub", "mul", "truediv", "neg", "getitem", "setitem", "bool"):
    setattr(Boxed, f"__{operator}__", boxing(getattr(np.ndarray, f"__{operator}__")))


def boxes_have(name: str) -> Any:
    """Return what the namespace of boxed arrays has by this name."""
    found = getattr(backends.array_namespace(np.ones(1)), name)
    return found if isinstance(found, type) else boxing(found)


boxes = ModuleType("boxes")
boxes.__getattr__ = boxes_have  # type: ignore[method-assign]


def box_row() -> type[Backend]:
    """Return a row for boxed arrays, each time another class."""

    class Boxes(Backend):
        name, namespace, xp = "boxes", "boxes", boxes  # type: ignore[assignment]

        def version(self) -> str:
            return "1.0"

        def from_numpy(self, x: np.ndarray, device: Device) -> Array:
            return Boxed(x)

        def to_numpy(self, x: Array) -> np.ndarray:
            return x.x

    return Boxes


def test_a_row_that_a_program_adds_is_one_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    net, images = ab.load_model("digits-mlp", backend="numpy"), ab.datasets.digits("test").images[:20]
    before = backends.backend_of(Boxed(np.ones(2)))
    Boxes = box_row()
    monkeypatch.setitem(backends.ROWS, "boxes", Boxes)
    x = ab.asarray([1.0, 2.0], dtype="float32", backend="boxes:cpu")
    assert type(backends.backend_of(x)) is Boxes
    assert backends.backend_of(x, device=True) == Boxes("cpu") == backends.resolve("boxes:cpu")
    assert ab.to_numpy(x).tolist() == [1.0, 2.0]
    with ab.use_backend("boxes"):
        boxed = ab.load_model("digits-mlp")
    assert boxed.backend == Boxes("cpu")
    np.testing.assert_allclose(ab.to_numpy(boxed(ab.asarray(images, backend="boxes"))), net(images), atol=2e-6)
    np.testing.assert_allclose(ab.to_numpy(ab.predict(net.to("boxes"), images)), ab.predict(net, images), atol=2e-6)
    with pytest.raises(BackendError, match="arrays of boxes and numpy do not mix"):
        backends.array_namespace(x, images)
    monkeypatch.undo()
    assert backends.backend_of(x) is before
    with pytest.raises(BackendError, match="unknown backend 'boxes'"):
        backends.resolve("boxes")


def test_a_row_that_takes_the_place_of_another_is_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in (box_row(), box_row()):
        monkeypatch.setitem(backends.ROWS, "boxes", row)
        assert type(backends.backend_of(Boxed(np.ones(2)))) is row
        assert type(backends.resolve("boxes")) is row


def test_a_row_that_a_program_adds_is_tried_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(name: str) -> Status:
        raise AssertionError(f"a process was started for {name}")

    monkeypatch.setattr(_availability, "_tried", {row: Status(name, False) for name, row in backends.ROWS.items()})
    monkeypatch.setattr(_availability, "_status_in_child", started)
    monkeypatch.setitem(backends.ROWS, "boxes", box_row())
    found = backends.available_backends()
    assert list(found) == list(backends.ROWS)
    assert found["boxes"] == Status("boxes", True, "1.0", ("cpu",))


@pytest.mark.array_api_strict
def test_the_environment_is_read_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(ab.get_backend()) == "numpy"
    monkeypatch.setenv("ANYBACK_BACKEND", "array_api_strict:device1")
    assert ab.asarray([1.0]).device == ab.get_backend().device_object()
    monkeypatch.setenv("ANYBACK_BACKEND", "no-such")
    with pytest.raises(BackendError, match="ANYBACK_BACKEND=no-such: unknown backend"):
        ab.get_backend()


@pytest.mark.array_api_strict
def test_a_keyword_wins_over_the_context_which_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANYBACK_BACKEND", "array_api_strict")
    assert str(ab.get_backend()) == "array_api_strict"
    with ab.use_backend("numpy") as inner:
        assert str(inner) == str(ab.get_backend()) == "numpy"
        with ab.use_backend("array_api_strict:device2"):
            assert str(ab.get_backend()) == "array_api_strict:device2"
            assert isinstance(ab.asarray([1.0], backend="numpy"), np.ndarray)
        assert str(ab.get_backend()) == "numpy"
    assert str(ab.get_backend()) == "array_api_strict"


@pytest.mark.array_api_strict
def test_the_context_ends_with_an_exception_and_stays_in_its_thread() -> None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(str(ab.get_backend())))

    def fail_inside() -> None:
        with ab.use_backend("array_api_strict"):
            thread.start()
            thread.join()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert seen == ["numpy"]
    assert str(ab.get_backend()) == "numpy"


def test_auto_says_what_it_chose(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="anyback"), ab.use_backend("auto") as chosen:
        assert chosen.name in caplog.text
        devices = [d for s in backends.available_backends().values() if s.usable for d in s.devices]
        assert (chosen.name == "numpy") == all(d.startswith(("cpu", "CPU", "device", "no_")) for d in devices)


# -- Names that people type --


TYPED = {
    "PyTorch": "torch",
    "pytorch:cpu": "torch:cpu",
    "TORCH": "torch",
    "JAX": "jax",
    " Jax ": "jax",
    "Numpy": "numpy",
    "np": "numpy",
    "NumPy": "numpy",
    "CuPy:1": "cupy:1",
    "Dask": "dask",
    "array-api-strict": "array_api_strict",
    "array_api_strict:device1": "array_api_strict:device1",
    "strict": "array_api_strict",
    "MPS": "torch:mps",
    "tpu:0": "jax:tpu:0",
    "AUTO": "auto",
    "GPU": "gpu",
    "nonsense": "nonsense",
}


@pytest.mark.parametrize("typed", TYPED)
def test_a_name_that_is_typed_means_one_backend(typed: str) -> None:
    assert backends.meant(typed.strip()) == TYPED[typed]
    assert backends.meant(TYPED[typed]) == TYPED[typed]


def test_a_row_of_a_program_keeps_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.ROWS, "GPU", backends.ROWS["numpy"])
    assert backends.meant("GPU") == "GPU"
    assert backends.resolve("GPU").name == "numpy"


def test_typed_names_are_taken_wherever_a_backend_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(ab.load_model("digits-mlp", backend="Numpy").to("NUMPY").backend) == "numpy:cpu"
    with ab.use_backend("NumPy") as chosen:
        assert chosen.name == "numpy"
    monkeypatch.setenv("ANYBACK_BACKEND", "NumPy")
    assert ab.get_backend().name == "numpy"
    monkeypatch.setenv("ANYBACK_BACKEND", "Tensorflow")
    with pytest.raises(
        BackendError, match="ANYBACK_BACKEND=Tensorflow: unknown backend 'Tensorflow'; its networks run"
    ):
        ab.get_backend()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("tensorflow", "its networks run here on another library, from an ONNX file; known: numpy"),
        ("Keras", "its networks run here on another library, from an ONNX file"),
        ("mlx", "anyback computes on no arrays of MLX; 'torch:mps' runs on the same machines"),
        ("cpu", "every library runs there: 'numpy', 'torch:cpu' and 'jax:cpu' do"),
        ("onnx", "an ONNX file is loaded by anyback.load_model"),
        ("cuda:1", "name a library in front of the device, such as 'torch:cuda:1' or 'cupy:1'"),
        ("gpu:0", "such as 'torch:cuda:0' or 'cupy:0'"),
        ("auto:1", "unknown backend 'auto'; known: "),
    ],
)
def test_a_name_that_is_no_backend_is_answered_with_what_to_write(typed: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        backends.resolve(typed)


@pytest.mark.parametrize("typed", ["cuda", "gpu", "GPU"])
def test_an_accelerator_is_the_first_that_works_and_never_a_cpu(
    typed: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def tried(row: type[Backend]) -> Status:
        devices = {"jax": ("cpu:0",), "array_api_strict": ("cuda:0", "CPU_DEVICE")}
        return Status(row.name, row.name in works, "1", devices.get(row.name, ("cpu",)))

    monkeypatch.setattr(_availability, "_status_of", tried)
    works = ["numpy", "jax"]
    monkeypatch.setattr(_availability, "_tried", {})
    with pytest.raises(
        BackendError, match=rf"backend '{typed.lower()}': no library works on such a device here\. `any"
    ):
        backends.resolve(typed)
    works.append("array_api_strict")
    monkeypatch.setattr(_availability, "_tried", {})
    with (
        caplog.at_level(logging.WARNING, logger="anyback"),
        contextlib.suppress(BackendError),  # array-api-strict has no such device
    ):
        backends.resolve(typed)
    assert f"backend {typed.lower()} chose array_api_strict:cuda:0" in caplog.text


@pytest.mark.array_api_strict
def test_a_process_takes_the_backend_from_its_environment() -> None:
    code = "import anyback as ab; print(ab.load_model('digits-mlp').backend)"
    assert run_python(code, ANYBACK_BACKEND="array_api_strict").stdout.strip() == "array_api_strict:CPU_DEVICE"


def test_asarray_moves_there_and_back(lib: Library) -> None:
    for dtype in ("float32", "int32", "uint8", "bool"):
        x = np.asarray([[0, 1], [2, 3]]).astype(dtype)
        y = ab.asarray(x, backend=lib.backend)
        assert backends.dtype_name(y.dtype) == dtype
        np.testing.assert_array_equal(lib.to_numpy(y), x)
        again = ab.asarray(y, backend=lib.backend)
        np.testing.assert_array_equal(lib.to_numpy(again), x)
        np.testing.assert_array_equal(ab.asarray(y, backend="numpy"), x)


def test_lists_take_the_default_float_of_the_library(lib: Library) -> None:
    y = ab.asarray([1.0, 0.5], backend=lib.backend)
    device = y.device if lib.backend.name == "array_api_strict" else None
    assert y.dtype == lib.xp.__array_namespace_info__().default_dtypes(device=device)["real floating"]
    np.testing.assert_array_equal(lib.to_numpy(y), [1.0, 0.5])


def test_asarray_casts_when_asked(lib: Library) -> None:
    y = ab.asarray(np.asarray([1, 2]), dtype="float32", backend=lib.backend)
    assert backends.dtype_name(y.dtype) == "float32"
    with pytest.raises(DataError, match="no dtype 'float31'"):
        ab.asarray([1.0], dtype="float31", backend=lib.backend)


@pytest.mark.parametrize("name", libraries("jax", "torch"))
def test_bfloat16_keeps_its_bits_on_the_way(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="NumPy's bfloat16 comes from ml_dtypes")
    x = np.asarray([1.0, -2.5, 3e38, np.inf], dtype=ml_dtypes.bfloat16)
    y = ab.asarray(x, backend=name)
    assert backends.dtype_name(y.dtype) == "bfloat16"
    np.testing.assert_array_equal(ab.to_numpy(y).view(np.uint16), x.view(np.uint16))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (["a", "b"], "expected an array of numbers"),
        ([[1.0, 2.0], [3.0]], "ragged"),
        (np.asarray([object()]), "expected an array of numbers"),
        (np.asarray([1j]), "expected an array of numbers, found dtype complex128"),
        (None, "expected an array of numbers"),
    ],
)
def test_what_is_no_number_is_a_data_error(bad: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ab.asarray(bad)


@pytest.mark.array_api_strict
def test_arrays_of_two_libraries_never_mix() -> None:
    strict = usable("array_api_strict").xp
    with pytest.raises(BackendError, match=r"arrays of numpy and array_api_strict do not mix.*asarray"):
        backends.array_namespace(np.ones(2), strict.ones(2))


@pytest.mark.jax
def test_jax_never_drops_bits_in_silence() -> None:
    import jax

    with jax.enable_x64(False):
        with pytest.raises(BackendError, match=r"jax has no float64 unless it is enabled; pass x.astype\('float32'\)"):
            ab.asarray(np.ones(2), backend="jax")
        with pytest.raises(BackendError, match="int32 does not hold the values"):
            ab.asarray(np.asarray([2**40]), backend="jax")
        assert ab.asarray(np.asarray([7]), backend="jax").dtype == "int32"


@pytest.mark.array_api_strict
def test_an_unlisted_library_works_by_the_defaults() -> None:
    backend = _table._unlisted(usable("array_api_strict").xp)
    assert backend.name == "array_api_strict"
    x = backend.from_numpy(np.ones(3, dtype=np.float32), None)
    assert float(backend.xp.sum(OPS["erfc"].bound(backend)(x - 1))) == pytest.approx(3, rel=1e-6)


def test_precision_is_a_known_name_that_the_device_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    x = ab.datasets.digits("test").images
    with pytest.raises(BackendError, match="numpy:cpu does not offer precision 'tf32' here; it offers: highest"):
        ab.predict(net, x, precision="tf32")
    with pytest.raises(BackendError, match="unknown precision 'half'; known: highest, tf32, bf16"):
        ab.predict(net, x, precision="half")
    monkeypatch.setenv("ANYBACK_PRECISION", "nope")
    with pytest.raises(BackendError, match="unknown precision 'nope'"):
        net(x[0])


@pytest.mark.jax
def test_jax_multiplies_at_full_precision_and_leaves_the_users_setting_alone() -> None:
    import jax

    net = ab.load_model("digits-mlp", backend="jax")
    x = ab.asarray(ab.datasets.digits("test").images[:4], backend="jax")
    text = str(jax.make_jaxpr(net)(x))
    assert text.count("HIGHEST") >= 3
    before = jax.config.jax_default_matmul_precision
    with jax.default_matmul_precision("bfloat16"):
        assert "HIGHEST" in str(jax.make_jaxpr(net)(x))
        assert jax.config.jax_default_matmul_precision == "bfloat16"
    assert jax.config.jax_default_matmul_precision == before


@pytest.mark.torch
def test_torch_settings_hold_inside_and_are_put_back() -> None:
    backend = usable("torch")
    import torch

    x = torch.full((256, 256), 1 + 2.0**-12)
    exact = 256 * (1 + 2.0**-12) ** 2
    before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    torch.set_float32_matmul_precision("medium")
    try:
        users = torch.matmul(x, x)[0, 0]
        with backends.scope(backend, "highest"), backend.one_thread():
            assert torch.matmul(x, x)[0, 0] == pytest.approx(exact, rel=1e-6)
            assert torch.backends.mkldnn.conv.fp32_precision in ("ieee", "none")
            assert torch.get_num_threads() == 1
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.matmul(x, x)[0, 0] == users
    finally:
        torch.set_float32_matmul_precision(before[0])
    assert torch.get_num_threads() == before[1]


@pytest.mark.torch
@pytest.mark.parametrize(("kind", "name"), [("cpu", "mkldnn"), ("cuda", "cudnn")])
def test_torch_holds_the_switches_of_the_device_that_computes(kind: str, name: str) -> None:
    usable("torch")
    import torch

    from anyback.backends.torch import _products_on

    switches = [getattr(torch.backends, library).conv for library in ("mkldnn", "cudnn")]
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "tf32"
        with _products_on(kind).held("highest"):
            held = [switch.fp32_precision for switch in switches]
        assert held == ["ieee" if library == name else "tf32" for library in ("mkldnn", "cudnn")]
        assert [switch.fp32_precision for switch in switches] == ["tf32", "tf32"]
    finally:
        for switch, setting in zip(switches, before, strict=True):
            switch.fp32_precision = setting


@pytest.mark.torch
def test_torch_rounds_to_bfloat16_where_that_is_offered_and_asked_for() -> None:
    backend = usable("torch")
    import torch

    if "bf16" not in backend.offered():
        pytest.skip("this processor does not multiply in bfloat16")
    x = torch.full((256, 256), 1 + 2.0**-12)
    with backends.scope(backend, "bf16"):
        assert torch.matmul(x, x)[0, 0] == 256
    assert torch.matmul(x, x)[0, 0] > 256


def test_every_error_is_anybacks_own_type() -> None:
    for kind in (BackendError, DataError, ab.WeightsError, ab.ShapeError):
        assert issubclass(kind, AnybackError)


def test_a_setting_is_put_back_by_the_last_who_holds_it() -> None:
    from anyback.backends._settings import Setting

    state = ["users"]

    def change(value: str) -> Callable[[], object]:
        before, state[0] = state[0], value
        return lambda: state.__setitem__(0, before)

    setting = Setting("the state", change)
    first, second = setting.held("ours"), setting.held("ours")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert state == ["ours"]
    with pytest.raises(BackendError, match=r"the state is one setting for the whole process.*'other' has to wait"):
        setting.held("other").__enter__()
    second.__exit__(None, None, None)
    assert state == ["users"]


@pytest.mark.jax
def test_arrays_made_on_jax_do_not_follow_what_they_were_made_of() -> None:
    for size in (3, 64, 4096, 100_000):
        x = np.ones(size, dtype=np.float32)
        y = ab.asarray(x, backend="jax")
        x[:] = 0
        assert float(y.sum()) == size


@pytest.mark.torch
def test_shapes_without_numbers_cannot_be_looked_at() -> None:
    with pytest.raises(BackendError, match="torch:meta computes shapes alone"):
        ab.to_numpy(ab.asarray(np.ones(2, dtype=np.float32), backend="torch:meta"))
