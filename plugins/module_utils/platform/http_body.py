# SPDX-License-Identifier: Apache-2.0
"""Reading the body of an HTTP answer within limits of size and of time."""

from __future__ import annotations

import http.client

from ..core.clock import Deadline
from ..core.errors import K2Error


class BodyTooLarge(K2Error):  # noqa: N818 - see core.errors
    """The answer has more bytes than whoever asked is ready to hold."""


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
