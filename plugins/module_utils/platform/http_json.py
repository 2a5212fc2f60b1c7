# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP calls to servers that answer JSON or text. Standard library only."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, Optional

from ..core.clock import Deadline
from ..core.errors import K2Error
from .http_body import BodyTooLarge, read_body

TIMEOUT_S = 10.0
_BODY_LIMIT = 64 * 1024 * 1024
_SAID_LIMIT = 400


class NoAnswer(K2Error):  # noqa: N818 - see core.errors
    """A server cannot be reached."""


class Refused(K2Error):  # noqa: N818 - see core.errors
    """A server answered, and not with success; ``status`` is the HTTP status."""

    def __init__(self, message: str, *, status: int, expected: str = "", seen: str = "", action: str = "") -> None:
        super().__init__(message, expected=expected, seen=seen, action=action)
        self.status = status


def call(url: str, *, method: str = "GET", data: Optional[bytes] = None, timeout_s: float = TIMEOUT_S) -> bytes:
    """The body of the answer; raises NoAnswer, Refused."""
    # The profile admits http and https only.
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return read_body(answer, Deadline.after(timeout_s), _BODY_LIMIT)
    except urllib.error.HTTPError as error:
        said = error.read(4096).decode("utf-8", "replace").strip()[:_SAID_LIMIT]
        raise Refused(
            f"{method} {url} was refused",
            status=error.code,
            expected="status 200",
            seen=f"status {error.code}: {said}" if said else f"status {error.code}",
        ) from error
    except (OSError, http.client.HTTPException, BodyTooLarge) as error:
        raise NoAnswer(
            f"{url} does not answer", expected=f"an answer within {timeout_s:g} s", seen=str(error)
        ) from error


def get_json(url: str, timeout_s: float = TIMEOUT_S) -> Any:
    """The JSON document at ``url``; raises NoAnswer, Refused."""
    body = call(url, timeout_s=timeout_s)
    try:
        return json.loads(body)
    except ValueError as error:
        raise NoAnswer(f"{url} does not answer JSON", expected="JSON", seen=repr(body[:80])) from error
