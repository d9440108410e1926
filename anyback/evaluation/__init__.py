"""The score: outputs for many inputs beside what they should be, by what the outputs mean."""

from anyback.evaluation._evaluate import evaluate
from anyback.evaluation._results import Evaluation, LabelsEvaluation, NumbersEvaluation, Score

__all__ = ["Evaluation", "LabelsEvaluation", "NumbersEvaluation", "Score", "evaluate"]
