# SPDX-License-Identifier: Apache-2.0
"""The Docker Engine's HTTP API over its unix socket, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union
from urllib.parse import urlencode

from ..unix_http import UnixConnection
from .base import NoAnswer, RuntimeFailure

Query = Mapping[str, Union[str, int]]


class EngineError(RuntimeFailure):
    """The engine answered with an error; ``status`` is the HTTP status."""

    def __init__(self, status: int, call: str, text: str) -> None:
        super().__init__(f"the Docker Engine refused {call}", expected="success", seen=f"{status}: {text}")
        self.status = status


@dataclass(frozen=True)
class EngineApi:
    """Calls to one engine; a connection per call, so that threads need no lock."""

    socket: str
    timeout_s: float

    def get(self, path: str, query: Optional[Query] = None) -> Any:
        """GET, decoded from JSON."""
        return json.loads(self.raw("GET", path, query))

    def post(self, path: str, query: Optional[Query] = None, body: Optional[Mapping[str, Any]] = None) -> None:
        """POST; "already so" (304) counts as done."""
        self.raw("POST", path, query, body)

    def raw(
        self,
        method: str,
        path: str,
        query: Optional[Query] = None,
        body: Optional[Mapping[str, Any]] = None,
        extra_s: float = 0.0,
    ) -> bytes:
        """One request; ``extra_s`` lengthens the timeout for calls that the engine itself delays.

        :raises SocketUnavailable: no engine. :raises EngineError: it refused. :raises NoAnswer: none in time.
        """
        connection = UnixConnection(self.socket, self.timeout_s + extra_s)
        try:
            response = self.send(connection, method, path, query, body)
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(
                f"the Docker Engine did not answer {method} {path}",
                expected=f"an answer within {self.timeout_s + extra_s:g} s",
                seen=f"{type(error).__name__}: {error}",
                action=f"check the engine behind {self.socket}",
            ) from error
        finally:
            connection.close()

    def send(
        self,
        connection: UnixConnection,
        method: str,
        path: str,
        query: Optional[Query] = None,
        body: Optional[Mapping[str, Any]] = None,
    ) -> http.client.HTTPResponse:
        """Send a request on ``connection`` and return the response with its body unread.

        Paths carry no version: each engine then speaks its own newest, and refuses none as too old.
        """
        target = path + ("?" + urlencode(query) if query else "")
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if data is not None else {}
        connection.request(method, target, body=data, headers=headers)
        response = connection.getresponse()
        if response.status >= 400:
            raise EngineError(response.status, f"{method} {path}", _message(response.read(8192)))
        return response


def _message(body: bytes) -> str:
    """The engine's own words: ``{"message": ...}``, or the body as it is."""
    text = body.decode("utf-8", "replace").strip()
    try:
        decoded = json.loads(text)
    except ValueError:
        return text
    return str(decoded["message"]) if isinstance(decoded, dict) and "message" in decoded else text
