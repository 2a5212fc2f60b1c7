# SPDX-License-Identifier: Apache-2.0
"""What an HTTP request asks for, read once at the edge."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .errors import BAD_ARGUMENTS, INVALID_SESSION_TIMEOUT, ClickHouseError

# Parameters of ClickHouse's HTTP interface that are not settings.
_RESERVED: Final = frozenset(
    {
        "query", "query_id", "database", "default_format", "user", "password", "quota_key", "role", "stacktrace",
        "session_id", "session_timeout", "session_check", "compress", "decompress", "buffer_size", "wait_end_of_query",
        "client_protocol_version", "http_write_exception_in_output_format", "enable_http_compression", "close_session",
    }
)  # fmt: skip
_DEFAULT_FORMAT: Final = "TabSeparated"
_DEFAULT_SESSION_SECONDS: Final = 60
_MAX_SESSION_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class HttpSession:
    """The session a request belongs to; kept for `timeout_s` seconds after its last request."""

    session_id: str
    timeout_s: int
    must_exist: bool
    close_after: bool


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A request for a query, without its text."""

    query: bytes
    query_id: str
    database: str | None
    default_format: str | None
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    session: HttpSession | None
    compress_answer: bool
    decompress_body: bool
    content_encoding: str | None
    accept_encoding: str | None

    @property
    def output_format(self) -> str:
        """The format of the answer unless the statement names one."""
        return self.default_format or _DEFAULT_FORMAT

    @classmethod
    def parse(cls, headers: Mapping[str, str], query: Mapping[str, str]) -> QueryRequest:
        """Read headers and URL parameters; raises ClickHouseError 36 or 374 for values that make no sense."""
        settings = {k: v for k, v in query.items() if k not in _RESERVED and not k.startswith("param_")}
        encoding = headers.get("Content-Encoding", "").strip().lower()
        return cls(
            query=query.get("query", "").encode(),
            query_id=query.get("query_id") or headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4()),
            database=query.get("database") or headers.get("X-ClickHouse-Database"),
            default_format=query.get("default_format") or headers.get("X-ClickHouse-Format"),
            settings=settings,
            parameters={k.removeprefix("param_"): v for k, v in query.items() if k.startswith("param_")},
            session=_session(query),
            compress_answer=_flag(query, "compress"),
            decompress_body=_flag(query, "decompress"),
            content_encoding=encoding if encoding not in ("", "identity") else None,
            accept_encoding=headers.get("Accept-Encoding") if _flag(query, "enable_http_compression") else None,
        )


def _flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "0").lower()
    if value not in ("0", "1", "true", "false"):
        raise ClickHouseError.of(BAD_ARGUMENTS, f"URL parameter {name}: expected 0 or 1, seen {value!r}")
    return value in ("1", "true")


def _session(query: Mapping[str, str]) -> HttpSession | None:
    session_id = query.get("session_id")
    if not session_id:
        return None
    timeout = query.get("session_timeout", str(_DEFAULT_SESSION_SECONDS))
    if not timeout.isascii() or not timeout.isdigit() or int(timeout) > _MAX_SESSION_SECONDS:
        message = f"Invalid session timeout {timeout!r}: expected whole seconds up to {_MAX_SESSION_SECONDS}"
        raise ClickHouseError.of(INVALID_SESSION_TIMEOUT, message)
    return HttpSession(session_id, int(timeout), _flag(query, "session_check"), _flag(query, "close_session"))
