"""Arrays that carry a value and a bound on its error, and the rules by which the bounds grow.

A `Bounded` array holds float64 values and bounds: whatever a library computes in its own floating-point type, in
any order of summation, lies within the bound of the value. It implements what the forward pass uses of the standard,
so a network runs on it unchanged. Each rule adds three things: how far the errors of the operands reach through the
exact operation, the rounding of that library, and the rounding of the float64 here.

The rules, with u the unit roundoff of the array's type (2**-24 for float32) and twice 2**-53 added to it, for float64
here and for libraries that compute in float64 and round in the end:

- Sum, difference, product: the exact operation on intervals, then a relative error of u. Quotient: 4 u, since
  some compilers multiply by a rounded reciprocal.
- Sum or inner product of n terms: n u / (1 - n u) times the sum of the absolute values, in every order of summation,
  with or without fused multiply-add (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002,
  section 3.1). Terms that are exactly 0 add no error and are not counted. The bias of a product is a term like the
  others, since a library may begin with it. Products by other means than sums of products, such as Winograd's
  transforms of small filters, are not covered. A mean is a sum and a quotient, a running sum many sums.
- Operands shortened before a product, to TF32 (11 significant bits) or bfloat16 (8): rounding is monotone, so the
  rounded ends of an operand's interval hold it, and what is known exactly, as weights are, is known rounded too.
  A library may round both operands to nearest, ties either way, cut both off, or leave them; the bound holds for all.
  Tensor cores cut off where others round, so their sums take 2 u for u (Fasi, Higham, Mikaitis, Pranesh, "Numerical
  behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330, 2021).
- exp, expm1, log, log1p, tanh, sqrt, erfc: monotone, so the values at the ends of the operand's interval bound the
  result; then 4 units in the last place, and for erfc(x) x**2 times as many where that is more, since the rounding of
  x**2 passes through an exponential. The libraries' functions are within 2.5 on the CPUs measured (expm1 on JAX within
  3.2; anyback's own tanh, which JAX takes, within 4) and within 2 by CUDA's documentation.
- pow: the values at the ends of both operands' intervals, then 4 units, or y log(x) times as many. On the CPUs measured
  it is within 1, and within 4 by CUDA's documentation.
- sigmoid, softmax and log_softmax as ops: the ends of what they can be, then their own error (see `_ops`): as
  quotients of intervals they would be wider.
- maximum, minimum, max, min, clip, sort, and the functions that rise in steps (floor, ceil, round, trunc): they rise
  with each operand, and are computed without rounding, so the values at the ends bound the result.
- Comparisons, sign, argmax, argsort: known where the intervals lie apart. Booleans that are not known may be either,
  and `where` takes the interval that holds both; of what lies at a place that is not known, nothing is known.
- Integers and booleans: exact, in float64 here. Beyond 32 bits, which is all that every library has, nothing is known.
- Results below the smallest normal number may be flushed to 0: that number is added to each bound, unless the result
  is 0 exactly.
- Results that may lie above the largest number may be infinite, and what follows from them anything. An infinity that
  was put in, such as that of a mask, is exactly that.

A library that has a wider type may take it for some steps, and round once in the end. Each of these steps is off by
less than here, and the last rounding by no more than that of the last step that rounds here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from anyback.backends import Kernel, as_dtype
from anyback.bounds._bounded import Bounded
from anyback.bounds._functions import Functions
from anyback.bounds._moving import Moving
from anyback.bounds._ops import KERNELS
from anyback.bounds._products import Products
from anyback.bounds._reductions import Reductions
from anyback.errors import BackendError
from anyback.numbers import NUMBERS

__all__ = ["Arithmetic"]


@dataclass(frozen=True)
class Arithmetic(Functions, Reductions, Products, Moving):
    """The arithmetic of a library as a namespace: what the forward pass uses of the standard, with bounds.

    Parameters
    ----------
    precision : str
        Precision of matrix products: ``"highest"``, ``"tf32"`` or ``"bf16"``.
    """

    precision: str = "highest"

    #: The rules of ops that libraries compute in another order than the op's own function does, for its backend.
    kernels_of_anyback: ClassVar[Mapping[str, Kernel]] = KERNELS

    @property
    def __name__(self) -> str:
        """The name in error messages."""
        return f"bounds ({self.precision})"

    def __getattr__(self, name: str) -> Any:
        if name in NUMBERS:
            return as_dtype(np, name)
        if name.startswith("_"):
            raise AttributeError(name)
        raise BackendError(f"there is no rule for the error of {name!r}; add one in anyback/bounds")

    def __array_namespace_info__(self) -> SimpleNamespace:
        """Return what the standard asks: the default types, and the only one of floats that every library has."""
        defaults = {"real floating": np.dtype(np.float32), "integral": np.dtype(np.int64)}
        return SimpleNamespace(
            default_dtypes=lambda device=None: defaults,
            dtypes=lambda device=None, kind=None: {"float32": defaults["real floating"]},
            devices=lambda: [Bounded.device],
        )
