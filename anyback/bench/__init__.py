"""How long it takes: the same work on every array library and by hand, in one process, round by round.

A machine that is shared or throttled is slower for minutes at a time, so times of two runs do not compare. Here every
row of a table is run once in each round, in an order that is drawn anew, and what is reported beside the median time
is the median of the ratio to one row of the same round: of throughput, the floor that no code on NumPy goes below.
"""

from anyback.bench._by_hand import TILES, fastest
from anyback.bench._clock import restart, rounds
from anyback.bench._report import Report, Result
from anyback.bench._tables import TABLES, bench
from anyback.bench._work import Row, Work

__all__ = ["TABLES", "TILES", "Report", "Result", "Row", "Work", "bench", "fastest", "restart", "rounds"]
