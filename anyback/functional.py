"""What layers compute, as functions of arrays: a face of the table of ops."""

from anyback.ops.convolution import conv
from anyback.ops.linear import add, linear, pixels, scale
from anyback.ops.normalization import batch_norm, layer_norm
from anyback.ops.pooling import average_pool, max_pool
from anyback.ops.shape import flatten, reshape

__all__ = [
    "add",
    "average_pool",
    "batch_norm",
    "conv",
    "flatten",
    "layer_norm",
    "linear",
    "max_pool",
    "pixels",
    "reshape",
    "scale",
]
