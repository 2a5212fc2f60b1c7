# SPDX-License-Identifier: Apache-2.0
"""Which lanes a platform has, and how each is looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Optional

from ...platform.probe import run_probe
from ...platform.procfs import ProcessStat, is_stopped, read_stat
from ...platform.runtime.base import Runtime, State
from ...profile.model import (
    ClickHouse,
    CommandProbe,
    Lifecycle,
    Probe,
    Profile,
    RuntimeKind,
    Service,
    SqlProbe,
)
from .flow import flow_watch
from .model import Lane, LaneKind
from .sampler import Sampler, Watch

QUICK_S = 0.25
SQL_S = 1.0
# A command starts an interpreter as often as not.
COMMAND_S = 2.0
# Lanes that are only looked at for whether they stay well.
DISTANT_S = 1.0
# A look that hangs is a sample as long as its timeout, and bounds are no narrower than samples.
_QUICK_TIMEOUT_S = 1.0
_SQL_TIMEOUT_S = 2.0
# Of these runtimes /proc tells whether a unit's process is alive and not paused; a container's freezer does not show.
_SEEN_IN_PROC = frozenset({RuntimeKind.SUPERVISOR, RuntimeKind.SYSTEMD})


def lanes_for(
    profile: Profile, runtime_of: Callable[[Service], Runtime], *, closely: Collection[str]
) -> tuple[Watch, ...]:
    """The watches of every long-running service that is available, and of every exchange's flow; not yet started.

    :arg closely: services that are looked at as often as can be. The others are looked at once a second, which shows
        whether they stay well, and costs a quarter.
    :raises UnsupportedOperation: as ``runtime_of``.
    """
    watches: list[Watch] = []
    for service in profile.services.values():
        if service.not_available is not None or service.lifecycle is not Lifecycle.LONG_RUNNING:
            continue
        runtime = runtime_of(service)
        least_s = 0.0 if service.name in closely else DISTANT_S
        watches.append(_process(service, runtime, profile.platform.runtimes[service.runtime.value].timeout_s, least_s))
        if service.probe is not None:
            watches.append(_service(service, service.probe, profile.clickhouse, least_s))
    flow = flow_watch(profile)
    return (*watches, *([] if flow is None else [flow]))


def _process(service: Service, runtime: Runtime, timeout_s: float, least_s: float) -> Sampler:
    interval_s = max(QUICK_S, least_s)
    lane = Lane(f"process:{service.name}", LaneKind.PROCESS, service.name, None, interval_s, timeout_s)
    return Sampler(lane, ProcessProbe(runtime, service.unit))


def _service(service: Service, probe: Probe, clickhouse: Optional[ClickHouse], least_s: float) -> Sampler:
    interval_s, limit_s = QUICK_S, _QUICK_TIMEOUT_S
    if isinstance(probe, SqlProbe):
        interval_s, limit_s = SQL_S, _SQL_TIMEOUT_S
    elif isinstance(probe, CommandProbe):
        interval_s, limit_s = COMMAND_S, probe.timeout_s
    bounded = replace(probe, timeout_s=min(probe.timeout_s, limit_s))
    lane = Lane(
        f"service:{service.name}",
        LaneKind.SERVICE,
        service.name,
        None,
        max(interval_s, least_s),
        bounded.timeout_s,
    )

    def look() -> tuple[bool, str]:
        seen = run_probe(bounded, clickhouse)
        return seen.ok, seen.detail

    return Sampler(lane, look)


class ProcessProbe:
    """Whether a unit's process runs.

    Asking a runtime costs more than a look at /proc. A process that the runtime once called running, still alive and
    not paused, is the unit's: the runtime is asked only when it is not there any more. Called by one thread.
    """

    def __init__(self, runtime: Runtime, unit: str) -> None:
        self._runtime = runtime
        self._unit = unit
        self._known: Optional[ProcessStat] = None

    def __call__(self) -> tuple[bool, str]:
        """As ``Probe``; raises what the runtime raises, which says nothing about the unit."""
        if self._known is not None and _alive(self._known):
            return True, ""
        self._known = None
        status = self._runtime.status(self._unit)
        running = status.state is State.RUNNING and status.pid is not None
        if running and status.pid is not None and self._runtime.kind in _SEEN_IN_PROC:
            self._known = read_stat(status.pid)
        told = f"state {status.state.value}" + (f" ({status.detail})" if status.detail else "")
        return running, "" if running else told


def _alive(known: ProcessStat) -> bool:
    stat = read_stat(known.pid)
    return stat is not None and stat.start_ticks == known.start_ticks and not stat.ended and not is_stopped(stat)
