"""Keeps what native libraries write past Python off standard error."""

from __future__ import annotations

import os
import threading


class _Quiet:
    """`with quiet_native:` drops what C++ code logs; KIT_DEBUG=1 lets it through.

    TensorFlow and its interpreters announce delegates, missing GPUs and converter settings there,
    in between a command's own lines. Errors come as exceptions all the same.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._saved: int | None = None

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        if self._depth > 1 or os.environ.get("KIT_DEBUG") == "1":
            return
        try:
            self._saved = os.dup(2)
        except OSError:  # no standard error, as in a service
            return
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        os.close(sink)

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._saved is not None:
            os.dup2(self._saved, 2)
            os.close(self._saved)
            self._saved = None
        self._lock.release()


quiet_native = _Quiet()
