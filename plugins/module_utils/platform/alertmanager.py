# SPDX-License-Identifier: Apache-2.0
"""Alertmanager's HTTP API (v2): what it runs on, silences, and reloading."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.clock import rfc3339
from .http_api import ApiUnreadable, HttpApi

EXPIRED = "expired"
_HASH_BYTES = 6


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

    # -- what is known -----------------------------------------------------------------------------------------------

    def version(self) -> str:
        """The server's version."""
        return self._status("versionInfo", "version")

    def config(self) -> str:
        """The configuration that runs, secrets left out, as Alertmanager writes it."""
        return self._status("config", "original")

    def loaded(self) -> tuple[bool, int]:
        """Whether its last reload succeeded, and the hash of the configuration it runs on (``config_hash``)."""
        text = self.api.must("GET", "/metrics").decode("utf-8", "replace")
        return self._gauge(text, "last_reload_successful") == 1, int(self._gauge(text, "hash"))

    def receivers(self) -> tuple[str, ...]:
        """The names of its receivers."""
        path = "/api/v2/receivers"
        try:
            return tuple(str(each["name"]) for each in self.api.json("GET", path))
        except (KeyError, TypeError) as error:
            raise self._unreadable(path, "a list of receivers", error) from error

    def silences(self) -> tuple[Silence, ...]:
        """Every silence, those that are over too."""
        path = "/api/v2/silences"
        try:
            return tuple(
                Silence(
                    str(each["id"]),
                    str(each["createdBy"]),
                    str(each.get("comment") or ""),
                    str(each["endsAt"]),
                    str(each["status"]["state"]),
                )
                for each in self.api.json("GET", path)
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise self._unreadable(path, "a list of silences", error) from error

    # -- acts --------------------------------------------------------------------------------------------------------

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

    def reload(self) -> None:
        """Have it read its configuration again.

        :raises ApiRefused: it found something wrong, in its own words.
        """
        self.api.must("POST", "/-/reload")

    # -- within ------------------------------------------------------------------------------------------------------

    def _status(self, section: str, name: str) -> str:
        path = "/api/v2/status"
        answer = self.api.json("GET", path)
        try:
            return str(answer[section][name])
        except (KeyError, TypeError) as error:
            raise self._unreadable(path, f"{section}.{name}", error) from error

    def _gauge(self, text: str, name: str) -> float:
        match = re.search(rf"^alertmanager_config_{name} (\S+)$", text, re.MULTILINE)
        try:
            return float(match[1] if match else "")
        except ValueError as error:
            raise self._unreadable("/metrics", f"alertmanager_config_{name}", error) from error

    def _unreadable(self, path: str, expected: str, error: Exception) -> ApiUnreadable:
        return self.api.unreadable(path, expected, f"{type(error).__name__}: {error}")


def config_hash(content: bytes) -> int:
    """What Alertmanager tells of a configuration: six bytes of its MD5 (cmd/alertmanager, md5HashAsMetricValue)."""
    digest = hashlib.md5(content).digest()  # noqa: S324 - Alertmanager's choice; nothing is kept safe by it
    return int.from_bytes(digest[:_HASH_BYTES], "little")
