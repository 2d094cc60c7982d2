"""README and docs: every command line parses, and every link leads to a file."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from kit.cli.app import app
from kit.device.command import build_parser

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "android_demo/README.md")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
KIT = typer.main.get_command(app)
KIT_LABEL = build_parser()


def command_lines(text):
    """What a reader would type: lines after a prompt in console blocks, continued ones joined."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                for part in line.removeprefix("$ ").split("&&"):
                    words = shlex.split(part, comments=True)
                    if words and Path(words[0]).name in ("kit", "kit-label"):
                        yield [Path(words[0]).name, *words[1:]]


def mentions(text):
    """Commands in the middle of a sentence, which may leave out arguments."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for code in re.findall(r"`((?:kit|kit-label)\s[^`]*)`", prose):
        yield code.split()


def find(words):
    """The command that `kit WORD...` starts with, and the remaining words."""
    command = KIT
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options(command):
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {
        "--help"
    }


def parse(words):
    """Raises where `kit WORD...` is refused; files need not be there, but for that of --config."""
    command, rest = find(words)
    with command.make_context("kit", list(rest)):
        assert not hasattr(command, "commands"), "expected a command"


@pytest.fixture(autouse=True)
def settings_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/settings.toml").write_text("alpha = 0.25\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_of_a_page_is_one_that_the_commands_take(page):
    text = page.read_text("utf-8")
    if page.name == "CONTRIBUTING.md":  # its examples add what the commands do not have yet
        text = re.sub(r"```console.*?```", "", text, flags=re.DOTALL)
    for program, *words in command_lines(text):
        if program == "kit":
            parse(words)
        else:
            KIT_LABEL.parse_args(words)
    for program, *words in mentions(text):
        if program == "kit":
            command, rest = find(words)
            is_group = bool(getattr(command, "commands", None))
            plain = rest and not rest[0].startswith("-") and not rest[0].isupper()
            assert not (is_group and plain), f"there is no command {' '.join(words)!r}"
            known = options(command) | options(KIT)
        else:
            rest, known = words, set(KIT_LABEL._option_string_actions)
        asked = {word.partition("=")[0].rstrip(",.") for word in rest if word.startswith("--")}
        assert asked <= known, f"{' '.join(words)!r} has unknown options: {asked - known}"


@pytest.mark.parametrize(
    "line",
    [
        "train photos/",
        "train photos/ --output run/ --alhpa 0.5",
        "train photos/ --output run/ --recipe worst",
        "trian photos/ --output run/",
        "label model.tflite",
        "info model.tflite another.tflite",
    ],
)
def test_a_wrong_command_line_would_be_found(line):
    with pytest.raises(Exception, match=r"."):
        parse(shlex.split(line))


def test_every_link_between_files_leads_to_a_file():
    """`make docs` checks the links inside docs/ and their anchors; this checks the others too."""
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(
            r"\]\(([^)#\s]+)", re.sub(r"```.*?```", "", page.read_text("utf-8"))
        )
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 200
