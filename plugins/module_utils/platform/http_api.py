# SPDX-License-Identifier: Apache-2.0
"""Asking an HTTP server and reading what it answers, within limits of size and of time. Standard library only.

Not urllib: that goes through whatever proxy the environment names, and follows a server's word to another one.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, Optional
from urllib.parse import urlencode, urlsplit

from ..core.clock import Deadline
from ..core.errors import K2Error

TIMEOUT_S = 10.0
BODY_LIMIT = 64 * 1024 * 1024
_SAID = 300


class BodyTooLarge(K2Error):  # noqa: N818 - see core.errors
    """The answer has more bytes than whoever asked is ready to hold."""


class ApiUnreachable(K2Error):  # noqa: N818 - see core.errors
    """The server did not answer."""


class ApiRefused(K2Error):  # noqa: N818 - see core.errors
    """The server answered, and did not do what it was asked; ``status`` is that of HTTP."""

    def __init__(self, message: str, *, status: int, expected: str = "", seen: str = "", action: str = "") -> None:
        super().__init__(message, expected=expected, seen=seen, action=action)
        self.status = status


class ApiUnreadable(K2Error):  # noqa: N818 - see core.errors
    """The answer is not what such a server says."""


@dataclass(frozen=True)
class HttpAnswer:
    """What came back, whatever the status."""

    status: int
    headers: Message
    body: bytes


def read_body(response: http.client.HTTPResponse, deadline: Deadline, limit_bytes: int) -> bytes:
    """The whole body, bounded in size and in total time (the socket's timeout bounds only each read).

    Raises BodyTooLarge, TimeoutError, and what reading from a socket raises.
    """
    parts: list[bytes] = []
    size = 0
    while chunk := response.read1(1 << 16):
        parts.append(chunk)
        size += len(chunk)
        if size > limit_bytes:
            raise BodyTooLarge("the answer is too large", expected=f"at most {limit_bytes} bytes", seen="more")
        if deadline.passed:
            raise TimeoutError("the answer was still coming")
    return b"".join(parts)


def exchange(
    method: str,
    url: str,
    path: str,
    *,
    body: Optional[bytes] = None,
    headers: Optional[Mapping[str, str]] = None,
    timeout_s: float = TIMEOUT_S,
    limit_bytes: int = BODY_LIMIT,
) -> HttpAnswer:
    """Ask for ``path``, with its query, below the address ``url``, over a connection of its own.

    :raises OSError: there was no answer in time, or none in HTTP. :raises BodyTooLarge: it has more than
    ``limit_bytes``.
    """
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=timeout_s)
    deadline = Deadline.after(timeout_s)
    try:
        connection.request(method, parts.path.rstrip("/") + path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return HttpAnswer(response.status, response.headers, read_body(response, deadline, limit_bytes))
    except http.client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


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

        :raises ApiUnreachable: there was none in time. :raises ApiUnreadable: it is larger than any such answer.
        """
        query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
        text = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if text is not None else {})
        try:
            answer = exchange(method, self.url, path + query, body=text, headers=headers, timeout_s=self.timeout_s)
        except BodyTooLarge as error:
            raise self.unreadable(path, error.expected, error.seen) from error
        except OSError as error:
            raise ApiUnreachable(
                f"{self.what} did not answer",
                expected=f"an answer from {self.url}{path} within {self.timeout_s:g} s",
                seen=f"{type(error).__name__}: {error}",
                action=f"check that {self.what} runs and that the profile has its address",
            ) from error
        return answer.status, answer.body

    def must(
        self,
        method: str,
        path: str,
        parameters: Optional[Mapping[str, Any]] = None,
        body: Any = None,
    ) -> bytes:
        """The text of an answer with status 200.

        :raises ApiUnreachable, ApiUnreadable: see ``ask``. :raises ApiRefused: another status, with what is said.
        """
        status, text = self.ask(method, path, parameters, body)
        if status != http.HTTPStatus.OK:
            said = " ".join(text.decode("utf-8", "replace").split())[:_SAID]
            raise ApiRefused(
                f"{self.what} refused {method} {path}",
                status=status,
                expected=f"status 200 from {self.url}",
                seen=f"status {status}: {said or 'no word'}",
                action=f"mend what it says; the log of {self.what} may tell more",
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
