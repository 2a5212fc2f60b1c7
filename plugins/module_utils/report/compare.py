# SPDX-License-Identifier: Apache-2.0
"""Two runs of one platform side by side, gate by gate: what got worse, what better, what cannot be told.

A gate is worse when its verdict is, or when its measurement is worse beyond doubt: its interval and the earlier one do
not meet, and a margin of 10 % lies between them. What only one of the runs measured is told, and is no regression
unless the later run was to measure it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Optional

from ..core.errors import K2Error
from ..verdict.baseline import MARGIN
from ..verdict.gate import Op, Verdict
from ..verdict.rundir import RunState
from .files import ReportError, write_all
from .render import REPORT, environment
from .source import RecordedRun, read_run

Gate = Mapping[str, Any]
Span = tuple[float, float]
_RANK = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.NOT_RUN: 1, Verdict.FAIL: 2}
_CONTEXT = ("scale", "quick", "inventory", "versions")


class ComparisonError(K2Error):
    """Two runs cannot be compared."""


class Change(str, Enum):
    """How a gate fares in the later run; ``unmeasured`` where one of them did not look."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    UNMEASURED = "unmeasured"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class GateChange:
    """One gate in both runs; ``blocking`` where it blocks either of them."""

    id: str
    change: Change
    why: str
    blocking: bool
    before: Optional[Gate]
    after: Optional[Gate]

    @property
    def regression(self) -> bool:
        """Whether it counts against the later run."""
        return self.change is Change.WORSE and self.blocking


@dataclass(frozen=True)
class RunComparison:
    """Two runs: every gate of either, and in what else they differ."""

    before: RecordedRun
    after: RecordedRun
    gates: tuple[GateChange, ...]
    differences: tuple[str, ...]

    @property
    def regressions(self) -> tuple[GateChange, ...]:
        """Gates that are worse and block."""
        return tuple(gate for gate in self.gates if gate.regression)

    @property
    def compared(self) -> int:
        """Gates that both runs looked at."""
        return sum(gate.change is not Change.UNMEASURED for gate in self.gates)

    @property
    def verdict(self) -> Verdict:
        """FAIL with a regression; INCONCLUSIVE where no gate could be compared; else PASS."""
        if self.regressions:
            return Verdict.FAIL
        return Verdict.PASS if self.compared else Verdict.INCONCLUSIVE

    @property
    def counts(self) -> dict[str, int]:
        """Gates by change."""
        return {str(change): sum(gate.change is change for gate in self.gates) for change in Change}


def compare_runs(before: Path, after: Path) -> RunComparison:
    """Compare the run at ``after`` with an earlier one at ``before``.

    Raises RunError or EvidenceError for what is no whole run, ComparisonError for runs that cannot be compared.
    """
    old, new = read_run(before), read_run(after)
    if old.run_id == new.run_id:
        raise ComparisonError(
            "both are the same run", expected="two runs", seen=old.run_id, action="name an earlier and a later one"
        )
    if old.results["profile"] != new.results["profile"]:
        raise ComparisonError(
            "the runs are of different platforms",
            expected=f"two runs of {old.results['profile']}",
            seen=f"{new.run_id} is of {new.results['profile']}",
        )
    for run in (old, new):
        if run.results["state"] == RunState.RUNNING:
            raise ComparisonError(
                f"run {run.run_id} has not ended", expected="two runs that have ended", action="wait for it to end"
            )
    by_id = [{gate["id"]: gate for gate in run.gates} for run in (old, new)]
    names = dict.fromkeys([*by_id[1], *by_id[0]])
    return RunComparison(
        old, new, tuple(_change(name, by_id[0].get(name), by_id[1].get(name)) for name in names), _differences(old, new)
    )


def _change(name: str, before: Optional[Gate], after: Optional[Gate]) -> GateChange:
    blocking = any(gate["blocking"] for gate in (before, after) if gate)

    def told(change: Change, why: str) -> GateChange:
        if before and after and before["target"] != after["target"]:
            # The same platform may pass one target and not another.
            why = f"{why}; " * bool(why) + f"the target was {before['target']}, now it is {after['target']}"
        return GateChange(name, change, why, blocking, before, after)

    if before is None or after is None:
        return told(Change.UNMEASURED, f"only the {'later' if before is None else 'earlier'} run has this gate")
    verdicts = Verdict(before["verdict"]), Verdict(after["verdict"])
    missed = after["blocking"] and verdicts[1] is Verdict.NOT_RUN
    for which, verdict in zip(("earlier", "later"), verdicts):
        out = verdict is Verdict.NOT_APPLICABLE or (verdict is Verdict.NOT_RUN and not (which == "later" and missed))
        if out:
            return told(
                Change.UNMEASURED, f"{verdict} in the {which} run: {(before, after)[which == 'later']['reason']}"
            )
    ranks = [_RANK[verdict] for verdict in verdicts]
    if ranks[1] != ranks[0]:
        change = Change.WORSE if ranks[1] > ranks[0] else Change.BETTER
        return told(change, f"{verdicts[0]} became {verdicts[1]}" + (f": {after['reason']}" if after["reason"] else ""))
    return told(*_moved(before, after))


def _moved(before: Gate, after: Gate) -> tuple[Change, str]:
    """The change by measurement, where the verdict is of the same rank."""
    costs = [_cost(before), _cost(after)]
    if costs[0] is None or costs[1] is None:
        return Change.SAME, "" if after["verdict"] == before["verdict"] else f"became {after['verdict']}"
    (old_low, old_high), (low, high) = costs[0], costs[1]
    unit = after["unit"]
    if low > old_high * (1 + MARGIN) and low > old_high:
        return Change.WORSE, f"{_span(before)} {unit} became {_span(after)} {unit}"
    if high * (1 + MARGIN) < old_low and high < old_low:
        return Change.BETTER, f"{_span(before)} {unit} became {_span(after)} {unit}"
    return Change.SAME, ""


def _cost(gate: Gate) -> Optional[Span]:
    """The measurement as an interval of what is the better the smaller it is, not negative; None without one."""
    low, high = _bounds(gate)
    if low is None or high is None:
        return None
    op, target = Op(gate["op"]), gate["target"]
    if op is Op.EQ:
        if target is None:
            return None
        ends = abs(low - target), abs(high - target)
        return (0.0 if low <= target <= high else min(ends)), max(ends)
    if op is Op.GE:
        # The inverse keeps the margin a share of the measurement.
        return (1 / high if high > 0 else math.inf), (1 / low if low > 0 else math.inf)
    return max(low, 0.0), max(high, 0.0)


def _bounds(gate: Gate) -> tuple[Optional[float], Optional[float]]:
    """At least and at most; an end that is not known is open, and nothing measured has none."""
    low, high, measured = gate["low"], gate["high"], gate["measured"]
    if low is None and high is None:
        return measured, measured
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _span(gate: Gate) -> str:
    low, high = _bounds(gate)
    if low is None or high is None:
        return "-"
    if math.isinf(low):
        return f"at most {high:.4g}"
    if math.isinf(high):
        return f"more than {low:.4g}"
    return f"{low:.4g}" if low == high else f"{low:.4g} .. {high:.4g}"


def _differences(old: RecordedRun, new: RecordedRun) -> tuple[str, ...]:
    """What else is not the same; a difference in a measurement may come from there."""
    pairs = [(key, old.results[key], new.results[key]) for key in _CONTEXT]
    pairs += [(key, old.facts.get(key), new.facts.get(key)) for key in ("profile_digest", "git_commit", "host")]
    found = [
        f"{key.replace('_', ' ')}: {_plain(one)}, then {_plain(other)}" for key, one, other in pairs if one != other
    ]
    found += [
        f"run {run.run_id} did not finish: {run.results['state']}, {run.results['error']}"
        for run in (old, new)
        if run.results["state"] != RunState.FINISHED
    ]
    return tuple(found)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def lines(comparison: RunComparison) -> Sequence[str]:
    """The comparison for a terminal: what changed, in what else the runs differ, the verdict."""
    told = [
        f"{gate.change!s:<7} {gate.id}{'' if gate.blocking else ' (not blocking)'}: {gate.why}"
        for gate in comparison.gates
        if gate.change in (Change.WORSE, Change.BETTER)
    ]
    told += [f"differs: {text}" for text in comparison.differences]
    counts = ", ".join(f"{count} {change}" for change, count in comparison.counts.items())
    verdict = f"{len(comparison.regressions)} regressions"
    if comparison.verdict is Verdict.INCONCLUSIVE:
        verdict = "nothing that both runs looked at"
    return [*told, f"{comparison.before.run_id} -> {comparison.after.run_id}: {verdict} ({counts})"]


def render_comparison(comparison: RunComparison, templates: Path, directory: Optional[Path] = None) -> list[Path]:
    """Write ``compare-<earlier run>.html`` and ``.md``, into the later run's report unless told otherwise.

    Raises ReportError.
    """
    import jinja2

    made = environment(templates)
    made.filters["interval"] = lambda gate: "-" if gate is None else _span(gate)
    name = f"compare-{comparison.before.run_id}"
    try:
        files = {
            f"{name}.{ending}": made.get_template(f"compare.{ending}.j2").render(comparison=comparison)
            for ending in ("html", "md")
        }
    except (ValueError, TypeError, KeyError, jinja2.TemplateError) as error:
        raise ReportError("cannot render the comparison", seen=f"{type(error).__name__}: {error}") from error
    return write_all(directory or comparison.after.path / REPORT, files)
