"""Reads FlatBuffers tables with the standard library: a device has no flatbuffers package.

Layout as in the FlatBuffers internals document (flatbuffers.dev). Every offset is checked against
the buffer, because a file may be truncated or hostile.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from mmap import mmap
from typing import Any

from kit.errors import ModelFileError

Buffer = bytes | mmap | memoryview


class Table:
    """One table in a buffer; fields are addressed by their number in the schema."""

    def __init__(self, buffer: Buffer, position: int) -> None:
        self._buffer = buffer
        self._position = position
        self._vtable = position - self._read("<i", position)
        size = self._read("<H", self._vtable)
        self._size = self._read("<H", self._vtable + 2)
        # Interpreters read both without a look at where the file ends.
        if (
            size < 4
            or size % 2
            or self._vtable + size > len(buffer)
            or position + self._size > len(buffer)
        ):
            raise ModelFileError(_TRUNCATED)
        self._fields = (size - 4) // 2

    @classmethod
    def root(cls, buffer: Buffer, identifier: bytes, start: int = 0) -> Table:
        """The root table of the flatbuffer at `start`; raises ModelFileError for another kind."""
        if bytes(buffer[start + 4 : start + 8]) != identifier:
            raise ModelFileError(f"expected a flatbuffer {identifier.decode()}, got another file")
        return cls(buffer, start + _read(buffer, "<I", start))

    def _read(self, code: str, position: int) -> int:
        return _read(self._buffer, code, position)

    def _at(self, field: int) -> int | None:
        if field >= self._fields:
            return None
        offset = self._read("<H", self._vtable + 4 + 2 * field)
        if offset >= self._size and offset:
            raise ModelFileError(_TRUNCATED)
        return self._position + offset if offset else None

    def _target(self, field: int) -> int | None:
        position = self._at(field)
        return None if position is None else position + self._read("<I", position)

    def integer(self, field: int, code: str = "<i", default: int = 0) -> int:
        """A number of the struct format `code`, or the schema's default where it is not stored."""
        position = self._at(field)
        return default if position is None else self._read(code, position)

    def real(self, field: int) -> float:
        position = self._at(field)
        return 0.0 if position is None else _reals(self._buffer, position, 1)[0]

    def text(self, field: int) -> str:
        return bytes(self.data(field)).decode("utf-8", errors="replace")

    def data(self, field: int) -> memoryview:
        """A vector of bytes, or a string, without a copy."""
        start = self._target(field)
        if start is None:
            return memoryview(b"")
        length = self._read("<I", start)
        if start < 0 or start + 4 + length > len(self._buffer):
            raise ModelFileError(_TRUNCATED)
        return memoryview(self._buffer)[start + 4 : start + 4 + length]

    def reals(self, field: int) -> tuple[float, ...]:
        start = self._target(field)
        return () if start is None else _reals(self._buffer, start + 4, self._read("<I", start))

    def integers(self, field: int) -> tuple[int, ...]:
        """A vector of signed 32-bit numbers."""
        start = self._target(field)
        if start is None:
            return ()
        return _vector(self._buffer, "i", start + 4, self._read("<I", start))

    def length(self, field: int) -> int:
        start = self._target(field)
        return 0 if start is None else self._read("<I", start)

    def length_of(self, field: int, size_bytes: int) -> int:
        """Length of a vector of elements of this size, all of which are there."""
        start, length = self._target(field), self.length(field)
        if start is not None and start + 4 + size_bytes * length > len(self._buffer):
            raise ModelFileError(_TRUNCATED)
        return length

    def table(self, field: int) -> Table | None:
        target = self._target(field)
        return None if target is None else Table(self._buffer, target)

    def tables(self, field: int) -> Iterator[Table]:
        start = self._target(field)
        for index in range(self.length_of(field, 4)):
            assert start is not None
            slot = start + 4 + 4 * index
            yield Table(self._buffer, slot + self._read("<I", slot))


_TRUNCATED = "expected a whole .tflite file, got one that is truncated or damaged: copy it again"


def _read(buffer: Buffer, code: str, position: int) -> int:
    if position < 0:
        raise ModelFileError(_TRUNCATED)
    try:
        value: int = struct.unpack_from(code, buffer, position)[0]
    except struct.error as error:
        raise ModelFileError(_TRUNCATED) from error
    return value


def _reals(buffer: Buffer, position: int, count: int) -> tuple[float, ...]:
    return _vector(buffer, "f", position, count)


def _vector(buffer: Buffer, code: str, position: int, count: int) -> tuple[Any, ...]:
    """So many numbers of 4 bytes, of the struct format `code`."""
    if position < 0 or position + 4 * count > len(buffer):
        raise ModelFileError(_TRUNCATED)
    return struct.unpack_from(f"<{count}{code}", buffer, position)
