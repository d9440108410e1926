"""The pages of the API: one for every public name, with its docstring and an example that is run as a doctest."""

from __future__ import annotations

import doctest
import enum
import functools
import importlib
import inspect
import itertools
import pkgutil
import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import anyback
from anyback.ops import is_op

__all__ = ["Name", "importable", "make", "modules", "names"]

#: What most people need, in this order. Every other module of the package comes behind, for those who extend it.
USUAL = (
    "anyback",
    "anyback.activations",
    "anyback.functional",
    "anyback.layers",
    "anyback.models",
    "anyback.datasets",
    "anyback.plots",
    "anyback.weights",
    "anyback.errors",
    "anyback.sklearn",
)


#: Names whose examples are not run, since they need files that are downloaded. Notebook 3 runs the first.
DOWNLOADED = {"anyback.datasets.mnist", "anyback.datasets.load_mnist"}


def modules() -> list[str]:
    """Return the public modules: the package, and what lies in it without an underscore."""
    found = ["anyback", *(f"anyback.{m.name}" for m in pkgutil.iter_modules(anyback.__path__) if m.name[0] != "_")]
    return [*USUAL, *sorted(set(found) - set(USUAL))]


@functools.cache
def importable() -> list[str]:
    """Return the public modules whose libraries are installed."""
    found = []
    for module in modules():
        try:
            importlib.import_module(module)
        except ImportError:
            continue
        found.append(module)
    return found


@dataclass(frozen=True)
class Name:
    """A public name, on the page of the first module that has it."""

    module: str
    name: str
    value: Any

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def page(self) -> str:
        # Names may differ in their case alone, which some file systems do not see.
        return f"{self.full}-class" if inspect.isclass(self.value) else self.full

    @property
    def kind(self) -> str:
        if inspect.isclass(self.value):
            return "exception" if issubclass(self.value, BaseException) else "class"
        # An op is an object that says which function it wraps.
        return "function" if inspect.isroutine(self.value) or hasattr(self.value, "__wrapped__") else "data"

    @property
    def text(self) -> str:
        """The docstring; of data, the comment above it."""
        return (inspect.getdoc(self.value) or "") if self.kind != "data" else comment_of(self.name, self.value)

    @property
    def has_own_example(self) -> bool:
        return self.kind != "data" and bool(examples_in(self.text) or self.full in DOWNLOADED)

    @property
    def example(self) -> str:
        """The docstring whose example is this name's: its own, or that of the module, which shows several names."""
        if self.has_own_example:
            return self.text
        imported = re.compile(rf"from {self.module} import .*\b{self.name}\b")
        for module in importable():
            text = inspect.getdoc(importlib.import_module(module)) or ""
            # A name of one module may be shown where another uses it.
            at_home = getattr(importlib.import_module(module), self.name, None) is self.value
            if (at_home and shows(text, self.name)) or any(imported.match(one.source) for one in examples_in(text)):
                return text
        # And data where a function or a class beside it uses it.
        beside = (n.text for n in names() if n.module == self.module and n.has_own_example)
        return next((text for text in beside if shows(text, self.name)), "")


def examples_in(text: str) -> list[doctest.Example]:
    """Return the examples in a docstring that are run."""
    return [one for one in doctest.DocTestParser().get_examples(text) if doctest.SKIP not in one.options]


def shows(text: str, name: str) -> bool:
    """Return whether examples in a docstring use a name."""
    code = compile("\n".join(one.source for one in examples_in(text)), "example", "exec", dont_inherit=True)
    used = {*code.co_names, *(n for c in code.co_consts if inspect.iscode(c) for n in c.co_names)}
    return name in used


@functools.cache
def names() -> list[Name]:
    """Return every public name of every public module, each object once."""
    found: dict[int, Name] = {}
    for module in importable():
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            value = getattr(loaded, name)
            if not inspect.ismodule(value):
                found.setdefault(id(value), Name(module, name, value))
    return list(found.values())


@functools.cache
def _files() -> list[ModuleType]:
    walked = (m.name for m in pkgutil.walk_packages(anyback.__path__, "anyback.", onerror=lambda name: None))
    return [importlib.import_module(name) for name in walked if name not in ("anyback.__main__", "anyback.sklearn")]


def comment_of(name: str, value: Any) -> str:
    """Return the comment ``#:`` above the line that makes a value."""
    for module in _files():
        if getattr(module, name, None) is not value:
            continue
        lines = inspect.getsource(module).splitlines()
        made = [number for number, line in enumerate(lines) if line.startswith((f"{name} =", f"{name}: "))]
        above = itertools.takewhile(lambda line: line.startswith("#:"), reversed(lines[: made[0]] if made else []))
        if comment := [line.removeprefix("#:").strip() for line in above]:
            return "\n".join(reversed(comment))
    return ""


# -- Pages --------------------------------------------------------------------------------------------


def make(docs: Path) -> None:
    """Write the pages into ``api/``; an error names every public name without words or without an example."""
    folder = docs / "api"
    faults = [f"{module} cannot be imported" for module in modules() if module not in importable()]
    faults += [f"{n.full} has no docstring or comment" for n in names() if not n.text]
    faults += [f"{n.full} has no example that is run" for n in names() if not n.example]
    if faults:
        raise RuntimeError("\n".join(faults))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in names():
        (folder / f"{name.page}.rst").write_text("\n".join(page_of(name)) + "\n", encoding="utf-8")
    for module in modules():
        (folder / f"{module}.rst").write_text("\n".join(page_of_module(module)) + "\n", encoding="utf-8")
    (folder / "index.rst").write_text("\n".join(index()) + "\n", encoding="utf-8")


def titled(title: str, line: str = "=") -> list[str]:
    return [title, line * len(title), ""]


def first_line(text: str) -> str:
    line = " ".join(text.partition("\n\n")[0].split())
    return re.sub(r"(?<![\w*`])\*(?=\w+[),])", r"\\*", line)  # (n, *shape) is no emphasis


def index() -> Iterator[str]:
    yield from titled("API")
    yield "Every public name has a page, with an example that is run as a test."
    yield ""
    for caption, some in (
        ("What most people need", USUAL),
        ("To extend anyback, and to look inside", [m for m in modules() if m not in USUAL]),
    ):
        yield from titled(caption, "-")
        yield from (".. list-table::", "   :widths: 30 70", "")
        for module in some:
            yield f"   * - :doc:`{module} <{module}>`"
            yield f"     - {first_line(inspect.getdoc(importlib.import_module(module)) or '')}"
        yield from ("", ".. toctree::", "   :hidden:", "", *(f"   {module}" for module in some), "")


def page_of_module(module: str) -> Iterator[str]:
    loaded = importlib.import_module(module)
    yield from titled(module)
    text = inspect.getdoc(loaded) or ""
    yield from (f".. py:module:: {module}", "", text.partition("\nExamples\n")[0], "")
    pages = {id(name.value): name for name in names()}
    yield from (".. list-table::", "   :widths: 30 70", "   :class: names", "")
    own = []
    for item in loaded.__all__:
        value = getattr(loaded, item)
        if inspect.ismodule(value):
            yield f"   * - :doc:`{item} <{value.__name__}>`"
            yield f"     - {first_line(inspect.getdoc(value) or '')}"
            continue
        name = pages[id(value)]
        own += [name] if name.module == module else []
        yield f"   * - :doc:`{item} <{name.page}>`"
        yield f"     - {first_line(name.text)}"
    yield ""
    if examples_in(text):
        yield from (".. rubric:: Examples", "", *example_lines(text), "")
    yield from (".. toctree::", "   :hidden:", "", *(f"   {n.name} <{n.page}>" for n in own), "")


def page_of(name: Name) -> Iterator[str]:
    yield from titled(name.full)
    yield from (f".. currentmodule:: {name.module}", "")
    if name.kind == "data":
        yield from (f".. py:data:: {name.name}", "", textwrap.indent(name.text, "   "), "")
        if isinstance(name.value, (int, float, str, tuple)):
            yield from ("   .. code-block:: python", "", f"      {name.name} = {name.value!r}", "")
        elif hasattr(name.value, "keys"):
            yield from (f"   Holds {', '.join(f'``{key}``' for key in name.value)}.", "")
    else:
        yield f".. auto{name.kind}:: {name.full}"
        if members := members_of(name.value):
            yield f"   :members: {', '.join(members)}"
        yield from ("", *facts_of(name.value))
    if not name.has_own_example:
        yield from (".. rubric:: Examples", "", *example_lines(name.example), "")


def facts_of(value: Any) -> Iterator[str]:
    """Yield what an op says of itself, for contributors; nothing of anything else."""
    if not is_op(value):
        return
    pages = {id(name.value): name for name in names()}
    rows, casts = pages[id(type(value.rows))], pages.get(id(value.casts))
    facts = [f":doc:`how its rows depend on each other <{rows.page}>`: {value.rows.name}"]
    facts += [f":doc:`rule of types <{casts.page}>`: {casts.name}"] if casts else []
    facts += ["its result is memory of its own"] * value.fresh
    facts += ["a lower precision rounds its operands"] * value.products
    facts += [f"trained: {', '.join(value.trained)}"] if value.trained else []
    yield from (".. rubric:: Facts of the op", "", *(f"- {fact}" for fact in facts), "")


def members_of(value: Any) -> list[str]:
    """Return the documented members of a class that anyback defines, in its bases too."""
    if not inspect.isclass(value) or issubclass(value, BaseException):
        return []
    if issubclass(value, enum.Enum):
        return [member.name for member in value]
    found = []
    for kind in value.__mro__:
        if not kind.__module__.startswith("anyback"):
            continue
        for name, member in vars(kind).items():
            public = not name.startswith("_") or name == "__call__"
            said = inspect.getdoc(member) if callable(member) or isinstance(member, (property, staticmethod)) else ""
            if public and said and name not in found:
                found.append(name)
    return found


def example_lines(text: str) -> Iterator[str]:
    """Yield the part of a docstring that holds the examples, with the words between them."""
    lines = text.splitlines()
    start = lines.index("Examples") + 2 if "Examples" in lines else next(i for i, x in enumerate(lines) if ">>>" in x)
    for line in lines[start:]:
        if line in ("References", "Notes"):
            return
        yield line
