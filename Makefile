# Everything a developer or a CI machine runs. `make help` lists the targets.
SHELL := /bin/bash
BIN := $(CURDIR)/node_modules/.bin
export PATH := $(BIN):$(PATH)
STAMP := node_modules/.installed

.DEFAULT_GOAL := help
.PHONY: help tools deps build check types lint format deadcode test unit e2e demo bench clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools:
	@command -v node >/dev/null || { echo "make: Node.js is missing: install Node 20 or newer with npm 11 (the exact Node to run with is then fetched by npm)" >&2; exit 2; }
	@command -v npm >/dev/null || { echo "make: npm is missing: install npm 11" >&2; exit 2; }

$(STAMP): package.json package-lock.json | tools
	@npm ci --no-audit --no-fund --loglevel=error && touch $@

deps: $(STAMP)

build: deps ## bundle the controller into dist/nodeport-manager.js
	@node scripts/build.ts

types: deps
	tsc --noEmit
lint: deps
	oxlint --type-aware --deny-warnings
format: deps ## write the formatting
	biome format --write
deadcode: deps
	knip

check: deps ## types, lint and import directions, formatting, dead code
	tsc --noEmit
	oxlint --type-aware --deny-warnings
	biome format
	knip

test: check build ## every test: unit, and end to end on a real kube-apiserver
	vitest run

unit: deps ## the tests that need no control plane
	vitest run --project unit

e2e: build ## the tests on a real kube-apiserver
	vitest run --project e2e

demo: build ## the main job, on a control plane of its own
	@node demo/demo.ts

bench: build ## the budgets, as ratios within one run; writes bench/RESULTS.md
	@node bench/run.ts

clean: ## remove what can be rebuilt
	rm -rf dist coverage node_modules
