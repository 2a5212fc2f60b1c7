#!/usr/bin/env bash
# Run the benchmarks named in BENCH, one after another; all of them unless told:
#   load       how fast k2_load sends without being late (k6 is compared with where it is on PATH)
#   latency    what k2_latency costs the database, beside one naive query
#   audit      what an audit of ten million records costs
#   recovery   whether bounds of an outage hold the truth, beside probe-act-pause-probe, and what sampling costs
#   hot_path   the lab in LAB_DIR (default .lab), which must be running; the others bring what they need
# Arguments go to each, so name one of them in BENCH when there are some.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=lab:.:collections:tests/tools
for name in ${BENCH:-load latency audit recovery hot_path}; do
  case "$name" in
    load | latency | audit | recovery) options=() ;;
    hot_path) options=(--lab-dir "${LAB_DIR:-.lab}") ;;
    *) echo "unknown benchmark '$name'; known: load latency audit recovery hot_path" >&2; exit 2 ;;
  esac
  echo "== $name"
  .venv/bin/python -m "benchmarks.$name" "${options[@]}" "$@"
done
