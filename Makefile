# Everything runs inside .venv. The first target that needs it makes it; a later one finds the stamp and installs nothing,
# until a pin changes.
BIN := .venv/bin
PINS := pyproject.toml infra/constraints.txt infra/install.sh

.DEFAULT_GOAL := help
.PHONY: help demo test soak check bench format

help:  ## List what can be made
	@sed -n 's/^\([a-z]*\):.*  ## /  make \1\t/p' $(MAKEFILE_LIST)

demo: .venv/.installed  ## Fine-tune with AMC on the embedded scenes, compare, and write a page with heatmaps
	$(BIN)/amc run experiments/scenes/quickstart.yaml

test: .venv/.installed-dev  ## Run the tests on every core: the quick ones, then those that start Ray, MLflow or a browser
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "not integration"
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m "integration and not soak"

soak: .venv/.installed-dev  ## Run the long tests: nodes lost and gained, a hang, searches that stop trials, two commands at once
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m soak

check: .venv/.installed-dev  ## Lint, format, types and the rules of the house; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/pytest --quiet tests/test_house.py

bench: .venv/.installed  ## Measure on this machine, each against a plain reference in the same run; with nothing else running
	$(BIN)/amc bench train
	$(BIN)/amc bench evaluate
	$(BIN)/amc bench data
	$(BIN)/amc bench scale
	$(BIN)/amc bench search
	$(BIN)/amc bench tracking

format: .venv/.installed-dev  ## Mend what can be mended by a machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/.installed: $(PINS)
	infra/install.sh
	@touch $@

.venv/.installed-dev: .venv/.installed
	infra/install.sh --group dev
	@touch $@
