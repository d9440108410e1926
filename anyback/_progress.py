"""A bar for those who watch: one rule for what is downloaded and what is computed."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["bar"]


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
    terminal = bool(sys.stderr and sys.stderr.isatty())
    if not (terminal or "ipykernel" in sys.modules):
        yield lambda done: None
        return
    # Not tqdm.auto: where a notebook has no ipywidgets it warns, and to silence a warning is not safe among threads.
    if not terminal and importlib.util.find_spec("ipywidgets"):
        from tqdm.notebook import tqdm
    else:
        from tqdm.std import tqdm

    with tqdm(total=total, unit=unit, **options) as shown:
        yield lambda done: shown.update(done - shown.n)
