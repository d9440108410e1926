"""ONNX files: from the bytes to a network like any other."""

from anyback.onnx._files import parse_model, read_model
from anyback.onnx._planner import network_of

__all__ = ["network_of", "parse_model", "read_model"]
