# SPDX-License-Identifier: Apache-2.0
"""What a drill needs to know of the platform's monitoring, checked before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Optional

from ...core.errors import K2Error
from ...platform.alert_receiver import AlertReceiver
from ...platform.alertmanager import AlertmanagerClient
from ...platform.procfs import WRAPPERS, command_of, process_tree
from ...platform.prometheus import PrometheusClient
from ...platform.runtime.factory import runtime_of
from ...profile.alerting import Server
from ...profile.model import Profile, Service


class DrillNotPossible(K2Error):  # noqa: N818 - see core.errors
    """The drill cannot begin: something it needs is not in the profile, or not there. Nothing was touched."""


@dataclass(frozen=True)
class DrillRequest:
    """How a drill goes. ``factor`` makes waits shorter; 1 leaves rules as they are.

    ``fire_s`` is how long an alert may take to arrive once its fault is there and has lasted as long as it must,
    ``over_s`` how long until it has resolved once all faults are ended. ``dead_man_s`` is after how long without the
    watchdog's alert its absence is noticed. ``program`` is the Prometheus for synthetic series; by default the one that
    runs. ``receiver`` is the record of what was delivered; by default the profile's.
    """

    only: tuple[str, ...] = ()
    run_id: str = ""
    factor: float = 0.05
    fire_s: float = 90.0
    over_s: float = 330.0
    dead_man_s: float = 30.0
    program: Optional[str] = None
    receiver: Optional[str] = None


@dataclass(frozen=True)
class Monitoring:
    """The servers of one platform, and where their configuration lies."""

    prometheus: PrometheusClient
    alertmanager: AlertmanagerClient
    receiver: AlertReceiver
    prometheus_files: Optional[Server]
    alertmanager_files: Optional[Server]


def monitoring_of(profile: Profile, receiver: Optional[str]) -> Monitoring:
    """The platform's monitoring, asked whether it answers.

    :raises DrillNotPossible: the profile does not name it all. :raises K2Error: a server does not answer.
    """
    alerting = profile.alerting
    urls = (
        {}
        if alerting is None
        else {"prometheus_url": alerting.prometheus_url, "alertmanager_url": alerting.alertmanager_url}
    )
    place = receiver or (None if alerting is None else alerting.log_url)
    lacking = [name for name in ("prometheus_url", "alertmanager_url") if not urls.get(name)]
    if place is None:
        lacking.append("log_url")
    if alerting is None or lacking or place is None:
        raise DrillNotPossible(
            "a drill needs servers that alert, and a receiver that keeps what arrives",
            expected="prometheus_url, alertmanager_url and log_url under k2_alerting",
            seen=f"{', '.join(lacking)} missing",
            action="complete k2_alerting, or leave the drill out",
        )
    found = Monitoring(
        PrometheusClient(str(alerting.prometheus_url)),
        AlertmanagerClient(str(alerting.alertmanager_url)),
        AlertReceiver(place),
        alerting.prometheus,
        alerting.alertmanager,
    )
    found.prometheus.rule_groups()
    found.alertmanager.config()
    return found


def on_host(path: str, server: Optional[Server]) -> Path:
    """Where a file that the server names lies on the target: a container sees it below another directory."""
    if server is not None:
        seen, named = PurePosixPath(server.seen_as), PurePosixPath(path)
        if seen in named.parents:
            return Path(server.directory) / named.relative_to(seen)
    return Path(path)


def service_at(profile: Profile, url: Optional[str]) -> Optional[Service]:
    """The service of the profile that listens at an address; None where none says so."""
    for service in profile.services.values():
        if url is not None and service.port is not None and url.rstrip("/").endswith(f":{service.port}"):
            return service
    return None


def program_at(main: int) -> Optional[str]:
    """The program of a unit's main process, or of its child where the main one is a container's init.

    As a path that can be run from here, whatever the process's root directory.
    """
    tree = process_tree(main)
    inner = next((each for each in tree if command_of(each.pid) not in WRAPPERS), None)
    if inner is None:
        return None
    link = Path(f"/proc/{inner.pid}/exe")
    here = link.resolve()
    return str(here if here.exists() and here.samefile(link) else link)


def program_of(profile: Profile, asked: Optional[str]) -> str:
    """The Prometheus program to feed: the one asked for, else the one that runs.

    :raises DrillNotPossible: neither is known.
    """
    if asked:
        return asked
    service = service_at(profile, profile.alerting.prometheus_url if profile.alerting else None)
    if service is not None and service.not_available is None:
        pid = runtime_of(profile, service).status(service.unit).pid
        if pid is not None and (program := program_at(pid)) is not None:
            return program
    raise DrillNotPossible(
        "no Prometheus for synthetic series is known",
        expected="prometheus_program, or a service of k2_services at k2_alerting.prometheus_url that runs",
        seen="neither",
    )
