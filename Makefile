# make demo       vessels, lungs and a lesion, from nothing
# make test-fast  tests that neither train nor start a process: a minute
# make test       all tests but the slow ones: minutes
# make test-slow  trainings, servers, whole cross-validations, sweeps over real data
# make check      format, lint, types
# make ui         MLflow's page
# make clean      removes the environment and all that was built
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
export MLFLOW_DISABLE_TELEMETRY = true

.PHONY: demo test-fast test test-slow check ui clean

demo: $(VENV)/demo-ready
	$(BIN)/python -m monai.bundle run --config_file bundles/retinal_vessel/configs/inference.yaml --output_dir out/demo
	$(BIN)/python -m monai.bundle run --config_file bundles/lung_ct/configs/inference.yaml --output_dir out/demo
	$(BIN)/python -m monai.bundle run --config_file bundles/breast_ultrasound/configs/inference.yaml --output_dir out/demo
	@echo
	@echo "photograph: out/demo/retina/          segmentation.png, overlay.png, report.html, measurements.json"
	@echo "chest CT:   out/demo/example_chest/   segmentation.nii.gz, overlay.png, report.html, measurements.json"
	@echo "ultrasound: out/demo/example_breast/  segmentation.png, overlay.png, report.html, measurements.json"

# A process for each core, with one thread each; an idle one takes over tests of a busy one.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-fast: $(VENV)/test-ready
	$(PYTEST) -m "not slow and not seconds"

test: $(VENV)/test-ready
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/test-ready
	$(PYTEST) -m slow

check: $(VENV)/test-ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

ui: $(VENV)/test-ready
	$(BIN)/medseg ui

clean:
	rm -rf $(VENV) out build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo-ready: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/test-ready: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[test]"
	@touch $@ $(VENV)/demo-ready
