"""What every reader of a source takes and gives."""

from __future__ import annotations

from dataclasses import dataclass

from converters.network import Network

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SourceOptions:
    """What you know about a source; None: it is found in the source.

    Attributes:
        mean: subtracted from pixels of 0 to 255 at the input.
        std: divides what is left.
        input_resolution: side of the input in pixels, for a source that leaves it open.
        input_tensor: name of the node that takes the image.
        output_tensor: name of the node that gives the scores.
        unsafe: whether to load code that the source carries.
    """

    mean: Triple | None = None
    std: Triple | None = None
    input_resolution: int | None = None
    input_tensor: str | None = None
    output_tensor: str | None = None
    unsafe: bool = False


@dataclass(frozen=True)
class SourceModel:
    """A network that others made.

    Attributes:
        kind: what kind of file it comes from.
        network: from normalised pixels to scores.
        input_resolution: height of its input in pixels.
        mean: what its input wants subtracted from pixels of 0 to 255.
        std: what its input wants the rest divided by.
        remarks: sentences on what was found and what was done.
        input_width: width of its input in pixels; None: it is square.
        channels: 3 for RGB, 1 for grey.
    """

    kind: str
    network: Network
    input_resolution: int
    mean: Triple
    std: Triple
    remarks: tuple[str, ...]
    input_width: int | None = None
    channels: int = 3
