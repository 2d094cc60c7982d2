"""What commands say of themselves: sentences, examples, whole names; docs/cli.md."""

import re

import pytest
import typer
from places import ROOT
from typer.testing import CliRunner
from write_cli_reference import PAGE, commands, reference

from kit.cli.app import app
from kit.device.command import build_parser

ROOT_COMMAND = typer.main.get_command(app)
PATHS = commands(ROOT_COMMAND)


def command_of(path):
    command = ROOT_COMMAND
    for name in path:
        command = command.commands[name]
    return command


def help_of(*path):
    return CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"}).stdout


OF_KIT = [
    (" ".join(path), parameter.name, parameter.help)
    for path in PATHS
    for parameter in command_of(path).params
]
OF_KIT_LABEL = [("kit-label", action.dest, action.help) for action in build_parser()._actions]


@pytest.mark.parametrize(
    ("command", "name", "text"),
    [row for row in (*OF_KIT, *OF_KIT_LABEL) if row[1] != "help"],
)
def test_every_option_has_a_sentence(command, name, text):
    assert text, f"{command}: {name} says nothing"
    assert text.endswith(".")
    first, *rest = text.split()
    assert len(rest) >= 2, f"{command}: {name}: {text!r} is no sentence"
    assert first[0].isupper() or first in ("quick", "imagenet")
    assert first not in ("Of", "At", "Likewise.", "That", "Before", "Its", "Likewise:")


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_has_a_sentence_and_an_example(path):
    command = command_of(path)
    assert re.fullmatch(r"[A-Z][^.]+( \.tflite [^.]+)?\.", command.help)
    assert command.epilog.startswith(f"kit {' '.join(path)}")
    shown = help_of(*path)
    for line in command.epilog.splitlines():
        assert f"$ {line}" in shown


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_no_name_is_cut_off_or_broken(path):
    shown = help_of(*path)
    assert "…" not in shown
    listed = shown.split("Examples:")[0]
    assert max(map(len, listed.splitlines())) <= 80
    for parameter in command_of(path).params:
        for name in parameter.opts:
            assert name in shown or parameter.param_type_name == "argument"


def test_options_stand_in_panels():
    panels = re.findall(r"^(\S.*):$", help_of("train"), re.MULTILINE)
    assert panels == [
        *("Arguments", "Data", "Split", "Model", "Head", "Fine-tuning", "Quantisation", "Gates"),
        *("Screening", "Output", "Other", "Examples"),
    ]


def test_the_root_names_every_command_with_its_whole_sentence():
    shown = " ".join(help_of().split())
    for name, command in ROOT_COMMAND.commands.items():
        assert f"{name} {command.help}" in shown


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("trian",), "Did you mean 'train'?"),
        (("deploy", "andriod"), "Did you mean 'android'?"),
        (("train", "photos", "--output", "run", "--apha", "1"), "Did you mean '--alpha'?"),
        (("train", "photos", "--output", "run", "--no-galery"), "Did you mean '--no-gallery'?"),
        (("info", "x.tflite", "--fromat=json"), "Did you mean '--format'?"),
    ],
)
def test_what_is_mistyped_names_the_nearest(arguments, near):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2
    assert near in result.stderr


def test_a_mistyped_mode_names_the_nearest():
    result = CliRunner().invoke(app, ["train", "x", "--output", "y", "--quantize", "int8,flaot16"])
    assert result.exit_code == 2
    assert "got 'flaot16'; did you mean float16?" in result.stderr


def test_choices_are_those_of_the_tables():
    from kit.choices import AUGMENTATION_NAMES, INTERPRETERS, PARTS, RECIPE_NAMES, TARGET_NAMES
    from kit.model.spec import FITS, RESIZE_METHODS

    for path, name, table in (
        (("train",), "--augment", AUGMENTATION_NAMES),
        (("train",), "--recipe", RECIPE_NAMES),
        (("train",), "--fit", FITS),
        (("evaluate",), "--resize", RESIZE_METHODS),
        (("evaluate",), "--part", PARTS),
        (("benchmark",), "--interpreter", INTERPRETERS),
        (("convert",), "--target", TARGET_NAMES),
    ):
        assert f"{name} <{'|'.join(table)}>" in help_of(*path)


def test_the_reference_is_not_stale():
    assert PAGE == ROOT / "docs" / "cli.md"
    assert PAGE.read_text("utf-8") == reference(), "run make docs-cli"
