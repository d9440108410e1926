"""Evaluation: the outputs for many inputs are compared with the true labels or numbers.

Examples
--------
What an evaluation counts follows from what the network's outputs mean:

>>> import numpy as np
>>> from anyback.layers import Linear, Sequential
>>> x = np.asarray([[1.0, -1.0], [-1.0, 1.0]])
>>> classes = evaluate(Sequential(Linear(np.eye(2)), "softmax"), x, [0, 0])
>>> isinstance(classes, Evaluation), classes.accuracy, classes.confusion.tolist()
(True, 0.5, [[1, 1], [0, 0]])
>>> labels = evaluate(Sequential(Linear(np.eye(2)), "sigmoid"), x, [[1, 0], [1, 1]])
>>> isinstance(labels, LabelsEvaluation), labels.score()
(True, {...})
>>> numbers = evaluate(Sequential(Linear(np.ones((2, 1)))), x, [0.0, 1.0])
>>> isinstance(numbers, NumbersEvaluation), isinstance(numbers, Score), numbers.score()
(True, True, {...})
"""

from anyback.evaluation._evaluate import evaluate
from anyback.evaluation._results import Evaluation, LabelsEvaluation, NumbersEvaluation, Score

__all__ = ["Evaluation", "LabelsEvaluation", "NumbersEvaluation", "Score", "evaluate"]
