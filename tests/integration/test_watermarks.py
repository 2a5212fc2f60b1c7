# SPDX-License-Identifier: Apache-2.0
"""Gate S0.watermarks against a real Postgres: what passes, what fails, and that the reader can do nothing but read."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from ansible_collections.k2.hardening.plugins.module_utils.cli.inventory import load_profile
from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.measure.watermarks import (
    Reading,
    WatermarkWatch,
    login,
    read_watermarks,
    watch_watermarks,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform import postgres
from ansible_collections.k2.hardening.plugins.module_utils.platform.postgres import (
    LoginRefused,
    NotThere,
    PostgresClient,
    PostgresUnreachable,
    ReadRefused,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile, Watermarks
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.preflight import decide_watermarks

from .lab import ROOT

DEADLINE_S = 30.0
SET_TIME = "UPDATE offload_watermarks SET last_offload_timestamp = {} WHERE table_name = '{}'"
SOURCES = [
    *(f"bronze_trades_{exchange}" for exchange in ("binance", "kraken", "coinbase")),
    "silver_trades",
    *(f"ohlcv_{timeframe}" for timeframe in ("1m", "5m", "15m", "30m", "1h", "1d")),
]
READER_PASSWORD = "from the environment"
# Postgres refuses to run as root. This user may read whatever the tests' directories hold, and write its own.
AS_POSTGRES = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
AS_POSTGRES += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]


@dataclass
class Server:
    """A Postgres of the test's own."""

    port: int
    process: subprocess.Popen[bytes]

    def run(self, *statements: str) -> None:
        """Execute as its superuser."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} dbname=prefect user=owner password=owner"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")) or [Path(shutil.which("postgres") or "")]
    if not found[-1].is_file():
        pytest.skip("no Postgres server program: install Debian's postgresql")
    directory = tmp_path_factory.mktemp("postgres")
    data, password_file = directory / "data", directory / "password"
    password_file.write_text("owner")
    data.mkdir()
    prefix = []
    if os.geteuid() == 0:
        prefix = AS_POSTGRES
        shutil.chown(data, "postgres", "postgres")
    # Without a locale its databases are of encoding SQL_ASCII, the one that drivers treat differently.
    login_options = ["--username", "owner", "--pwfile", str(password_file), "--auth", "scram-sha-256"]
    subprocess.run(
        [*prefix, str(found[-1].with_name("initdb")), "-D", str(data), *login_options, "--no-sync", "--no-locale"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    # Far from UTC and from the zone of whoever runs the tests: a time without a zone must not depend on it.
    settings |= {"timezone": "Asia/Kathmandu", "shared_buffers": "16MB"}
    command = [*prefix, str(found[-1]), "-D", str(data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        started = Server(port, process)
        deadline = time.monotonic() + DEADLINE_S
        connect = f"host=127.0.0.1 port={port} dbname=postgres user=owner password=owner"
        while True:
            try:
                with psycopg.connect(connect, autocommit=True) as connection:
                    connection.execute("CREATE DATABASE prefect")
                break
            except psycopg.OperationalError:
                assert process.poll() is None, (directory / "log").read_text()
                assert time.monotonic() < deadline, (directory / "log").read_text()
                time.sleep(0.05)
        started.run(
            f"CREATE ROLE prefect LOGIN PASSWORD '{READER_PASSWORD}'",
            "CREATE ROLE stranger LOGIN PASSWORD 'stranger'",
        )
        yield started
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE_S)


@pytest.fixture
def table(server: Server) -> Server:
    """K2's table, all its sources moved a minute ago."""
    server.run(
        "DROP TABLE IF EXISTS offload_watermarks CASCADE",
        "CREATE TABLE offload_watermarks (table_name text PRIMARY KEY, last_offload_timestamp timestamptz)",
        "GRANT SELECT ON offload_watermarks TO prefect",
    )
    for source in SOURCES:
        server.run(f"INSERT INTO offload_watermarks VALUES ('{source}', now() - interval '1 minute')")
    return server


@pytest.fixture
def k2(server: Server, k2_secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Profile:
    """The profile of inventory/k2_compose, its password from the environment, the port that of the test's server."""
    monkeypatch.setenv("PREFECT_DB_PASSWORD", READER_PASSWORD)
    profile = load_profile(str(ROOT / "inventory" / "k2_compose"), "localhost")
    assert profile.watermarks is not None
    return replace(profile, watermarks=replace(profile.watermarks, port=server.port))


def section(profile: Profile) -> Watermarks:
    assert profile.watermarks is not None
    return profile.watermarks


def decide(profile: Profile, seconds: float = 0.0) -> GateResult:
    described = section(profile)
    watch = watch_watermarks(described, 0.005, lambda: read_watermarks(described), Deadline.after(seconds))
    return decide_watermarks(profile, watch).result


def test_k2s_own_profile_passes_with_the_password_from_the_environment(table: Server, k2: Profile) -> None:
    result = decide(k2)
    assert (result.verdict, result.measured, result.spec.target) == (Verdict.PASS, 10, 10), result.reason


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            SET_TIME.format("now() - interval '31 minutes'", "silver_trades"),
            "s old, at most 1800 s expected",
        ),
        ("DELETE FROM offload_watermarks WHERE table_name = 'ohlcv_1m'", "ohlcv_1m: no row in offload_watermarks"),
        ("TRUNCATE offload_watermarks", "no row in offload_watermarks"),
        (
            SET_TIME.format("NULL", "ohlcv_1m"),
            "ohlcv_1m: its row holds no time",
        ),
        (
            SET_TIME.format("now() + interval '1 hour'", "ohlcv_1m"),
            "in the future",
        ),
        (
            SET_TIME.format("'-infinity'", "ohlcv_1m"),
            "its time is -infinity",
        ),
        (
            SET_TIME.format("'4000-01-01 BC'", "ohlcv_1m"),
            "ohlcv_1m: ",
        ),
        ("DROP TABLE offload_watermarks", "no such table"),
        ("ALTER TABLE offload_watermarks RENAME last_offload_timestamp TO moved", "no such column"),
    ],
)
def test_what_is_wrong_fails(table: Server, k2: Profile, change: str, says: str) -> None:
    table.run(change)
    result = decide(k2)
    assert result.verdict is Verdict.FAIL
    assert says in result.reason


def test_a_watermark_that_moves_back_fails_though_it_stays_fresh(table: Server, k2: Profile) -> None:
    """Between two readings one goes back by 30 s, and what kept the watch from ending becomes fresh."""
    late, back = "silver_trades", "ohlcv_1m"
    table.run(SET_TIME.format("to_timestamp(0)", late))
    readings: list[Reading] = []

    def read() -> Reading:
        readings.append(read_watermarks(section(k2)))
        if len(readings) == 1:
            earlier = "last_offload_timestamp - interval '30 seconds'"
            table.run(SET_TIME.format(earlier, back), SET_TIME.format("now()", late))
        return readings[-1]

    watch = watch_watermarks(section(k2), 0.005, read, Deadline.after(DEADLINE_S))
    result = decide_watermarks(k2, watch).result
    assert len(readings) == 2
    assert (result.verdict, result.reason) == (
        Verdict.FAIL,
        "ohlcv_1m: moved back by 30.000 s while it was watched",
    )


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
def test_times_of_every_supported_type(server: Server, k2: Profile, kind: str) -> None:
    server.run(
        "DROP TABLE IF EXISTS moves",
        f"CREATE TABLE moves (source_table varchar(30), last_watermark {kind})",
        "INSERT INTO moves VALUES ('x', now() AT TIME ZONE 'UTC')"
        if kind != "timestamptz"
        else "INSERT INTO moves VALUES ('x', now())",
        "GRANT SELECT ON moves TO prefect",
    )
    changed = replace(
        section(k2), table="public.moves", name_column="source_table", time_column="last_watermark", sources=()
    )
    reading = read_watermarks(changed)
    age_s = reading.now_s - (reading.rows["x"] or 0.0)
    assert 0 <= age_s < (86_400 if kind == "date" else DEADLINE_S)


def test_of_several_rows_the_newest_counts_and_names_are_exact(server: Server, k2: Profile) -> None:
    server.run(
        'DROP SCHEMA IF EXISTS "Arch" CASCADE',
        'CREATE SCHEMA "Arch"',
        'CREATE TABLE "Arch"."Off""loads" ("The Name" text, "a%b" timestamptz)',
        """INSERT INTO "Arch"."Off""loads" VALUES ('x', to_timestamp(7)), ('x', to_timestamp(9)), ('y', NULL)""",
        'GRANT USAGE ON SCHEMA "Arch" TO prefect',
        'GRANT SELECT ON "Arch"."Off""loads" TO prefect',
    )
    changed = replace(section(k2), table='Arch.Off"loads', name_column="The Name", time_column="a%b", sources=())
    assert read_watermarks(changed).rows == {"x": 9.0, "y": None}


def test_a_column_that_is_no_time_is_refused(server: Server, k2: Profile) -> None:
    server.run(
        "DROP TABLE IF EXISTS moves",
        "CREATE TABLE moves (n text, t bigint)",
        "GRANT SELECT ON moves TO prefect",
    )
    with pytest.raises(ReadRefused) as caught:
        read_watermarks(replace(section(k2), table="moves", name_column="n", time_column="t"))
    assert caught.value.sqlstate == "42883"


def test_what_keeps_it_from_being_read_is_inconclusive_and_told_apart(table: Server, k2: Profile) -> None:
    described = section(k2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    for wrong, kind in (
        (replace(described, password="guessed"), LoginRefused),
        (replace(described, password=""), LoginRefused),
        (replace(described, username="nobody"), LoginRefused),
        (replace(described, port=closed), PostgresUnreachable),
        (replace(described, username="stranger", password="stranger"), ReadRefused),
    ):
        with pytest.raises(kind) as caught:
            read_watermarks(wrong)
        assert type(caught.value) is kind
        result = decide(replace(k2, watermarks=wrong))
        assert (result.verdict, result.n) == (Verdict.INCONCLUSIVE, 0), result.reason
        assert READER_PASSWORD not in result.reason


def test_a_database_that_does_not_exist_is_not_there(table: Server, k2: Profile) -> None:
    with pytest.raises(NotThere) as caught:
        read_watermarks(replace(section(k2), database="prefekt"))
    assert caught.value.what == "database"


def test_the_reader_cannot_write_whatever_its_user_may(table: Server, k2: Profile) -> None:
    owner = replace(login(section(k2)), username="owner", password="owner")
    with pytest.raises(ReadRefused) as caught:
        PostgresClient(owner).read("DELETE FROM offload_watermarks RETURNING table_name")
    assert caught.value.sqlstate == "25006"


def test_a_statement_and_a_server_that_take_too_long_are_given_up(
    table: Server, k2: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = PostgresClient(login(section(k2)))
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT_S", 1)
    with pytest.raises(ReadRefused) as caught:
        client.read("SELECT pg_sleep(60)::text")
    assert caught.value.sqlstate == "57014"
    monkeypatch.setattr(postgres, "_GRACE_S", -0.8)
    with pytest.raises(PostgresUnreachable, match=r"nothing within 0\.2 s"):
        client.read("SELECT pg_sleep(60)::text")


def test_a_watch_outlives_a_server_that_is_not_there_yet(table: Server, k2: Profile) -> None:
    described = section(k2)
    tried: list[int] = []

    def read() -> Reading:
        tried.append(1)
        return read_watermarks(replace(described, database="not_yet") if len(tried) == 1 else described)

    watch: WatermarkWatch = watch_watermarks(described, 0.005, read, Deadline.after(DEADLINE_S))
    assert decide_watermarks(k2, watch).result.verdict is Verdict.PASS
    assert len(tried) == 2
