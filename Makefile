# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Every target sets up what it needs: a virtual environment, Debian packages, the image of the test
# hosts. What takes long is kept in $INFEROPS_CACHE (default ~/.cache/inferops-ascend).

DEV := tests/tools/dev
RUN := $(DEV) run
# Tests wait more than they compute: three at a time keep two cores busy. A worker takes a file at a
# time, and has test hosts of its own.
WORKERS ?= 3
PYTEST := $(RUN) pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test unit lint types sanity molecule integration test-real test-long test-cluster campaign benchmark docs release matrix clean

help: ## Show what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: hosts ## Serve five models on two simulated Ascend hosts behind one address, and upgrade them
	@$(RUN) tests/demo/demo up

demo-down: ## Stop the hosts of the demo
	@$(RUN) tests/demo/demo down

# REAL=tests/real adds what `test-real` runs, which brings 4 GB.
test: hosts browser haproxy ## Run everything, style, types, sanity and molecule included
	@$(PYTEST) -m 'not long' --durations=40 tests/benchmark tests/campaign tests/checks tests/integration tests/unit $(REAL)

unit: haproxy ## Run the quick tests, which need no test hosts
	@$(PYTEST) tests/unit

lint: ## Check the style of Python, YAML, roles and the changelog
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) yamllint --strict .
	@$(RUN) tests/tools/lint-collection
	@$(RUN) antsibull-changelog lint

types: ## Check types of the logic, strictly
	@$(RUN) tests/tools/types

sanity: ## Run ansible-test sanity on a copy of the collection
	@$(RUN) tests/tools/sanity

molecule: hosts ## Deploy on real systemd hosts: check, converge, idempotence, side effects, verify
	@$(RUN) tests/tools/molecule

integration: hosts browser ## Run the tests on real hosts, and in a real browser, that pytest drives
	@$(PYTEST) --durations=20 tests/integration

test-real: hosts ## Try the real vLLM for CPUs on a real host, and the real argument parsers
	@$(PYTEST) --durations=20 tests/real

test-long: hosts ## Try the longer cases that `test` leaves out
	@$(PYTEST) -m long --durations=20 tests/integration tests/real

test-cluster: hosts ## Lose parts of the real vLLM and the real Ray over two hosts, in every way
	@$(RUN) pytest -q --durations=20 tests/cluster

# CAMPAIGN_SEED=N repeats one. After 19 minutes it is interrupted as by Ctrl-C, and prints its table. Without
# --foreground pytest gets the signal twice, and does not.
campaign: hosts ## Kill runs anywhere and restart the host, fill disks, race runs, damage inputs; 20 minutes
	@CAMPAIGN=all $(RUN) timeout --foreground --signal=INT --kill-after=60 1140 \
	  pytest -q -n $(WORKERS) --dist worksteal --durations=10 tests/campaign

benchmark: hosts ## Print ratios of speed; nothing is asserted
	@$(RUN) tests/benchmark/run

docs: ## Build the site of all guides, playbooks, roles and plugins as HTML
	@$(RUN) tests/tools/docsite

release: ## Build the collection, check it as Galaxy does, print what is uploaded
	@$(RUN) tests/tools/release

matrix: ## Try every controller (ansible-core) and host Python that this machine has
	@$(RUN) tests/tools/matrix

clean: ## Remove all test hosts and what was cached for this project
	@$(RUN) tests/tools/clean

.PHONY: hosts browser haproxy
hosts:
	@$(DEV) hosts

browser:
	@$(DEV) browser

haproxy:
	@$(DEV) haproxy
