"""How tables that others wrote are encoded and divided, and how the kit writes its own."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Mapping, Sequence

_DELIMITERS = (",", "\t", ";")
# What spreadsheets put first when they save a table as Unicode.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def encoding_of(content: bytes) -> str:
    """The encoding that a byte order mark tells, else UTF-8; as Python names it."""
    marks = (name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark))
    return next(marks, "utf-8")


def delimiter_of(header: str) -> str:
    """The comma, tabulator or semicolon that divides the first line of a table."""
    return max(_DELIMITERS, key=header.count)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A table with a header; what a row has besides these columns is left out."""
    import csv  # Not above: whoever reads a file's labels would load it, on a device too.

    with io.StringIO() as text:
        writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
