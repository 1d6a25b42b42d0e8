# Needs GNU make, Python >= 3.11 and, the first time, a C++ compiler. `make` alone lists the targets.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ENVIRONMENT = $(VENV)/jupyter-ollama-$(1)
DEMO := $(call ENVIRONMENT,demo)
TEST := $(call ENVIRONMENT,test)
LINT := $(call ENVIRONMENT,lint)
DOCS := $(call ENVIRONMENT,docs)
SOURCES := .
LAB := jupyter_ollama/labextension/package.json
CHECK_YAML := $(BIN)/check-jsonschema --quiet --builtin-schema
IN_LAB := cd labextension && PATH="$(abspath $(BIN)):$$PATH" jlpm

.DEFAULT_GOAL := help
.PHONY: help env lock labextension demo hub-demo docs unit coverage test bounds conformance lint format bench ratchet release \
  starter-gemma3 clean

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | \
	  while IFS="$$(printf '\t')" read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done
	@echo
	@echo 'Settings: PYTHON=$(PYTHON)  VENV=$(VENV)  ARGS=  (more arguments for pytest and the benchmarks)'
	@echo 'With GPU=vulkan, cuda, rocm or metal, env and demo add support for such a GPU.'
	@echo 'With CMAKE_ARGS set, for instance CMAKE_ARGS=-DGGML_CUDA=on, llama.cpp is compiled that way.'

env: $(DEMO) $(TEST) $(LINT) $(DOCS) ## create .venv with everything in it (GPU=vulkan: and a backend for it)

# Each target installs what it needs into .venv; the first one may compile llama.cpp.
$(DEMO) $(TEST) $(LINT) $(DOCS): $(call ENVIRONMENT,%): \
  requirements/%.txt requirements/demo.txt pyproject.toml magics/pyproject.toml $(wildcard tools/*)
	@$(PYTHON) tools/install_environment.py --venv $(VENV) $*

# Vulkan and CUDA are added to llama.cpp, ROCm is compiled into it, and Metal always is.
ifneq ($(filter vulkan cuda,$(GPU)),)
.PHONY: gpu
env demo: gpu
gpu: $(DEMO)
	$(BIN)/jupyter ollama install-backend $(GPU)
else ifeq ($(GPU),rocm)
CMAKE_ARGS += -DGGML_HIP=on
else ifeq ($(GPU),metal)
ifneq ($(shell uname -s),Darwin)
$(error GPU=metal is for macOS, where llama.cpp has it without being asked)
endif
else ifneq ($(GPU),)
$(error GPU=$(GPU) is none of vulkan, cuda, rocm and metal)
endif

# The script compares CMAKE_ARGS with what is installed; without them any build will do.
ifneq ($(strip $(CMAKE_ARGS)),)
export CMAKE_ARGS
.PHONY: $(DEMO) $(TEST) $(LINT) $(DOCS)
endif

lock: $(DEMO) ## choose the versions of .venv anew (ARGS=--upgrade: the newest)
	$(BIN)/python tools/lock.py $(ARGS)

labextension: $(LAB) ## build the extension of JupyterLab; needs Node.js

$(LAB): $(DEMO) $(wildcard $(addprefix labextension/,*.json *.cjs yarn.lock schema/* style/* src/* src/*/* src/*/*/*))
	$(IN_LAB) install --immutable
	@# Files of an earlier build would be served and packed, too.
	rm -rf jupyter_ollama/labextension
	$(IN_LAB) build:prod

demo: $(DEMO) ## install two small models and run examples/quickstart.ipynb, streaming to the terminal
	$(BIN)/python examples/starter_models.py smollm2 all-minilm
	$(BIN)/python examples/run_notebook.py examples/quickstart.ipynb
	@echo
	@echo 'To run it yourself in JupyterLab:'
	@echo '  $(BIN)/jupyter lab examples/quickstart.ipynb'

hub-demo: $(TEST) $(LAB) ## run a JupyterHub whose users share the models of this machine; needs Node.js
	$(BIN)/python examples/starter_models.py smollm2
	$(BIN)/python tools/hub_demo.py $(ARGS)

docs: $(DOCS) ## build the documentation into docs/build
	$(BIN)/python -m sphinx --fail-on-warning --quiet docs docs/build
	@echo 'Open docs/build/index.html'

unit: $(TEST) ## run the tests that load no model and need no browser, Hub or registry (4 minutes)
	$(BIN)/python -m pytest -m unit $(ARGS)

# Measuring takes half the time again, which some tests of limits and kills do not allow.
coverage: $(TEST) ## run most unit tests and fail if they cover less of their packages than before
	$(BIN)/python -m pytest -m unit -k 'not hostile and not kills' --cov --cov-report=term $(ARGS)

test: $(TEST) $(LAB) ## run all tests (ARGS='-k store' picks some)
	@for program in chromium docker-registry glslc haproxy munge npm prometheus redis-server sbatch; do command -v $$program >/dev/null || \
	  { echo "Error: the tests need $$program: see CONTRIBUTING.md" >&2; exit 1; }; done
	$(IN_LAB) test
	$(BIN)/jupyter ollama install-backend vulkan --folder $(VENV)/vulkan
	@# Two at a time, as many tests wait for processes. Tests of real processes meet real races: one
	@# that fails is run again, alone, and must pass.
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS) || { [ $$? -eq 1 ] && \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures=none --exitfirst $(ARGS); }

bounds: $(DEMO) ## test with the oldest and the newest packages that the distributions accept
	$(BIN)/python tools/bounds.py $(ARGS)

conformance: $(TEST) ## run real clients (ollama, openai, anthropic, LangChain…) against a server; needs Node.js
	$(BIN)/python tests/conformance/run.py $(ARGS)

lint: $(LINT) $(LAB) ## check style, types, layers of imports and the files for GitHub
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(CHECK_YAML) vendor.github-workflows .github/workflows/*.yml
	$(CHECK_YAML) custom.github-workflows-require-timeout .github/workflows/*.yml
	$(CHECK_YAML) vendor.dependabot .github/dependabot.yml
	$(CHECK_YAML) vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(CHECK_YAML) vendor.readthedocs .readthedocs.yaml
	$(IN_LAB) typecheck
	$(IN_LAB) lint

format: $(LINT) ## put imports and lines in order
	$(BIN)/ruff check --fix --select I $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(IN_LAB) format

bench: $(TEST) ## compare with llama-server, llama-cpp-python and a bare loop (half an hour)
	$(BIN)/python benchmarks/run.py $(ARGS)

ratchet: $(TEST) ## run the benchmarks and fail where a ratio is below benchmarks/ratchet.json
	$(BIN)/python benchmarks/run.py --without llama-cpp-python --ratchet $(ARGS)

release: $(DEMO) $(LAB) ## build and check the distributions of a release (ARGS=--rehearse at any time)
	$(BIN)/pip install -q -e '.[release]'
	$(BIN)/python tools/release.py $(ARGS)

starter-gemma3: $(DEMO) ## install Gemma 3 270M (a base model) for what its big vocabulary shows
	$(BIN)/python examples/starter_models.py gemma3

clean: ## remove build products and caches, not .venv and not the models
	rm -rf labextension/lib jupyter_ollama/labextension
	rm -rf build dist docs/build .pytest_cache .ruff_cache .mypy_cache magics/dist
	find . -name __pycache__ -not -path './$(VENV)/*' -not -path './.venv/*' -prune -exec rm -rf {} +
