"""One network on every array library, compared: does it answer the same there as here.

Each library runs the network on the same inputs, and is compared with float64 NumPy. A row breaks the contract where a
label differs although `certify` proves that no rounding can change it, where probabilities are off by more than
`TOLERANCE` at full precision, where bits depend on how the work is cut, or where weights arrive changed.
"""

from anyback.agreement._compare import parity
from anyback.agreement._report import BATCH_SIZES, TOLERANCE, Report, Row

__all__ = ["BATCH_SIZES", "TOLERANCE", "Report", "Row", "parity"]
