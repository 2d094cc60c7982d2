"""Runs a model for another process: `serve_interpreter.py MODEL`.

Standard output: a JSON object with the tensors, then for each input tensor that comes in on
standard input all output tensors, in the interpreter's order. Each is preceded by its length, four
bytes, big endian.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def described(detail: dict[str, Any]) -> dict[str, Any]:
    scale, zero_point = detail["quantization"]
    return {
        "name": detail["name"],
        "shape": [int(length) for length in detail["shape"]],
        "dtype": np.dtype(detail["dtype"]).name,
        "quantization": {"scale": float(scale), "zero_point": int(zero_point)} if scale else None,
    }


def send(content: bytes) -> None:
    sys.stdout.buffer.write(struct.pack(">I", len(content)) + content)
    sys.stdout.buffer.flush()


def main() -> None:
    interpreter = Interpreter(model_path=sys.argv[1])
    interpreter.allocate_tensors()
    (entrance,), outputs = interpreter.get_input_details(), interpreter.get_output_details()
    tensors = {
        "inputs": [described(entrance)],
        "outputs": [described(output) for output in outputs],
    }
    send(json.dumps(tensors).encode())
    empty = np.zeros(entrance["shape"], entrance["dtype"])
    while content := sys.stdin.buffer.read(empty.nbytes):
        values = np.frombuffer(content, empty.dtype).reshape(empty.shape)
        interpreter.set_tensor(entrance["index"], values)
        interpreter.invoke()
        for output in outputs:
            send(interpreter.get_tensor(output["index"]).tobytes())


if __name__ == "__main__":
    main()
