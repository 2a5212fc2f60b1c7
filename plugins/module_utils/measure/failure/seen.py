# SPDX-License-Identifier: Apache-2.0
"""What is known of one fault as it goes on, and the result that it comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from ...core.clock import boot_id, monotonic_ns
from ...fault.inject.base import FaultPlan, Moment, Proof
from ...profile.model import FailureMode, RecoveryFrom, RecoveryPoint, Service
from ..recovery.cold import ColdSeen
from ..recovery.drain import Drained
from ..recovery.model import Span, since
from ..recovery.result import FailureResult, RecoveryAt
from .request import held_s
from .watching import Watching


@dataclass
class Seen:
    """What is known so far; all of it is told, however the experiment goes on."""

    started_us: int
    baseline_start_ns: int
    injected: Moment
    proof: Proof = field(default_factory=lambda: Proof(False, "nobody looked"))
    healed: Optional[Moment] = None
    drained: Optional[Drained] = None
    t3: Optional[Span] = None
    cold: Optional[ColdSeen] = None
    mechanism: Optional[str] = None
    differences: tuple[str, ...] = ("nobody looked whether all is as it was",)
    undone: bool = False
    steady_after: bool = False
    events: dict[str, Any] = field(default_factory=lambda: {"seen": [], "why": "nobody asked"})
    problems: list[str] = field(default_factory=list)
    error: Optional[str] = None


def zero_of(mode: FailureMode, seen: Seen) -> Moment:
    """Time zero: the heal where the mode counts from there and there was one, else the injection."""
    from_heal = mode.recovery_from is RecoveryFrom.HEAL
    return seen.healed if from_heal and seen.healed is not None else seen.injected


def result_of(
    mode: FailureMode, service: Service, plan: FaultPlan, watching: Watching, seen: Seen, undone_by: Optional[str]
) -> FailureResult:
    """All that ``seen`` and the samples of ``watching`` come to.

    :arg undone_by: who ended the fault, by the guard; None for one that is over by itself.
    """
    zero, onset = zero_of(mode, seen), seen.injected
    recovery = watching.recovery(zero, onset)
    t4 = None
    if seen.cold is not None and seen.cold.caught_up is not None:
        t4 = since(zero, *seen.cold.caught_up)
    at = {RecoveryPoint.SERVED: recovery.span, RecoveryPoint.DRAINED: seen.t3, RecoveryPoint.NEXT_RUN: t4}
    span = at[mode.recovery_at]
    return FailureResult(
        mode=mode.name,
        service=service.name,
        unit=service.unit,
        runtime=service.runtime.value,
        action=mode.action.value,
        boot_id=boot_id(),
        started_us=seen.started_us,
        duration_s=held_s(mode),
        plan=plan.as_dict(),
        zero=mode.recovery_from.value,
        baseline_start_ns=seen.baseline_start_ns,
        injected=seen.injected,
        healed=seen.healed,
        ended_ns=monotonic_ns(),
        proof={"proven": seen.proof.proven, "what": seen.proof.what},
        mechanism=seen.mechanism,
        lanes=watching.lanes(zero, onset),
        t1=watching.first_success(zero, onset),
        t2=recovery.span,
        t3=seen.t3,
        t4=t4,
        recovery=None if span is None else RecoveryAt(mode.recovery_at, span),
        platform=recovery,
        detection=watching.noticed(onset),
        drain=None if seen.drained is None else seen.drained.to_plain(),
        cold=None if seen.cold is None else seen.cold.plain,
        differences=seen.differences,
        undone_by=undone_by,
        events=seen.events,
        steady_before=True,
        steady_after=seen.steady_after,
        problems=tuple(seen.problems),
        error=seen.error,
    )
