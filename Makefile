# make demo, make test: nothing else has to be typed. The environment is made in .venv and reused while it is up to date.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
VENV_NNUNET := .venv-nnunet
BIN := $(VENV)/bin
STAMP := $(VENV)/.up-to-date
OUT ?= demo-out
WORKERS ?= 2
# Rendering without a display; two threads, as on the smallest machine that is supported.
export VTK_DEFAULT_OPENGL_WINDOW ?= vtkEGLRenderWindow
export QT_QPA_PLATFORM ?= offscreen

PIP := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help env setup-nnunet demo test bench demo-model wheel clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

env: $(STAMP)  ## make .venv with everything that the tests need (Python 3.11 or 3.12)

# $(call make_venv,FOLDER): an empty environment there, with a Python that is supported
define make_venv
	@python="$${PYTHON:-}"; \
	if [ -z "$$python" ]; then for name in python3.11 python3.12 python3 python; do \
	  if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then python=$$name; break; fi; done; fi; \
	if [ -z "$$python" ]; then echo "MRDeltaNet needs Python 3.11 or 3.12; install one, or say which: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 4; fi; \
	echo "Making the environment in $(1) with $$($$python --version); this takes a few minutes once."; \
	$$python -m venv --clear $(1)
endef

$(STAMP): constraints.txt pyproject.toml Makefile
	$(call make_venv,$(VENV))
	$(BIN)/python $(PIP) torch
	$(BIN)/python $(PIP) --editable '.[scene,cohort,dicom,explain,web,test]'
	@touch $(STAMP)

setup-nnunet: $(VENV_NNUNET)/.up-to-date  ## make .venv-nnunet with nnU-Net v2, for automatic segmentation (optional)

$(VENV_NNUNET)/.up-to-date: constraints.txt Makefile
	$(call make_venv,$(VENV_NNUNET))
	$(VENV_NNUNET)/bin/python $(PIP) torch
	$(VENV_NNUNET)/bin/python $(PIP) nnunetv2
	$(VENV_NNUNET)/bin/python MRDeltaNetLib/imaging/nnunet/child.py check </dev/null
	@touch $(VENV_NNUNET)/.up-to-date

demo: env  ## simulate one pelvis pair and run the whole job on it, into demo-out/ (OUT=folder)
	$(BIN)/mrdeltanet demo --out $(OUT)
	@echo "The same by hand, in a browser: $(BIN)/mrdeltanet serve"

test: env  ## run every test (TESTS=path for some, WORKERS=processes)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

bench: env  ## time every step, each beside a peer in the same run
	$(BIN)/python $(PIP) --editable '.[bench]'
	$(BIN)/python -m Testing.bench

demo-model: env  ## simulate, train and control the demo model again, in demo-study/ (20 GB, over an hour)
	$(BIN)/python -m MRDeltaNetLib.cohort.demo_model --out Resources/models/demo --work demo-study

wheel: env  ## build the wheel into dist/
	$(BIN)/python -m build --wheel --outdir dist .

clean:  ## remove the environment and what was built
	rm -rf $(VENV) $(VENV_NNUNET) dist build demo-out demo-study
