# SPDX-License-Identifier: Apache-2.0
"""What Alertmanager's HTTP API tells of its configuration, and the order to read it anew."""

from __future__ import annotations

import hashlib
import re

from .exposition import scrape
from .http_json import NoAnswer, call, get_json

_HASH_BYTES = 6


class Alertmanager:
    """One server, by its address."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def version(self) -> str:
        """The server's version."""
        return str(get_json(f"{self.url}/api/v2/status")["versionInfo"]["version"])

    def reload(self) -> None:
        """Have it read its configuration; raises Refused with its own words when it cannot use it."""
        call(f"{self.url}/-/reload", method="POST")

    def receivers(self) -> tuple[str, ...]:
        """The names of its receivers."""
        return tuple(str(each["name"]) for each in get_json(f"{self.url}/api/v2/receivers"))

    def loaded(self) -> tuple[bool, int]:
        """Whether its last reload succeeded, and the hash of the configuration it runs on (``config_hash``)."""
        text = scrape(f"{self.url}/metrics")
        return self._gauge(text, "last_reload_successful") == 1, int(self._gauge(text, "hash"))

    def _gauge(self, text: str, name: str) -> float:
        match = re.search(rf"^alertmanager_config_{name} (\S+)$", text, re.MULTILINE)
        if match is None:
            raise NoAnswer(
                f"{self.url}/metrics tells nothing of the configuration", expected=f"alertmanager_config_{name}"
            )
        return float(match.group(1))


def config_hash(content: bytes) -> int:
    """What Alertmanager tells of a configuration: six bytes of its MD5 (cmd/alertmanager, md5HashAsMetricValue)."""
    digest = hashlib.md5(content).digest()  # noqa: S324 - Alertmanager's choice; nothing is kept safe by it
    return int.from_bytes(digest[:_HASH_BYTES], "little")
