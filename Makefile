# Every target works alone and first on a fresh clone: git, make and Python >= 3.11 are all it takes.
# ARGS is handed on: make compare ARGS="--seed 1", make test ARGS=tests/envs

VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.installed-base
DEV := $(VENV)/.installed-dev

# A PYTHON that a person names is the only one tried.
ifeq ($(origin PYTHON),undefined)
PYTHONS := python3 python3.13 python3.12 python3.11
else
PYTHONS := $(PYTHON)
endif

INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
LOCKED := $(INSTALL) --require-hashes --only-binary :all: -r
# setuptools stands in the requirements, so this step needs no network.
PROJECT := $(INSTALL) --quiet --no-deps --no-build-isolation -e .
COMPILE := $(BIN)/uv pip compile pyproject.toml --group build --quiet --no-config \
	--universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help compare test test-slow soak lint lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

compare: $(BASE) ## the main job: bursty full trajectories against isolated chunks (preset quick)
	$(BIN)/levelburst compare --preset quick $(ARGS)

test: $(DEV) ## the test suite, without what is marked slow
	$(BIN)/python -m pytest $(ARGS)

test-slow: $(DEV) ## only what is marked slow
	$(BIN)/python -m pytest -m slow $(ARGS)

soak: $(DEV) ## the long fault tests: kills, signals, numbers that are not finite
	$(BIN)/python -m pytest -m slow tests/faults $(ARGS)

lint: $(DEV) ## ruff (rules and format), then pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

lock: $(BIN)/uv ## pin requirements/*.txt again from pyproject.toml (newest versions: ARGS=--upgrade)
	$(COMPILE) $(ARGS) --extra dev --extra bridges --extra sweep --extra minari --output-file requirements/dev.txt
	$(COMPILE) $(ARGS) --constraint requirements/dev.txt --output-file requirements/base.txt

clean: ## remove the environment, caches and build outputs; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find envs agents icl experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv puts there: where it lacks, the environment is half made.
$(BIN)/pip:
	@for python in $(PYTHONS); do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Levelburst needs Python 3.11 or newer; tried: $(PYTHONS). Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	if ! $$found -c 'import ensurepip' 2>/dev/null; then \
		echo "$$found cannot make environments: its ensurepip is missing. On Debian and Ubuntu: apt-get install $$($$found -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; \
	fi; \
	$$found -m venv --clear $(VENV)

$(BASE): requirements/base.txt pyproject.toml | $(BIN)/pip
	$(LOCKED) requirements/base.txt
	$(PROJECT)
	@touch $@

# dev.txt holds all of base.txt at the same versions.
$(DEV): requirements/base.txt requirements/dev.txt pyproject.toml | $(BIN)/pip
	$(LOCKED) requirements/dev.txt
	$(PROJECT)
	@touch $(BASE) $@

$(BIN)/uv: | $(BIN)/pip
	$(INSTALL) --quiet uv
