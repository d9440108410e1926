"""Platforms that the tests do not run on, imitated: a table, each row with what it imitates.

A row without a check is what cannot be imitated; it is skipped, and says why.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib.util
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import anyback as ab
from anyback import _files
from anyback.backends import _blas, _machine
from anyback.bench import _clock
from anyback.cli import _main, _output, _targets
from anyback.datasets import _download
from anyback.layers import Linear, Sequential

Patch = pytest.MonkeyPatch


def in_a_process(script: str, *options: str, encoding: str = "utf-8", **environment: str) -> str:
    """Return what a script prints in a process of its own, which must end without a word on standard error."""
    path = os.pathsep.join(filter(None, (str(Path(ab.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, *options, "-c", script],
        capture_output=True,
        env={**os.environ, "ANYBACK_BACKEND": "numpy", "PYTHONPATH": path, **environment},
        check=False,
    )
    assert (done.returncode, done.stderr.decode(errors="replace")) == (0, "")
    return done.stdout.decode(encoding)


# -- A browser ----------------------------------------------------------------------------------------

#: Run before everything else. Seen in Pyodide 314: the modules from resource to grp are missing, and a thread
#: and a process fail with these errors. The other modules are those that nothing here may need.
BROWSER = """
import errno, importlib.abc, os, subprocess, sys, threading, _thread

MISSING = {*"resource curses readline msvcrt pwd grp".split()}
MISSING |= {*"fcntl termios ssl _ssl sqlite3 filelock platformdirs requests urllib3 typer rich h5py ml_dtypes".split()}
MISSING |= {*"torch jax dask cupy array_api_strict".split()}

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def no_thread(*args, **kwargs):
    raise RuntimeError("can't start new thread")

def no_process(*args, **kwargs):
    raise OSError(errno.ENOSYS, "emscripten does not support processes.")

sys.meta_path.insert(0, Missing())
threading.Thread.start = _thread.start_new_thread = no_thread
subprocess.Popen.__init__ = no_process
for name in ("sched_getaffinity", "sched_setaffinity", "fork"):
    if hasattr(os, name):
        delattr(os, name)
os.cpu_count = lambda: 1

import threadpoolctl
threadpoolctl.ThreadpoolController._load_libraries = lambda self: None
"""

DIGITS = """
import warnings
import anyback as ab
net = ab.load_model("digits-mlp")
test = ab.datasets.digits("test")
sys.stderr, sys.stdout.isatty = sys.stdout, lambda: True  # a terminal, so that there is a bar
with warnings.catch_warnings(action="error"):
    y = ab.predict(net, test.images, batch_size=1, workers=3, progress=True)
sys.stderr = sys.__stderr__
assert y.tobytes() == ab.predict(net, test.images).tobytes()
result = ab.evaluate(net, test.images, test.labels)
assert ab.certify(net, test.images[:3]).decided.all()
path = os.path.join(os.environ["FOLDER"], "net.safetensors")
net.save(path)
assert ab.predict(ab.load_model(path), test.images).tobytes() == y.tobytes()
assert {name for name, status in ab.available_backends().items() if status.usable} == {"numpy"}
"""

PLOTS = """
import matplotlib
matplotlib.use("agg")
ab.plots.plot_activation("sigmoid")
ab.plots.plot_network(net)
ab.plots.plot_weights(net)
ab.plots.plot_batch(net)
ab.plots.plot_images(test.images[:4], test.labels[:4])
ab.plots.plot_probabilities(test.images[0], y[0], 3)
ab.plots.plot_confusion(result).figure.canvas.draw()
"""


def a_browser(patch: Patch, folder: Path) -> None:
    environment = {"FOLDER": str(folder)}
    if plots := importlib.util.find_spec("matplotlib") is not None:
        import matplotlib.font_manager  # starts a thread where it knows no fonts yet, except in a browser

        environment["MPLCONFIGDIR"] = matplotlib.get_cachedir()  # where it has written them
    script = f"{BROWSER}{DIGITS}{PLOTS if plots else ''}print(f'\\n{{result.accuracy}} {{y.sum()}}')"
    accuracy, total = in_a_process(script, **environment).split()[-2:]
    net, test = ab.load_model("digits-mlp", backend="numpy"), ab.datasets.digits("test")
    assert float(accuracy) == ab.evaluate(net, test.images, test.labels).accuracy
    assert float(total) == pytest.approx(float(ab.predict(net, test.images).sum()))


def a_download_in_a_browser(patch: Patch, folder: Path) -> None:
    script = f"""{BROWSER}
import anyback as ab
try:
    ab.datasets.mnist("test")
except ab.DataError as error:
    print(error)
"""
    said = in_a_process(script, ANYBACK_DATA_DIR=str(folder)).splitlines()
    assert len(said) == 1
    assert "requests is missing here" in said[0]
    assert f"put the file into {folder} by hand" in said[0]


# -- Threads, processes and cores ---------------------------------------------------------------------


def digits_by(workers: int) -> bytes:
    net, test = ab.load_model("digits-mlp", backend="numpy"), ab.datasets.digits("test")
    x = np.concatenate([test.images] * 20)
    return ab.predict(net, x, batch_size=2000, workers=workers).tobytes()


def no_more_threads(patch: Patch, folder: Path) -> None:
    expected, start, started = digits_by(1), threading.Thread.start, []

    def limited(self: threading.Thread) -> None:
        if len(started) == 1:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    patch.setattr(threading.Thread, "start", limited)
    assert digits_by(3) == expected
    assert len(started) == 1


def no_list_of_cores(patch: Patch, folder: Path) -> None:
    for name in ("sched_getaffinity", "sched_setaffinity"):
        patch.delattr(os, name, raising=False)
    patch.setattr(os, "cpu_count", lambda: 6)
    patch.delenv("ANYBACK_BENCH_CORES", raising=False)
    assert _machine.usable_cores() == 6
    assert _clock.cores() == [0, 1, 2, 3, 4, 5]
    with _clock.pinned(2) as environment:
        assert environment["VECLIB_MAXIMUM_THREADS"] == environment["OMP_NUM_THREADS"] == "2"
    patch.setattr(os, "cpu_count", lambda: None)
    assert _machine.usable_cores() == 1


def no_list_of_flags(patch: Patch, folder: Path) -> None:
    read = Path.read_text

    def without_proc(self: Path, *args: Any, **options: Any) -> str:
        if self.parts[:2] == (os.sep, "proc"):
            raise FileNotFoundError
        return read(self, *args, **options)

    patch.setattr(Path, "read_text", without_proc)
    assert _machine.cpu_flags() == frozenset()
    assert _machine.kernels_advice() == ""
    assert _machine.environment.__wrapped__()["processor"]


def spawned(patch: Patch, folder: Path) -> None:
    net = ab.load_model("digits-mlp", backend="numpy")
    (folder / "net.pkl").write_bytes(pickle.dumps(net))
    x = ab.datasets.digits("test").images
    script = "import os, pickle, sys; net = pickle.load(open(os.environ['NET'], 'rb')); import anyback as ab; \
print(ab.predict(net, ab.datasets.digits('test').images).tobytes().hex())"
    assert in_a_process(script, NET=str(folder / "net.pkl")).strip() == ab.predict(net, x).tobytes().hex()


# -- BLAS ---------------------------------------------------------------------------------------------


class OfAThread(threading.local):
    """The switch of a BLAS that each thread has for itself."""

    threads = 4

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, num_threads: int) -> None:
        self.threads = num_threads


class OfTheProcess(OfAThread):
    threads = 4

    def __setattr__(self, name: str, value: int) -> None:
        setattr(OfTheProcess, name, value)


@contextlib.contextmanager
def blas(patch: Patch, *libraries: object, name: str = "") -> Iterator[None]:
    """NumPy multiplies with these libraries, which threadpoolctl finds, and says that it was built with `name`."""
    found = SimpleNamespace(lib_controllers=libraries)
    patch.setattr(threadpoolctl, "ThreadpoolController", lambda: found)
    patch.setattr(threadpoolctl, "threadpool_info", list)
    patch.setattr(_blas, "_built_with", lambda: name)
    _blas._found.cache_clear()
    try:
        yield
    finally:
        patch.undo()
        _blas._found.cache_clear()


def threads_seen(library: OfAThread) -> set[tuple[bool, int]]:
    """Return how many threads a layer would multiply with, beside whether that is in the main thread."""
    seen = set()

    def look(x: Any) -> Any:
        seen.add((threading.current_thread() is threading.main_thread(), library.get_num_threads()))
        return x

    net = Sequential(Linear(np.ones((2, 2), np.float32), np.zeros(2, np.float32)), look)
    ab.predict(net, np.ones((20_000, 2), np.float32), batch_size=2000, workers=3)
    return {each for each in seen if not each[0]}


def blas_of_a_thread(patch: Patch, folder: Path) -> None:
    library = OfAThread()
    library.user_api = OfAThread.user_api = "blas"  # type: ignore[attr-defined]
    with blas(patch, library):
        assert _blas._libraries() == ((), (library,), (library,))
        assert threads_seen(library) == {(False, 1)}
        assert library.get_num_threads() == 4, "it was not put back"
        library.set_num_threads(1)  # as in a scope of the caller's
        _blas._found.cache_clear()
        assert _blas._libraries() == ((), (library,), (library,))
        assert threads_seen(library) == {(False, 1)}


def blas_of_the_process(patch: Patch, folder: Path) -> None:
    OfAThread.user_api = "blas"  # type: ignore[attr-defined]
    library = OfTheProcess()
    with blas(patch, library):
        assert _blas._libraries() == ((library,), (), (library,))
        assert threads_seen(library) == {(False, 1)}
        assert library.get_num_threads() == 4, "it was not put back"


class Accelerate:
    """What Apple's library offers from macOS 15 on."""

    model = 0

    def BLASGetThreading(self) -> int:
        return self.model

    def BLASSetThreading(self, model: ctypes.c_uint) -> int:
        self.model = model.value
        return 0


def accelerate(patch: Patch, folder: Path) -> None:
    library = Accelerate()
    patch.setattr(sys, "platform", "darwin")
    patch.setattr(ctypes, "CDLL", lambda path: library)
    with blas(patch, name="accelerate"):
        assert _blas.blas_name() == "accelerate"
        assert _blas.threads_advice() == ""
        with _blas.one_blas_thread():
            assert library.model == 1
        assert library.model == 0


def accelerate_without_a_switch(patch: Patch, folder: Path) -> None:
    patch.setattr(sys, "platform", "darwin")
    patch.setattr(ctypes, "CDLL", lambda path: SimpleNamespace())
    with blas(patch, name="accelerate"):
        assert "set in the environment before Python starts" in _blas.threads_advice()
        assert "VECLIB_MAXIMUM_THREADS=1" in _blas.threads_advice()


def no_blas(patch: Patch, folder: Path) -> None:
    with blas(patch):
        assert _blas.threads_advice() == ""
        assert _blas.blas_name() == "none: NumPy's own loops"
        assert digits_by(2) == digits_by(1)


# -- Files and file systems ---------------------------------------------------------------------------


def open_elsewhere_for_a_moment(patch: Patch, folder: Path) -> None:
    rename, left = Path.replace, [3]

    def refused(self: Path, target: Path) -> Path:
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "Access is denied")
        return rename(self, target)

    patch.setattr(sys, "platform", "win32")
    patch.setattr(Path, "replace", refused)
    patch.setattr(time, "sleep", lambda seconds: None)
    path = folder / "out"
    path.write_bytes(b"old")
    with _files.replacing(path, ab.DataError) as part:
        part.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    left[0] = 1000
    with pytest.raises(ab.DataError, match="out cannot be written: Access is denied"):  # noqa: SIM117
        with _files.replacing(path, ab.DataError) as part:
            part.write_bytes(b"newer")
    assert [each.name for each in folder.iterdir()] == ["out"]
    assert path.read_bytes() == b"new"


def no_locks(patch: Patch, folder: Path) -> None:
    import filelock

    class NoLocks(filelock.FileLock):
        def acquire(self, *args: Any, **options: Any) -> Any:
            raise NotImplementedError("FileSystem does not appear to support flock")

    patch.setattr(filelock, "FileLock", NoLocks)
    patch.setattr(_download, "_from_mirrors", lambda path, file: path.write_bytes(b"all of it"))
    path = folder / "downloads" / "t10k-labels-idx1-ubyte.gz"
    _download._download(path, _download.FILES[path.name])
    assert path.read_bytes() == b"all of it"


def one_file_in_two_cases(patch: Patch, folder: Path) -> None:
    with pytest.raises(ab.DataError, match="which this command uses too"):
        _targets.check_target(folder / "Report.JSON", others=[folder / "report.json"])
    (folder / "report.json").touch()  # now the system itself says whether they are one
    if not (folder / "Report.JSON").exists():
        _targets.check_target(folder / "Report.JSON", others=[folder / "report.json"])


# -- Consoles and signals -----------------------------------------------------------------------------


def a_code_page(patch: Patch, folder: Path) -> None:
    x = ab.datasets.digits("test").images[:20]
    np.save(folder / "x.npy", x)
    script = """
import os, warnings
from pathlib import Path
warnings.filterwarnings("error", category=EncodingWarning, module=r"anyback(\\.|$)")
from anyback.cli import main
folder = Path(os.environ["FOLDER"])
main(["predict", "digits-mlp", str(folder / "x.npy"), "-o", str(folder / "画像.csv")])
"""
    for page, name in {"cp1252": r"\u753b\u50cf.csv", "cp932": "画像.csv"}.items():
        # Names of files are UTF-8 on Windows too; what is opened without an encoding is an error here.
        options = ("-X", "utf8", "-X", "warn_default_encoding")
        said = in_a_process(script, *options, encoding=page, PYTHONIOENCODING=page, FOLDER=str(folder))
        assert said.rstrip().endswith(name)
        assert (folder / "画像.csv").stat().st_size


def a_closed_pipe(patch: Patch, folder: Path) -> None:
    class Closed(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            raise OSError(errno.EINVAL, "Invalid argument")

    def write() -> None:
        stream = _output._Output(io.TextIOWrapper(io.BufferedWriter(Closed(), 1), encoding="utf-8"))
        stream.write("words\n")
        stream.flush()

    with pytest.raises(_output.OutputError):
        write()
    patch.setattr(sys, "platform", "win32")
    with pytest.raises(_output.ReaderLeftError):
        write()


def other_signals(patch: Patch, folder: Path) -> None:
    if not hasattr(signal, "SIGUSR1"):
        pytest.skip("there is no signal to stand for another")
    patch.delattr(signal, "SIGHUP")
    patch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    with pytest.raises(_main._EndError), _main._ends():
        signal.raise_signal(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


# -- The table ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What is imitated, or why it cannot be."""

    platform: str
    imitates: str
    check: Callable[[Patch, Path], None] | None = None


ROWS = [
    Row("Pyodide", "no threads, processes, locks, cores or BLAS, and modules that are missing", a_browser),
    Row("Pyodide", "a download where nothing can download", a_download_in_a_browser),
    Row("containers", "a limit of threads that is reached", no_more_threads),
    Row("macOS, Windows", "os without sched_getaffinity", no_list_of_cores),
    Row("macOS, Windows", "no /proc", no_list_of_flags),
    Row("macOS, Windows", "no fork: a process that begins with a pickled network", spawned),
    Row("MKL, OpenBLAS with OpenMP", "a BLAS whose number of threads is each thread's own", blas_of_a_thread),
    Row("OpenBLAS", "a BLAS whose number of threads is the process's", blas_of_the_process),
    Row("macOS 15", "NumPy with Accelerate, which threadpoolctl does not find", accelerate),
    Row("macOS 14", "NumPy with an Accelerate that has no switch", accelerate_without_a_switch),
    Row("Pyodide", "NumPy without a BLAS", no_blas),
    Row("Windows", "a file that is open elsewhere cannot be replaced", open_elsewhere_for_a_moment),
    Row("network file systems", "no locks of files", no_locks),
    Row("macOS, Windows", "names that differ in the case of letters alone", one_file_in_two_cases),
    Row("Windows", "consoles of code pages 1252 and 932, and files that are of them unless it is said", a_code_page),
    Row("Windows", "a closed pipe that is an invalid argument", a_closed_pipe),
    Row("Windows", "Ctrl-Break, and no SIGHUP", other_signals),
    Row("Windows", "SIGTERM, which ends a process there before it can remove its half-written file"),
    Row("Windows", "names of devices (NUL, CON): they are opened, and found to be no regular file"),
    Row("macOS", "the kernels of Accelerate: the check chooses how to multiply there, too; MKL: `nox -s debian`"),
    Row("Pyodide", "its own NumPy, which could not be had; `nox -s debian` runs one of 32 bits"),
    Row("s390x", "big-endian processors; files in either order are read in the tests of each format"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.platform}: {row.imitates}")
def test_the_platform_is_served(row: Row, monkeypatch: Patch, tmp_path: Path) -> None:
    if row.check is None:
        pytest.skip(f"not run, cannot be imitated: {row.platform}: {row.imitates}")
    row.check(monkeypatch, tmp_path)
