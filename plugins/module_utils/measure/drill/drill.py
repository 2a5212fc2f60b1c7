# SPDX-License-Identifier: Apache-2.0
"""A whole drill: shorter waits, rounds of held faults, synthetic series beside them, the dead man's switch, and back.

Whatever happens, rules, routes and services are put back. What goes wrong before anything is touched is an error; from
then on it is told with the alert that it is about.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Optional

from ...core.background import in_background
from ...core.clock import Deadline, utc_us
from ...core.errors import K2Error
from ...core.progress import Progress
from ...fault.journal import Journal
from ...fault.lock import PlatformLock
from ...platform.http_api import HttpApi
from ...platform.probe import run_probe
from ...platform.prometheus import RuleRun
from ...profile.model import Lifecycle, Profile
from ..failure.guard import undo_earlier
from .dead_man import drill_dead_man
from .held import Held, HeldFaults
from .live import LiveAlerts, drilled_waits, first_rule
from .plan import AlertPlan, DrillRound, chosen, rounds_of
from .request import DrillNotPossible, DrillRequest, Monitoring, monitoring_of, program_of
from .result import ALWAYS, SYNTHETIC, AlertSeen, DeadManSeen
from .scaled import Deployed, ScaledProof, deployed, not_put_back, shorten
from .seen import FIRING, has_labels, occurrences, with_deliveries
from .synthetic import SyntheticSeen, drill_synthetic

STEADY_S = 90.0
# Until every rule was evaluated with its shorter waits, and what fires always has arrived again.
_HEALTHY_S = 30.0
_LOOK_S = 1.0
# From the drill's beginning: what showed because of an earlier step. Rules here look back five minutes.
_QUIET_S = 400.0
# Prometheus tells again of what fires once a minute.
_TOLD_AGAIN_S = 90.0
_RUNBOOK_S = 5.0
# For what has deadlines of its own beside the rounds: stops, starts, proofs, the switch.
_AROUND_S = 420.0


class NotSteadyForDrill(K2Error):  # noqa: N818 - see core.errors
    """The platform is not well, so nothing would be learnt from an alert."""


def plan_drill(profile: Profile, plans: Sequence[AlertPlan], request: DrillRequest) -> dict[str, Any]:
    """What would be done, as plain data; asks nobody, touches nothing.

    :raises DrillPlanError: it does not fit the platform.
    """
    wanted = chosen(plans, request.only)
    rounds = rounds_of(profile, wanted)
    return {
        "rounds": [
            {
                "faults": [str(fault) for fault in each.faults],
                "alerts": [alert.plan.name for alert in each.alerts],
                "at_most_s": each.hold_s + request.fire_s,
            }
            for each in rounds
        ],
        "synthetic": {plan.name: plan.synthetic.why for plan in wanted if plan.synthetic is not None},
        "always": [plan.name for plan in wanted if plan.always],
        "undrilled": {plan.name: plan.undrilled for plan in wanted if plan.undrilled is not None},
        "factor": request.factor,
        "at_most_s": at_most_s(rounds, request),
    }


def at_most_s(rounds: Sequence[DrillRound], request: DrillRequest) -> float:
    """How long all of it takes at most; once that is over watchdogs put back whatever is left."""
    return sum(each.hold_s + request.fire_s + STEADY_S for each in rounds) + _QUIET_S + request.over_s + _AROUND_S


def drill(
    profile: Profile,
    plans: Sequence[AlertPlan],
    request: DrillRequest,
    state_dir: Path,
    progress_file: Optional[Path] = None,
) -> dict[str, Any]:
    """Drill the alerts of ``plans`` and tell what became of each, as plain data.

    :raises DrillPlanError, DrillNotPossible: it cannot begin. :raises PlatformBusy, LeftOpen: another run is at work or
    left something broken. :raises NotSteadyForDrill: the platform is sick. :raises NotScalable: shorter waits would
    change more than waits. :raises K2Error: a server does not answer. Nothing is left changed in any of these.
    """
    wanted = chosen(plans, request.only)
    rounds = rounds_of(profile, wanted)
    monitoring = monitoring_of(profile, request.receiver)
    monitoring.receiver.since(utc_us())  # one that cannot be read is told before anything is touched
    directory = state_dir / profile.platform.name
    with Progress(progress_file, "alert drill") as progress, PlatformLock(directory, request.run_id):
        journal = Journal(directory / "undo")
        earlier = undo_earlier(journal)
        work = _Drill(profile, wanted, rounds, request, monitoring, journal, directory / "drill", progress)
        return {**work.run(), "undone_before": list(earlier)}


class _Drill:
    def __init__(
        self,
        profile: Profile,
        plans: Sequence[AlertPlan],
        rounds: Sequence[DrillRound],
        request: DrillRequest,
        monitoring: Monitoring,
        journal: Journal,
        keep: Path,
        progress: Progress,
    ) -> None:
        self._profile = profile
        self._plans = plans
        self._rounds = rounds
        self._request = request
        self._monitoring = monitoring
        self._journal = journal
        self._keep = keep
        self._progress = progress
        self._deadline = Deadline.after(at_most_s(rounds, request))
        # For all rounds together, from the first look on.
        self._quiet = Deadline.after(_QUIET_S)
        self._held: list[Held] = []
        self._dead_man: Optional[DeadManSeen] = None

    def run(self) -> dict[str, Any]:
        started_us = utc_us()
        self._await_steady()
        before = deployed(self._monitoring)
        deployed_rules = self._deployed_rules(before)
        names = [plan.name for plan in self._plans]
        with self._faults("scaled") as config:
            proof = shorten(self._monitoring, before, names, self._request, config, self._keep)
            self._held += config.held
            self._await_healthy()
            intervals = {rule.name: group.interval_s for group in before.groups for rule in group.rules}
            live = LiveAlerts(self._profile, self._monitoring, deployed_rules, intervals)
            synthetic = self._begin_synthetic(deployed_rules)
            # What shows still of an earlier fault has time to be over meanwhile.
            for each in sorted(self._rounds, key=lambda each: bool(live.active(each))):
                self._await_quiet(each, live)
                self._round(each, live)
            live.wait_over(Deadline.after(self._request.over_s), self._tell)
            drilled_waits(live.seen, {rule.name: rule for _, rule in self._monitoring.prometheus.alerting_rules()})
            fed = [self._of_synthetic(one, deployed_rules) for one in self._end_synthetic(synthetic)]
            always = [self._always(plan, started_us) for plan in self._plans if plan.always]
            self._switch()
            self._tell("until rules and routes are as they were")
            config.end()
        left = not_put_back(self._monitoring, before)
        seen = [*live.seen, *fed, *always, *self._not_deployed(deployed_rules, live.seen, fed, always)]
        for one in seen:
            one.runbook = _runbook(one)
        return self._told(started_us, seen, proof, left)

    # -- acts --------------------------------------------------------------------------------------------------------

    def _faults(self, what: str) -> HeldFaults:
        parameters = {"kind": "fault", "drill": what}
        return HeldFaults(self._journal, self._request.run_id, parameters, self._deadline)

    def _round(self, each: DrillRound, live: LiveAlerts) -> None:
        self._tell(f"bringing about {', '.join(map(str, each.faults))}")
        with self._faults("live") as faults:
            live.run(each, faults, self._request.fire_s, self._tell)
            self._tell(f"ending {', '.join(map(str, each.faults))}")
            faults.end()
            live.ended(each, faults.held)
        self._held += faults.held
        self._await_steady()

    def _switch(self) -> None:
        for plan in self._plans:
            if plan.always:
                self._tell(f"cutting the path of {plan.name}")
                with self._faults("dead man's switch") as faults:
                    self._dead_man = drill_dead_man(
                        self._profile, plan, self._monitoring.receiver, self._request.dead_man_s, faults
                    )
                self._held += faults.held
                self._await_steady()

    def _begin_synthetic(self, rules: Mapping[str, RuleRun]) -> Future[tuple[SyntheticSeen, ...]]:
        plans = [plan for plan in self._plans if plan.synthetic is not None and plan.name in rules]

        def feed() -> tuple[SyntheticSeen, ...]:
            if not plans:
                return ()
            return drill_synthetic(
                plans,
                rules,
                program_of(self._profile, self._request.program),
                self._journal,
                self._request.run_id,
                self._monitoring.alertmanager.api.url,
                self._monitoring.receiver,
                self._request.factor,
            )

        # Beside the held faults, which mostly wait; it touches nothing that they do.
        return in_background(feed)

    def _end_synthetic(self, work: Future[tuple[SyntheticSeen, ...]]) -> Sequence[SyntheticSeen]:
        self._tell("until synthetic series are through")
        try:
            return work.result()
        except K2Error as error:
            plans = [plan for plan in self._plans if plan.synthetic is not None]
            return [SyntheticSeen(plan, problems=[str(error)]) for plan in plans]

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _await_steady(self) -> None:
        self._tell("until every service is well")
        deadline = Deadline.after(STEADY_S)
        while True:
            wrong = self._unwell()
            if not wrong:
                return
            if deadline.passed:
                raise NotSteadyForDrill(
                    "the platform is not well, so its alerts prove nothing",
                    expected=f"every service ready within {STEADY_S:g} s",
                    seen="; ".join(wrong),
                    action="mend it, and begin again",
                )
            time.sleep(_LOOK_S)

    def _unwell(self) -> list[str]:
        wrong = []
        for service in self._profile.services.values():
            watched = service.not_available is None and service.lifecycle is Lifecycle.LONG_RUNNING
            if watched and service.probe is not None:
                answer = run_probe(service.probe, self._profile.clickhouse)
                if not answer.ok:
                    wrong.append(f"{service.name}: {answer.detail}")
        return wrong

    def _await_quiet(self, each: DrillRound, live: LiveAlerts) -> None:
        """Wait until no alert of a round is there without its faults; one that stays is told with the alert."""
        while not self._quiet.passed and (names := live.active(each)):
            self._tell(f"until what was before shows no more: {', '.join(names)}, {self._quiet.remaining():.0f} s left")
            time.sleep(_LOOK_S)

    def _await_healthy(self) -> None:
        """Wait until all rules were evaluated, and until Prometheus knows again whom to tell: for some seconds after it
        has read its configuration it does not, and what fires then is told a minute later.
        """
        self._tell("until all rules were evaluated")
        deadline = Deadline.after(_HEALTHY_S)
        while not deadline.passed:
            rules = [rule for _, rule in self._monitoring.prometheus.alerting_rules()]
            if all(rule.health != "unknown" for rule in rules) and self._monitoring.prometheus.alertmanagers():
                return
            time.sleep(_LOOK_S)

    # -- what became of it -------------------------------------------------------------------------------------------

    def _deployed_rules(self, before: Deployed) -> dict[str, RuleRun]:
        """The rule of each planned alert as it runs; where an alert has several, the one that its labels are of."""
        by_name: dict[str, list[RuleRun]] = {}
        for group in before.groups:
            for rule in group.rules:
                by_name.setdefault(rule.name, []).append(rule)
        found = {plan.name: first_rule(by_name.get(plan.name, ()), plan.labels) for plan in self._plans}
        if not any(found.values()):
            raise DrillNotPossible(
                "none of the alerts is deployed",
                expected="rules for " + ", ".join(found),
                seen=f"{sum(map(len, by_name.values()))} rules at {self._monitoring.prometheus.api.url}",
                action="deploy them (role prometheus), then drill",
            )
        return {name: rule for name, rule in found.items() if rule is not None}

    def _of_synthetic(self, one: SyntheticSeen, rules: Mapping[str, RuleRun]) -> AlertSeen:
        assert one.plan.synthetic is not None
        rule = rules[one.plan.name]
        waits = next((text for text in one.waits if ": for " in text), "")
        drilled = float(waits.split(" -> ")[1].split()[0]) if waits else rule.duration_s
        return AlertSeen(
            name=one.plan.name,
            kind=SYNTHETIC,
            expected_labels=one.plan.labels,
            why=one.plan.synthetic.why,
            for_s=rule.duration_s,
            drilled_for_s=drilled,
            caused_us=None if one.fed_us is None else (one.fed_us, one.fed_us),
            occurrence=one.occurrence,
            others=one.others,
            evaluation=one.evaluation,
            ended_by=one.ended_by,
            problems=list(one.problems),
        )

    def _always(self, plan: AlertPlan, since_us: int) -> AlertSeen:
        """An alert that fires without a fault: it has to be firing and to arrive, and must not resolve."""
        seen = AlertSeen(plan.name, ALWAYS, plan.labels, why="it fires always", caused_us=(since_us, since_us))
        self._tell(f"until {plan.name} arrives")
        deadline = Deadline.after(_TOLD_AGAIN_S)
        try:
            self._look_always(plan, since_us, seen)
            while not deadline.passed and (seen.occurrence is None or seen.occurrence.delivered_us is None):
                time.sleep(_LOOK_S)
                self._look_always(plan, since_us, seen)
        except K2Error as error:
            seen.problems.append(str(error))
        return seen

    def _look_always(self, plan: AlertPlan, since_us: int, seen: AlertSeen) -> None:
        now_us = utc_us()
        window_s = (now_us - since_us) // 1_000_000 + 5
        series = self._monitoring.prometheus.query(f'ALERTS{{alertname="{plan.name}"}}[{window_s}s]')
        found = occurrences(series, since_us, now_us, _LOOK_S)
        right = [one for one in found if has_labels(one, plan.labels) and one.firing_us is not None]
        seen.others = tuple(one.labels for one in found if one not in right and one.firing_us is not None)
        if right:
            record = [one for one in self._monitoring.receiver.since(since_us) if one.status == FIRING]
            seen.occurrence = with_deliveries(right[0], record, since_us)

    def _not_deployed(self, rules: Mapping[str, RuleRun], *known: Sequence[AlertSeen]) -> list[AlertSeen]:
        told = {one.name for group in known for one in group}
        return [
            AlertSeen(
                plan.name,
                SYNTHETIC if plan.synthetic is not None else "",
                plan.labels,
                why=plan.undrilled or "",
                problems=[]
                if plan.undrilled
                else ["no such rule runs" if plan.name not in rules else "it was not drilled"],
            )
            for plan in self._plans
            if plan.name not in told
        ]

    def _told(
        self, started_us: int, seen: Sequence[AlertSeen], proof: ScaledProof, left: Sequence[str]
    ) -> dict[str, Any]:
        return {
            "started_us": started_us,
            "ended_us": utc_us(),
            "factor": self._request.factor,
            "receiver": self._monitoring.receiver.place,
            "alerts": [one.to_plain() for one in seen],
            "faults": [one.to_plain() for one in self._held],
            "scaled": proof.to_plain(),
            "not_put_back": list(left),
            "dead_man": None if self._dead_man is None else self._dead_man.to_plain(),
        }

    def _tell(self, doing: str) -> None:
        self._progress.update(message=doing)


def _runbook(one: AlertSeen) -> Optional[dict[str, Any]]:
    """Whether the runbook that the delivered alert names can be had; None where it names none."""
    url = one.occurrence.annotations.get("runbook_url", "") if one.occurrence is not None else ""
    if not url:
        return None
    base, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if base not in ("http", "https") or not host:
        return {"url": url, "reachable": False, "what": "not an http(s) address, so nobody asked"}
    try:
        status, _ = HttpApi("the runbook", f"{base}://{host}", _RUNBOOK_S).ask("GET", slash + path.partition("#")[0])
    except (K2Error, ValueError) as error:
        return {"url": url, "reachable": False, "what": getattr(error, "seen", "") or str(error)}
    return {"url": url, "reachable": status < 400, "what": f"status {status}"}
