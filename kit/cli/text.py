"""Results as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kit.evaluation.metrics import Evaluation

if TYPE_CHECKING:
    from kit.compare import Comparison


def evaluation_text(evaluation: Evaluation) -> str:
    """Accuracy, classes, scores, confusion matrix and the surest mistakes."""
    lines = [f"accuracy {evaluation.accuracy}", "", "hit rate of each class:"]
    width = max(len(label) for label in evaluation.labels)
    lines += [
        f"  {label:{width}}  {accuracy}"
        for label, accuracy in zip(evaluation.labels, evaluation.per_class, strict=True)
        if accuracy.n
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
    return "\n".join([*lines, "latency: of one image on one thread here, to float32's", *remarks])


def info_text(facts: dict[str, Any]) -> str:
    """What `kit info` prints."""
    lines = [f"{facts['model']}: {facts['size_bytes']} bytes"]
    for kind in ("input", "output"):
        tensor = facts[kind]
        scale = tensor["quantization"]
        note = f", scale {scale['scale']:g}, zero point {scale['zero_point']}" if scale else ""
        lines.append(f"{kind:15} {tensor['dtype']} {tensor['shape']}{note}")
    operators = ", ".join(f"{o['name']} v{o['version']}" for o in facts["operators"])
    lines.append(f"operators       {operators}")
    runtime = facts["minimum_runtime"] or "unknown: an operator is in no released runtime"
    lines.append(f"minimum runtime TensorFlow Lite {runtime}")
    lines.append(f"runs on         {', '.join(facts['runtimes']) or 'no runtime that is known'}")
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
    lines.append(
        f"preprocessing   {spec['input_resolution']} pixels, {spec['fit']}, {spec['resize']}, "
        f"mean {spec['mean']}, std {spec['std']}"
    )
    test = card["metrics"].get("test")
    if test:
        low, high = test["interval_95"]
        lines.append(
            f"accuracy        {test['accuracy']:.4f} ({low:.4f} to {high:.4f}, N={test['n']}) "
            "on the test part"
        )
    lines.append(f"golden checks   {len(card['golden'])}")
    if card["intended_use"]:
        lines.append(f"intended use    {card['intended_use']}")
    lines.append(f"created         {card['created']}")
    return "\n".join(lines)


def _listed(labels: list[str] | None) -> str:
    if labels is None:
        return "none in the file"
    more = f" and {len(labels) - 10} more" if len(labels) > 10 else ""
    return f"{len(labels)}: {', '.join(labels[:10])}{more}"
