# SPDX-License-Identifier: Apache-2.0
"""ClickHouse over HTTP for the lab's own programs: one keep-alive connection, typed errors that say what is known.

The one question a writer has after a failure is whether the statement may have run. So the errors split by that:
`RefusedError` (the server did not take it), `QueryFailedError` (the server answered with an error: it may have written
parts of it) and `AmbiguousError` (no answer: it may be still running).
"""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from k2lab.common.errors import LabError


class ClickHouseError(LabError):
    """A statement did not succeed."""


class RefusedError(ClickHouseError):
    """Nothing was sent, or the server answered before it started: safe to repeat."""


class QueryFailedError(ClickHouseError):
    """The server answered with an error; `code` is ClickHouse's exception code (0 when it gave none)."""

    def __init__(self, expected: str, seen: str, action: str, code: int) -> None:
        super().__init__(expected, seen, action)
        self.code = code


class AmbiguousError(ClickHouseError):
    """The connection broke or timed out after the statement was sent: whether it ran is unknown."""


# ClickHouse's codes of statements it did not begin.
_NOT_BEGUN = frozenset({202, 516})  # TOO_MANY_SIMULTANEOUS_QUERIES, AUTHENTICATION_FAILED


class ClickHouse:
    """One connection; not for use from several threads at once. `timeout_s` bounds each wait for the server."""

    def __init__(self, url: str, user: str, password: str, timeout_s: float = 30.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise LabError(
                "a ClickHouse address http://host:port", repr(url), "correct the --clickhouse-url / --url flag"
            )
        self.url = url
        self._address = (parts.hostname, parts.port or 8123)
        self._headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next statement opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def execute(
        self,
        sql: str,
        *,
        body: bytes | None = None,
        parameters: Mapping[str, str | int] | None = None,
        settings: Mapping[str, str | int] | None = None,
        query_id: str | None = None,
    ) -> str:
        """Run one statement and return the answer's text.

        With `body` the statement goes into the URL and the body is its data (INSERT ... FORMAT). `parameters` fill
        {name:Type} placeholders. Raises RefusedError, QueryFailedError or AmbiguousError.
        """
        answer = self.fetch(sql, body=body, parameters=parameters, settings=settings, query_id=query_id)
        return answer.decode("utf-8", errors="replace")

    def fetch(
        self,
        sql: str,
        *,
        body: bytes | None = None,
        parameters: Mapping[str, str | int] | None = None,
        settings: Mapping[str, str | int] | None = None,
        query_id: str | None = None,
    ) -> bytes:
        """As execute(), but the answer as it came: for binary formats."""
        arguments = {f"param_{name}": str(value) for name, value in (parameters or {}).items()}
        arguments |= {name: str(value) for name, value in (settings or {}).items()}
        if query_id is not None:
            arguments["query_id"] = query_id
        if body is not None:
            arguments["query"] = sql
        status, code, answer = self._post(
            "/?" + urllib.parse.urlencode(arguments), body if body is not None else sql.encode()
        )
        if status == 200 and not code:
            return answer
        first_line = answer.decode("utf-8", errors="replace").strip()[:500]
        if code in _NOT_BEGUN:
            raise RefusedError(
                f"{self.url} to take the statement", first_line, "check user, password and load of the server"
            )
        raise QueryFailedError(f"success of: {sql[:120]}", f"HTTP {status}: {first_line}", "see the server's log", code)

    def rows(
        self, sql: str, *, parameters: Mapping[str, str | int] | None = None, **settings: str | int
    ) -> list[list[Any]]:
        """Run a SELECT; each row a list. 64-bit integers, Decimals and dates come as strings, so exact."""
        exact = {"output_format_json_quote_64bit_integers": 1, "output_format_json_quote_decimals": 1}
        text = self.execute(f"{sql} FORMAT JSONCompactEachRow", parameters=parameters, settings=exact | settings)
        return [json.loads(line) for line in text.splitlines()]

    def _post(self, target: str, body: bytes) -> tuple[int, int, bytes]:
        connection = self._connect()
        try:
            connection.request("POST", target, body=body, headers=self._headers)
            response = connection.getresponse()
            answer = response.read()
            return response.status, int(response.headers.get("X-ClickHouse-Exception-Code", "0")), answer
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise AmbiguousError(
                f"an answer from {self.url} within {self._timeout_s:g} s",
                f"{type(error).__name__}: {error}",
                "check whether ClickHouse runs; the statement may or may not have been executed",
            ) from error

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._address
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
            try:
                connection.connect()
            except OSError as error:
                raise RefusedError(
                    f"ClickHouse at {self.url}", str(error), "start it, or check host and port"
                ) from error
            # Statement and data leave in two writes: without this the second waits for a delayed ack (40 ms).
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = connection
        return self._connection
