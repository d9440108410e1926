"""How long it takes: the same work on every array library and by hand, in one process, round by round.

A machine that is shared or throttled is slower for minutes at a time, so times of two runs do not compare. Here every
row of a table is run once in each round, in an order that is drawn anew, and what is reported beside the median time
is the median of the ratio to one row of the same round: of throughput, the floor that no code on NumPy goes below.

Examples
--------
A row of your own is measured beside the others, once it gives the same answer:

>>> import anyback as ab
>>> list(TABLES)
['throughput', 'latency', 'growth', 'memory', 'workers', 'import', 'first']
>>> work = Work.of("digits-mlp", ab.datasets.digits("test").images)
>>> row = Row("mine", "by hand", lambda work: lambda: ab.predict(work.net, work.x))
>>> work.fault(row.prepare(work)())
''

Code by hand is tried with several numbers of rows, and its fastest counts:

>>> run = fastest(lambda tile: lambda: [work.net(work.x[i : i + tile]) for i in range(0, 500, tile)], [(250,), (500,)])
>>> sum(len(y) for y in run()), TILES
(500, (64, 128, 256, 512, 1024))

What comes out:

>>> result = Result.timed("throughput", "mine", "by hand", [0.2, 0.4], [0.1, 0.2])
>>> print(Report("mine", 500, 1, 2, {"throughput": "Mine"}, (result,), {"processor": "-", "blas": "-"}))
Mine
...
mine  300 ms   2.00  ████████████████████
...

The command ``python benchmarks/run.py`` is started again, held to so many cores, before it loads a library:

>>> try:
...     restart(threads=0)
... except ab.AnybackError as error:
...     print(error)
threads: expected 1 to ..., the cores that there are, found 0
"""

from anyback.bench._by_hand import TILES, fastest
from anyback.bench._clock import restart, rounds
from anyback.bench._report import Report, Result
from anyback.bench._tables import TABLES, bench
from anyback.bench._work import Row, Work

__all__ = ["TABLES", "TILES", "Report", "Result", "Row", "Work", "bench", "fastest", "restart", "rounds"]
