# Every command of the repository. `make` alone lists them.
.DEFAULT_GOAL := help
# The notebooks use every core by themselves, and the site tests read what `make book` writes: one target at a time.
.NOTPARALLEL:
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
# The first Python on the path that the pinned versions support.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)

INSTALLED := $(VENV)/.installed
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
PACKAGE := $(shell find facexai -type f -not -path '*/__pycache__/*')
SITE := _build/html

# Equal sums on equal machines: two threads and a fixed hash seed, so that the checked outputs can be compared.
export OMP_NUM_THREADS ?= 2
export PYTHONHASHSEED := 0
# Waiting threads sleep instead of spinning: on two busy cores the same training took 3 s instead of 28 s.
export OMP_WAIT_POLICY := PASSIVE
# With MPLBACKEND set, the kernel drops matplotlib's figures without a word.
unexport MPLBACKEND
# The kernel of this environment wins over one of the same name in the home folder.
export JUPYTER_PREFER_ENV_PATH := 1
export JUPYTER_PLATFORM_DIRS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help book test check lock serve clean

help:                  ## list the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

book: $(INSTALLED) _build/.package  ## set up, execute every notebook, build the book and check its pages
	rm -rf $(SITE)
	$(BIN)/jupyter-book build . --all -W -n --keep-going
	$(BIN)/python tests/site/check_site.py $(SITE)
	$(BIN)/python tests/site/check_browser.py $(SITE)

test: $(INSTALLED)     ## set up, test the package, the notebooks and, where it is built, the site
	$(BIN)/python -m pytest --nbval-lax --nbval-cell-timeout=600 --durations=12 tests notebooks

check: $(INSTALLED)    ## format, lint, types and the direction of imports (seconds)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_public_names.py

lock: $(INSTALLED)     ## re-record the checked outputs of the notebooks; read the diff as a change of results
	for notebook in $(NOTEBOOKS); do \
	    $(BIN)/papermill $$notebook $$notebook --cwd notebooks --no-progress-bar || exit 1; done
# --keep-count: nbval fails on a recorded output whose cell has no execution count.
	$(BIN)/nbstripout --keep-count --keep-id $(NOTEBOOKS) \
	    --extra-keys 'metadata.widgets metadata.papermill cell.metadata.papermill cell.metadata.execution'

serve:                 ## show the built book on http://127.0.0.1:8000
	$(BIN)/python -m http.server -d $(SITE) -b 127.0.0.1 8000

clean:                 ## remove what was built; the environment stays
	rm -rf _build .pytest_cache .ruff_cache

$(INSTALLED): requirements.txt pyproject.toml
	@test -n '$(PYTHON)' || { echo 'facexai needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=/path/to/python3.12'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements.txt
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $@

# The cache of executed notebooks looks at their cells alone: a change of the package must drop it.
_build/.package: $(PACKAGE) requirements.txt
	rm -rf _build/.jupyter_cache _build/.doctrees
	mkdir -p _build
	touch $@
