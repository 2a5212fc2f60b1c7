# SPDX-License-Identifier: Apache-2.0
"""A Docker Engine in small: answers over a unix socket, in the engine's own shape, from what a test says there is.

It only reads, unless it is told that containers and networks may be removed: any other request is answered as an error,
and kept.
"""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

NEVER = "0001-01-01T00:00:00Z"


def compose_labels(service: str, project: str = "k2", **more: str) -> dict[str, str]:
    return {
        "com.docker.compose.config-hash": "5f1c",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.project": project,
        "com.docker.compose.project.config_files": "/srv/k2/docker-compose.v2.yml",
        "com.docker.compose.service": service,
        **more,
    }


def container(
    name: str,
    *,
    labels: dict[str, str] | None = None,
    status: str = "running",
    exit_code: int = 0,
    policy: str = "unless-stopped",
    cpus: float = 0.0,
    memory: int = 0,
    networks: dict[str, tuple[str | None, str]] | None = None,
    environment: tuple[str, ...] = (),
    command: tuple[str, ...] = ("run",),
    ports: tuple[int, ...] = (),
) -> dict[str, Any]:
    """What GET /containers/ID/json tells; ``networks`` are fixed and current address by name, ``ports`` the host's."""
    up = status in ("running", "paused")
    endpoints = {
        network: {
            "IPAMConfig": {"IPv4Address": fixed} if fixed else None,
            "Links": None,
            "Aliases": [name, "3f2a6c"],
            "NetworkID": "n" * 64,
            "IPAddress": current if up else "",
            "IPPrefixLen": 16 if up else 0,
        }
        for network, (fixed, current) in (networks or {}).items()
    }
    return {
        "Id": name.encode().hex().ljust(64, "0")[:64],
        "Created": "2026-02-19T10:00:00.123456789Z",
        "Path": command[0],
        "Args": list(command[1:]),
        "State": {
            "Status": status,
            "Running": up,
            "Paused": status == "paused",
            "Restarting": status == "restarting",
            "OOMKilled": False,
            "Pid": 1 if up else 0,
            "ExitCode": exit_code,
            "Error": "",
            "StartedAt": "2026-02-19T10:00:01.5Z",
            "FinishedAt": NEVER if up else "2026-02-19T10:00:02.5Z",
        },
        "Name": f"/{name}",
        "RestartCount": 0,
        "HostConfig": {
            "NetworkMode": next(iter(endpoints), "default"),
            "RestartPolicy": {"Name": policy, "MaximumRetryCount": 0},
            "NanoCpus": round(cpus * 1e9),
            "CpuPeriod": 0,
            "CpuQuota": 0,
            "Memory": memory,
        },
        "Config": {
            "Env": ["PATH=/usr/bin", *environment],
            "Cmd": list(command),
            "Entrypoint": None,
            "Image": "nginx",
            "Labels": labels or {},
            "Tty": False,
        },
        "NetworkSettings": {
            "Networks": endpoints,
            "Ports": {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}] for port in ports},
        },
    }


def network(
    name: str,
    subnet: str = "172.28.0.0/16",
    key: str = "",
    project: str = "k2",
    labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    """One entry of what GET /networks tells; ``key`` is its name in the Compose file that made it."""
    composed = {"com.docker.compose.network": key, "com.docker.compose.project": project} if key else {}
    return {
        "Name": name,
        "Id": name.encode().hex().ljust(64, "0")[:64],
        "Driver": "bridge",
        "IPAM": {"Driver": "default", "Config": [{"Subnet": subnet}] if subnet else None},
        "Labels": composed | (labels or {}),
    }


@dataclass
class Engine:
    """What there is, and what was asked (method and path). ``broken`` names containers that cannot be inspected.

    With ``removes`` a DELETE takes away what it names.
    """

    socket: Path
    containers: list[dict[str, Any]] = field(default_factory=list)
    networks: list[dict[str, Any]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    requests: list[tuple[str, str]] = field(default_factory=list)
    removes: bool = False

    def answer(self, method: str, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if method == "DELETE" and self.removes:
            return self._remove(path)
        if method != "GET":
            return 500, {"message": "nobody may change anything"}
        filters = json.loads(query.get("filters", ["{}"])[0])
        if path == "/_ping":
            return 200, "OK"
        if path == "/networks":
            return 200, [each for each in self.networks if _fits(each["Name"], each["Labels"], filters)]
        if path == "/images/json":
            return 200, []
        if path == "/containers/json":
            fitting = (each for each in self.containers if _fits(each["Name"], each["Config"]["Labels"], filters))
            return 200, [self._listed(each) for each in fitting]
        for each in self.containers:
            if path == f"/containers/{each['Id']}/json":
                name = each["Name"].lstrip("/")
                return (500, {"message": "no space left on device"}) if name in self.broken else (200, each)
        return 404, {"message": f"No such container: {path}"}

    def _remove(self, path: str) -> tuple[int, Any]:
        _, kind, wanted = path.split("/")
        known = {"containers": self.containers, "networks": self.networks}[kind]
        left = [each for each in known if each["Id"] != wanted]
        if len(left) == len(known):
            return 404, {"message": f"No such thing: {path}"}
        known[:] = left
        return 204, None

    @staticmethod
    def _listed(each: dict[str, Any]) -> dict[str, Any]:
        published = each["NetworkSettings"]["Ports"].values()
        return {
            "Id": each["Id"],
            "Names": [each["Name"]],
            "Image": each["Config"]["Image"],
            "Labels": each["Config"]["Labels"],
            "State": each["State"]["Status"],
            "Status": "Up 2 minutes" if each["State"]["Running"] else "Exited (0) 2 minutes ago",
            "Ports": [{"PublicPort": int(binding["HostPort"])} for bindings in published for binding in bindings],
        }


def _fits(name: str, labels: dict[str, str], filters: dict[str, list[str]]) -> bool:
    own = {f"{label}={value}" for label, value in labels.items()}
    return any(re.search(each, name) for each in filters.get("name", [""])) and set(filters.get("label", [])) <= own


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def serve(engine: Engine) -> Iterator[Engine]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            engine.requests.append((self.command, url.path))
            status, answer = engine.answer(self.command, url.path, parse_qs(url.query))
            body = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET  # noqa: N815 - the base class's names

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *arguments: Any) -> None:
            pass

    server = _Server(str(engine.socket), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
