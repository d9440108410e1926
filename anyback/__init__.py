"""Run a trained network on any array library: the same code, the same answers, on the arrays you have.

The functions below are the whole interface; ``help(anyback.load_model)`` and its likes say the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyback._lazy import lazily

if TYPE_CHECKING:
    from anyback import activations, datasets, functional, layers, models, plots
    from anyback.agreement import Report, parity
    from anyback.backends import asarray, available_backends, get_backend, to_numpy, use_backend
    from anyback.bounds.certify import Certificate, certify
    from anyback.errors import (
        AnybackError,
        BackendError,
        DataError,
        JobError,
        OperatorError,
        ShapeError,
        ShardError,
        WeightsError,
    )
    from anyback.evaluation import Evaluation, evaluate
    from anyback.inference import predict
    from anyback.models import load_model
    from anyback.sources import from_arrays, from_keras, from_sklearn, from_torch
    from anyback.streams import Predictor, predict_to, verify
    from anyback.weights import read_weights, write_weights

__version__ = "0.1.0"

__all__ = [
    "AnybackError",
    "BackendError",
    "Certificate",
    "DataError",
    "Evaluation",
    "JobError",
    "OperatorError",
    "Predictor",
    "Report",
    "ShapeError",
    "ShardError",
    "WeightsError",
    "activations",
    "asarray",
    "available_backends",
    "certify",
    "datasets",
    "evaluate",
    "from_arrays",
    "from_keras",
    "from_sklearn",
    "from_torch",
    "functional",
    "get_backend",
    "layers",
    "load_model",
    "models",
    "parity",
    "plots",
    "predict",
    "predict_to",
    "read_weights",
    "to_numpy",
    "use_backend",
    "verify",
    "write_weights",
]


#: Module -> the public names that it defines.
_DEFINED = {
    "agreement": ("Report", "parity"),
    "backends": ("asarray", "available_backends", "get_backend", "to_numpy", "use_backend"),
    "bounds": ("Certificate", "certify"),
    "errors": (
        "AnybackError",
        "BackendError",
        "DataError",
        "JobError",
        "OperatorError",
        "ShapeError",
        "ShardError",
        "WeightsError",
    ),
    "evaluation": ("Evaluation", "evaluate"),
    "inference": ("predict",),
    "models": ("load_model",),
    "sources": ("from_arrays", "from_keras", "from_sklearn", "from_torch"),
    "streams": ("Predictor", "predict_to", "verify"),
    "weights": ("read_weights", "write_weights"),
}

# To import all of it takes longer than to load a network and to compute an image.
__getattr__, __dir__ = lazily(__name__, _DEFINED)
