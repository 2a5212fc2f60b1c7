# SPDX-License-Identifier: Apache-2.0
"""The Postgres client with a driver that is scripted; a real server is in tests/integration/test_watermarks.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform import postgres
from ansible_collections.k2.hardening.plugins.module_utils.platform.postgres import (
    DriverMissing,
    Login,
    LoginRefused,
    NotThere,
    PostgresClient,
    PostgresError,
    PostgresUnreachable,
    ReadRefused,
    quote_name,
)

LOGIN = Login("db", 5432, "flows", "auditor", "correct-horse")


class Error(Exception):
    def __init__(self, text: str, **code: str) -> None:
        super().__init__(text)
        for name, value in code.items():
            setattr(self, name, value)


class Driver:
    """Stands in for psycopg or psycopg2: refuses the connection or a statement, or hangs until it is hung up on."""

    Error = Error

    def __init__(self, refuse_connection: Exception | None = None, refuse: Exception | None = None) -> None:
        self.refuse_connection, self.refuse = refuse_connection, refuse
        self.hangs = False
        self.closed = False
        self.executed: list[str] = []
        self.ours, self.theirs = socket.socketpair()

    def connect(self, **arguments: Any) -> Driver:
        self.arguments = arguments
        if self.refuse_connection is not None:
            raise self.refuse_connection
        return self

    def cursor(self) -> Driver:
        return self

    def fileno(self) -> int:
        return self.ours.fileno()

    def execute(self, statement: str) -> None:
        self.executed.append(statement)
        if self.hangs and not self.ours.recv(1):
            raise Error("server closed the connection unexpectedly")
        if self.refuse is not None:
            raise self.refuse

    def fetchall(self) -> list[tuple[object, ...]]:
        return [("a", 1.5)]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    scripted = Driver()
    monkeypatch.setattr(postgres, "_driver", lambda: scripted)
    yield scripted
    scripted.ours.close()
    scripted.theirs.close()


def test_reading_is_read_only_bounded_and_in_utc(driver: Driver) -> None:
    assert PostgresClient(LOGIN).read("SELECT 1", "SELECT 2") == ((("a", 1.5),), (("a", 1.5),))
    settings, *asked = driver.executed
    assert "READ ONLY" in settings
    assert "TIME ZONE 'UTC'" in settings
    assert "statement_timeout = 5000" in settings
    assert asked == ["SELECT 1", "SELECT 2"]
    assert driver.arguments["connect_timeout"] == 5
    assert driver.closed


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ('FATAL:  password authentication failed for user "auditor"', LoginRefused, "username and password"),
        ("fe_sendauth: no password supplied", LoginRefused, "username and password"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', LoginRefused, "pg_hba"),
        ('FATAL:  role "auditor" does not exist', LoginRefused, "auditor"),
        ('FATAL:  database "flows" does not exist', NotThere, "correct the database"),
        ("Connection refused\n\tIs the server running on that host?", PostgresUnreachable, "db:5432/flows"),
        ("FATAL:  the database system is starting up", PostgresUnreachable, "starting up"),
        ("FATAL:  Passwort-Authentifizierung fehlgeschlagen", PostgresUnreachable, "fehlgeschlagen"),
    ],
)
def test_a_refused_connection_says_why(driver: Driver, text: str, kind: type[PostgresError], says: str) -> None:
    driver.refuse_connection = Error(f'connection to server at "db", port 5432 failed: {text}')
    with pytest.raises(kind, match=says) as caught:
        PostgresClient(LOGIN).read("SELECT 1")
    assert type(caught.value) is kind
    assert "correct-horse" not in str(caught.value)


@pytest.mark.parametrize("code", ["sqlstate", "pgcode"])
@pytest.mark.parametrize(
    ("state", "kind", "says"),
    [
        ("42P01", NotThere, "no such table"),
        ("3F000", NotThere, "no such schema"),
        ("42703", NotThere, "no such column"),
        ("3D000", NotThere, "no such database"),
        ("28P01", LoginRefused, "refused the login of auditor"),
        ("42501", ReadRefused, "grant auditor SELECT"),
        ("57014", ReadRefused, "more than 5 s"),
        ("42883", ReadRefused, "42883"),
        ("57P01", PostgresUnreachable, "did not answer"),
        ("53300", PostgresUnreachable, "did not answer"),
        ("08006", PostgresUnreachable, "did not answer"),
    ],
)
def test_errors_are_told_apart_by_code_whichever_the_driver(
    driver: Driver, code: str, state: str, kind: type[PostgresError], says: str
) -> None:
    driver.refuse = Error("what Postgres said\nLINE 1: SELECT", **{code: state})
    with pytest.raises(kind, match=says) as caught:
        PostgresClient(LOGIN).read("SELECT 1")
    assert type(caught.value) is kind
    assert caught.value.seen == "what Postgres said"
    assert driver.closed


def test_a_server_that_stands_still_is_given_up(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT_S", 0)
    monkeypatch.setattr(postgres, "_GRACE_S", 0.05)
    driver.hangs = True
    with pytest.raises(PostgresUnreachable, match=r"nothing within 0\.05 s"):
        PostgresClient(LOGIN).read("SELECT 1")


def test_without_a_driver_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(postgres.importlib, "import_module", refuse)
    with pytest.raises(DriverMissing) as caught:
        PostgresClient(LOGIN).read("SELECT 1")
    text = str(caught.value)
    assert "No module named 'psycopg'" in text
    assert "No module named 'psycopg2'" in text
    assert "pip install 'psycopg[binary]'" in text
    assert "python3-psycopg2" in text


def test_the_older_driver_serves_where_the_newer_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    older = Driver()

    def only_older(name: str) -> Driver:
        if name != "psycopg2":
            raise ImportError(name)
        return older

    monkeypatch.setattr(postgres.importlib, "import_module", only_older)
    assert PostgresClient(LOGIN).read("SELECT 1") == ((("a", 1.5),),)
    older.ours.close()
    older.theirs.close()


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("offloads", '"offloads"'),
        ("archive.offloads", '"archive"."offloads"'),
        ('x"; DROP TABLE y; --', '"x""; DROP TABLE y; --"'),
        ("Mixed Case", '"Mixed Case"'),
    ],
)
def test_identifiers_are_quoted(name: str, quoted: str) -> None:
    assert quote_name(name) == quoted


@pytest.mark.parametrize(
    ("given", "value"), [(b"\xc3\xa9\xff", "é\ufffd"), ("é", "é"), (1.5, 1.5), (None, None), (7, "7")]
)
def test_values_are_text_or_float_whatever_the_driver_gives(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, given: object, value: object
) -> None:
    monkeypatch.setattr(driver, "fetchall", lambda: [(given,)])
    assert PostgresClient(LOGIN).read("SELECT x") == (((value,),),)


def test_a_login_shows_no_password() -> None:
    assert "correct-horse" not in repr(LOGIN) + str(LOGIN)
