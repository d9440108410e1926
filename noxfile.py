#!/usr/bin/env python3
# /// script
# dependencies = ["nox>=2026.8.10"]
# ///
"""Every check, each in an environment of its own: `nox` runs what passes on a machine without a GPU."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2026.8.10"  # the first that runs two sessions at a time
# Not uv: it does not read pip's settings, which may say where a CPU build of PyTorch lies.
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
# What a session says is printed when it ends. Most of the time goes into one process that computes on one core.
nox.options.parallel = min(2, os.cpu_count() or 1)
nox.options.allow_parallel = True

PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = PROJECT["project"]["optional-dependencies"]

#: Pinned, to a release with a CPU build: any other torch may be a CUDA build of several gigabytes.
TORCH = "torch==2.13.0"
#: Pinned, since releases differ in the cases of their node suite: `tools/onnx_suite.json` is of this one.
ONNX = "onnx==1.23.2"
#: The major version of CUDA that a GPU's driver goes with.
CUDA = os.environ.get("ANYBACK_CUDA", "13")

#: Array library -> what its tests install. Each stands alone, so that anyback is seen to need no other.
LIBRARIES = {
    "numpy": [".[plot,zarr]"],
    "jax": [".[jax,plot]"],
    "torch": [".[plot,torch]", TORCH],
    "dask": [".[dask,plot]"],
    "strict": [".[plot,strict]"],
    "cupy": [f".[cupy{CUDA},plot]"],
}

#: Array library -> the mark of its tests. What depends on no library runs once, beside NumPy alone.
MARKS = {**{name: name for name in LIBRARIES}, "numpy": "(once or numpy)", "strict": "array_api_strict"}

#: What can be tested of CuPy without a GPU: that it is found, and told to be unusable.
WITHOUT_GPU = ["tests/test_backends.py", "tests/test_namespaces.py"]

#: The extras tested at their lowest. Not torch or cupy: their old releases are CUDA builds.
LOWEST = ["dask", "jax", "plot", "strict", "zarr"]


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


def pytest(session: nox.Session, *args: str, require: str) -> None:
    """Run pytest; where a library of `require` is missing, its tests fail instead of being skipped."""
    cache = Path(session.virtualenv.location, ".pytest_cache")  # not one for sessions that run at the same time
    session.run("pytest", "-o", f"cache_dir={cache}", *args, *session.posargs, env={"ANYBACK_REQUIRE": require})


@nox.session(tags=["quality"])
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


#: The least share of the public names, and of what they refer to, whose types are known to who uses anyback.
KNOWN_TYPES = 0.95


@nox.session(tags=["quality"])
def types(session: nox.Session) -> None:
    """Check types, and that enough of them are known from outside."""
    session.install("-e", ".[plot]", *group("types"))
    session.run("mypy")
    # Pyright fails wherever a type is not known.
    asked = ("pyright", "--verifytypes", "anyback", "--ignoreexternal", "--outputjson")
    said = session.run(*asked, silent=True, success_codes=[0, 1])
    found = json.loads(said[said.index("{") :])["typeCompleteness"]
    score = found["completenessScore"]
    session.log(f"{score:.1%} of the public types are known")
    if score < KNOWN_TYPES:
        unknown = [one["name"] for one in found["symbols"] if one["isExported"] and not one["isTypeKnown"]]
        session.error(f"expected at least {KNOWN_TYPES:.0%}; not known: {', '.join(unknown)}")


def add_tests(library: str) -> None:
    """Add the session that runs the tests with one array library."""

    def tests(session: nox.Session) -> None:
        engines = group("distributed") if library == "dask" else []
        session.install("-e", *LIBRARIES[library], *group("test"), *engines)
        own = ("-m", f"{MARKS[library]} and not several")
        if library == "cupy" and shutil.which("nvidia-smi") is None:
            session.run("python", "-c", "import cupy")
            pytest(session, *WITHOUT_GPU, *own, require="numpy")
        else:
            pytest(session, *own, require={"numpy": "numpy,h5py", "strict": "array_api_strict"}.get(library, library))

    tests.__doc__ = f"Run the tests of {library}{', and all that need no library' if library == 'numpy' else ''}."
    nox.session(tests, name=f"tests-{library}", tags=["tests"])


for name in LIBRARIES:
    add_tests(name)


@nox.session(default=False)
def engines(session: nox.Session) -> None:
    """Run the tests of Dask's workers, Ray, Spark and xarray; Spark needs Java: ``nox -s engines``."""
    session.install("-e", ".[dask,zarr]", *group("test"), *group("engines"))
    session.run("python", "-c", "import distributed, pandas, pyspark, ray.data, xarray")
    pytest(session, "tests/test_engines.py", "tests/test_predictor.py", require="numpy,dask")


@nox.session(tags=["tests"])
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest version of everything that pyproject.toml names."""
    named = [
        *PROJECT["project"]["dependencies"],
        *(r for extra in LOWEST for r in EXTRAS[extra]),
        *group("test"),
    ]
    # Later ones warn the user, on standard error, of what the lowest Matplotlib calls.
    session.install("-e", f".[{','.join(LOWEST)}]", *(r.replace(">=", "==") for r in named), "pyparsing<3.3")
    # An old release may use what the newest of its own dependencies deprecates.
    # The numbers of bounds come from NumPy's float64, in which releases do not differ.
    own = (
        "-W",
        "default::DeprecationWarning",
        "-m",
        "not (several or sklearn or sources or torch or cupy)",
        "--ignore=tests/test_bounds.py",
    )
    pytest(session, *own, require="numpy,jax,dask,array_api_strict,h5py")


def compare(session: nox.Session, folder: str, *args: str) -> None:
    """Write a report on each network whose data is at hand; fails where libraries do not agree."""
    data = Path(os.environ.get("ANYBACK_DATA_DIR", "none"))
    models = [["digits-mlp"]]
    if (data / "t10k-images-idx3-ubyte.gz").is_file():
        models.append(["mnist-mlp"])
        if (data / "simple_convnet_params.pkl").is_file():
            models.append(["mnist-cnn", "--count", "1000"])
    Path(folder).mkdir(parents=True, exist_ok=True)
    for model in models:
        session.run("anyback", "parity", *model, *args, "--json", f"{folder}/parity-{model[0]}.json")


@nox.session(tags=["tests"])
def parity(session: nox.Session) -> None:
    """Compare all libraries that run on a CPU, side by side, and run the tests that take several."""
    libraries = "numpy,jax,torch,dask,array_api_strict"
    session.install("-e", ".[all]", TORCH, *group("test"), *group("sources"), ONNX)
    compare(session, "build", "--backends", libraries)
    # Of no other session: nothing may be skipped for want of a package.
    packages = "equinox,flax,h5py,keras,pandas,sklearn"
    pytest(session, "-m", "several or sklearn or sources", require=f"{libraries},{packages}")
    for library in ("numpy", "torch", "strict"):  # a tenth; `onnx-suite` runs all
        session.run("python", "tools/onnx_suite.py", library, "--part", "10")


@nox.session(name="onnx-suite", default=False)
def onnx_suite(session: nox.Session) -> None:
    """Run ONNX's node suite on every library; fails where a case fails that did not before: ``nox -s onnx-suite``."""
    session.install("-e", ".[all]", TORCH, *group("test"), ONNX)
    for library in session.posargs or ("numpy", "jit", "torch", "strict", "dask"):
        session.run("python", "tools/onnx_suite.py", library)


@nox.session(name="onnx-files", default=False)
def onnx_files(session: nox.Session) -> None:
    """Make and fetch real ONNX files, and run them on every library: ``nox -s onnx-files``; words choose among them."""
    session.install("-e", ".[all]", TORCH, *group("test"), *group("onnx-files"), ONNX)
    # The packages that hold files, without what they depend on: nothing of them is imported.
    packages = Path(session.create_tmp(), "packages").resolve()
    session.install("--no-deps", "--upgrade", "--target", str(packages), *group("with-onnx-files"))
    written = () if session.posargs else ("--json", "benchmarks/reports/onnx-files.json")
    session.run("python", "tools/onnx_files.py", "--packages", str(packages), *written, *session.posargs)


@nox.session(tags=["tests"])
def processors(session: nox.Session) -> None:
    """Imitate other processors, and see that bits and labels are what is promised there."""
    session.install("-e", ".[all]", TORCH, *group("test"))
    session.run("python", "tools/processors.py", *session.posargs)


@nox.session(default=False)
def arm64(session: nox.Session) -> None:
    """Run NumPy's tests of bits on an emulated ARM64 processor; needs Debian's apt-get: ``nox -s arm64``."""
    session.run("tools/arm64.sh", str(Path(session.bin, "python")), "build/arm64", external=True)


@nox.session(default=False)
def debian(session: nox.Session) -> None:
    """Run NumPy's tests of bits with Debian's builds, of 32 bits or another BLAS: ``nox -s debian -- mkl`` alone."""
    for which in session.posargs or ("i386", "reference", "blis", "mkl"):
        session.run("tools/debian.sh", str(Path(session.bin, "python")), "build/debian", which, external=True)


@nox.session(tags=["gpu"], default=False)
def gpu(session: nox.Session) -> None:
    """Run everything on an NVIDIA GPU, measure there, and keep the reports that say which: ``nox -s gpu``."""
    session.install("-e", f".[cupy{CUDA},jax-cuda{CUDA},torch,dask,plot,strict]", *group("test"), *group("bench"))
    pytest(session, require="cupy,jax")
    compare(session, "benchmarks/reports/gpu")
    report = ("--json", "benchmarks/reports/bench-gpu.json")
    session.run("python", "benchmarks/run.py", "--what", "gpu", "--backends", "numpy", *report)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure everything on the CPU beside peers and goals, and compare with the committed ratios: ``nox -s bench``."""
    session.install("-e", ".[all]", TORCH, *group("bench"), ONNX)
    libraries = "numpy,jax,torch,dask,array_api_strict"
    session.run(
        *("python", "benchmarks/run.py", "--backends", libraries, "--json", "build/bench.json", *session.posargs)
    )
    session.run("python", "benchmarks/compare.py", "build/bench.json", success_codes=[0, 1])


@nox.session(name="onnx-bench", default=False)
def onnx_bench(session: nox.Session) -> None:
    """Measure networks from ONNX files beside ONNX Runtime, and rewrite the committed report: ``nox -s onnx-bench``."""
    session.install("-e", ".[jax,torch]", TORCH, *group("onnx-files"), ONNX)
    # Only the file is used: nothing of the package is imported.
    packages = Path(session.create_tmp(), "packages").resolve()
    voice = [package for package in group("with-onnx-files") if package.startswith("silero-vad")]
    session.install("--no-deps", "--upgrade", "--target", str(packages), *voice)
    written = () if session.posargs else ("--json", "benchmarks/reports/onnx-bench.json")
    session.run("python", "benchmarks/onnx_networks.py", "--packages", str(packages), *written, *session.posargs)


@nox.session(name="streams-bench", default=False)
def streams_bench(session: nox.Session) -> None:
    """Measure `predict_to` and its engines beside a plain loop, and kill it 300 times: ``nox -s streams-bench``."""
    session.install("-e", ".[dask,zarr]", *group("engines"))
    written = () if session.posargs else ("--json", "benchmarks/reports/streams.json")
    session.run("python", "benchmarks/streams.py", *written, *session.posargs)


#: The array libraries that every notebook is run on.
NOTEBOOK_BACKENDS = ("numpy", "jax")

#: What a tag of a cell promises to show, by the type that Jupyter gives it.
SHOWN = {"picture": "image/png", "html": "text/html"}


@nox.session(tags=["tests"])
def notebooks(session: nox.Session) -> None:
    """Run every notebook on two array libraries, see that pictures came out, and write the files of a release."""
    session.install("-e", ".[jax,plot,torch]", TORCH, *group("notebooks"))
    # A kernel of this environment under a name of its own: python3 may be anything that the user has installed.
    session.run("python", "-m", "ipykernel", "install", "--sys-prefix", "--name", "anyback", silent=True)
    for backend in NOTEBOOK_BACKENDS:
        folder = Path("build", "notebooks", backend)
        folder.mkdir(parents=True, exist_ok=True)
        made = [folder / f"{source.stem}.ipynb" for source in sorted(Path("notebooks").glob("*.py"))]
        for path in made:
            source = Path("notebooks", f"{path.stem}.py")
            session.run("jupytext", "--quiet", "--to", "ipynb", "--output", str(path), str(source))
        session.run(
            *("pytest", "--nbmake", "--nbmake-kernel=anyback", "--nbmake-timeout=120", "--overwrite"),
            *map(str, made),
            # MPLBACKEND=agg, for one, would drop every picture and still pass.
            env={"ANYBACK_BACKEND": backend, "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        )
        if faults := [fault for path in made for fault in not_shown(path)]:
            session.error("\n".join(faults))
    # As they were run, with what opens and installs them anywhere: what a release attaches.
    session.run("python", "tools/notebook_files.py", "build/notebooks/numpy", "build/notebooks-files", *session.posargs)


@nox.session(tags=["quality"])
def docs(session: nox.Session) -> None:
    """Build the documentation into ``build/docs``: its code and the notebooks are run, and warnings are errors."""
    session.install("-e", ".[jax,plot,sklearn,torch]", TORCH, *group("docs"))
    # Not a kernel of the same name that the user has installed.
    env = {"JUPYTER_PREFER_ENV_PATH": "1"}
    options = ("-b", "html", "-j", "auto", "-W", "--keep-going", "-q", *session.posargs)
    session.run("sphinx-build", *options, "docs", "build/docs", env=env)


@nox.session(tags=["quality"])
def dist(session: nox.Session) -> None:
    """Build the wheel and the sdist, and check them as a package index would; ``nox -s dist -- tests`` tests the sdist.

    The tests of the sdist are those of NumPy, in an environment that has seen nothing else.
    """
    session.install(*group("dist"))
    folder = Path("dist")
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(folder), silent=True)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    session.run("twine", "check", "--strict", str(sdist), str(wheel))
    session.run("check-wheel-contents", str(wheel))
    if "tests" in session.posargs:
        fresh = Path(session.create_tmp()).resolve()
        shutil.rmtree(fresh)
        shutil.unpack_archive(sdist, fresh, filter="data")
        (unpacked,) = fresh.iterdir()
        session.run("python", "-m", "venv", str(fresh / "venv"))
        scripts = fresh / "venv" / ("Scripts" if os.name == "nt" else "bin")
        session.chdir(unpacked)
        session.run(str(scripts / "python"), "-m", "pip", "install", "-q", ".[plot]", *group("test"), external=True)
        # Not `python -m pytest`, which would find the package here before the one that was installed.
        own = ("-m", f"{MARKS['numpy']} and not several", "tests")
        session.run(str(scripts / "pytest"), "-n", "2", *own, external=True)


def not_shown(path: Path) -> list[str]:
    """Return which cells of a notebook that was run show less than their tags promise, or more than they should.

    A picture without a tag is too much, and so is a warning, anything in red (what was written to the standard error),
    a value that is shown as plain text alone, and anything that a hidden cell shows.
    """
    faults, promises = [], 0
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"], start=1):
        outputs, tags = cell.get("outputs", []), cell["metadata"].get("tags", [])
        found = {kind for output in outputs for kind in output.get("data", {})}
        promised = {SHOWN[tag] for tag in tags if tag in SHOWN}
        promises += len(promised)
        faults += [f"{path}: cell {number} shows no {kind}" for kind in promised - found]
        if any("Warning" in "".join(output.get("text", "")) for output in outputs):
            faults.append(f"{path}: cell {number} warns")
        if any(output.get("name") == "stderr" for output in outputs):
            faults.append(f"{path}: cell {number} writes in red")
        if any(output.get("data", {}).keys() == {"text/plain"} for output in outputs):
            faults.append(f"{path}: cell {number} shows a value that nobody asked for")
        if outputs and "hide" in tags:
            faults.append(f"{path}: cell {number} is hidden, but shows something")
        if "image/png" in found - promised:
            faults.append(f"{path}: cell {number} shows a picture, but is not tagged so")
    return faults or ([] if promises else [f"{path}: no cell is tagged as showing anything"])


if __name__ == "__main__":
    nox.main()
