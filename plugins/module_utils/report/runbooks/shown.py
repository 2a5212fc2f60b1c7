# SPDX-License-Identifier: Apache-2.0
"""What a runbook shows: a command with what is expected of it, and the service that commands are about."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Optional

from ...measure.runbook.expectation import Condition, Expectation, Kind
from ...profile.model import Profile, Service
from .commands import Commands, commands_for, unit_word
from .shell import probe_command


@dataclass(frozen=True)
class Shown:
    """A command as a runbook shows it: why, what, and what is expected of it."""

    title: str
    why: str
    command: str
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True)
class Subject:
    """What a runbook's commands are about: a service, or any of several through shell variables.

    ``choose`` are the lines that set those variables; the first service is chosen as the page stands.
    """

    service: Service
    commands: Commands
    unit: str
    name: str
    exchange: str
    probe: str
    choose: tuple[str, ...] = ()


def subject_of(profile: Profile, names: tuple[str, ...]) -> Optional[Subject]:
    """The subject of a runbook; ``names`` are the services that it may be about. None without any."""
    services = [profile.services[name] for name in names]
    if not services:
        return None
    first = services[0]
    if len(services) == 1:
        unit, probe = first.unit, probe_command(profile, first)
        commands = commands_for(profile.platform, first.runtime, unit)
        word = unit_word(profile.platform, first.runtime, unit)
        return Subject(first, commands, word, first.name, first.exchange or "", probe)
    cases = []
    for service in services:
        unit = unit_word(profile.platform, service.runtime, service.unit)
        words = [f"unit={unit}", f"exchange={shlex.quote(service.exchange or '')}"]
        probe = probe_command(profile, service) or "true"
        cases.append(f"  {shlex.quote(service.name)}) {' '.join(words)}; probe() {{ {probe}; }} ;;")
    others = ", ".join(service.name for service in services[1:])
    choose = (
        f"service={shlex.quote(first.name)}  # the one that the alert names, or {others}",
        "case $service in",
        *cases,
        "esac",
    )
    probed = all(probe_command(profile, service) for service in services)
    commands = commands_for(profile.platform, first.runtime, "$unit")
    return Subject(first, commands, "$unit", "the service", "$exchange", "probe" if probed else "", choose)


def line(kind: Kind, condition: Condition, *words: str, within_s: int = 0) -> Expectation:
    """An expectation in one call."""
    return Expectation(kind, condition, tuple(words), within_s)
