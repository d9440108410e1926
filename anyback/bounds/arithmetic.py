"""The rules by which the bounds of `Bounded` arrays grow, as a namespace of the standard.

A `Bounded` array holds float64 values and bounds: the number that a library computes in its own floating-point type,
in any order of summation, lies within the bound of the value. `Arithmetic` has the functions of the standard that
forward passes use, so a network runs on bounded arrays unchanged. Each rule adds three errors: the one that the
operands' errors become through the exact operation, the rounding of the library, and the rounding of float64 here.

The rules follow. In them, u is the unit roundoff of the array's type (2**-24 for float32) plus twice 2**-53: once for
float64 in this module, and once for libraries that compute in float64 and round at the end.

- Sum, difference, product: the exact operation on intervals, then a relative error of u. Quotient: 4 u, since
  some compilers multiply by a rounded reciprocal.
- Sum or inner product of n terms: n u / (1 - n u) times the sum of the absolute values, in every order of summation,
  with or without fused multiply-add (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002,
  section 3.1). Terms that are exactly 0 add no error and are not counted. The bias of a product is a term like the
  others, since a library may begin with it. Products that are computed by other means than sums of products, such as
  Winograd's transforms of small filters, are not covered. A mean is a sum and a quotient; a running sum is many sums.
- Operands shortened before a product, to TF32 (11 significant bits) or bfloat16 (8): rounding is monotone, so the
  rounded ends of an operand's interval enclose the rounded operand; an exact operand, such as a weight, stays exact.
  A library may round both operands to nearest with ties either way, cut both off, or leave both as they are; the bound
  holds for each. Tensor cores cut sums off instead of rounding them, so their sums take 2 u for u (Fasi, Higham,
  Mikaitis, Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330, 2021).
- exp, expm1, log, log1p, tanh, sqrt, erf, erfc: monotone, so the values at the ends of the operand's interval bound the
  result; then 4 units in the last place, for erf 8 units, and for erfc(x) x**2 times 4 units where that is more, since
  the rounding of x**2 passes through an exponential. The libraries' functions are within 2.5 on the CPUs measured
  (expm1 on JAX within 3.2; of anyback's own, which JAX takes, tanh within 4 and erf within 2) and within 2 by CUDA's
  documentation.
- pow: the values at the ends of both operands' intervals, then 4 units, or y log(x) times as many. On the CPUs measured
  it is within 1, and within 4 by CUDA's documentation.
- sigmoid, softmax and log_softmax, as whole ops: the smallest and the largest value for operands in their intervals,
  then the op's own error (see `_ops`). As quotients of intervals they would be wider.
- maximum, minimum, max, min, clip, sort, and the functions that rise in steps (floor, ceil, round, trunc): they rise
  with each operand, and are computed without rounding, so the values at the ends bound the result.
- Comparisons, sign, argmax, argsort: known where the intervals do not meet. A boolean that is not known may be either,
  and `where` takes the interval that encloses both cases; of a number at a place that is not known, nothing is known.
- Integers and booleans: exact, held in float64. Not every library has more than 32 bits: of integers beyond them,
  nothing is known.
- Results below the smallest normal number may be flushed to 0: that number is added to each bound, unless the result
  is 0 exactly.
- Results that may lie above the largest number may be infinite, so nothing is known of them. An infinity that was put
  in, such as that of a mask, is exact.

A library that has a wider type may take it for some steps, and round once at the end. Each of these steps is off by
less than the rule says, and the last rounding by no more than the rule's last rounding.
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
from anyback.numbers import NUMBERS, PrecisionName

__all__ = ["Arithmetic"]


@dataclass(frozen=True)
class Arithmetic(Functions, Reductions, Products, Moving):
    """The functions of the standard that forward passes use, on `Bounded` arrays: a namespace.

    Parameters
    ----------
    precision : str
        Precision of matrix products: ``"highest"``, ``"tf32"`` or ``"bf16"``.
    """

    precision: PrecisionName = "highest"

    #: The rules of whole ops by name, which the backend of this namespace takes as its own kernels.
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
        """Return the standard's object of inspection; its floating-point type is the one that every library has."""
        defaults = {"real floating": np.dtype(np.float32), "integral": np.dtype(np.int64)}
        return SimpleNamespace(
            default_dtypes=lambda device=None: defaults,
            dtypes=lambda device=None, kind=None: {"float32": defaults["real floating"]},
            devices=lambda: [Bounded.device],
        )
