# Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= python3
BIN := .venv/bin
# what running efface needs, and what its development and its pages need beside that
RUNTIME := .venv/.runtime
TOOLS := .venv/.tools
PAGES := .venv/.pages

.DEFAULT_GOAL := help
# libraries that people train with; their versions agree, so they share an environment, apart from the core's
EXTRAS := transformers peft timm lightning skorch tables graphs mlflow
LIBRARIES := .venv-extras
COMMA := ,
EMPTY :=
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

$(LIBRARIES)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(LIBRARIES)
	grep -v '^pyarrow==' constraints.txt > $(LIBRARIES)/constraints.txt  # MLflow takes an older one
	$(LIBRARIES)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
		-c $(LIBRARIES)/constraints.txt -e '.[$(subst $(EMPTY) $(EMPTY),$(COMMA),$(EXTRAS))]' pytest
	@touch $@

$(EXTRAS:%=test-%): test-%: $(LIBRARIES)/.ready
	$(LIBRARIES)/bin/python -m pytest -W default tests_extras/test_$*.py $(wildcard tests_extras/test_$*_*.py)

test-extras: $(LIBRARIES)/.ready ## run the tests with other libraries, in an environment of their own
	@failed=; for name in $(EXTRAS); do \
		echo "library: $$name"; \
		$(MAKE) --no-print-directory test-$$name || failed="$$failed $$name"; \
	done; \
	if test -n "$$failed"; then echo "libraries whose tests failed:$$failed"; exit 1; fi

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
