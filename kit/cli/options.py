"""Options that several commands share, in groups: a dataclass is a group, a field an option.

A command takes a group as one parameter; `grouped` shows its options to Typer one by one.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import typer

from kit.choices import INTERPRETERS, PARTS, SWEEP_RECIPE_NAMES
from kit.export.modes import AUTO_DROP, AUTO_MODES, MODES_AND_AUTO
from kit.model.spec import FITS, OUTPUT_KINDS, QUANTIZATION_MODES, RESIZE_METHODS
from kit.training.backbones import BACKBONES
from kit.training.defaults import DEFAULT_BACKBONE, EPOCHS, FINE_TUNE_EPOCHS

if TYPE_CHECKING:
    from kit.data import DataSettings, SplitSettings
    from kit.runtime import Classifier

Item = TypeVar("Item")

DATA, SPLIT, MODEL, HEAD = "Data", "Split", "Model", "Head"
FINE_TUNING, QUANTISATION, GATES = "Fine-tuning", "Quantisation", "Gates"
SCREENING, OUTPUT, TIMING, CLUSTER = "Screening", "Output", "Timing", "Several machines"
NO_CARD = "Models without labels or normalisation"
RECOMMENDATION = "Recommendation"
ANSWERS = "Answers"
PANELS = (
    *(DATA, SPLIT, MODEL, NO_CARD, HEAD, FINE_TUNING, QUANTISATION, GATES, SCREENING, ANSWERS),
    *(TIMING, RECOMMENDATION, CLUSTER, OUTPUT),
)
"""In the order in which help shows them."""
OF_THE_BACKBONE = "the backbone's own"


def option(panel: str, text: str, *names: str, choices: Iterable[str] = (), **more: Any) -> Any:
    """A typer.Option with its panel, its sentence and the table of its choices."""
    made = typer.Option(*names, rich_help_panel=panel, help=text, **more)
    made.choices = tuple(choices)  # for `grouped`, which names them to Typer
    return made


# ---------------------------------------------------------------- single ones

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The .tflite image classifier.")
]
ImagesArgument = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGES",
        help="A folder of images, with a folder for each class; --labels-csv and --label-regex "
        "take labels from elsewhere.",
    ),
]
ForceOption = Annotated[bool, option(OUTPUT, "Replace an existing output.", "--force")]
FormatOption = Annotated[
    str,
    option(
        OUTPUT,
        "Print the results as text or as one JSON object.",
        "--format",
        choices=("text", "json"),
    ),
]
ConfigOption = Annotated[
    Path | None,
    option(
        OUTPUT,
        "Read options from this TOML file, under their names without the dashes. Options on the "
        "command line override it.",
        "--config",
        metavar="FILE",
        is_eager=True,
    ),
]
_FIT_HELP = "How an image gets the shape of the input: stretched, cropped or padded."
FitOption = Annotated[
    str,
    option(
        MODEL,
        _FIT_HELP,
        choices=FITS,
    ),
]
ResizeOption = Annotated[
    str, option(MODEL, "The method that resizes images.", choices=RESIZE_METHODS)
]
GivenFitOption = Annotated[
    str | None,
    option(
        NO_CARD,
        _FIT_HELP,
        choices=FITS,
        show_default=FITS[0],
    ),
]
SeedOption = Annotated[
    int, option(SPLIT, "Another seed gives another split, other initial weights, another order.")
]
ValidationOption = Annotated[
    float,
    option(SPLIT, "Share of images for early stopping and temperature scaling.", metavar="SHARE"),
]
GalleryOption = Annotated[
    bool | None,
    option(
        OUTPUT,
        "Whether the report shows photographs and file names.",
        "--gallery/--no-gallery",
        show_default="yes, unless there are DICOM files",
    ),
]
ScreeningOption = Annotated[
    bool,
    option(
        SCREENING,
        "Also write the screening form of each file, which tells unknown images and has a heat "
        "map.",
        "--screening",
    ),
]
PositiveOption = Annotated[
    str | None,
    option(
        SCREENING,
        "The label that counts as positive in screening, such as the disease.",
        metavar="LABEL",
    ),
]
PrevalenceOption = Annotated[
    float | None,
    option(
        SCREENING,
        "Share of positives where the model is used, for predictive values.",
        min=0,
        max=1,
        metavar="SHARE",
        show_default="the share in these images",
    ),
]
DropOption = Annotated[
    float | None,
    option(
        GATES,
        "Fail, and keep nothing, if a file loses more than this of the float32 file's accuracy.",
        min=0,
        max=1,
        metavar="SHARE",
    ),
]
LeastOption = Annotated[
    float | None,
    option(
        GATES,
        "Fail, and keep nothing, if a file's accuracy is below this.",
        min=0,
        max=1,
        metavar="SHARE",
    ),
]
IntendedUseOption = Annotated[
    str,
    option(OUTPUT, "A sentence for the model card on what the model is meant for.", metavar="TEXT"),
]
ThresholdOption = Annotated[
    float | None,
    option(
        OUTPUT,
        "For the model card: scores below this should not be shown as answers.",
        min=0,
        max=1,
        metavar="SCORE",
    ),
]
SweepRecipeOption = Annotated[
    str,
    option(
        MODEL,
        "quick trains the head alone; best also augments and fine-tunes. Options that you give "
        "override the recipe.",
        choices=SWEEP_RECIPE_NAMES,
    ),
]
WeightsOption = Annotated[
    str,
    option(
        MODEL,
        "Where training starts: imagenet, none (random values), an h5 file, or a folder of such "
        "files. Of several, separated by commas, the first that has the weights is taken.",
    ),
]
EpochsOption = Annotated[
    int | None,
    option(
        HEAD,
        "Largest number of passes over the training images; training stops earlier when it no "
        "longer improves.",
        metavar="N",
        show_default=str(EPOCHS),
    ),
]
FineTuneEpochsOption = Annotated[
    int | None,
    option(
        FINE_TUNING,
        "Passes over the training images in fine-tuning.",
        metavar="N",
        show_default=f"{FINE_TUNE_EPOCHS}; with --recipe best or max {OF_THE_BACKBONE}",
    ),
]
ThreadsOption = Annotated[
    int | None,
    option(MODEL, "Number of threads.", metavar="N", show_default="all cores, at most 4"),
]
InterpreterOption = Annotated[
    str | None,
    option(
        TIMING,
        "The interpreter package to measure with.",
        choices=INTERPRETERS,
        show_default="all that are installed",
    ),
]
PartOption = Annotated[
    str | None,
    option(
        DATA,
        "Score only this part of the split that the model was trained with.",
        choices=PARTS,
    ),
]
_MODES = f"{', '.join(QUANTIZATION_MODES)}"
_SEVERAL = "give several with commas, or give the option again"
QUANTIZE_HELP = (
    f"The quantisation of the file: {_MODES}, or auto, which takes the first of "
    f"{', '.join(AUTO_MODES)} that loses at most --max-accuracy-drop (by default {AUTO_DROP:g}) of "
    "the accuracy."
)
QuantizeOption = Annotated[
    list[str] | None,
    option(
        QUANTISATION,
        f"{QUANTIZE_HELP} For several files {_SEVERAL}.",
        metavar="MODE",
        show_default="int8",
    ),
]


# ---------------------------------------------------------------- groups


@dataclass(frozen=True)
class DataOptions:
    """Where labels and groups come from."""

    labels_csv: Annotated[
        Path | None,
        option(DATA, "Take labels from this CSV or TSV table, not from folders.", metavar="FILE"),
    ] = None
    path_column: Annotated[
        str,
        option(DATA, "The table's column of paths, relative to IMAGES.", metavar="NAME"),
    ] = "path"
    label_column: Annotated[str, option(DATA, "The table's column of labels.", metavar="NAME")] = (
        "label"
    )
    label_columns: Annotated[
        str,
        option(
            DATA,
            "The table's columns of 0 and 1, one for each label, separated by commas.",
            metavar="NAMES",
        ),
    ] = ""
    label_names: Annotated[
        str,
        option(
            DATA,
            "Names for labels that are numbers or codes, such as 0=normal,1=abnormal.",
            metavar="NAMES",
        ),
    ] = ""
    group_column: Annotated[
        str | None,
        option(
            DATA,
            "The table's column of groups (patients), which stay in one part.",
            metavar="NAME",
        ),
    ] = None
    label_regex: Annotated[
        str,
        option(
            DATA,
            "Take labels from file names: the first group of this regular expression, or the name "
            "of the named group that matches.",
            metavar="REGEX",
        ),
    ] = ""
    corrections: Annotated[
        Path | None,
        option(
            DATA,
            "Correct labels by this CSV table, as kit review writes it: by the images' content.",
            metavar="FILE",
        ),
    ] = None

    def settings(self, split_column: str | None = None, subgroup_columns: str = "") -> DataSettings:
        from kit.data import DataSettings

        return DataSettings(
            split_column=split_column, subgroup_columns=subgroup_columns, **vars(self)
        )


SplitColumnOption = Annotated[
    str | None,
    option(
        DATA,
        "The table's column of given parts: train, validation, test.",
        metavar="NAME",
    ),
]


@dataclass(frozen=True)
class SplitOptions:
    """How the images are divided."""

    validation: ValidationOption = 0.1
    test: Annotated[
        float, option(SPLIT, "Share of images for the final figures.", metavar="SHARE")
    ] = 0.1
    group_regex: Annotated[
        str,
        option(
            SPLIT,
            "Keep images together in one part if their paths have the same match for this regular "
            "expression, such as those of a patient.",
            metavar="REGEX",
        ),
    ] = ""
    seed: SeedOption = 0

    def settings(self) -> SplitSettings:
        from kit.data import SplitSettings

        return SplitSettings(self.validation, self.test, self.seed, self.group_regex)


@dataclass(frozen=True)
class BackboneOptions:
    """Which network."""

    backbone: Annotated[
        str, option(MODEL, f"The network: {', '.join(BACKBONES)}.", metavar="NAME")
    ] = DEFAULT_BACKBONE
    alpha: Annotated[
        float | None,
        option(
            MODEL,
            "Width multiplier of the network: a smaller one is smaller, faster and less accurate.",
            show_default="0.5 for mobilenet_v1, else 1",
        ),
    ] = None
    input_resolution: Annotated[
        int | None,
        option(
            MODEL,
            "Side of the input in pixels.",
            metavar="PIXELS",
            show_default=OF_THE_BACKBONE,
        ),
    ] = None


@dataclass(frozen=True)
class NormalisationOptions:
    """What the file of a model may not say."""

    labels: Annotated[
        Path | None,
        option(
            NO_CARD,
            "A text file with one label on each line, in the order of the scores.",
            metavar="FILE",
            show_default="those in the file",
        ),
    ] = None
    mean: Annotated[
        str | None,
        option(
            NO_CARD,
            "What is subtracted from pixels of 0 to 255: one number, or three with commas.",
            metavar="NUMBERS",
            show_default="as the file says",
        ),
    ] = None
    std: Annotated[
        str | None,
        option(
            NO_CARD,
            "What pixels are divided by after that: one number, or three with commas.",
            metavar="NUMBERS",
            show_default="as the file says",
        ),
    ] = None
    resize: Annotated[
        str | None,
        option(
            NO_CARD,
            "The method that resizes images.",
            choices=RESIZE_METHODS,
            show_default=RESIZE_METHODS[0],
        ),
    ] = None

    def mean_and_std(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """As tuples."""
        return numbers(self.mean, "--mean"), numbers(self.std, "--std")


OpenResolutionOption = Annotated[
    int | None,
    option(
        NO_CARD,
        "The side of the square input, if the model leaves it open.",
        metavar="PIXELS",
    ),
]
OutputTensorOption = Annotated[
    str | None,
    option(
        NO_CARD,
        "The output with the scores, by its name or number, if there are several.",
        metavar="NAME",
    ),
]


@dataclass(frozen=True)
class ForeignOptions(NormalisationOptions):
    """What a .tflite file that others made may not say."""

    input_resolution: OpenResolutionOption = None
    output_tensor: OutputTensorOption = None
    output_kind: Annotated[
        str | None,
        option(
            NO_CARD,
            "What the output is, if the end of the graph does not tell.",
            choices=OUTPUT_KINDS,
            show_default="as the graph ends",
        ),
    ] = None

    def open(self, model: Path, **more: Any) -> Classifier:
        """The model, opened with these; what was found in it is told."""
        from kit.cli.terminal import TerminalReporter
        from kit.runtime import Classifier

        classifier = Classifier.open(model, **self.arguments(), **more)
        for remark in classifier.remarks:
            TerminalReporter().warn(f"{model}: {remark}")
        return classifier

    def settings(self) -> dict[str, Any]:
        """As kit.workflows.package.PackageSettings takes them."""
        mean, std = self.mean_and_std()
        return {**vars(self), "mean": mean, "std": std}

    def arguments(self) -> dict[str, Any]:
        """As kit.runtime.Classifier.open takes them: with labels in place of their file."""
        from kit.model.labels import read_labels

        labels = None if self.labels is None else read_labels(self.labels)
        return {**self.settings(), "labels": labels}


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """Lets Typer see the fields of a command's groups as options of their own."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {}
    flat: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        kind = hints[name]
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
            flat[name] = parameter.replace(annotation=_choosing(kind), kind=parameter.KEYWORD_ONLY)
            continue
        groups[name] = kind
        of_group = get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            flat[field.name] = inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=(
                    inspect.Parameter.empty
                    if field.default is dataclasses.MISSING
                    else field.default
                ),
                annotation=_choosing(of_group[field.name]),
            )

    @functools.wraps(function)
    def wrapped(**given: Any) -> None:
        for name, kind in groups.items():
            of_group = [field.name for field in dataclasses.fields(kind)]
            given[name] = kind(**{field: given.pop(field) for field in of_group})
        function(**given)

    del wrapped.__dict__["__wrapped__"]  # or its signature would be looked at
    wrapped.__signature__ = inspect.Signature(list(flat.values()))  # type: ignore[attr-defined]
    wrapped.__annotations__ = {name: one.annotation for name, one in flat.items()}
    return wrapped


def _choosing(annotation: Any) -> Any:
    """The annotation of an option, which names its choices to Typer."""
    kind, *notes = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    choices = next((found for note in notes if (found := getattr(note, "choices", ()))), None)
    if choices is None:
        return annotation
    chosen: Any = Literal.__getitem__(choices)
    return Annotated[chosen if kind is str else chosen | None, *notes]


# ---------------------------------------------------------------- values


def numbers(text: str | None, name: str) -> tuple[float, ...] | None:
    """One number or several with commas, of the option of this name; raises ValueError."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"expected numbers with commas between them for {name}, got {text!r}"
        ) from None


def triple(text: str | None, name: str) -> tuple[float, float, float] | None:
    """Three numbers, or one for all three, of the option of this name; raises ValueError."""
    found = numbers(text, name)
    if found is None:
        return None
    if len(found) not in (1, 3):
        raise ValueError(f"expected one number, or three with commas, for {name}, got {text!r}")
    return (found[0], found[len(found) // 2], found[-1])


_KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}


def listed(values: list[str] | None, kind: Callable[[str], Item]) -> tuple[Item, ...]:
    """Values of an option that is given again, or with commas, or both; each value once."""
    texts = [text.strip() for value in values or () for text in value.split(",")]
    try:
        return tuple(dict.fromkeys(kind(text) for text in texts))
    except ValueError:
        raise ValueError(
            f"expected values separated by commas, each {_KINDS[kind]}, got {', '.join(texts)!r}"
        ) from None


def modes(values: list[str] | None) -> tuple[str, ...]:
    """Quantisation modes, int8 by default; raises ValueError for an unknown one."""
    import difflib

    found = listed(values, str) or ("int8",)
    for mode in found:
        if mode not in MODES_AND_AUTO:
            near = difflib.get_close_matches(mode, MODES_AND_AUTO, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"expected --quantize of {', '.join(MODES_AND_AUTO)}, got {mode!r}{hint}"
            )
    return found
