# SPDX-License-Identifier: Apache-2.0
"""What follows from the failure modes of a profile: crashes that it need not list, their order, what each may touch.

One home for these, since planning a fault, watching it and judging it must agree on whom it may hurt.
"""

from __future__ import annotations

from typing import Optional

from .model import (
    HOT,
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

CRASH = "crash_"
CRASH_MAX_RECOVERY_S = 30.0
# Parts that all exchanges share, where they are on the hot path.
_SHARED_KINDS = (ServiceKind.BROKER, ServiceKind.DATABASE, ServiceKind.PROCESSOR)
# Actions that last until they are ended; the others are over in an instant.
HELD = (FaultAction.STOP, FaultAction.PAUSE, FaultAction.DISCONNECT, FaultAction.CUT_SOURCE)


def crash_modes(profile: Profile) -> tuple[FailureMode, ...]:
    """A crash of every service that may be broken and restarts by itself, unless a mode of the profile has it crash.

    Sources are left out: they stand for the world outside, not for the platform.
    """
    crashing = {
        name
        for mode in profile.failure_modes.values()
        if mode.action is FaultAction.KILL and mode.not_applicable is None
        for name in mode.services
    }
    return tuple(
        FailureMode(
            name=CRASH + service.name,
            services=(service.name,),
            action=FaultAction.KILL,
            duration_s=0.0,
            max_recovery_s=CRASH_MAX_RECOVERY_S,
            recovery_from=RecoveryFrom.INJECTION,
            recovery_at=RecoveryPoint.SERVED,
            loss=LossAllowed.NONE,
            max_loss_s=0.0,
            affects=affected_by_a_crash(profile, service),
            affects_exchanges=None,
            not_applicable=None,
        )
        for service in profile.services.values()
        if _crashes(service) and service.name not in crashing
    )


def all_modes(profile: Profile) -> tuple[FailureMode, ...]:
    """Every failure mode, those of the profile and the crashes, in order of rising risk; order of the profile else."""
    modes = (*profile.failure_modes.values(), *crash_modes(profile))
    return tuple(sorted(modes, key=lambda mode: _risk(profile, mode)))


def affected_exchanges(profile: Profile, mode: FailureMode, service: Service) -> tuple[str, ...]:
    """The exchanges whose flow may stop while ``mode`` is brought about on ``service``."""
    if mode.affects_exchanges is not None:
        return mode.affects_exchanges
    if mode.action is FaultAction.KILL_RUN:
        return ()
    if service.kind is ServiceKind.FEED_HANDLER or mode.action is FaultAction.CUT_SOURCE:
        return (service.exchange,) if service.exchange else profile.exchanges
    if service.kind is ServiceKind.SOURCE:
        return (service.exchange,) if service.exchange else profile.exchanges
    return profile.exchanges if _is_shared(profile, service) else ()


def on_hot_path(profile: Profile, service: Service) -> bool:
    """Whether records pass the service on their way to the candles: it says so, or it is the store of the tiers."""
    store = profile.clickhouse
    holds_tiers = store is not None and service.kind is ServiceKind.DATABASE and service.port == store.port
    return service.tier == HOT or holds_tiers


def may_touch(
    profile: Profile, mode: FailureMode, service: Service, watched: Optional[str], exchange: Optional[str]
) -> bool:
    """Whether ``mode`` on ``service`` may disturb the service ``watched`` or, where that is None, the exchange's flow.

    Of a mode with several services one is hit after the other: the others are out of reach meanwhile.
    """
    if watched is None:
        return exchange in affected_exchanges(profile, mode, service)
    return watched == service.name or watched in mode.affects


def _crashes(service: Service) -> bool:
    return (
        service.lifecycle is Lifecycle.LONG_RUNNING
        and service.allow_faults
        and service.restart_expected
        and service.not_available is None
        and service.kind is not ServiceKind.SOURCE
    )


def _is_shared(profile: Profile, service: Service) -> bool:
    return service.kind in _SHARED_KINDS and on_hot_path(profile, service)


def affected_by_a_crash(profile: Profile, service: Service) -> tuple[str, ...]:
    """Whom a mode of the profile on the same service affects; the whole hot path, where all of it goes through it."""
    named = {name for mode in profile.failure_modes.values() if service.name in mode.services for name in mode.affects}
    if _is_shared(profile, service):
        named |= {other.name for other in profile.services.values() if on_hot_path(profile, other)}
    return tuple(sorted(named - {service.name}))


def _risk(profile: Profile, mode: FailureMode) -> tuple[int, int, float]:
    """Off the hot path first; there one exchange before all of them; an instant before what is held, by length."""
    services = [profile.services[name] for name in mode.services]
    hit = {name for service in services for name in affected_exchanges(profile, mode, service)}
    hot = any(on_hot_path(profile, service) for service in services)
    together = any(len(affected_exchanges(profile, mode, service)) > 1 for service in services)
    reach = 2 if together else 1 if hit or hot else 0
    held = mode.action in HELD
    return reach, int(held), mode.duration_s if held else 0.0
