# SPDX-License-Identifier: Apache-2.0
"""Which failure modes are brought about in which order, and what shares a load and an audit.

Each mode that the profile lists is a round of its own, with a load through it and a ledger after it. Crashes that
follow from the services and stand next to each other in the order of risk share one: their ledger is over all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core.errors import K2Error
from ...core.suggest import did_you_mean
from ...profile.failures import all_modes, crash_modes
from ...profile.model import FailureMode, FaultAction, Profile
from .request import FailureRequest, UnknownFailure, at_most_s, held_s, plan

CRASHES = "crashes"
# Around each fault: steady before, the watch beyond the target, steady after, and room for a module to start. A load
# that ends within that would look like a fault.
_AROUND_S = 120.0
# More than these are not all named.
_FEW = 3


@dataclass(frozen=True)
class Round:
    """Faults that one load runs through and one audit follows; ``implied`` tells that they are crashes."""

    name: str
    implied: bool
    modes: tuple[FailureMode, ...]

    @property
    def faults(self) -> tuple[tuple[FailureMode, str], ...]:
        """Each mode with each of its services, in order."""
        return tuple((mode, service) for mode in self.modes for service in mode.services)


def rounds(profile: Profile, only: Collection[str] = ()) -> tuple[tuple[Round, ...], tuple[str, ...]]:
    """The rounds, in order of rising risk, and the names of modes that were not chosen.

    :arg only: names of modes; ``crashes`` stands for all that follow from the services. Empty: all.
    :raises UnknownFailure: one is no mode of this platform.
    """
    every = [mode for mode in all_modes(profile) if mode.not_applicable is None]
    implied = {mode.name for mode in crash_modes(profile)}
    known = {mode.name for mode in every}
    for name in only:
        if name not in known and name != CRASHES:
            raise UnknownFailure(
                f"there is no failure mode {name!r} to choose",
                expected=f"modes of this platform, or {CRASHES} for all that follow from its services",
                seen=name,
                action=did_you_mean(name, [*known, CRASHES]),
            )
    wanted = set(only) | (implied if CRASHES in only else set())
    found: list[Round] = []
    for mode in every:
        if only and mode.name not in wanted:
            continue
        if mode.name in implied and found and found[-1].implied:
            found[-1] = Round(found[-1].name, True, (*found[-1].modes, mode))
        else:
            found.append(Round(mode.name, mode.name in implied, (mode,)))
    left = tuple(mode.name for mode in every if only and mode.name not in wanted)
    return tuple(found), left


def to_plain(profile: Profile, found: Collection[Round], waits: FailureRequest) -> list[dict[str, Any]]:
    """As modules return them, each fault with its plan or why there is none; looks at units, touches nothing.

    :arg waits: how long will be waited for what; its mode counts for nothing.
    """
    return [
        {
            "name": each.name if not each.implied else _name_of(each),
            "implied": each.implied,
            "modes": [mode.name for mode in each.modes],
            "at_most_s": sum(at_most_s(waits, mode) for mode, _ in each.faults),
            "likely_s": sum(_likely_s(profile, mode) for mode, _ in each.faults),
            "faults": [_planned(profile, mode, service, waits) for mode, service in each.faults],
        }
        for each in found
    ]


def _name_of(each: Round) -> str:
    if len(each.modes) == 1:
        return each.modes[0].name
    services = [service for _, service in each.faults]
    told = ", ".join(services) if len(services) <= _FEW else f"{services[0]} .. {services[-1]}"
    return f"{len(each.modes)} crashes: {told}"


def _likely_s(profile: Profile, mode: FailureMode) -> float:
    """How long a fault takes where everything is back just in time, and a run comes when it is due."""
    due_s = 0.0
    if mode.action is FaultAction.KILL_RUN and profile.orchestrator is not None:
        due_s = max((each.interval_s for each in profile.orchestrator.deployments), default=0.0)
    return _AROUND_S + due_s + held_s(mode) + mode.max_recovery_s


def _planned(profile: Profile, mode: FailureMode, service: str, waits: FailureRequest) -> Mapping[str, Any]:
    try:
        return plan(profile, replace(waits, mode=mode.name, service=service))
    except K2Error as error:
        return {"mode": mode.name, "service": service, "obstacle": str(error)}
