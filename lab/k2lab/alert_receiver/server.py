# SPDX-License-Identifier: Apache-2.0
"""The webhook's HTTP side: what it takes, what it refuses and why, what it tells of the past."""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from dataclasses import asdict
from urllib.parse import parse_qs, urlsplit

from prometheus_client import Counter, Gauge

from k2lab.alert_receiver.log import NotificationLog
from k2lab.common.errors import LabError
from k2lab.common.options import LOOPBACK
from k2lab.common.status import (
    JSON_TYPE,
    Health,
    HttpServer,
    Response,
    ResponseHandler,
    health_response,
    metrics_response,
)

log = logging.getLogger(__name__)

SERVICE = "alert-receiver"
# Alertmanager's own limit on a group is far below: this is for whoever posts something else.
MAX_BODY_BYTES = 4 << 20

NOTIFICATIONS = Counter("alert_receiver_notifications", "Notifications kept", ["status"])
ALERTS = Counter("alert_receiver_alerts", "Alerts in the notifications kept", ["status"])
REFUSED = Counter("alert_receiver_refused", "Requests not understood", ["code"])
FAILED = Counter("alert_receiver_write_failures", "Notifications that could not be written")
LAST = Gauge("alert_receiver_last_notification_timestamp_seconds", "Time of the last notification kept")
for status in ("firing", "resolved"):  # a counter that is born with its first event shows no increase
    NOTIFICATIONS.labels(status)
    ALERTS.labels(status)
for code in ("400", "404", "411", "413"):
    REFUSED.labels(code)


class RefusedError(Exception):
    """A request that is answered with an error; `code` is the HTTP status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Receiver:
    """What the webhook does, apart from HTTP."""

    def __init__(self, notifications: NotificationLog) -> None:
        self._notifications = notifications
        self._started = time.monotonic()
        self._write_error = ""

    def take(self, body: bytes, remote: str) -> Response:
        """Keep a notification. Raises RefusedError when it is none; answers 500 when it could not be written."""
        notification = read_notification(body)
        try:
            received = self._notifications.append(notification, remote)
        except OSError as error:
            self._write_error = str(error)
            FAILED.inc()
            log.error("notification not kept: %s", error)  # noqa: TRY400 - the message is the whole story
            return Response(
                500, JSON_TYPE, _json({"error": f"not kept: {error}; free some disk, the sender repeats it"})
            )
        self._write_error = ""
        alerts = notification["alerts"]
        assert isinstance(alerts, list)
        NOTIFICATIONS.labels(str(notification.get("status"))).inc()
        for alert in alerts:
            ALERTS.labels(str(alert.get("status"))).inc()
        LAST.set_to_current_time()
        log.info("%s: %d alerts from %s", notification.get("status"), len(alerts), remote)
        return Response(200, JSON_TYPE, _json({"received_at": received.received_at}))

    def tell(self, target: str) -> Response:
        """Answer a GET. Raises RefusedError for an unknown path or a moment that is none."""
        parts = urlsplit(target)
        if parts.path == "/health":
            reasons = [f"notifications cannot be written: {self._write_error}"] if self._write_error else []
            return health_response(SERVICE, Health.of(reasons), self._started)
        if parts.path == "/metrics":
            return metrics_response()
        if parts.path == "/notifications":
            kept = self._notifications.since(_moment(parse_qs(parts.query).get("since", [])))
            return Response(200, JSON_TYPE, _json({"notifications": [asdict(each) for each in kept]}))
        raise RefusedError(404, "expected POST /, or GET /notifications, /health or /metrics")


def read_notification(body: bytes) -> dict[str, object]:
    """Alertmanager's webhook message. Raises RefusedError."""
    expected = "expected Alertmanager's webhook message, a JSON object with a list 'alerts' of objects"
    try:
        message = json.loads(body)
    except ValueError as error:
        raise RefusedError(400, f"{expected}; seen: {error}") from error
    alerts = message.get("alerts") if isinstance(message, dict) else None
    if not isinstance(alerts, list) or not all(isinstance(alert, dict) for alert in alerts):
        raise RefusedError(400, f"{expected}; seen: {body[:200].decode(errors='replace')}")
    return dict(message)


def _moment(given: list[str]) -> dt.datetime | None:
    if not given:
        return None
    try:
        moment = dt.datetime.fromisoformat(given[-1])
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RefusedError(400, f"since: expected RFC 3339 with a zone, as 2026-01-31T12:00:00Z; seen: {given[-1]}")
    return moment


def _json(document: object) -> bytes:
    return json.dumps(document).encode() + b"\n"


class Server(HttpServer):
    """Listens on `host`. Raises LabError when the port cannot be had."""

    def __init__(self, port: int, receiver: Receiver, host: str = LOOPBACK) -> None:
        self.receiver = receiver
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise LabError(
                f"to listen on {host}:{port}", str(error), "stop the process that holds the port, or choose another"
            ) from error


class _Handler(ResponseHandler):
    server: Server

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        try:
            self._answer(self.server.receiver.tell(self.path))
        except RefusedError as error:
            self._refuse(error)

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        try:
            if urlsplit(self.path).path != "/":
                raise RefusedError(404, "expected POST /")
            self._answer(self.server.receiver.take(self._body(), "{}:{}".format(*self.client_address)))
        except RefusedError as error:
            self._refuse(error)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise RefusedError(411, f"expected a Content-Length; seen: {length or 'none'}")
        if int(length) > MAX_BODY_BYTES:
            raise RefusedError(413, f"expected at most {MAX_BODY_BYTES} bytes; seen: {length}")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise RefusedError(400, f"expected {length} bytes; seen: {len(body)}")
        return body

    def _refuse(self, error: RefusedError) -> None:
        REFUSED.labels(str(error.code)).inc()
        self.close_connection = True  # a body may be left unread, and would be taken for the next request
        self._answer(Response(error.code, JSON_TYPE, _json({"error": str(error)})))

    def _answer(self, response: Response) -> None:
        self.send(response, closing=self.close_connection)
