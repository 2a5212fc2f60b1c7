# SPDX-License-Identifier: Apache-2.0
"""Do the stores know the tables and columns that the profile names? Asks them what they have, and changes nothing.

What installations of one platform call things differs; where a name is wrong, the store's own names are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Optional

from ..core.errors import K2Error
from ..core.suggest import nearest
from ..platform.clickhouse import ClickHouseClient
from ..platform.postgres import PostgresClient
from ..profile.model import ClickHouse, Profile, Store, Tier, Watermarks
from .latency.columns import split_name
from .mismatch import Mismatch, MismatchKind, of_error
from .watermarks import login

# Columns by table, tables by database or schema.
Tables = Mapping[str, Mapping[str, tuple[str, ...]]]

_NAME = re.compile(r"^(?:`[^`]+`|[A-Za-z_]\w*)$")
_TOLD = 24
_CLICKHOUSE_COLUMNS = """
    SELECT database, table, name FROM system.columns
    WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') AND NOT startsWith(table, '.inner')
    ORDER BY database, table, position
"""
_POSTGRES_COLUMNS = """
    SELECT table_schema::text, table_name::text, column_name::text FROM information_schema.columns
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
    ORDER BY table_schema, table_name, ordinal_position
"""
_POSTGRES_PATH = "SELECT unnest(current_schemas(false))::text"


def compare_clickhouse(profile: Profile, client: ClickHouseClient) -> tuple[Mismatch, ...]:
    """Tables and columns of tiers in ClickHouse that it does not have, or why it could not be asked."""
    section = profile.clickhouse
    tiers = [(index, tier) for index, tier in enumerate(profile.tiers) if tier.store is Store.CLICKHOUSE]
    if section is None or not tiers:
        return ()
    try:
        tables = _by_table(client.query(_CLICKHOUSE_COLUMNS).rows)
    except K2Error as error:
        return (of_error("k2_tiers", MismatchKind.UNKNOWN, error),)
    return tuple(found for index, tier in tiers for found in _tier(f"k2_tiers[{index}]", tier, section, tables))


def compare_postgres(section: Watermarks) -> tuple[Mismatch, ...]:
    """The watermarks' table and columns, if Postgres does not have them, or why it could not be asked."""
    try:
        path, columns = PostgresClient(login(section)).read(_POSTGRES_PATH, _POSTGRES_COLUMNS)
    except K2Error as error:
        return (of_error("k2_watermarks", MismatchKind.UNKNOWN, error),)
    return tuple(_watermarks(section, [str(row[0]) for row in path], _by_table(columns)))


def _by_table(rows: Iterable[tuple[object, ...]]) -> Tables:
    found: dict[str, dict[str, list[str]]] = {}
    for owner, table, column in rows:
        found.setdefault(str(owner), {}).setdefault(str(table), []).append(str(column))
    return {owner: {table: tuple(names) for table, names in tables.items()} for owner, tables in found.items()}


def _tier(path: str, tier: Tier, section: ClickHouse, tables: Tables) -> Iterator[Mismatch]:
    database, table = split_name(tier.table, section.database)
    columns = tables.get(database, {}).get(table)
    if columns is None:
        yield _no_table(f"{path}.table", database, table, tables, "k2_clickhouse.database")
        return
    for key, name in _named(tier):
        # What is not a mere name is an expression: only the server can tell whether it holds.
        if _NAME.match(name) and name.strip("`") not in columns:
            yield _no_column(f"{path}.{key}", f"{database}.{table}", name.strip("`"), columns)


def _named(tier: Tier) -> Iterator[tuple[str, str]]:
    """Each place of a tier that names a column, and the column."""
    for key in ("exchange_column", "price_column", "size_column", "valid_column"):
        value: Optional[str] = getattr(tier, key)
        if value is not None:
            yield key, value
    for key in ("key_columns", "sequence_columns", "offset_columns"):
        values: tuple[str, ...] = getattr(tier, key)
        yield from ((f"{key}[{index}]", value) for index, value in enumerate(values))
    for hop, time in tier.time_columns.items():
        yield f"time_columns.{hop}.column", time.column
    for meaning, column in tier.columns.items():
        yield f"columns.{meaning}", column


def _watermarks(section: Watermarks, path: Iterable[str], tables: Tables) -> Iterator[Mismatch]:
    first, dot, second = section.table.rpartition(".")
    schemas = [first] if dot else list(path)
    schema = next((each for each in schemas if second in tables.get(each, {})), None)
    if schema is None:
        yield _no_table("k2_watermarks.table", " or ".join(schemas), second, tables, "k2_watermarks.database")
        return
    for key, name in (("name_column", section.name_column), ("time_column", section.time_column)):
        if name not in tables[schema][second]:
            yield _no_column(f"k2_watermarks.{key}", f"{schema}.{second}", name, tables[schema][second])


def _no_table(path: str, owner: str, table: str, tables: Tables, where: str) -> Mismatch:
    elsewhere = sorted(each for each, held in tables.items() if table in held)
    if elsewhere:
        seen = f"a table of that name in {', '.join(elsewhere)}"
        action = f"correct {where}, or name it {elsewhere[0]}.{table} in {path}"
    else:
        near = nearest(table, {name for held in tables.values() for name in held})
        seen = _listed(sorted(f"{each}.{name}" for each, held in tables.items() for name in held), "table")
        action = f"correct {path}" + (f": did you mean {near!r}?" if near else ", or let the user read the table")
    return Mismatch(path, MismatchKind.TABLE, f"{owner}.{table}", seen, action)


def _no_column(path: str, table: str, column: str, columns: tuple[str, ...]) -> Mismatch:
    # No guess by spelling: of two times the one that is spelt alike may be the wrong one.
    action = f"correct {path} to the one of them that holds it"
    return Mismatch(path, MismatchKind.COLUMN, f"column {column} of {table}", _listed(columns, "column"), action)


def _listed(names: Iterable[str], what: str) -> str:
    """The names that there are, not more than fit into a line."""
    every = list(names)
    more = f" and {len(every) - _TOLD} more" if len(every) > _TOLD else ""
    return ", ".join(every[:_TOLD]) + more if every else f"no {what} that this user may see"
