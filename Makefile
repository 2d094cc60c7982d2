# make demo   the whole path on drawn images
# make test   lint and everyday tests
# make test-all   every test, with the slow ones, and the coverage, as CI runs them
# make docs   the documentation as a site, into site/; a broken link fails
# make docs-cli   writes docs/cli.md, what every command says of itself
# make benchmark   against what one would use instead; writes docs/explanation/benchmarks.md
# make fuzz   10,000 damaged files to every reader: none may crash, hang or trace back
# make test-device   what kit deploy pi writes, in Debian's userland for ARM under QEMU; needs root
# make examples   runs the scripts and the notebook of examples/
# make web   builds the page of kit deploy web, from web/; needs npm and Node 20.19, or 22.12 or newer
# make wheel   builds the source archive and the wheel into dist/, with the page
# make device-install   what a device installs, in an environment of its own: labels an image
# They create .venv and install what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= auto
# A file's tests stay together, since they share what they train; files keep their order, so that a few
# heavy tests do not come last.
PYTEST := pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
# SlipCover puts probes into the bytecode. With a tracer, which sees each line of TensorFlow too, tests take nearly
# twice as long as without any measurement.
SLIPCOVER := $(BIN)/python -m slipcover
COVERED := .coverage.json

.PHONY: demo test test-all fuzz test-device docs docs-cli lint benchmark examples web wheel device-install clean

demo: $(VENV)/train
	$(BIN)/kit demo --output kit-demo --force

test: lint
ifeq ($(CI),true)
	$(SLIPCOVER) --source kit,converters --json --out $(COVERED) -m $(PYTEST) --durations 30
	$(SLIPCOVER) --merge $(COVERED) --out $(COVERED) --skip-covered --fail-under 90
else
	$(BIN)/python -m $(PYTEST) -m "not slow"
endif

test-all:
	$(MAKE) test CI=true

fuzz: $(VENV)/dev
	$(BIN)/python tests/support/fuzzing.py $(or $(COUNT),10000)

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

web:
	cd web && npm ci && npm run check && npm run build

wheel: $(VENV)/dev web
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
