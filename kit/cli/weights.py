"""`kit weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import MODEL, BackboneOptions, option
from kit.cli.terminal import import_tensorflow


def pull(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="The folder to fill; set KIT_WEIGHTS_DIR to it."),
    ],
    network: BackboneOptions,
    every: Annotated[
        bool,
        option(MODEL, "Fetch the weights for every width and resolution.", "--every"),
    ] = False,
) -> None:
    """Fill a folder with ImageNet weights, for use in a place without a network."""
    from kit.training.backbones import choose, every_choice
    from kit.training.defaults import default_alpha
    from kit.training.weights import pull_weights

    if every:
        choices = every_choice(network.backbone)
    else:
        alpha = default_alpha(network.backbone, network.alpha)
        choices = (choose(network.backbone, alpha, network.input_resolution),)
    import_tensorflow()
    for name, state in pull_weights(choices, folder).items():
        print(f"{folder / name}: {state}")
