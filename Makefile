# Everything a user or a build server calls. `make` alone explains itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Found before .venv/bin goes to the head of PATH.
PYTHON := $(or $(PYTHON),$(shell command -v python3))
INVENTORY ?= inventory/lab
# QUICK=1 shortens measurements; verdicts say so.
QUICK ?=
# How often crash-test kills each service, and how often it stops each in order.
ROUNDS ?= 50
# What bench measures, one after another; only hot_path needs a lab.
BENCH ?= load latency audit recovery resources undo hot_path
# Extra arguments for ansible-playbook, e.g. ARGS='--tags preflight'.
ARGS ?=

VENV := $(CURDIR)/.venv
export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Ansible refuses to start under a locale that is not UTF-8.
export LC_ALL := C.UTF-8

# What could not be had the last time is attempted again at once when set-up itself is what was asked for; otherwise
# only when that does not cost every other command minutes.
PROVISION := PYTHONPATH=lab $(PYTHON) -m k2lab.provision
RETRY := $(if $(filter setup setup-dev setup-docker,$(MAKECMDGOALS)),--retry)
# The lab in containers needs an engine and Compose.
DOCKER := $(if $(filter setup-docker lab-docker%,$(MAKECMDGOALS))$(filter lab_docker,$(notdir $(patsubst %/,%,$(INVENTORY)))),--docker)
# Against another platform nobody needs a Kafka, a MinIO or minutes of compiling.
NO_LAB := $(if $(filter-out lab%,$(notdir $(patsubst %/,%,$(INVENTORY)))),--no-lab)
PLAY = ansible-playbook -i $(INVENTORY) $(if $(filter-out 0 no false,$(QUICK)),-e k2_quick=true) $(ARGS)

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  Settings: INVENTORY=inventory/lab  QUICK=1  ARGS='--tags preflight'  PYTHON=python3  K2_CACHE_DIR=~/.cache/k2-hardening"

.PHONY: setup
setup: ## Install what a run needs: .venv, the broker's jars, the lab's other programs
	@$(PROVISION) --for run $(RETRY) $(NO_LAB) $(DOCKER)

.PHONY: setup-dev
setup-dev: ## The same, with what checks and tests need
	@$(PROVISION) --for dev $(RETRY)

.PHONY: phase7
phase7: setup ## Run every step against INVENTORY and render the report (QUICK=1: shortened)
	@$(PLAY) playbooks/phase7.yml

.PHONY: test
test: setup-dev ## Run every stage of tests, with the time of each
	@tests/run-all.sh

.PHONY: lint
lint: setup-dev ## Check style, types, layers and documents
	@tests/lint.sh

# A lab of its own for $(1), on ports that are free, brought down again however the command ends: neither a user's lab
# nor its data are touched.
define in_own_lab
	@own="-e k2_lab_dir=$(CURDIR)/.lab-$(1) -e k2_lab_base_port=$$($(VENV)/bin/python tests/tools/ports.py)"; \
	trap "$(PLAY) playbooks/lab_down.yml $$own -e k2_lab_purge=true" EXIT; \
	$(PLAY) playbooks/lab_up.yml $$own; \
	$(2)
endef

.PHONY: bench
bench: setup-dev ## Measure load, latency queries, ledger, recovery, undo, lab (BENCH=load: one of load latency audit recovery resources undo hot_path)
	@if [ -n "$(filter-out hot_path,$(BENCH))" ]; then BENCH="$(filter-out hot_path,$(BENCH))" benchmarks/run.sh; fi
	$(if $(filter hot_path,$(BENCH)),$(call in_own_lab,bench,BENCH=hot_path LAB_DIR=.lab-bench benchmarks/run.sh))

.PHONY: crash-test
crash-test: setup-dev ## Kill and stop each service of the hot path ROUNDS times under load; compare what was sent with what is stored
	$(call in_own_lab,crash,PYTHONPATH=lab $(VENV)/bin/python -m k2lab.crash_test --lab-dir .lab-crash --rounds $(ROUNDS))

.PHONY: lab-up
lab-up: setup ## Start the lab; ends when trades are in the candles
	@$(PLAY) playbooks/lab_up.yml

.PHONY: lab-down
lab-down: setup ## Stop the lab, keep its data
	@$(PLAY) playbooks/lab_down.yml

.PHONY: lab-status
lab-status: setup ## Show each service: state, pid, uptime, CPU, memory, port, probe
	@bin/k2h status -i $(INVENTORY)

.PHONY: setup-docker
setup-docker: setup ## The same as setup, with a Docker Engine and Compose

.PHONY: lab-docker
lab-docker: INVENTORY := inventory/lab_docker
lab-docker: setup ## Start the lab in containers, on a running Docker Engine or one of its own
	@$(PLAY) playbooks/lab_up.yml

.PHONY: lab-docker-down
lab-docker-down: INVENTORY := inventory/lab_docker
lab-docker-down: setup ## Remove its containers, network and engine, keep its data
	@$(PLAY) playbooks/lab_down.yml

.PHONY: requirements
requirements: setup-dev ## Pin requirements/*.in, lab/go/*/go.mod and the checksums of lab/kafka/pom.xml anew
	@for name in run dev; do \
	  (cd requirements && uv pip compile -q --no-header --no-emit-index-url --python-version 3.11 --upgrade "$$name.in" -o "$$name.txt"); \
	done
	@cd requirements && uv pip compile -q --no-header --no-emit-index-url --python-version 3.9 --universal --upgrade target.in -o target.txt
	@cd requirements && uv pip compile -q --no-header --no-emit-index-url --python-version 3.11 --upgrade --generate-hashes go.in -o go.txt
	@$(PROVISION) --write-kafka-manifest
	@$(PROVISION) --write-go-modules

.PHONY: clean
clean: ## Stop this clone's labs and remove what runs, tests and set-up made (not the shared cache)
	@for lab in .lab*; do \
	  [ -e "$$lab/run" ] || continue; \
	  [ -x $(VENV)/bin/python ] || { echo "stopping $$lab needs .venv: run make setup, then make clean again"; exit 1; }; \
	  PYTHONPATH=lab $(VENV)/bin/python -m k2lab.control down --lab-dir "$$lab"; \
	done
	rm -rf .lab* artifacts build .venv .cache .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/output
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

.PHONY: clean-cache
clean-cache: ## Remove the cache that all clones of this user share
	rm -rf -- "$$(PYTHONPATH=lab $(PYTHON) -c 'import os; from k2lab.provision.paths import shared_cache; print(shared_cache(os.environ))')"
