# SPDX-License-Identifier: Apache-2.0
"""Which runbooks a platform has: one for each failure mode that it lists, for stalled candles, for a kill by the kernel
for want of memory, and for any other service that is down.
"""

from __future__ import annotations

from typing import Optional

from .failures import CRASH, CRASH_MAX_RECOVERY_S, affected_by_a_crash, crash_modes, on_hot_path
from .model import (
    FailureMode,
    FaultAction,
    Lifecycle,
    LossAllowed,
    Profile,
    RecoveryFrom,
    RecoveryPoint,
    Service,
    ServiceKind,
)

STALLED_VIEW = "candle_view_stall"
OOM_KILL = "oom_kill"
ANY_CRASH = "crash"
# Pages that are about no failure; alerts lead to them.
GENERAL = ("monitoring", "disk_space")
# Where an alert leads whose own runbook a platform does not have.
ON_CALL = "on-call"
# Who stands for any service that the kernel may kill: the first of these that loses nothing, else who is there.
_KILLED = (ServiceKind.PROCESSOR, ServiceKind.WORKER, ServiceKind.MONITORING, ServiceKind.DASHBOARD)


def runbook_modes(profile: Profile) -> tuple[FailureMode, ...]:
    """What there is a runbook for, in the order of the profile; ``not_applicable`` where the platform cannot have it.

    Those that the profile does not list are written as failure modes, too: what is broken, and how.
    """
    own = [mode for mode in profile.failure_modes.values() if mode.name not in (STALLED_VIEW, OOM_KILL, ANY_CRASH)]
    return (*own, _stalled_view(profile), _oom_kill(profile), _any_crash(profile))


def known_runbooks(profile: Profile) -> tuple[str, ...]:
    """The runbooks of a platform by name; each is a page."""
    return (*(mode.name for mode in runbook_modes(profile)), *GENERAL)


def page_of(profile: Profile, runbook: str) -> str:
    """The page that an alert with this runbook leads to on this platform; there is always one."""
    return runbook if runbook in known_runbooks(profile) else ON_CALL


def _stalled_view(profile: Profile) -> FailureMode:
    candles = [tier for tier in profile.tiers if tier.timeframe]
    if not candles:
        return _mode(profile, STALLED_VIEW, FaultAction.PAUSE, None, "the platform has no candles")
    found = [each for each in _breakable(profile) if each.kind is ServiceKind.PROCESSOR and on_hot_path(profile, each)]
    why = "no service of kind processor that may be broken writes what candles are made of: the database does by itself"
    return _mode(profile, STALLED_VIEW, FaultAction.PAUSE, found[0] if found else None, why)


def _oom_kill(profile: Profile) -> FailureMode:
    killed = sorted(
        (service for service in _breakable(profile) if service.kind is not ServiceKind.SOURCE),
        key=lambda service: _KILLED.index(service.kind) if service.kind in _KILLED else len(_KILLED),
    )
    why = "no service may be broken"
    return _mode(profile, OOM_KILL, FaultAction.KILL, killed[0] if killed else None, why)


def _any_crash(profile: Profile) -> FailureMode:
    names = [mode.name[len(CRASH) :] for mode in crash_modes(profile)]
    # The one whose loss hurts least stands for all.
    services = sorted((profile.services[name] for name in names), key=lambda each: on_hot_path(profile, each))
    why = "every service that may be broken has a failure mode of its own"
    return _mode(profile, ANY_CRASH, FaultAction.KILL, services[0] if services else None, why)


def _breakable(profile: Profile) -> tuple[Service, ...]:
    return tuple(
        service
        for service in profile.services.values()
        if service.allow_faults and service.not_available is None and service.lifecycle is Lifecycle.LONG_RUNNING
    )


def _mode(profile: Profile, name: str, action: FaultAction, service: Optional[Service], why_not: str) -> FailureMode:
    return FailureMode(
        name=name,
        services=() if service is None else (service.name,),
        action=action,
        duration_s=0.0,
        max_recovery_s=CRASH_MAX_RECOVERY_S,
        recovery_from=RecoveryFrom.INJECTION,
        recovery_at=RecoveryPoint.SERVED,
        loss=LossAllowed.NONE,
        max_loss_s=0.0,
        affects=() if service is None else affected_by_a_crash(profile, service),
        affects_exchanges=None,
        not_applicable=why_not if service is None else None,
    )
