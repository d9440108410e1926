"""The operators of ONNX, a file for each family: functions named and signed as the operators."""
