"""ONNX's types of values that arrays hold in another type: what a zero point of int4 says is lost in an array of int8.

So the name of such a type goes with the value while a graph becomes a network, and an operator that depends on it has a
keyword-only parameter ``held``: for each input the name of the type that its array holds, or "" where the array's own
type says all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anyback.onnx._operator import Operator
from anyback.onnx._types import HELD_AS

__all__ = ["result_type", "said_type"]

#: What names the type of the result: attributes that are types, and inputs whose type it has; the first that is there.
_GIVES: dict[str, tuple[str, ...]] = {
    "Cast": ("to",),
    "CastLike": ("target_type",),
    "QuantizeLinear": ("output_dtype", "y_zero_point"),
    "QLinearMatMul": ("y_zero_point",),
    "Constant": ("value",),
    **dict.fromkeys(
        ("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity"), ("",)
    ),
    **dict.fromkeys(("Pad", "Reshape", "Slice", "SpaceToDepth", "Squeeze", "Tile", "Transpose"), ("",)),
    **dict.fromkeys(("Compress", "ReverseSequence", "ScatterElements", "ScatterND", "TensorScatter"), ("",)),
    "Unsqueeze": ("",),
}


def said_type(name: str) -> str:
    """Return the name of a type if arrays hold it in another one, else ""."""
    return name if name in HELD_AS else ""


def result_type(operator: Operator, inputs: Sequence[str], attributes: Mapping[str, Any]) -> str:
    """Return the type that the first result of an operator holds, or "" where its array's own type says all.

    Parameters
    ----------
    operator : Operator
        The operator.
    inputs : sequence of str
        The types that the inputs hold, "" for others and absent ones.
    attributes : mapping of str to value
        The attributes that are there; a tensor stands for its type.
    """
    gives = () if operator.domain else _GIVES.get(operator.name, ())
    if not gives:
        return ""
    places = {p.name: place for place, p in enumerate(operator.inputs)}
    for name in gives:
        at = places.get(name, None if name else 0)  # "" is the first input, also one of any number
        found = inputs[at] if at is not None and at < len(inputs) else attributes.get(name, "")
        found = getattr(found, "dtype", found)
        if isinstance(found, str) and said_type(found):
            return found
    return ""
