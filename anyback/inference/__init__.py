"""Answers for many inputs: tiles, batches, and progress.

A matrix product may sum a row in another order elsewhere in the product, or in one of another number of rows, so a
row's last bits may depend on what is asked for beside it. In which way a weight is to be multiplied so that they do
not, a check on the processor that runs decides (`anyback.backends._ways`). And `predict` cuts its input at absolute
row numbers into tiles of one number of rows, and fills up the last with zeros: to a whole tile, or, where each product
is computed in pieces, to a multiple of their rows, so that a few rows take little time. A batch is the rows that are
taken from the input and moved to the network's device at a time, in whole tiles; its size changes memory and progress,
never an answer.

The plan of a network is made when it is first needed for a library, a precision, a type and a sample shape, and kept
as long as the network lives.

Examples
--------
Outputs batch by batch, for those who do not keep them all:

>>> import anyback as ab
>>> net = ab.load_model("digits-mlp", backend="numpy")
>>> images = ab.datasets.digits("test").images
>>> said = []
>>> tell: Progress = lambda done, total: said.append((done, total))
>>> for start, (y,) in Batches(net, images, 512, tell, None, None):
...     print(start, y.shape, task_for(net, y).name)
0 (500, 10) classes
>>> said
[(500, 500)]

How each weight is multiplied on this processor:

>>> list(chosen_ways(net))
[...]
"""

from anyback.inference._batches import Progress
from anyback.inference._predict import Batches, predict, task_for
from anyback.inference._tiles import chosen_ways, tile_of

__all__ = ["Batches", "Progress", "chosen_ways", "predict", "task_for", "tile_of"]
