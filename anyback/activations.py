"""Activation functions: one array in, one of the same shape and library out, of the same floating-point type.

Integers and booleans become the library's default floating-point type. float16 and bfloat16 are computed in float32 and
rounded once. Which one ends a network follows from its task: `identity` for regression, `sigmoid` for two classes,
`softmax` for many.

Examples
--------
>>> import numpy as np
>>> for name in ("step", "relu"):
...     print(name, ACTIVATIONS[name](np.asarray([-1.0, 2.0])))
step [0. 1.]
relu [0. 2.]

Type checkers and editors know the names:

>>> hidden: ActivationName = "relu"
>>> output: Activation = sigmoid  # or a name
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Literal, TypeAlias

from anyback._typing import Array
from anyback.errors import AnybackError
from anyback.ops import Op
from anyback.ops.elementwise import elu, gelu, identity, leaky_relu, relu, sigmoid, silu, softplus, step, tanh
from anyback.ops.softmax import log_softmax, softmax

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "ActivationName",
    "elu",
    "gelu",
    "get",
    "identity",
    "leaky_relu",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "step",
    "tanh",
]

#: The names in `ACTIVATIONS`, for type checkers and editors.
ActivationName: TypeAlias = Literal[
    "identity",
    "step",
    "sigmoid",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "tanh",
    "softplus",
    "softmax",
    "log_softmax",
]
#: What may be given as an activation: a name, or a function of one array.
Activation: TypeAlias = ActivationName | Callable[[Array], Array]

#: The activations by name, for `load_model`, the command line and error messages.
ACTIVATIONS: MappingProxyType[str, Op] = MappingProxyType(
    {
        found.name: found
        for found in (
            identity,
            step,
            sigmoid,
            relu,
            leaky_relu,
            elu,
            gelu,
            silu,
            tanh,
            softplus,
            softmax,
            log_softmax,
        )
    }
)


def get(name: str | Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return an activation by name; a function is returned as it is.

    Parameters
    ----------
    name : str or callable
        A name in `ACTIVATIONS`.

    Returns
    -------
    callable

    Raises
    ------
    AnybackError
        If the name is unknown.

    Examples
    --------
    >>> get("relu").__name__
    'relu'
    """
    if callable(name):
        return name
    if str(name) in ACTIVATIONS:
        return ACTIVATIONS[str(name)]
    raise AnybackError(f"unknown activation {str(name)[:40]!r}; known: {', '.join(ACTIVATIONS)}")
