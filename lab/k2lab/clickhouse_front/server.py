# SPDX-License-Identifier: Apache-2.0
"""The HTTP side: from a request to the engine and back."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web

from . import blocks, frames, metrics, statements
from .config import SERVER_SETTINGS
from .engine import Outcome, SessionSpec
from .errors import ACCESS_DENIED, QUERY_IS_TOO_LARGE, UNKNOWN_EXCEPTION, ClickHouseError
from .queries import Queries
from .request import QueryRequest
from .sessions import Sessions
from .users import Credentials, ReadOnly, User, Users

log = logging.getLogger(__name__)

_HOST_NAME: Final = socket.gethostname()
_LONG_BODY_BYTES: Final = 256 << 10
_TEXT: Final = "text/plain; charset=UTF-8"
_JSON: Final = "application/json; charset=UTF-8"
_CONTENT_TYPES: Final[dict[str, str]] = {
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "tsv": "text/tab-separated-values; charset=UTF-8",
    "tabseparatedwithnames": "text/tab-separated-values; charset=UTF-8",
    "tabseparatedwithnamesandtypes": "text/tab-separated-values; charset=UTF-8",
    "native": "application/octet-stream",
    "rowbinary": "application/octet-stream",
    "rowbinarywithnamesandtypes": "application/octet-stream",
    "parquet": "application/octet-stream",
    "prometheus": "text/plain; version=0.0.4; charset=UTF-8",
    "xml": "application/xml; charset=UTF-8",
}


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How much one request may bring along, in bytes, packed and unpacked alike."""

    max_bytes: int


class Front:
    """Answers ClickHouse's HTTP protocol from running queries."""

    def __init__(self, queries: Queries, users: Users, limits: BodyLimits) -> None:
        self._queries = queries
        self._users = users
        self._limits = limits
        self._sessions = Sessions()

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=self._limits.max_bytes)
        app.router.add_get("/ping", _ok)
        app.router.add_get("/replicas_status", _ok)  # there are no replicas, so none of them lags
        app.router.add_get("/metrics", self._metrics)
        for method in ("GET", "HEAD", "POST"):
            app.router.add_route(method, "/", self._query)
        return app

    async def _metrics(self, _: web.Request) -> web.Response:
        spec = SessionSpec(query_id="metrics", settings=metrics.EXPORT_SETTINGS)
        try:
            outcome = await self._queries.control(spec, metrics.export_query(), "Prometheus")
        except ClickHouseError as error:
            log.error("metrics: %s", error)  # noqa: TRY400  # the engine's message tells all, the traceback nothing
            return _error(error, {})
        return web.Response(body=outcome.body, headers={"Content-Type": _CONTENT_TYPES["prometheus"]})

    async def _query(self, http: web.Request) -> web.Response:
        headers = {"X-ClickHouse-Server-Display-Name": _HOST_NAME, "X-ClickHouse-Timezone": "UTC"}
        try:
            user = self._users.authenticate(Credentials.from_request(http.headers, http.query))
            if http.method != "POST" and not http.query_string:
                return await _ok(http)
            request = QueryRequest.parse(http.headers, http.query)
            headers["X-ClickHouse-Query-Id"] = request.query_id
            return await self._answer(http, user, request, headers)
        except ClickHouseError as error:
            return _error(error, headers)
        except Exception as error:
            log.exception("a request failed in the front itself")
            message = f"The server failed on this request: {error!r}; its log has the traceback"
            return _error(ClickHouseError.of(UNKNOWN_EXCEPTION, message), headers)

    async def _answer(
        self, http: web.Request, user: User, request: QueryRequest, headers: dict[str, str]
    ) -> web.Response:
        started_ns = time.perf_counter_ns()
        statement, data = _statement(request, await self._body(http, request))
        if statement.kind == "KILL" and user.readonly:
            raise ClickHouseError.of(
                ACCESS_DENIED, f"{user.name}: Not enough privileges: a read-only user kills no queries"
            )
        with self._sessions.enter(user.name, request.session) as history:
            spec = _spec(request, user, http.method, tuple(history))
            outcome = await self._queries.run(spec, statement, data, request.output_format)
            if request.session is not None and statement.kind in ("SET", "USE"):
                history.append(statement.sql)
        headers["X-ClickHouse-Summary"] = _summary(outcome, time.perf_counter_ns() - started_ns)
        headers["X-ClickHouse-Format"] = statement.output_format or request.output_format
        headers["Content-Type"] = _content_type(headers["X-ClickHouse-Format"])
        return await _packed(outcome.body, request, headers)

    async def _body(self, http: web.Request, request: QueryRequest) -> bytes:
        limit = self._limits.max_bytes
        try:
            body = await http.read()
        except web.HTTPRequestEntityTooLarge as error:
            message = f"The body is larger than {limit} bytes; send it in smaller inserts"
            raise ClickHouseError.of(QUERY_IS_TOO_LARGE, message) from error
        if request.content_encoding is not None and body:
            body = await _aside(body, partial(frames.decompress, encoding=request.content_encoding, limit=limit))
        if request.decompress_body and body:
            body = await _aside(body, partial(blocks.unpack, limit=limit))
        return body


async def _ok(_: web.Request) -> web.Response:
    return web.Response(body=b"Ok.\n", headers={"Content-Type": "text/html; charset=UTF-8"})


def _error(error: ClickHouseError, headers: dict[str, str]) -> web.Response:
    headers |= {"X-ClickHouse-Exception-Code": str(error.code), "Content-Type": _TEXT}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
    return web.Response(status=error.status, body=error.text.encode() + b"\n", headers=headers)


def _statement(request: QueryRequest, body: bytes) -> tuple[statements.Statement, bytes]:
    """The request's statement and the data behind it: the URL's `query` comes first, the body continues it."""
    text = request.query + b"\n" + body if request.query and body else request.query or body
    statement = statements.parse(text, request.default_format or "Values")
    return statement, text[statement.data_start :] if statement.data_start is not None else b""


def _spec(request: QueryRequest, user: User, method: str, history: tuple[str, ...]) -> SessionSpec:
    # As in ClickHouse, GET must not change anything, whoever asks.
    readonly = ReadOnly.WITH_SETTINGS if method != "POST" and user.readonly is ReadOnly.NO else user.readonly
    return SessionSpec(
        query_id=request.query_id,
        database=request.database,
        readonly=readonly,
        settings=SERVER_SETTINGS | dict(user.settings),
        request_settings=request.settings,
        parameters=request.parameters,
        history=history,
    )


async def _packed(body: bytes, request: QueryRequest, headers: dict[str, str]) -> web.Response:
    if request.compress_answer:
        return web.Response(body=await _aside(body, blocks.pack), headers=headers)
    encoding = frames.choose_encoding(request.accept_encoding) if request.accept_encoding and body else None
    if encoding is not None:
        body = await _aside(body, partial(frames.compress, encoding=encoding))
        headers["Content-Encoding"] = encoding
    return web.Response(body=body, headers=headers)


async def _aside(data: bytes, work: Callable[[bytes], bytes]) -> bytes:
    """Do what takes long for a long body on a thread, so that other requests go on meanwhile."""
    return work(data) if len(data) < _LONG_BODY_BYTES else await asyncio.to_thread(work, data)


def _summary(outcome: Outcome, elapsed_ns: int) -> str:
    figures = {
        "read_rows": outcome.read_rows,
        "read_bytes": outcome.read_bytes,
        "written_rows": outcome.written_rows,
        "written_bytes": outcome.written_bytes,
        "total_rows_to_read": 0,
        "result_rows": outcome.result_rows,
        "result_bytes": len(outcome.body),
        "elapsed_ns": elapsed_ns,
    }
    return json.dumps({name: str(value) for name, value in figures.items()}, separators=(",", ":"))


def _content_type(answer_format: str) -> str:
    lowered = answer_format.lower()
    return _CONTENT_TYPES.get(lowered, _JSON if lowered.startswith("json") else _TEXT)
