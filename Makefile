# make demo       vessels, lungs and a lesion, from nothing
# make test-fast  tests that neither train nor start a process: a minute or two
# make test       all tests but the slow ones: minutes
# make test-slow  trainings, servers, whole cross-validations, sweeps over real data
# make check      format, lint, types
# make docs       the documentation as a site, into site/
# make tour       runs the code of the guided tour, and compares its pictures: minutes
# make notebook   the guided tour as out/tour.ipynb
# make pictures   those of docs/pictures
# make ui         MLflow's page
# make clean      removes the environment and all that was built
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
# PyTorch for processors alone; PyPI's, TORCH_INDEX=https://pypi.org/simple, is for an NVIDIA card.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
export MLFLOW_DISABLE_TELEMETRY = true
# The folder of the real data sets, for the tests alone; those that need it skip and say so where there is none.
test-fast test test-slow: export MEDSEG_DATA ?= $(wildcard $(abspath ../shared/data))

.PHONY: demo test-fast test test-slow check docs tour notebook pictures ui clean

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

docs: $(VENV)/docs-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "docs: site/index.html"

tour: $(VENV)/test-ready
	$(PYTEST) tests/test_tour.py -k test_page

notebook: $(VENV)/test-ready
	$(BIN)/python docs/tour_pages.py notebook out/tour.ipynb
	@echo "notebook: out/tour.ipynb"

# Two trainings on phantoms and screenshots by Chromium, some minutes.
pictures: $(VENV)/test-ready
	$(BIN)/python docs/make_pictures.py
	$(BIN)/python docs/tour_pages.py pictures

ui: $(VENV)/test-ready
	$(BIN)/medseg ui

clean:
	rm -rf $(VENV) out build dist site

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	@$(PIP) --no-deps --retries 0 --timeout 15 --index-url $(TORCH_INDEX) torch \
		|| echo "$(TORCH_INDEX) can't be reached: PyTorch comes from PyPI"

$(VENV)/demo-ready: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/test-ready: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[test]"
	@touch $@ $(VENV)/demo-ready

$(VENV)/docs-ready: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[docs]"
	@touch $@ $(VENV)/demo-ready
