"""How the commands look: help by panels, examples, the nearest name, options from a file."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from kit.cli.options import PANELS

_WIDTH = 80
CONFIG = "config"


_HYPHEN = "\N{NON-BREAKING HYPHEN}"
"""Stands for a hyphen while lines are broken, so that no option's name is broken in two."""


def _unbroken(row: tuple[str, str]) -> tuple[str, str]:
    name, text = row
    text = re.sub(r"\[default: \((.*?)\)(?=[\];])", r"[default: \1", text)
    return name, text.replace("-", _HYPHEN)


class Command(TyperCommand):
    """A command whose help is plain text in panels, with its examples at the end.

    Lines are broken; no option's name is cut off, as it is in a table.
    """

    def get_help(self, ctx: Any) -> str:
        return str(super().get_help(ctx)).replace(_HYPHEN, "-")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        panels |= {panel: [] for panel in PANELS}
        for parameter in self.get_params(ctx):
            of_argument = "Arguments" if parameter.param_type_name == "argument" else "Other"
            panel = getattr(parameter, "rich_help_panel", None) or of_argument
            if (record := parameter.get_help_record(ctx)) is not None:
                panels.setdefault(panel, []).append(_unbroken(record))
        for panel, rows in panels.items():
            if not rows:
                continue
            with formatter.section(panel):
                formatter.write_dl(rows, col_max=28)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{' ' * formatter.current_indent}$ {line}\n")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(parameter.name == CONFIG for parameter in self.params):
            self._read_config(ctx, args)
        rest: list[str] = []
        try:
            rest = super().parse_args(ctx, args)
        except Exception as error:
            name = getattr(error, "option_name", None)
            if name is None or not hasattr(error, "possibilities"):  # it is there
                raise
            near = difflib.get_close_matches(name, self._option_names(), 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such option {name!r}.{hint}")
        return rest

    def _option_names(self) -> list[str]:
        return [name for one in self.params for name in (*one.opts, *one.secondary_opts)]

    def _read_config(self, ctx: Any, args: Sequence[str]) -> None:
        """Makes what the file named by --config says the defaults of this call."""
        named = [arg.partition("=")[2] for arg in args if arg.startswith(f"--{CONFIG}=")]
        named += [after for arg, after in pairwise(args) if arg == f"--{CONFIG}"]
        if named:
            ctx.default_map = {**(ctx.default_map or {}), **read_config(Path(named[-1]), self)}


class Group(TyperGroup):
    """Commands in the order in which they were added; a mistyped one names the nearest."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        rows = [
            record
            for parameter in self.get_params(ctx)
            if (record := parameter.get_help_record(ctx)) is not None
        ]
        with formatter.section("Options"):
            formatter.write_dl(rows)
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.help or "") for name, one in self.commands.items()])

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.commands, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)


def read_config(path: Path, command: Any) -> dict[str, Any]:
    """Values of a command's options, by parameter, from a TOML file.

    Names are those of the options without the leading dashes. A relative path counts from the
    current folder, as on the command line.

    Raises typer.BadParameter where the file cannot be read, or names what is no option.
    """
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _mistake(f"{path}: expected a TOML file with options: {reason}") from error
    known = {
        name: parameter
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name not in (CONFIG, "help")
        for name in (long_name(parameter),)
    }
    values = {}
    for name, value in given.items():
        parameter = known.get(name.replace("_", "-"))
        if parameter is None:
            near = difflib.get_close_matches(name.replace("_", "-"), known, 1)
            hint = f": did you mean {near[0]}?" if near else f": {', '.join(known)}"
            raise _mistake(
                f"{path}: expected the name of an option of {command.name}, got {name!r}{hint}"
            )
        if isinstance(value, dict) or (isinstance(value, list) and not parameter.multiple):
            kind = "a table" if isinstance(value, dict) else "a list"
            raise _mistake(f"{path}: expected one value for {name}, got {kind}")
        assert parameter.name is not None  # options have one
        if parameter.multiple:
            value = [str(one) for one in (value if isinstance(value, list) else [value])]
        elif not parameter.is_flag:
            value = str(value)  # converted as from the command line
        elif not isinstance(value, bool):
            raise _mistake(f"{path}: expected true or false for {name}, got {value!r}")
        values[parameter.name] = value
    return values


def _mistake(text: str) -> typer.BadParameter:
    return typer.BadParameter(text, param_hint=f"--{CONFIG}")


def long_name(parameter: Any) -> str:
    """`input-resolution` for `--input-resolution`; of a switch the name that turns it on."""
    return str(max(parameter.opts, key=len)).removeprefix("--")


def application(**more: Any) -> typer.Typer:
    """A Typer group of such commands."""
    return typer.Typer(
        cls=Group,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH},
        **more,
    )
