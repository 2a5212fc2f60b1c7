# SPDX-License-Identifier: Apache-2.0
"""A run seen from above: its steps and milestones, what keeps it from passing, what was not run, how to do it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..verdict.catalogue import STEPS
from ..verdict.gate import GateResult, Verdict, run_verdict
from .source import RecordedRun

Gate = Mapping[str, Any]
# The steps as a tracker of Phase 7 counts them; S0 only opens the way to them.
TRACKED = {
    "S1": "End-to-end latency benchmark",
    "S2": "Resource budget validation",
    "S3": "Failure mode testing",
    "S4": "Monitoring and alerting",
    "S5": "Production runbooks and documentation",
}
MILESTONES = {
    "M1": ("Performance validated", ("S1", "S2")),
    "M2": ("Resilience validated", ("S3",)),
    "M3": ("Production ready", ("S4", "S5")),
}
_NAMED = 6


@dataclass(frozen=True)
class Step:
    """A step: its gates as in ``results.json``, what they amount to, and when they were decided (RFC 3339)."""

    id: str
    title: str
    gates: tuple[Gate, ...]
    verdict: Verdict
    not_run: int
    first: Optional[str]
    last: Optional[str]

    @property
    def complete(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.verdict is Verdict.PASS and not self.not_run


@dataclass(frozen=True)
class Milestone:
    """What a group of steps amounts to."""

    id: str
    title: str
    steps: tuple[Step, ...]
    verdict: Verdict

    @property
    def complete(self) -> bool:
        """Whether nothing of it is left to do."""
        return all(step.complete for step in self.steps)


@dataclass(frozen=True)
class Unmeasured:
    """Gates of a step without a measurement, for one reason."""

    step: str
    verdict: str
    reason: str
    blocking: bool
    gates: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """A run from above; ``wanting`` are the blocking gates that keep it from passing."""

    steps: tuple[Step, ...]
    milestones: tuple[Milestone, ...]
    counts: Mapping[str, int]
    wanting: tuple[Gate, ...]
    unmeasured: tuple[Unmeasured, ...]
    sentence: str
    commands: tuple[str, ...]


def overview(run: RecordedRun) -> Overview:
    """What there is to say of ``run`` before any detail."""
    steps = tuple(_step(run, step) for step in dict.fromkeys([*STEPS, *TRACKED]))
    by_id = {step.id: step for step in steps}
    wanting = tuple(
        gate for gate in run.gates if gate["blocking"] and gate["verdict"] not in (Verdict.PASS, Verdict.NOT_APPLICABLE)
    )
    return Overview(
        tuple(sorted(steps, key=lambda step: step.id)),
        tuple(_milestone(name, title, [by_id[step] for step in of]) for name, (title, of) in MILESTONES.items()),
        {str(verdict): sum(gate["verdict"] == verdict for gate in run.gates) for verdict in Verdict},
        wanting,
        _unmeasured(run.gates),
        _sentence(run.results, run.gates, wanting),
        _commands(run),
    )


def _step(run: RecordedRun, step: str) -> Step:
    gates = tuple(gate for gate in run.gates if gate["step"] == step)
    decided = sorted(run.evidence[gate["id"]]["recorded"] for gate in gates if gate["id"] in run.evidence)
    return Step(
        step,
        STEPS.get(step, TRACKED.get(step, step)),
        gates,
        _amounts_to(gates),
        sum(gate["verdict"] == Verdict.NOT_RUN for gate in gates),
        decided[0] if decided else None,
        decided[-1] if decided else None,
    )


def _amounts_to(gates: Sequence[Gate]) -> Verdict:
    """By the rule of the run; where all gates say the same, that: a step that nobody chose is NOT_RUN."""
    blocking = [gate for gate in gates if gate["blocking"]] or gates
    verdicts = {Verdict(gate["verdict"]) for gate in blocking}
    if not verdicts:
        return Verdict.NOT_RUN
    if len(verdicts) == 1:
        return verdicts.pop()
    return run_verdict(GateResult.from_json({**gate, "blocking": True}) for gate in blocking)


def _milestone(name: str, title: str, steps: Sequence[Step]) -> Milestone:
    """A milestone is passed when each of its steps is, with all of its gates: what was not run leaves it open."""
    verdicts = {step.verdict for step in steps} - {Verdict.NOT_APPLICABLE}
    if verdicts == {Verdict.PASS} and not all(step.complete for step in steps):
        verdict = Verdict.INCONCLUSIVE
    elif len(verdicts) == 1:
        verdict = verdicts.pop()
    else:
        verdict = Verdict.FAIL if Verdict.FAIL in verdicts else Verdict.INCONCLUSIVE
    return Milestone(name, title, tuple(steps), verdict)


def _unmeasured(gates: Sequence[Gate]) -> tuple[Unmeasured, ...]:
    groups: dict[tuple[str, str, str, bool], list[str]] = {}
    for gate in gates:
        if gate["verdict"] in (Verdict.NOT_RUN, Verdict.NOT_APPLICABLE):
            key = (gate["step"], gate["verdict"], gate["reason"], gate["blocking"])
            groups.setdefault(key, []).append(gate["id"])
    return tuple(Unmeasured(*key, tuple(names)) for key, names in groups.items())


def _sentence(results: Mapping[str, Any], gates: Sequence[Gate], wanting: Sequence[Gate]) -> str:
    """Why the verdict is what it is."""
    blocking = sum(gate["blocking"] for gate in gates)
    parts = []
    if results["state"] != "finished":
        parts.append(f"The run did not finish ({results['state']}).")
    if wanting:
        worst = [gate for gate in wanting if gate["verdict"] == results["verdict"]] or wanting
        names = ", ".join(gate["id"] for gate in worst[:_NAMED])
        more = f" and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
        words = {"FAIL": "failed", "INCONCLUSIVE": "could not be decided", "NOT_RUN": "was not run"}
        what = words[worst[0]["verdict"]] if len({gate["verdict"] for gate in worst}) == 1 else "did not pass"
        parts.append(f"{len(worst)} of {blocking} blocking gates: {names}{more} {what}.")
    elif blocking:
        parts.append(f"All {blocking} gates that this run was to decide passed or do not apply.")
    unasked = sum(gate["verdict"] == Verdict.NOT_RUN and not gate["blocking"] for gate in gates)
    if unasked:
        parts.append(f"{unasked} gate{' was' if unasked == 1 else 's were'} not part of it.")
    if results["scale"] != "full" or results["quick"]:
        kind = "A shortened run" if results["quick"] else f"A run of scale {results['scale']}"
        parts.append(f"{kind} cannot be signed off.")
    return " ".join(parts)


def _commands(run: RecordedRun) -> tuple[str, ...]:
    """What does the same run again, and what renders and compares it."""
    results, facts = run.results, run.facts
    commit = str(facts.get("git_commit") or "").removesuffix("-dirty")
    asked = [
        step
        for step in STEPS
        if any(gate["step"] == step and (gate["blocking"] or gate["id"] in run.evidence) for gate in run.gates)
    ]
    play = ["ansible-playbook"]
    play += [f"-i {source}" for source in filter(None, str(results["inventory"]).split(", "))]
    play.append("playbooks/phase7.yml")
    if asked and set(asked) != set(STEPS):
        play.append(f"--tags {','.join(step.lower() for step in asked)}")
    if results["quick"]:
        play.append("-e k2_quick=true")
    return (
        *([f"git checkout {commit}"] if commit else []),
        "make setup",
        " ".join(play),
        f"bin/k2h report artifacts/{run.run_id}",
        f"bin/k2h compare artifacts/{run.run_id} artifacts/latest",
    )
