"""A .tflite file and what is appended to it: labels, TFLite Metadata and the kit's card.

The appended part is a zip archive of stored entries, as TFLite Metadata defines it; field numbers
below are those of tensorflow/lite/schema.fbs and metadata_schema.fbs 1.5.0.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kit.errors import ModelFileError, SpecError
from kit.filenames import irregular
from kit.model.endings import Ending, output_ending
from kit.model.flatbuffer import Buffer, Table
from kit.model.labels import parse_labels
from kit.model.operators import operator_codes
from kit.model.soundness import check_model
from kit.model.spec import ModelCard, load_json

LABELS_NAME = "labels.txt"
CARD_NAME = "kit.json"
SIGNATURE_NAME = "kit.signature"
"""See kit.device.signature."""
ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What zipfile raises for an archive that is damaged, or of a kind that it does not read."""
_ENTRY_LIMIT_BYTES = 4 << 20  # far above any label list or card; an archive that claims more lies
_ENTRY_LIMIT = 64


@dataclass(frozen=True)
class TfliteMetadata:
    """What TFLite Metadata says of an image classifier.

    Attributes:
        name: name of the model.
        mean: normalisation of the input, one value or three; empty where it is not stated.
        std: see mean.
        labels_name: the associated file with a label for each score; empty where there is none.
        score_threshold: below it results should be left out; None where it is not stated.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels_name: str
    score_threshold: float | None


@dataclass(frozen=True)
class ModelFile:
    """A .tflite file as read from disk.

    Attributes:
        path: where it is.
        size_bytes: size of the whole file.
        operators: builtin operator code (0 to 32 bit), name of a custom one, and version.
        card: the kit's own, whose digest fits the model; None in a file that others made.
        labels: from the card, or from TFLite Metadata; None where the file carries none.
        metadata: TFLite Metadata; None where the file carries none.
        endings: how each output of a file without a card ends, by the number of its tensor.
    """

    path: Path
    size_bytes: int
    operators: tuple[tuple[int, str, int], ...]
    card: ModelCard | None
    labels: tuple[str, ...] | None
    metadata: TfliteMetadata | None
    endings: Mapping[int, Ending] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole file, card included, in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Reads a file and checks that it is whole.

    What the kit made is compared with the digest in its card; of anything else the flatbuffer is
    walked (kit.model.soundness).

    Raises:
        ModelFileError: the file is missing, is no TensorFlow Lite model, is damaged or changed, or
            what is appended to it is damaged, too large or contradicts itself.
    """
    path = Path(path)
    try:
        if not path.is_dir() and (kind := irregular(path)) is not None:
            raise ModelFileError(
                f"{path}: expected a .tflite model, got {kind}: it is never opened"
            )
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes < 16:
                raise ModelFileError(
                    f"{path}: expected a .tflite model, got a file of {size_bytes} bytes"
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
                operators, metadata = _read_flatbuffer(buffer)
                names = {metadata.labels_name if metadata else "", LABELS_NAME, CARD_NAME}
                entries, end = _read_entries(file, names)
                if CARD_NAME not in entries and end and buffer.find(CARD_NAME.encode(), end) >= 0:
                    raise ModelFileError(
                        f"expected {CARD_NAME} in the directory of what is appended, it is not: "
                        "the file is damaged, copy it again"
                    )
                card, labels = _card_and_labels(entries, metadata)
                endings = {}
                if card is None or not card.model_sha256:
                    model = Table.root(buffer, b"TFL3")
                    check_model(model)
                    outputs = next(model.tables(2)).integers(2)
                    endings = {tensor: output_ending(model, tensor) for tensor in outputs}
                    del model  # else the map of the file could not be closed
                elif digest_of(buffer, end) != card.model_sha256:
                    raise ModelFileError(
                        "expected a model as it was made, by the digest in its card, got one that "
                        "was changed: copy the file again"
                    )
    except SpecError as error:
        raise ModelFileError(f"{path}: {error}") from error
    except ModelFileError as error:
        message = str(error)
        raise ModelFileError(
            message if message.startswith(str(path)) else f"{path}: {message}"
        ) from error
    except OSError as error:
        raise ModelFileError(
            f"{path}: expected a readable .tflite model: {error.strerror or error}"
        ) from error
    return ModelFile(path, size_bytes, operators, card, labels, metadata, endings)


def digest_of(content: Buffer, end: int | None = None) -> str:
    """SHA-256 of a model, in hexadecimal: of all that stands before the appended archive."""
    with memoryview(content) as view, view[:end] as model:
        return hashlib.sha256(model).hexdigest()


def append_files(flatbuffer: bytes, files: Mapping[str, bytes]) -> bytes:
    """The model with files behind it, in a zip archive.

    Stored, not deflated: MediaPipe reads labels in place. Without times, so that the same model
    gives the same bytes.
    """
    with io.BytesIO(flatbuffer) as output:
        output.seek(0, io.SEEK_END)
        with zipfile.ZipFile(output, "a") as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        return output.getvalue()


def card_content(card: Mapping[str, Any]) -> bytes:
    """A card's JSON object as it is appended."""
    return json.dumps(card, ensure_ascii=False, separators=(",", ":")).encode()


def with_card_fields(content: bytes, changes: Mapping[str, Any]) -> bytes:
    """A packaged file with other values in its card; the flatbuffer and all else stay.

    Args:
        content: a file with a card, as `read_model_file` takes it.
        changes: fields of ModelCard's JSON object. Fields that this kit does not know stay too; a
            signature does not, since it was over the card that was.

    Raises:
        ModelFileError: see split_content.
        SpecError: no card has such values.
    """
    model, files = split_content(content)
    card = {**load_json(files[CARD_NAME], CARD_NAME), **changes}
    files[CARD_NAME] = card_content(card)
    files.pop(SIGNATURE_NAME, None)  # it was of another card
    ModelCard.from_json(load_json(files[CARD_NAME], CARD_NAME))
    return append_files(model, files)


def split_content(content: bytes) -> tuple[bytes, dict[str, bytes]]:
    """What append_files put together: the model, and the files behind it by their names.

    Raises ModelFileError where nothing is appended, or what is appended is damaged, too large,
    there twice, or not stored as append_files stores it.
    """
    with io.BytesIO(content) as file:
        files, end = _read_entries(file)
    if end is None:
        raise ModelFileError("expected a packaged model, with a card: kit package makes it one")
    return content[:end], files


def _card_and_labels(
    entries: dict[str, bytes], metadata: TfliteMetadata | None
) -> tuple[ModelCard | None, tuple[str, ...] | None]:
    labels_name = metadata.labels_name if metadata and metadata.labels_name else LABELS_NAME
    listed = entries.get(labels_name)
    if listed is None and metadata and metadata.labels_name:
        # The archive's directory is at the very end, so this is what a truncated file lacks.
        raise ModelFileError(
            f"expected {labels_name} behind the model, as its metadata says, got a file without: "
            "it is truncated, copy it again"
        )
    try:
        labels = None if listed is None else parse_labels(listed.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ModelFileError(f"expected {labels_name} in UTF-8: {error}") from error
    if CARD_NAME not in entries:
        return None, labels
    card = ModelCard.from_json(load_json(entries[CARD_NAME], CARD_NAME))
    if labels is not None and labels != card.labels:
        raise ModelFileError(
            f"expected the same labels in {labels_name} and {CARD_NAME}, got {len(labels)} and "
            f"{len(card.labels)} that differ: package the model again"
        )
    return card, card.labels


def _read_entries(
    file: object, names: Collection[str] | None = None
) -> tuple[dict[str, bytes], int | None]:
    """The appended files with these names, and where the archive begins.

    Empty and None where nothing is appended. Without names all files, each stored and there once,
    as the kit appends them: nobody vouches for a file whose signature is still to be checked.
    """
    if not zipfile.is_zipfile(file):  # type: ignore[arg-type]
        return {}, None
    start: int | None = None
    entries: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(file) as archive:  # type: ignore[call-overload]
            infos = archive.infolist()
            if len(infos) > _ENTRY_LIMIT:
                raise ModelFileError(
                    f"expected at most {_ENTRY_LIMIT} appended files, got {len(infos)}"
                )
            start = min((info.header_offset for info in infos), default=None)
            for info in infos:
                if names is None:
                    if info.compress_type != zipfile.ZIP_STORED:
                        raise ModelFileError(
                            f"expected the appended {info.filename} as the kit stores it, got it "
                            "compressed: kit package appends it anew"
                        )
                    if info.filename in entries:
                        raise ModelFileError(
                            "expected each part of the file once, some are there twice"
                        )
                elif info.filename not in names:
                    continue
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise NotImplementedError("it is neither stored nor deflated")
                with archive.open(info) as entry:
                    # The size in the directory may lie, so the limit is on what is read.
                    content = entry.read(_ENTRY_LIMIT_BYTES + 1)
                if len(content) > _ENTRY_LIMIT_BYTES or len(content) != info.file_size:
                    raise ModelFileError(
                        f"expected the appended {info.filename} to have its stated "
                        f"{info.file_size} bytes and at most {_ENTRY_LIMIT_BYTES}"
                    )
                entries[info.filename] = content
    except (*ARCHIVE_ERRORS, ValueError) as error:
        raise ModelFileError(
            f"expected a sound zip archive behind the model, got a damaged one: {error}"
        ) from error
    return entries, start


def _read_flatbuffer(
    buffer: Buffer,
) -> tuple[tuple[tuple[int, str, int], ...], TfliteMetadata | None]:
    if bytes(buffer[:4]) == b"PK\x03\x04":
        raise ModelFileError("expected a .tflite model, got a zip archive: unpack it first")
    try:
        model = Table.root(buffer, b"TFL3")
    except ModelFileError as error:
        if bytes(buffer[4:8]) == b"TFL3":
            raise
        raise ModelFileError(
            "expected a .tflite model (TFL3 in its first bytes), got another kind of file"
        ) from error
    buffers = list(model.tables(4))
    for data in buffers:
        data.data(0).release()  # reaching each one's end shows that none is cut off
    operators = operator_codes(model)
    if model.length(2) == 0:
        raise ModelFileError("expected a model with a graph, got one without")
    for entry in model.tables(6):
        index = entry.integer(1, "<I")
        if entry.text(0) == "TFLITE_METADATA" and index < len(buffers):
            return operators, _read_metadata(bytes(buffers[index].data(0)))
    return operators, None


def _read_metadata(data: bytes) -> TfliteMetadata:
    root = Table.root(data, b"M001")
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels_name, score_threshold = "", None
    for graph in root.tables(3):
        for tensor in graph.tables(2):
            for unit in tensor.tables(4):
                if unit.integer(0, "<B") == 1 and (options := unit.table(1)):  # normalisation
                    mean, std = options.reals(0), options.reals(1)
        for tensor in graph.tables(3):
            for unit in tensor.tables(4):
                if unit.integer(0, "<B") == 3 and (options := unit.table(1)):  # threshold
                    score_threshold = options.real(0)
            for file in tensor.tables(6):
                # Type 2: labels of the tensor's axis. Others may follow in other languages.
                if file.integer(2, "<b") == 2 and not labels_name:
                    labels_name = file.text(0)
    return TfliteMetadata(root.text(0), mean, std, labels_name, score_threshold)
