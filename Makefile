# Everything is made below .venv*, build/ and dist/, and nothing outside this folder is changed, but
# that root gets missing Debian packages installed (cmake/require_tools.sh says which).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
# CUDA libraries to build: OFF, 12, 13, both, or auto (those that suit the GPU driver found).
JAXMG_CUDA ?= auto
export JAXMG_CUDA
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
VENV_OLDEST := .venv-oldest
VENV_TOOLS := .venv-tools
OLDEST_JAX := 0.6.2
RUN := $(VENV)/bin/python
TOOLS := $(VENV_TOOLS)/bin
# CMake and Ninja of the tools come first where they had to be installed there.
export PATH := $(CURDIR)/$(TOOLS):$(PATH)

CXX_FILES = $(shell find cpp tests/cpp benchmarks \( -name '*.h' -o -name '*.cc' -o -name '*.cu' \) -not -path '*/build/*')
SOURCES = CMakeLists.txt pyproject.toml $(shell find cmake cpp python -type f -not -name '*.pyc')

.PHONY: help demo test test-cpp test-sanitizers test-python test-cuda-builds test-gpu bench docs format lint \
        wheel clean build-tools test-tools lint-tools

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/installed  ## Build, install into .venv, and solve a kernel system on the devices found
	$(RUN) examples/demo.py

wheel: dist/wheel  ## Build the wheel into dist/
	@ls dist/*.whl

# ---- what things need --------------------------------------------------------------------------

build-tools:
	@PYTHON="$(PYTHON)" sh cmake/require_tools.sh build

lint-tools:
	@PYTHON="$(PYTHON)" sh cmake/require_tools.sh lint

test-tools: $(VENV_TOOLS)/cmake
	@PYTHON="$(PYTHON)" sh cmake/require_tools.sh test

$(VENV_TOOLS)/pip: | lint-tools
	@$(PYTHON) -m venv $(VENV_TOOLS)
	@touch $@

$(VENV_TOOLS)/cmake: $(VENV_TOOLS)/pip
	@# Presets need CMake 3.25.
	@if ! cmake --list-presets >/dev/null 2>&1; then $(TOOLS)/pip install -q 'cmake>=3.25'; fi
	@if ! ninja --version >/dev/null 2>&1; then $(TOOLS)/pip install -q ninja; fi
	@touch $@

$(VENV_TOOLS)/lint: pyproject.toml | $(VENV_TOOLS)/pip
	@# The pinned formatters, read out of pyproject.toml.
	@$(TOOLS)/pip install -q $$(sed -n 's/^lint = \[\(.*\)\]/\1/p' pyproject.toml | tr -d '",')
	@touch $@

$(VENV)/pip: | build-tools
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# ---- the wheel, and where it is installed ------------------------------------------------------

# pip's output, reduced to what shows progress; all of it goes to build/wheel.log.
dist/wheel: $(SOURCES) | $(VENV)/pip
	@echo "Building the wheel (JAXMG_CUDA=$(JAXMG_CUDA)); the whole log is build/wheel.log"
	@mkdir -p build dist && rm -f dist/*.whl
	@$(VENV)/bin/pip wheel -v --no-deps -w dist . 2>&1 | tee build/wheel.log \
	  | grep --line-buffered -E '^ *(\[[0-9]+/[0-9]+\]|-- (XLA|CUDA|Libraries)|\*\*\*|Fetching|Collecting|Installing|Successfully)|rror' \
	  || { tail -n 40 build/wheel.log; exit 1; }
	@touch $@

# Beside a GPU, JAX for the CUDA major of the library that was built.
$(VENV)/installed: dist/wheel | $(VENV)/pip
	@echo "Installing into $(VENV)"
	@extra=; if [ -e /proc/driver/nvidia/version ]; then \
	  extra=$$(names=$$($(RUN) -m zipfile -l dist/*.whl); for major in 13 12; do \
	    if [[ "$$names" == *libjaxmg_cuda$$major.so* ]]; then echo "[cuda$$major]"; break; fi; done); fi; \
	$(VENV)/bin/pip install -q "$$(ls dist/*.whl)$$extra"
	@$(VENV)/bin/pip install -q --force-reinstall --no-deps dist/*.whl
	@touch $@

$(VENV)/tests: $(VENV)/installed
	@$(VENV)/bin/pip install -q "$$(ls dist/*.whl)[test]"
	@touch $@

# JAX 0.6.2 has wheels for CPython 3.10 to 3.13: for a newer $(PYTHON), look for one of those.
$(VENV_OLDEST)/tests: dist/wheel
	@echo "Installing into $(VENV_OLDEST), with JAX $(OLDEST_JAX)"
	@oldest=$$(for python in $(PYTHON) python3.13 python3.12 python3.11 python3.10; do \
	  if $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; \
	  then echo $$python; break; fi; done); \
	if [ -z "$$oldest" ]; then echo "JAX $(OLDEST_JAX) needs Python 3.10 to 3.13; none was found" >&2; exit 1; fi; \
	test -x $(VENV_OLDEST)/bin/python || $$oldest -m venv $(VENV_OLDEST)
	@$(VENV_OLDEST)/bin/pip install -q "$$(ls dist/*.whl)[test]" jax==$(OLDEST_JAX) jaxlib==$(OLDEST_JAX)
	@$(VENV_OLDEST)/bin/pip install -q --force-reinstall --no-deps dist/*.whl
	@touch $@

# ---- tests -------------------------------------------------------------------------------------

test: test-cpp test-sanitizers test-python test-cuda-builds  ## All tests that need no GPU, and the builds of the CUDA libraries

# $(call preset,NAME): configure, build and run the C++ tests of one preset.
define preset
	@echo "== C++ tests: $(1)"
	@cmake --preset $(1) --log-level=WARNING
	@cmake --build --preset $(1)
	@ctest --preset $(1) -j 2
endef

test-cpp: test-tools
	$(call preset,host)

test-sanitizers: test-tools
	$(call preset,asan)
	$(call preset,tsan)

test-python: $(VENV)/tests $(VENV_OLDEST)/tests
	@echo "== Python tests: newest JAX"
	@$(RUN) -c 'import jax; print("JAX", jax.__version__)'
	@$(RUN) -m pytest -rs $(PYTEST)
	@echo "== Python tests: oldest JAX"
	@$(VENV_OLDEST)/bin/python -c 'import jax; print("JAX", jax.__version__)'
	@$(VENV_OLDEST)/bin/python -m pytest -rs $(PYTEST)

test-cuda-builds: test-tools
	@echo "== The CUDA libraries build, and link the right releases"
	@for major in 13 12; do \
	  cmake --preset cuda$$major --log-level=STATUS | grep -E 'CUDA|Libraries'; \
	  cmake --build --preset cuda$$major --target jaxmg_cuda$$major; \
	  ctest --test-dir build/cuda$$major -L link --no-tests=error; \
	done

test-gpu: $(VENV)/tests test-tools  ## The tests on the GPUs of this machine
	@$(RUN) -c 'import jax; print(*jax.devices("gpu"))'
	@for library in $$($(RUN) -c 'import pathlib, jaxmg; print(*(p.stem[8:] for p in pathlib.Path(jaxmg.__file__).parent.glob("lib/libjaxmg_cuda*.so")))'); do \
	  cmake --preset $$library; cmake --build --preset $$library; ctest --preset $$library -j 1; \
	done
	@$(RUN) -m pytest -m gpu $(PYTEST)

bench: $(VENV)/installed  ## Measure solves beside other solvers; options in BENCH=
	@$(VENV)/bin/pip install -q "$$(ls dist/*.whl)[bench]"
	@$(RUN) benchmarks/run.py $(BENCH)

docs: $(VENV)/installed  ## Make the documentation, build/docs/index.html
	@$(VENV)/bin/pip install -q "$$(ls dist/*.whl)[docs]"
	@$(VENV)/bin/mkdocs build -q --strict -d build/docs

# ---- format and lint ---------------------------------------------------------------------------

format: $(VENV_TOOLS)/lint  ## Format all sources
	@$(TOOLS)/clang-format -i $(CXX_FILES)
	@$(TOOLS)/ruff check -q --fix-only .
	@$(TOOLS)/ruff format .

lint: $(VENV_TOOLS)/lint test-tools  ## Check format and run the linters
	@$(TOOLS)/clang-format --dry-run -Werror $(CXX_FILES)
	@$(TOOLS)/ruff format --check .
	@$(TOOLS)/ruff check .
	@cmake --preset host --log-level=WARNING
	@find cpp tests/cpp -name '*.cc' -not -path '*/cuda/*' -print0 \
	  | xargs -0 -n 2 -P 2 $(TOOLS)/clang-tidy -p build/host --quiet 2> >(grep -v 'warnings\? generated\|^Suppressed\|^Use -header' >&2)

clean:  ## Remove everything that was built
	@rm -rf build dist .venv .venv-oldest .venv-tools .pytest_cache .ruff_cache .hypothesis
	@find python tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
