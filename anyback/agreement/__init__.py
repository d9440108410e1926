"""The comparison of a network's answers on every array library with those of float64 NumPy.

Each library runs the network on the same inputs. A library breaks the contract where a label differs although `certify`
proves that no rounding can change it, where outputs are off by more than `TOLERANCE` at full precision, where bits
depend on the batch size or on other rows, or where weights arrive changed.
"""

from anyback.agreement._compare import parity
from anyback.agreement._report import BATCH_SIZES, TOLERANCE, Report, Row

__all__ = ["BATCH_SIZES", "TOLERANCE", "Report", "Row", "parity"]
