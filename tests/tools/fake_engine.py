# SPDX-License-Identifier: Apache-2.0
"""A Docker Engine's API with canned answers, on a socket of its own."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

LAB_LABEL = "com.k2.lab"


class FakeEngine:
    """Knows containers and networks by their labels; forgets what is deleted."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.containers: list[dict[str, Any]] = []
        self.networks: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self._server = _Server(str(socket), _handler(self))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def container(self, name: str, labels: dict[str, str], ports: tuple[int, ...] = ()) -> None:
        entry = {"Id": name, "Names": [f"/{name}"], "Labels": labels, "Status": "Up 2 minutes", "Image": "nginx"}
        self.containers.append({**entry, "Ports": [{"PublicPort": port} for port in ports]})

    def network(self, name: str, subnet: str, labels: dict[str, str] | None = None) -> None:
        config = [{"Subnet": subnet}]
        self.networks.append({"Id": name, "Name": name, "Labels": labels, "IPAM": {"Config": config}})

    def answer(self, method: str, target: str) -> tuple[int, object]:
        """Status and body."""
        split = urlsplit(target)
        query = parse_qs(split.query)
        self.calls.append(f"{method} {split.path}")
        kind, _, rest = split.path.strip("/").partition("/")
        if method == "DELETE":
            known = self.containers if kind == "containers" else self.networks
            known[:] = [each for each in known if each["Id"] != rest]
            return 204, None
        if split.path == "/_ping":
            return 200, "OK"
        labels = json.loads(query["filters"][0]).get("label", []) if "filters" in query else []
        if split.path == "/containers/json":
            return 200, [each for each in self.containers if _carries(each, labels)]
        if split.path == "/networks":
            return 200, [each for each in self.networks if _carries(each, labels)]
        if split.path == "/images/json":
            return 200, []
        return 404, {"message": f"no such thing: {split.path}"}


def _carries(entry: dict[str, Any], labels: list[str]) -> bool:
    own = [f"{name}={value}" for name, value in (entry["Labels"] or {}).items()]
    return all(label in own for label in labels)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def _handler(engine: FakeEngine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            status, body = engine.answer(self.command, self.path)
            content = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._do()

        def do_DELETE(self) -> None:
            self._do()

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    return Handler
