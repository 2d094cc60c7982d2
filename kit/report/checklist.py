"""What reviewers of a prediction model ask for, as far as the kit knows it.

The items follow TRIPOD+AI (G. S. Collins et al., BMJ 2024) and CONSORT-AI (X. Liu et al., Nature
Medicine 2020). What only people know is marked, so that nobody takes silence for an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.evaluation.on_site import ON_SITE, history_text, point_text
from kit.evaluation.subgroups import Gap, Subgroup
from kit.model.spec import ModelCard

TO_BE_FILLED_IN = "to be filled in"
_WHERE = {"test": "the test part", ON_SITE: "the images that the thresholds were chosen on"}


@dataclass(frozen=True)
class Item:
    """One thing that a reviewer asks for.

    Attributes:
        name: what is asked for.
        text: what is known of it; empty: nothing.
        hint: what a person has to add, where nothing is known.
    """

    name: str
    text: str
    hint: str = ""

    @property
    def answer(self) -> str:
        """The text, or that it is to be filled in, and with what."""
        return self.text or f"{TO_BE_FILLED_IN}{f': {self.hint}' if self.hint else ''}"


def checklist(
    card: ModelCard,
    *,
    left_out: int | None = None,
    subgroups: Sequence[Subgroup] = (),
    gaps: Sequence[Gap] = (),
    limits: Sequence[str] = (),
) -> tuple[Item, ...]:
    """The items in the order of a paper.

    Args:
        card: the model's.
        left_out: how many images were not used; None: not known.
        subgroups: figures of subgroups.
        gaps: where they are furthest apart.
        limits: what follows from the data, a sentence each.
    """
    data, point, spec = card.dataset, card.operating_point, card.preprocess
    return (
        Item("Intended use and users", card.intended_use, "for whom, for what, and what it is not"),
        Item(
            "Setting and dates of the images", "", "where and when they were taken, by which device"
        ),
        Item("Participants", "", "who was eligible, and how they were chosen"),
        Item("Reference standard", "", "who labelled the images, from what, blind to the model"),
        Item("Partition of the data", _partition(data)),
        Item("Sample size", _sample(data), "why it is enough"),
        Item(
            "Missing and excluded data",
            "" if left_out is None else f"{left_out} files were left out; the report names why",
            "what was left out, and why",
        ),
        Item(
            "Input",
            f"{spec.described}, {spec.fit}, {spec.resize}; the file itself says how a photograph "
            "becomes its input",
        ),
        Item("Model", _model(card)),
        Item("Output", _output(card)),
        Item(
            "Thresholds and how they were chosen",
            "" if point is None else point_text(point),
            "kit train --positive LABEL --target-sensitivity SHARE chooses them",
        ),
        Item("Performance, with uncertainty", "; ".join(_performance(card))),
        Item(
            "Subgroups",
            _subgroups(subgroups, gaps),
            "kit evaluate --subgroup-columns NAMES compares them",
        ),
        Item(
            "Input that the model was not made for",
            ""
            if card.screening is None
            else f"answered as unknown above an unfamiliarity of "
            f"{card.screening.unfamiliarity_threshold:.3f}",
            "this file answers with one of its labels whatever it is shown",
        ),
        Item("Version", _version(card)),
        Item("Changes where it is used", "; ".join(history_text(card.history)) or "none"),
        Item("Limits", " ".join(limits), "for which images and people the figures do not hold"),
        Item("Who acts on the answers", "", "what happens after positive, negative and uncertain"),
        Item("Ethics, registration, funding", "", "approval, protocol, who paid"),
    )


def markdown(title: str, items: Sequence[Item]) -> str:
    """A table to put into a paper or a repository; foreign text cannot break it."""
    rows = [f"| {_cell(item.name)} | {_cell(item.answer)} |" for item in items]
    return "\n".join(
        [f"# {_cell(title)}", "", "| item | what is known |", "| --- | --- |", *rows, ""]
    )


def _cell(text: str) -> str:
    line = " ".join(text.split())
    for sign in ("\\", "|", "<", "`", "[", "*", "_"):
        line = line.replace(sign, f"\\{sign}")
    return line


def _partition(data: Mapping[str, Any]) -> str:
    if not data:
        return ""
    how = []
    if data.get("split_column"):
        how.append(f"given by the column {data['split_column']}")
    else:
        how.append(f"drawn by a hash of each image's content, with the seed {data.get('seed')}")
    if data.get("group_regex"):
        how.append(f"groups by the pattern {data['group_regex']} stay together")
    elif data.get("group_column"):
        how.append(f"groups by the column {data['group_column']} stay together")
    else:
        how.append("groups only as far as the files say")
    return "; ".join(how)


def _sample(data: Mapping[str, Any]) -> str:
    counts = data.get("images")
    if not isinstance(counts, Mapping):
        return ""
    text = ", ".join(f"{count} {part}" for part, count in counts.items())
    more = data.get("unlabelled")
    return f"{text} images" + (f", and {more} without a label" if more else "")


def _model(card: ModelCard) -> str:
    alpha = "" if card.alpha is None else f" alpha {card.alpha:g}"
    text = f"{card.backbone}{alpha}, from {card.weights}, quantised to {card.quantization}"
    return f"{text}; learnt from {', '.join(card.teachers)}" if card.teachers else text


def _output(card: ModelCard) -> str:
    text = f"{card.output_kind.replace('_', ' ')} of {', '.join(card.labels)}"
    if card.temperature is None:
        return text
    return f"{text}, calibrated by a temperature of {card.temperature:.3f}"


def _performance(card: ModelCard) -> Iterator[str]:
    test = card.metrics.get("test") or {}
    if "interval_95" in test and test.get("accuracy") is not None:
        yield f"accuracy {_share(test, 'accuracy')} on the test part"
    for where, figures in (card.metrics.get("operating_point") or {}).items():
        if where == "validation":  # chosen on it
            continue
        for name in ("sensitivity", "specificity"):
            share = figures.get(name) or {}
            if share.get("value") is not None:
                yield f"{name} {_share(share, 'value')} on {_WHERE.get(where, where)}"


def _share(figures: Mapping[str, Any], name: str) -> str:
    low, high = figures["interval_95"]
    return f"{figures[name]:.4f} ({low:.4f} to {high:.4f}, N={figures['n']})"


def _subgroups(subgroups: Sequence[Subgroup], gaps: Sequence[Gap]) -> str:
    if not subgroups:
        return ""
    columns = ", ".join(dict.fromkeys(one.column for one in subgroups))
    told = [f"largest gap in {gap.figure} by {gap.column} {gap}" for gap in gaps]
    return "; ".join([f"{len(subgroups)} subgroups by {columns}", *told])


def _version(card: ModelCard) -> str:
    kit = card.versions.get("mobilenet-kit", "")
    parts = [
        f"SHA-256 of the model {card.model_sha256}" if card.model_sha256 else "",
        f"made {card.created}" if card.created else "",
        f"by mobilenet-kit {kit}" if kit else "",
    ]
    return ", ".join(part for part in parts if part)
