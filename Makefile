# One command for each task; `make help` prints this list from the `##` remarks below.
# Further arguments: make test ARGS="-k webhook", make run ARGS="--help"; another Python: make test PYTHON=python3.12

SHELL := /bin/bash
.DEFAULT_GOAL := help
bin := .venv/bin
ARGS ?=
# Tests start hundreds of processes; where bytecode is not kept, each compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test test-fast test-long bench lint format docs build clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## Set up what the demonstration needs, and watch real files arrive (under a minute)
	@scripts/setup.sh demo
	@exec $(bin)/conveyor demo $(ARGS)

test: ## Lint, types, import rules and every test but the campaigns
	@scripts/debian.sh
	@scripts/setup.sh dev
	@scripts/npm.sh
	@exec scripts/test.sh $(ARGS)

test-fast: ## Unit tests alone, without servers: for each save
	@scripts/setup.sh dev
	@exec $(bin)/pytest tests/unit -q -n auto -m "not server and not long and not live" $(ARGS)

test-long: ## The campaigns: crashes, races and large files at full size
	@scripts/debian.sh long
	@scripts/setup.sh dev
	@scripts/npm.sh
	@exec $(bin)/pytest -m "long and not live" $(ARGS)

bench: ## The benchmarks, compared with their peers; ARGS names some of them
	@scripts/setup.sh dev
	@exec $(bin)/python -m benchmarks $(ARGS)

lint: ## Style, types and import rules
	@scripts/setup.sh dev
	@exec scripts/lint.sh

format: ## Rewrite the code in the project's style
	@scripts/setup.sh dev
	@$(bin)/ruff check --fix --quiet . ; $(bin)/ruff format .

docs: ## Write the generated pages anew, then run every snippet and follow every link
	@scripts/setup.sh dev
	@$(bin)/python -m conveyor.config.docs docs/configuration.md
	@$(bin)/python scripts/contract_page.py docs/contract.md
	@exec $(bin)/pytest tests/docs -q $(ARGS)

build: ## Wheel and source distribution in dist/
	@scripts/setup.sh dev
	@rm -rf dist
	@exec $(bin)/python -m build --no-isolation .

clean: ## Remove build results and caches; the set-up in .venv stays
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* htmlcov
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
