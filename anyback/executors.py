"""What computes tasks: this process, processes of our own, or any executor of `concurrent.futures`' kind.

Examples
--------
>>> list(EXECUTORS)
['processes', 'dask', 'ray']
>>> with opened(2) as executor:  # processes, each of which starts when it is first needed
...     print(isinstance(executor, Processes), executor.submit(abs, -3).result())
True 3
>>> try:
...     tasks = Ray(num_cpus=1)
... except AnybackError:  # without Ray
...     tasks = None
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import operator
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

from anyback.errors import AnybackError, JobError

__all__ = ["EXECUTORS", "Processes", "Ray", "opened"]

#: So often a task may lose the process that computes it.
_MOST_DEATHS = 5
#: So often a process may end while it starts.
_MOST_STARTS = 3
#: What a script must have, or each process begins it again.
_GUARD = "a script that starts processes does so under if __name__ == '__main__'"


class Processes(Executor):
    """Processes of our own: a pool of one process each, so that a death is known to be of the task computed there.

    A process that dies is started anew, and its task computed again.

    Parameters
    ----------
    count : int
        How many.

    Raises
    ------
    JobError
        By a task's future, if it lost its process five times. Here, in a process that is just starting.
    BrokenExecutor
        By a task's future, if no process starts.
    """

    def __init__(self, count: int) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise JobError(f"a process that is starting cannot start others: {_GUARD}")
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="anyback")
        self._pools: queue.SimpleQueue[Executor | None] = queue.SimpleQueue()
        for _ in range(count):
            self._pools.put(None)
        self._count, self._ends = count, False

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        """Compute ``function(*args, **named)`` in one of the processes."""
        return self._threads.submit(self._result, function, args, named)

    def _result(self, function: Callable[..., Any], args: Any, named: Any) -> Any:
        pool = self._pools.get()  # there are as many as threads
        try:
            for _ in range(_MOST_DEATHS):
                pool = pool or _started()
                try:
                    return pool.submit(function, *args, **named).result()
                except BrokenExecutor:
                    pool.shutdown()
                    pool = None
                    if self._ends:  # whoever ended all may have ended this one too
                        raise
        finally:
            self._pools.put(pool)
        raise JobError(
            f"a process ended {_MOST_DEATHS} times while it computed this: it was killed, as where memory runs out"
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, behind what they are computing."""
        self._ends = True
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for _ in range(self._count if wait else 0):
            if (pool := self._pools.get()) is not None:
                pool.shutdown()
            self._pools.put(None)


def _started() -> Executor:
    """Return a pool whose process is there."""
    from concurrent.futures import ProcessPoolExecutor  # missing where there are no processes, as in a browser

    for _ in range(_MOST_STARTS):
        # Not forked: threads and libraries that hold threads do not survive that.
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
        try:
            pool.submit(os.getpid).result()
        except BrokenExecutor:
            pool.shutdown()
        else:
            return pool
    raise BrokenExecutor(f"processes end while they start; {_GUARD}")


def _begin() -> None:
    """Make a process one that leaves Ctrl-C to its parent, and ends where that ends, however it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    from multiprocessing.connection import wait

    wait([sentinel])
    os._exit(1)


class Ray(Executor):
    """Tasks of Ray's, on the cluster that this process is connected to. Ray begins a task anew where its worker dies.

    Parameters
    ----------
    **options
        What ``ray.remote`` takes, such as ``num_cpus=1``.
    """

    def __init__(self, **options: Any) -> None:
        self._ray = ray = _imported("ray")
        self._task = ray.remote(**{"max_retries": _MOST_DEATHS, **options})(_called)

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        """Compute ``function(*args, **named)`` in a worker of Ray's."""
        reference = self._task.remote(function, args, named)
        found: Future[Any] = Future()

        def pass_on(done: Future[Any]) -> None:
            if not found.set_running_or_notify_cancel():
                return
            error = done.exception()
            if error is None:
                found.set_result(done.result())
            else:  # of the task's own, Ray wraps the whole trace
                found.set_exception(getattr(error, "cause", None) or error)

        def cancel(done: Future[Any]) -> None:
            if done.cancelled():
                self._ray.cancel(reference)

        reference.future().add_done_callback(pass_on)
        found.add_done_callback(cancel)
        return found


def _called(function: Callable[..., Any], args: Any, named: Any) -> Any:
    return function(*args, **named)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise AnybackError(f"this executor needs {name}: pip install {name} ({error})") from None


def _processes() -> AbstractContextManager[Executor]:
    from anyback.backends._machine import usable_cores

    return _closing(Processes(usable_cores()))


@contextlib.contextmanager
def _dask() -> Iterator[Executor]:
    """Give the executor of the current client of `dask.distributed`, or of workers that end with it."""
    distributed = _imported("distributed")
    try:
        client = contextlib.nullcontext(distributed.default_client())
    except ValueError:  # there is none
        client = distributed.Client(processes=True, threads_per_worker=1, dashboard_address=None)
    with client as connected:
        yield connected.get_executor()


@contextlib.contextmanager
def _ray() -> Iterator[Executor]:
    """Give tasks of the Ray that this process is connected to, or of one that ends with them."""
    ray = _imported("ray")
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        yield Ray()
    finally:
        if started:
            ray.shutdown()


@contextlib.contextmanager
def _closing(executor: Executor) -> Iterator[Executor]:
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


#: The executors by name: each returns one to use in a ``with`` block. To add one: a function, and a row here.
EXECUTORS: dict[str, Callable[[], AbstractContextManager[Executor]]] = {
    "processes": _processes,
    "dask": _dask,
    "ray": _ray,
}


def opened(executor: Executor | int | str | None) -> AbstractContextManager[Executor | None]:
    """Return an executor to use in a ``with`` block; None stands for this process.

    Parameters
    ----------
    executor : concurrent.futures.Executor, int, str or None
        One that is used and left as it is; a number of processes; or a name in `EXECUTORS`.

    Raises
    ------
    AnybackError
        If it is none of these.
    """
    if executor is None or isinstance(executor, Executor):
        return contextlib.nullcontext(executor)
    if isinstance(executor, str):
        if executor in EXECUTORS:
            return EXECUTORS[executor]()
    else:
        with contextlib.suppress(TypeError):
            if operator.index(executor) >= 1:
                return _closing(Processes(operator.index(executor)))
    raise AnybackError(
        f"executor: expected a number of processes, a concurrent.futures.Executor, or one of {', '.join(EXECUTORS)}; "
        f"found {str(executor)[:40]}"
    )
