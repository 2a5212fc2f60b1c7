# SPDX-License-Identifier: Apache-2.0
"""The status server of a lab program: GET /health and GET /metrics on 127.0.0.1.

It runs in a thread of its own, so the same class serves asyncio programs and synchronous ones, and it still answers
(unhealthy) when the program's own loop is stuck. Usage:

    def health() -> Health:                       # called in the server's thread, on each request: only read fields
        return Health.of(["no trade for 12 s"] if stale() else [], last_message_age_s=12.3)

    with StatusServer("feed-handler-binance", port=23011, health=health):
        ...                                       # the program; or: server = StatusServer(...).start(); server.stop()

/health answers 200 or 503 with {"service", "status": "ok" | "unhealthy", "reasons": [...], "pid", "uptime_s", ...} and
the details.
/metrics renders the given prometheus_client registry (the process-wide one unless told) in the text format 0.0.4.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    disable_created_metrics,
    generate_latest,
)

from k2lab.common.errors import LabError
from k2lab.common.options import LOOPBACK

log = logging.getLogger(__name__)

# A second series per counter and histogram that nobody here reads. (The library leaves this function untyped.)
disable_created_metrics()  # type: ignore[no-untyped-call]

JSON_TYPE = "application/json"
Detail = str | int | float | bool | None | Sequence[str] | Mapping[str, object]


@dataclass(frozen=True)
class Health:
    """What a program says about itself: healthy exactly when it has no reason not to be."""

    reasons: tuple[str, ...] = ()
    details: Mapping[str, Detail] = field(default_factory=dict)

    @classmethod
    def of(cls, reasons: Sequence[str], **details: Detail) -> Health:
        """Build a Health from the reasons against it (empty: healthy) and any facts worth showing."""
        return cls(tuple(reasons), details)

    @property
    def ok(self) -> bool:
        """True when nothing speaks against it."""
        return not self.reasons


@dataclass(frozen=True)
class Response:
    """A finished answer: HTTP status code, content type, body."""

    status: int
    content_type: str
    body: bytes


def health_response(service: str, health: Health, started_monotonic: float) -> Response:
    """Render /health; `started_monotonic` is time.monotonic() at the program's start."""
    document = {
        "service": service,
        "status": "ok" if health.ok else "unhealthy",
        "reasons": list(health.reasons),
        "pid": os.getpid(),
        "uptime_s": round(time.monotonic() - started_monotonic, 3),
        **health.details,
    }
    return Response(200 if health.ok else 503, JSON_TYPE, json.dumps(document).encode() + b"\n")


def metrics_response(registry: CollectorRegistry = REGISTRY) -> Response:
    """Render /metrics."""
    return Response(200, CONTENT_TYPE_LATEST, generate_latest(registry))


class StatusServer:
    """Serves /health and /metrics from a daemon thread until stopped.

    Raises LabError in start() when the port cannot be had. An exception inside `health` answers 500 and is logged with
    its traceback: it is a defect of the program, not a state of it.
    """

    def __init__(
        self,
        service: str,
        port: int,
        health: Callable[[], Health],
        registry: CollectorRegistry = REGISTRY,
        host: str = LOOPBACK,
    ) -> None:
        self._service = service
        self._address = (host, port)
        self._health = health
        self._registry = registry
        self._started = time.monotonic()
        self._server: _StatusHttp | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port listened on (the one chosen by the system if 0 was asked for and the server runs)."""
        return self._server.server_address[1] if self._server else self._address[1]

    def start(self) -> Self:
        """Listen and serve; returns self."""
        host, port = self._address
        try:
            self._server = _StatusHttp(self._address, self._respond)
        except OSError as error:
            raise LabError(
                f"to serve /health and /metrics of {self._service} on {host}:{port}",
                str(error),
                "stop the process that holds the port (ss -ltnp) or choose another one",
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, name="status-http", daemon=True
        )
        self._thread.start()
        log.info("status of %s on http://%s:%d/health", self._service, host, self.port)
        return self

    def stop(self) -> None:
        """Stop serving and close the socket (waits at most about a second). Safe to call twice."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._thread is not None:
            self._thread.join(timeout=2.0)
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _respond(self, path: str) -> Response:
        if path == "/health":
            return health_response(self._service, self._health(), self._started)
        if path == "/metrics":
            return metrics_response(self._registry)
        return Response(404, JSON_TYPE, b'{"error": "expected GET /health or GET /metrics"}\n')


class HttpServer(ThreadingHTTPServer):
    """A thread for each connection, none of which keeps the program from ending."""

    daemon_threads = True
    block_on_close = False  # an idle keep-alive client must not hold up the program's stop


class ResponseHandler(BaseHTTPRequestHandler):
    """Sends a Response; subclasses say to what."""

    protocol_version = "HTTP/1.1"
    timeout = 30.0  # seconds a keep-alive connection may stay idle
    wbufsize = -1  # headers and body leave in one write: two small writes cost 40 ms (Nagle and delayed ack)

    def send(self, response: Response, *, with_body: bool = True, closing: bool = False) -> None:
        """Answer the request; `closing` tells the client that it was the connection's last."""
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        if closing:
            self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(response.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Requests are news for a debugger only."""
        log.debug("%s %s", self.address_string(), format % args)


class _StatusHttp(HttpServer):
    def __init__(self, address: tuple[str, int], respond: Callable[[str], Response]) -> None:
        self.respond = respond
        super().__init__(address, _StatusHandler)


class _StatusHandler(ResponseHandler):
    server: _StatusHttp

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        try:
            response = self.server.respond(path)
        except Exception:
            log.exception("answering %s failed", path)
            response = Response(500, JSON_TYPE, b'{"error": "internal error, see the log of this service"}\n')
        self.send(response, with_body=with_body)
