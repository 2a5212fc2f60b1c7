# SPDX-License-Identifier: Apache-2.0
"""Alertmanager's HTTP API (v2): what it runs, what is active, silences, and reloading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.clock import rfc3339
from .http_api import ApiUnreadable, HttpApi

EXPIRED = "expired"


@dataclass(frozen=True)
class AmAlert:
    """An alert that Alertmanager holds: ``state`` is "active", "suppressed" or "unprocessed"."""

    labels: Mapping[str, str]
    state: str
    receivers: tuple[str, ...]
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]


@dataclass(frozen=True)
class Matcher:
    """Which alerts a silence is about: those whose label has the value (or has not, unless ``equal``)."""

    name: str
    value: str
    equal: bool = True

    def to_plain(self) -> dict[str, Any]:
        """As Alertmanager takes it."""
        return {"name": self.name, "value": self.value, "isRegex": False, "isEqual": self.equal}


@dataclass(frozen=True)
class Silence:
    """A silence; ``state`` is "active", "pending" or "expired"."""

    id: str
    created_by: str
    comment: str
    ends_at: str
    state: str


class AlertmanagerClient:
    """One Alertmanager. What goes wrong is raised as ``http_api`` says."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        self.api = HttpApi("Alertmanager", url.rstrip("/"), timeout_s)

    def config(self) -> str:
        """The configuration that runs, secrets left out, as Alertmanager writes it."""
        path = "/api/v2/status"
        answer = self.api.json("GET", path)
        try:
            return str(answer["config"]["original"])
        except (KeyError, TypeError) as error:
            raise self._unreadable(path, "config.original", error) from error

    def alerts(self) -> tuple[AmAlert, ...]:
        """Every alert that it holds, silenced and inhibited ones too."""
        path = "/api/v2/alerts"
        try:
            return tuple(_alert(each) for each in self.api.json("GET", path))
        except (KeyError, TypeError, AttributeError) as error:
            raise self._unreadable(path, "a list of alerts", error) from error

    def silences(self) -> tuple[Silence, ...]:
        """Every silence, those that are over too."""
        path = "/api/v2/silences"
        try:
            return tuple(
                Silence(each["id"], each["createdBy"], each["comment"], each["endsAt"], each["status"]["state"])
                for each in self.api.json("GET", path)
            )
        except (KeyError, TypeError) as error:
            raise self._unreadable(path, "a list of silences", error) from error

    def silence(self, matchers: Sequence[Matcher], start_us: int, end_us: int, author: str, comment: str) -> str:
        """Make a silence; returns its id."""
        path = "/api/v2/silences"
        body = {
            "matchers": [each.to_plain() for each in matchers],
            "startsAt": rfc3339(start_us),
            "endsAt": rfc3339(end_us),
            "createdBy": author,
            "comment": comment,
        }
        answer = self.api.json("POST", path, body=body)
        try:
            return str(answer["silenceID"])
        except (KeyError, TypeError) as error:
            raise self._unreadable(path, "silenceID", error) from error

    def expire(self, silence_id: str) -> None:
        """End a silence."""
        self.api.must("DELETE", f"/api/v2/silence/{silence_id}")

    def reload(self) -> None:
        """Have it read its configuration again.

        :raises ApiRefused: it found something wrong, in its own words.
        """
        self.api.must("POST", "/-/reload")

    def ready(self) -> bool:
        """Whether it says that it is; raises ``ApiUnreachable`` where it says nothing."""
        return self.api.ask("GET", "/-/ready")[0] == 200

    def _unreadable(self, path: str, expected: str, error: Exception) -> ApiUnreadable:
        return self.api.unreadable(path, expected, f"{type(error).__name__}: {error}")


def _alert(plain: Mapping[str, Any]) -> AmAlert:
    status = plain["status"]
    return AmAlert(
        {str(key): str(value) for key, value in plain["labels"].items()},
        str(status["state"]),
        tuple(str(each["name"]) for each in plain["receivers"]),
        tuple(map(str, status["silencedBy"])),
        tuple(map(str, status["inhibitedBy"])),
    )
