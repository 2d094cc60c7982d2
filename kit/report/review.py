"""The page of `kit review`: doubtful labels to look at, and to mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

from kit.evaluation.label_errors import Suspect
from kit.inline import json_for_script, source_of
from kit.report.page import page


def render_review(
    labels: Sequence[str],
    suspects: Sequence[Suspect],
    found: int,
    images: int,
    pictures: Mapping[str, str],
    earlier: Mapping[str, str],
) -> str:
    """HTML, self-contained: its one script is its own, and nothing is loaded from anywhere.

    Args:
        labels: of the data set.
        suspects: the most doubtful first.
        found: how many suspects there are, of which some may not be shown.
        images: how many images were looked at.
        pictures: small JPEGs as base64, by path; none where there are no pictures.
        earlier: corrections that were in force, by digest; the page hands them on too.
    """
    from markupsafe import Markup

    script = files("kit.report").joinpath("review.js").read_text("utf-8")
    data = {
        "labels": list(labels),
        "earlier": dict(earlier),
        "suspects": [{**vars(one), "picture": pictures.get(one.path, "")} for one in suspects],
    }
    return page(
        "review.html",
        labels=labels,
        shown=len(suspects),
        found=found,
        images=images,
        script=Markup(script),
        source=source_of(script),
        data=Markup(json_for_script(data)),
    )
