#!/usr/bin/env python3
# /// script
# dependencies = ["nox>=2025.5.1"]
# ///
"""Every check, each in an environment of its own: `nox` runs what passes on a machine without a GPU."""

from __future__ import annotations

import os
import shutil

import nox

nox.needs_version = ">=2025.5.1"
# Not uv: it does not read pip's settings, which may say where a CPU build of PyTorch lies.
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = PROJECT["project"]["optional-dependencies"]

#: Array library -> what its tests install. Each stands alone, so that anyback is seen to need no other.
LIBRARIES = {
    "numpy": [".[plot]"],
    "jax": [".[jax,plot]"],
    # Pinned, to a release with a CPU build: any other torch may be a CUDA build of several gigabytes.
    "torch": [".[plot,torch]", "torch==2.13.0"],
    "dask": [".[dask,plot]"],
    "strict": [".[plot,strict]"],
    "cupy": [f".[cupy{os.environ.get('ANYBACK_CUDA', '13')},plot]"],
}

#: What can be tested of CuPy without a GPU: that it is found, and told to be unusable.
WITHOUT_GPU = ["tests/test_backends.py", "tests/test_namespaces.py"]

#: The extras tested at their lowest. Not torch or cupy: their old releases are CUDA builds.
LOWEST = ["dask", "jax", "plot", "strict"]


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


def pytest(session: nox.Session, *args: str, require: str) -> None:
    """Run pytest; where a library of `require` is missing, its tests fail instead of being skipped."""
    session.run("pytest", *args, *session.posargs, env={"ANYBACK_REQUIRE": require})


@nox.session(tags=["quality"])
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(tags=["quality"])
def types(session: nox.Session) -> None:
    """Check types."""
    session.install("-e", ".[plot]", *group("types"))
    session.run("mypy")


def add_tests(library: str) -> None:
    """Add the session that runs the tests with one array library."""

    def tests(session: nox.Session) -> None:
        session.install("-e", *LIBRARIES[library], *group("test"))
        if library == "cupy" and shutil.which("nvidia-smi") is None:
            session.run("python", "-c", "import cupy")
            pytest(session, *WITHOUT_GPU, require="numpy")
        else:
            pytest(session, require={"strict": "array_api_strict"}.get(library, library))

    tests.__doc__ = f"Run the tests with {library}."
    nox.session(tests, name=f"tests-{library}", tags=["tests"])


for name in LIBRARIES:
    add_tests(name)


@nox.session(tags=["tests"])
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest version of everything that pyproject.toml names."""
    named = [
        *PROJECT["project"]["dependencies"],
        *(r for extra in LOWEST for r in EXTRAS[extra]),
        *group("test"),
    ]
    session.install("-e", f".[{','.join(LOWEST)}]", *(r.replace(">=", "==") for r in named))
    # An old release may use what the newest of its own dependencies deprecates.
    pytest(session, "-W", "default::DeprecationWarning", require="numpy,jax,dask,array_api_strict")


if __name__ == "__main__":
    nox.main()
