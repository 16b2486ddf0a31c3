# Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= python3
BIN := .venv/bin
# what running efface needs, and what its development and its pages need beside that
RUNTIME := .venv/.runtime
TOOLS := .venv/.tools
PAGES := .venv/.pages

.DEFAULT_GOAL := help
# one environment a library, since no one environment fits all of them
EXTRAS := transformers peft timm lightning skorch tables graphs mlflow
.PHONY: help .venv demo test coverage test-extras $(EXTRAS:%=test-%) lint docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[.a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: $(TOOLS) ## create or refresh the environment, development tools included

$(RUNTIME): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(TOOLS): $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(RUNTIME) ## unlearn and audit on a small real data set; writes demo-run/
	$(BIN)/efface demo --out demo-run --force || test $$? -eq 3  # 3: done, but the audit is not certain

# tests/conftest.py puts the files that take longest first
TEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(TOOLS) ## run the tests
	$(TEST)

coverage: $(TOOLS) ## run the tests, slower, and show which lines they reach
	$(TEST) --cov=efface --cov-report=term

.PRECIOUS: .venv-extras/%/.ready
.venv-extras/%/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-extras/$*
	grep -v '^pyarrow==' constraints.txt > .venv-extras/$*/constraints.txt  # libraries differ in which they take
	.venv-extras/$*/bin/python -m pip install --quiet --disable-pip-version-check \
		-c .venv-extras/$*/constraints.txt -e '.[$*]' pytest
	@touch $@

$(EXTRAS:%=test-%): test-%: .venv-extras/%/.ready
	.venv-extras/$*/bin/python -m pytest -W default tests_extras/test_$*.py

test-extras: $(EXTRAS:%=test-%) ## run the tests of other libraries, each in an environment of its own

lint: $(TOOLS) ## ruff, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(PAGES): $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

docs: $(PAGES) ## build the documentation site into site/; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

clean: ## remove the environment, caches and demo-run/
	rm -rf .venv .venv-extras demo-run site build dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
