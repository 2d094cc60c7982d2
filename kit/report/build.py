"""From a run, or an evaluation, to what the report says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from converters.plain_form import in_plain_form
from kit.data import PARTS, Dataset
from kit.errors import ConversionError
from kit.evaluation.evaluate import ModelEvaluation
from kit.evaluation.metrics import Accuracy, Evaluation
from kit.evaluation.on_site import ON_SITE
from kit.evaluation.ranking import Ranking
from kit.evaluation.thresholds import Operation
from kit.export.exported import Exported
from kit.export.heat_maps import HeatMaps
from kit.export.scoring_set import ScoringSet
from kit.model.spec import ModelCard, PreprocessSpec
from kit.report.checklist import checklist
from kit.report.content import (
    ClassCount,
    Confusion,
    FileFacts,
    HeatMap,
    OperationRow,
    Report,
    Screened,
)
from kit.report.latency import measure_latency
from kit.report.limits import limits
from kit.report.pictures import holds_dicom, worst_mistakes
from kit.runtime import Classifier
from kit.runtime.machine import machine_kind

_PAIRS = 12
_PLACES = {
    "validation": "the validation part",
    "test": "the test part",
    ON_SITE: "the place of its use",
}
_WITHHELD = "(an image)"
_OF_A_FILE = "left out "  # how a warning begins that names one file


def of_run(
    record: Mapping[str, Any],
    dataset: Dataset,
    files: Mapping[str, Exported],
    trial: ScoringSet,
    warnings: Sequence[str] = (),
) -> Report:
    """The report of a training run.

    Args:
        record: as run.json has it.
        dataset: what it was trained on.
        files: every file of the run by its name; the figures are of the first.
        trial: the test part.
        warnings: what to know of the data before quoting the figures.
    """
    first = next(iter(files.values()))
    assert first.evaluation is not None and first.scores is not None  # the test part is labelled
    assert trial.truth is not None
    settings, split = record["settings"], record["split"]
    targets = settings.get("targets") or {}
    operation = None
    if first.card.operating_point is not None:
        index = first.card.labels.index(first.card.operating_point.positive)
        operation = Operation.of(
            first.card.operating_point,
            first.scores[:, index],
            trial.truth == index,
            targets.get("prevalence"),
            trial.groups,
        )
    scored = ModelEvaluation(
        first.evaluation,
        dataset.left_out,
        tuple(warnings),
        first.scores,
        trial.truth,
        trial.groups,
        operation,
        tuple(trial.paths),
    )
    counts = []
    for index, label in enumerate(dataset.labels):
        parts = [split[image.path] for image in dataset.images if image.label == index]
        counts.append(ClassCount(label, {part: parts.count(part) for part in PARTS}))
    paths = [image.path for image in dataset.images]
    report = _of_file(
        title=dataset.root.resolve().name,
        where="the test part",
        card=first.card,
        model=first.content,
        preprocess=first.card.preprocess,
        scored=scored,
        root=dataset.root,
        paths=[*paths, *(path for path, _ in dataset.left_out)],
        counts=tuple(counts),
        files=tuple(_file_of_run(name, exported) for name, exported in files.items()),
        positive=targets.get("positive"),
        prevalence=targets.get("prevalence"),
        gallery=settings.get("gallery"),
        screening=next((e.card for e in files.values() if e.card.screening is not None), None),
    )
    groups = {image.group for image in dataset.images} - {None}
    tuned = any(epoch.get("phase") for epoch in record["history"])
    outcome = "brought nothing: the head is alone"
    if record.get("fine_tuned"):
        outcome = f"in the files, {record.get('share', 1):.0%} of what it changed"
    facts = (
        *((("fine-tuning", outcome),) if tuned else ()),
        ("images", f"{len(paths)} of {len(dataset.labels)} classes"),
        ("groups (patients)", _groups_text(settings, len(groups))),
        *report.facts,
    )
    return replace(
        report,
        facts=facts,
        settings=tuple(_flat(settings)),
        history=tuple(record["history"]),
    )


def of_evaluation(
    classifier: Classifier,
    images: str | os.PathLike[str],
    scored: ModelEvaluation,
    *,
    part: str | None = None,
    positive: str | None = None,
    prevalence: float | None = None,
    num_threads: int | None = None,
    gallery: bool | None = None,
) -> Report:
    """The report of an evaluation.

    Args:
        classifier: the model that was scored, still open.
        images: the folder.
        scored: what evaluate_model found.
        part: as it was given to evaluate_model, like `prevalence`.
        positive: label to tell thresholds of; None: that of the operating point, or of two labels
            the second.
        prevalence: for predictive values; None: as in the images.
        num_threads: for the latency; default: the cores, at most 4.
        gallery: whether photographs and file names may be shown; None: unless there is DICOM, whose
            pictures and names are patients'.

    Raises InferenceError where the model fails when it is timed.
    """
    file, evaluation = classifier.file, scored.evaluation
    name = Path(images).resolve().name
    paths = list(scored.paths)
    model = file.path.read_bytes()
    if file.card is None:  # with the size and the output that the classifier was opened with
        model = in_plain_form(model, classifier.new_runner(plain_kernels=True))
    facts = FileFacts(
        name=file.path.name,
        mode=file.card.quantization if file.card else "",
        size_bytes=file.size_bytes,
        accuracy=evaluation.accuracy,
        agreement=None,
        latency=measure_latency(model, classifier.preprocess, num_threads),
        minimum_runtime=file.card.minimum_runtime if file.card else "",
    )
    return _of_file(
        title=f"{file.path.name} on {name}",
        where=f"the {part} part of {name}" if part else f"the images of {name}",
        card=file.card,
        model=model,
        preprocess=classifier.preprocess,
        scored=scored,
        root=Path(images),
        paths=[*paths, *(path for path, _ in scored.left_out)],
        counts=tuple(
            ClassCount(label, {"images": hits.n})
            for label, hits in zip(evaluation.labels, evaluation.per_class, strict=True)
        ),
        files=(facts,),
        positive=positive,
        prevalence=prevalence,
        gallery=gallery,
        screening=file.card if file.card is not None and file.card.screening is not None else None,
    )


def most_confused(evaluation: Evaluation, most: int = _PAIRS) -> tuple[Confusion, ...]:
    """Pairs of true label and wrong answer, most images first, then the largest share."""
    pairs = [
        Confusion(evaluation.labels[truth], evaluation.labels[answer], count, count / sum(row))
        for truth, row in enumerate(evaluation.confusion)
        for answer, count in enumerate(row)
        if count and answer != truth
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.count, -pair.share))[:most])


def _of_file(
    *,
    title: str,
    where: str,
    card: ModelCard | None,
    model: bytes,
    preprocess: PreprocessSpec,
    scored: ModelEvaluation,
    root: Path,
    paths: Sequence[str],
    counts: tuple[ClassCount, ...],
    files: tuple[FileFacts, ...],
    positive: str | None,
    prevalence: float | None,
    gallery: bool | None,
    screening: ModelCard | None,
) -> Report:
    """What both reports have.

    `paths` are of the images that the report may name, `screening` is the card of a file that
    answers unknown.
    """
    evaluation = scored.evaluation
    named = not holds_dicom(root, paths) if gallery is None else gallery
    notes, left_out = scored.warnings, scored.left_out
    heat_map, no_heat = None, ""
    if named and evaluation.misclassified:
        heat_map, no_heat = _heat_map(model, preprocess)
    if not named:
        notes = tuple(
            _without_names(note, paths) for note in notes if not note.startswith(_OF_A_FILE)
        )
        left_out = tuple(("", _without_names(reason, paths)) for _, reason in left_out)
    metrics: Mapping[str, Any] = {} if card is None else card.metrics
    subgroups, gaps = scored.subgroups(positive) if scored.subgroup_values else ((), ())
    told_limits = limits(scored, counts, screening is not None)
    return Report(
        title=title,
        model="a model without a card" if card is None else _model_text(card),
        where=where,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        scored=scored,
        notes=notes,
        facts=() if card is None else tuple(_card_facts(card)),
        settings=(),
        counts=counts,
        left_out=left_out,
        history=(),
        rankings=tuple(
            Ranking.of(label, auc, scored.scores[:, index], scored.truth == index)
            for index, (label, auc) in enumerate(
                zip(evaluation.labels, evaluation.auc, strict=True)
            )
        ),
        confused=most_confused(evaluation),
        screened=_screened(scored, positive, prevalence),
        operations=tuple(_operations(scored, metrics, where)),
        files=files,
        machine=machine_kind(),
        mistakes=worst_mistakes(evaluation.misclassified, root, named, heat_map),
        named=named,
        no_heat=no_heat,
        unknown=scored.unknown,
        accepted=tuple(_accepted(screening)),
        point_from=_PLACES[_chosen_on(metrics, "operating_point")],
        limit_from=_PLACES[_chosen_on({} if screening is None else screening.metrics, "unknown")],
        intended_use="" if card is None else card.intended_use,
        limits=told_limits,
        subgroups=subgroups,
        gaps=gaps,
        checklist=()
        if card is None
        else checklist(
            card, left_out=len(left_out), subgroups=subgroups, gaps=gaps, limits=told_limits
        ),
    )


def _file_of_run(name: str, exported: Exported) -> FileFacts:
    return FileFacts(
        name=name,
        mode=exported.mode,
        size_bytes=len(exported.content),
        accuracy=None if exported.evaluation is None else exported.evaluation.accuracy,
        agreement=exported.agreement,
        latency=measure_latency(exported.content, exported.card.preprocess),
        minimum_runtime=exported.card.minimum_runtime,
    )


def _heat_map(model: bytes, preprocess: PreprocessSpec) -> tuple[HeatMap | None, str]:
    """The model's heat maps, or None and why it has none."""
    try:
        return HeatMaps(model, preprocess), ""
    except ConversionError as error:
        return None, str(error)


def _screened(
    scored: ModelEvaluation, positive: str | None, prevalence: float | None
) -> Screened | None:
    labels = scored.evaluation.labels
    stated = positive
    if stated is None and scored.operation is not None:
        stated = scored.operation.point.positive
    if stated is None and len(labels) != 2:
        return None
    label = stated or labels[-1]
    return Screened(label, stated is not None, scored.table(label, prevalence))


def _chosen_on(metrics: Mapping[str, Any], name: str) -> str:
    """Which of the images that a card has figures of a threshold was chosen on."""
    return ON_SITE if ON_SITE in metrics.get(name, {}) else "validation"


def _operations(
    scored: ModelEvaluation, metrics: Mapping[str, Any], where: str
) -> Iterator[OperationRow]:
    """On what it was chosen on, by the card, then on the images of the report."""
    if scored.operation is None:
        return
    part = _chosen_on(metrics, "operating_point")
    if figures := metrics.get("operating_point", {}).get(part):
        yield _operation_row(f"{_PLACES[part]} (chosen on it)", figures)
    yield _operation_row(where, scored.operation.to_json())


def _operation_row(where: str, figures: Mapping[str, Any]) -> OperationRow:
    shares = {
        name: Accuracy(figures[name]["correct"], figures[name]["n"], *figures[name]["interval_95"])
        for name in ("sensitivity", "specificity", "uncertain")
    }
    return OperationRow(
        where=where,
        prevalence=figures["prevalence"],
        ppv=figures["ppv"],
        npv=figures["npv"],
        **shares,
    )


def _accepted(screening: ModelCard | None) -> Iterator[tuple[str, Accuracy]]:
    """By the card of a screening file."""
    if screening is None:
        return
    for part, found in screening.metrics.get("unknown", {}).items():
        yield _PLACES[part], Accuracy(found["correct"], found["n"], *found["interval_95"])


def _model_text(card: ModelCard) -> str:
    alpha = "" if card.alpha is None else f" alpha {card.alpha:g}"
    return f"{card.backbone}{alpha} at {card.preprocess.described}, {card.quantization}"


def _card_facts(card: ModelCard) -> Iterator[tuple[str, str]]:
    images = card.dataset.get("images")
    if images:
        yield "images of each part", ", ".join(f"{count} {part}" for part, count in images.items())
    yield "weights it started from", card.weights
    if card.teachers:
        yield "teachers it learnt from", ", ".join(card.teachers)
    spec = card.preprocess
    yield "input", f"{spec.described}, {spec.fit}, {spec.resize}"
    if card.temperature is not None:
        yield "temperature of the scores", f"{card.temperature:.3f}, fitted on the validation part"
    if card.created:
        yield "made", card.created
    if fingerprint := card.dataset.get("fingerprint"):
        yield "fingerprint of the images", str(fingerprint)
    if card.versions:
        yield "versions", ", ".join(f"{name} {number}" for name, number in card.versions.items())


def _groups_text(settings: Mapping[str, Any], groups: int) -> str:
    if regex := settings["split"].get("group_regex"):
        return f"by the pattern {regex}"
    if column := settings["data"].get("group_column"):
        return f"{groups}, by the column {column}"
    return f"{groups}, as the files say" if groups else "none given"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values, those of inner settings after their own name; of paths the last part."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        elif value is not None and value != "":
            text = str(value)
            yield f"{prefix}{name}", Path(text).name if Path(text).is_absolute() else text


def _without_names(text: str, names: Iterable[str]) -> str:
    for name in sorted(names, key=len, reverse=True):  # one may be the end of another
        text = text.replace(name, _WITHHELD)
    return text
