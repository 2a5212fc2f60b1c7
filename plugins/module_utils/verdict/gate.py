# SPDX-License-Identifier: Apache-2.0
"""A gate: one question about the platform, its target, what was measured, and the verdict.

A verdict is never inferred from the absence of a measurement: what was not looked at is NOT_RUN, what was looked at
without enough evidence is INCONCLUSIVE, and only a measurement on the right side of its target is PASS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Optional, Union

Number = Union[int, float]


class Verdict(str, Enum):
    """What a gate, or a run, amounts to."""

    PASS = "PASS"  # noqa: S105 a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT_RUN"
    NOT_APPLICABLE = "NOT_APPLICABLE"

    def __str__(self) -> str:
        return self.value


class Op(str, Enum):
    """How a measurement is compared with its target."""

    LT = "<"
    LE = "<="
    EQ = "=="
    GE = ">="

    def __str__(self) -> str:
        return self.value

    def holds(self, measured: Number, target: Number) -> bool:
        """Whether ``measured <op> target``."""
        if self is Op.LT:
            return measured < target
        if self is Op.LE:
            return measured <= target
        if self is Op.GE:
            return measured >= target
        return measured == target


class Scale(str, Enum):
    """What kind of run the evidence comes from; only ``full`` can be signed off."""

    FULL = "full"
    LAB = "lab"
    SHORTENED = "shortened"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class GateSpec:
    """A gate before it is measured.

    ``target`` is in ``unit``; it is None only where the target is not known before the measurement (a count of
    services of a profile that could not be read, for example) and such a gate cannot pass.
    """

    id: str
    title: str
    op: Op
    target: Optional[Number]
    unit: str
    blocking: bool = True

    @property
    def step(self) -> str:
        """The step the gate belongs to: the first part of its id (``S0.services`` -> ``S0``)."""
        return self.id.split(".", 1)[0]


@dataclass(frozen=True)
class GateResult:
    """A gate and what is known about it; ``low`` and ``high`` bound ``measured`` (same unit), ``n`` counts
    observations.
    """

    spec: GateSpec
    verdict: Verdict
    reason: str
    scale: Scale
    measured: Optional[Number] = None
    low: Optional[Number] = None
    high: Optional[Number] = None
    n: Optional[int] = None
    evidence: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.reason and self.verdict is not Verdict.PASS:
            raise ValueError(f"gate {self.spec.id}: verdict {self.verdict} needs a reason")
        if self.verdict is Verdict.PASS and (self.measured is None or not self.n):
            raise ValueError(f"gate {self.spec.id}: PASS needs a measurement and n >= 1")

    def to_json(self) -> dict[str, Any]:
        """The gate as an entry of ``results.json``."""
        return {
            "id": self.spec.id,
            "step": self.spec.step,
            "title": self.spec.title,
            "op": str(self.spec.op),
            "target": self.spec.target,
            "measured": self.measured,
            "low": self.low,
            "high": self.high,
            "unit": self.spec.unit,
            "n": self.n,
            "verdict": str(self.verdict),
            "blocking": self.spec.blocking,
            "scale": str(self.scale),
            "reason": self.reason,
            "evidence": list(self.evidence),
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> GateResult:
        """Read an entry of ``results.json`` back.

        Raises KeyError or ValueError on an entry of another shape.
        """
        return cls(
            spec=GateSpec(
                id=entry["id"],
                title=entry["title"],
                op=Op(entry["op"]),
                target=entry["target"],
                unit=entry["unit"],
                blocking=entry["blocking"],
            ),
            verdict=Verdict(entry["verdict"]),
            reason=entry["reason"],
            scale=Scale(entry["scale"]),
            measured=entry["measured"],
            low=entry["low"],
            high=entry["high"],
            n=entry["n"],
            evidence=tuple(entry["evidence"]),
        )

    def with_evidence(self, *paths: str) -> GateResult:
        """The same result, with files (relative to the run directory) that support it."""
        return replace(self, evidence=self.evidence + paths)


@dataclass(frozen=True)
class Decided:
    """A gate's result with the detail and the mechanism that go into its evidence file.

    ``samples`` are files that support it, by path relative to the run directory: what is too long for evidence.
    """

    result: GateResult
    detail: Mapping[str, Any]
    mechanism: str
    samples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def decide(
    spec: GateSpec,
    scale: Scale,
    measured: Optional[Number],
    n: int,
    reason: str,
    low: Optional[Number] = None,
    high: Optional[Number] = None,
) -> GateResult:
    """Compare a measurement with its gate's target.

    With an interval the whole of it must lie on the right side to pass and the whole of it on the wrong side to fail;
    what straddles the target is INCONCLUSIVE. Without observations, without a measurement or without a target the
    gate is INCONCLUSIVE.
    """
    if measured is None or n < 1 or spec.target is None:
        what = "no observations" if n < 1 else "nothing to compare with"
        return GateResult(spec, Verdict.INCONCLUSIVE, reason or what, scale, measured, low, high, n)
    bounds = [measured if low is None else low, measured if high is None else high]
    holds = [spec.op.holds(bound, spec.target) for bound in bounds]
    if all(holds):
        verdict = Verdict.PASS
    elif not any(holds):
        verdict = Verdict.FAIL
    else:
        verdict = Verdict.INCONCLUSIVE
        reason = reason or f"the interval {bounds[0]}..{bounds[1]} {spec.unit} straddles the target {spec.target}"
    if verdict is Verdict.FAIL and not reason:
        reason = f"measured {measured} {spec.unit}, expected {spec.op} {spec.target}"
    return GateResult(spec, verdict, reason, scale, measured, low, high, n)


def run_verdict(gates: Iterable[GateResult]) -> Verdict:
    """The verdict of a run over its blocking gates.

    FAIL if any failed, else INCONCLUSIVE if any was INCONCLUSIVE or NOT_RUN, else PASS. NOT_APPLICABLE counts for
    nothing, so a run in which nothing blocking was looked at is INCONCLUSIVE: it has proved nothing.
    """
    verdicts = [gate.verdict for gate in gates if gate.spec.blocking]
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    if Verdict.INCONCLUSIVE in verdicts or Verdict.NOT_RUN in verdicts or Verdict.PASS not in verdicts:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS
