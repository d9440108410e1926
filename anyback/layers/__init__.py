"""Layers, of which networks are made. A layer has fields, and calls one op or several; an activation is a layer too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyback._lazy import lazily

if TYPE_CHECKING:
    from anyback.layers._basic import Dropout, Flatten, Linear, Permute, Pixels, Reshape, Residual, Scale
    from anyback.layers._norms import BatchNorm, LayerNorm
    from anyback.layers._sequential import Layer, Sequential
    from anyback.layers._windows import AveragePool, Conv, GlobalAveragePool, MaxPool

__all__ = [
    "AveragePool",
    "BatchNorm",
    "Conv",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "Layer",
    "LayerNorm",
    "Linear",
    "MaxPool",
    "Permute",
    "Pixels",
    "Reshape",
    "Residual",
    "Scale",
    "Sequential",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "_basic": ("Dropout", "Flatten", "Linear", "Permute", "Pixels", "Reshape", "Residual", "Scale"),
        "_norms": ("BatchNorm", "LayerNorm"),
        "_sequential": ("Layer", "Sequential"),
        "_windows": ("AveragePool", "Conv", "GlobalAveragePool", "MaxPool"),
    },
)
