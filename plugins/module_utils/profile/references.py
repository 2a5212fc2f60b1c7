# SPDX-License-Identifier: Apache-2.0
"""Checks that concern two places of the profile: references that lead nowhere, and contradictions."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ..core.suggest import did_you_mean
from .amounts import amounts_at_odds
from .failures import CRASH, HELD
from .model import (
    CANDLES,
    DEFAULT_SEGMENTS,
    FailureMode,
    FaultAction,
    Finding,
    Profile,
    RecoveryFrom,
    RecoveryPoint,
    Service,
    SqlProbe,
)
from .reader import Problem


def check_references(profile: Profile) -> list[Problem]:
    """Problems of names that are used but not defined, or defined twice."""
    problems: list[Problem] = []
    problems += _check_runtimes(profile)
    problems += _check_exchanges(profile)
    problems += _check_tiers(profile)
    problems += _check_service_names(profile)
    problems += _check_addresses(profile)
    problems += _check_needs(profile)
    problems += _check_load(profile)
    return problems


def _missing(path: str, name: str, known: Iterable[str], what: str) -> list[Problem]:
    names = list(known)
    if name in names:
        return []
    return [Problem(path, what, repr(name), did_you_mean(name, names))]


def _check_runtimes(profile: Profile) -> list[Problem]:
    used = {"k2_platform.runtime": profile.platform.runtime}
    for service in profile.services.values():
        used.setdefault(f"k2_services.{service.name}.runtime", service.runtime)
    return [
        problem
        for path, kind in used.items()
        for problem in _missing(
            path, kind.value, profile.platform.runtimes, "a runtime that k2_platform.runtimes describes"
        )
    ]


def _check_exchanges(profile: Profile) -> list[Problem]:
    """Exchanges are defined by the broker's topics; without a broker, by the services."""
    if profile.broker is None or not profile.broker.topics:
        return []
    known = profile.broker.topics
    used = [(f"k2_services.{s.name}.exchange", s.exchange) for s in profile.services.values()]
    used += [(f"k2_tiers[{i}].exchange", tier.exchange) for i, tier in enumerate(profile.tiers)]
    return [p for path, name in used if name for p in _missing(path, name, known, "an exchange of k2_broker.topics")]


def _check_tiers(profile: Profile) -> list[Problem]:
    problems: list[Problem] = []
    names = [tier.name for tier in profile.tiers]
    sections = {
        "k2_broker": profile.broker,
        "k2_clickhouse": profile.clickhouse,
        "k2_object_store": profile.object_store,
    }
    for index, tier in enumerate(profile.tiers):
        path = f"k2_tiers[{index}]"
        if tier.name in names[:index]:
            problems.append(Problem(f"{path}.name", "a name no other tier has", f"{tier.name!r} a second time"))
        if sections[tier.store.section] is None:
            problems.append(
                Problem(f"{path}.store", f"{tier.store.section} to be described", f"no {tier.store.section}")
            )
        if tier.exchange and tier.exchange_column:
            problems.append(
                Problem(path, "exchange or exchange_column", "both", "give exchange where a table holds only one")
            )
        if tier.source is not None:
            problems += _missing(f"{path}.source", tier.source, names, "a tier")
        if tier.freshness is not None:
            problems += _missing(
                f"{path}.freshness.hop", tier.freshness.hop, tier.time_columns, "a hop of its time_columns"
            )
    for service in profile.services.values():
        if isinstance(service.probe, SqlProbe) and profile.clickhouse is None:
            problems.append(
                Problem(f"k2_services.{service.name}.probe.sql", "k2_clickhouse to be described", "no k2_clickhouse")
            )
    return problems


def _check_service_names(profile: Profile) -> list[Problem]:
    problems: list[Problem] = []
    units: dict[tuple[str, str], str] = {}
    for service in profile.services.values():
        key = (service.runtime.value, service.unit)
        if key in units:
            path = f"k2_services.{service.name}.unit"
            problems.append(Problem(path, "a unit of its own", f"{service.unit!r}, also of {units[key]}"))
        units[key] = service.name
    seen: set[str] = set()
    for index, group in enumerate(profile.broker.groups if profile.broker else ()):
        path = f"k2_broker.groups[{index}]"
        problems += _missing(f"{path}.service", group.service, profile.services, "a service of k2_services")
        if group.name in seen:
            problems.append(Problem(f"{path}.name", "a name no other group has", f"{group.name!r} a second time"))
        seen.add(group.name)
        problems += _check_group_topics(profile, path, group.topics)
    for mode in profile.failure_modes.values():
        problems += _check_failure_mode(profile, mode)
    return problems


def _check_addresses(profile: Profile) -> list[Problem]:
    problems: list[Problem] = []
    owners: dict[tuple[str, str], str] = {}
    for service in profile.services.values():
        settings = profile.platform.runtimes.get(service.runtime.value)
        if service.ipv4 is None or settings is None:
            continue
        path = f"k2_services.{service.name}.ipv4"
        place = f"k2_platform.runtimes.{service.runtime.value}"
        if not settings.networks:
            problems.append(Problem(path, f"{place}.networks to be described", "no networks"))
        elif settings.subnet is not None and _outside(service.ipv4, settings.subnet):
            problems.append(Problem(path, f"an address in {place}.subnet, {settings.subnet}", repr(service.ipv4)))
        owner = owners.setdefault((service.runtime.value, service.ipv4), service.name)
        if owner != service.name:
            problems.append(Problem(path, "an address of its own", f"{service.ipv4!r}, also of {owner}"))
    return problems


def _outside(address: str, subnet: str) -> bool:
    return ipaddress.IPv4Address(address) not in ipaddress.IPv4Network(subnet)


def _check_failure_mode(profile: Profile, mode: FailureMode) -> list[Problem]:
    path = f"k2_failure_modes.{mode.name}"
    problems: list[Problem] = []
    for key, names in (("services", mode.services), ("affects", mode.affects)):
        for name in names:
            problems += _missing(f"{path}.{key}", name, profile.services, "a service of k2_services")
    for name in mode.affects_exchanges or ():
        problems += _missing(f"{path}.affects_exchanges", name, profile.exchanges, "an exchange of the platform")
    # Two modes of one name would share their gates.
    crashing = mode.name[len(CRASH) :] if mode.name.startswith(CRASH) else ""
    own = mode.services == (crashing,) and mode.action is FaultAction.KILL
    if crashing in profile.services and not own and mode.not_applicable is None:
        what = f"services [{crashing}] and action kill, which this name stands for"
        problems.append(Problem(path, what, f"[{', '.join(mode.services)}] and {mode.action.value}"))
    return problems


def _check_group_topics(profile: Profile, path: str, topics: Iterable[str]) -> list[Problem]:
    assert profile.broker is not None
    known = {t for pair in profile.broker.topics.values() for t in (pair.raw, pair.normalised) if t}
    if profile.broker.dead_letter:
        known.add(profile.broker.dead_letter)
    return [p for topic in topics for p in _missing(f"{path}.topics", topic, known, "a topic of k2_broker")]


def _check_needs(profile: Profile) -> list[Problem]:
    problems: list[Problem] = []
    for section, described in (("k2_watermarks", profile.watermarks), ("k2_orchestrator", profile.orchestrator)):
        for name in described.needs if described else ():
            problems += _missing(f"{section}.needs", name, profile.services, "a service of k2_services")
    names = [deployment.name for deployment in profile.orchestrator.deployments] if profile.orchestrator else []
    for index, name in enumerate(names):
        if name in names[:index]:
            path = f"k2_orchestrator.deployments[{index}].name"
            problems.append(Problem(path, "a name no other deployment has", f"{name!r} a second time"))
    return problems


def _check_load(profile: Profile) -> list[Problem]:
    load = profile.load
    if load is None:
        return []
    problems: list[Problem] = []
    for section, named in (("targets", load.targets), ("stretch", load.stretch)):
        for name in named:
            problems += _missing(f"k2_load.{section}.{name}", name, load.rates, "a load of k2_load.rates")
    moments = {hop for tier in profile.tiers for hop in tier.time_columns}
    moments |= {tier.name for tier in profile.tiers if tier.timeframe is None} | {CANDLES}
    names = [segment.name for segment in load.segments]
    for index, segment in enumerate(load.segments):
        path = f"k2_load.segments[{index}]"
        if segment.name in names[:index]:
            problems.append(Problem(f"{path}.name", "a name no other segment has", f"{segment.name!r} a second time"))
        # What the default segments name need not exist: on such a platform they are not measurable, and say so.
        if segment not in DEFAULT_SEGMENTS:
            what = "a hop or a tier of k2_tiers, or candles"
            problems += _missing(f"{path}.from", segment.start, moments, what)
            problems += _missing(f"{path}.to", segment.end, moments, what)
    if profile.broker is not None and profile.broker.topics:
        for name in load.records:
            problems += _missing(f"k2_load.records.{name}", name, profile.broker.topics, "an exchange of k2_broker")
    return problems


def contradictions(profile: Profile) -> tuple[Finding, ...]:
    """What the profile contradicts elsewhere: amounts that cannot all hold, faults not allowed."""
    findings = amounts_at_odds(profile)
    for mode in profile.failure_modes.values():
        if mode.not_applicable is None:
            findings += _impossible_faults(profile, mode)
    return tuple(findings)


def _impossible_faults(profile: Profile, mode: FailureMode) -> list[Finding]:
    path = f"k2_failure_modes.{mode.name}"
    services = [profile.services[name] for name in mode.services]
    findings = [
        Finding(path, f"breaks {s.name}, which is not available: {s.not_available}: this mode cannot be brought about")
        for s in services
        if s.not_available is not None
    ]
    refused = [s.name for s in services if s.not_available is None and not s.allow_faults]
    if refused:
        text = f"breaks {', '.join(refused)}, which allow_faults does not permit: this mode will be refused"
        findings.append(Finding(path, text))
    return findings + [Finding(path, text) for text in _pointless(profile, mode, services)]


def _pointless(profile: Profile, mode: FailureMode, services: Iterable[Service]) -> list[str]:
    """What makes a mode prove nothing, although it can be brought about."""
    texts = []
    action = mode.action.value
    if mode.action in HELD and not mode.duration_s:
        texts.append(f"{action} lasts for duration_s, which is 0: nothing will be seen of it")
    if mode.recovery_from is RecoveryFrom.HEAL and mode.action not in HELD:
        texts.append(f"recovers from its heal, but {action} is over in an instant: time cannot be counted")
    for service in services:
        if mode.action is FaultAction.KILL and not service.restart_expected:
            texts.append(f"kills {service.name}, which restart_expected says nothing restarts")
        if mode.action is FaultAction.CUT_SOURCE and service.exchange is None:
            texts.append(f"cuts {service.name} off its exchange, but it has none")
    next_run = mode.recovery_at is RecoveryPoint.NEXT_RUN
    if mode.action is FaultAction.KILL_RUN and not next_run:
        texts.append(f"kills a run and recovers when {mode.recovery_at.value}, which says nothing of the next run")
    deployments = profile.orchestrator.deployments if profile.orchestrator is not None else ()
    if next_run and (not deployments or profile.watermarks is None):
        texts.append("recovers with the next run, but k2_orchestrator has no deployment or there is no k2_watermarks")
    return texts
