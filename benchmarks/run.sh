#!/usr/bin/env bash
# Measure the hot path of the lab in LAB_DIR (default .lab), which must be running. Arguments go to the benchmark.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHONPATH=lab:. exec .venv/bin/python -m benchmarks.hot_path --lab-dir "${LAB_DIR:-.lab}" "$@"
