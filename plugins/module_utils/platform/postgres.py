# SPDX-License-Identifier: Apache-2.0
"""A small read-only Postgres client over whichever driver the target has, psycopg or psycopg2.

The driver is looked for when it is needed, so that a platform without Postgres needs none.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Union

from ..core.errors import K2Error

# Numbers are read as float, everything else as text: the statements of this tool cast to one of the two.
Value = Union[None, float, str]
Row = tuple[Value, ...]

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 5
# The server ends a statement by itself; this much later the connection is given up, the server itself being stuck.
_GRACE_S = 1.0
_DRIVERS = ("psycopg", "psycopg2")
_ABSENT = {"3D000": "database", "3F000": "schema", "42P01": "table", "42703": "column"}
_LOGIN_STATES = ("28000", "28P01")
# libpq tells why a connection was refused as text only. A server that speaks another language is told apart less well:
# its words are in the error all the same.
_LOGIN_WORDS = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied for database",
    'role "',
)


class PostgresError(K2Error):
    """Base of what can go wrong between this client and a server."""


class DriverMissing(PostgresError):  # noqa: N818 - see core.errors
    """The target's Python has neither psycopg nor psycopg2."""


class PostgresUnreachable(PostgresError):  # noqa: N818 - see core.errors
    """No connection, or no answer in time."""


class LoginRefused(PostgresError):  # noqa: N818 - see core.errors
    """The server answers, but not to this user with this password."""


class NotThere(PostgresError):  # noqa: N818 - see core.errors
    """The server says that a database, table or column does not exist; ``what`` is which of them."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(
            f"Postgres has no such {what}",
            seen=text,
            action=f"create it, or correct the {what} in the profile (names are taken exactly as they are spelt)",
        )
        self.what = what


class ReadRefused(PostgresError):  # noqa: N818 - see core.errors
    """The server refused the statement; ``sqlstate`` is its code."""

    def __init__(self, sqlstate: str, text: str, *, action: str = "") -> None:
        super().__init__(f"Postgres error {sqlstate}", seen=text, action=action)
        self.sqlstate = sqlstate


@dataclass(frozen=True)
class Login:
    """Where a database is and as whom to read it."""

    host: str
    port: int
    database: str
    username: str
    password: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"


def quote_name(name: str) -> str:
    """``name`` as an identifier; dots separate a schema from a table, everything else stands for itself."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


class PostgresClient:
    """Read-only statements against one database. A connection per call, so nothing is held between them."""

    def __init__(self, login: Login) -> None:
        self._login = login

    def read(self, *statements: str) -> tuple[tuple[Row, ...], ...]:
        """The rows of each statement, run one after the other in one transaction whose time zone is UTC.

        :raises PostgresError: one of its kinds, by what went wrong.
        """
        driver = _driver()
        connection = _connect(driver, self._login)
        with contextlib.closing(connection), _hung_up(connection, STATEMENT_TIMEOUT_S + _GRACE_S) as late:
            try:
                cursor = connection.cursor()
                # Settings of the transaction, not options of the connection, which a pooler in between may refuse.
                cursor.execute(
                    "SET TRANSACTION READ ONLY; SET LOCAL TIME ZONE 'UTC'; "
                    f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_S * 1000}"
                )
                results = []
                for statement in statements:
                    cursor.execute(statement)
                    results.append(tuple(tuple(_value(each) for each in row) for row in cursor.fetchall()))
                return tuple(results)
            except driver.Error as error:
                raise _explain(error, self._login, late.is_set()) from error


def _value(value: object) -> Value:
    if isinstance(value, bytes):
        # psycopg's text of a database whose encoding is SQL_ASCII, that is unknown.
        return value.decode("utf-8", "replace")
    return value if value is None or isinstance(value, (float, str)) else str(value)


def _driver() -> Any:
    problems = []
    for name in _DRIVERS:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            problems.append(f"{name}: {error}")
    raise DriverMissing(
        "no Postgres driver on the target",
        expected=f"psycopg or psycopg2 for {sys.executable}",
        seen="; ".join(problems),
        action="pip install 'psycopg[binary]' for that Python, or Debian's python3-psycopg2 where it is the system's",
    )


def _connect(driver: Any, login: Login) -> Any:
    try:
        return driver.connect(
            host=login.host,
            port=login.port,
            dbname=login.database,
            user=login.username,
            password=login.password,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="k2.hardening",
        )
    except driver.Error as error:
        raise _explain(error, login, late=False) from error


@contextlib.contextmanager
def _hung_up(connection: Any, seconds: float) -> Iterator[threading.Event]:
    """Shut the connection down after ``seconds``: a limit of the server's own is of no use when the server is stuck.

    The event is set when that has happened.
    """
    late = threading.Event()
    line = socket.socket(fileno=os.dup(connection.fileno()))

    def hang_up() -> None:
        late.set()
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        line.close()


def _explain(error: Exception, login: Login, late: bool) -> PostgresError:
    """The error of this client for one of the driver's; what the two drivers call the code differs."""
    state = str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")
    text = " ".join(str(error).split("\nLINE ", maxsplit=1)[0].split())
    if state in _ABSENT:
        return NotThere(_ABSENT[state], text)
    if not state and f'database "{login.database}" does not exist' in text:
        return NotThere("database", text)
    if state in _LOGIN_STATES or (not state and any(words in text for words in _LOGIN_WORDS)):
        return LoginRefused(
            f"Postgres refused the login of {login.username}",
            seen=text,
            action="check username and password in the profile, and the server's pg_hba.conf",
        )
    if state == "42501":
        return ReadRefused(state, text, action=f"grant {login.username} SELECT on it (and USAGE on its schema)")
    if state == "57014":
        return ReadRefused(state, text, action=f"find out why it takes more than {STATEMENT_TIMEOUT_S} s to read")
    # Class 08: connection; 53: resources, such as too many clients; 57P: shutting down or starting.
    if late or not state or state.startswith(("08", "53", "57P")):
        return PostgresUnreachable(
            "Postgres did not answer",
            expected=f"an answer from {login}",
            seen=f"nothing within {STATEMENT_TIMEOUT_S + _GRACE_S:g} s" if late else text,
            action="check that it runs and that the profile names its host and port",
        )
    return ReadRefused(state, text)
