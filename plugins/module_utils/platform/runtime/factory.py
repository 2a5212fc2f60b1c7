# SPDX-License-Identifier: Apache-2.0
"""From a service of the profile to the runtime that holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Optional

from ...profile.model import Profile, RuntimeKind, RuntimeSettings, Service
from .base import Runtime
from .docker import DockerRuntime
from .supervisor import SupervisorRuntime
from .systemd import SystemdRuntime

# A client by its settings and the profile's name of each unit.
_RUNTIMES: dict[RuntimeKind, Callable[[RuntimeSettings, Mapping[str, str]], Runtime]] = {
    RuntimeKind.SUPERVISOR: lambda settings, _: SupervisorRuntime(settings),
    RuntimeKind.DOCKER: DockerRuntime,
    RuntimeKind.SYSTEMD: lambda settings, _: SystemdRuntime(settings),
}


def open_runtime(kind: RuntimeKind, settings: RuntimeSettings, services: Optional[Mapping[str, str]] = None) -> Runtime:
    """The client of one runtime; connects on first use. ``services`` is the profile's name of each unit."""
    return _RUNTIMES[kind](settings, services or {})


def runtime_of(profile: Profile, service: Service) -> Runtime:
    """A client of its own of the runtime that holds ``service``, for one thread."""
    names = {each.unit: each.name for each in profile.services.values() if each.runtime is service.runtime}
    return open_runtime(service.runtime, profile.platform.runtimes[service.runtime.value], names)


@dataclass
class Runtimes:
    """The runtimes of a platform, each opened once."""

    profile: Profile
    _open: dict[RuntimeKind, Runtime] = field(default_factory=dict)

    def of(self, service: Service) -> Runtime:
        """The runtime that holds ``service``."""
        if service.runtime not in self._open:
            self._open[service.runtime] = runtime_of(self.profile, service)
        return self._open[service.runtime]
