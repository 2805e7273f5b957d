# Fresh machine (Python 3.11+, pip, make): `make quickstart` or `make test` do all the set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: venv quickstart test lint bench clean

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[train,ray,consortium,web,dev]"
	touch $(STAMP)

quickstart: venv
	$(BIN)/pharmonia compare kiba-sample --partners 4 --partition target --out pharmonia-out/quickstart

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n 2 --dist loadfile

bench: venv
	$(BIN)/python benchmarks/dti_throughput.py --quick
	$(BIN)/python benchmarks/metrics.py --quick
	$(BIN)/python benchmarks/federated_round.py --quick
	$(BIN)/python benchmarks/secagg.py --quick
	$(BIN)/python benchmarks/ledger.py --quick
	$(BIN)/python benchmarks/quickstart.py --quick
	$(BIN)/python benchmarks/qsar_scale.py --quick
	$(BIN)/python benchmarks/engine_rounds.py --quick
	$(BIN)/python benchmarks/consortium_scale.py --quick

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
