# Every command of the project is defined here, once; CI calls the same ones.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= configs/local.yaml
TESTS ?= tests
TORCH := $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-fast chaos check format bench soak clean

help:  ## Show the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed  ## Create .venv and install everything into it

# Where there is no NVIDIA GPU torch's CPU build does, a tenth of the size: uv knows where it is kept. What pip finds
# by itself does too, wherever that place cannot be reached.
$(VENV)/.installed: pyproject.toml constraints.txt engine/exchanges/frame_scanner.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 3; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "the venv module is missing; on Debian: apt-get install python3-venv"; exit 3; }
	@echo "installing into $(VENV) (a few minutes the first time)"
	@command -v nvidia-smi >/dev/null || { $(BIN)/pip install --quiet --disable-pip-version-check uv && \
		UV_HTTP_RETRIES=0 $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend cpu $(TORCH) 2>/dev/null; } || true
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt $(TORCH)
	@rm -f engine/exchanges/*.so
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: setup  ## Start everything: make run [CONFIG=configs/local.yaml] [ARGS="--set serve.port=8001"]
	@exec $(BIN)/engine up --config $(CONFIG) $(ARGS)

# pytest says 5 where a folder, such as TESTS=tests/candles, has no test of a kind.
test: test-fast  ## Run the whole suite, but for chaos
	$(BIN)/pytest $(TESTS) -m "ray and not chaos" --durations=15 || test $$? -eq 5

test-fast: setup  ## Run everything that needs no Ray cluster, on all cores
	$(BIN)/pytest $(TESTS) -m "not ray and not chaos" -n logical --maxprocesses 8 --dist loadfile || test $$? -eq 5

chaos: setup  ## Kill every part under load and compare with the venues' ledger (up to 10 minutes)
	$(BIN)/pytest tests/chaos --exitfirst --durations=0

check: setup  ## Lint, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## Run the benchmarks of benchmarks/, but for the soak
	@for module in $$(ls benchmarks/*.py | grep -v -e __init__ -e soak.py | xargs -n1 basename | sed 's/\.py//'); do \
		echo "== $$module"; $(BIN)/python -m benchmarks.$$module || exit 1; done

soak: setup  ## Run the soak: 1,000 instruments for ten minutes
	$(BIN)/python -m benchmarks.soak

clean:  ## Remove .venv, caches and the data of local runs
	rm -rf $(VENV) data build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info engine/exchanges/*.so
