# make demo   the whole path on drawn images
# make test   everyday checks; CI=true adds the slow ones
# make docs   the documentation as a site, into site/; a broken link fails
# make docs-cli   writes docs/cli.md, what every command says of itself
# make benchmark   against what one would use instead; writes docs/explanation/benchmarks.md
# make test-device   what kit deploy pi writes, in Debian's userland for ARM under QEMU; needs root
# make examples   runs the scripts and the notebook of examples/
# make wheel   builds the source archive and the wheel into dist/
# make device-install   what a device installs, in an environment of its own: labels an image
# They create .venv and install what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MARKERS := $(if $(filter true,$(CI)),,-m "not slow")

.PHONY: demo test test-device docs docs-cli lint benchmark examples wheel device-install clean

demo: $(VENV)/train
	$(BIN)/kit demo --output kit-demo --force

test: lint
	$(BIN)/python -m pytest $(MARKERS)

test-device: $(VENV)/dev
	KIT_TEST_DEVICE=1 $(BIN)/python -m pytest -s tests/device/test_device_arm64.py

docs-cli: $(VENV)/dev
	$(BIN)/python scripts/write_cli_reference.py

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/docs
	$(BIN)/mkdocs build --strict

benchmark: $(VENV)/train
	$(BIN)/python benchmarks/run_all.py

examples: $(VENV)/dev
	$(BIN)/python -m pytest tests/test_examples.py

wheel: $(VENV)/dev
	rm -rf build dist
	$(BIN)/python -m build

device-install:
	rm -rf $(VENV)-device
	$(PYTHON) -m venv $(VENV)-device
	$(VENV)-device/bin/python -m pip install .
	$(VENV)-device/bin/kit-label tests/files/red_green_blue_int8.tflite tests/files/red.png
	$(VENV)-device/bin/kit-label tests/files/red_green_blue_int8.tflite --self-test

$(VENV)/train: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[train]'
	touch $@

$(VENV)/dev: $(VENV)/train
	$(BIN)/python -m pip install --editable '.[train,dev]'
	touch $@

$(VENV)/docs: $(VENV)/train
	$(BIN)/python -m pip install --editable '.[train,docs]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-device kit-demo build dist site
