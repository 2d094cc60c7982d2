"""`kit train`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.choices import AUGMENTATION_NAMES, CONFIDENCE, RECIPE_NAMES
from kit.cli.given import given, refuse_idle
from kit.cli.options import (
    FINE_TUNING,
    HEAD,
    MODEL,
    OF_THE_BACKBONE,
    OUTPUT,
    QUANTISATION,
    SCREENING,
    BackboneOptions,
    ConfigOption,
    DataOptions,
    DropOption,
    EpochsOption,
    FineTuneEpochsOption,
    FitOption,
    ForceOption,
    FormatOption,
    GalleryOption,
    ImagesArgument,
    IntendedUseOption,
    LeastOption,
    PositiveOption,
    PrevalenceOption,
    QuantizeOption,
    ResizeOption,
    ScreeningOption,
    SplitColumnOption,
    SplitOptions,
    WeightsOption,
    modes,
    option,
)
from kit.cli.terminal import TerminalReporter, going_on, import_tensorflow, print_json
from kit.model.spec import FITS, RESIZE_METHODS
from kit.training.defaults import (
    BATCH_SIZE,
    DEFAULT_VARIANTS,
    FINE_TUNED_VARIANTS,
    L2,
    LEARNING_RATE,
)

if TYPE_CHECKING:
    from kit.evaluation.thresholds import Targets


@dataclass(frozen=True)
class HeadOptions:
    """How the head is fitted."""

    epochs: EpochsOption = None
    samples_per_image: Annotated[
        int | None,
        option(
            HEAD,
            "How often training sees each image, which is another way to say --epochs.",
            metavar="N",
        ),
    ] = None
    learning_rate: Annotated[
        float, option(HEAD, "Learning rate of the Adam optimizer.", metavar="RATE")
    ] = LEARNING_RATE
    batch_size: Annotated[
        int, option(HEAD, "Number of images in a training step.", metavar="N")
    ] = BATCH_SIZE
    l2: Annotated[float, option(HEAD, "Weight decay of the softmax layer.", metavar="DECAY")] = L2
    label_smoothing: Annotated[
        float | None,
        option(
            HEAD,
            "Share of the target spread evenly over all classes.",
            min=0,
            max=1,
            metavar="SHARE",
            show_default="0; with --recipe best or max 0.1",
        ),
    ] = None
    dropout: Annotated[
        float,
        option(
            HEAD,
            "Share of bottleneck values that each training step leaves out.",
            min=0,
            max=1,
            metavar="SHARE",
        ),
    ] = 0.0
    class_weights: Annotated[
        bool,
        option(HEAD, "Whether rare classes count more, so that all classes weigh the same."),
    ] = True
    augment: Annotated[
        str | None,
        option(
            HEAD,
            "How photographs are changed at random in training.",
            choices=AUGMENTATION_NAMES,
            show_default="none; with --recipe best or max photo",
        ),
    ] = None
    variants: Annotated[
        int | None,
        option(
            HEAD,
            "With --augment, the number of changed forms of each photograph that the head learns "
            "from.",
            metavar="N",
            show_default=f"{DEFAULT_VARIANTS}; with --fine-tune {FINE_TUNED_VARIANTS}",
        ),
    ] = None


@dataclass(frozen=True)
class FineTuneOptions:
    """How the backbone's layers are trained after the head."""

    fine_tune: Annotated[
        str | None,
        option(
            FINE_TUNING,
            "How many of the backbone's last layers learn too: a number, most, all or none.",
            metavar="LAYERS",
            show_default="none; with --recipe best or max most",
        ),
    ] = None
    fine_tune_epochs: FineTuneEpochsOption = None
    fine_tune_learning_rate: Annotated[
        float | None,
        option(
            FINE_TUNING,
            "Learning rate at the start of fine-tuning; it falls to zero along a cosine.",
            metavar="RATE",
            show_default=OF_THE_BACKBONE,
        ),
    ] = None
    fine_tune_label_smoothing: Annotated[
        float | None,
        option(
            FINE_TUNING,
            "Share of the target that fine-tuning spreads evenly over all classes.",
            min=0,
            max=1,
            metavar="SHARE",
            show_default="that of --label-smoothing; with a teacher 0, unless you give that",
        ),
    ] = None
    mixup: Annotated[
        float | None,
        option(
            FINE_TUNING,
            "Parameter of the beta distribution by which fine-tuning mixes pairs of images and "
            "their labels; 0 mixes none.",
            min=0,
            show_default=f"0; with --recipe best {OF_THE_BACKBONE}; with a teacher 0",
        ),
    ] = None
    remember: Annotated[
        float | None,
        option(
            FINE_TUNING,
            "Weight of a term that keeps fine-tuned layers from forgetting what pretraining taught "
            "them about other things, so that the screening form still tells unknown images; 0 "
            "leaves it out.",
            min=0,
            metavar="WEIGHT",
            show_default=f"{OF_THE_BACKBONE} with --recipe best or max or --screening, "
            "a third of it with a teacher and no --screening, else 0",
        ),
    ] = None
    interpolate: Annotated[
        float | None,
        option(
            FINE_TUNING,
            "Share of what fine-tuning changed in the weights that is kept, above 0 and up to 1. A "
            "smaller share forgets less of what pretraining taught.",
            min=0,
            max=1,
            metavar="SHARE",
            show_default="chosen on the validation part; with --screening a smaller one",
        ),
    ] = None
    teacher: Annotated[
        list[Path] | None,
        option(
            FINE_TUNING,
            "A run of the same labels that fine-tuned layers learn from too. You can give the "
            "option several times.",
            metavar="RUN",
            show_default="none; with --recipe max two that it trains",
        ),
    ] = None
    unlabelled: Annotated[
        Path | None,
        option(
            FINE_TUNING,
            "With a teacher, a folder of photographs without labels to learn from too. The teacher "
            "says what is on them.",
            metavar="FOLDER",
        ),
    ] = None


@dataclass(frozen=True)
class TargetOptions:
    """What the operating point must reach."""

    positive: PositiveOption = None
    target_sensitivity: Annotated[
        float | None,
        option(
            SCREENING,
            "Choose the operating point so that new images reach this sensitivity, with the "
            "probability of --confidence.",
            min=0,
            max=1,
            metavar="SHARE",
        ),
    ] = None
    target_specificity: Annotated[
        float | None,
        option(
            SCREENING,
            "Choose the operating point so that it reaches this specificity; with both targets, "
            "scores between the two thresholds are uncertain.",
            min=0,
            max=1,
            metavar="SHARE",
        ),
    ] = None
    confidence: Annotated[
        float | None,
        option(
            SCREENING,
            "Choose thresholds that reach their targets on new images with this probability. 0 "
            "promises nothing: they reach their targets on the images that they are chosen on.",
            min=0,
            max=1,
            metavar="SHARE",
            show_default=f"{CONFIDENCE:g}",
        ),
    ] = None
    prevalence: PrevalenceOption = None

    def settings(self) -> Targets | None:
        from kit.workflows.options import targets

        return targets(vars(self))


def train(
    context: typer.Context,
    images: ImagesArgument,
    output: Annotated[Path, option(OUTPUT, "The run folder to write.", metavar="RUN")],
    data: DataOptions,
    split: SplitOptions,
    network: BackboneOptions,
    head: HeadOptions,
    tuning: FineTuneOptions,
    targets: TargetOptions,
    split_column: SplitColumnOption = None,
    weights: WeightsOption = "imagenet",
    recipe: Annotated[
        str,
        option(
            MODEL,
            "quick trains the head alone; best also augments and fine-tunes; max first trains two "
            "teachers, whose runs it keeps beside RUN, and then fine-tunes for longer and learns "
            "from them too. Options that you give override the recipe.",
            choices=RECIPE_NAMES,
        ),
    ] = RECIPE_NAMES[0],
    fit: FitOption = FITS[0],
    resize: ResizeOption = RESIZE_METHODS[0],
    resume: Annotated[
        bool,
        option(
            FINE_TUNING,
            "Go on where an interrupted fine-tuning stopped; with --recipe max, teachers that are "
            "complete are kept.",
            "--resume",
        ),
    ] = False,
    quantize: QuantizeOption = None,
    representative_images: Annotated[
        int,
        option(
            QUANTISATION,
            "Number of training images that quantisation looks at, to learn the range of values.",
            metavar="N",
        ),
    ] = 100,
    max_accuracy_drop: DropOption = None,
    assert_accuracy_at_least: LeastOption = None,
    screening: ScreeningOption = False,
    intended_use: IntendedUseOption = "",
    gallery: GalleryOption = None,
    config: ConfigOption = None,
    format: FormatOption = "text",
    force: ForceOption = False,
) -> None:
    """Retrain a network on labelled photographs, convert it, and score the converted files."""
    from kit.workflows import train as workflow
    from kit.workflows.options import train_settings

    flags = given(context)
    if "epochs" in flags and "samples_per_image" in flags:
        raise ValueError("expected --epochs or --samples-per-image, got both")
    layers = tuning.fine_tune
    options = {**asdict(data), **asdict(split), **asdict(network), **asdict(head)}
    options |= {**asdict(tuning), **asdict(targets)}
    samples = options.pop("samples_per_image")
    settings = train_settings(
        recipe,
        **options
        | {
            # An epoch shows each image once, so samples per image are epochs.
            "epochs": head.epochs if samples is None or "epochs" in flags else samples,
            "fine_tune": int(layers) if layers is not None and layers.isdecimal() else layers,
            "teacher": [str(run) for run in tuning.teacher] if tuning.teacher else None,
            "unlabelled": None if tuning.unlabelled is None else str(tuning.unlabelled),
        },
        split_column=split_column,
        weights=weights,
        fit=fit,
        resize=resize,
        quantize=modes(quantize),
        representative_images=representative_images,
        max_accuracy_drop=max_accuracy_drop,
        assert_accuracy_at_least=assert_accuracy_at_least,
        screening=screening,
        intended_use=intended_use,
        gallery=gallery,
    )
    refuse_idle(context, settings)
    import_tensorflow()
    reporter = TerminalReporter()
    with going_on("nothing was overwritten, and fine-tuning goes on with --resume"):
        result = workflow.train(
            images, output, settings, force=force, resume=resume, reporter=reporter
        )
    reporter.say(f"report: {result.report}")
    if format == "json":
        print_json(result.to_json())
    else:
        for path in (*result.files.values(), *result.screening_files.values()):
            print(path)
