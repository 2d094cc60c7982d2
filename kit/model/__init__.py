"""A packaged file: what stands in it, and how a photograph becomes its input.

PreprocessSpec and ModelCard (spec), their one implementation (preprocess), the `.tflite` file and
what is appended to it (model_file), a reader of its flatbuffer, and its multiply-adds (cost).
It stands on kit.errors alone: the standard library, and numpy where pixels are computed.
"""
