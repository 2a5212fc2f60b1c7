# SPDX-License-Identifier: Apache-2.0
"""What is asked for, checked against the profile, and the plan that follows from it before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from ...core.errors import K2Error
from ...core.suggest import did_you_mean
from ...fault.inject.base import Fault
from ...fault.inject.factory import fault_for
from ...platform.runtime.factory import runtime_of
from ...profile.failures import HELD, affected_exchanges, all_modes
from ...profile.model import FailureMode, Profile, RecoveryPoint, Service

# Beyond the mode's own target: a recovery that is late shall still be seen, and told by how much.
_BEYOND_S = 30.0
# For all that has a deadline of its own besides: proof, an orderly stop, a start, undo, and the looks back. The
# watchdog must not come to it while the tool still is at it.
UNDO_S = 300.0


class UnknownFailure(K2Error):  # noqa: N818 - see core.errors
    """The failure mode or the service that was asked for is none of this platform."""


@dataclass(frozen=True)
class FailureRequest:
    """What to break, and how long to wait for what.

    ``steady_s`` is how long everything is watched before the fault, at least, and ``steady_timeout_s`` how long it may
    take until all is well. ``settle_s`` is how long a lane has to be up to have come to stay. ``watch_s`` is how long
    recovery is watched for once the fault is over, by default half a minute beyond the mode's target. A mode that hits
    a run waits ``run_timeout_s`` for one to begin, or asks for one with ``ask_for_run``.
    """

    mode: str
    service: Optional[str] = None
    run_id: str = ""
    steady_s: float = 5.0
    steady_timeout_s: float = 60.0
    settle_s: float = 2.0
    watch_s: Optional[float] = None
    run_timeout_s: float = 180.0
    ask_for_run: bool = False

    def watch_of(self, mode: FailureMode) -> float:
        """How long recovery is watched for (seconds)."""
        return mode.max_recovery_s + _BEYOND_S if self.watch_s is None else self.watch_s


def chosen(profile: Profile, request: FailureRequest) -> tuple[FailureMode, Service]:
    """The mode and the one service of it that is to be broken.

    :raises UnknownFailure: there is no such mode, the platform cannot have it, or the service is none of its own.
    """
    modes = {mode.name: mode for mode in all_modes(profile)}
    mode = modes.get(request.mode)
    if mode is None:
        raise UnknownFailure(
            f"there is no failure mode {request.mode!r}",
            expected="a mode of k2_failure_modes, or crash_<service> of a service that may be broken and restarts",
            seen=request.mode,
            action=did_you_mean(request.mode, modes),
        )
    if mode.not_applicable is not None:
        raise UnknownFailure(
            f"this platform does not have the failure mode {mode.name}",
            expected="a mode that applies",
            seen=f"not_applicable: {mode.not_applicable}",
        )
    name = request.service
    if name is None and len(mode.services) == 1:
        name = mode.services[0]
    if name is None or name not in mode.services:
        raise UnknownFailure(
            f"{mode.name} breaks one service at a time",
            expected="service to be one of " + ", ".join(mode.services),
            seen="none" if name is None else name,
            action="" if name is None else did_you_mean(name, mode.services),
        )
    return mode, profile.services[name]


def open_fault(profile: Profile, mode: FailureMode, service: Service) -> Fault:
    """The fault, not yet checked; touches nothing.

    :raises FaultNotPossible: it may not or cannot be brought about. :raises UnsupportedOperation: as the runtime.
    """
    return fault_for(profile, mode, service, runtime_of(profile, service))


def plan(profile: Profile, request: FailureRequest) -> dict[str, Any]:
    """What would be done, as plain data; looks at the unit, touches nothing.

    ``obstacle`` is why it could not be done now; what depends on a run being under way may be so later.

    :raises UnknownFailure: as ``chosen``. :raises K2Error: as ``open_fault``.
    """
    mode, service = chosen(profile, request)
    fault = open_fault(profile, mode, service)
    obstacle: Optional[str] = None
    try:
        fault.check()
    except K2Error as error:
        obstacle = str(error)
    exchanges = affected_exchanges(profile, mode, service)
    return {
        "mode": mode.name,
        "service": service.name,
        "unit": service.unit,
        **fault.plan.as_dict(),
        "duration_s": held_s(mode),
        "at_most_s": at_most_s(request, mode),
        "expected": {
            "max_recovery_s": mode.max_recovery_s,
            "recovery_from": mode.recovery_from.value,
            "recovery_at": mode.recovery_at.value,
            "loss": mode.loss.value,
            "max_loss_s": mode.max_loss_s,
            "may_fail": sorted(mode.affects),
            "exchanges_may_stop": list(exchanges),
        },
        "obstacle": obstacle,
    }


def at_most_s(request: FailureRequest, mode: FailureMode) -> float:
    """How long all of it takes at most (seconds); once that is over the watchdog undoes the fault."""
    waits = request.steady_timeout_s + request.watch_of(mode)
    if mode.recovery_at is RecoveryPoint.NEXT_RUN:
        waits += request.run_timeout_s
    return waits + held_s(mode) + UNDO_S


def held_s(mode: FailureMode) -> float:
    """How long the fault is held (seconds); 0 for one that is over in an instant."""
    return mode.duration_s if mode.action in HELD else 0.0
