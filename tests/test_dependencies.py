"""Who may import whom: the design's dependency rules."""

import ast
import json
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from places import ROOT

# A package may import its own modules and the packages listed for it, and no other: the layers of
# docs/architecture.md, lowest first.
_SUPPORT = (
    *("kit.choices", "kit.errors", "kit.filenames", "kit.files", "kit.inline", "kit.lazy"),
    *("kit.quiet", "kit.reporting"),
)
_DEVICE_SIDE = ("kit", *_SUPPORT, "kit.model", "kit.runtime")
_LEARNING = (*_DEVICE_SIDE, "converters", "kit.data", "kit.evaluation")
_WHOLE = (*_LEARNING, "kit.training", "kit.export", "kit.report", "kit.workflows")
LAYERS: dict[str, tuple[str, ...]] = {
    "kit.lazy": (),
    "kit": ("kit.lazy",),
    "kit.choices": (),
    "kit.errors": (),
    "kit.filenames": (),
    "kit.files": ("kit.errors",),
    "kit.inline": (),
    "kit.quiet": (),
    "kit.reporting": ("kit.filenames",),
    "kit.model": ("kit.errors", "kit.filenames", "kit.lazy"),
    "kit.runtime": ("kit.choices", "kit.errors", "kit.filenames", "kit.quiet", "kit.model"),
    "converters": _DEVICE_SIDE,
    "kit.data": _DEVICE_SIDE,
    "kit.evaluation": (*_DEVICE_SIDE, "kit.data"),
    "kit.device": (*_DEVICE_SIDE, "kit.data", "kit.evaluation"),
    "kit.training": _LEARNING,
    "kit.export": _LEARNING,
    "kit.report": (*_LEARNING, "kit.export"),
    "kit.workflows": (*_LEARNING, "kit.device", "kit.training", "kit.export", "kit.report"),
    "kit.deploy": (*_DEVICE_SIDE, "converters"),
    "kit.sweep": (*_WHOLE, "kit.device"),
    "kit.cli": (*_WHOLE, "kit.device", "kit.deploy", "kit.sweep"),
}
DEVICE = (*_SUPPORT, "kit.model", "kit.runtime", "kit.device")
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


def package_of(name):
    """The entry of LAYERS that a module belongs to; every module needs one."""
    parts = name.split(".")
    return "converters" if parts[0] == "converters" else ".".join(parts[:2])


def kit_imports(name, deep=True):
    # What a package's __init__ imports for types alone, it names for others to import lazily.
    of_package = SOURCES[name].name == "__init__.py"
    found = imports(name, deep and not of_package)
    return sorted(
        wanted for wanted in found if inside(wanted, "kit") or inside(wanted, "converters")
    )


def test_every_package_has_its_layer():
    assert {package_of(name) for name in SOURCES} == set(LAYERS)


def test_no_layer_stands_on_a_higher_one():
    order = list(LAYERS)
    for package, allowed in LAYERS.items():
        assert all(order.index(lower) < order.index(package) for lower in allowed)


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_points_upwards(name):
    package = package_of(name)
    allowed = {package, *LAYERS[package]}
    assert [wanted for wanted in kit_imports(name) if package_of(wanted) not in allowed] == []


def test_no_module_imports_itself_through_others():
    # A package's __init__ only names what its modules export, and those do not import it.
    graph = {name: set(kit_imports(name)) - {name} for name in SOURCES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_rules_see_imports_within_functions():
    assert "kit.runtime.machine" in kit_imports("kit.runtime.classifier")
    assert "kit.runtime.machine" not in kit_imports("kit.runtime.classifier", deep=False)


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


@pytest.mark.parametrize(
    "name", ["kit.errors", "kit.model.spec", "kit.model.flatbuffer", "kit.model.model_file"]
)
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
    code = "import sys; from kit.device.command import main; assert main(sys.argv[1:]) == 0"
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
