"""The device's command: `kit-label` with its watched folder, camera, results file and benchmark.

It needs kit.runtime and nothing of the desktop: numpy, Pillow and an interpreter. The package
exports no names of its own, because `benchmark` and `watch` are modules as well as functions:
import from the modules, for example `from kit.device.watch import watch`.
"""
