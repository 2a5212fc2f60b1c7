# SPDX-License-Identifier: Apache-2.0
"""Create what is missing; refuse, with both definitions named, what exists and differs."""

from __future__ import annotations

from dataclasses import dataclass

from k2lab.clickhouse_http import ClickHouse
from k2lab.common.errors import LabError
from k2lab.schema.ddl import CandleEngine, statements


@dataclass(frozen=True)
class Applied:
    """What an application did: names created now, names that were there already."""

    created: tuple[str, ...]
    existing: tuple[str, ...]


def apply_schema(clickhouse: ClickHouse, database: str, candles: CandleEngine) -> Applied:
    """Bring `database` to the schema. Safe to repeat and to interrupt.

    Raises LabError when a table exists with another definition (tables are told by the digest in their comment), and
    ClickHouseError when the server cannot be used.
    """
    wanted = statements(database, candles)
    present = {
        str(name): str(comment)
        for name, comment in clickhouse.rows(
            "SELECT name, comment FROM system.tables WHERE database = {database:String}",
            parameters={"database": database},
        )
    }
    for statement in wanted:
        seen = present.get(statement.name)
        if seen is not None and statement.comment is not None and seen != statement.comment:
            raise LabError(
                f"table {database}.{statement.name} with the definition of this version ({statement.comment})",
                f"a table with the comment {seen!r}",
                f"use another database, or drop {database} if its data is not needed",
            )
    for statement in wanted:
        if statement.name not in present:
            clickhouse.execute(statement.sql)
    names = [statement.name for statement in wanted if statement.name != database]
    return Applied(
        created=tuple(name for name in names if name not in present),
        existing=tuple(name for name in names if name in present),
    )
