# SPDX-License-Identifier: Apache-2.0
"""A small ClickHouse client over HTTP: queries with parameters, exact numbers, typed errors. Standard library only."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Optional, Union
from urllib.parse import urlencode

from ..core.clock import Deadline
from ..core.errors import K2Error
from ..profile.model import ClickHouse
from .http_api import BodyTooLarge, read_body

# None stands for NULL. DateTime, UUID, Enum and text arrive as str; floats as Decimal, so that none is rounded twice.
Value = Union[None, bool, int, str, Decimal, tuple[Any, ...]]
Setting = Union[str, int]

_BODY_LIMIT = 64 * 1024 * 1024
_WRAPPERS = ("Nullable", "LowCardinality")
_AUTHENTICATION = (193, 194, 516)


class ClickHouseUnreachable(K2Error):  # noqa: N818 - see core.errors
    """No answer, or none in time."""


class QueryError(K2Error):
    """ClickHouse refused the query; ``code`` is its own error code (0 if it gave none)."""

    def __init__(self, code: int, text: str, *, action: str = "") -> None:
        super().__init__(f"ClickHouse error {code}", seen=text, action=action)
        self.code = code


@dataclass(frozen=True)
class Column:
    """A column of a result and its ClickHouse type."""

    name: str
    type: str


@dataclass(frozen=True)
class QueryResult:
    """Rows in the order of ``columns``; time spent, rows and bytes read are the server's own count."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    elapsed_s: Decimal
    rows_read: int = 0
    bytes_read: int = 0

    def scalar(self) -> Value:
        """The single value of a one-row, one-column result.

        :raises QueryError: the result has another shape.
        """
        if len(self.rows) != 1 or len(self.rows[0]) != 1:
            shape = f"{len(self.rows)} rows of {len(self.columns)} columns"
            raise QueryError(0, shape, action="ask for exactly one value")
        return self.rows[0][0]

    def dicts(self) -> list[dict[str, Value]]:
        """Each row by column name."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row)) for row in self.rows]


class ClickHouseClient:
    """Queries to one server, read-only save ``execute``. Stateless: a connection each, so threads may share it."""

    def __init__(self, target: ClickHouse) -> None:
        self._target = target

    def query(
        self,
        sql: str,
        params: Optional[Mapping[str, Union[str, int, Decimal]]] = None,
        settings: Optional[Mapping[str, Setting]] = None,
        timeout_s: Optional[float] = None,
        bare: bool = False,
    ) -> QueryResult:
        """Run one SELECT.

        :arg params: values of ``{name:Type}`` placeholders; never paste values into ``sql``.
        :arg settings: beside ``readonly=2`` and ``max_execution_time``, which are always sent.
        :arg bare: send no setting at all; a user under ``readonly=1`` may not set any (error 164).
        :raises ClickHouseUnreachable: no answer in time. :raises QueryError: refused.
        """
        limit_s = self._target.timeout_s if timeout_s is None else timeout_s
        limits = {} if bare else {**_limits(limit_s), **(settings or {})}
        body = self._post(_url(self._target, params or {}, limits), sql, limit_s)
        return _decode(body)

    def execute(
        self,
        statement: str,
        params: Optional[Mapping[str, Union[str, int, Decimal]]] = None,
        settings: Optional[Mapping[str, Setting]] = None,
        timeout_s: Optional[float] = None,
    ) -> None:
        """Run one statement that changes something; the user this client was made with has to be one who may.

        :raises ClickHouseUnreachable: no answer in time; the statement may still be carried out.
        :raises QueryError: refused.
        """
        limit_s = self._target.timeout_s if timeout_s is None else timeout_s
        self._post(_url(self._target, params or {}, settings or {}), statement, limit_s)

    def _post(self, url: str, sql: str, limit_s: float) -> bytes:
        make = http.client.HTTPSConnection if self._target.secure else http.client.HTTPConnection
        connection = make(self._target.host, self._target.port, timeout=limit_s)
        deadline = Deadline.after(limit_s)
        headers = {"X-ClickHouse-User": self._target.username, "Content-Type": "text/plain; charset=utf-8"}
        if self._target.password:
            headers["X-ClickHouse-Key"] = self._target.password
        try:
            connection.request("POST", url, body=sql.encode(), headers=headers)
            response = connection.getresponse()
            body = read_body(response, deadline, _BODY_LIMIT)
        except BodyTooLarge as error:
            raise QueryError(0, str(error), action="aggregate in the query, or add a LIMIT") from error
        except (OSError, http.client.HTTPException) as error:
            raise ClickHouseUnreachable(
                "ClickHouse did not answer",
                expected=f"an answer from {self._target.host}:{self._target.port} within {limit_s:g} s",
                seen=f"{type(error).__name__}: {error}",
                action="check that it runs and that k2_clickhouse names its HTTP port",
            ) from error
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            code = int(response.headers.get("X-ClickHouse-Exception-Code", 0))
            raise _refusal(code, body.decode("utf-8", "replace").strip() or f"HTTP {response.status}")
        return body


def _limits(limit_s: float) -> dict[str, Setting]:
    return {
        "readonly": 2,
        # Whole seconds: versions before 25 refuse a fraction. The server stops before this side gives up waiting.
        "max_execution_time": max(1, int(limit_s)),
        "output_format_json_quote_64bit_integers": 1,
        "output_format_json_quote_decimals": 1,
        "output_format_json_quote_denormals": 1,
    }


def _url(target: ClickHouse, params: Mapping[str, Any], settings: Mapping[str, Setting]) -> str:
    query: dict[str, Setting] = {
        "database": target.database,
        "default_format": "JSONCompact",
        **settings,
        **{f"param_{name}": str(value) for name, value in params.items()},
    }
    return "/?" + urlencode(query)


def _refusal(code: int, text: str) -> QueryError:
    action = ""
    if code in _AUTHENTICATION:
        action = "check username and password under k2_clickhouse"
    return QueryError(code, text[:500], action=action)


def _decode(body: bytes) -> QueryResult:
    try:
        data = json.loads(body, parse_float=Decimal)
    except ValueError as error:
        # An error in the middle of a result follows the rows already sent.
        raise QueryError(0, body[-500:].decode("utf-8", "replace"), action="the result broke off: repeat") from error
    if not isinstance(data, dict) or "meta" not in data:
        raise QueryError(0, "an answer without columns", action="leave FORMAT out of the query")
    if "exception" in data:
        raise QueryError(0, str(data["exception"])[:500])
    columns = tuple(Column(entry["name"], entry["type"]) for entry in data["meta"])
    rows = tuple(tuple(convert(column.type, value) for column, value in zip(columns, row)) for row in data["data"])
    cost = data.get("statistics", {})
    return QueryResult(
        columns,
        rows,
        Decimal(str(cost.get("elapsed", 0))),
        int(cost.get("rows_read", 0)),
        int(cost.get("bytes_read", 0)),
    )


def convert(kind: str, value: Any) -> Value:
    """A JSON value of ClickHouse type ``kind`` as int, Decimal, text, bool or a tuple of such."""
    if value is None:
        return None
    for wrapper in _WRAPPERS:
        if kind.startswith(wrapper + "("):
            return convert(kind[len(wrapper) + 1 : -1], value)
    if kind.startswith("Array("):
        return tuple(convert(kind[6:-1], item) for item in value)
    if kind.startswith(("Int", "UInt")) and not kind.startswith("Interval"):
        return int(value)
    if kind.startswith(("Decimal", "Float", "BFloat")):
        return Decimal(str(value))
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=str)
    return value if isinstance(value, (bool, int, Decimal)) else str(value)
