# SPDX-License-Identifier: Apache-2.0
"""Databases of the lab, and the role that may only read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from k2lab.common.errors import LabError
from k2lab.common.options import LOOPBACK
from k2lab.postgres.cluster import SUPERUSER, VERSION_MINIMUM

READER = "readonly"
_CONNECT_TIMEOUT_S = 5
_POLL_S = 0.05


@dataclass(frozen=True)
class Access:
    """Where the server listens, and its superuser's password."""

    port: int
    password: str = field(repr=False)
    host: str = LOOPBACK


def ensure_databases(access: Access, names: Sequence[str], reader_password: str, timeout_s: float) -> list[str]:
    """Make the databases and the read-only role that are missing; returns what was made. Waits for the server.

    Raises LabError when the server does not take connections within timeout_s, or is too old.
    """
    with _connect(access, timeout_s) as connection:
        if connection.info.server_version < VERSION_MINIMUM * 10_000:
            raise LabError(
                f"PostgreSQL {VERSION_MINIMUM} or newer on port {access.port}",
                str(connection.info.server_version),
                "end what listens there, or set k2_lab_base_port",
            )
        made = [f"database {name}" for name in names if _make_database(connection, name)]
        if _make_reader(connection, reader_password):
            made.append(f"role {READER}")
    return made


def check_ready(host: str, port: int, reader_password: str, database: str) -> None:
    """Have the server answer a query of the read-only role. Raises LabError when it does not, within 5 s."""
    try:
        with psycopg.connect(
            host=host,
            port=port,
            dbname=database,
            user=READER,
            password=reader_password,
            connect_timeout=_CONNECT_TIMEOUT_S,
        ) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        raise LabError(
            f"PostgreSQL on port {port} to answer {READER} in database {database}",
            str(error).strip(),
            "see the log of postgres",
        ) from error


def _connect(access: Access, timeout_s: float) -> psycopg.Connection[tuple[object, ...]]:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return psycopg.connect(
                host=access.host,
                port=access.port,
                dbname="postgres",
                user=SUPERUSER,
                password=access.password,
                connect_timeout=_CONNECT_TIMEOUT_S,
                autocommit=True,  # CREATE DATABASE refuses to run in a transaction
            )
        except psycopg.OperationalError as error:
            # Not there yet, or still in recovery; a wrong password does not become right by waiting.
            if time.monotonic() > deadline or "authentication failed" in str(error):
                raise LabError(
                    f"PostgreSQL on port {access.port} to take connections within {timeout_s:.0f} s",
                    str(error).strip(),
                    "see the log of postgres",
                ) from error
        time.sleep(_POLL_S)


def _make_database(connection: psycopg.Connection[tuple[object, ...]], name: str) -> bool:
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
        return False
    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return True


def _make_reader(connection: psycopg.Connection[tuple[object, ...]], password: str) -> bool:
    """A role whose sessions cannot write, and that may read every table of every database, those to come included."""
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (READER,)).fetchone():
        return False
    # Sent as its verifier, so that the password itself can never stand in the server's log.
    verifier = connection.pgconn.encrypt_password(password.encode(), READER.encode(), b"scram-sha-256").decode()
    role = sql.Identifier(READER)
    with connection.transaction():
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE pg_read_all_data").format(role, sql.Literal(verifier))
        )
        connection.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(role))
    return True
