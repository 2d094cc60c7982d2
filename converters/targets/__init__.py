"""What a packaged model can be written as: the file itself, C source, ONNX."""
