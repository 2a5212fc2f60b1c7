# SPDX-License-Identifier: Apache-2.0
"""Names that ClickHouse or Postgres do not know are told beside those that they do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure import names
from ansible_collections.k2.hardening.plugins.module_utils.measure.mismatch import MismatchKind
from ansible_collections.k2.hardening.plugins.module_utils.measure.names import compare_clickhouse, compare_postgres
from ansible_collections.k2.hardening.plugins.module_utils.platform.clickhouse import ClickHouseClient
from ansible_collections.k2.hardening.plugins.module_utils.platform.postgres import PostgresUnreachable
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile, Watermarks
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from ..platform.server import Script, serve  # noqa: TID252 - tests are no package that has a name

SILVER = ("exchange", "symbol", "timestamp", "ingestion_timestamp", "processed_at", "price", "quantity")
COLUMNS = [("k2", "silver_trades", name) for name in SILVER] + [("archive", "old_trades", "price")]


def described(port: int, **tier: Any) -> Profile:
    silver = {
        "name": "silver",
        "store": "clickhouse",
        "table": "silver_trades",
        "exchange_column": "exchange",
        "key_columns": ["exchange", "symbol"],
        "price_column": "price",
        "size_column": "quantity",
        "time_columns": {"exchange": {"column": "timestamp"}},
        **tier,
    }
    return parse_profile(
        {
            "k2_platform": {"name": "p", "scale": "lab", "runtime": "docker"},
            "k2_services": {"db": {"kind": "database"}},
            "k2_clickhouse": {"host": "127.0.0.1", "port": port, "username": "u", "password": "", "database": "k2"},
            "k2_tiers": [silver],
        }
    )


def compare(rows: list[tuple[str, str, str]], **tier: Any) -> list[tuple[MismatchKind, str, str, str]]:
    meta = [{"name": name, "type": "String"} for name in ("database", "table", "name")]
    with serve(Script(body=json.dumps({"meta": meta, "data": rows}).encode())) as script:
        profile = described(script.port, **tier)
        assert profile.clickhouse is not None
        found = compare_clickhouse(profile, ClickHouseClient(profile.clickhouse))
        (asked,) = script.requests
        assert "readonly=2" in asked[0]
    return [(each.kind, each.expected, each.seen, each.action) for each in found]


@pytest.mark.parametrize(
    "tier",
    [{}, {"table": "k2.silver_trades"}, {"table": "archive.old_trades", "exchange_column": None, "key_columns": []}],
)
def test_names_that_are_there_and_expressions_are_no_mismatch(tier: dict[str, Any]) -> None:
    archived = {"time_columns": {}, "size_column": None} if tier.get("table", "").startswith("archive") else {}
    assert compare(COLUMNS, columns={"open": "argMin(price, moment)"}, **tier, **archived) == []


def test_a_column_of_another_name_is_told_with_those_of_the_table() -> None:
    changed = {"time_columns": {"exchange": {"column": "exchange_timestamp"}}, "size_column": "`size`"}
    assert compare(COLUMNS, **changed) == [
        (
            MismatchKind.COLUMN,
            "column size of k2.silver_trades",
            ", ".join(SILVER),
            "correct k2_tiers[0].size_column to the one of them that holds it",
        ),
        (
            MismatchKind.COLUMN,
            "column exchange_timestamp of k2.silver_trades",
            ", ".join(SILVER),
            "correct k2_tiers[0].time_columns.exchange.column to the one of them that holds it",
        ),
    ]


def test_a_table_in_another_database_is_found() -> None:
    assert compare(COLUMNS, table="old_trades") == [
        (
            MismatchKind.TABLE,
            "k2.old_trades",
            "a table of that name in archive",
            "correct k2_clickhouse.database, or name it archive.old_trades in k2_tiers[0].table",
        )
    ]


def test_a_table_of_another_name_is_told_with_those_that_there_are() -> None:
    assert compare(COLUMNS, table="silver_trade") == [
        (
            MismatchKind.TABLE,
            "k2.silver_trade",
            "archive.old_trades, k2.silver_trades",
            "correct k2_tiers[0].table: did you mean 'silver_trades'?",
        )
    ]
    ((_, _, seen, action),) = compare([])
    assert seen == "no table that this user may see"
    assert action == "correct k2_tiers[0].table, or let the user read the table"


def test_a_long_list_of_names_is_cut() -> None:
    ((_, _, seen, _),) = compare([("k2", f"t{number:02}", "c") for number in range(30)])
    assert seen.endswith("k2.t23 and 6 more")


def test_a_store_that_does_not_answer_is_told_once() -> None:
    profile = described(1)
    assert profile.clickhouse is not None
    (mismatch,) = compare_clickhouse(profile, ClickHouseClient(profile.clickhouse))
    assert (mismatch.subject, mismatch.kind) == ("k2_tiers", MismatchKind.UNKNOWN)
    assert "ClickHouse did not answer" in mismatch.seen


WATERMARKS = Watermarks(
    "127.0.0.1",
    5432,
    "prefect",
    "u",
    "offload_watermarks",
    "table_name",
    "last_offload_timestamp",
    60,
    (),
    (),
    "secret",
)
PATH = (("u",), ("public",))


def watermarks(
    monkeypatch: pytest.MonkeyPatch, columns: list[tuple[str, str, str]], section: Watermarks = WATERMARKS
) -> list[tuple[str, str, str]]:
    class Client:
        def __init__(self, login: object) -> None:
            pass

        def read(self, *statements: str) -> tuple[Any, ...]:
            assert all(statement.split()[0] == "SELECT" for statement in statements)
            return PATH, tuple(columns)

    monkeypatch.setattr(names, "PostgresClient", Client)
    return [(each.subject, each.expected, each.seen) for each in compare_postgres(section)]


def test_watermark_columns_of_another_name_are_told_with_those_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [("public", "offload_watermarks", name) for name in ("source_table", "last_watermark", "status")]
    assert watermarks(monkeypatch, there) == [
        (
            "k2_watermarks.name_column",
            "column table_name of public.offload_watermarks",
            "source_table, last_watermark, status",
        ),
        (
            "k2_watermarks.time_column",
            "column last_offload_timestamp of public.offload_watermarks",
            "source_table, last_watermark, status",
        ),
    ]


def test_a_watermark_table_is_looked_for_in_the_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [("public", "offload_watermarks", name) for name in ("table_name", "last_offload_timestamp")]
    assert watermarks(monkeypatch, there) == []
    other = [("archive", "offload_watermarks", "table_name")]
    assert watermarks(monkeypatch, other) == [
        ("k2_watermarks.table", "u or public.offload_watermarks", "a table of that name in archive")
    ]


def test_a_postgres_that_does_not_answer_is_told_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def __init__(self, login: object) -> None:
            pass

        def read(self, *statements: str) -> tuple[Any, ...]:
            raise PostgresUnreachable("Postgres did not answer", expected="an answer", seen="refused")

    monkeypatch.setattr(names, "PostgresClient", Client)
    (mismatch,) = compare_postgres(WATERMARKS)
    assert (mismatch.kind, mismatch.seen) == (MismatchKind.UNKNOWN, "Postgres did not answer: refused")
    assert "secret" not in str(mismatch)
