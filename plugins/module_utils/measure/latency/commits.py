# SPDX-License-Identifier: Apache-2.0
"""When the candles of each insert block were committed, from system.part_log.

Rows of the source tier with one and the same write time form an insert block. The parts that an insert wrote share its
``query_id``. Write time and commit are not the same: a ``now64()`` in a view runs before the insert returns. Which
insert committed a block is found by what both show: the number of rows in each partition, and the order in time.

Blocks and inserts alike in that number are two queues: a block enters at its write time, an insert with the commit of
its first part takes one out.

1. An insert that finds no block waiting belongs to none of them and is put aside.
2. Seen backwards, a block that finds no insert left after it has no known commit.
3. What remains falls into busy periods, each from an empty queue to the next empty one. Within a period every block
   may belong to the last of its inserts without any other block left over, so with more than one block in a period the
   latest commit is taken for all of them: a latency may be over-told, never under-told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from .columns import Table
from .route import COMMITTED, Route
from .session import Session, integer, integers, literal

# Blocks of other rows that were being written when the first one was: they claim their own inserts.
MARGIN_US = 10_000_000
# A block whose insert took longer than this is told as without a known commit.
LONGEST_INSERT_US = 3_600_000_000
# The parts of an insert may be logged on the day after its block was written.
_DAY_US = 86_400_000_000
# The commits of more blocks than this are not carried from query to query: their text would be several MB.
MOST_INLINE = 50_000
# What a query holds beside them, at most.
QUERY_AROUND_BYTES = 20_000


@dataclass(frozen=True)
class Commits:
    """How to find the commits of the blocks written in [low, high], both in microseconds.

    ``log`` is the table or table function that holds the log of parts.
    """

    route: Route
    log: str
    low_us: int
    high_us: int

    def query(self) -> str:
        """SQL: block_us, committed (microseconds by candle table, 0 where it is not known), ambiguous, known."""
        forward, backward = "at, NOT block", "at DESC, NOT block DESC"
        belonging = (
            "SELECT class, block, at, committed "
            f"FROM ({_queue(self._events(), 'if(block, 1, -1)', forward)}) WHERE block OR depth >= least_before"
        )
        told = (
            "SELECT class, block, at, committed, NOT block OR depth >= least_before AS known "
            f"FROM ({_queue(belonging, 'if(block, -1, 1)', backward)})"
        )
        # A block without a commit is in no queue.
        periods = (
            f"SELECT *, countIf(known AND depth = 0) OVER (PARTITION BY class ORDER BY {forward} "
            "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS period "
            f"FROM ({_queue(told, 'multiIf(NOT known, 0, block, 1, -1)', forward)})"
        )
        return (
            "SELECT arrayJoin(blocks) AS block_us, latest AS committed, "
            "known AND length(blocks) > 1 AS ambiguous, known "
            f"FROM (SELECT known, groupArrayIf(at, block AND at BETWEEN {self.low_us} AND {self.high_us}) AS blocks, "
            f"maxForEach(committed) AS latest FROM ({periods}) GROUP BY class, period, known)"
        )

    def _events(self) -> str:
        blank = f"CAST([{', '.join('0' for _ in self.route.measurable)}], 'Array(Int64)')"
        return (
            f"SELECT class, true AS block, block_us AS at, {blank} AS committed FROM ({self._blocks()}) UNION ALL "
            "SELECT class, false AS block, i.first AS at, c.committed AS committed "
            f"FROM ({self._inserts()}) AS i INNER JOIN ({self._candles()}) AS c USING (query_id)"
        )

    def _blocks(self) -> str:
        source = self.route.source
        written = source.moments[COMMITTED]
        return (
            "SELECT k2_block AS block_us, sipHash64(arraySort(groupArray((k2_partition, k2_rows)))) AS class FROM ("
            f"SELECT {written.as_us()} AS k2_block, toString(_partition_id) AS k2_partition, count() AS k2_rows "
            f"FROM {source.tier.table} WHERE {written.bounds(self.low_us - MARGIN_US, self.high_us + MARGIN_US)} "
            "GROUP BY k2_block, k2_partition) GROUP BY k2_block"
        )

    def _inserts(self) -> str:
        """SQL: inserts, block by block: of several parts in a partition the n-th of each make up the n-th block."""
        return (
            "SELECT query_id, min(logged) AS first, sipHash64(arraySort(groupArray((partition_id, rows)))) AS class "
            "FROM (SELECT query_id, partition_id, rows, toUnixTimestamp64Micro(event_time_microseconds) AS logged, "
            "row_number() OVER ("
            "PARTITION BY query_id, partition_id ORDER BY event_time_microseconds, part_name) AS nth "
            f"FROM {self.log} WHERE {self._logged([self.route.source.table])}) GROUP BY query_id, nth"
        )

    def _candles(self) -> str:
        tables = [candle.table for candle in self.route.measurable]
        commits = ", ".join(f"maxIf(toUnixTimestamp64Micro(event_time_microseconds), {_is(table)})" for table in tables)
        return (
            f"SELECT query_id, [{commits}] AS committed FROM {self.log} "
            f"WHERE {self._logged([self.route.source.table, *tables])} GROUP BY query_id"
        )

    def _logged(self, tables: Sequence[Table]) -> str:
        return logged(tables, self.low_us - MARGIN_US, self.high_us + LONGEST_INSERT_US)


@dataclass(frozen=True)
class Found:
    """The commits that were found: number of blocks, how many of them have none, and SQL for what ``Commits`` asks.

    That is the answer itself, so that it is found once for all queries that need it; the question where it is too long.
    """

    blocks: int
    without: int
    sql: str


def find(session: Session, commits: Commits) -> Found:
    """Find the commits of all blocks once."""
    asked = commits.query()
    rows = session.ask(
        f"SELECT count() OVER (), countIf(NOT known) OVER (), block_us, committed, ambiguous FROM ({asked}) "
        f"LIMIT {MOST_INLINE + 1}"
    ).rows
    if not rows:
        return Found(0, 0, asked)
    base_us = commits.low_us - MARGIN_US - 1
    blocks = ",".join(str(integer(row[2]) - base_us) for row in rows)
    times = ",".join(f"[{','.join(str(max(0, us - base_us)) for us in integers(row[3]))}]" for row in rows)
    unsure = ",".join(str(int(integer(row[4]))) for row in rows)
    told = (
        f"SELECT toInt64({base_us} + each.1) AS block_us, each.3 AS ambiguous, "
        f"arrayMap(us -> if(us > 0, toInt64({base_us} + us), 0), each.2) AS committed "
        f"FROM (SELECT arrayJoin(arrayZip([{blocks}], [{times}], [{unsure}])) AS each)"
    )
    fits = len(rows) <= MOST_INLINE and session.takes(len(told) + QUERY_AROUND_BYTES)
    return Found(integer(rows[0][0]), integer(rows[0][1]), told if fits else asked)


def log_of(cluster: Optional[str]) -> str:
    """The log of parts of one server, or of all replicas of ``cluster``."""
    return f"clusterAllReplicas({literal(cluster)}, system.part_log)" if cluster else "system.part_log"


def logged(tables: Sequence[Table], low_us: int, high_us: Optional[int] = None) -> str:
    """SQL: which entries of the log are parts that inserts into ``tables`` made, from ``low_us`` to ``high_us``."""
    latest = "" if high_us is None else f"AND event_time <= toDateTime(intDiv({high_us}, 1000000)) "
    return (
        "event_type = 'NewPart' AND error = 0 AND query_id != '' "
        f"AND event_date >= toDate(fromUnixTimestamp64Micro(toInt64({low_us - _DAY_US}))) "
        f"AND event_time >= toDateTime(intDiv({low_us}, 1000000)) {latest}"
        f"AND event_time_microseconds >= fromUnixTimestamp64Micro(toInt64({low_us})) "
        f"AND ({' OR '.join(_is(table) for table in tables)})"
    )


def _is(table: Table) -> str:
    return f"(database = {literal(table.database)} AND table = {literal(table.name)})"


def _queue(events: str, step: str, order: str) -> str:
    """SQL: each event with the ``depth`` of its queue after it, and the least depth before it, 0 at the beginning."""
    over = f"OVER (PARTITION BY class ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND"
    return (
        f"SELECT *, least(0, min(depth) {over} 1 PRECEDING)) AS least_before "
        f"FROM (SELECT *, sum(toInt64({step})) {over} CURRENT ROW) AS depth FROM ({events}))"
    )
