"""What stands on the command line itself, and not in a file of --config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.cli.command import long_name

if TYPE_CHECKING:
    import typer

    from kit.workflows.train_settings import TrainSettings


def given(context: typer.Context) -> dict[str, str]:
    """The flags of the options that the command line has, by parameter."""
    return {
        str(parameter.name): f"--{long_name(parameter)}"
        for parameter in context.command.params
        if (origin := context.get_parameter_source(str(parameter.name)))
        and origin.name == "COMMANDLINE"
    }


def refuse_idle(context: typer.Context, settings: TrainSettings) -> None:
    """Raises ValueError where an option was given that these settings make no use of."""
    from kit.training.layers import NONE
    from kit.workflows.options import is_of_tuning

    flags = given(context)
    tuning = [flag for name, flag in flags.items() if is_of_tuning(name)]
    if tuning and settings.fine_tune.layers == NONE and settings.weights != "none":
        raise ValueError(
            f"expected layers of the backbone that learn beside {', '.join(tuning)}, got none: "
            "give --recipe best too"
        )
    if "variants" in flags and settings.augment == NONE:
        raise ValueError(
            "expected changes of the photographs beside --variants, got none: give --augment too"
        )
