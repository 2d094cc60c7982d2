"""`kit sweep`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from kit.choices import INTERPRETERS, SWEEP_RECIPE_NAMES
from kit.cli.given import refuse_idle
from kit.cli.options import (
    CLUSTER,
    MODEL,
    OF_THE_BACKBONE,
    OUTPUT,
    QUANTISATION,
    RECOMMENDATION,
    TIMING,
    ConfigOption,
    DataOptions,
    EpochsOption,
    FineTuneEpochsOption,
    FitOption,
    FormatOption,
    ImagesArgument,
    ResizeOption,
    SplitColumnOption,
    SplitOptions,
    SweepRecipeOption,
    WeightsOption,
    listed,
    modes,
    option,
)
from kit.cli.terminal import going_on
from kit.model.spec import FITS, QUANTIZATION_MODES, RESIZE_METHODS
from kit.training.defaults import DEFAULT_BACKBONE

_AGAIN = "for several, use commas or give the option again"


@dataclass(frozen=True)
class GridOptions:
    """What is combined with what."""

    backbone: Annotated[
        list[str] | None,
        option(
            MODEL,
            f"The networks, as kit train takes them; {_AGAIN}.",
            metavar="NAME",
            show_default=DEFAULT_BACKBONE,
        ),
    ] = None
    alpha: Annotated[
        list[str] | None,
        option(
            MODEL,
            f"The width multipliers; {_AGAIN}.",
            metavar="NUMBER",
            show_default="0.5 for mobilenet_v1, else 1",
        ),
    ] = None
    input_resolution: Annotated[
        list[str] | None,
        option(
            MODEL,
            f"Sides of the input in pixels; {_AGAIN}.",
            metavar="PIXELS",
            show_default=OF_THE_BACKBONE,
        ),
    ] = None
    quantize: Annotated[
        list[str] | None,
        option(
            QUANTISATION,
            f"The quantisations ({', '.join(QUANTIZATION_MODES)}); {_AGAIN}.",
            metavar="MODE",
            show_default="int8",
        ),
    ] = None
    skip_missing: Annotated[
        bool,
        option(
            MODEL,
            "Leave out combinations without available weights, instead of refusing to start.",
            "--skip-missing",
        ),
    ] = False


@dataclass(frozen=True)
class ClusterOptions:
    """Where trainings run."""

    jobs: Annotated[
        int | None,
        option(
            CLUSTER,
            "Number of trainings at the same time.",
            min=1,
            metavar="N",
            show_default="1; with --ray one on each machine",
        ),
    ] = None
    ray: Annotated[
        str | None,
        option(
            CLUSTER,
            "Train on the Ray cluster at this address: auto, HOST:PORT or ray://HOST:PORT.",
            metavar="ADDRESS",
        ),
    ] = None
    ray_shared: Annotated[
        bool,
        option(
            CLUSTER,
            "The cluster's machines see these very folders, so that nothing needs to be sent.",
            "--ray-shared",
        ),
    ] = False


@dataclass(frozen=True)
class LimitOptions:
    """What the recommended model must keep to."""

    max_size_kb: Annotated[
        float | None,
        option(
            RECOMMENDATION,
            "Recommend the most accurate of the files up to this size in kB.",
            metavar="KB",
        ),
    ] = None
    max_latency_ms: Annotated[
        float | None,
        option(
            RECOMMENDATION,
            "Recommend the most accurate of the files whose median latency is up to this.",
            metavar="MS",
        ),
    ] = None
    min_accuracy: Annotated[
        float | None,
        option(
            RECOMMENDATION,
            "Recommend the smallest of the files with at least this accuracy, 0 to 1.",
            metavar="SHARE",
        ),
    ] = None


@dataclass(frozen=True)
class TimingOptions:
    """How files are timed."""

    image: Annotated[
        Path | None,
        option(
            TIMING,
            "The image to time files with.",
            metavar="FILE",
            show_default="one of the test part",
        ),
    ] = None
    threads: Annotated[
        int,
        option(
            TIMING, "Time with 1 thread, 2, and so on up to N; the fastest counts.", metavar="N"
        ),
    ] = 1
    runs: Annotated[int, option(TIMING, "Timed runs of each file.", metavar="N")] = 50
    interpreter: Annotated[
        str | None,
        option(
            TIMING,
            "The interpreter package to time files with.",
            choices=INTERPRETERS,
            show_default="the one that labels here",
        ),
    ] = None


def sweep(
    context: typer.Context,
    images: ImagesArgument,
    output: Annotated[
        Path,
        option(
            OUTPUT,
            "The folder of the sweep; an interrupted sweep in it is continued.",
            metavar="FOLDER",
        ),
    ],
    data: DataOptions,
    split: SplitOptions,
    grid: GridOptions,
    timing: TimingOptions,
    limits: LimitOptions,
    cluster: ClusterOptions,
    split_column: SplitColumnOption = None,
    weights: WeightsOption = "imagenet",
    recipe: SweepRecipeOption = SWEEP_RECIPE_NAMES[0],
    fit: FitOption = FITS[0],
    resize: ResizeOption = RESIZE_METHODS[0],
    epochs: EpochsOption = None,
    fine_tune_epochs: FineTuneEpochsOption = None,
    config: ConfigOption = None,
    format: FormatOption = "text",
    force: Annotated[
        bool, option(OUTPUT, "Delete an earlier sweep in the folder and start again.", "--force")
    ] = False,
) -> None:
    """Train, convert, score and time a grid of networks, and compare size with accuracy."""
    from kit.cli.sweep_table import TableReporter, sweep_text
    from kit.sweep import Executor, Limits, Processes, SweepSettings, TimingSettings
    from kit.sweep import sweep as workflow
    from kit.workflows.options import train_settings

    training = train_settings(
        recipe,
        **asdict(data),
        **asdict(split),
        split_column=split_column,
        weights=weights,
        fit=fit,
        resize=resize,
        epochs=epochs,
        fine_tune_epochs=fine_tune_epochs,
        quantize=modes(grid.quantize),
    )
    refuse_idle(context, training)
    settings = SweepSettings(
        backbones=listed(grid.backbone, str) or (DEFAULT_BACKBONE,),
        alphas=listed(grid.alpha, float),
        input_resolutions=listed(grid.input_resolution, int),
        training=training,
        timing=TimingSettings(**asdict(timing)),
        limits=Limits(**asdict(limits)),
        skip_missing=grid.skip_missing,
    )
    if cluster.ray is None and cluster.ray_shared:
        raise ValueError("expected --ray ADDRESS beside --ray-shared, got none")
    again = "the same command without --force" if force else "the same command"
    with going_on(f"{again} goes on with the sweep"), ExitStack() as stack:
        executor: Executor = Processes(cluster.jobs or 1)
        if cluster.ray is not None:
            from kit.sweep.cluster import RayCluster

            executor = stack.enter_context(
                RayCluster(cluster.ray, cluster.jobs, shared_folders=cluster.ray_shared)
            )
        reporter = stack.enter_context(TableReporter())
        result = workflow(
            images, output, settings, executor=executor, force=force, reporter=reporter
        )
    if format == "json":
        print((output / "results.json").read_text("utf-8"))
    else:
        print(sweep_text(result))
    if result.failures or result.findings.best is None:
        raise typer.Exit(1)
