"""ONNX files: from the bytes to a network like any other."""

from anyback.onnx._load import load

__all__ = ["load"]
