# SPDX-License-Identifier: Apache-2.0
"""The cold tier's comparison on a real ClickHouse, with faults of known size.

Plain tables stand in for the Iceberg ones, with the types that the offload gives those. That ClickHouse reads Iceberg
itself is not what is tried here.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.cold import ColdLedger, ColdResult
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.database import Database
from ansible_collections.k2.hardening.plugins.module_utils.platform.clickhouse import ClickHouseClient
from ansible_collections.k2.hardening.plugins.module_utils.platform.iceberg import Iceberg, IcebergTable
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from .racing import PASSWORD, USER, clickhouse_alone

MARK_S = 1_800_000_000.0  # the watermark of every table
ROWS = 100
OFFSETS = ["src", "part", "pos"]
BAR = {"window": "opened", "high": "high", "trade_count": "bets"}

SCHEMA = """
CREATE TABLE hot (src LowCardinality(String), part UInt32, pos UInt64, runner String, seq Nullable(UInt64),
    odds Nullable(Decimal(38, 8)), at DateTime64(3, 'UTC'), stored DateTime64(6, 'UTC'))
    ENGINE = MergeTree ORDER BY pos;
CREATE TABLE cold (src String, part Int64, pos Int64, runner String, seq Nullable(Decimal(20, 0)),
    odds Nullable(Decimal(38, 8)), at DateTime64(6, 'UTC'), stored DateTime64(6, 'UTC'))
    ENGINE = MergeTree ORDER BY pos;
CREATE TABLE hot_bars (runner String, opened DateTime('UTC'), high SimpleAggregateFunction(max, Decimal(38, 8)),
    bets SimpleAggregateFunction(sum, UInt64), stored SimpleAggregateFunction(max, DateTime64(6, 'UTC')))
    ENGINE = AggregatingMergeTree ORDER BY (runner, opened);
CREATE TABLE cold_bars (runner String, opened DateTime64(6, 'UTC'), high Decimal(38, 8), bets Int64,
    stored DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY opened
"""


class Plain(Iceberg):
    """Tables of ClickHouse in the place of those of an object store."""

    def table(self, name: str) -> IcebergTable:
        return IcebergTable(name, {})


def profile(port: int) -> Profile:
    def tier(name: str, store: str, **more: Any) -> dict[str, Any]:
        return {
            "name": name,
            "store": store,
            "table": name,
            "time_columns": {"committed": {"column": "stored"}, "exchange": {"column": "at"}},
            **more,
        }

    records = {"offset_columns": OFFSETS, "sequence_columns": ["runner", "seq"], "price_column": "odds"}
    bars = {
        "timeframe": "1m",
        "key_columns": ["runner", "opened"],
        "columns": BAR,
        "time_columns": {"committed": {"column": "stored"}},
    }
    return parse_profile(
        {
            "k2_platform": {
                "name": "races",
                "scale": "lab",
                "runtime": "systemd",
                "runtimes": {"systemd": {"socket": "/run/x", "timeout_s": 1}},
                "clock": {"host": "localhost", "max_skew_ms": 5},
            },
            "k2_services": {"store": {"runtime": "systemd", "unit": "s", "kind": "database"}},
            "k2_clickhouse": {
                "host": "127.0.0.1",
                "port": port,
                "username": "auditor",
                "password": PASSWORD,
                "database": "races",
            },
            "k2_object_store": {"url": "http://127.0.0.1:1", "bucket": "b", "access_key": "k", "secret_key": "s"},
            "k2_tiers": [
                tier("hot", "clickhouse", **records),
                tier("hot_bars", "clickhouse", **bars),
                tier("cold", "object_store", source="hot", **records),
                tier("cold_bars", "object_store", source="hot_bars", **bars),
            ],
        }
    )


@pytest.fixture(scope="module", name="port")
def _port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    service, port = clickhouse_alone(tmp_path_factory.mktemp("cold"))
    service.start()
    yield port
    service.end(signal.SIGTERM)


@pytest.fixture(name="run")
def _run(port: int) -> Callable[[str], None]:
    """Statements of a user who may; tables are made anew, the cold ones being exact copies."""
    target = replace(profile(port).clickhouse, username=USER, database="default")  # type: ignore[type-var]
    client = ClickHouseClient(target)  # type: ignore[arg-type]

    def run(statements: str) -> None:
        for statement in statements.split(";"):
            client.execute(statement, settings={"database": "races", "mutations_sync": 2})

    client.execute("DROP DATABASE IF EXISTS races")
    client.execute("CREATE DATABASE races")
    run(SCHEMA)
    stored = f"toDateTime64({MARK_S - 1000:.0f} + number, 6, 'UTC')"
    run(
        f"INSERT INTO hot SELECT 'north', number % 2, intDiv(number, 2), 'r', number, number, {stored}, {stored} "
        f"FROM numbers({ROWS}); INSERT INTO cold SELECT * FROM hot; "
        f"INSERT INTO hot_bars SELECT 'r', toDateTime({MARK_S - 6000:.0f} + number * 60, 'UTC'), number, 1, "
        f"toDateTime64({MARK_S - 5000:.0f}, 6, 'UTC') FROM numbers(10); INSERT INTO cold_bars SELECT * FROM hot_bars"
    )
    return run


def compare(
    port: int, since_s: float | None = None, change: Callable[[Profile], Profile] = lambda p: p
) -> tuple[ColdResult, ColdResult]:
    platform = change(profile(port))
    assert platform.clickhouse is not None
    assert platform.object_store is not None
    database = Database(ClickHouseClient(platform.clickhouse), 30, 1_000_000)
    ledger = ColdLedger(platform, database, Plain(platform.object_store))
    marks = {"cold": MARK_S, "cold_bars": MARK_S}
    records, bars = ledger.compare(marks, None if since_s is None else round(since_s * 1e6))
    return records, bars


def without_offsets(platform: Profile) -> Profile:
    return replace(platform, tiers=tuple(replace(tier, offset_columns=()) for tier in platform.tiers))


def numbers(result: ColdResult) -> tuple[int | None, ...]:
    assert result.basis is not None, result.why
    return result.missing, result.duplicated, result.not_due


@pytest.mark.parametrize("change", [lambda p: p, without_offsets], ids=["offsets", "values"])
@pytest.mark.usefixtures("run")
def test_a_whole_copy_is_whole_though_the_types_differ(port: int, change: Callable[[Profile], Profile]) -> None:
    records, bars = compare(port, change=change)
    assert (records.hot, records.cold, *numbers(records)) == (ROWS, ROWS, 0, 0, 0)
    assert (bars.hot, bars.cold, bars.differing, *numbers(bars)) == (10, 10, 0, 0, 0, 0)


@pytest.mark.parametrize("change", [lambda p: p, without_offsets], ids=["offsets", "values"])
def test_five_lost_and_five_doubled_rows_are_not_taken_for_none(
    port: int, run: Callable[[str], None], change: Callable[[Profile], Profile]
) -> None:
    run("INSERT INTO cold SELECT * FROM hot WHERE part = 1 AND pos >= 20 AND pos < 25")
    run("ALTER TABLE cold DELETE WHERE part = 0 AND pos >= 10 AND pos < 15")
    records, _ = compare(port, change=change)
    assert records.hot == records.cold
    assert numbers(records) == (5, 5, 0)


def test_lost_and_doubled_rows_are_named(port: int, run: Callable[[str], None]) -> None:
    run(
        "ALTER TABLE cold DELETE WHERE part = 0 AND pos = 10; INSERT INTO cold SELECT * FROM hot WHERE part=1 AND pos=3"
    )
    records, _ = compare(port)
    assert records.first_missing == ("north/0/10",)
    assert records.first_duplicated == ("north/1/3",)


def test_rows_beyond_the_watermark_are_not_due(port: int, run: Callable[[str], None]) -> None:
    late = f"toDateTime64({MARK_S + 1:.0f}, 6, 'UTC')"
    run(f"INSERT INTO hot SELECT 'north', 0, 1000 + number, 'r', number, 1, {late}, {late} FROM numbers(7)")
    records, _ = compare(port)
    assert numbers(records) == (0, 0, 7)


def test_rows_that_became_visible_as_the_run_looked_are_not_due(port: int, run: Callable[[str], None]) -> None:
    late = f"toDateTime64({MARK_S - 1:.0f}, 6, 'UTC')"
    run(f"INSERT INTO hot SELECT 'north', 0, 1000 + number, 'r', number, 1, {late}, {late} FROM numbers(7)")
    records, _ = compare(port)
    assert numbers(records) == (0, 0, 7)


def test_a_row_that_its_partition_has_passed_is_due_whenever_it_was_written(
    port: int, run: Callable[[str], None]
) -> None:
    late = f"toDateTime64({MARK_S + 1:.0f}, 6, 'UTC')"
    run(f"INSERT INTO hot SELECT 'north', 0, 1000 + number, 'r', number, 1, {late}, {late} FROM numbers(7)")
    run("INSERT INTO cold SELECT * FROM hot WHERE pos = 1006")
    records, _ = compare(port)
    assert numbers(records) == (6, 0, 0)


def test_the_tail_of_a_partition_is_missed_by_its_time(port: int, run: Callable[[str], None]) -> None:
    run("ALTER TABLE cold DELETE WHERE part = 0 AND pos >= 40; ALTER TABLE cold DELETE WHERE part = 1")
    records, _ = compare(port)
    assert numbers(records) == (60, 0, 0)


def test_what_the_hot_tier_holds_twice_is_no_fault_of_the_copy(port: int, run: Callable[[str], None]) -> None:
    run("INSERT INTO hot SELECT * FROM hot WHERE pos = 7; INSERT INTO cold SELECT * FROM cold WHERE pos = 7")
    records, _ = compare(port)
    assert numbers(records) == (0, 0, 0)


def test_what_the_hot_tier_has_dropped_is_not_doubled(port: int, run: Callable[[str], None]) -> None:
    run("ALTER TABLE hot DELETE WHERE pos < 10")
    records, _ = compare(port)
    assert numbers(records) == (0, 0, 0)


def test_only_rows_written_since_are_looked_at(port: int, run: Callable[[str], None]) -> None:
    run("ALTER TABLE cold DELETE WHERE pos = 0")  # the two oldest
    records, _ = compare(port, since_s=MARK_S - 990)
    assert (records.hot, *numbers(records)) == (90, 0, 0, 0)


def test_a_candle_that_is_missing_doubled_or_has_another_value(port: int, run: Callable[[str], None]) -> None:
    first = f"toDateTime({MARK_S - 6000:.0f}, 'UTC')"
    run(f"ALTER TABLE cold_bars DELETE WHERE opened = {first}")
    run(f"ALTER TABLE cold_bars UPDATE high = 99 WHERE opened = {first} + 60")
    run(f"INSERT INTO cold_bars SELECT * FROM cold_bars WHERE opened = {first} + 120")
    _, bars = compare(port)
    assert (bars.missing, bars.differing, bars.duplicated) == (1, 1, 1)


def test_a_candle_that_has_changed_since_the_watermark_is_not_compared(port: int, run: Callable[[str], None]) -> None:
    opened = f"toDateTime({MARK_S - 6000:.0f}, 'UTC')"
    run(f"INSERT INTO hot_bars SELECT 'r', {opened}, 50, 1, toDateTime64({MARK_S + 1:.0f}, 6, 'UTC')")
    _, bars = compare(port)
    assert (bars.differing, *numbers(bars)) == (0, 0, 0, 0)


@pytest.mark.usefixtures("run")
def test_without_a_watermark_nothing_is_said(port: int) -> None:
    platform = profile(port)
    assert platform.clickhouse is not None
    assert platform.object_store is not None
    database = Database(ClickHouseClient(platform.clickhouse), 30, 1_000_000)
    for result in ColdLedger(platform, database, Plain(platform.object_store)).compare({}):
        assert (result.basis, result.missing) == (None, None)
        assert "no watermark" in result.why
