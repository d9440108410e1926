"""Evaluation: the outputs for many inputs are compared with the true labels or numbers."""

from anyback.evaluation._evaluate import evaluate
from anyback.evaluation._results import Evaluation, LabelsEvaluation, NumbersEvaluation, Score

__all__ = ["Evaluation", "LabelsEvaluation", "NumbersEvaluation", "Score", "evaluate"]
