# SPDX-License-Identifier: Apache-2.0
"""How a container was set up, read from what the Docker Engine tells of it. Pure functions of its answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, Optional

from ...profile.model import Resources
from .base import Network, Place, RestartPolicy, Setup, Status

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NETWORK_LABEL = "com.docker.compose.network"
_ONE_OFF_LABEL = "com.docker.compose.oneoff"
_FILES_LABEL = "com.docker.compose.project.config_files"
_HEAP = re.compile(r"(?:^|\s)-Xmx(\d+)([kKmMgGtT]?)(?=\s|$)")
_HEAP_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_NANO = 1e9
_DEFAULT_PERIOD_US = 100_000


def setup_of(info: Mapping[str, Any], status: Status) -> Setup:
    """The setup of an inspected container."""
    labels = labels_of(info)
    name = str(info["Name"]).lstrip("/")
    return Setup(
        name=name,
        status=status,
        restart=restart_policy_of(info),
        project=labels.get(PROJECT_LABEL),
        limit=limit_of(info),
        heap_bytes=heap_of(info),
        places=places_of(info),
        labels=labels,
        recreate=recreate_command(labels),
        resume=shlex.join(["docker", "unpause", name]),
        logs=shlex.join(["docker", "logs", "--tail", "50", name]),
    )


def restart_policy_of(info: Mapping[str, Any]) -> RestartPolicy:
    """What the engine does when the container ends by itself."""
    policy = info["HostConfig"]["RestartPolicy"]
    name, at_most = str(policy["Name"] or "no"), int(policy.get("MaximumRetryCount") or 0)
    after_success = name in ("always", "unless-stopped")
    if not at_most:
        return RestartPolicy(name, after_crash=name != "no", after_success=after_success)
    # The engine counts for as long as the container is not started by hand, however long it has been up since.
    used = int(info["RestartCount"])
    text = f"{name}:{at_most}, of which {used} used"
    return RestartPolicy(text, after_crash=used < at_most, after_success=after_success)


def limit_of(info: Mapping[str, Any]) -> Resources:
    """CPU and memory that the container may have; None for what is not limited."""
    host = info["HostConfig"]
    cpus: Optional[float] = None
    if host.get("NanoCpus"):
        cpus = int(host["NanoCpus"]) / _NANO
    elif int(host.get("CpuQuota") or 0) > 0:
        cpus = int(host["CpuQuota"]) / int(host.get("CpuPeriod") or _DEFAULT_PERIOD_US)
    return Resources(cpus, int(host.get("Memory") or 0) or None)


def heap_of(info: Mapping[str, Any]) -> Optional[int]:
    """The -Xmx among the container's arguments or in its environment, the last as in Java itself; None without one."""
    config = info["Config"]
    settings = [entry.partition("=")[2] for entry in config.get("Env") or ()]
    arguments = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    found = [match for text in (*settings, *arguments) for match in _HEAP.finditer(text)]
    if not found:
        return None
    return int(found[-1].group(1)) * _HEAP_UNITS[found[-1].group(2).lower()]


def places_of(info: Mapping[str, Any]) -> tuple[Place, ...]:
    """The container's networks. The engine forgets the current address of a container that is stopped."""
    return tuple(
        Place(
            network=name,
            fixed=(endpoint.get("IPAMConfig") or {}).get("IPv4Address") or None,
            current=endpoint.get("IPAddress") or None,
        )
        for name, endpoint in sorted((info["NetworkSettings"]["Networks"] or {}).items())
    )


def labels_of(info: Mapping[str, Any]) -> Mapping[str, str]:
    """The container's labels."""
    return {str(name): str(value) for name, value in (info["Config"].get("Labels") or {}).items()}


def is_one_off(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of the engine's list of containers was made by ``docker compose run``."""
    return bool((entry.get("Labels") or {}).get(_ONE_OFF_LABEL) == "True")


def recreate_command(labels: Mapping[str, str]) -> Optional[str]:
    """The Compose command that makes the container anew; None where Compose did not make it."""
    project, service = labels.get(PROJECT_LABEL), labels.get(SERVICE_LABEL)
    if project is None or service is None:
        return None
    files = [part for name in labels.get(_FILES_LABEL, "").split(",") if name for part in ("-f", name)]
    command = ["docker", "compose", "-p", project, *files, "up", "-d", "--force-recreate", "--no-deps", service]
    return shlex.join(command)


def network_of(entry: Mapping[str, Any]) -> Network:
    """One entry of the engine's list of networks."""
    ranges = (entry.get("IPAM") or {}).get("Config") or ()
    return Network(str(entry["Name"]), tuple(str(each["Subnet"]) for each in ranges if each.get("Subnet")))
