#!/usr/bin/env bash
# What `make test` runs: every stage, also after one has failed. Name stages to run only those.
#   tests/run-all.sh [lint] [unit] [sanity] [integration] [molecule] [phase7]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv="${K2_VENV:-$PWD/.venv}"
export PATH="$venv/bin:$PATH" ANSIBLE_CONFIG="$PWD/ansible.cfg" LC_ALL=C.UTF-8
exec "$venv/bin/python" tests/tools/run_all.py "$@"
