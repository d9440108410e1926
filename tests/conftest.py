"""The array libraries that the tests run on: one table; a skip says why.

Every test belongs to the libraries that it is marked with, each by the backend's name, so ``pytest -m jax`` runs
what JAX has to show. A test with several such marks is also ``several``; one without any is ``once``: it depends on
no array library but NumPy, and needs to run in one environment alone.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from array_api_extra.testing import lazy_xp_function, patch_lazy_xp_functions

from anyback import backends
from anyback._typing import Array, Namespace
from anyback.errors import BackendError

REQUIRED = {name.strip() for name in os.environ.get("ANYBACK_REQUIRE", "").split(",") if name.strip()}
#: Packages, beside the backends, that tests compare with, or that read a format.
PACKAGES = ("equinox", "flax", "h5py", "keras", "pandas", "sklearn")
if unknown := REQUIRED - {*backends.ROWS, *PACKAGES}:
    raise pytest.UsageError(f"ANYBACK_REQUIRE: unknown {unknown}; known: {', '.join([*backends.ROWS, *PACKAGES])}")

if os.environ.get("ANYBACK_DATA_DIR"):  # absolute, since some tests work in folders of their own
    os.environ["ANYBACK_DATA_DIR"] = str(Path(os.environ["ANYBACK_DATA_DIR"]).resolve())

#: A backend, or a variant that catches what plain NumPy hides.
ROWS = {
    "numpy": "numpy",
    "numpy-readonly": "numpy",  # nothing may write to its input
    "array_api_strict": "array_api_strict",  # nothing beyond the standard
    "array_api_strict-device1": "array_api_strict:device1",  # new arrays go where the input is; no way to the host
    "array_api_strict-no_float64": "array_api_strict:no_float64",  # as on devices that have none
    "jax": "jax",  # what a test module names in `lazy_xp_functions` runs under jit
    "torch": "torch",
    "dask": "dask",  # what a test module names in `lazy_xp_functions` may not compute
    "cupy": "cupy",
}


def libraries(*names: str, usable: bool = True) -> list[object]:
    """Return backends' names (all of them, if none is given) to run a test with, each marked with itself.

    Where `usable` is False, the test runs where the library is not.
    """
    return [pytest.param(name, marks=getattr(pytest.mark, name)(usable=usable)) for name in names or backends.ROWS]


os.environ.setdefault("KERAS_BACKEND", "torch")  # that of Keras is TensorFlow unless it is told

# -- Which tests belong to which library --------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    for name in backends.ROWS:
        config.addinivalue_line("markers", f"{name}: belongs to this library")


#: Modules whose examples need libraries beside NumPy: the mark of such tests, and the libraries.
EXAMPLES = {
    "anyback.sources.torch": ("torch", ["torch"]),
    "anyback.sources.sklearn": ("sklearn", ["sklearn"]),
    "anyback.sources.keras": ("sources", ["keras", "torch"]),
}


def mark_example(item: pytest.Item) -> None:
    """Mark the examples of a docstring with the library that they need, and skip them where it is missing."""
    module = ".".join(item.name.split(".")[:3])
    if isinstance(item, pytest.DoctestItem) and module in EXAMPLES:
        mark, wanted = EXAMPLES[module]
        item.add_marker(mark)
        # Here, since the hooks of this file at setup see no items of other folders.
        missing = [name for name in wanted if importlib.util.find_spec(name) is None]
        item.add_marker(pytest.mark.skipif(bool(missing), reason=f"could not import {missing}"))


def belongs_to(item: pytest.Item) -> set[str]:
    return {mark.name for mark in item.iter_markers() if mark.name in backends.ROWS}


@pytest.hookimpl(tryfirst=True)  # before pytest's own -m looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        mark_example(item)
        if item.path.parts[-2:] == ("anyback", "sklearn.py"):  # its examples
            item.add_marker("sklearn")
        names = belongs_to(item)
        if len(names) > 1:
            item.add_marker("several")
        elif not names and not {"several", "sklearn", "sources"} & {mark.name for mark in item.iter_markers()}:
            item.add_marker("once")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keep which libraries the test belongs to, and skip or fail it where one of them cannot be used."""
    _allowed.clear()
    _allowed.update(belongs_to(item))
    for mark in item.iter_markers():
        if mark.name in backends.ROWS and mark.kwargs.get("usable", True):
            usable(mark.name)


def needs(*packages: str) -> None:
    """Skip the test, or fail it where one is required, if one of these packages is not installed."""
    for name in packages:
        if name not in PACKAGES:
            pytest.fail(f"add {name} to PACKAGES, or ANYBACK_REQUIRE cannot name it")
        if importlib.util.find_spec(name) is None:
            (pytest.fail if name in REQUIRED else pytest.skip)(f"{name} is not installed")


#: The libraries that the test that is running is marked with.
_allowed: set[str] = set()


def usable(spec: str) -> backends.Backend:
    """Return a backend; skip the test, or fail it where the backend is required, if it cannot be used."""
    name = spec.partition(":")[0]
    if name not in _allowed:
        pytest.fail(f"mark this test with @pytest.mark.{name}, or no session of {name} collects it")
    found = _resolved(spec)
    if isinstance(found, backends.Backend):
        return found
    if name in REQUIRED:
        pytest.fail(f"ANYBACK_REQUIRE names {spec}, but {found}")
    pytest.skip(found)


@functools.cache  # finding out what is usable takes seconds
def _resolved(spec: str) -> backends.Backend | str:
    try:
        return backends.resolve(spec)
    except BackendError as error:
        return str(error).partition(". `anyback doctor`")[0]


def make_unusable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make a library one that cannot be used, whether it is there or not."""
    status = backends.Status(name, usable=False, reason="broken on purpose", remedy="mend it")
    monkeypatch.setattr(backends.ROWS[name], "status", lambda self: status)
    monkeypatch.setattr("anyback.backends._choice._working", set())


# -- One library, as a test uses it -------------------------------------------------------------------


@dataclass(frozen=True)
class Library:
    """One row: an array library as a test uses it."""

    id: str
    backend: backends.Backend
    readonly: bool = False
    dtypes: tuple[str, ...] = field(default=("float32", "float64"))

    @property
    def xp(self) -> Namespace:
        return self.backend.xp

    def asarray(self, values: object, dtype: str | None = "float32") -> Array:
        """Return an array of this library; `dtype` None keeps that of a NumPy array."""
        array = np.asarray(values) if dtype is None else np.asarray(values).astype(dtype)
        if self.readonly:
            array = array.copy()
            array.flags.writeable = False
        return self.backend.asarray(array)

    def to_numpy(self, x: Array) -> np.ndarray:
        assert type(backends.backend_of(x)) is type(self.backend), "the result left its library"
        assert self.backend.device in (None, self.backend.device_of(x)), "the result left its device"
        return backends.to_numpy(x)


@pytest.fixture(params=[pytest.param(row, marks=getattr(pytest.mark, ROWS[row].partition(":")[0])) for row in ROWS])
def lib(request: pytest.FixtureRequest) -> Iterator[Library]:
    """Run the test on each library of the table."""
    backend = usable(ROWS[request.param])
    dtypes = ["float16", "bfloat16", "float32", "float64"]
    if backend.name == "array_api_strict":
        dtypes = ["float32", "float64"]
    if backend.device == "no_float64" or (backend.name == "jax" and not _jax_has_x64()):
        dtypes.remove("float64")
    if backend.name == "cupy":
        dtypes.remove("bfloat16")
    library = Library(request.param, backend, request.param.endswith("readonly"), tuple(dtypes))
    with wrapped(request, backend.xp):
        yield library


@contextlib.contextmanager
def wrapped(request: pytest.FixtureRequest, xp: Namespace) -> Iterator[None]:
    """Wrap the `lazy_xp_functions` of the test's module, in that module and its `lazy_xp_modules`, for this test.

    The tags are taken off again: they sit on the functions themselves, and would have them wrapped in every other
    test module that imports one, so that its tests would run something else than what ships.
    """
    functions = getattr(request.module, "lazy_xp_functions", ())
    for function in functions:
        vars(function).update(vars(lazy_xp_tags()))  # an op refuses to be tagged the usual way
    try:
        with patch_lazy_xp_functions(request, xp=xp):
            yield
    finally:
        for function in functions:
            del vars(function)["_lazy_xp_function"]


def lazy_xp_tags() -> object:
    """Return a function with the tags alone that make a function one to wrap."""

    def tagged() -> None: ...

    lazy_xp_function(tagged)
    return tagged


def _jax_has_x64() -> bool:
    import jax

    return bool(jax.config.jax_enable_x64)


@pytest.fixture
def xp(lib: Library) -> Namespace:
    """The namespace of `lib`."""
    return lib.xp


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with MNIST's test files and the weights of two of the book's networks."""
    folder = os.environ.get("ANYBACK_DATA_DIR", "")
    names = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "sample_weight.pkl", "simple_convnet_params.pkl")
    if not folder or not all(Path(folder, name).is_file() for name in names):
        pytest.skip("MNIST is not at hand: set ANYBACK_DATA_DIR to a folder with " + ", ".join(names))
    return Path(folder)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the caller's choice of backend and precision out of the tests."""
    monkeypatch.delenv("ANYBACK_BACKEND", raising=False)
    monkeypatch.delenv("ANYBACK_PRECISION", raising=False)
