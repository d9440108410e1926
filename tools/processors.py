"""Imitate other processors, and check the promises about bits and labels there: ``nox -s processors``.

For each entry of the table, a child process runs the libraries with the kernels that they choose on another processor.
There `anyback parity` must agree, and the tests of bits must pass. ``python tools/processors.py jax`` runs the entries
of one library.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """A processor to imitate: for which libraries, by which environment variables, and whose it is.

    `kernels` is what NumPy's OpenBLAS then calls its kernels: where it runs others, nothing is imitated.
    """

    libraries: tuple[str, ...]
    reason: str
    environment: dict[str, str] = field(default_factory=dict)
    kernels: str = ""
    impossible: str = ""


BLAS = ("numpy", "array_api_strict")
ROWS = (
    Row((*BLAS, "dask"), "AVX2 without AVX-512: most laptops", {"OPENBLAS_CORETYPE": "HASWELL"}, "Haswell"),
    Row(
        BLAS,
        "AVX without AVX2, and NumPy's own loops too",
        {"OPENBLAS_CORETYPE": "SANDYBRIDGE", "NPY_DISABLE_CPU_FEATURES": "X86_V3"},
        "Sandybridge",
    ),
    Row(BLAS, "SSE4.2", {"OPENBLAS_CORETYPE": "NEHALEM"}, "Nehalem"),
    Row(BLAS, "SSE3", {"OPENBLAS_CORETYPE": "PRESCOTT"}, "Katmai"),
    Row(("torch",), "AVX2, by Intel", {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}),
    Row(("torch",), "SSE2", {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"}),
    Row(("torch",), "this one, by MKL's reproducible kernels", {"MKL_CBWR": "AUTO"}),
    Row(("torch",), "AVX2, by AMD", impossible="MKL chooses these kernels by the maker, and no variable names them"),
    Row(("jax",), "SSE4.2", {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2"}),
    Row(("jax",), "AVX2", {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}),
    Row(("numpy",), "ARM64", impossible="no variable changes the instruction set; nox -s arm64 does, with an emulator"),
)


def kernels(environment: dict[str, str]) -> str:
    """Return the kernels that NumPy's OpenBLAS runs, or how the process ended that asked for them."""
    code = "from anyback.backends._machine import openblas_kernels; print(openblas_kernels())"
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    return child.stdout.strip() if child.returncode == 0 else f"none: exit code {child.returncode}"


def imitated(row: Row) -> tuple[int, str]:
    """Return the exit code and the output; 0 and the reason where this processor cannot be imitated here."""
    title = f"{', '.join(row.libraries)} on {row.reason} {row.environment or ''}".rstrip()
    if row.impossible:
        return 0, f"-- {title}: not imitated: {row.impossible}"
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return 0, f"-- {title}: not imitated: this processor is {platform.machine()}, and the variables are for x86"
    environment = {**os.environ, **row.environment, "ANYBACK_REQUIRE": ",".join(row.libraries)}
    if row.kernels and (found := kernels(environment)) != row.kernels:
        return 0, f"-- {title}: not imitated: OpenBLAS runs {found}, not {row.kernels}"
    started, said, code = time.monotonic(), "", 0
    for command in (
        *(["anyback", "parity", *model, "--backends", ",".join(row.libraries)] for model in models()),
        ["pytest", "-p", "no:cacheprovider", "tests/test_bits.py", "-m", " or ".join(row.libraries)],
    ):
        child = subprocess.run(
            [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, check=False
        )
        said += child.stdout + child.stderr
        code = code or child.returncode
    return code, f"-- {title}: exit code {code}, {time.monotonic() - started:.0f} s\n{said}"


def models() -> list[list[str]]:
    """Return what parity is asked for: of MNIST's networks, those whose data is at hand, else of the one that ships."""
    folder = Path(os.environ.get("ANYBACK_DATA_DIR", "none"))
    if not (folder / "t10k-images-idx3-ubyte.gz").is_file():
        return [["digits-mlp"]]
    few = [["mnist-cnn", "--count", "1000"]] if (folder / "simple_convnet_params.pkl").is_file() else []
    return [["mnist-mlp"], *few]


def main() -> int:
    """Imitate all processors, two at a time, or those for the libraries that are named; return 1 if one fails."""
    wanted = [row for row in ROWS if not sys.argv[1:] or set(row.libraries) & set(sys.argv[1:])]
    failed = []
    with ThreadPoolExecutor(2) as pool:
        for row, (code, said) in zip(wanted, pool.map(imitated, wanted), strict=True):
            print(said, flush=True)
            failed += [row] if code else []
    for row in failed:
        print(f"BROKEN: {', '.join(row.libraries)} on {row.reason}")
    return 1 if failed or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
