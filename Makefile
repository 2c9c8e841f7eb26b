# All output goes to .venv*, build/ and dist/. Nothing outside this folder is changed, except that
# missing Debian packages are installed for root (see cmake/require_tools.sh).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
# CUDA libraries to build: OFF, 12, 13, both, or auto (for the GPU driver of this machine).
JAXMG_CUDA ?= auto
export JAXMG_CUDA
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
VENVS_JAX := .venv-jax
VENV_TOOLS := .venv-tools
RUN := $(VENV)/bin/python
TOOLS := $(VENV_TOOLS)/bin
# CMake and Ninja in the tools folder, if installed there, take precedence.
export PATH := $(CURDIR)/$(TOOLS):$(PATH)

# One release of every supported minor version of JAX, oldest first, each with the minor versions of CPython 3 for which
# its jaxlib has wheels. All tests run on the newest JAX that $(PYTHON) can install. A share of the cases of JAX_TESTS, the
# tests that depend on JAX itself, runs on each of these releases that it can install, without numerical tests, which
# depend on the native library. docs/installation.md lists the releases.
JAX_RELEASES := 0.6.2:10-13 0.7.2:11-14 0.8.3:11-14 0.9.2:11-14 0.10.2:11-14 0.11.2:12-14 0.12.0.1:12-14
JAX_TESTS := sharding composition batches derivatives vma dtypes exported donation import potrs potri syevd

# The tests on the newest JAX, in two parts of about equal length that run side by side. `make docs` runs those of the
# documentation.
TESTS_DOCS := tests/python/test_docs.py
TESTS_1 := $(filter-out $(TESTS_DOCS),$(sort $(wildcard tests/python/test_[a-l]*.py)))
TESTS_2 := $(filter-out $(TESTS_1) $(TESTS_DOCS),$(sort $(wildcard tests/python/test_*.py)))

CXX_FILES = $(shell find cpp tests/cpp benchmarks \( -name '*.h' -o -name '*.cc' -o -name '*.cu' \) -not -path '*/build/*')
SOURCES = CMakeLists.txt pyproject.toml $(shell find cmake cpp python -type f -not -name '*.pyc')

.PHONY: help demo external-links test test-cpp test-compiled test-sanitizers test-python test-cuda-builds test-gpu bench \
        docs format lint types wheel sdist check-wheel aarch64 clean build-tools test-tools lint-tools

# These goals build the wheel and install it into $(VENV), `test` in a make of its own. Several of them at once run one
# after another: side by side they would do it twice, in the same place.
ifneq ($(word 2,$(filter demo wheel check-wheel sdist test test-python test-gpu bench docs,$(MAKECMDGOALS))),)
.NOTPARALLEL:
endif

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/installed  ## Build, install into .venv, and solve a kernel system on the devices found
	$(RUN) examples/demo.py

# The libraries that the wheel must have: with "auto", what the driver of this machine decided.
WHEEL_LIBRARIES_ := $$(cd build/wheel && ls libjaxmg_*.so | sed 's/libjaxmg_//; s/\.so//')
WHEEL_LIBRARIES_auto = $(WHEEL_LIBRARIES_)
WHEEL_LIBRARIES_OFF := host
WHEEL_LIBRARIES_12 := host cuda12
WHEEL_LIBRARIES_13 := host cuda13
WHEEL_LIBRARIES_both := host cuda12 cuda13

wheel: dist/wheel $(VENV_TOOLS)/wheel  ## Build the manylinux wheel into dist/ (JAXMG_CUDA=both for a release)
	@$(TOOLS)/python cmake/manylinux.py dist $(if $(JAXMG_MANYLINUX),--policy $(JAXMG_MANYLINUX)) --libraries $(WHEEL_LIBRARIES_$(JAXMG_CUDA))

sdist: | $(VENV)/pip $(VENV_TOOLS)/wheel  ## Build the source distribution into dist/, and check that it builds without CUDA
	@rm -f dist/*.tar.gz
	@$(TOOLS)/python -m build -q --sdist -o dist .
	@rm -rf build/sdist && mkdir -p build/sdist
	@JAXMG_CUDA=OFF $(VENV)/bin/pip wheel -q --no-deps -w build/sdist dist/*.tar.gz
	@$(TOOLS)/python cmake/manylinux.py build/sdist; ls dist/*.tar.gz

# Install the wheel as a user does, in a new environment that knows nothing of this checkout.
check-wheel: wheel  ## Install the wheel from dist/ into a new environment, and solve a system there
	@rm -rf build/check-wheel && $(PYTHON) -m venv build/check-wheel
	@extra=; if [ -e /proc/driver/nvidia/version ]; then extra=[cuda$(if $(filter 12,$(JAXMG_CUDA)),12,13)]; fi; \
	cd build/check-wheel && bin/pip install -q --find-links ../../dist "$$(ls ../../dist/*.whl)$$extra" && \
	bin/python ../../examples/demo.py 1024 && bin/python -m jaxmg plan potrs 4096 --devices 4 --platform cpu

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

$(VENV_TOOLS)/wheel: pyproject.toml | $(VENV_TOOLS)/pip
	@$(TOOLS)/pip install -q $$(sed -n 's/^wheel = \[\(.*\)\]/\1/p' pyproject.toml | tr -d '",')
	@touch $@

$(VENV)/pip: | build-tools
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# ---- the wheel, and where it is installed ------------------------------------------------------

# Changes with JAXMG_CUDA, and so makes the wheel again.
build/wheel-cuda: FORCE
	@mkdir -p build; [ "$$(cat $@ 2>/dev/null)" = "$(JAXMG_CUDA)" ] || echo "$(JAXMG_CUDA)" > $@

FORCE:

# pip's output, reduced to what shows progress; all of it goes to build/wheel.log.
dist/wheel: $(SOURCES) build/wheel-cuda | $(VENV)/pip
	@echo "Building the wheel (JAXMG_CUDA=$(JAXMG_CUDA)); the whole log is build/wheel.log"
	@mkdir -p build dist && rm -f dist/*.whl
	@$(VENV)/bin/pip wheel -v --no-deps -w dist . 2>&1 | tee build/wheel.log \
	  | grep --line-buffered -E '^ *(\[[0-9]+/[0-9]+\]|-- (XLA|CUDA|Libraries)|\*\*\*|Fetching|Collecting|Installing|Successfully)|rror' \
	  || { tail -n 40 build/wheel.log; exit 1; }; echo "Built the wheel in $$SECONDS s"
	@touch $@

# With a GPU, install JAX for the CUDA major of the library that was built.
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
	@$(VENV)/bin/pip install -q "$$(ls dist/*.whl)[netket]" || echo "NetKet does not install here: its tests are skipped"
	@touch $@

# What all examples need, so that their pages have output and pictures.
$(VENV)/examples: $(VENV)/tests
	@jax=$$($(RUN) -c 'import jax; print(jax.__version__)'); \
	$(VENV)/bin/pip install -q "$$(ls dist/*.whl)[gpjax]" "jax==$$jax" || echo "GPJax does not install here: its example is not run"
	@touch $@

.PRECIOUS: $(VENVS_JAX)/%/tests
$(VENVS_JAX)/%/tests: dist/wheel
	@echo "Installing into $(VENVS_JAX)/$*"
	@$(PYTHON) -m venv $(VENVS_JAX)/$*
	@$(VENVS_JAX)/$*/bin/pip install -q "$$(ls dist/*.whl)" 'pytest>=7' pytest-timeout flatbuffers jax==$* jaxlib==$*
	@$(VENVS_JAX)/$*/bin/pip install -q --force-reinstall --no-deps dist/*.whl
	@touch $@

# ---- tests -------------------------------------------------------------------------------------

# Installation and the C++ tests run side by side: one waits for downloads, the other compiles.
test: test-tools  ## All tests that need no GPU, and the builds of the CUDA libraries
	@$(MAKE) --no-print-directory -j 2 --output-sync=target $(VENV)/tests test-cpp
	@$(MAKE) --no-print-directory -j 2 --output-sync=none test-compiled test-python

# Beside the Python tests: at the end of each of its steps, a core would be idle.
test-compiled: test-tools
	@$(MAKE) --no-print-directory -j 1 --output-sync=none test-sanitizers test-cuda-builds

# Each step prints the seconds that it took. ($$SECONDS starts at 0 in every line of a recipe.)

# $(call preset,NAME): configure, build and run the C++ tests of one preset; tests of planning with sanitizers alone, where
# they have no label.
define preset
	@echo "== C++ tests: $(1)"
	@cmake --preset $(1) --log-level=WARNING
	@cmake --build --preset $(1) --target jaxmg_tests; echo "== C++ tests: $(1) built in $$SECONDS s"
	@ctest --test-dir build/$(1) -LE 'gpu|planning' --output-on-failure --no-tests=error -j 2; echo "== C++ tests: $(1) run in $$SECONDS s"
endef

test-cpp: test-tools
	$(call preset,host)

test-sanitizers: test-tools
	$(call preset,asan)
	$(call preset,tsan)

# Two at a time: tests mostly trace and compile programs, on one thread.
test-python: $(VENV)/tests
	@targets="test-newest-jax-1 test-newest-jax-2"; \
	newest=$$($(RUN) -c 'import jax; print(jax.__version__)'); \
	python=$$($(RUN) -c 'import sys; print(sys.version_info.minor)'); \
	for release in $(JAX_RELEASES); do \
	  jax=$${release%:*}; pythons=$${release#*:}; minor=$$(cut -d. -f1,2 <<< "$$jax"); \
	  if [[ "$$newest" == "$$minor".* ]]; then echo "== JAX $$jax: all tests run on $$newest"; \
	  elif (( python < $${pythons%-*} || python > $${pythons#*-} )); then \
	    echo "== JAX $$jax: skipped, it has wheels for Python 3.$${pythons/-/ to 3.}, and $(PYTHON) is Python 3.$$python"; \
	  else targets+=" test-jax-$$jax"; fi; \
	done; \
	echo "== Two at a time, each printed when it has ended:" $$targets; \
	rm -f build/test-*.log; \
	$(MAKE) --no-print-directory -j 2 --output-sync=target $$targets || { \
	  echo "== What failed, out of build/test-*.log:"; \
	  grep -E '$(FAILURE)' build/test-*.log | cut -c 1-400 | tail -n 40; exit 1; }

# Failed tests; and of a process that was ended: its last words, and the Python code that ran.
FAILURE := ^(FAILED|ERROR|F[0-9]{4} |LLVM ERROR|Fatal Python error|terminate called|  what)|^  File .*/tests/python/|corrupt

# $(call pytest,PYTHON,TESTS[,FLAGS]): FLAGS are passed to XLA unless this release rejects one of them, as it does at the
# start.
define pytest
	@mkdir -p build; \
	if [ -n '$(3)' ] && XLA_FLAGS='$(3)' $(1) -c 'import jax; jax.devices("cpu")' 2>/dev/null; then \
	  export XLA_FLAGS="$(3) $${XLA_FLAGS:-}"; fi; \
	jax=$$($(1) -c 'import jax; print(jax.__version__)'); echo "== Python tests: JAX $$jax"; \
	$(1) -m pytest -rs $(PYTEST) $(2) 2>&1 | tee build/$@.log; echo "== Python tests: JAX $$jax took $$SECONDS s"
endef

# Compiled programs are small and run once: XLA and LLVM need not optimise them. They do for the oldest release, which
# tests XLA's defaults.
NO_OPTIMISATION := JAX_DISABLE_MOST_OPTIMIZATIONS=1
OLDEST_JAX := $(firstword $(subst :, ,$(firstword $(JAX_RELEASES))))
NOT_OLDEST = $(filter-out $(OLDEST_JAX),$*)

# Without XLA's code generation through MLIR, and with programs compiled whole, not in parallel parts, a compilation takes
# half the time.
QUICK_XLA := --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1

test-newest-jax-%: $(VENV)/tests
	$(call pytest,$(NO_OPTIMISATION) $(RUN),$(TESTS_$*),$(QUICK_XLA))

# Half of the cases of each test on the oldest release, and a quarter on the others, round-robin: consecutive minor
# versions have different quarters.
MINOR_JAX = $(word 2,$(subst ., ,$*))

test-jax-%: $(VENVS_JAX)/%/tests
	$(call pytest,$(if $(NOT_OLDEST),$(NO_OPTIMISATION)) $(VENVS_JAX)/$*/bin/python,-m "not numerics" --share $(MINOR_JAX)/$(if $(NOT_OLDEST),4,2) $(JAX_TESTS:%=tests/python/test_%.py),$(if $(NOT_OLDEST),$(QUICK_XLA)))

# They only have to compile and link: without optimisation, for one architecture, apart from the builds of their presets.
# Side by side: each waits for nvcc, a single process, and for what it downloads.
test-cuda-builds: test-tools
	@echo "== The CUDA libraries build, with the headers of one release each, and link the right ones"
	@$(MAKE) --no-print-directory -j 2 --output-sync=target test-cuda13-build test-cuda12-build

test-cuda%-build: test-tools
	@cmake --preset cuda$* -B build/test-cuda$* -DCMAKE_BUILD_TYPE=None -DJAXMG_CUDA_ARCHITECTURES=90 --log-level=STATUS \
	  | grep -E 'CUDA|Libraries'
	@cmake --build build/test-cuda$* --target jaxmg_cuda$*
	@ctest --test-dir build/test-cuda$* -L build --no-tests=error --output-on-failure
	@echo "== The CUDA $* library is built"

# Small tests: emulated, they are many times slower. The last one, of which one case runs, calls BLAS.
AARCH64_TESTS := arena_test block_columns_test tile_columns_test trsm_test

aarch64: $(VENV_TOOLS)/cmake  ## Cross-compile for aarch64: the host library and tests that qemu runs; both CUDA libraries
	@sh cmake/require_tools.sh aarch64
	@cmake --preset aarch64 --log-level=WARNING
	@cmake --build --preset aarch64 --target jaxmg_host $(AARCH64_TESTS)
	@GTEST_FILTER='-*/0.*:*/2.*:*/3.*:*Unit*:Trtrs.*' ctest --preset aarch64 -R "^($$(tr ' ' '|' <<< "$(strip $(AARCH64_TESTS))"))$$"
	@for major in 12 13; do \
	  cmake --preset aarch64-cuda$$major --log-level=STATUS | grep -E 'CUDA|Libraries'; cmake --build --preset aarch64-cuda$$major; \
	  library=build/aarch64-cuda$$major/libjaxmg_cuda$$major.so; file -L $$library 2>/dev/null || ls -l $$library; \
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

external-links:  ## List the links of the built documentation to other sites
	@python3 docs/generate/links.py build/docs

docs: $(VENV)/examples  ## Make the documentation, build/docs/index.html; check its links, and run its code
	@$(VENV)/bin/pip install -q "$$(ls dist/*.whl)[docs]"
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build -q --strict -d build/docs; echo "== Documentation built in $$SECONDS s"
	$(call pytest,$(NO_OPTIMISATION) $(RUN),$(TESTS_DOCS),$(QUICK_XLA))

# ---- format and lint ---------------------------------------------------------------------------

format: $(VENV_TOOLS)/lint  ## Format all sources
	@$(TOOLS)/clang-format -i $(CXX_FILES)
	@$(TOOLS)/ruff check -q --fix-only .
	@$(TOOLS)/ruff format .

types: $(VENV_TOOLS)/lint  ## Check the types of the public API, as a program that uses it sees them
	@$(TOOLS)/mypy --config-file pyproject.toml

lint: types $(VENV_TOOLS)/lint test-tools  ## Check format and types, and run the linters
	@$(TOOLS)/clang-format --dry-run -Werror $(CXX_FILES)
	@$(TOOLS)/ruff format --check .
	@$(TOOLS)/ruff check .
	@for release in $(JAX_RELEASES); do \
	  grep -qF "| $${release%:*} |" docs/installation.md || { echo "docs/installation.md does not list JAX $${release%:*} as tested" >&2; exit 1; }; done
	@version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' python/jaxmg/_version.py); \
	grep -qx "version: $$version" CITATION.cff || { echo "CITATION.cff is not about version $$version" >&2; exit 1; }
	@# In a folder of its own: test-cpp may run beside it. One translation unit (cpp/CMakeLists.txt), with two scalar types,
	@# has all templates.
	@cmake --preset host -B build/lint --log-level=WARNING
	@$(TOOLS)/clang-tidy -p build/lint --quiet --checks=-bugprone-suspicious-include --header-filter="$(CURDIR)/(cpp|build/lint/include)/" \
	  build/lint/cpp/CMakeFiles/jaxmg_lint.dir/Unity/unity_0_cxx.cxx \
	  2> >(grep -v 'warnings\? generated\|^Suppressed\|^Use -header' >&2)

clean:  ## Remove everything that was built
	@rm -rf build dist .venv .venv-jax .venv-tools .pytest_cache .ruff_cache .hypothesis
	@find python tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
