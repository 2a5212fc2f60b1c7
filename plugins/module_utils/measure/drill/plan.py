# SPDX-License-Identifier: Apache-2.0
"""What is to be drilled: each alert with the fault that causes it, or with series where no fault can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ...core.errors import K2Error
from ...core.suggest import did_you_mean
from ...profile.failures import CRASH, HELD, all_modes, on_hot_path
from ...profile.model import FailureMode, FaultAction, Profile, Service, ServiceKind


class DrillPlanError(K2Error):
    """What is to be drilled does not fit the platform."""


@dataclass(frozen=True)
class DrillFault:
    """A failure mode on one service, held (where its action lasts) until the alerts that it causes have arrived."""

    mode: str
    service: str

    def __str__(self) -> str:
        return f"{self.mode} on {self.service}"


@dataclass(frozen=True)
class Synthetic:
    """Series to be fed where no fault can cause an alert, and the reason why none can.

    ``series`` are as in promtool's rule tests: selectors and values in its notation, ``interval_s`` apart; at ``at_s``
    the alert has to fire. ``quiet`` are series for which it does not. Values of series named in ``epoch`` are Unix
    times, counted from the beginning of the case as promtool does.
    """

    why: str
    interval_s: float
    series: Mapping[str, str]
    at_s: float
    quiet: Mapping[str, str]
    epoch: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlertPlan:
    """One alert of the catalogue. ``labels`` are what it has to carry at least, those that its fault gives included.

    Where ``of_service`` holds, the label ``service`` has to name the service that was broken. Exactly one of
    ``mode`` (the failure mode that causes it, held for ``hold_s`` at least where that is more than its own time),
    ``synthetic``, ``undrilled`` (the reason why it is not drilled) and ``always`` (it fires without any fault, as a
    watchdog does) is there.
    """

    name: str
    labels: Mapping[str, str]
    of_service: bool = False
    mode: Optional[str] = None
    hold_s: float = 0.0
    synthetic: Optional[Synthetic] = None
    undrilled: Optional[str] = None
    always: bool = False


@dataclass(frozen=True)
class LiveAlert:
    """An alert with the fault that is to cause it, and all labels that it then has to carry."""

    plan: AlertPlan
    fault: DrillFault
    labels: Mapping[str, str]


@dataclass(frozen=True)
class DrillRound:
    """Faults that are held side by side, and the alerts that they are to cause."""

    faults: tuple[DrillFault, ...]
    alerts: tuple[LiveAlert, ...]

    @property
    def hold_s(self) -> float:
        """How long the faults may have to be held for all of their alerts."""
        return max(alert.plan.hold_s for alert in self.alerts)


def read_plans(plain: Sequence[Mapping[str, Any]]) -> tuple[AlertPlan, ...]:
    """Plans as the module takes them.

    :raises DrillPlanError: one is no plan, or two have one name.
    """
    plans: list[AlertPlan] = []
    for number, each in enumerate(plain):
        try:
            plans.append(_read(each))
        except (KeyError, TypeError, ValueError) as error:
            raise DrillPlanError(
                f"alert {each.get('name') or number} of the drill cannot be read",
                expected="name, labels, and one of mode, synthetic, undrilled and always",
                seen=f"{type(error).__name__}: {error}",
            ) from error
    names = [plan.name for plan in plans]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DrillPlanError("alerts of the drill share a name", expected="each once", seen=", ".join(twice))
    return tuple(plans)


def _read(plain: Mapping[str, Any]) -> AlertPlan:
    mode, synthetic, undrilled = plain.get("mode"), plain.get("synthetic"), plain.get("undrilled")
    always = bool(plain.get("always"))
    ways = sum((mode is not None, synthetic is not None, undrilled is not None, always))
    if ways != 1:
        raise ValueError(f"{ways} ways to drill it, expected one")
    labels = {**(plain.get("labels") or {}), **((synthetic or {}).get("labels") or {})}
    return AlertPlan(
        name=str(plain["name"]),
        labels={str(key): str(value) for key, value in labels.items()},
        of_service=bool(plain.get("of_service")),
        mode=None if mode is None else str(mode),
        hold_s=float(plain.get("hold_s") or 0.0),
        synthetic=None if synthetic is None else _synthetic(synthetic),
        undrilled=None if undrilled is None else str(undrilled),
        always=always,
    )


def _synthetic(plain: Mapping[str, Any]) -> Synthetic:
    return Synthetic(
        why=str(plain["why"]),
        interval_s=float(plain["interval_s"]),
        series={str(key): str(value) for key, value in (plain.get("series") or {}).items()},
        at_s=float(plain["at_s"]),
        quiet={str(key): str(value) for key, value in (plain.get("quiet") or {}).items()},
        epoch=tuple(map(str, plain.get("epoch") or ())),
    )


def chosen(plans: Sequence[AlertPlan], only: Sequence[str]) -> tuple[AlertPlan, ...]:
    """The plans that were asked for by name; all when ``only`` is empty.

    :raises DrillPlanError: one is unknown.
    """
    known = {plan.name: plan for plan in plans}
    for name in only:
        if name not in known:
            raise DrillPlanError(
                f"there is no alert {name!r} to drill",
                expected="an alert of the catalogue",
                seen=name,
                action=did_you_mean(name, known),
            )
    return tuple(plan for plan in plans if not only or plan.name in only)


def rounds_of(profile: Profile, plans: Sequence[AlertPlan]) -> tuple[DrillRound, ...]:
    """Live alerts by rounds, those with the longest faults first.

    Faults are held side by side, except on parts that all share: these have a round of their own, or each would be
    taken for the other's doing. A service is broken in one way in a round.

    :raises DrillPlanError: a mode is none of this platform.
    """
    live = _with_faults(profile, [plan for plan in plans if plan.mode is not None])
    together: list[list[DrillFault]] = []
    for fault in dict.fromkeys(alert.fault for alert in live):
        for held in together:
            if not any(_clash(profile, fault, other) for other in held):
                held.append(fault)
                break
        else:
            together.append([fault])
    rounds = (DrillRound(tuple(held), tuple(one for one in live if one.fault in held)) for held in together)
    return tuple(sorted(rounds, key=lambda each: -each.hold_s))


def _with_faults(profile: Profile, plans: Sequence[AlertPlan]) -> list[LiveAlert]:
    modes = {plan.name: mode_named(profile, str(plan.mode)) for plan in plans}
    # A mode with one service has no choice; one with several takes a service that nothing else breaks.
    order = sorted(plans, key=lambda plan: len(modes[plan.name].services))
    faults: dict[str, DrillFault] = {}
    for plan in order:
        mode = modes[plan.name]
        taken = {fault.service for fault in faults.values()}
        free = [name for name in mode.services if name not in taken]
        faults.setdefault(mode.name, DrillFault(mode.name, (free or mode.services)[0]))
    found = []
    for plan in plans:
        fault = faults[modes[plan.name].name]
        labels = dict(plan.labels) | ({"service": fault.service} if plan.of_service else {})
        found.append(LiveAlert(plan, fault, labels))
    return found


def mode_named(profile: Profile, name: str) -> FailureMode:
    """The failure mode of that name; ``crash`` is that of the first service that has no mode of its own.

    :raises DrillPlanError: there is none, or the platform cannot have it.
    """
    modes = {mode.name: mode for mode in all_modes(profile)}
    crash = next((each for each in modes if each.startswith(CRASH)), None)
    mode = modes.get(crash or "" if name == CRASH.rstrip("_") else name)
    if mode is None or mode.not_applicable is not None:
        raise DrillPlanError(
            f"no fault {name!r} can cause an alert here",
            expected="a failure mode of this platform",
            seen=name if mode is None else f"not_applicable: {mode.not_applicable}",
            action=did_you_mean(name, modes) if mode is None else "",
        )
    return mode


def held_longer(mode: FailureMode, hold_s: float) -> FailureMode:
    """The mode with a time that leaves room for its alerts; one that is over in an instant stays so."""
    return replace(mode, duration_s=max(mode.duration_s, hold_s)) if lasts(mode) else mode


def lasts(mode: FailureMode) -> bool:
    """Whether the fault is there until it is ended."""
    return mode.action in HELD


def _clash(profile: Profile, one: DrillFault, other: DrillFault) -> bool:
    return (
        one.service == other.service or _shared(profile, one) or _shared(profile, other) or _apart(profile, one, other)
    )


def _apart(profile: Profile, one: DrillFault, other: DrillFault) -> bool:
    """Whether one would keep the other from showing: a worker that is down starts no run that could fail."""
    workers = [
        fault
        for fault in (one, other)
        if profile.services[fault.service].kind is ServiceKind.WORKER
        or mode_named(profile, fault.mode).action is FaultAction.KILL_RUN
    ]
    return len(workers) == 1 and profile.services[_other(workers[0], one, other)].tier == (
        profile.services[workers[0].service].tier
    )


def _other(known: DrillFault, one: DrillFault, other: DrillFault) -> str:
    return other.service if known is one else one.service


def _shared(profile: Profile, fault: DrillFault) -> bool:
    """Whether others stop with it: stores that all exchanges go through, and what delivers alerts."""
    service = profile.services[fault.service]
    stores = service.kind in (ServiceKind.BROKER, ServiceKind.DATABASE) and on_hot_path(profile, service)
    return stores or (service.kind is ServiceKind.MONITORING and _is_addressed(profile, service))


def _is_addressed(profile: Profile, service: Service) -> bool:
    alerting = profile.alerting
    urls = () if alerting is None else (alerting.prometheus_url, alerting.alertmanager_url)
    return service.port is not None and any(url and url.rstrip("/").endswith(f":{service.port}") for url in urls)
