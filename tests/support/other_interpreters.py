"""Interpreters that the kit does not ship, each in an environment of its own."""

REQUIREMENTS = {
    "ai-edge-litert 1.0": ("ai-edge-litert==1.0.1", "numpy<2"),
    "ai-edge-litert 1.4": ("ai-edge-litert==1.4.0", "numpy"),
    "ai-edge-litert 2.0": ("ai-edge-litert==2.0.2", "numpy"),
    "tflite-runtime 2.14": ("tflite-runtime==2.14.0", "numpy<2"),
    "mediapipe": ("mediapipe==1.2.2",),
}
INSTALLED = "installed"
RUNTIME_MODULES = {
    INSTALLED: "ai_edge_litert.interpreter",
    "tf.lite.Interpreter": "tensorflow.lite.python.interpreter",
    "ai-edge-litert 1.0": "ai_edge_litert.interpreter",
    "ai-edge-litert 1.4": "ai_edge_litert.interpreter",
    "ai-edge-litert 2.0": "ai_edge_litert.interpreter",
    "tflite-runtime 2.14": "tflite_runtime.interpreter",
}
