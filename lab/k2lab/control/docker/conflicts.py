# SPDX-License-Identifier: Apache-2.0
"""What of a machine would keep a lab's containers from starting. Looks only."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from k2lab.control.docker.api import Engine
from k2lab.control.docker.containers import LAB_LABEL
from k2lab.control.docker.engine import bridge_of, find_socket
from k2lab.control.docker.image import HostImage, outermost
from k2lab.control.lab import Lab
from k2lab.provision.paths import Paths
from k2lab.provision.tools import find_tool

PROJECT_LABEL = "com.docker.compose.project"
ROUTES = Path("/proc/net/route")
# sun_path holds 108 bytes with its closing zero.
SOCKET_PATH_MAX = 107


@dataclass(frozen=True)
class Wanted:
    """What a lab takes of the machine: project and containers of Compose, name and subnet of its network."""

    project: str
    containers: Sequence[str]
    network: str
    subnet: str


def facts(lab: Lab, programs: Sequence[Path]) -> dict[str, object]:
    """What the compose file needs to know of this machine; `programs` are directories a container has to see."""
    return {
        "image": HostImage.of().tag,
        "bridge": bridge_of(lab),
        "mounts": outermost([Path("/usr"), *programs]),
        "cpus": os.cpu_count() or 1,
        "user": f"{os.getuid()}:{os.getgid()}",
    }


def problems(lab: Lab, wanted: Wanted) -> list[str]:
    """Each with what to do about it; empty when there are none."""
    found = []
    if not (tool := find_tool(Paths.discover(), "docker-compose")).path:
        found.append(f"no Compose: {tool.reason}")
    if (length := len(os.fsencode(lab.engine_link))) > SOCKET_PATH_MAX:
        found.append(
            f"{lab.engine_link} is too long for a socket ({length} characters of {SOCKET_PATH_MAX}): "
            "set another k2_lab_dir"
        )
    socket, reason = find_socket(lab)
    if socket is None:
        return [*found, f"no Docker Engine: {reason}"]
    try:
        subnet = ipaddress.IPv4Network(wanted.subnet)
    except ValueError as error:
        return [*found, f"k2_lab_docker.subnet {wanted.subnet!r} is no network of IPv4 ({error}): correct it"]
    engine = Engine(socket)
    if engine.unreachable() is None:
        found += _taken_names(engine, lab, wanted.containers)
        found += _taken_project(engine, lab, wanted.project)
        found += _taken_networks(engine, lab, wanted.network, subnet)
    found += _taken_routes(ROUTES.read_text(), bridge_of(lab), subnet)
    return found


def _is_ours(labels: dict[str, str] | None, lab: Lab) -> bool:
    return (labels or {}).get(LAB_LABEL) == lab.lab_id


def _taken_names(engine: Engine, lab: Lab, names: Sequence[str]) -> list[str]:
    others = {
        name.lstrip("/"): each
        for each in engine.get("/containers/json", {"all": 1})
        if not _is_ours(each["Labels"], lab)
        for name in each["Names"]
    }
    return [
        f"the container name {name} is taken ({others[name]['Status']}, image {others[name]['Image']}): "
        f"docker rm {name} if nobody needs it, or set another k2_lab_docker.project"
        for name in names
        if name in others
    ]


def _taken_project(engine: Engine, lab: Lab, project: str) -> list[str]:
    """Compose takes all containers of a project for its own."""
    labels = {"label": [f"{PROJECT_LABEL}={project}"]}
    found = engine.get("/containers/json", {"all": 1, "filters": json.dumps(labels)})
    names = sorted(each["Names"][0].lstrip("/") for each in found if not _is_ours(each["Labels"], lab))
    told = f"the project {project} of Compose has containers of others ({', '.join(names)})"
    return [f"{told}: set another k2_lab_docker.project"] if names else []


def _taken_networks(engine: Engine, lab: Lab, name: str, subnet: ipaddress.IPv4Network) -> list[str]:
    found = []
    networks: list[dict[str, Any]] = engine.get("/networks", {"filters": json.dumps({"type": ["custom"]})})
    for network in networks:
        if _is_ours(network["Labels"], lab):
            continue
        found += [
            f"the network {network['Name']} of Docker has {config['Subnet']}, which meets {subnet}: "
            "set another k2_lab_docker.subnet"
            for config in network["IPAM"]["Config"] or []
            if network["Name"] != name and _overlaps(config.get("Subnet", ""), subnet)
        ]
        if network["Name"] == name:
            found.append(
                f"Docker has a network {name} that is not this lab's: docker network rm {name} if nobody needs it, "
                "or set another k2_lab_docker.project"
            )
    return found


def _taken_routes(table: str, bridge: str, subnet: ipaddress.IPv4Network) -> list[str]:
    """Routes of /proc/net/route into `subnet` that lead elsewhere than to our bridge. The default route is none."""
    found = []
    for line in table.splitlines()[1:]:
        interface, destination, *_, mask = line.split()[:8]
        address = int.from_bytes(bytes.fromhex(destination), "little")
        prefix = int.from_bytes(bytes.fromhex(mask), "little").bit_count()
        route = ipaddress.IPv4Network((address, prefix), strict=False)
        if prefix and interface != bridge and route.overlaps(subnet):
            found.append(f"{route} is in use on interface {interface}: set another k2_lab_docker.subnet")
    return found


def _overlaps(text: str, subnet: ipaddress.IPv4Network) -> bool:
    try:
        return ipaddress.ip_network(text).overlaps(subnet)
    except (ValueError, TypeError):
        return False  # of IPv6, or none at all
