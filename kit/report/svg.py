"""Matplotlib's drawings as inline SVG: in the page's colours and font, light or dark."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, LINE, REST = "#000000", "#000002", "#000003"
"""Colours that stand for those of the page: of text, of grid lines, and of what is not named.

INK is what Matplotlib draws in unless told otherwise.
"""
SERIES = ("#000011", "#000012", "#000013", "#000014", "#000015", "#000016")

_VARIABLES = {
    INK: "var(--ink)",
    LINE: "var(--line)",
    REST: "var(--rest)",
    **{colour: f"var(--c{number})" for number, colour in enumerate(SERIES, start=1)},
}
_STAND_IN = re.compile("|".join(_VARIABLES))
_FONT = re.compile(r"font-family:[^;]*;?")
_REFERENCE = re.compile(r"url\(#([^)]*)\)")


def to_svg(figure: Figure, name: str, title: str) -> str:
    """A figure as an `svg` element.

    Args:
        figure: drawn in INK, LINE, REST and SERIES, without foreign text: that may be no text that
            Matplotlib can draw.
        name: unique in the page; leads the ids, which would clash otherwise.
        title: says what is seen, for those who do not see it.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    _clean(root, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    heading = ElementTree.Element("title")
    heading.text = title
    root.insert(0, heading)
    return ElementTree.tostring(root, encoding="unicode")


def _clean(root: ElementTree.Element, name: str) -> None:
    """Names without name spaces, no description of the tool, own ids, the page's colours."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":
            attributes.pop("id", None)  # Matplotlib's names of parts, the same in each drawing
        if "id" in attributes:
            attributes["id"] = f"{name}-{attributes['id']}"
        if "href" in attributes:
            attributes["href"] = f"#{name}-{attributes['href'].removeprefix('#')}"
        if "clip-path" in attributes:
            attributes["clip-path"] = _REFERENCE.sub(rf"url(#{name}-\1)", attributes["clip-path"])
        if "style" in attributes:
            style = _FONT.sub("", attributes["style"])
            attributes["style"] = _STAND_IN.sub(lambda found: _VARIABLES[found[0]], style)
        element.attrib.clear()
        element.attrib.update(attributes)
        element.tail = None
