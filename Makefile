# The same commands for people and for CI. Everything is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --quiet
APT := apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends
export OMP_NUM_THREADS ?= 1
# On Linux the default index has torch with gigabytes of CUDA libraries. The CPU build's own index
# is asked for torch alone, and only if it answers within seconds: pip would try for long.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ANSWERS := [ "$$(uname)" = Linux ] && timeout 6 $(PYTHON) -c \
  'import sys, urllib.request as web; web.urlopen(sys.argv[1], timeout=5)' $(TORCH_INDEX)/torch/ 2>/dev/null

.PHONY: help install torch demo verify-demo test test-all test-optimised test-faults quick docs lint bench bench-pruning bench-ladder bench-service bench-networks bench-stopping bench-budgets bench-estimates pictures arm-gcc system-deps clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/paring: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25"
	@$(MAKE) --no-print-directory torch
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

torch:
	@if $(ANSWERS) && $(PIP) install --no-deps --index-url $(TORCH_INDEX) -c constraints.txt torch; \
	then echo "torch: the CPU build, from $(TORCH_INDEX)"; \
	else echo "torch: from the default index, as $(TORCH_INDEX) does not answer"; fi

install: $(BIN)/paring ## create .venv with paring and its development tools

demo: install ## a sweep on handwritten digits, its front, and a picked model
	$(BIN)/paring sweep study=demo experiment=demo workers=2
	$(BIN)/paring front study=demo
	$(BIN)/paring front study=demo output=html out=front.html
	$(BIN)/paring pick study=demo device=stm32f103 format=c out=picked

verify-demo: install arm-gcc ## the demo's front as firmware on an emulated Cortex-M4
	$(BIN)/paring sweep study=demo experiment=demo workers=2
	$(BIN)/paring verify study=demo
	$(BIN)/paring front study=demo source=measured output=html out=front-measured.html

test: install ## all tests, two at a time
	$(BIN)/python -m pytest -n 2

test-all: install ## those too that take minutes for what quicker tests hold: before a release
	$(BIN)/python -m pytest -n 2 -m "not bench and not faults"

quick: install ## a sample within a minute: one case of every test that takes no seconds
	$(BIN)/python -m pytest -n 2 --sample -m "not slow and not bench and not faults and not exhaustive"

test-optimised: install ## the engine's quick tests without Python's assert statements
	$(BIN)/python -O -m pytest -n 2 tests/pruning -m "not slow and not bench and not faults and not exhaustive"

test-faults: install ## kills, outages and damage, injected into real sweeps
	$(BIN)/python -m pytest -n 2 -m faults

pictures: install ## every picture of README and docs; runs the demo, needs a browser (make system-deps)
	$(BIN)/python -m tests.benchmarks.pictures $(ARGS)

docs: install ## the pages that are generated from conf/: commands and config groups
	$(BIN)/python -m search.cli.reference docs

lint: install ## style, types and the rule about doors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## what the engine costs beside training (ARGS="-k test_networks" for a part)
	$(BIN)/python -m pytest tests/benchmarks -m bench -s $(ARGS)

bench-pruning: install ## the pruning engine against its peers, resumed where it was
	$(BIN)/python -m tests.benchmarks.quality $(ARGS)

bench-ladder: install ## sweeps of eight budgets, with and without continuation (ARGS="--folder PATH")
	$(BIN)/python -m tests.benchmarks.ladder $(ARGS)

bench-service: install ## what the service costs beside training, on PostgreSQL and over HTTP
	$(BIN)/python -m tests.benchmarks.service $(ARGS)

bench-networks: install ## which networks can be pruned, beside Torch-Pruning
	$(BIN)/python -m tests.benchmarks.networks

bench-stopping: install ## what early stopping saves on stored learning curves
	$(BIN)/python -m tests.benchmarks.curves $(ARGS)

bench-budgets: install ## budgets that place themselves beside a fixed ladder (ARGS="--no-run")
	$(BIN)/python -m tests.benchmarks.budgets $(ARGS)

bench-estimates: install arm-gcc ## estimates beside what emulated cores take, on held-out networks
	$(BIN)/python -m tests.benchmarks.estimates $(ARGS)

arm-gcc: ## Debian packages: a compiler for Cortex-M, where there is none
	command -v arm-none-eabi-gcc || ($(APT) gcc-arm-none-eabi libnewlib-arm-none-eabi)

system-deps: arm-gcc ## Debian packages: that compiler, others for this machine, CMake, a browser
	$(APT) chromium gcc g++ clang cmake make

clean: ## remove the environment and caches, but no studies
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
