"""Which array library, and where: the table of backends and the choice between them.

Arrays decide what computes. The choice made here (an argument, `use_backend`, ``ANYBACK_BACKEND``, in that
order) says only where *new* arrays are made: weights that are loaded, data that comes from a file or a list.
"""

from anyback.backends._availability import available_backends
from anyback.backends._choice import get_backend, resolve, use_backend
from anyback.backends._moving import as_dtype, asarray, host_array, to_numpy
from anyback.backends._names import meant
from anyback.backends._precision import get_precision, offered_precision, scope
from anyback.backends._programs import Program, of_one
from anyback.backends._table import (
    ROWS,
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
