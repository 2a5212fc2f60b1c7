# SPDX-License-Identifier: Apache-2.0
"""What a logging webhook has received from Alertmanager: the proof that an alert was delivered.

Two ways to ask it: ``GET <url>/notifications?since=<RFC 3339>``, or its log, a file with one JSON object a line. Either
way a record has ``received_at`` (RFC 3339) and ``notification``, Alertmanager's webhook message as it came.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

from ..core.clock import microseconds, rfc3339
from ..core.errors import K2Error
from .http_api import HttpApi


class ReceiverUnreadable(K2Error):  # noqa: N818 - see core.errors
    """What was received cannot be told."""


@dataclass(frozen=True)
class Delivered:
    """One alert of one notification as it came; ``status`` is "firing" or "resolved"."""

    received_us: int
    status: str
    receiver: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_us: int


class AlertReceiver:
    """The record of a receiver, at an http(s) address or in a file."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._by_http = urlsplit(place).scheme in ("http", "https")

    def since(self, since_us: int) -> tuple[Delivered, ...]:
        """Each alert received at that moment (microseconds since the epoch) or later, oldest first.

        :raises ApiUnreachable, ApiRefused: as ``http_api``. :raises ReceiverUnreadable: the record is no such record.
        """
        try:
            records = self._asked(since_us) if self._by_http else self._read()
            found = [alert for record in records for alert in _alerts(record)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReceiverUnreadable(
                "this is no record of notifications",
                expected=f"received_at and Alertmanager's webhook message of each in {self.place}",
                seen=f"{type(error).__name__}: {error}",
                action="name the address or the file of the webhook that keeps what it receives",
            ) from error
        return tuple(sorted((one for one in found if one.received_us >= since_us), key=lambda one: one.received_us))

    def _asked(self, since_us: int) -> list[Mapping[str, Any]]:
        api = HttpApi("the alert receiver", self.place.rstrip("/"))
        answer = api.json("GET", "/notifications", {"since": rfc3339(since_us)})
        kept = answer["notifications"]
        if not isinstance(kept, list):
            raise TypeError(f"notifications is a {type(kept).__name__}")
        return kept

    def _read(self) -> list[Mapping[str, Any]]:
        try:
            lines = Path(self.place).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ReceiverUnreadable(
                "the receiver's log cannot be read",
                expected=f"a readable file {self.place}",
                seen=str(error),
                action="name the log of the webhook that keeps what it receives",
            ) from error
        records = [record for record in map(_decoded, lines) if record is not None]
        if not records and any(line.strip() for line in lines):
            raise ValueError(f"no line is JSON, the first begins {lines[0][:60]!r}")
        return records


def _decoded(line: str) -> Optional[Mapping[str, Any]]:
    """A line of the log; None for one that a kill cut off: it was never acknowledged, so its sender repeats it."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _alerts(record: Mapping[str, Any]) -> Iterator[Delivered]:
    received_us = microseconds(str(record["received_at"]))
    message = record["notification"]
    for alert in message["alerts"]:
        yield Delivered(
            received_us,
            str(alert["status"]),
            str(message.get("receiver", "")),
            {str(key): str(value) for key, value in alert["labels"].items()},
            {str(key): str(value) for key, value in (alert.get("annotations") or {}).items()},
            microseconds(str(alert["startsAt"])),
        )
