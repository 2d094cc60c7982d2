"""Who may import whom: the design's dependency rules."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GROUND = ("kit.errors", "kit.spec", "kit.noise")
FILE_HELPERS = ("kit.files", "kit.reporting")
DEVICE = (
    *GROUND,
    *("kit.flatbuffer", "kit.preprocess", "kit.model_file", "kit.cost", "kit.runtime"),
)

# A module may import what is listed for it, and modules of its own package. The longest name that
# fits counts. What is not listed (kit.cli, kit.retrain, kit.export, ...) stands on top: it may
# import all, and because it is in no list, none of those below may import it.
ALLOWED = {
    "kit": (),
    "kit.errors": (),
    "kit.noise": (),
    "kit.spec": ("kit.errors",),
    "kit.flatbuffer": ("kit.errors",),
    "kit.files": ("kit.errors",),
    "kit.reporting": ("kit.errors",),
    "kit.preprocess": GROUND,
    "kit.model_file": (*GROUND, "kit.flatbuffer"),
    "kit.cost": (*GROUND, "kit.flatbuffer", "kit.model_file"),
    "kit.runtime": ("kit", *DEVICE, "kit.files"),
    "kit.data": (*DEVICE, *FILE_HELPERS),
    "kit.evaluation": (*DEVICE, *FILE_HELPERS, "kit.data"),
    "kit.training": (*DEVICE, *FILE_HELPERS, "kit.data"),
    "converters": (*DEVICE, *FILE_HELPERS, "kit.data"),
}
HEAVY = {
    *("tensorflow", "keras", "typer", "rich", "sklearn", "scipy", "matplotlib", "click"),
    *("jinja2", "markupsafe"),
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    name_of(path): path
    for package in ("kit", "converters")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def is_for_types_only(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imported(nodes, deep):
    """Names that statements import; with `deep` also those within functions and conditions."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports would escape this test"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in SOURCES else node.module
        elif deep or not (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_for_types_only(node)
        ):
            yield from imported(ast.iter_child_nodes(node), deep)


def imports(name, deep):
    return set(imported(ast.parse(SOURCES[name].read_text(encoding="utf-8")).body, deep))


def inside(name, package):
    return name == package or name.startswith(package + ".")


def rule_of(name):
    fitting = [package for package in ALLOWED if inside(name, package) and package != "kit"]
    return max(fitting, key=len) if fitting else "kit" if name == "kit" else None


def may_import(name, wanted):
    package = rule_of(name)
    if package is None:
        return True
    own = package != "kit" and inside(wanted, package)
    return own or any(
        wanted == allowed if allowed == "kit" else inside(wanted, allowed)
        for allowed in ALLOWED[package]
    )


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_points_back(name):
    wrong = [
        wanted
        for wanted in sorted(imports(name, deep=True))
        if (inside(wanted, "kit") or inside(wanted, "converters")) and not may_import(name, wanted)
    ]
    assert wrong == []


def test_the_rules_are_about_modules_that_exist():
    assert set(ALLOWED) <= set(SOURCES)
    for name in (
        *("kit.cli", "kit.retrain", "kit.export", "kit.demo", "kit.report", "kit.sweep"),
        "kit.deploy",
    ):
        assert rule_of(name) is None
        assert not any(may_import(lower, name) for lower in ALLOWED)
    assert "kit.runtime.interpreter" in imports("kit.runtime.classifier", deep=True)


@pytest.mark.parametrize("name", SOURCES)
def test_heavy_packages_are_imported_where_they_are_used(name):
    # So that `kit --help` answers at once and a device needs none of them.
    top = {wanted.split(".")[0] for wanted in imports(name, deep=False)}
    allowed = {"typer", "click"} if inside(name, "kit.cli") else set()
    assert top & HEAVY <= allowed


@pytest.mark.parametrize("name", [n for n in SOURCES if any(inside(n, d) for d in DEVICE)])
def test_a_device_needs_numpy_pillow_and_an_interpreter(name):
    wanted = {found.split(".")[0] for found in imports(name, deep=True)}
    others = wanted - set(sys.stdlib_module_names) - {"kit"}
    assert others <= {"numpy", "PIL", "tflite_runtime", "ai_edge_litert"}
    assert "PIL" not in {found.split(".")[0] for found in imports(name, deep=False)}


@pytest.mark.parametrize("name", ["kit.spec", "kit.errors", "kit.flatbuffer", "kit.model_file"])
def test_standard_library_only(name):
    wanted = {found.split(".")[0] for found in imports(name, deep=True)}
    assert wanted <= set(sys.stdlib_module_names) | {"kit"}


def modules_after(code, *arguments):
    """What a fresh Python has loaded after running `code`."""
    report = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "KIT_DEBUG": ""},
        check=True,
    )
    return set(json.loads(done.stderr.splitlines()[-1])), done.stdout


UNWANTED = HEAVY | {"pydicom", "converters", "kit.cli", "kit.data", "kit.training"}


def test_labelling_an_image_loads_nothing_heavy(data, photos):
    code = "import sys; from kit.runtime.label import main; assert main(sys.argv[1:]) == 0"
    model = data / "red_green_blue_int8.tflite"
    loaded, out = modules_after(code, model, photos / "red.png", "--self-test")
    assert ": red 0.9" in out
    assert loaded & UNWANTED == set()
    assert {"numpy", "PIL"} <= loaded


def test_labelling_an_array_needs_no_pillow(data):
    code = (
        "import sys, numpy as np; from kit.runtime import Classifier\n"
        "with Classifier.open(sys.argv[1]) as classifier:\n"
        "    print(classifier.classify(np.zeros((9, 9, 3), np.uint8)).categories[0].score)"
    )
    loaded, out = modules_after(code, data / "red_green_blue_float32.tflite")
    assert float(out) == pytest.approx(1 / 3, abs=1e-4)
    assert loaded & (UNWANTED | {"PIL"}) == set()


def test_the_command_line_starts_without_tensorflow():
    loaded, _ = modules_after("import kit.cli.app")
    assert loaded & {"tensorflow", "keras", "sklearn", "scipy", "matplotlib"} == set()
