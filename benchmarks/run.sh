#!/usr/bin/env bash
# Run the benchmarks named in BENCH, one after another; all of them unless told:
#   load       how fast k2_load sends without being late (k6 is compared with where it is on PATH)
#   latency    what k2_latency costs the database, beside one naive query
#   audit      what an audit of ten million records costs
#   recovery   whether bounds of an outage hold the truth, beside probe-act-pause-probe, and what sampling costs
#   resources  what sampling 15 services each 5 s costs, beside an engine's statistics and psutil
#   undo       a run killed with SIGKILL at K2_UNDO_ROUNDS (100) random moments: is all put back, every time?
#   hot_path   the lab in LAB_DIR (default .lab), which must be running; the others bring what they need
# Arguments go to each, so name one of them in BENCH when there are some.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=lab:.:collections:tests/tools
for name in ${BENCH:-load latency audit recovery resources undo hot_path}; do
  case "$name" in
    load | latency | audit | recovery | resources) options=() ;;
    hot_path) options=(--lab-dir "${LAB_DIR:-.lab}") ;;
    undo) ;;
    *) echo "unknown benchmark '$name'; known: load latency audit recovery resources undo hot_path" >&2; exit 2 ;;
  esac
  echo "== $name"
  if [ "$name" = undo ]; then
    # The test itself, only longer: it fails at the first moment from which something is left.
    K2_UNDO_ROUNDS="${K2_UNDO_ROUNDS:-100}" .venv/bin/python -m pytest -q --durations=1 \
      tests/integration/test_failure_measured.py -k killed_at_any_moment "$@"
    continue
  fi
  .venv/bin/python -m "benchmarks.$name" "${options[@]}" "$@"
done
