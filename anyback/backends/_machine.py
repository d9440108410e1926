"""What a result was made on: a number without its machine says little."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

__all__ = ["environment", "usable_cores"]


@functools.cache
def environment() -> dict[str, str]:
    """Return the machine and what computes on it, in words.

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
    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(usable_cores()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": _blas(),
    }
    gpu = _gpu()
    return {**found, "gpu": gpu} if gpu else found


def usable_cores() -> int:
    """Return how many cores this process may use; in a container they are fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _blas() -> str:
    found = [
        f"{row['internal_api']} {row['version']} {row.get('architecture', '')}".rstrip()
        for row in threadpool_info()
        if row["user_api"] == "blas"
    ]
    return ", ".join(dict.fromkeys(found)) or "unknown"


def _gpu() -> str:
    command = shutil.which("nvidia-smi")
    if command is None:
        return ""
    query = [command, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(answer.stdout.strip().splitlines()) if answer.returncode == 0 else ""
