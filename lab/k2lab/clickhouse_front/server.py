"""The HTTP side: from a request to the engine and back."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from . import frames, statements
from .config import SERVER_SETTINGS
from .engine import Engine, Outcome, SessionSpec
from .errors import (
    QUERY_IS_TOO_LARGE,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    ClickHouseError,
)
from .request import QueryRequest
from .users import Credentials, ReadOnly, User, Users

log = logging.getLogger(__name__)

_CONTENT_TYPES: Final[dict[str, str]] = {
    "json": "application/json; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "native": "application/octet-stream",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes on at a time."""

    max_concurrent_queries: int
    max_body_bytes: int


class Front:
    """Answers ClickHouse's HTTP protocol from an engine."""

    def __init__(self, engine: Engine, users: Users, limits: Limits) -> None:
        self._engine = engine
        self._users = users
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.max_concurrent_queries, thread_name_prefix="query")
        self._running = 0

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=self._limits.max_body_bytes)
        app.router.add_route("GET", "/ping", self._ping)
        app.router.add_route("*", "/", self._query)
        return app

    async def _ping(self, _: web.Request) -> web.Response:
        return web.Response(text="Ok.\n", content_type="text/html")

    async def _query(self, http: web.Request) -> web.Response:
        headers = {"X-ClickHouse-Server-Display-Name": socket.gethostname(), "X-ClickHouse-Timezone": "UTC"}
        try:
            user = self._users.authenticate(Credentials.from_request(http.headers, http.query))
            request = QueryRequest.parse(http.headers, http.query)
            headers["X-ClickHouse-Query-Id"] = request.query_id
            started = time.perf_counter_ns()
            body = await self._body(http, request)
            statement, data = _statement(request, body)
            spec = _spec(request, user, http.method)
            outcome = await self._run(spec, statement, data, request)
            headers["X-ClickHouse-Summary"] = _summary(outcome, time.perf_counter_ns() - started)
            answer_format = statement.output_format or request.output_format
            headers["X-ClickHouse-Format"] = answer_format
            headers["Content-Type"] = _content_type(answer_format)
            return self._answer(outcome.body, request, headers)
        except ClickHouseError as error:
            headers["X-ClickHouse-Exception-Code"] = str(error.code)
            headers["Content-Type"] = "text/plain; charset=UTF-8"
            if error.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
            return web.Response(status=error.status, body=error.text.encode() + b"\n", headers=headers)

    async def _body(self, http: web.Request, request: QueryRequest) -> bytes:
        try:
            body = await http.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise ClickHouseError.of(
                QUERY_IS_TOO_LARGE, f"The body is larger than {self._limits.max_body_bytes} bytes; send it in smaller inserts"
            ) from error
        if request.content_encoding is not None and body:
            body = frames.decompress(body, request.content_encoding, self._limits.max_body_bytes)
        return body

    async def _run(self, spec: SessionSpec, statement: statements.Statement, data: bytes, request: QueryRequest) -> Outcome:
        if self._running >= self._limits.max_concurrent_queries:
            raise ClickHouseError.of(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                f"Too many simultaneous queries. Maximum: {self._limits.max_concurrent_queries}",
            )
        self._running += 1
        try:
            loop = asyncio.get_running_loop()
            if statement.input_format is not None:
                return await loop.run_in_executor(
                    self._threads, self._engine.insert, spec, statement.sql, statement.input_format, data
                )
            return await loop.run_in_executor(self._threads, self._engine.query, spec, statement.sql, request.output_format)
        finally:
            self._running -= 1

    def _answer(self, body: bytes, request: QueryRequest, headers: dict[str, str]) -> web.Response:
        encoding = frames.choose_encoding(request.accept_encoding) if request.accept_encoding and body else None
        if encoding is not None:
            body = frames.compress(body, encoding)
            headers["Content-Encoding"] = encoding
        return web.Response(body=body, headers=headers)


def _statement(request: QueryRequest, body: bytes) -> tuple[statements.Statement, bytes]:
    text = request.query + b"\n" + body if request.query and body else request.query or body
    statement = statements.parse(text, request.default_format or "Values")
    return statement, text[statement.data_start :] if statement.data_start is not None else b""


def _spec(request: QueryRequest, user: User, method: str) -> SessionSpec:
    # As in ClickHouse, GET must not change anything, whoever asks.
    readonly = ReadOnly.WITH_SETTINGS if method != "POST" and user.readonly is ReadOnly.NO else user.readonly
    return SessionSpec(
        query_id=request.query_id,
        database=request.database,
        readonly=readonly,
        settings=SERVER_SETTINGS | dict(user.settings),
        request_settings=request.settings,
        parameters=request.parameters,
    )


def _summary(outcome: Outcome, elapsed_ns: int) -> str:
    return json.dumps(
        {
            "read_rows": str(outcome.read_rows),
            "read_bytes": str(outcome.read_bytes),
            "written_rows": str(outcome.written_rows),
            "written_bytes": str(outcome.written_bytes),
            "total_rows_to_read": "0",
            "result_rows": str(outcome.result_rows),
            "result_bytes": str(len(outcome.body)),
            "elapsed_ns": str(elapsed_ns),
        },
        separators=(",", ":"),
    )


def _content_type(answer_format: str) -> str:
    lowered = answer_format.lower()
    return _CONTENT_TYPES.get(lowered, "application/json; charset=UTF-8" if lowered.startswith("json") else "text/plain; charset=UTF-8")
