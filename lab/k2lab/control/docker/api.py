# SPDX-License-Identifier: Apache-2.0
"""The part of the Docker Engine's API that a lab needs, over its unix socket."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from k2lab.common.errors import LabError
from k2lab.control.unix_http import UnixConnection

PING_TIMEOUT_S = 5.0
HTTP_NOT_FOUND = 404
HTTP_ERROR = 400


class EngineError(LabError):
    """The engine refused; `status` is HTTP's."""

    def __init__(self, status: int, call: str, text: str) -> None:
        super().__init__(f"the Docker Engine to do {call}", f"{status}: {text}", "correct the cause, run lab-up again")
        self.status = status


@dataclass(frozen=True)
class Engine:
    """Calls to one engine; a connection for each, so that threads need no lock."""

    socket: Path
    timeout_s: float = 30.0

    def unreachable(self) -> str | None:
        """Why no engine answers here, None when one does."""
        connection = UnixConnection(self.socket, PING_TIMEOUT_S)
        try:
            connection.request("GET", "/_ping")
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except PermissionError:
            return f"no permission on {self.socket}: use a user of the group docker, or root"
        except (OSError, http.client.HTTPException) as error:
            return f"no engine answers on {self.socket} ({error})"
        finally:
            connection.close()
        return None if answer.status < HTTP_ERROR else f"{self.socket} answers {answer.status}: {text.strip()}"

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """GET, decoded from JSON. Raises EngineError when it refuses, LabError when there is none."""
        return json.loads(self.call("GET", path, query))

    def post(self, path: str, query: Mapping[str, object] | None = None, timeout_s: float | None = None) -> None:
        """POST; "already so" (304) counts as done."""
        self.call("POST", path, query, timeout_s=timeout_s)

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: bytes | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """One request."""
        target = f"{path}?{urlencode(query)}" if query else path
        connection = UnixConnection(self.socket, timeout_s or self.timeout_s)
        try:
            connection.request(method, target, body, {"Content-Type": "application/x-tar"} if body else {})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(
                f"the Docker Engine on {self.socket} to answer {method} {path}", str(error), "see whether it runs"
            ) from error
        finally:
            connection.close()
        if answer.status >= HTTP_ERROR:
            raise EngineError(answer.status, f"{method} {path}", _message(content))
        return content


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace").strip()[:500]
