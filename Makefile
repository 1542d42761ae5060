# make demo: vessels on a photograph, from nothing.  make test: all tests.  make check: format, lint, types.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
BUNDLE := bundles/retinal_vessel/configs
export MLFLOW_DISABLE_TELEMETRY = true

.PHONY: demo test check ui clean

demo: $(VENV)/demo-ready
	$(BIN)/python -m monai.bundle run --config_file $(BUNDLE)/inference.yaml --output_dir out/demo
	@echo
	@echo "mask:         out/demo/retina/segmentation.png"
	@echo "overlay:      out/demo/retina/overlay.png"
	@echo "report:       out/demo/retina/report.html"
	@echo "measurements: out/demo/retina/measurements.json"

test: $(VENV)/test-ready
	$(BIN)/python -m pytest

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
