# SPDX-License-Identifier: Apache-2.0
"""The embedded engine: one process holds the data path, every request gets a session of its own.

Opening a session costs 0.3 ms, so none is reused: the settings of one request cannot reach the next by construction.
All methods block and release the GIL while the engine works; call them from threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import chdb
from chdb import _chdb

from .config import CONFIG_NAME, engine_config
from .errors import ClickHouseError
from .metrics import CREATE_ASYNCHRONOUS_METRICS
from .users import ReadOnly

VERSION: Final[str] = chdb.engine_version
_APPEND_BYTES: Final = 1 << 20  # a long insert is fed in pieces, so that the engine parses while it is fed
_UNLOGGED: Final[dict[str, str]] = {"log_queries": "0"}  # for the front's own statements
_URL_MEANING: Final = frozenset("?&#%")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a statement gave: its formatted answer and how much work it was."""

    body: bytes = b""
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """The state a statement runs in.

    `settings` are the server's and the user's, in force before `readonly`; `request_settings` come after it, so the
    engine itself refuses what a read-only user may not change. `history` are SET and USE statements of an HTTP session.
    """

    query_id: str
    database: str | None = None
    readonly: ReadOnly = ReadOnly.NO
    settings: Mapping[str, str] = field(default_factory=dict)
    request_settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    history: tuple[str, ...] = ()


class Engine:
    """The engine over one data directory."""

    def __init__(self, data_dir: Path) -> None:
        if unusable := _URL_MEANING & set(str(data_dir)):
            raise ValueError(
                f"the data directory {data_dir} contains {sorted(unusable)}, which chdb takes for an option"
            )
        data_dir.mkdir(parents=True, exist_ok=True)
        config = data_dir / CONFIG_NAME
        config.write_text(engine_config())
        self._path = f"{data_dir / 'engine'}?config-file={config}&log_queries=0"
        self._anchor = _open(self._path)  # the engine shuts down with its last connection
        # The log tables appear with their first flush; the database `system` starts empty each time, see README.md.
        for statement in ("SYSTEM FLUSH LOGS", CREATE_ASYNCHRONOUS_METRICS):
            self.query(SessionSpec(query_id="start", settings=_UNLOGGED), statement, "Null")

    def close(self) -> None:
        """Shut the engine down: parts are complete at every moment, logs are flushed."""
        self._anchor.close()

    def query(self, spec: SessionSpec, sql: str, output_format: str) -> Outcome:
        """Run any statement but an INSERT with data; raises ClickHouseError."""
        with _Session(self._path, spec) as session:
            result = session.run(sql, output_format)
            rows, written = result.rows_read(), result.rows_written()
            return Outcome(
                body=result.bytes() or b"",
                read_rows=result.storage_rows_read(),
                read_bytes=result.storage_bytes_read(),
                written_rows=written,
                written_bytes=result.bytes_written(),
                result_rows=rows,
            )

    def insert(self, spec: SessionSpec, sql: str, input_format: str, data: bytes) -> Outcome:
        """Run an INSERT whose data follows in `input_format`; acknowledged means written; raises ClickHouseError."""
        with _Session(self._path, spec) as session:
            return session.insert(sql, input_format, data)

    def kill(self, query_id: str) -> None:
        """Ask the engine to stop what runs under a client's query id; returns at once, also if nothing does."""
        literal = quote(query_id)
        self.query(
            SessionSpec(query_id=f"kill-{query_id}", settings=_UNLOGGED),
            f"KILL QUERY WHERE Settings['log_comment'] = {literal} OR query_id = {literal} ASYNC",
            "Null",
        )


class _Session:
    """One connection to the engine, prepared by a spec and closed after one statement."""

    def __init__(self, path: str, spec: SessionSpec) -> None:
        self._connection = _open(path)
        try:
            self._prepare(spec)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _prepare(self, spec: SessionSpec) -> None:
        if spec.database is not None:
            self.run(f"USE {quote(spec.database, '`')}")
        base = {"log_comment": spec.query_id, **spec.settings}
        logging = {"log_queries": base.pop("log_queries", "1")}
        changes = {**spec.request_settings, **{f"param_{name}": value for name, value in spec.parameters.items()}}
        # The session was opened with log_queries = 0: only what the client sent belongs into the query log, so logging
        # starts with the last SET that may still change it.
        if spec.readonly is ReadOnly.STRICT:
            base |= {**logging, "readonly": "1"}
        elif spec.readonly or spec.history:
            base["readonly"] = f"{spec.readonly:d}"
            changes = logging | changes
        else:
            base |= logging | changes
            changes = {}
        self.run(_set(base))
        for statement in spec.history:
            self.run(statement)
        if changes:
            self.run(_set(changes))

    def run(self, sql: str, output_format: str = "Null") -> Any:
        try:
            return self._connection.query(sql, output_format)
        except RuntimeError as error:
            raise ClickHouseError.from_engine(str(error)) from error

    def insert(self, sql: str, input_format: str, data: bytes) -> Outcome:
        try:
            stream = self._connection.send_insert(sql, input_format)
            for start in range(0, len(data), _APPEND_BYTES):
                self._connection.insert_append(stream, data[start : start + _APPEND_BYTES])
            result = self._connection.insert_done(stream)
        except RuntimeError as error:
            raise ClickHouseError.from_engine(str(error)) from error
        return Outcome(written_rows=result.rows_written(), written_bytes=result.bytes_written())


def _open(path: str) -> Any:
    # Connection.query of the public API costs a progress display and a copy; its core is what we need.
    return cast(Any, _chdb).connect(path)  # missing from its stub


def quote(text: str, mark: str = "'") -> str:
    """A SQL string literal, or with a backtick a quoted identifier."""
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def _set(settings: Mapping[str, str]) -> str:
    return "SET " + ", ".join(f"{quote(name, '`')} = {quote(value)}" for name, value in settings.items())
