#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hold a finished run against the contract: ``check_results.py RUN_DIR [VERDICT]``, the verdict being PASS unless told.

Checks ``results.json`` against ``tests/contract/results.schema.json``, and that what it says agrees with itself and
with the files beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = Path(__file__).resolve().parents[1] / "contract" / "results.schema.json"
REPORT = ("report/index.html", "report/report.md", "report/junit.xml")


def verdict_of(gates: list[dict[str, Any]]) -> str:
    """The rule of the contract, over blocking gates."""
    verdicts = {gate["verdict"] for gate in gates if gate["blocking"]}
    if "FAIL" in verdicts:
        return "FAIL"
    return "INCONCLUSIVE" if verdicts & {"INCONCLUSIVE", "NOT_RUN"} or "PASS" not in verdicts else "PASS"


def problems(run: Path, expected: str) -> list[str]:
    """What is wrong with the run; empty when nothing is."""
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    found = [f"results.json at {error.json_path}: {error.message}" for error in validator.iter_errors(results)]
    if found:
        return found
    gates = results["gates"]
    ids = [gate["id"] for gate in gates]
    found += [f"gate {name} is listed {ids.count(name)} times" for name in set(ids) if ids.count(name) > 1]
    found += [
        f"gate {gate['id']} says step {gate['step']}" for gate in gates if gate["id"].split(".")[0] != gate["step"]
    ]
    found += [
        f"gate {gate['id']}: its evidence {path} is missing"
        for gate in gates
        for path in gate["evidence"]
        if not (run / path).is_file()
    ]
    found += [f"{name} is missing" for name in REPORT if not (run / name).is_file()]
    if results["state"] == "finished" and results["verdict"] != verdict_of(gates):
        found.append(f"the verdict is {results['verdict']}, but its blocking gates amount to {verdict_of(gates)}")
    if results["verdict"] != expected:
        reasons = [f"{gate['id']} {gate['verdict']}: {gate['reason']}" for gate in gates if gate["verdict"] != "PASS"]
        found.append(
            f"expected verdict {expected}, seen {results['verdict']} ({results['state']}): {'; '.join(reasons)}"
        )
    if run.name not in ("latest", results["run_id"]):
        found.append(f"run {results['run_id']} lies in {run}")
    return found


def main() -> int:
    run = Path(sys.argv[1])
    found = problems(run, sys.argv[2] if len(sys.argv) > 2 else "PASS")
    for problem in found:
        print(problem)
    gates = json.loads((run / "results.json").read_text(encoding="utf-8"))["gates"]
    print(f"{len(gates)} gates checked")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
