"""The BLAS that multiplies for NumPy: what it is called, and its threads."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from anyback.backends._settings import Setting

__all__ = ["QUIET", "blas_name", "blas_threads", "one_blas_thread", "threads_advice"]

#: Put around products: NumPy may warn although the answer holds no such number. MKL multiplies infinite numbers by
#: zeros that it adds to the rows, as our guard columns do, and Accelerate sets the flags without a reason:
#: https://github.com/numpy/numpy/issues/28687
QUIET = np.errstate(over="ignore", divide="ignore", invalid="ignore")

_ACCELERATE = "/System/Library/Frameworks/Accelerate.framework/Accelerate"


class _Library(Protocol):
    """A BLAS whose threads can be limited, as threadpoolctl has it."""

    def get_num_threads(self) -> int | None:
        """Return how many threads a product takes that is called in this thread."""

    def set_num_threads(self, num_threads: int) -> object:
        """Change that number."""


class _Accelerate:
    """Apple's BLAS, which threadpoolctl does not know: one thread, or as many as it likes, which is 0 here.

    https://developer.apple.com/documentation/accelerate/blassetthreading(_:)
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def get_num_threads(self) -> int:
        return 1 if self._library.BLASGetThreading() == 1 else 0

    def set_num_threads(self, num_threads: int) -> None:
        self._library.BLASSetThreading(ctypes.c_uint(1 if num_threads == 1 else 0))


def _built_with() -> str:
    """Return what NumPy says it was built with: ``"scipy-openblas"``, ``"accelerate"``, ``"mkl"``, ...; or nothing."""
    with contextlib.suppress(Exception):  # how NumPy says it is not its public interface
        name = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
        return "" if name in ("none", "auto") else str(name)
    return ""


def blas_name() -> str:
    """Return the libraries that multiply for NumPy, with their versions and kernels where they say them."""
    import threadpoolctl

    found = [
        f"{row['internal_api']} {row['version']} {row.get('architecture', '')}".rstrip()
        for row in threadpoolctl.threadpool_info()
        if row["user_api"] == "blas"
    ]
    return ", ".join(dict.fromkeys(found)) or _built_with() or "none: NumPy's own loops"


# -- Threads ------------------------------------------------------------------------------------------


class _Libraries(NamedTuple):
    """The loaded libraries by whose number of threads it is; one of which that is not known is in both."""

    of_process: tuple[_Library, ...]
    of_thread: tuple[_Library, ...]
    of_all: tuple[_Library, ...]


_finding = threading.Lock()  # two experiments at a time would see each other


def _libraries() -> _Libraries:
    with _finding:
        return _found()


@functools.cache
def _found() -> _Libraries:
    import threadpoolctl

    # Finding the loaded BLAS takes milliseconds, changing its setting microseconds.
    controllers = threadpoolctl.ThreadpoolController().lib_controllers
    known: list[_Library] = [library for library in controllers if library.user_api == "blas"]
    known += [accelerate] if (accelerate := _accelerate()) else []
    scopes = [(library, _is_each_threads_own(library)) for library in known]
    return _Libraries(
        tuple(library for library, own in scopes if own is not True),
        tuple(library for library, own in scopes if own is not False),
        tuple(known),
    )


def _accelerate() -> _Accelerate | None:
    """Return Apple's BLAS where NumPy multiplies with it and it has a switch, as from macOS 15 on."""
    if sys.platform == "darwin" and _built_with() == "accelerate":
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(_ACCELERATE)
            return _Accelerate(library) if hasattr(library, "BLASSetThreading") else None
    return None


def _is_each_threads_own(library: _Library) -> bool | None:
    """Return whether a number of threads holds for the thread that sets it alone, by experiment; None is not known.

    It does in MKL, in Accelerate and in OpenBLAS with OpenMP, by the ways that newer releases of threadpoolctl take.
    """
    before = library.get_num_threads()
    seen: list[int | None] = []
    look = threading.Thread(target=lambda: seen.append(library.get_num_threads()))
    put_back = _limited((library,), 1)
    try:
        look.start()
        look.join()
    except RuntimeError:  # no thread can be started, so no other can differ
        return False
    finally:
        put_back()
    if seen != [1]:
        return True
    # Where it was 1 already nothing is seen, but OpenBLAS says whether it has its own threads, which all calls share.
    return None if before == 1 and getattr(library, "threading_layer", "") != "pthreads" else False


def blas_threads() -> int:
    """Return the most threads that a product takes which this thread asks NumPy for."""
    return max((library.get_num_threads() or 1 for library in _libraries().of_all), default=1)


def _limit_threads(number: int) -> Callable[[], object]:
    return _limited(_libraries().of_process, number)


def _limited(libraries: tuple[_Library, ...], number: int) -> Callable[[], object]:
    """Set the number of threads, and return what puts back the numbers that were there before."""
    before = [library.get_num_threads() for library in libraries]
    if before.count(number) == len(before):
        return _nothing

    def set_threads(numbers: list[int | None]) -> None:
        _take_control()
        for library, wanted in zip(libraries, numbers, strict=True):
            if wanted is not None:
                library.set_num_threads(wanted)
        _take_control()  # or rather leave it, to whoever comes next

    set_threads([number] * len(libraries))
    return lambda: set_threads(before)


def _nothing() -> None:
    pass


def _take_control() -> None:
    import threadpoolctl

    # A newer threadpoolctl lets OpenBLAS listen to the first thread that asked alone, and tells the others nothing.
    controller = getattr(threadpoolctl, "OpenBLASController", None)
    if clear := getattr(controller, "clear_controlling_thread", None):
        clear(force=True)


_threads = Setting("the number of BLAS threads", _limit_threads)


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a scope in which the matrix products that this thread asks NumPy for use one thread.

    A BLAS cuts a product between its threads, and the cut decides which kernel computes which row: the last
    bits depend on the number of threads. One thread for each tile, and tiles side by side, is as fast.
    """
    return _InThisThreadToo(of_thread) if (of_thread := _libraries().of_thread) else _threads.held(1)


class _InThisThreadToo:
    # A class, since a generator costs two microseconds more, as in `_settings`.
    __slots__ = ("_held", "_libraries", "_put_back")

    def __init__(self, libraries: tuple[_Library, ...]) -> None:
        self._libraries, self._held = libraries, _threads.held(1)

    def __enter__(self) -> None:
        self._held.__enter__()
        try:
            self._put_back = _limited(self._libraries, 1)
        except BaseException:
            self._held.__exit__(None, None, None)
            raise

    def __exit__(self, *error: object) -> None:
        try:
            self._put_back()
        finally:
            self._held.__exit__(None, None, None)


def threads_advice() -> str:
    """Return what to set where NumPy multiplies with a library whose threads cannot be held at one; else nothing."""
    libraries, name = _libraries(), _built_with()
    if any(libraries) or not name:
        return ""
    variable = {"accelerate": "VECLIB_MAXIMUM_THREADS", "mkl": "MKL_NUM_THREADS"}.get(name, "OMP_NUM_THREADS")
    return (
        f"NumPy multiplies with a library ({name}) whose threads cannot be held at one from here: the last bits may "
        f"depend on the number of cores unless {variable}=1 is set in the environment before Python starts"
    )
