"""The shape of the house: imports run down only, `__all__` is honest, importing stays light."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import anyback
from anyback.ops import OPS

PACKAGE = Path(anyback.__file__).parent
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(PACKAGE)], "anyback.") if "__main__" not in m.name)

#: Each part may import those before it in its own row, by the design.
LEAVES = {"errors", "_typing", "numbers", "_files", "_kinds", "_lazy", "_progress", "_show"}
ORDER = [
    "plan",
    "backends",
    "ops",
    "activations",
    "functional",
    "tasks",
    "network",
    "layers",
    "lower",
    "onnx",
    "models",
    "sources",
]
ORDER += ["inference", "sklearn", "evaluation", "executors", "streams", "bounds", "agreement", "bench", "plots", "cli"]
MAY_IMPORT = {part: LEAVES | set(ORDER[:i]) for i, part in enumerate(ORDER)}
MAY_IMPORT |= {"errors": set(), "_typing": set(), "numbers": {"errors", "_typing"}, "_files": {"errors"}}
MAY_IMPORT |= {"_kinds": set(), "_lazy": set(), "_progress": set(), "_show": {"_lazy"}}
MAY_IMPORT |= {
    "weights": {"errors", "_files", "_kinds"},
    "datasets": {"errors", "_files", "_kinds", "_progress", "_show"},
}
MAY_IMPORT["network"] |= {"weights"}
for later in ("models", "sources", *ORDER[ORDER.index("inference") :]):
    MAY_IMPORT[later] |= {"weights", "datasets"}
MAY_IMPORT["cli"] |= {"anyback"}

THIRD_PARTY = {
    "weights": {"numpy", "safetensors", "ml_dtypes", "h5py"},
    "datasets": {"numpy", "platformdirs", "filelock", "requests", "urllib3"},
    "activations": {"array_api_compat"},
    "functional": set(),
    "layers": {"array_api_compat"},
    "errors": set(),
    "numbers": {"numpy"},
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return every module that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files() -> list[Path]:
    return [p for p in PACKAGE.rglob("*.py") if p.name != "__main__.py" and p != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_down_only(path: Path) -> None:
    part = part_of(path)
    for name in imports(path):  # those for types too
        words = name.split(".")
        if words[0] == "anyback":
            target = words[1] if len(words) > 1 else "anyback"
            assert target == part or target in MAY_IMPORT[part], f"{part} imports {name}"
        elif part in THIRD_PARTY and words[0] not in sys.stdlib_module_names:
            assert words[0] in THIRD_PARTY[part], f"{part} imports {name}"


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def classes() -> dict[str, str]:
    """Return the classes of the package, each with the part that defines it."""
    found = {}
    for path in files():
        found |= {node.name: part_of(path) for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)}
    return found


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nobody_asks_for_a_class_of_another_part(path: Path) -> None:
    # Who needs to know something of an object asks the object.
    ours = {name for name, part in classes().items() if part != part_of(path) and "Error" not in name}
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            asked |= {n.attr for n in ast.walk(node.args[1]) if isinstance(n, ast.Attribute)}
            assert not asked & ours, ast.unparse(node)
        if isinstance(node, ast.MatchClass):
            assert ast.unparse(node.cls) not in ours


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_is_decided_by_which_op_it_is(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Compare) and any(isinstance(o, (ast.Is, ast.IsNot)) for o in node.ops):
            sides = {side.id for side in (node.left, *node.comparators) if isinstance(side, ast.Name)}
            assert not sides & set(OPS), ast.unparse(node)


#: Where a choice of the user's is kept for a thread or task: nothing else travels beside the arguments.
CONTEXT = {"backends/_choice.py", "backends/_precision.py"}


def test_no_state_travels_beside_the_arguments() -> None:
    using = {str(p.relative_to(PACKAGE)) for p in files() if "contextvars.ContextVar" in imports(p)}
    assert using == CONTEXT


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_frozen_class_hides_a_cache(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ClassDef) and any("frozen=True" in ast.unparse(d) for d in node.decorator_list):
            decorators = {ast.unparse(d) for n in node.body if isinstance(n, ast.FunctionDef) for d in n.decorator_list}
            assert not {d for d in decorators if "cache" in d}, node.name


#: Modules of more than 350 lines, and why that shows.
LONG = {
    "weights/_machine.py": "one machine that reads one format",
}


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_is_read_at_a_sitting(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert (lines > 350) == (str(path.relative_to(PACKAGE)) in LONG), lines


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_changes_the_filters_of_warnings(path: Path) -> None:
    # catch_warnings puts back what it found: of two threads, the second may find and put back the first one's.
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    used |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    used |= {name.rpartition(".")[2] for name in imports(path)}
    assert not used & {"catch_warnings", "simplefilter", "filterwarnings", "resetwarnings"}


MATHEMATICS = ["ops", "functional.py", "activations.py", "layers"]
NAMED = {"layers/_user.py"}  # says how other libraries' objects become layers


@pytest.mark.parametrize(
    "name",
    sorted(
        {str(p.relative_to(PACKAGE)) for part in MATHEMATICS for p in [PACKAGE / part, *(PACKAGE / part).glob("*.py")]}
        - NAMED
        - {"ops", "layers"}
    ),
)
def test_the_mathematics_names_no_library(name: str) -> None:
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    for node in ast.walk(tree):  # docstrings are for people
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(value="")
    code = ast.unparse(tree).lower().replace("strict=true", "")  # of zip
    for library in ("numpy", "cupy", "jax", "torch", "dask", "strict"):
        assert library not in code


#: Modules that need what anyback does not, by name.
NEEDS = {"anyback.sklearn": "sklearn"}


@pytest.mark.parametrize("name", MODULES)
def test_all_is_complete_and_honest(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    module = importlib.import_module(name)
    exported = module.__all__
    assert list(exported) == sorted(exported, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert len(set(exported)) == len(exported)
    for item in exported:
        assert hasattr(module, item)
    own = {
        n
        for n, value in vars(module).items()
        if not n.startswith("_") and getattr(value, "__module__", None) == name and callable(value)
    }
    assert own <= set(exported)


@pytest.mark.parametrize("name", ["anyback", "anyback._show", "anyback.layers", "anyback.network"])
def test_what_is_imported_later_is_what_type_checkers_read(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    (block,) = [n for n in parsed(Path(module.__file__)).body if isinstance(n, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    imports = [n for n in block.body if isinstance(n, ast.ImportFrom)]
    named = {alias.name: n.module for n in imports for alias in n.names}
    assert set(named) == set(module.__all__) <= set(dir(module))
    for item, place in named.items():
        if place != name:
            assert getattr(module, item) is getattr(importlib.import_module(place or ""), item)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018
    assert not hasattr(module, "_nothing")


@pytest.mark.parametrize("name", anyback.__all__)
def test_no_module_hides_behind_a_public_name(name: str) -> None:
    # Or ``import anyback.name as m`` would give the function, and the module could not be reached.
    module = f"anyback.{name}"
    assert (importlib.util.find_spec(module) is not None) == inspect.ismodule(getattr(anyback, name))


def test_the_public_names_of_the_design_are_there() -> None:
    names = "load_model predict evaluate use_backend get_backend available_backends asarray to_numpy"
    names += " from_torch from_sklearn from_keras from_arrays"
    for name in [*names.split(), "read_weights", "write_weights", "activations", "layers", "datasets"]:
        assert name in anyback.__all__
    for name in [
        "identity",
        "step",
        "sigmoid",
        "relu",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "tanh",
        "softplus",
        "softmax",
        "log_softmax",
    ]:
        assert name in anyback.activations.ACTIVATIONS


def test_importing_is_light() -> None:
    code = """
import sys, anyback
loaded = {m.partition(".")[0] for m in sys.modules}
heavy = {"jax", "torch", "dask", "cupy", "cupyx", "array_api_strict", "scipy", "matplotlib", "sklearn", "pandas",
         "platformdirs", "requests", "urllib3", "filelock", "tqdm", "typer", "rich", "click", "safetensors",
         "ml_dtypes", "h5py", "zarr", "keras", "tensorflow", "flax", "equinox"}
print(sorted(heavy & loaded))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert anyback.__version__ == version("anyback")
