# SPDX-License-Identifier: Apache-2.0
"""Asking an HTTP API and reading what it answers, within limits of size and of time. Standard library only."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import urlencode, urlsplit

from ..core.clock import Deadline
from ..core.errors import K2Error
from .http_body import BodyTooLarge, read_body

TIMEOUT_S = 10.0
_BODY_LIMIT = 64 * 1024 * 1024
_SAID = 300


class ApiUnreachable(K2Error):  # noqa: N818 - see core.errors
    """The server did not answer."""


class ApiRefused(K2Error):  # noqa: N818 - see core.errors
    """The server answered, and did not do what it was asked."""


class ApiUnreadable(K2Error):  # noqa: N818 - see core.errors
    """The answer is not what such a server says."""


@dataclass(frozen=True)
class HttpApi:
    """One server by its address; ``what`` names it in errors ("Prometheus"). Stateless: a connection per question."""

    what: str
    url: str
    timeout_s: float = TIMEOUT_S

    def ask(
        self,
        method: str,
        path: str,
        parameters: Optional[Mapping[str, Any]] = None,
        body: Any = None,
    ) -> tuple[int, bytes]:
        """Status and text of the answer, whatever they are; ``body`` is sent as JSON.

        :raises ApiUnreachable: there was none in time.
        """
        parts = urlsplit(self.url)
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = make(parts.hostname or "", parts.port, timeout=self.timeout_s)
        query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
        text = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if text is not None else {})
        try:
            connection.request(method, parts.path.rstrip("/") + path + query, body=text, headers=headers)
            response = connection.getresponse()
            return response.status, read_body(response, Deadline.after(self.timeout_s), _BODY_LIMIT)
        except (OSError, http.client.HTTPException, BodyTooLarge) as error:
            raise ApiUnreachable(
                f"{self.what} did not answer",
                expected=f"an answer from {self.url}{path} within {self.timeout_s:g} s",
                seen=f"{type(error).__name__}: {error}",
                action=f"check that {self.what} runs and that the profile has its address",
            ) from error
        finally:
            connection.close()

    def must(
        self,
        method: str,
        path: str,
        parameters: Optional[Mapping[str, Any]] = None,
        body: Any = None,
    ) -> bytes:
        """The text of an answer with status 200.

        :raises ApiUnreachable: see ``ask``. :raises ApiRefused: another status, with what the server says.
        """
        status, text = self.ask(method, path, parameters, body)
        if status != http.HTTPStatus.OK:
            raise ApiRefused(
                f"{self.what} refused {method} {path}",
                expected="status 200",
                seen=f"status {status}: {' '.join(text.decode('utf-8', 'replace').split())[:_SAID]}",
            )
        return text

    def json(
        self,
        method: str,
        path: str,
        parameters: Optional[Mapping[str, Any]] = None,
        body: Any = None,
    ) -> Any:
        """The decoded JSON of an answer with status 200.

        :raises ApiUnreachable, ApiRefused: see ``must``. :raises ApiUnreadable: it is no JSON.
        """
        text = self.must(method, path, parameters, body)
        try:
            return json.loads(text)
        except ValueError as error:
            raise self.unreadable(path, "JSON", repr(text[:120])) from error

    def unreadable(self, path: str, expected: str, seen: str) -> ApiUnreadable:
        """The error for an answer of another shape."""
        return ApiUnreadable(
            f"this is not the API of {self.what}",
            expected=f"{expected} from {self.url}{path}",
            seen=seen,
            action=f"let the profile's address be that of {self.what}",
        )
