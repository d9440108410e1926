"""What is checked of an input before a network computes."""

from __future__ import annotations

from collections.abc import Sequence

from anyback import backends
from anyback._typing import Array
from anyback.backends import Backend, backend_of, dtype_of
from anyback.errors import BackendError, ShapeError
from anyback.network._call import Sample, fits
from anyback.plan import Shape

__all__ = ["backend_beside", "is_batch"]


def is_batch(shape: Shape, samples: Sequence[Sample]) -> bool:
    """Return whether a shape is that of a batch rather than one sample; `ShapeError` where it is neither.

    Parameters
    ----------
    shape : tuple of int
        Of the input.
    samples : sequence of tuple of (int or None)
        The shapes that one sample may have; empty where any shape will do.
    """
    if not samples:
        return len(shape) > 1
    if shape[1:] in samples:  # before the other: a sample with an axis of one channel is a batch of one as well
        return True
    if shape in samples:
        return False
    for rest, answer in ((shape[1:], True), (shape, False)):
        if any(fits(rest, sample) for sample in samples):
            return answer
    said = [", ".join("size" if size is None else str(size) for size in sample) for sample in samples]
    wanted = " or ".join(f"(n, {s}) or ({s}{'' if ', ' in s else ','})" for s in said)
    raise ShapeError(f"the network takes shape {wanted}; found {shape}")


def backend_beside(arrays: Sequence[Array], place: Backend | None, x: Array) -> Backend:
    """Return the backend and the device of an input, or raise `BackendError` where a network's arrays are elsewhere.

    `place` is where the arrays are: there is one object for each library and device.
    """
    backend = backend_of(x, device=True)
    dtype_of(x)
    if arrays and backend is not place:
        backends.array_namespace(arrays[0], x)
        here, there = backend.device, backend.device_of(arrays[0])
        if here and there and here != there:
            raise BackendError(
                f"the network is on {backend.name}:{there}, the input on {backend.name}:{here}; move one: "
                f"net.to('{backend.name}:{here}') or anyback.asarray(x, backend='{backend.name}:{there}')"
            )
    return backend
