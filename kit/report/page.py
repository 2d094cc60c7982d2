"""What the package's HTML pages have in common: their look, and how their figures are written."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from kit.evaluation.metrics import Accuracy
from kit.evaluation.ranking import Auc

_NONE = "-"


def page(template: str, **values: Any) -> str:
    """HTML, self-contained: nothing is loaded from anywhere.

    Args:
        template: name of a file beside this module.
        values: what it shows; text is foreign input and is escaped.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: files("kit.report").joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=_percent,
        share=_share,
        auc=_auc,
        number=_number,
        kilobytes=_kilobytes,
        milliseconds=lambda value: f"{value:.1f}" if value >= 1 else f"{value:.2g}",
    )
    return environment.get_template(template).render(values)


def _percent(value: float | None) -> str:
    return _NONE if value is None or value != value else f"{100 * value:.1f}\u00a0%"


def _share(share: Accuracy) -> str:
    if not share.n:
        return _NONE
    return f"{_percent(share.value)} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _auc(area: Auc) -> str:
    if area.value is None or area.low is None or area.high is None:
        return _NONE
    return f"{area.value:.4f} ({area.low:.4f} to {area.high:.4f})"


def _number(value: float | None, digits: int = 4) -> str:
    return _NONE if value is None or value != value else f"{value:.{digits}f}"


def _kilobytes(size: int) -> str:
    return f"{size / 1e3:,.0f} kB".replace(",", "\u00a0")
