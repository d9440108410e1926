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
    if not ((sys.stderr and sys.stderr.isatty()) or "ipykernel" in sys.modules):
        yield lambda done: None
        return
    with _tqdm()(total=total, unit=unit, **options) as shown:
        yield lambda done: shown.update(done - shown.n)


def _tqdm() -> Any:
    """Return tqdm's class of a bar: with widgets in a notebook that has them, of text elsewhere.

    tqdm.auto chooses so too, but warns in a notebook without widgets, and changes the process's filters of warnings.
    """
    if "ipykernel.zmqshell" in sys.modules and importlib.util.find_spec("ipywidgets"):
        from tqdm.notebook import tqdm as widget

        return widget
    from tqdm import tqdm as text

    # Without the thread that would draw a bar again that stands still: not everywhere can one be started.
    return type("Bar", (text,), {"monitor_interval": 0})
