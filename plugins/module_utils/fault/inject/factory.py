# SPDX-License-Identifier: Apache-2.0
"""From a failure mode of the profile to the fault that brings it about."""

from __future__ import annotations

from collections.abc import Callable

from ...platform.runtime.base import Runtime
from ...profile.model import FailureMode, FaultAction, Lifecycle, Profile, RuntimeKind, Service
from .base import Fault, FaultNotPossible
from .network import Disconnect, OutsideCut, PortCut
from .processes import Kill, Pause, Restart, Stop
from .run import KillRun
from .source import SourceCut

_Make = Callable[[Profile, FailureMode, Service, Runtime], Fault]

_FAULTS: dict[FaultAction, _Make] = {
    FaultAction.KILL: Kill,
    FaultAction.RESTART: Restart,
    FaultAction.STOP: Stop,
    FaultAction.PAUSE: Pause,
    FaultAction.KILL_RUN: KillRun,
}


def fault_for(profile: Profile, mode: FailureMode, service: Service, runtime: Runtime) -> Fault:
    """The fault of ``mode`` on ``service``; nothing is touched before its ``inject``.

    :raises FaultNotPossible: the service may not be broken, or cannot be in this way.
    """
    if not service.allow_faults:
        raise FaultNotPossible(
            f"{service.name} may not be broken",
            expected="allow_faults: true under k2_services",
            seen="it is not in the allow-list",
            action="allow it, if what depends on it may suffer",
        )
    if service.not_available is not None or service.lifecycle is not Lifecycle.LONG_RUNNING:
        raise FaultNotPossible(
            f"{service.name} is no service that runs on",
            expected="an available, long-running service",
            seen=service.not_available or service.lifecycle.value,
        )
    return _choose(profile, mode, runtime)(profile, mode, service, runtime)


def _choose(profile: Profile, mode: FailureMode, runtime: Runtime) -> _Make:
    docker = runtime.kind is RuntimeKind.DOCKER
    if mode.action is FaultAction.DISCONNECT:
        return Disconnect if docker else PortCut
    if mode.action is FaultAction.CUT_SOURCE:
        simulated = profile.load is not None and profile.load.control_url is not None
        return OutsideCut if docker and not simulated else SourceCut
    return _FAULTS[mode.action]
