# SPDX-License-Identifier: Apache-2.0
"""ClickHouse's numbered errors, and the HTTP statuses its own server answers them with."""

from __future__ import annotations

import re
from typing import Final

# Codes the front itself raises; the engine's own errors carry theirs in the message.
BAD_ARGUMENTS: Final = 36
NOT_IMPLEMENTED: Final = 48
SYNTAX_ERROR: Final = 62
TOO_MANY_SIMULTANEOUS_QUERIES: Final = 202
TOO_MANY_SESSIONS: Final = TOO_MANY_SIMULTANEOUS_QUERIES  # ClickHouse has no limit, and so no code, of its own
QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: Final = 216
QUERY_IS_TOO_LARGE: Final = 223
CANNOT_DECOMPRESS: Final = 271
INTO_OUTFILE_NOT_ALLOWED: Final = 354
SESSION_NOT_FOUND: Final = 372
SESSION_IS_LOCKED: Final = 373
INVALID_SESSION_TIMEOUT: Final = 374
ACCESS_DENIED: Final = 497
AUTHENTICATION_FAILED: Final = 516
UNKNOWN_EXCEPTION: Final = 1002

_NAMES: Final[dict[int, str]] = {
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    TOO_MANY_SIMULTANEOUS_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    QUERY_IS_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    INTO_OUTFILE_NOT_ALLOWED: "INTO_OUTFILE_NOT_ALLOWED",
    SESSION_NOT_FOUND: "SESSION_NOT_FOUND",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    INVALID_SESSION_TIMEOUT: "INVALID_SESSION_TIMEOUT",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}

# The same table as src/Server/HTTP/exceptionCodeToHTTPStatus.cpp of ClickHouse; every other code is a 500.
_BAD_REQUEST: Final = (
    6,
    7,
    15,
    25,
    26,
    27,
    36,
    38,
    41,
    44,
    53,
    62,
    72,
    117,
    167,
    168,
    170,
    321,
    376,
    427,
    441,
    675,
    676,
)
_NOT_FOUND: Final = (46, 47, 50, 56, 60, 63, 73, 78, 81, 97, 111, 115, 511)
_STATUSES: Final[dict[int, int]] = {
    **dict.fromkeys(_BAD_REQUEST, 400),
    **dict.fromkeys(_NOT_FOUND, 404),
    194: 401,  # REQUIRED_PASSWORD
    192: 403,  # UNKNOWN_USER
    193: 403,  # WRONG_PASSWORD
    512: 403,  # SET_NON_GRANTED_ROLE
    ACCESS_DENIED: 403,
    AUTHENTICATION_FAILED: 403,
    159: 408,  # TIMEOUT_EXCEEDED
    381: 411,  # HTTP_LENGTH_REQUIRED
    QUERY_IS_TOO_LARGE: 413,
    NOT_IMPLEMENTED: 501,
    76: 503,  # CANNOT_OPEN_FILE
    209: 503,  # SOCKET_TIMEOUT
    439: 503,  # CANNOT_SCHEDULE_TASK
}

_ENGINE_ERROR: Final = re.compile(r"Code: (\d+)\. DB::Exception: ")
_LOST_IN_TRANSPORT: Final = re.compile(r"\ACode: (\d+)\. DB::Exception: Code: \1\. DB::Exception: ")


class ClickHouseError(Exception):
    """An error with ClickHouse's number, ready to be answered over HTTP.

    `text` is the whole body, in the shape clients parse: ``Code: N. DB::Exception: ... (NAME)``.
    """

    def __init__(self, code: int, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = http_status(code) if status is None else status

    @classmethod
    def of(cls, code: int, message: str, status: int | None = None) -> ClickHouseError:
        """An error of the front itself; `message` says what was expected, what was seen and what to do."""
        return cls(code, f"Code: {code}. DB::Exception: {message} ({_NAMES.get(code, 'UNKNOWN_EXCEPTION')})", status)

    @classmethod
    def from_engine(cls, text: str) -> ClickHouseError:
        """An error as chdb words it; one without a number becomes UNKNOWN_EXCEPTION (1002)."""
        found = _ENGINE_ERROR.search(text)
        if found is None:
            return cls.of(UNKNOWN_EXCEPTION, text)
        # A streaming insert repeats the header of the error it passes on.
        return cls(int(found[1]), _LOST_IN_TRANSPORT.sub(r"Code: \1. DB::Exception: ", text[found.start() :].strip()))


def http_status(code: int) -> int:
    """The HTTP status ClickHouse answers an exception code with."""
    return _STATUSES.get(code, 500)
