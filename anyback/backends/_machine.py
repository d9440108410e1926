"""The machine that computes: processor, BLAS and its kernels, GPUs, versions."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection
from pathlib import Path

import numpy as np

from anyback.backends._blas import blas_name

__all__ = [
    "SMALL_PRODUCT",
    "better_kernels",
    "cpu_flags",
    "environment",
    "kernels_advice",
    "multiplies_small",
    "openblas_kernels",
    "usable_cores",
    "vendor",
]

#: Up to so many multiply-adds, OpenBLAS's kernels for AVX-512 take a product as a small one: see `multiplies_small`.
SMALL_PRODUCT = 1_000_000
#: Names of OpenBLAS's kernels for x86 that use AVX-512, and of those that use AVX2.
_AVX512 = frozenset({"SkylakeX", "Cooperlake", "Sapphirerapids"})
_AVX2 = frozenset({"Haswell", "Zen", "Excavator"})
#: The flags that a processor must have for these kernels, by Linux's names.
_NEED_AVX512 = frozenset({"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"})
_NEED_AVX2 = frozenset({"avx2", "fma"})


@functools.cache
def environment() -> dict[str, str]:
    """Return a description of the machine and of the libraries that compute on it.

    Returns
    -------
    dict of str to str
        ``system``, ``processor``, ``cores``, ``python``, ``numpy``, ``blas`` (the library that multiplies for NumPy,
        and the kernels that it chose), and where there are NVIDIA GPUs ``gpu`` (names and drivers).

    Examples
    --------
    >>> environment()["numpy"] == np.__version__
    True
    """
    import platform

    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(usable_cores()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas_name(),
    }
    gpu = _gpu()
    return {**found, "gpu": gpu} if gpu else found


def better_kernels(running: str, flags: Collection[str]) -> str | None:
    """Return the OPENBLAS_CORETYPE of faster kernels that the processor can run; None where such kernels run already.

    OpenBLAS chooses its kernels by the model of the processor. For a model that it does not know, or that a virtual
    machine hides, it takes the kernels of an older one.

    Parameters
    ----------
    running : str
        The kernels that run, as threadpoolctl names them: ``"Haswell"``, ``"SkylakeX"``, ``"Prescott"``, ...; empty
        where another library multiplies.
    flags : collection of str
        The processor's flags, as in /proc/cpuinfo: ``"avx2"``, ``"avx512f"``, ...

    Returns
    -------
    str or None

    Examples
    --------
    >>> better_kernels("Prescott", {"avx2", "fma"})
    'HASWELL'
    >>> better_kernels("Haswell", {"avx2", "fma"}) is None
    True
    """
    if not running or running in _AVX512:
        return None
    if set(flags) >= _NEED_AVX512:
        return "SKYLAKEX"  # which every release has, and newer kernels differ from in bfloat16 alone
    return "HASWELL" if set(flags) >= _NEED_AVX2 and running not in _AVX2 else None


def kernels_advice() -> str:
    """Return a warning where NumPy's products run on kernels for an older processor, with the remedy; else empty.

    Returns
    -------
    str
        One line, or empty.
    """
    running = openblas_kernels()
    better = better_kernels(running, cpu_flags())
    if better is None:
        return ""
    # Measured on a Zen 5 and a Sapphire Rapids: AVX-512 against AVX2, 1.2 and 1.8; AVX2 against SSE, 2.5 to 3.5.
    loss = "a fifth to four fifths longer" if running in _AVX2 else "two to four times as long"
    return (
        f"OpenBLAS runs its {running} kernels, but this processor can do more: float32 products take roughly {loss}; "
        f"set OPENBLAS_CORETYPE={better} in the environment before Python starts"
    )


def openblas_kernels() -> str:
    """Return the kernels of NumPy's OpenBLAS; empty where it multiplies with another library."""
    from threadpoolctl import threadpool_info

    found = [row for row in threadpool_info() if row["internal_api"] == "openblas"]
    # SciPy brings an OpenBLAS of its own.
    found.sort(key=lambda row: "numpy" not in row.get("filepath", ""))
    return str(found[0].get("architecture") or "") if found else ""


@functools.cache
def multiplies_small() -> bool:
    """Return whether NumPy's OpenBLAS has kernels for small products, which do not copy the operands first."""
    return openblas_kernels() in _AVX512


def cpu_flags() -> frozenset[str]:
    """Return the processor's flags by Linux's names; empty on other systems."""
    return frozenset(_cpuinfo("flags").split())


def vendor() -> str:
    """Return whose processor this is, in its own words, such as ``"GenuineIntel"``; empty where that is not known."""
    import platform

    return _cpuinfo("vendor_id") or platform.processor().rpartition(" ")[2]


def usable_cores() -> int:
    """Return how many cores this process may use; in a container, that may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    import platform

    return _cpuinfo("model name") or platform.processor() or "unknown"


def _cpuinfo(key: str) -> str:
    """Return an entry of /proc/cpuinfo for the first core; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _gpu() -> str:
    import shutil
    import subprocess

    command = shutil.which("nvidia-smi")
    if command is None:
        return ""
    query = [command, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(answer.stdout.strip().splitlines()) if answer.returncode == 0 else ""
