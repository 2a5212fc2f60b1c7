# SPDX-License-Identifier: Apache-2.0
"""From a service of the profile to the runtime that holds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...core.errors import UnsupportedOperation
from ...profile.model import Profile, RuntimeKind, RuntimeSettings, Service
from .base import Runtime
from .docker import DockerRuntime
from .supervisor import SupervisorRuntime

_RUNTIMES: dict[RuntimeKind, Callable[[RuntimeSettings], Runtime]] = {
    RuntimeKind.SUPERVISOR: SupervisorRuntime,
    RuntimeKind.DOCKER: DockerRuntime,
}


def open_runtime(kind: RuntimeKind, settings: RuntimeSettings) -> Runtime:
    """The client of one runtime; connects on first use.

    :raises UnsupportedOperation: no client exists for it yet.
    """
    make = _RUNTIMES.get(kind)
    if make is None:
        raise UnsupportedOperation(
            f"runtime {kind.value!r} has no client",
            expected="one of " + ", ".join(known.value for known in _RUNTIMES),
            seen=kind.value,
            action="set runtime under k2_platform or k2_services to a supported one",
        )
    return make(settings)


def runtime_of(profile: Profile, service: Service) -> Runtime:
    """A client of its own of the runtime that holds ``service``, for one thread.

    :raises UnsupportedOperation: as ``open_runtime``.
    """
    return open_runtime(service.runtime, profile.platform.runtimes[service.runtime.value])


@dataclass
class Runtimes:
    """The runtimes of a platform, each opened once."""

    profile: Profile
    _open: dict[RuntimeKind, Runtime] = field(default_factory=dict)

    def of(self, service: Service) -> Runtime:
        """The runtime that holds ``service``.

        :raises UnsupportedOperation: as ``open_runtime``.
        """
        if service.runtime not in self._open:
            self._open[service.runtime] = runtime_of(self.profile, service)
        return self._open[service.runtime]
