# `make demo` and `make test` do their own set-up (scripts/setup says how).

PORT ?= 8000
ARGS ?=

# uv is that of PATH, else the one that scripts/setup puts here.
export PATH := $(PATH):$(CURDIR)/.cache/bin
# uv.lock names the public index, and Python starts slowly without its byte code.
unexport UV_DEFAULT_INDEX UV_INDEX_URL PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help demo test screenshot lint clean

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## Generate a project with default answers and serve it (PORT=8000)
	@scripts/setup
	@.venv/bin/python scripts/demo.py $(PORT)

test: ## Prove every combination (ARGS="-k cookie-redis-html" for some)
	@scripts/setup browser
	.venv/bin/pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

screenshot: ## Take docs/chat.png anew
	@scripts/setup browser
	.venv/bin/python -m scripts.screenshot

lint: ## Check this repository's own Python and workflows
	@scripts/setup
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy

clean: ## Remove what set-up and the tests made
	rm -rf .cache .venv .mypy_cache .pytest_cache .ruff_cache
	find tests scripts hooks -name __pycache__ -prune -exec rm -rf {} +
