"""The commands. Heavy packages are imported inside, so that help answers at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from kit.cli.terminal import TerminalReporter, import_tensorflow, reports_errors
from kit.training.defaults import DEFAULT_ALPHA, DEFAULT_BACKBONE, DEFAULT_VARIANTS

if TYPE_CHECKING:
    from kit.evaluation.thresholds import Targets

Item = TypeVar("Item")

app = typer.Typer(
    name="kit",
    help="Retrain a MobileNet on a folder of photographs, and run it on a small device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(help="Pretrained weights.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
deploy_app = typer.Typer(help="A model to a device.", no_args_is_help=True)
app.add_typer(deploy_app, name="deploy")


class Mode(StrEnum):
    """As kit.model.spec.QUANTIZATION_MODES, and kit.export.exporter.AUTO."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"
    INT8 = "int8"
    INT8_FLOAT_HEAD = "int8_float_head"
    INT16X8 = "int16x8"
    AUTO = "auto"


class Fit(StrEnum):
    STRETCH = "stretch"
    CROP = "crop"
    PAD = "pad"


class Recipe(StrEnum):
    """As kit.training.learning.RECIPES."""

    QUICK = "quick"
    BEST = "best"


class Augment(StrEnum):
    """As kit.training.augment.AUGMENTATIONS."""

    NONE = "none"
    PHOTO = "photo"
    XRAY = "xray"
    ANY_DIRECTION = "any-direction"


class Resize(StrEnum):
    BILINEAR = "bilinear"
    ANTIALIAS = "antialias"


class Interpreter(StrEnum):
    """As kit.runtime.interpreter.INTERPRETERS."""

    AI_EDGE_LITERT = "ai_edge_litert"
    TFLITE_RUNTIME = "tflite_runtime"


class Target(StrEnum):
    """As converters.targets.table.TARGETS."""

    TFLITE = "tflite"
    C = "c"
    ONNX = "onnx"


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


class LabelFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    CSV = "csv"


class Part(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


_QUANTIZE_HELP = (
    "auto takes the first of int8, int8_float_head, int16x8, float16 that loses at most "
    "--max-accuracy-drop (0.01)."
)
ModelArgument = Annotated[Path, typer.Argument(help="A .tflite image classifier.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
FormatOption = Annotated[Format, typer.Option("--format", help="What to print.")]
DropOption = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Fail, and keep nothing, if a file loses more of float32's accuracy."
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="For the card: below it an answer is better not given."),
]
LeastOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Fail, and keep nothing, if a file is less accurate."),
]
GalleryOption = Annotated[
    bool | None,
    typer.Option(
        "--gallery/--no-gallery",
        help="Photographs and file names in the report.  [default: unless there is DICOM]",
    ),
]
ScreeningOption = Annotated[
    bool,
    typer.Option(
        "--screening", help="Write beside it a file that also tells unknown images and heat maps."
    ),
]
PositiveOption = Annotated[
    str | None, typer.Option(help="The label that counts as positive, as in screening.")
]
PrevalenceOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Of positives, for predictive values.  [default: as here]"),
]
ImagesArgument = Annotated[Path, typer.Argument(help="A folder with a folder of images per class.")]
WeightsOption = Annotated[
    str, typer.Option(help="imagenet, none, an h5 file or a folder of them; with commas, in turn.")
]
SeedOption = Annotated[int, typer.Option(help="Of the split, the weights and the order.")]
ValidationOption = Annotated[float, typer.Option(help="Share of images for validation.")]
TestOption = Annotated[float, typer.Option(help="Share of images for the test.")]
GroupRegexOption = Annotated[
    str, typer.Option(help="What it matches in a path stays in one part (patients).")
]
FitOption = Annotated[Fit, typer.Option(help="How photographs become square.")]
ResizeOption = Annotated[Resize, typer.Option(help="The filter.")]
LabelsCsvOption = Annotated[
    Path | None, typer.Option(help="A CSV or TSV table of labels, instead of folders.")
]
PathColumnOption = Annotated[str, typer.Option(help="Its column of paths, relative to IMAGES.")]
LabelColumnOption = Annotated[str, typer.Option(help="Its column of labels.")]
GroupColumnOption = Annotated[
    str | None, typer.Option(help="Its column of what stays in one part (patients).")
]
SplitColumnOption = Annotated[
    str | None, typer.Option(help="Its column of given parts: train, validation, test.")
]
LabelRegexOption = Annotated[
    str, typer.Option(help="Labels from file names: its first group, or its named groups' names.")
]
BackboneOption = Annotated[
    str, typer.Option(help="mobilenet_v1, _v2, _v3_small, _v3_large, inception_v3, resnet50.")
]
AlphaOption = Annotated[float | None, typer.Option(help="Width multiplier.  [default: 1, v1 0.5]")]
ResolutionOption = Annotated[
    int | None, typer.Option(help="Side of the input in pixels.  [default: the backbone's]")
]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        from kit import __version__

        print(f"kit {__version__}")
        raise typer.Exit


@app.command()
@reports_errors
def train(
    images: ImagesArgument,
    output: Annotated[Path, typer.Option(help="The run folder to write.")],
    backbone: BackboneOption = DEFAULT_BACKBONE,
    alpha: AlphaOption = None,
    input_resolution: ResolutionOption = None,
    weights: WeightsOption = "imagenet",
    quantize: Annotated[
        list[Mode] | None,
        typer.Option(help=f"A file for each mode given; {_QUANTIZE_HELP}  [default: int8]"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most.  [default: 75]")] = None,
    samples_per_image: Annotated[
        int | None, typer.Option(help="Instead of epochs: how often each image is seen.")
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 0.003,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 64,
    l2: Annotated[float, typer.Option(help="Weight decay of the softmax layer.")] = 0.01,
    recipe: Annotated[
        Recipe, typer.Option(help="Head alone, or all that makes it better; flags go before it.")
    ] = Recipe.QUICK,
    augment: Annotated[
        Augment | None,
        typer.Option(help="How images change.  [default: none; best photo]"),
    ] = None,
    variants: Annotated[
        int, typer.Option(help="Changed forms of each photograph that the head sees.")
    ] = DEFAULT_VARIANTS,
    label_smoothing: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of the truth, on all classes.  [default: 0; best 0.1]"),
    ] = None,
    dropout: Annotated[
        float, typer.Option(min=0, max=1, help="Share of bottleneck values that a step leaves out.")
    ] = 0.0,
    fine_tune: Annotated[
        str | None,
        typer.Option(
            metavar="LAYERS|most|all|none",
            help="How many of the last layers learn too.  [default: none; best most]",
        ),
    ] = None,
    fine_tune_epochs: Annotated[
        int | None, typer.Option(help="At most.  [default: 12; best: the backbone's]")
    ] = None,
    fine_tune_learning_rate: Annotated[
        float | None, typer.Option(help="At the start.  [default: the backbone's]")
    ] = None,
    mixup: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="In fine-tuning: beta distribution that mixes images.  "
            "[default: 0; best: the backbone's]",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where fine-tuning was broken off.")
    ] = False,
    class_weights: Annotated[bool, typer.Option(help="Rare classes count more.")] = True,
    seed: SeedOption = 0,
    validation: ValidationOption = 0.1,
    test: TestOption = 0.1,
    group_regex: GroupRegexOption = "",
    labels_csv: LabelsCsvOption = None,
    path_column: PathColumnOption = "path",
    label_column: LabelColumnOption = "label",
    group_column: GroupColumnOption = None,
    split_column: SplitColumnOption = None,
    label_regex: LabelRegexOption = "",
    fit: FitOption = Fit.STRETCH,
    resize: ResizeOption = Resize.BILINEAR,
    representative_images: Annotated[
        int, typer.Option(help="Train images that quantisation looks at.")
    ] = 100,
    max_accuracy_drop: DropOption = None,
    assert_accuracy_at_least: LeastOption = None,
    positive: PositiveOption = None,
    target_sensitivity: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Choose the operating point by it, on validation images."),
    ] = None,
    target_specificity: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Likewise; with both, scores between are uncertain."),
    ] = None,
    prevalence: PrevalenceOption = None,
    intended_use: Annotated[str, typer.Option(help="A sentence for the model card.")] = "",
    gallery: GalleryOption = None,
    screening: ScreeningOption = False,
    format: FormatOption = Format.TEXT,
    force: ForceOption = False,
) -> None:
    """Retrain on labelled photographs, convert, score the converted files."""
    from kit.data import DataSettings, SplitSettings
    from kit.export.exported import Gates
    from kit.training.learning import RECIPES
    from kit.workflows.train import TrainSettings
    from kit.workflows.train import train as run_training

    if epochs is not None and samples_per_image is not None:
        raise ValueError("expected --epochs or --samples-per-image, got both")
    preset = RECIPES[recipe.value]
    tuning = preset.fine_tune
    common: dict[str, Any] = {
        "l2": l2,
        "class_weights": class_weights,
        "seed": seed,
        "label_smoothing": _first(label_smoothing, preset.fitting.label_smoothing),
        "dropout": dropout,
    }
    settings = TrainSettings(
        backbone=backbone,
        alpha=_alpha(backbone, alpha),
        input_resolution=input_resolution,
        weights=weights,
        quantize=tuple(mode.value for mode in dict.fromkeys(quantize or [Mode.INT8])),
        fit=fit.value,
        resize=resize.value,
        data=DataSettings(
            labels_csv, path_column, label_column, group_column, split_column, label_regex
        ),
        split=SplitSettings(validation, test, seed, group_regex),
        fitting=replace(
            preset.fitting,
            # An epoch shows each image once, so samples per image are epochs.
            epochs=_first(epochs, samples_per_image, preset.fitting.epochs),
            learning_rate=learning_rate,
            batch_size=batch_size,
            **common,
        ),
        fine_tune=replace(
            tuning,
            layers=tuning.layers if fine_tune is None else _layers(fine_tune),
            mixup=_first(mixup, tuning.mixup),
            fitting=replace(
                tuning.fitting,
                epochs=_first(fine_tune_epochs, tuning.fitting.epochs),
                learning_rate=fine_tune_learning_rate,
                **common,
            ),
        ),
        augment=preset.augment if augment is None else augment.value,
        variants=variants,
        representative_images=representative_images,
        gates=Gates(max_accuracy_drop, assert_accuracy_at_least),
        targets=_targets(positive, target_sensitivity, target_specificity, prevalence),
        intended_use=intended_use,
        gallery=gallery,
        screening=screening,
    )
    import_tensorflow()
    result = run_training(
        images, output, settings, force=force, resume=resume, reporter=TerminalReporter()
    )
    if format is Format.JSON:
        _print_json(
            {
                "run": str(result.run),
                "files": {mode: str(path) for mode, path in result.files.items()},
                "screening_files": {
                    mode: str(path) for mode, path in result.screening_files.items()
                },
                **result.evaluations[next(iter(result.files))].accuracy.to_json(),
                "accuracies": {
                    mode: evaluation.accuracy.to_json()
                    for mode, evaluation in result.evaluations.items()
                },
            }
        )
    else:
        for path in (*result.files.values(), *result.screening_files.values()):
            print(path)


@app.command()
@reports_errors
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="A run folder, a SavedModel's folder, a .keras, .h5 or frozen .pb file; "
            "for --target c and onnx also a packaged .tflite."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="The file to write; --compare needs none.")
    ] = None,
    quantize: Annotated[Mode, typer.Option(help=_QUANTIZE_HELP)] = Mode.INT8,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Labelled photographs to score on; of a run: its images, if they have moved."
        ),
    ] = None,
    representative_images: Annotated[
        Path | None, typer.Option(help="A folder of photographs that quantisation looks at.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A label a line; for all sources but runs.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Of the input's normalisation.  [default: as found]")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    fit: Annotated[
        Fit | None, typer.Option(help="How photographs become square.  [default: stretch]")
    ] = None,
    resize: Annotated[Resize | None, typer.Option(help="The filter.  [default: bilinear]")] = None,
    input_resolution: Annotated[
        int | None, typer.Option(help="For a source that leaves it open.")
    ] = None,
    input_tensor: Annotated[
        str | None, typer.Option(help="The node where the image goes in.  [default: as found]")
    ] = None,
    output_tensor: Annotated[
        str | None, typer.Option(help="The node with the scores.  [default: as found]")
    ] = None,
    score_threshold: ThresholdOption = None,
    target: Annotated[
        Target, typer.Option(help="A .tflite file, C source (OUTPUT.h and .c) or ONNX.")
    ] = Target.TFLITE,
    target_runtime: Annotated[
        str | None,
        typer.Option(help="That must run it: 2.3 to 2.14 (tflite-runtime), litert-1, litert-2."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Print a table over all quantisations instead.")
    ] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Run code that the source carries (Lambda layers).")
    ] = False,
    max_accuracy_drop: DropOption = None,
    assert_accuracy_at_least: LeastOption = None,
    screening: ScreeningOption = False,
    intended_use: Annotated[str, typer.Option(help="A sentence for the model card.")] = "",
    format: FormatOption = Format.TEXT,
    force: ForceOption = False,
) -> None:
    """Convert a run, or a model that others made, and score the file."""
    import kit.workflows.convert as conversion
    from converters.sources.frozen_graph import Options
    from kit.cli.text import comparison_text
    from kit.export.exported import Gates, summary, verification

    if compare == (output is not None):
        raise ValueError("expected --output FILE, or --compare, which writes no file")
    settings = conversion.ConvertSettings(
        quantize=quantize.value,
        images=images,
        representative_images=representative_images,
        labels=labels,
        fit=None if fit is None else fit.value,
        resize=None if resize is None else resize.value,
        source=Options(
            _triple(mean), _triple(std), input_resolution, input_tensor, output_tensor, unsafe
        ),
        gates=Gates(max_accuracy_drop, assert_accuracy_at_least),
        target_runtime=target_runtime,
        score_threshold=score_threshold,
        intended_use=intended_use,
        target=target.value,
        screening=screening,
    )
    if screening and output is None:
        raise ValueError("expected --screening with --output FILE, got --compare")
    if output is not None and source.suffix == ".tflite" and target is not Target.TFLITE:
        if target is Target.ONNX:
            import_tensorflow()
        for path in conversion.translate(source, output, target.value, force=force):
            print(path)
        return
    import_tensorflow()
    reporter = TerminalReporter()
    if output is None:
        from kit.workflows.compare import compare as compare_all

        rows = compare_all(source, settings, reporter)
        if format is Format.JSON:
            _print_json({"source": str(source), "modes": [row.to_json() for row in rows]})
        else:
            print(comparison_text(rows))
        return
    exported = conversion.convert(source, output, settings, force=force, reporter=reporter)
    if format is Format.JSON:
        size = {"quantization": exported.mode, "size_bytes": len(exported.content)}
        figures = {**exported.card.metrics, **exported.card.metrics.get("test", {})}
        figures |= exported.card.metrics.get("images", {})
        _print_json({"output": str(output), **size, **figures})
    else:
        print(summary(exported))
        print(verification(exported))


@app.command()
@reports_errors
def package(
    model: ModelArgument,
    output: Annotated[Path, typer.Option(help="The .tflite file to write.")],
    labels: Annotated[
        Path | None, typer.Option(help="A label a line.  [default: the file's own]")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="One number, or three.  [default: the file's own]")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    fit: Annotated[
        Fit | None, typer.Option(help="How photographs become square.  [default: stretch]")
    ] = None,
    resize: Annotated[Resize | None, typer.Option(help="The filter.  [default: bilinear]")] = None,
    score_threshold: ThresholdOption = None,
    intended_use: Annotated[str, typer.Option(help="A sentence for the model card.")] = "",
    format: FormatOption = Format.TEXT,
    force: ForceOption = False,
) -> None:
    """Give a .tflite file that others made labels, metadata and a card; its weights stay."""
    from kit.workflows.package import PackageSettings, package_model

    settings = PackageSettings(
        labels=labels,
        mean=_numbers(mean),
        std=_numbers(std),
        fit=None if fit is None else fit.value,
        resize=None if resize is None else resize.value,
        score_threshold=score_threshold,
        intended_use=intended_use,
    )
    card = package_model(model, output, settings, force=force)
    if format is Format.JSON:
        _print_json({"output": str(output), "size_bytes": output.stat().st_size, **card.to_json()})
    else:
        print(
            f"{output}: {card.quantization}, {len(card.labels)} labels, {len(card.golden)} golden "
            f"checks passed; runs from TensorFlow Lite {card.minimum_runtime}"
        )


@app.command()
@reports_errors
def evaluate(
    model: ModelArgument,
    images: Annotated[Path, typer.Argument(help="A folder with a folder of images per label.")],
    part: Annotated[
        Part | None, typer.Option(help="Only this part of the split the model was trained with.")
    ] = None,
    misclassified: Annotated[
        Path | None, typer.Option(help="Write the wrong answers to this CSV file.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report to this HTML file.")] = None,
    gallery: GalleryOption = None,
    labels: Annotated[Path | None, typer.Option(help="For a model that carries none.")] = None,
    mean: Annotated[str | None, typer.Option(help="Likewise: one number, or three.")] = None,
    std: Annotated[str | None, typer.Option(help="Likewise: one number, or three.")] = None,
    resize: Annotated[Resize | None, typer.Option(help="Likewise.")] = None,
    labels_csv: LabelsCsvOption = None,
    path_column: PathColumnOption = "path",
    label_column: LabelColumnOption = "label",
    group_column: GroupColumnOption = None,
    split_column: SplitColumnOption = None,
    label_regex: LabelRegexOption = "",
    positive: PositiveOption = None,
    prevalence: PrevalenceOption = None,
    unknown_images: Annotated[
        Path | None, typer.Option(help="A folder of images of something else: are they told?")
    ] = None,
    num_threads: Annotated[int | None, typer.Option(help="Cores to use.")] = None,
    format: FormatOption = Format.TEXT,
    force: ForceOption = False,
) -> None:
    """Score a .tflite file on a labelled folder, by the runtime that ships."""
    from kit.cli.text import (
        evaluation_text,
        known_text,
        operation_text,
        thresholds_text,
        unknown_text,
    )
    from kit.data import DataSettings
    from kit.evaluation import evaluate_model
    from kit.evaluation.evaluate import check_positive
    from kit.files import check_absent, write_beside
    from kit.model.model_file import read_labels
    from kit.reporting import tell_left_out
    from kit.runtime import Classifier

    reporter = TerminalReporter()
    for output in (misclassified, report):
        if output is not None:
            check_absent(output, force)
    with Classifier.open(
        model,
        num_threads=num_threads,
        labels=None if labels is None else read_labels(labels),
        mean=_numbers(mean),
        std=_numbers(std),
        resize=None if resize is None else resize.value,
    ) as classifier:
        if positive is not None:
            check_positive(positive, classifier.labels)
        result = evaluate_model(
            classifier,
            images,
            part=None if part is None else part.value,
            data=DataSettings(
                labels_csv, path_column, label_column, group_column, split_column, label_regex
            ),
            prevalence=prevalence,
            unknown_images=unknown_images,
            reporter=reporter,
        )
    for line in result.warnings:
        reporter.warn(line)
    tell_left_out(result.left_out, reporter)
    if misclassified is not None:
        write_beside(misclassified, result.evaluation.misclassified_csv().encode(), force)
    if report is not None:
        from kit.report import of_evaluation, render

        page = of_evaluation(
            classifier,
            images,
            result,
            part=None if part is None else part.value,
            positive=positive,
            prevalence=prevalence,
            num_threads=num_threads,
            gallery=gallery,
        )
        write_beside(report, render(page).encode(), force)
    if format is Format.JSON:
        data = {"model": str(model), **result.evaluation.to_json()}
        if result.operation is not None:
            data["operating_point"] = result.operation.to_json()
        if result.known is not None:
            data["answered_known"] = result.known.to_json("value")
        if result.unknown is not None:
            data["unknown"] = result.unknown.to_json()
        if positive is not None:
            data["thresholds"] = [row.to_json() for row in result.table(positive, prevalence)]
        _print_json({**data, "left_out": dict(result.left_out)})
        return
    print(evaluation_text(result.evaluation))
    if result.operation is not None:
        print(operation_text(result.operation))
    if result.known is not None:
        print(known_text(result.known))
    if result.unknown is not None:
        print(unknown_text(result.unknown))
    if positive is not None:
        print(thresholds_text(positive, result.table(positive, prevalence)))


@app.command("cross-validate")
@reports_errors
def cross_validate(
    images: ImagesArgument,
    folds: Annotated[int, typer.Option(help="Test parts.")] = 5,
    repeats: Annotated[int, typer.Option(help="Times to divide anew.")] = 1,
    backbone: BackboneOption = DEFAULT_BACKBONE,
    alpha: AlphaOption = None,
    input_resolution: ResolutionOption = None,
    weights: Annotated[
        str, typer.Option(help="imagenet, an h5 file or a folder of them; with commas, in turn.")
    ] = "imagenet",
    labels_csv: LabelsCsvOption = None,
    path_column: PathColumnOption = "path",
    label_column: LabelColumnOption = "label",
    group_column: GroupColumnOption = None,
    label_regex: LabelRegexOption = "",
    group_regex: GroupRegexOption = "",
    validation: Annotated[float, typer.Option(help="Share of images to stop and scale by.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the division, the weights and the order.")] = 0,
    fit: FitOption = Fit.STRETCH,
    resize: ResizeOption = Resize.BILINEAR,
    format: FormatOption = Format.TEXT,
) -> None:
    """Train and score a head for each fold, from cached bottlenecks: all images are tested on."""
    from kit.cli.text import cross_validation_text
    from kit.data import DataSettings, SplitSettings
    from kit.training.fitting import FitSettings
    from kit.workflows.cross_validate import cross_validate as run
    from kit.workflows.train import TrainSettings

    settings = TrainSettings(
        backbone=backbone,
        alpha=_alpha(backbone, alpha),
        input_resolution=input_resolution,
        weights=weights,
        fit=fit.value,
        resize=resize.value,
        data=DataSettings(labels_csv, path_column, label_column, group_column, None, label_regex),
        split=SplitSettings(validation, 0.1, seed, group_regex),
        fitting=FitSettings(seed=seed),
    )
    import_tensorflow()
    result = run(images, settings, folds, repeats, reporter=TerminalReporter())
    if format is Format.JSON:
        _print_json(result.to_json())
    else:
        print(cross_validation_text(result))


@app.command()
@reports_errors
def sweep(
    images: ImagesArgument,
    output: Annotated[Path, typer.Option(help="The sweep's folder; goes on in an earlier one.")],
    backbone: Annotated[
        list[str] | None,
        typer.Option(help=f"Several: with commas, or again.  [default: {DEFAULT_BACKBONE}]"),
    ] = None,
    alpha: Annotated[
        list[str] | None,
        typer.Option(help="Width multipliers, likewise.  [default: 1, v1 0.5]"),
    ] = None,
    input_resolution: Annotated[
        list[str] | None,
        typer.Option(help="Sides of the input in pixels, likewise.  [default: the backbone's]"),
    ] = None,
    quantize: Annotated[
        list[str] | None,
        typer.Option(
            help="float32, float16, dynamic, int8, int8_float_head, int16x8, likewise.  "
            "[default: int8]"
        ),
    ] = None,
    recipe: Annotated[
        Recipe, typer.Option(help="Head alone, or all that makes it better.")
    ] = Recipe.QUICK,
    weights: WeightsOption = "imagenet",
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out combinations without weights.")
    ] = False,
    epochs: Annotated[int | None, typer.Option(help="At most.  [default: 75]")] = None,
    fine_tune_epochs: Annotated[
        int | None, typer.Option(help="At most, with --recipe best.  [default: 24]")
    ] = None,
    seed: SeedOption = 0,
    validation: ValidationOption = 0.1,
    test: TestOption = 0.1,
    group_regex: GroupRegexOption = "",
    labels_csv: LabelsCsvOption = None,
    path_column: PathColumnOption = "path",
    label_column: LabelColumnOption = "label",
    group_column: GroupColumnOption = None,
    split_column: SplitColumnOption = None,
    label_regex: LabelRegexOption = "",
    fit: FitOption = Fit.STRETCH,
    resize: ResizeOption = Resize.BILINEAR,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Trainings at once.  [default: 1; with --ray one a machine]"),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Train on this Ray cluster: auto, HOST:PORT, ray://."),
    ] = None,
    ray_shared: Annotated[
        bool,
        typer.Option("--ray-shared", help="Its machines have these very folders: send nothing."),
    ] = False,
    max_size_kb: Annotated[
        float | None, typer.Option(help="Recommend the best of files up to this.")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Likewise: of those whose median is up to this.")
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Recommend the smallest that is so accurate, 0 to 1.")
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(help="The image to time files with.  [default: one of the test part]"),
    ] = None,
    threads: Annotated[int, typer.Option(help="Time with 1 to this; the fastest counts.")] = 1,
    runs: Annotated[int, typer.Option(help="That are timed, of each file.")] = 50,
    interpreter: Annotated[
        Interpreter | None, typer.Option(help="[default: the one that labels here]")
    ] = None,
    format: FormatOption = Format.TEXT,
    force: Annotated[
        bool, typer.Option("--force", help="Delete an earlier sweep there, and start anew.")
    ] = False,
) -> None:
    """Size and latency against accuracy over a grid: train, convert, score, time, compare all."""
    from kit.cli.sweep_table import TableReporter, sweep_text
    from kit.data import DataSettings, SplitSettings
    from kit.sweep import Executor, Limits, Processes, SweepSettings, TimingSettings
    from kit.sweep import sweep as run
    from kit.training.learning import RECIPES
    from kit.workflows.train import TrainSettings

    preset = RECIPES[recipe.value]
    tuning = preset.fine_tune
    settings = SweepSettings(
        backbones=_listed(backbone, str) or (DEFAULT_BACKBONE,),
        alphas=_listed(alpha, float),
        input_resolutions=_listed(input_resolution, int),
        training=TrainSettings(
            weights=weights,
            quantize=_listed(quantize, str) or (Mode.INT8.value,),
            fit=fit.value,
            resize=resize.value,
            data=DataSettings(
                labels_csv, path_column, label_column, group_column, split_column, label_regex
            ),
            split=SplitSettings(validation, test, seed, group_regex),
            fitting=replace(
                preset.fitting, epochs=_first(epochs, preset.fitting.epochs), seed=seed
            ),
            fine_tune=replace(
                tuning,
                fitting=replace(
                    tuning.fitting,
                    epochs=_first(fine_tune_epochs, tuning.fitting.epochs),
                    seed=seed,
                ),
            ),
            augment=preset.augment,
            variants=preset.variants,
        ),
        timing=TimingSettings(
            image, threads, runs, None if interpreter is None else interpreter.value
        ),
        limits=Limits(max_size_kb, max_latency_ms, min_accuracy),
        skip_missing=skip_missing,
    )
    if ray is None and ray_shared:
        raise ValueError("expected --ray-shared with --ray ADDRESS, got it alone")
    with ExitStack() as stack:
        executor: Executor = Processes(_first(jobs, 1))
        if ray is not None:
            from kit.sweep.cluster import RayCluster

            executor = stack.enter_context(RayCluster(ray, jobs, shared_folders=ray_shared))
        reporter = stack.enter_context(TableReporter())
        result = run(images, output, settings, executor=executor, force=force, reporter=reporter)
    print(
        (output / "results.json").read_text("utf-8")
        if format is Format.JSON
        else sweep_text(result)
    )
    if result.failures or result.findings.best is None:
        raise typer.Exit(1)


@app.command()
@reports_errors
def check(
    images: ImagesArgument,
    labels_csv: LabelsCsvOption = None,
    path_column: PathColumnOption = "path",
    label_column: LabelColumnOption = "label",
    group_column: GroupColumnOption = None,
    split_column: SplitColumnOption = None,
    label_regex: LabelRegexOption = "",
    validation: ValidationOption = 0.1,
    test: TestOption = 0.1,
    seed: Annotated[int, typer.Option(help="Of the split, and of the contact sheet's choice.")] = 0,
    group_regex: GroupRegexOption = "",
    near_bits: Annotated[
        int, typer.Option(help="Perceptual hashes (256 bits) this close are near copies.")
    ] = 40,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Write a PNG with a row of images for each class.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if anything is found.")
    ] = False,
    format: FormatOption = Format.TEXT,
    force: ForceOption = False,
) -> None:
    """Look for what is wrong with a data set, before training on it."""
    from kit.data import DataSettings, SplitSettings, load_dataset
    from kit.data.check import check_images, draw_contact_sheet, report_text
    from kit.files import check_absent

    data = DataSettings(
        labels_csv, path_column, label_column, group_column, split_column, label_regex
    )
    if contact_sheet is not None:
        check_absent(contact_sheet, force)
    dataset = load_dataset(images, data)
    report = check_images(
        dataset,
        split=SplitSettings(validation, test, seed, group_regex),
        near_bits=near_bits,
        reporter=TerminalReporter(),
    )
    if contact_sheet is not None:
        draw_contact_sheet(dataset, contact_sheet, seed=seed, force=force)
    if format is Format.JSON:
        _print_json(report.to_json())
    else:
        print(report_text(report))
    if strict and report.problems:
        raise typer.Exit(1)


@app.command()
@reports_errors
def label(
    model: ModelArgument,
    images: Annotated[list[str], typer.Argument(help="Files, folders, or - for paths on stdin.")],
    top_k: Annotated[int, typer.Option(help="Answers for each image.")] = 3,
    score_threshold: Annotated[
        float | None, typer.Option(help="Leave out answers below.  [default: the model's own]")
    ] = None,
    format: Annotated[LabelFormat, typer.Option(help="What to print.")] = LabelFormat.TEXT,
    allow: Annotated[list[str] | None, typer.Option(help="Answer only these labels.")] = None,
    deny: Annotated[list[str] | None, typer.Option(help="Never answer these labels.")] = None,
    labels: Annotated[Path | None, typer.Option(help="For a model that carries none.")] = None,
    mean: Annotated[str | None, typer.Option(help="Likewise: one number, or three.")] = None,
    std: Annotated[str | None, typer.Option(help="Likewise: one number, or three.")] = None,
    resize: Annotated[Resize | None, typer.Option(help="Likewise.")] = None,
    num_threads: Annotated[int | None, typer.Option(help="Cores to use.")] = None,
    explain: Annotated[  # no Path, which would drop a slash at the end
        str | None,
        typer.Option(
            metavar="PATH",
            help="Where it looked: a PNG to write, or a folder (for several images, or with a / "
            "at the end).",
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Label images; the same code as kit-label on a device."""
    from kit.device.label import label_images
    from kit.model.model_file import read_labels
    from kit.runtime import Classifier

    with Classifier.open(
        model,
        num_threads=num_threads,
        top_k=top_k,
        score_threshold=score_threshold,
        category_allowlist=allow or (),
        category_denylist=deny or (),
        labels=None if labels is None else read_labels(labels),
        mean=_numbers(mean),
        std=_numbers(std),
        resize=None if resize is None else resize.value,
    ) as classifier:
        if not label_images(
            classifier, images, format.value, sys.stdout, sys.stderr, explain, force
        ):
            raise typer.Exit(1)


@app.command()
@reports_errors
def info(model: ModelArgument, format: FormatOption = Format.TEXT) -> None:
    """Show what a .tflite file is: input, outputs, operators and their versions, card."""
    from kit.cli.text import info_text
    from kit.workflows.describe import describe_model

    facts = describe_model(model)
    if format is Format.JSON:
        _print_json(facts)
    else:
        print(info_text(facts))


@app.command()
@reports_errors
def benchmark(
    model: ModelArgument,
    image: Annotated[
        Path | None, typer.Option(help="The image to label.  [default: a drawn JPEG]")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Measure 1 to this.  [default: the cores, at most 4]")
    ] = None,
    runs: Annotated[int, typer.Option(help="That count.")] = 50,
    warmup: Annotated[int, typer.Option(help="Before them, the first image apart.")] = 5,
    interpreter: Annotated[
        Interpreter | None, typer.Option(help="[default: all that are installed]")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Store the best number of threads in MODEL's card.")
    ] = False,
    labels: Annotated[Path | None, typer.Option(help="For a model that carries none.")] = None,
    mean: Annotated[str | None, typer.Option(help="Likewise: one number, or three.")] = None,
    std: Annotated[str | None, typer.Option(help="Likewise: one number, or three.")] = None,
    resize: Annotated[Resize | None, typer.Option(help="Likewise.")] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Measure import, load, first and later images, threads, memory; as kit-label --benchmark."""
    from kit.device.benchmark import benchmark as run
    from kit.device.benchmark import benchmark_text
    from kit.model.model_file import read_labels

    result = run(
        model,
        image=image,
        most_threads=threads,
        runs=runs,
        warm_ups=warmup,
        interpreter=None if interpreter is None else interpreter.value,
        write=write,
        labels=None if labels is None else read_labels(labels),
        mean=_numbers(mean),
        std=_numbers(std),
        resize=None if resize is None else resize.value,
        say=TerminalReporter().say,
    )
    if format is Format.JSON:
        _print_json(result.to_json())
    else:
        print(benchmark_text(result))


@app.command()
@reports_errors
def demo(
    output: Annotated[Path, typer.Option(help="Folder for images and run.")] = Path("kit-demo"),
    force: ForceOption = False,
) -> None:
    """Go the whole path on drawn images: retrain, convert, evaluate, label."""
    from kit.workflows.demo import run_demo

    import_tensorflow()
    print(run_demo(output, force=force, reporter=TerminalReporter()))


@weights_app.command("pull")
@reports_errors
def pull(
    folder: Annotated[Path, typer.Argument(help="Folder to fill; set KIT_WEIGHTS_DIR to it.")],
    backbone: BackboneOption = DEFAULT_BACKBONE,
    alpha: AlphaOption = None,
    input_resolution: ResolutionOption = None,
    every: Annotated[
        bool, typer.Option("--every", help="Every width and resolution of the backbone.")
    ] = False,
) -> None:
    """Fill a folder with ImageNet weights, for a place without a network."""
    from kit.training.backbones import choose, every_choice
    from kit.training.weights import pull_weights

    if every:
        choices = every_choice(backbone)
    else:
        choices = (choose(backbone, _alpha(backbone, alpha), input_resolution),)
    import_tensorflow()
    for name, state in pull_weights(choices, folder).items():
        print(f"{folder / name}: {state}")


@deploy_app.command("pi")
@reports_errors
def deploy_to_pi(
    model: ModelArgument,
    output: Annotated[Path, typer.Option(help="The folder to write.")],
    system: Annotated[
        str, typer.Option(help="bookworm-arm64, bookworm-armhf or trixie-arm64.")
    ] = "bookworm-arm64",
    force: ForceOption = False,
) -> None:
    """Write a folder that works on a Raspberry Pi without a network: model, wheels, installer."""
    from kit.deploy.pi import deploy_pi, deployment_text

    print(deployment_text(deploy_pi(model, output, system=system, force=force)))


@deploy_app.command("android")
@reports_errors
def deploy_to_android(
    model: ModelArgument,
    app_folder: Annotated[Path, typer.Option("--app", help="The app's folder.")] = Path(
        "android_demo"
    ),
) -> None:
    """Put a model into the phone app, in place of the one before."""
    from kit.deploy.android import deploy_android

    deployment = deploy_android(model, app_folder)
    print(f"{deployment.asset}: {deployment.size_bytes} bytes", file=sys.stderr)
    print("\n".join(deployment.commands))


def _alpha(backbone: str, alpha: float | None) -> float | None:
    return DEFAULT_ALPHA if alpha is None and backbone == DEFAULT_BACKBONE else alpha


def _targets(
    positive: str | None,
    sensitivity: float | None,
    specificity: float | None,
    prevalence: float | None,
) -> Targets | None:
    from kit.evaluation.thresholds import Targets

    if positive is not None:
        return Targets(positive, sensitivity, specificity, prevalence)
    if any(value is not None for value in (sensitivity, specificity, prevalence)):
        raise ValueError("expected --positive LABEL beside a target or a prevalence, got none")
    return None


def _layers(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected a number, or three with commas, got {text!r}") from None


def _listed(values: list[str] | None, kind: Callable[[str], Item]) -> tuple[Item, ...]:
    """Of an option that is given several times, or with commas, or both; each value once."""
    texts = [text.strip() for value in values or () for text in value.split(",")]
    try:
        return tuple(dict.fromkeys(kind(text) for text in texts))
    except ValueError:
        raise ValueError(
            f"expected values with commas between, each {_KINDS[kind]}, got {', '.join(texts)!r}"
        ) from None


_KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}


def _triple(text: str | None) -> tuple[float, float, float] | None:
    numbers = _numbers(text)
    if numbers is None:
        return None
    if len(numbers) not in (1, 3):
        raise ValueError(f"expected one number, or three with commas, got {text!r}")
    return (numbers[0], numbers[len(numbers) // 2], numbers[-1])


def _print_json(data: dict[str, Any]) -> None:
    print(json.dumps(data, ensure_ascii=False))
