#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hold a finished run against the contract.

    check_results.py RUN_DIR VERDICT           the run's verdict has to be this one
    check_results.py RUN_DIR --exit-code CODE  a whole run on a healthy lab, which ended with CODE

Checks ``results.json`` against ``tests/contract/results.schema.json``, and that what it says agrees with itself and
with the files beside it. In a whole run every gate must have passed, but for those that depend on how fast this machine
is just now, which is shared: what these say must follow from what they measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = Path(__file__).resolve().parents[1] / "contract" / "results.schema.json"
REPORT = ("report/index.html", "report/report.md", "report/junit.xml", "report/PROGRESS.md", "report/baseline.json")
STEPS = {"S0", "S1", "S2", "S3", "S4", "S5"}

# How the tool says that nobody chose a gate for the run, and that an alert had no time to fire.
SHORTENED = "a shortened run"
UNCHOSEN_ALERT = "not among the alerts chosen for this drill"
TOO_SHORT = "no alert about it fired while it was watched"
# Step S3 comes before S4, which deploys the first rules of a new lab.
NO_RULES = "no alerting rule is deployed"
# What may be left out in part, but not altogether; and what is to be said then.
SOME_OF = (
    ("S3.", ".recovery", "not one failure mode was seen to recover in time"),
    ("S4.alert.", "", "not one alert was proven"),
    ("S5.runbook.", "", "not one runbook was proven"),
)


def verdict_of(gates: list[dict[str, Any]]) -> str:
    """The rule of the contract, over blocking gates."""
    verdicts = {gate["verdict"] for gate in gates if gate["blocking"]}
    if "FAIL" in verdicts:
        return "FAIL"
    return "INCONCLUSIVE" if verdicts & {"INCONCLUSIVE", "NOT_RUN"} or "PASS" not in verdicts else "PASS"


def is_timed(gate: dict[str, Any]) -> bool:
    """Whether a gate depends on the speed of the machine: latencies, recoveries, and whether the generator got its
    turns.
    """
    if gate["step"] == "S3":
        return gate["id"].endswith(".recovery")
    if gate["step"] == "S2":
        return gate["id"].endswith(".cpu")
    return gate["step"] == "S1" and not gate["id"].endswith(".no_loss")


def is_left_out(gate: dict[str, Any]) -> bool:
    """Whether a gate is one that this run was not to decide, and says so: a failure mode, an alert or a runbook that a
    shortened run leaves out, the milestone over all failure modes, what takes hours, an alert about a fault that was
    over before it could fire or that there were no rules for, or the sign-off of what is no full-scale run.
    """
    if gate["verdict"] != "NOT_RUN" or gate["blocking"]:
        return False
    name, reason = gate["id"], gate["reason"]
    if name in ("S2.burn_in_24h", "S3.mttr_30s", "S5.signoff") or (gate["step"] == "S2" and name.endswith(".growth")):
        return True
    if name.endswith(".detection") and (reason.startswith(TOO_SHORT) or NO_RULES in reason):
        return True
    if name.startswith("S4.alert."):
        return bool(reason == UNCHOSEN_ALERT)
    return (gate["step"] == "S3" or name.startswith("S5.runbook.")) and SHORTENED in reason


def follows(gate: dict[str, Any]) -> bool:
    """Whether the verdict of a timed gate follows from its bounds."""
    if gate["step"] == "S2":
        beyond = gate["measured"] > gate["target"]
        # A single spike may be one of a hundred, or of more than its share.
        return gate["n"] > 0 and (gate["verdict"] != "PASS" or not beyond)
    if gate["verdict"] == "PASS":
        within = gate["high"] < gate["target"] if gate["op"] == "<" else gate["measured"] >= gate["target"]
        return within and gate["n"] > 0
    if gate["verdict"] == "FAIL":
        return gate["low"] is not None and gate["low"] >= gate["target"]
    return gate["verdict"] == "INCONCLUSIVE" and gate["n"] is not None


def wanting(gates: list[dict[str, Any]]) -> list[str]:
    """Gates that did not end as they have to on a healthy lab."""
    undelivered = any(gate["id"].endswith(".delivered") and gate["verdict"] != "PASS" for gate in gates)
    # Of a fault that a slow machine kept from being seen to recover, the ledger can say no more than that.
    slow = {
        gate["id"].rpartition(".")[0]
        for gate in gates
        if gate["step"] == "S3" and is_timed(gate) and gate["verdict"] != "PASS"
    }
    found = []
    for gate in gates:
        fine = gate["verdict"] in ("PASS", "NOT_APPLICABLE")
        if is_left_out(gate):
            continue
        if gate["id"].endswith(".loss") and gate["id"].rpartition(".")[0] in slow:
            fine = gate["verdict"] in ("PASS", "INCONCLUSIVE")
        elif is_timed(gate):
            fine = follows(gate)
        elif gate["id"].endswith(".no_loss") and undelivered:
            fine = gate["verdict"] in ("PASS", "INCONCLUSIVE")
        if not fine:
            found.append(
                f"{gate['id']} is {gate['verdict']} (measured {gate['measured']}, {gate['low']} .. {gate['high']}, "
                f"target {gate['target']}): {gate['reason']}"
            )
    return found


def problems(run: Path) -> list[str]:
    """What contradicts the contract, whatever the verdict."""
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
    if run.name not in ("latest", results["run_id"]):
        found.append(f"run {results['run_id']} lies in {run}")
    return found


def unexpected(results: dict[str, Any], verdict: str) -> list[str]:
    """Why the run's verdict is not ``verdict``."""
    if results["verdict"] == verdict:
        return []
    reasons = [
        f"{gate['id']} {gate['verdict']}: {gate['reason']}" for gate in results["gates"] if gate["verdict"] != "PASS"
    ]
    return [f"expected verdict {verdict}, seen {results['verdict']} ({results['state']}): {'; '.join(reasons)}"]


def not_whole(results: dict[str, Any], code: int) -> list[str]:
    """What a whole run on a healthy lab would not have."""
    found = []
    if results["state"] != "finished":
        found.append(f"the run is {results['state']}: {results['error']}")
    if (code == 0) != (results["verdict"] == "PASS"):
        found.append(f"the verdict is {results['verdict']}, but the run ended with exit code {code}")
    found += [f"step {step} has no gate" for step in STEPS - {gate["step"] for gate in results["gates"]}]
    passed = [gate["id"] for gate in results["gates"] if gate["verdict"] == "PASS"]
    found += [
        none
        for start, end, none in SOME_OF
        if not any(name.startswith(start) and name.endswith(end) for name in passed)
    ]
    return found + wanting(results["gates"])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("verdict", nargs="?")
    wanted.add_argument("--exit-code", type=int)
    options = parser.parse_args()
    found = problems(options.run)
    results = json.loads((options.run / "results.json").read_text(encoding="utf-8"))
    if options.verdict:
        found += unexpected(results, options.verdict)
    else:
        found += not_whole(results, options.exit_code)
    for problem in found:
        print(problem)
    print(f"{len(results['gates'])} gates checked")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
