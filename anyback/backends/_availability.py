"""Which backends can be used here: each library is tried in a process of its own."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from anyback.backends._table import OWN_ROWS, ROWS
from anyback.backends.base import Backend, Status
from anyback.backends.numpy import NumPy

__all__ = ["available_backends"]


def available_backends() -> dict[str, Status]:
    """Return the status of every backend: whether it can be used here, and if not, why, and how to mend it.

    Each library is tried in a process of its own, where processes can be started: it may crash, take the GPU's memory
    or take long to import without an effect on this one. The first call takes seconds, and later calls return the same
    answer; nothing is tried at import. A backend that the program itself added to `ROWS` is tried in this process,
    since no other process has it.

    Returns
    -------
    dict of str to Status
        One entry for each known backend, in the order of the table.

    Examples
    --------
    >>> available_backends()["numpy"].usable
    True
    """
    from concurrent.futures import ThreadPoolExecutor

    with _trying:  # a second thread waits, and does not try again
        rows = dict(ROWS)
        new = [row for row in rows.values() if row not in _tried]
        try:
            with ThreadPoolExecutor(max_workers=4) as pool:
                found = list(pool.map(_status_of, new))
        except RuntimeError:  # no thread can be started, as in a browser
            found = [_status_of(row) for row in new]
        _tried.update(zip(new, found, strict=True))
        return {name: _tried[row] for name, row in rows.items()}


_tried: dict[type[Backend], Status] = {}
_trying = threading.Lock()


def _status_of(row: type[Backend]) -> Status:
    # NumPy is imported already. Another process has anyback's own backends alone, not those that this program added.
    return _status_in_child(row.name) if row in OWN_ROWS and row is not NumPy else row().status()


_CHILD = "import json, dataclasses, sys; from anyback.backends import ROWS; \
print('\\n' + json.dumps(dataclasses.asdict(ROWS[sys.argv[1]]().status())))"


def _status_in_child(name: str) -> Status:
    import json
    import subprocess

    command = [sys.executable, "-W", "ignore", "-c", _CHILD, name]
    try:
        # The child must find this anyback, however the parent came to it.
        path = os.pathsep.join(p for p in sys.path if p)
        environment = {**os.environ, "PYTHONPATH": path}
        child = subprocess.run(
            command, capture_output=True, timeout=120, env=environment, stdin=subprocess.DEVNULL, check=False
        )
        fields: dict[str, Any] = json.loads(child.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Status(name, False, reason="did not answer within 120 s", remedy="check the device and its driver")
    except OSError:  # no process can be started, as in a browser
        return ROWS[name]().status()
    except (ValueError, IndexError):
        reason = "the process that tried it crashed"
        return Status(name, False, reason=reason, remedy=f"try python -c 'import {name}' and read what it prints")
    return Status(**{**fields, "devices": tuple(fields["devices"])})
