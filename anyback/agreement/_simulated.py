"""A GPU's lower precisions on NumPy: the operands of products are rounded, and the sums are those of NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback.backends import Kernel, Product
from anyback.backends._ways import Way
from anyback.backends.numpy import NumPy
from anyback.bounds import round_to
from anyback.lower import lower
from anyback.network import Network
from anyback.numbers import dtype_name
from anyback.ops import OPS, Rows

__all__ = ["simulated"]


@dataclass(frozen=True)
class _Rounding(NumPy):
    """NumPy with the operands of each product rounded.

    Parameters
    ----------
    bits : int
        Significant bits of the operands.
    """

    bits: int = 24

    @property
    def own(self) -> Mapping[str, Kernel]:  # type: ignore[override]
        """NumPy's kernels, with the operands rounded in those of ops that multiply."""
        kernels = {name: Kernel(self._rounded(name, op.compute)) for name, op in OPS.items() if op.products}
        return {**NumPy.own, **kernels}

    def ways(self, product: Product) -> tuple[Way, ...]:
        """Return the one way to compute a product, so that no check of bits is made."""
        kernel = self._rounded(product.op, product.compute)

        def ready(*arrays: Any, **attributes: Any) -> Callable[[np.ndarray], np.ndarray]:
            dtype = next(a.dtype for a in arrays if a is not None)
            return lambda x: kernel(x.astype(dtype), *arrays, **attributes)

        return (Way("rounded operands", 1, 1, ready),)

    def _rounded(self, name: str, compute: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        """Return the function of a product, which rounds the rows and the weight, but not the bias."""
        kernel = NumPy.own[name].over(compute) if name in NumPy.own else compute

        def product(x: np.ndarray, weight: np.ndarray, *others: Any, **attributes: Any) -> np.ndarray:
            return kernel(round_to(x, self.bits), round_to(weight, self.bits), *others, **attributes)

        return product


def simulated(net: Network, x: np.ndarray, bits: int) -> np.ndarray:
    """Return the outputs of a network on NumPy with the operands of each product rounded to nearest.

    Parameters
    ----------
    net : Network
        The network, on NumPy.
    x : numpy.ndarray
        The inputs, a batch.
    bits : int
        Significant bits of the operands.

    Returns
    -------
    numpy.ndarray
    """
    backend = _Rounding(bits=bits)
    plan = lower(net, backend, "highest", [dtype_name(x.dtype)], [x.shape[1:]])
    run = backend.load(plan)
    size = len(x) if plan.rows is Rows.UNKNOWN else plan.tile
    return np.concatenate([run(x[i : i + size])[0] for i in range(0, len(x), size)])
