"""The operators of ONNX, a file for each family: functions named and signed as the operators."""

from anyback.onnx.operators import (
    activation,
    cast,
    control,
    convolution,
    elementwise,
    grid,
    index,
    linear,
    logic,
    ml_features,
    ml_labels,
    ml_linear,
    ml_svm,
    ml_trees,
    ngrams,
    normalization,
    pooling,
    reduce,
    resize,
    rois,
    shape,
    strings,
)

__all__ = ["FAMILIES"]

#: The files, each of which names its operators in ``__all__``.
FAMILIES = (
    activation,
    cast,
    control,
    convolution,
    elementwise,
    grid,
    index,
    linear,
    logic,
    ml_features,
    ml_labels,
    ml_linear,
    ml_svm,
    ml_trees,
    ngrams,
    normalization,
    pooling,
    reduce,
    resize,
    rois,
    shape,
    strings,
)
