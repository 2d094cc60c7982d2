"""The page of `kit monitor`: what has shifted in the field, drawn."""

from __future__ import annotations

from kit.evaluation.monitoring import Monitored
from kit.model.model_file import ModelFile
from kit.report import plots
from kit.report.page import page


def render_monitored(found: Monitored, model: ModelFile) -> str:
    """HTML; see kit.report.page.

    Args:
        found: what the results say.
        model: the file that gave them.
    """
    from markupsafe import Markup

    first, last = found.rows[0].time, found.rows[-1].time
    facts = [
        ("model", f"{model.path.name}, SHA-256 {model.digest[:12]}"),
        ("card", "" if model.card is None else model.card.version),
        ("first and last image", f"{first} to {last}, by the device's clock"),
        ("answered images", f"{len(found.rows)}"),
        ("images that could not be labelled", f"{found.failed}"),
        ("rows of other models", f"{found.others}"),
        ("rows that are not whole", f"{found.torn}"),
    ]
    return page(
        "monitored.html",
        found=found,
        facts=facts,
        values=Markup(plots.field_values(found.watches)),
        evidence=Markup(plots.evidence(found.watches)),
    )
