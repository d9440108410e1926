"""ONNX files: from the bytes to a network like any other."""
