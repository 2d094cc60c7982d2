"""Results as text for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from kit.evaluation.metrics import Accuracy, Evaluation
from kit.evaluation.on_site import history_text, point_text
from kit.model.spec import OperatingPoint, PreprocessSpec
from kit.reporting import counted

if TYPE_CHECKING:
    from kit.evaluation.evaluate import ModelEvaluation
    from kit.evaluation.subgroups import Gap, Subgroup
    from kit.evaluation.thresholds import Operation, ThresholdFigures
    from kit.evaluation.unknown import UnknownFigures
    from kit.workflows.choose_images import Chosen
    from kit.workflows.compare import Comparison
    from kit.workflows.corrected_tree import CorrectedTree
    from kit.workflows.cross_validate import CrossValidation
    from kit.workflows.review import Review


def model_evaluation_text(
    result: ModelEvaluation, positive: str | None = None, prevalence: float | None = None
) -> str:
    """What `kit evaluate` prints."""
    parts = [evaluation_text(result.evaluation)]
    if result.operation is not None:
        parts.append(operation_text(result.operation))
    if result.known is not None:
        parts.append(known_text(result.known))
    if result.unknown is not None:
        parts.append(unknown_text(result.unknown))
    if result.subgroup_values:
        parts.append(subgroups_text(*result.subgroups(positive)))
    if positive is not None:
        parts.append(thresholds_text(positive, result.table(positive, prevalence)))
    return "\n".join(parts)


def evaluation_text(evaluation: Evaluation) -> str:
    """Accuracy, classes, scores, confusion matrix and the surest mistakes."""
    lines = [f"accuracy {evaluation.accuracy}", "", "each class:"]
    width = max(len(label) for label in evaluation.labels)
    figures = zip(
        evaluation.labels,
        evaluation.per_class,
        evaluation.precision,
        evaluation.f1,
        evaluation.auc,
        strict=True,
    )
    for label, hits, precision, f1, auc in figures:
        if hits.n:
            area = f", AUC {auc}" if auc.value is not None else ""
            lines.append(
                f"  {label:{width}}  hit rate {hits}, precision {_share(precision.value)}, "
                f"F1 {_share(f1)}{area}"
            )
    calibration = evaluation.calibration
    if calibration is not None:
        lines += [
            "",
            f"calibration error {calibration.ece:.4f} (chance alone, at this N: "
            f"{calibration.ece_if_calibrated:.4f}), log loss {calibration.log_loss:.4f}, "
            f"Brier score {calibration.brier:.4f}",
        ]
    lines += ["", *_scores_text(evaluation), "", "confusion matrix (rows: truth):"]
    columns = [max(len(label), 5) for label in evaluation.labels]
    names = zip(evaluation.labels, columns, strict=True)
    lines.append("  " + " " * width + "".join(f"  {name:>{size}}" for name, size in names))
    for label, row in zip(evaluation.labels, evaluation.confusion, strict=True):
        cells = "".join(f"  {n:>{size}}" for n, size in zip(row, columns, strict=True))
        lines.append(f"  {label:{width}}{cells}")
    if evaluation.misclassified:
        shown = evaluation.misclassified[:10]
        lines += ["", f"surest mistakes ({len(shown)} of {len(evaluation.misclassified)}):"]
        lines += [f"  {m.image}: {m.predicted} {m.score:.3f}, is {m.label}" for m in shown]
    return "\n".join(lines)


def _scores_text(evaluation: Evaluation) -> list[str]:
    lines = []
    if evaluation.mean_score_of_hits is not None:
        lines.append(f"mean score of hits    {evaluation.mean_score_of_hits:.3f}")
    if evaluation.mean_score_of_misses is not None:
        lines.append(f"mean score of misses  {evaluation.mean_score_of_misses:.3f}")
    if evaluation.suggested_threshold is not None:
        lines.append(f"suggested threshold   {evaluation.suggested_threshold:.3f}")
    return lines


def operation_text(operation: Operation) -> str:
    """What an operating point does on these images."""
    point, found = operation.point, operation.to_json()
    lines = [
        "",
        f"operating point: {point_text(point)}",
        f"  sensitivity  {operation.rule_out.sensitivity}",
        f"  specificity  {operation.rule_in.specificity}",
        f"  uncertain    {operation.uncertain}",
        f"  at a prevalence of {found['prevalence']:g}: PPV {_share(found['ppv'])}, "
        f"NPV {_share(found['npv'])}",
    ]
    return "\n".join(lines)


def subgroups_text(subgroups: Sequence[Subgroup], gaps: Sequence[Gap]) -> str:
    """Figures of each subgroup, and where they are furthest apart."""
    lines = []
    width = max((len(one.value) for one in subgroups), default=0)
    for column, of_column in groupby(subgroups, lambda one: one.column):
        lines += ["", f"by {column} (95 % intervals):"]
        for one in of_column:
            figures = [
                f"{name} {'of too few to judge' if share is None else share}"
                for name, share in one.figures.items()
            ]
            area = [] if one.auc is None else [f"AUC {one.auc}"]
            lines.append(f"  {one.value:{width}}  {', '.join([*figures, *area])}")
        lines += [f"  largest gap in {gap.figure}: {gap}" for gap in gaps if gap.column == column]
    return "\n".join(lines)


def known_text(known: Accuracy) -> str:
    """The share of images with the model's labels that are not answered `unknown`."""
    return (
        f"\nnot answered unknown: {known}; the other figures count every image, "
        "also those that are answered unknown"
    )


def unknown_text(figures: UnknownFigures) -> str:
    """How images of something else are told from those of the labels."""
    lines = [
        "",
        f"unknown images, by {figures.measure}:",
        f"  AUROC              {figures.auroc}",
        f"  taken for known    {figures.false_acceptance_at_95}, where 95 % of the known are",
    ]
    own = figures.at_file_threshold
    if own is not None:
        lines += [
            f"  at the file's own threshold of {own.threshold:.3f}:",
            f"    known accepted   {own.known_accepted}",
            f"    unknown accepted {own.unknown_accepted}",
        ]
    return "\n".join(lines)


def thresholds_text(positive: str, rows: Sequence[ThresholdFigures]) -> str:
    """A line for each threshold."""
    lines = [
        "",
        f"thresholds of {positive} (95 % intervals; at a prevalence of {rows[0].prevalence:g}):",
        f"  {'from':5}  {'sensitivity':26}  {'specificity':26}  {'PPV':6}  NPV",
    ]
    for row in rows:
        cells = [
            f"{a.value:.4f} ({a.low:.4f} to {a.high:.4f})" if a.n else "no such images"
            for a in (row.sensitivity, row.specificity)
        ]
        lines.append(
            f"  {row.threshold:<5g}  {cells[0]:26}  {cells[1]:26}  {_share(row.ppv):6}  "
            f"{_share(row.npv)}"
        )
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "none" if value is None or value != value else f"{value:.4f}"


def cross_validation_text(result: CrossValidation) -> str:
    """Pooled figures with intervals; mean and spread over the heads."""
    mean, spread = result.mean(), result.spread()
    lines = [
        f"{len(result.heads)} heads, {result.folds} folds, each image answered by a head that saw "
        "neither it nor its group",
        f"pooled accuracy {result.pooled.accuracy}; calibration error "
        f"{result.unscaled.ece:.4f} before, "
        f"{result.pooled.calibration.ece if result.pooled.calibration else float('nan'):.4f} after "
        "temperature scaling",
    ]
    lines += [f"  {ranking.label}: AUC {ranking.auc}" for ranking in result.rankings]
    lines.append("mean and spread over heads:")
    lines += [
        f"  {name:12} {value:.4f} ± {spread[name] or 0:.4f}"
        for name, value in mean.items()
        if value is not None
    ]
    return "\n".join(lines)


def comparison_text(rows: Sequence[Comparison]) -> str:
    """What `kit convert --compare` prints: a line for each quantisation."""
    table = [
        (
            "quantization",
            "bytes",
            "accuracy (95 % interval)",
            "same as float32",
            "largest difference",
            "latency ratio",
        )
    ]
    remarks = []
    for row in rows:
        made = row.exported
        if made is None:
            remarks.append(f"{row.mode}: {row.error}")
            continue
        accuracy = made.evaluation.accuracy if made.evaluation else None
        agreement = made.agreement
        table.append(
            (
                row.mode,
                str(len(made.content)),
                str(accuracy or "no labelled images"),
                f"{agreement.top_1:.4f}" if agreement else "no images",
                f"{agreement.largest_difference:.4f}" if agreement else "",
                f"{row.latency_ratio:.2f}",
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    return "\n".join(
        [
            *lines,
            "latency ratio: time for one image on one thread of this machine, divided by float32's",
            *remarks,
        ]
    )


def info_text(facts: dict[str, Any]) -> str:
    """What `kit info` prints."""
    lines = [f"{facts['model']}: {facts['size_bytes']} bytes"]
    for kind in ("input", "output"):
        tensor = facts[kind]
        scale = tensor["quantization"]
        note = f", scale {scale['scale']:g}, zero point {scale['zero_point']}" if scale else ""
        lines.append(f"{kind:15} {tensor['dtype']} {tensor['shape']}{note}")
    if ends := facts["output_ends"]:
        lines.append(f"output ends in  {ends['operator']} ({ends['kind']})")
    operators = ", ".join(f"{o['name']} v{o['version']}" for o in facts["operators"])
    lines.append(f"operators       {operators}")
    runtime = facts["minimum_runtime"] or "unknown: an operator is in no released runtime"
    lines.append(f"minimum runtime TensorFlow Lite {runtime}")
    lines.append(f"runs on         {', '.join(facts['runtimes']) or 'no runtime that is known'}")
    lines.append(
        f"cost            {facts['multiply_adds'] / 1e6:.1f} million multiply-adds, "
        f"{facts['parameters'] / 1e6:.2f} million parameters (convolutions and dense layers)"
    )
    lines.append(f"labels          {_listed(facts['labels'])}")
    if facts["metadata"]:
        said = ", ".join(f"{k} {v}" for k, v in facts["metadata"].items() if v not in (None, []))
        lines.append(f"TFLite metadata {said}")
    card = facts["card"]
    if card is None:
        lines.append("card            none: not packaged by the kit")
        return "\n".join(lines)
    alpha = "" if card["alpha"] is None else f", alpha {card['alpha']:g}"
    lines.append(f"backbone        {card['backbone']}{alpha}, from {card['weights']}")
    lines.append(f"quantization    {card['quantization']}")
    spec = card["preprocess"]
    described = PreprocessSpec.from_json(json.loads(json.dumps(spec))).described
    lines.append(
        f"preprocessing   {described}, {spec['fit']}, "
        f"{spec['resize']}, mean {spec['mean']}, std {spec['std']}"
    )
    if kind := card.get("output_kind"):
        lines.append(f"output          {kind}")
    test = card["metrics"].get("test")
    if test:
        low, high = test["interval_95"]
        lines.append(
            f"accuracy        {test['accuracy']:.4f} ({low:.4f} to {high:.4f}, N={test['n']}) "
            "on the test part"
        )
    screening = card["screening"]
    if screening:
        heat = ", activation map" if screening["activation_map"] else ""
        threshold = screening["unfamiliarity_threshold"]
        lines.append(f"screening       unknown from an unfamiliarity above {threshold:.3f}{heat}")
    point = card["operating_point"]
    if point:
        lines.append(f"operating point {point_text(OperatingPoint.from_json(point))}")
    lines += [f"chosen on site  {line}" for line in history_text(card.get("history", ()))]
    lines.append(f"golden checks   {len(card['golden'])}")
    digest = card["model_sha256"]
    lines.append(f"digest          {digest or 'none: an earlier kit made the file'}")
    lines += [
        f"hint            num_threads {hint['num_threads']} on {hint['machine']} with "
        f"{hint['interpreter']} ({hint['latency_ms']:g} ms)"
        for hint in card["hints"]["threads"]
    ]
    if card["intended_use"]:
        lines.append(f"intended use    {card['intended_use']}")
    lines.append(f"created         {card['created']}; card {facts['card_version']}")
    return "\n".join(lines)


def _listed(labels: list[str] | None) -> str:
    if labels is None:
        return "none in the file"
    more = f" and {len(labels) - 10} more" if len(labels) > 10 else ""
    return f"{len(labels)}: {', '.join(labels[:10])}{more}"


def review_text(result: Review) -> str:
    """What `kit review` prints."""
    from kit.evaluation.label_errors import DOUBT, LABEL
    from kit.report.review import REASONS
    from kit.workflows.review import PAGE_NAME, SUSPECTS_NAME

    doubtful = [one for one in result.suspects if {*one.reasons} & {LABEL, DOUBT}]
    reasons = Counter(reason for one in result.suspects for reason in one.reasons)
    lines = [
        f"{result.images} images; for {len(doubtful)} of them, classifiers that have not learnt "
        "from them give another label a higher score",
        *(
            f"  {one.path}: {one.label} {one.label_score:.3f}, rather {one.suggested} "
            f"{one.suggested_score:.3f}"
            for one in doubtful[:10]
        ),
        *(
            f"{reason}: {reasons[reason]}, {told}"
            for reason, told in REASONS.items()
            if reasons[reason] and reason not in (LABEL, DOUBT)
        ),
        str(result.output / SUSPECTS_NAME),
        str(result.output / PAGE_NAME),
    ]
    return "\n".join(lines)


def chosen_text(result: Chosen) -> str:
    """What `kit review --unlabelled` prints."""
    from kit.workflows.choose_images import CHOSEN_NAME
    from kit.workflows.review import PAGE_NAME

    lines = [
        f"{len(result.images)} of {counted(result.of, 'image')} to label next",
        *(
            f"  {one.path}: perhaps {one.suggested} {one.suggested_score:.3f}"
            for one in result.images[:10]
        ),
        str(result.output / CHOSEN_NAME),
        str(result.output / PAGE_NAME),
    ]
    return "\n".join(lines)


def tree_text(result: CorrectedTree) -> str:
    """What `kit review --apply` prints."""
    return f"{result.output}: {counted(result.images, 'image')}, {result.linked} of them linked"
