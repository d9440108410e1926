"""ONNX types that no library has, such as int4, whose values are held in arrays of another type, such as int8.

The name of such a type goes with the value while a graph becomes a network. An operator that depends on it has a
keyword-only parameter ``held``: for each input the name of its ONNX type, or "" where that is the type of the array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anyback.onnx._operator import Operator
from anyback.onnx._types import HELD_AS

__all__ = ["result_type", "said_type"]

#: For an operator, the attributes and inputs whose type its result has; the first that is present counts.
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
    """Return the name of a type that arrays hold in another type; "" for a type that arrays have."""
    return name if name in HELD_AS else ""


def result_type(operator: Operator, inputs: Sequence[str], attributes: Mapping[str, Any]) -> str:
    """Return the ONNX type of an operator's first result, or "" where that is the type of its array.

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
