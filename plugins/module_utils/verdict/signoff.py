# SPDX-License-Identifier: Apache-2.0
"""S5.signoff: what keeps a run from being signed off?

A run is signed off when it is a whole one at full scale and every gate that blocks by the catalogue passed in it. That
a gate did not block because tags or a selection left it out does not help: it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..profile.model import Profile
from . import catalogue
from .documents import Documents, examine, expected_documents
from .gate import Decided, GateResult, Scale, Verdict, decide
from .rundir import RunDir, RunState

SIGN_OFF, DOCUMENTS = "S5.signoff", "S5.documents"


@dataclass(frozen=True)
class Missing:
    """One thing that is missing; ``failed`` where it was measured and is wrong, not merely unproven."""

    what: str
    failed: bool = False


def missing_of_run(results: Mapping[str, Any]) -> tuple[Missing, ...]:
    """What a recorded run lacks, from its ``results.json`` alone: its scale, its end, gates that block it."""
    found = []
    if results["scale"] != Scale.FULL.value:
        found.append(Missing(f"a run at full scale: this one is of scale {results['scale']}"))
    if results["quick"]:
        found.append(Missing("a run that is not shortened: this one is quick"))
    if results["state"] in (RunState.ERROR, RunState.INTERRUPTED):
        found.append(Missing(f"a run that came to its end: {results['state']}: {results['error']}"))
    unpassed = []
    for gate in results["gates"]:
        if gate["id"] == SIGN_OFF:
            continue
        if gate["blocking"] and gate["verdict"] not in (Verdict.PASS, Verdict.NOT_APPLICABLE):
            unpassed.append(gate)
        elif (
            gate["verdict"] == Verdict.PASS
            and gate["scale"] != Scale.FULL.value
            and results["scale"] == Scale.FULL.value
        ):
            found.append(Missing(f"{gate['id']} at full scale: it passed at scale {gate['scale']}"))
    return (*found, *_missing_gates(unpassed))


def missing_of_profile(profile: Profile, results: Mapping[str, Any], digest: Optional[str]) -> tuple[Missing, ...]:
    """What a run lacks that its profile asks for: gates left out by tags or a selection, or another profile."""
    found = []
    if digest != profile.digest():
        found.append(Missing("the profile that the run was begun with: the inventory has changed since"))
    recorded = {gate["id"]: gate for gate in results["gates"]}
    left_out = []
    for spec in catalogue.all_gates(profile):
        gate = recorded.get(spec.id)
        if spec.id == SIGN_OFF or not spec.blocking:
            continue
        if gate is None:
            found.append(Missing(f"{spec.id}: the run does not list it"))
        elif not gate["blocking"] and gate["verdict"] not in (Verdict.PASS, Verdict.NOT_APPLICABLE):
            left_out.append(gate)
    return (*found, *_missing_gates(left_out))


def _missing_gates(gates: Sequence[Mapping[str, Any]]) -> tuple[Missing, ...]:
    """Gates that did not pass; those with the same verdict for the same reason are one thing to mend."""
    groups: dict[tuple[str, str], list[str]] = {}
    for gate in gates:
        groups.setdefault((gate["verdict"], gate["reason"]), []).append(gate["id"])
    return tuple(
        Missing(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {verdict}: {reason}", verdict == Verdict.FAIL)
        for (verdict, reason), names in groups.items()
    )


def decide_sign_off(profile: Profile, run: RunDir, scale: Scale) -> list[Decided]:
    """Decide S5.documents over what is rendered, and S5.signoff over all gates with it."""
    results = run.results()
    documents = examine(run.path, results["run_id"], expected_documents(run.gates()))
    decided = _decide_documents(documents, scale)
    entry = decided.result.to_json()
    gates = [
        {**gate, **{key: entry[key] for key in ("verdict", "reason", "scale")}} if gate["id"] == DOCUMENTS else gate
        for gate in results["gates"]
    ]
    after = {**results, "gates": gates}
    digest = run.facts().get("profile_digest")
    missing = (*missing_of_run(after), *missing_of_profile(profile, after, digest))
    return [decided, _decide_sign_off(profile, missing, scale, len(gates))]


def _decide_documents(documents: Documents, scale: Scale) -> Decided:
    reason = "; ".join(documents.problems[:5])
    more = len(documents.problems) - 5
    result = decide(
        catalogue.documents_gate(),
        scale,
        len(documents.problems),
        len(documents.examined),
        reason + (f"; and {more} more" if more > 0 else ""),
    )
    return Decided(result, documents.to_plain(), "each document read, each of its links into the run followed")


def _decide_sign_off(profile: Profile, missing: Sequence[Missing], scale: Scale, gates: int) -> Decided:
    spec = catalogue.signoff_gate(profile)
    detail = {"missing": [one.what for one in missing]}
    told = "; ".join(one.what for one in missing[:5]) + (f"; and {len(missing) - 5} more" if len(missing) > 5 else "")
    if profile.platform.scale.value != Scale.FULL.value:
        reason = f"only a run at full scale is signed off; missing: {told}"
        result = GateResult(spec, Verdict.NOT_RUN, reason, scale, len(missing), n=gates)
    elif not missing:
        result = decide(spec, scale, 0, gates, "")
    else:
        # Nothing but a measurement that is wrong makes the whole wrong; what is unproven leaves it open.
        verdict = Verdict.FAIL if any(one.failed for one in missing) else Verdict.INCONCLUSIVE
        result = GateResult(spec, verdict, f"missing: {told}", scale, len(missing), n=gates)
    return Decided(result, detail, "the run's gates held against the catalogue of its profile")
