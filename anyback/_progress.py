"""A bar for those who watch: one rule for what is downloaded and what is computed."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["bar", "without_widgets"]


@contextlib.contextmanager
def without_widgets() -> Iterator[None]:
    """Import tqdm, or what imports it, inside: in a notebook without ipywidgets it warns, but a bar of text will do."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield


@contextlib.contextmanager
def bar(total: int, unit: str, **options: Any) -> Iterator[Callable[[int], object]]:
    """Show a progress bar where there is a terminal or a notebook, and nothing elsewhere.

    Parameters
    ----------
    total : int
        How much there is to do, in `unit`.
    unit : str
        What is counted.
    **options
        More for tqdm.

    Yields
    ------
    callable
        Call it with how much is done.
    """
    # There may be no standard error at all, as where it was closed before this process began.
    if not ((sys.stderr and sys.stderr.isatty()) or "ipykernel" in sys.modules):
        yield lambda done: None
        return
    with without_widgets():
        from tqdm.auto import tqdm

    with tqdm(total=total, unit=unit, **options) as shown:
        yield lambda done: shown.update(done - shown.n)
