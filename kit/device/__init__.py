"""The device's command: `kit-label` with its watched folder, camera, results file and benchmark.

It stands on kit.runtime, and nothing of the desktop's: numpy, Pillow and an interpreter.
"""
