"""Ops: what can be computed, in the standard alone, each with its facts; a file for each family, and one table.

Examples
--------
An op of your own is a function in the standard alone, and its facts; what is not said gets the safe default:

>>> import numpy as np
>>> @op(shape=same, rows=Rows.ALONE, casts=FLOATS, fresh=True)
... def double(x):
...     return x + x
>>> double(np.asarray([1, 2]))
array([2., 4.])
>>> is_op(double), isinstance(double, Op), known_op(double), known_op(OPS["relu"])
(True, True, False, True)

Other rules of types, and the files whose ops are in the table:

>>> OPS["linear"].casts is PRODUCTS, OPS["flatten"].casts is KEEP
(True, True)
>>> [family.__name__ for family in FAMILIES]
['anyback.ops.elementwise', ...]

Where rows are in a value, and the rules of ops that leave them there:

>>> x = Travel(shape=(2, 3), axis=0, first=True)
>>> given: Given = [x, Travel(shape=(3,))]
>>> moving(given) == [x], [rule(given).axis for rule in (together, by_first_axis)], one_by_one([x]).axis
(True, [0, 0], 0)
"""

from anyback.ops import attention, convolution, elementwise, linear, normalization, pooling, shape, softmax, special
from anyback.ops._attributes import array_parameters, checked_attributes
from anyback.ops._casts import FLOATS, KEEP, PRODUCTS
from anyback.ops._op import OPS, Op, is_op, known_op, op, same
from anyback.ops._travel import Given, Travel, by_first_axis, moving, one_by_one, together
from anyback.plan import Rows

__all__ = [
    "FAMILIES",
    "FLOATS",
    "KEEP",
    "OPS",
    "PRODUCTS",
    "Given",
    "Op",
    "Rows",
    "Travel",
    "array_parameters",
    "by_first_axis",
    "checked_attributes",
    "is_op",
    "known_op",
    "moving",
    "one_by_one",
    "op",
    "same",
    "together",
]

#: The files, each of which names its ops in ``__all__``.
FAMILIES = (elementwise, softmax, special, linear, shape, convolution, pooling, normalization, attention)

OPS.update((name, getattr(family, name)) for family in FAMILIES for name in family.__all__)
