"""Which array library, and where: the table of backends and the choice between them.

Arrays decide what computes. The choice made here (an argument, `use_backend`, ``ANYBACK_BACKEND``, in that
order) says only where *new* arrays are made: weights that are loaded, data that comes from a file or a list.

Examples
--------
What an array is:

>>> import numpy as np
>>> x = np.asarray([1, 2], dtype=np.uint8)
>>> str(backend_of(x)), dtype_of(x), is_integer(x), is_float(x), is_concrete(x)
('numpy', 'uint8', True, False, True)
>>> xp = array_namespace(x)
>>> backend_name(xp), as_dtype(xp, "float32") == np.float32
('numpy', True)
>>> common_float(xp, np.dtype("float16"), np.dtype("float32"))
dtype('float32')
>>> host_array([[1, 2], [3, 4]]).shape
(2, 2)

What a backend is. One of your own overrides what its library does in its own way, such as a kernel for an op:

>>> class Mine(ROWS["numpy"]):
...     own = {"relu": Kernel(compute=lambda x: x * (x > 0))}
>>> isinstance(Mine(), Backend), Mine().own["relu"].compute(np.asarray([-1.0, 2.0]))
(True, array([-0.,  2.]))
>>> status = Mine().status()
>>> isinstance(status, Status), status.usable
(True, True)
>>> name: BackendName = "numpy"  # type checkers and editors know the names
>>> place: BackendLike = Mine()  # or a name, with or without a device
>>> with scope(place, "highest") as precision:
...     print(precision)
highest
>>> offered_precision(Mine())
'highest'

What runs takes and returns values in order; of one sample, it may be made of what takes a batch:

>>> double: Program = lambda values: (2 * values[0],)
>>> of_one(double)([np.ones(3)])
(array([2., 2., 2.]),)

The ways in which a library may multiply rows by a weight, best first; a check chooses among them:

>>> from anyback.ops import OPS
>>> product = Product("linear", OPS["linear"].compute, (3,), ((3, 2), None), "float32", (), 512, 6)
>>> len(Mine().ways(product)) > 1
True
"""

from anyback.backends._availability import available_backends
from anyback.backends._choice import get_backend, resolve, use_backend
from anyback.backends._moving import as_dtype, asarray, host_array, to_numpy
from anyback.backends._names import meant
from anyback.backends._precision import get_precision, offered_precision, scope
from anyback.backends._programs import Program, of_one
from anyback.backends._table import (
    ROWS,
    BackendLike,
    BackendName,
    array_namespace,
    backend_name,
    backend_of,
    dtype_of,
    is_concrete,
    is_float,
    is_integer,
)
from anyback.backends._ways import Kernel, Product
from anyback.backends.base import Backend, Status
from anyback.numbers import common_float, dtype_name, largest_of

__all__ = [
    "ROWS",
    "Backend",
    "BackendLike",
    "BackendName",
    "Kernel",
    "Product",
    "Program",
    "Status",
    "array_namespace",
    "as_dtype",
    "asarray",
    "available_backends",
    "backend_name",
    "backend_of",
    "common_float",
    "dtype_name",
    "dtype_of",
    "get_backend",
    "get_precision",
    "host_array",
    "is_concrete",
    "is_float",
    "is_integer",
    "largest_of",
    "meant",
    "of_one",
    "offered_precision",
    "resolve",
    "scope",
    "to_numpy",
    "use_backend",
]
