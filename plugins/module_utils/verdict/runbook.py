# SPDX-License-Identifier: Apache-2.0
"""How the gates S5.runbook.<mode> are decided: did the page's own commands show the failure, and mend it?

FAIL: a command is not there, does not show what the page says, shows it on a healthy platform, too, or leaves the
platform sick. INCONCLUSIVE: the failure is not proven to have been there, or somebody else mended it, so the page was
not put to the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..core.errors import K2Error
from ..profile.model import Profile
from ..profile.runbooks import runbook_modes
from . import catalogue
from .gate import Decided, GateResult, Scale, Verdict, decide

# Facts that say why a runbook was not followed, and what its gate then is. What nobody chose for a run blocks nothing.
UNSELECTED = "unselected"
_NOT_FOLLOWED = {UNSELECTED: Verdict.NOT_RUN, "skipped": Verdict.NOT_RUN, "failed": Verdict.INCONCLUSIVE}
_MECHANISM = (
    "{action}; the diagnosis on the healthy platform, the fault, the diagnosis, the resolution; commands of the page "
    "itself, typed by a machine: the time that a person takes to read is not in it"
)


class RunbookFactsError(K2Error):
    """What was brought back is not the result of a runbook test."""


@dataclass(frozen=True)
class Followed:
    """The part of a trial that the verdict rests on."""

    proven: bool
    proof: str
    healthy: Sequence[Mapping[str, Any]]
    diagnosis: Sequence[Mapping[str, Any]]
    resolution: Sequence[Mapping[str, Any]]
    steady: bool
    not_steady: str
    elsewhere: str
    recovered_s: Optional[tuple[float, float]]
    undone_by: Optional[str]
    left: Sequence[str]
    error: Optional[str]
    action: str

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Followed:
        """From the plain result of ``k2_runbook_test``; raises KeyError, TypeError or ValueError for another shape."""
        proof = plain["proof"]
        span = plain["recovered_s"]
        return cls(
            proven=bool(proof and proof["proven"]),
            proof=str(proof["what"]) if proof else "nothing was seen of it",
            healthy=_steps(plain["healthy"]),
            diagnosis=_steps(plain["diagnosis"]),
            resolution=_steps(plain["resolution"]),
            steady=bool(plain["steady"]),
            not_steady=str(plain["not_steady"]),
            elsewhere=str(plain["elsewhere"]),
            recovered_s=None if span is None else (float(span[0]), float(span[1])),
            undone_by=plain["undone_by"],
            left=tuple(str(each) for each in plain["left"]),
            error=plain["error"],
            action=str(plain["action"]),
        )


def decide_runbooks(profile: Profile, facts: Mapping[str, Any], scale: Scale) -> list[Decided]:
    """The gates that ``facts`` are about.

    ``facts["runbook"]`` names one, with ``trial``, the result of ``k2_runbook_test``; or ``facts["runbooks"]`` several,
    with the reason why they were not followed: ``unselected`` (nobody chose them for this run), ``skipped`` or
    ``failed``.

    :raises RunbookFactsError: the facts are something else, or about a runbook that the profile does not have.
    """
    modes = {mode.name: mode for mode in runbook_modes(profile)}
    try:
        names = [str(facts["runbook"])] if "runbook" in facts else [str(name) for name in facts["runbooks"]]
        specs = {name: catalogue.runbook_gate(modes[name]) for name in names}
        for key, verdict in _NOT_FOLLOWED.items():
            if facts.get(key):
                reason = str(facts[key])
                return [
                    Decided(
                        GateResult(spec if key != UNSELECTED else catalogue.unblocked(spec), verdict, reason, scale),
                        {"runbook": name},
                        "not followed",
                    )
                    for name, spec in specs.items()
                ]
        followed = Followed.read(facts["trial"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunbookFactsError(
            "these are no facts about a runbook",
            expected="runbook of the profile with trial, or runbooks with unselected, skipped or failed",
            seen=f"{type(error).__name__}: {error}",
        ) from error
    spec = specs[names[0]]
    judged, reason = judge(followed)
    detail = {"runbook": names[0], "trial": dict(facts["trial"])}
    mechanism = _MECHANISM.format(action=followed.action)
    if judged is not None:
        span = followed.recovered_s
        low, high = span if span is not None else (None, None)
        result = GateResult(spec, judged, reason, scale, high, low, high, 1 if followed.proven else 0)
        return [Decided(result, detail, mechanism)]
    assert followed.recovered_s is not None
    low_s, high_s = followed.recovered_s
    # By the upper bound: an interval that straddles 15 minutes has not kept them.
    return [Decided(decide(spec, scale, high_s, 1, "", low_s, high_s), detail, mechanism)]


def judge(seen: Followed) -> tuple[Optional[Verdict], str]:
    """FAIL or INCONCLUSIVE with the reason; None where only the time is left to be judged."""
    on_healthy = _misses(seen.healthy)
    if on_healthy:
        return Verdict.FAIL, f"on the healthy platform, {on_healthy}"
    untested = _why_untested(seen)
    if untested:
        return Verdict.INCONCLUSIVE, untested
    wrong = _why_wrong(seen)
    if wrong:
        return Verdict.FAIL, wrong
    if seen.elsewhere:
        return Verdict.INCONCLUSIVE, f"it was mended, and something beyond its reach is not well: {seen.elsewhere}"
    return None, ""


def _why_untested(seen: Followed) -> str:
    if not seen.proven:
        return f"the failure is not proven to have been there: {seen.proof}"
    if seen.undone_by == "watchdog":
        return "the watchdog undid the fault meanwhile, so the page was not put to the test"
    if seen.error is not None:
        return f"the test itself went wrong: {seen.error}"
    return "" if seen.diagnosis and seen.resolution else "no command of it was run"


def _why_wrong(seen: Followed) -> str:
    for what, steps in (("its diagnosis", seen.diagnosis), ("its resolution", seen.resolution)):
        missed = _misses(steps)
        if missed:
            return f"{what}, {missed}"
    if not seen.steady or seen.recovered_s is None:
        return f"all its commands were run, and the platform is not well: {seen.not_steady}"
    return "it left behind: " + "; ".join(seen.left) if seen.left else ""


def _misses(steps: Sequence[Mapping[str, Any]]) -> str:
    return next((f"{step['title']!r}: {step['why']}" for step in steps if not step["ok"]), "")


def _steps(plain: Any) -> tuple[Mapping[str, Any], ...]:
    """Checked to have what the verdict asks of them: a step without a word on whether it held is none."""
    for step in plain:
        if not isinstance(step["ok"], bool) or not isinstance(step["title"], str) or not isinstance(step["why"], str):
            raise TypeError(f"a step that tells nothing: {step!r}"[:120])
    return tuple(plain)
