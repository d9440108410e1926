"""Layers, of which networks are made. A layer has fields, and calls one op or several; an activation is a layer too."""

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
