"""How the pages are built: `nox -s docs`. What is made from the code and the reports, `_made/` makes."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from _made import api, benchmarks, house, notebooks  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import anyback  # noqa: E402

project = "anyback"
author = copyright = "anyback developers"
version = release = anyback.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc"]
exclude_patterns = ["_made", "made"]
default_role = "py:obj"  # a name in single backticks links to its page, where it has one

# The pages' code runs when they are built; what it writes in red is a warning, and warnings are errors.
nb_execution_mode = "auto"
nb_execution_timeout = 1200  # of a cell, on a busy machine
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_in_temp = True
nb_output_stderr = "error"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
os.environ["ANYBACK_BACKEND"] = "numpy"
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
os.environ["PYTHONWARNINGS"] = "default"
os.environ["OMP_NUM_THREADS"] = "1"  # two pages are run at a time

autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

html_theme = "furo"
html_title = "anyback"
html_static_path = ["_static"]
html_css_files = ["anyback.css"]


def stars_as_they_are(app: Sphinx, what: str, name: str, given: object, options: object, lines: list[str]) -> None:
    """Let ``(n, *shape)`` in a docstring be what it says, and not the start of emphasis."""
    lines[:] = [line if ">>>" in line else re.sub(r"(?<![\w*`\\])\*(?=\w+[),])", r"\\*", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Make the pages that are not written by hand, before the others are read."""
    app.connect("autodoc-process-docstring", stars_as_they_are, priority=100)  # before numpydoc
    for made in (api, benchmarks, house, notebooks):
        made.make(HERE)
