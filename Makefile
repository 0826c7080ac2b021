# `make demo` and `make test` do their own set-up (scripts/setup says how).

PORT ?= 8000
ARGS ?=
# Most of the tests wait for servers: two at a time keep a core busy.
WORKERS ?= $(shell expr 2 '*' "$$(getconf _NPROCESSORS_ONLN)")

# uv is that of PATH, else the one that scripts/setup puts here.
export PATH := $(PATH):$(CURDIR)/.cache/bin
# uv.lock names the public index, and Python starts slowly without its byte code.
export MATRIX
unexport UV_DEFAULT_INDEX UV_INDEX_URL PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
# Trust the certificates that this machine trusts, where it has a store of them.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),true,false)

.DEFAULT_GOAL := help
.PHONY: help demo test matrix soak longtests bench bench-brokers bench-clients web screenshot lint release clean

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 26

demo: ## Generate a project with default answers and serve it (PORT=8000)
	@scripts/setup
	@.venv/bin/python scripts/demo.py $(PORT)

test: ## Prove every combination (ARGS="-k cookie-redis-html" for some)
	@scripts/setup tests
	.venv/bin/pytest -n $(WORKERS) --maxprocesses 16 --dist worksteal --durations 10 $(ARGS)

matrix: ## The same, with every combination where a covering set would do: for CI with time
	@$(MAKE) test MATRIX=full

soak: ## Run a project under load and faults, and check what clients saw (ARGS="--seconds 60")
	@scripts/setup
	.venv/bin/python -m scripts.soak $(ARGS)

longtests: ## Run the tests of generated projects that take minutes (ARGS="-k shutdown")
	@scripts/setup
	.venv/bin/python -m scripts.long_tests $(ARGS)

bench: ## Measure the generated application beside its peers (ARGS="--quick" or "--help")
	@scripts/setup
	uv run --quiet --locked --project bench bench/run.py $(ARGS)

bench-brokers: ## Measure the generated application with each broker (ARGS="--publish")
	@scripts/setup tests
	uv run --quiet --locked --project bench bench/brokers.py $(ARGS)

bench-clients: ## Measure the pages of the clients (ARGS="--rounds 5")
	@scripts/setup tests
	@.venv/bin/python -m scripts.clients $(ARGS)

web: ## Compile the html client from template/web/src
	@scripts/setup node
	.venv/bin/python -m scripts.web

screenshot: ## Take the pictures in docs/ anew (ARGS="react" for those of a client)
	@scripts/setup tests
	.venv/bin/python -m scripts.screenshot $(ARGS)

lint: ## Check this repository's own Python and workflows
	@scripts/setup
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy

release: ## Tag a release (VERSION=0.2.0), if changelog, version and migrations agree
	@scripts/setup
	@.venv/bin/python -m scripts.release "$(VERSION)"

clean: ## Remove what set-up and the tests made
	rm -rf .cache .venv .mypy_cache .pytest_cache .ruff_cache bench/.cache bench/.venv
	find tests scripts hooks -name __pycache__ -prune -exec rm -rf {} +
