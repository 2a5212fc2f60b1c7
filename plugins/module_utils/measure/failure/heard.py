# SPDX-License-Identifier: Apache-2.0
"""What the runtimes themselves report around a fault: subscribed to before it, so that nothing falls between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Optional

from ...core.errors import K2Error
from ...platform.runtime.base import Event, EventStream, Runtime
from ...profile.model import Lifecycle, Profile, RuntimeKind, Service


@dataclass
class _Source:
    services: dict[str, str]
    stream: Optional[EventStream]
    why: str = ""


class Heard:
    """Events of all services of a platform; a context manager that begins and ends listening.

    They are evidence beside the looks, not instead of them: pausing tells of itself, the health check that fails
    meanwhile does not. So what hinders listening is told and hinders nothing else.
    """

    def __init__(self, profile: Profile, runtime_of: Callable[[Service], Runtime]) -> None:
        self._profile = profile
        self._runtime_of = runtime_of
        self._sources: list[_Source] = []
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> Heard:
        by_runtime: dict[RuntimeKind, list[Service]] = {}
        for service in self._profile.services.values():
            if service.not_available is None and service.lifecycle is Lifecycle.LONG_RUNNING:
                by_runtime.setdefault(service.runtime, []).append(service)
        self._sources = [self._subscribed(services) for services in by_runtime.values()]
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for source in self._sources:
            if source.stream is not None:
                source.stream.close()

    def _subscribed(self, services: list[Service]) -> _Source:
        names = {service.unit: service.name for service in services}
        try:
            return _Source(names, self._runtime_of(services[0]).events(tuple(names)))
        except K2Error as error:
            return _Source(names, None, str(error))

    def to_plain(self) -> dict[str, Any]:
        """All that was heard so far, by time, and ``why`` that is not everything; empty when it is."""
        for source in self._sources:
            self._events.extend(_plain(source.services[event.unit], event) for event in _drained(source))
        why = "; ".join(source.why for source in self._sources if source.why)
        return {"seen": sorted(self._events, key=lambda event: int(event["time_us"])), "why": why}


def _drained(source: _Source) -> list[Event]:
    found: list[Event] = []
    while source.stream is not None and not source.why:
        try:
            more = source.stream.poll(0)
        except K2Error as error:
            source.why = str(error)
            break
        if not more:
            break
        found.extend(more)
    return found


def _plain(service: str, event: Event) -> dict[str, Any]:
    return {"service": service, "kind": event.kind.value, "time_us": event.time_us, "detail": event.detail}
