# Everything a developer or a CI machine runs. `make help` lists the targets.
SHELL := /bin/bash
BIN := $(CURDIR)/node_modules/.bin
export PATH := $(BIN):$(PATH)
STAMP := node_modules/.installed

.DEFAULT_GOAL := help
.PHONY: help tools deps build check types lint format deadcode docs test test-long mutants unit e2e e2e-oldest demo story bench soak licences sbom audit clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

NODE_VERSION = $(shell node -p 'process.versions.node.split(".")[0]' 2>/dev/null)
NPM_VERSION = $(shell npm --version 2>/dev/null | cut -d. -f1)

tools:
	@[ "$(NODE_VERSION)" -ge 20 ] 2>/dev/null || { echo "make: Node.js 20 or newer is missing (found: $(or $(NODE_VERSION),none)); the exact version to run with is then fetched by npm" >&2; exit 2; }
	@[ "$(NPM_VERSION)" -ge 11 ] 2>/dev/null || { echo "make: npm 11 or newer is missing (found: $(or $(NPM_VERSION),none)): npm install --global npm@11" >&2; exit 2; }

# Not npm ci: it refuses a lockfile that leaves out what optional packages need on other systems.
# What the lockfile has, npm install takes in the same version and with the same hash.
$(STAMP): package.json package-lock.json | tools
	@npm install --no-save --no-audit --no-fund --loglevel=error && touch $@

deps: $(STAMP)

build: deps ## bundle the controller into dist/nodeport-manager.js, with the licences of what is in it
	@node scripts/build.ts
	@node scripts/supply.ts licences

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

test-long: build ## properties and faults over 10,000 histories each, 200 of real processes, kills around every write, 5,000 Services at once; RUNS=, SEED=
	RUNS=$(or $(RUNS),10000) vitest run --project unit property simulation/faults
	SEED=$(or $(SEED),0) RUNS=$(or $(RUNS),200) vitest run --project e2e e2e/faults/campaign
	AT=$(or $(AT),all) vitest run --project e2e e2e/faults/crashes
	SERVICES=5000 vitest run --project e2e e2e/overload/burst
	RUNS=10 vitest run --project e2e e2e/leader/takeover
	EVERY=1 vitest run --project unit test/simulation/leaders

mutants: deps ## deliberate defects, each of which named tests must notice
	@node scripts/mutants.ts

e2e: build ## the tests on a real kube-apiserver
	vitest run --project e2e

e2e-oldest: build ## the tests of the policies on the oldest Kubernetes that has them
	POLICY_KUBERNETES=v1.30.14 vitest run --project e2e e2e/policy e2e/security/confined

docs: deps ## write what is generated: pages of docs/, rules and dashboard of config/
	@node scripts/docs.ts
	@node scripts/monitoring.ts

story: build ## an hour of three teams in two minutes, seen by a real Prometheus; draws docs/images
	@node demo/story.ts

demo: build ## three teams on a real control plane; stays up on a terminal
	@node demo/demo.ts

bench: build ## the budgets, as ratios within one run; writes bench/RESULTS.md
	@node bench/run.ts

soak: build ## half an hour of churn and faults: nothing may grow (SOAK_MINUTES=, SEED=); figures in soak/out
	SOAK_MINUTES=$(or $(SOAK_MINUTES),30) vitest run --config soak/vitest.config.ts

licences: deps ## dist/THIRD_PARTY_NOTICES.txt; fails on a licence that is not on the list
	@node scripts/supply.ts licences

sbom: deps ## dist/sbom.cdx.json: every package with version, licence and hash (CycloneDX)
	@node scripts/supply.ts sbom

audit: deps ## known vulnerabilities; fails when there are any, and when the registry does not tell
	@node scripts/supply.ts audit

clean: ## remove what can be rebuilt
	rm -rf dist coverage node_modules
