"""The files around the code agree with it: versions, workflows, make targets."""

import re

import pytest
import yaml
from places import ROOT

import kit

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
YAML_FILES = [
    *WORKFLOWS,
    *sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")),
    ROOT / ".pre-commit-config.yaml",
]


def commands(workflow):
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def targets():
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.M))


def test_the_changelog_begins_with_this_version():
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert versions[0] == kit.__version__
    assert len(versions) == len(set(versions))


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_is_a_mapping(path):
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_make_targets_that_exist(path):
    called = [command.split() for command in commands(path)]
    assert called
    for words in called:
        assert words[0] == "make", f"{path.name}: expected a make target, got {' '.join(words)}"
        assert set(words[1:]) <= targets()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_only_read_and_name_versions_of_their_actions(path):
    text = path.read_text("utf-8")
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    for action in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action)


def test_the_workflow_tries_every_python_from_the_oldest_supported():
    [text] = [path.read_text("utf-8") for path in WORKFLOWS if path.name == "ci.yml"]
    matrix = yaml.safe_load(text)["jobs"]["test"]["strategy"]["matrix"]["python"]
    [oldest] = re.findall(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert matrix[0] == oldest
    assert matrix == sorted(matrix, key=lambda version: tuple(map(int, version.split("."))))
