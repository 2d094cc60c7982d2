"""The page of `kit review`: doubtful labels to look at, and to mend."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from kit.report.page import page


def render_review(
    labels: Sequence[str],
    suspects: Sequence[Any],
    found: int,
    images: int,
    pictures: Mapping[str, str],
    earlier: Mapping[str, str],
) -> str:
    """HTML, self-contained: its one script is its own, and nothing is loaded from anywhere.

    Args:
        labels: of the data set.
        suspects: kit.workflows.review.Suspect, the most doubtful first.
        found: how many suspects there are, of which some may not be shown.
        images: how many images were looked at.
        pictures: small JPEGs as base64, by path; none where there are no pictures.
        earlier: corrections that were in force, by digest; the page hands them on too.
    """
    from markupsafe import Markup

    script = files("kit.report").joinpath("review.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = {
        "labels": list(labels),
        "earlier": dict(earlier),
        "suspects": [{**vars(one), "picture": pictures.get(one.path, "")} for one in suspects],
    }
    # No text can end the element that it stands in.
    told = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return page(
        "review.html",
        labels=labels,
        shown=len(suspects),
        found=found,
        images=images,
        script=Markup(script),
        digest=digest,
        data=Markup(told),
    )
