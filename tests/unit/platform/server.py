# SPDX-License-Identifier: Apache-2.0
"""A scripted HTTP server on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Script:
    """What to answer, and what was asked (path, headers, body).

    ``by_path`` holds status and body of paths with an answer of their own; without ``dated`` no header Date is sent.
    """

    status: int = 200
    body: bytes = b""
    by_path: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    dated: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0


@contextmanager
def serve(script: Script) -> Iterator[Script]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.requests.append((self.path, dict(self.headers), body))
            if script.hold is not None:
                script.hold.wait(10)
            status, answer = script.by_path.get(self.path, (script.status, script.body))
            if script.dated:
                self.send_response(status)
            else:
                self.send_response_only(status)
            for name, value in script.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_DELETE = do_GET  # noqa: N815 - the base class's names

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield script
    finally:
        if script.hold is not None:
            script.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
