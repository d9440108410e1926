"""More rows than memory holds, and engines that carry the rows."""

from anyback.streams._predictor import Predictor

__all__ = ["Predictor"]
