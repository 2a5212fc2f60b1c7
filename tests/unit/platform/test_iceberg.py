# SPDX-License-Identifier: Apache-2.0
"""How a table of the object store is put into a query: which metadata counts, and no secret in the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.platform.clickhouse import QueryError
from ansible_collections.k2.hardening.plugins.module_utils.platform.iceberg import (
    Iceberg,
    IcebergUnreadable,
    explain,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Catalog, ObjectStore

CATALOG = Catalog("127.0.0.1", 5432, "lake", "auditor", "iceberg_tables", None, "hunter2")
PRESENT = "s3://archive/lake/bets/metadata/00012-7991fa83.metadata.json"


def store(**changes: Any) -> ObjectStore:
    return ObjectStore("http://127.0.0.1:9000/", "archive", "auditor", "s3cret", **changes)


def with_catalog(known: Mapping[str, str]) -> Iceberg:
    return Iceberg(store(catalog=CATALOG), lambda _: known)


def test_the_secret_is_bound_and_never_part_of_the_text() -> None:
    table = Iceberg(store()).table("lake/bets")
    assert "s3cret" not in table.expression
    assert table.params["k2_cold_secret"] == "s3cret"
    assert table.params["k2_cold_url"] == "http://127.0.0.1:9000/archive/lake/bets"
    assert "iceberg_metadata_file_path" not in table.expression


def test_clickhouse_is_given_the_address_that_it_can_reach() -> None:
    table = Iceberg(store(clickhouse_url="http://store:9000")).table("lake/bets")
    assert table.params["k2_cold_url"] == "http://store:9000/archive/lake/bets"


def test_the_metadata_that_the_catalog_points_at_is_the_one_that_is_read() -> None:
    table = with_catalog({"lake/bets": PRESENT}).table("lake/bets")
    assert "iceberg_metadata_file_path = 'metadata/00012-7991fa83.metadata.json'" in table.expression


def test_the_place_of_a_table_is_what_the_catalog_says() -> None:
    table = with_catalog({"lake/bets": "s3a://archive/moved/here/metadata/v3.metadata.json"}).table("lake/bets")
    assert table.params["k2_cold_url"].endswith("/archive/moved/here")


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"lake/bets": "s3://another/lake/bets/metadata/1.metadata.json"},
        {"lake/bets": "s3://archive/lake/bets/metadata/1', x = '.metadata.json"},
    ],
)
def test_a_table_that_is_nowhere_or_elsewhere_is_refused(known: Mapping[str, str]) -> None:
    with pytest.raises(IcebergUnreadable, match="no Iceberg table lake/bets"):
        with_catalog(known).table("lake/bets")


@pytest.mark.parametrize(("code", "says"), [(497, "GRANT S3"), (499, "http://127.0.0.1:9000"), (107, "k2_tiers")])
def test_a_refusal_says_what_to_do(code: int, says: str) -> None:
    assert says in str(explain(QueryError(code, "no"), store()))


def test_another_refusal_stays_as_it_is() -> None:
    error: K2Error = QueryError(62, "syntax")
    assert explain(error, store()) is error  # type: ignore[arg-type]
