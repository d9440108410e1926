"""The comparison of a network's answers on every array library with those of float64 NumPy.

Each library runs the network on the same inputs. A library breaks the contract where a label differs although `certify`
proves that no rounding can change it, where outputs are off by more than `TOLERANCE` at full precision, where bits
depend on the batch size or on other rows, or where weights arrive changed.

Examples
--------
>>> import anyback as ab
>>> test = ab.datasets.digits("test")
>>> report = parity("digits-mlp", test.images, test.labels, backends=["numpy"], simulate=False)
>>> row = report.rows[0]
>>> row.differing, row.unstable_rows, row.max_error < TOLERANCE
(0, 0, True)
>>> BATCH_SIZES  # every row had the same bits in each of them
(1, 7, 100, 256, 1000, 10000)

A report is its rows, and says itself what they mean:

>>> wrong = Row("numpy", broken=("2 labels differ",))
>>> print(Report("mine", 500, "highest", {}, (wrong,), {}).summary())
mine, 500 inputs: 1 libraries and devices against float64 NumPy: NO AGREEMENT
"""

from anyback.agreement._compare import parity
from anyback.agreement._report import BATCH_SIZES, TOLERANCE, Report, Row

__all__ = ["BATCH_SIZES", "TOLERANCE", "Report", "Row", "parity"]
