# SPDX-License-Identifier: Apache-2.0
"""Reading the hot tier: what is new past a watermark, as Arrow tables of bounded size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa
from pyarrow import ipc

from k2lab.clickhouse_http import AmbiguousError, ClickHouse, RefusedError
from k2lab.offload.columns import Column, SourceColumn
from k2lab.offload.config import ClickHouseAccess
from k2lab.offload.errors import StoreError
from k2lab.offload.position import Chunk, Head, Positions, TopicPartition

QUERY_TIMEOUT_S = 60.0

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")  # Kafka's own rule; topics are pasted into SQL


class Block(NamedTuple):
    """A stretch of a candle table that changed: start in seconds since the epoch, and how many candles it holds."""

    start_s: int
    candles: int


class Stretch(NamedTuple):
    """Window starts from `start_s` up to but not with `end_s`, in seconds since the epoch."""

    start_s: int
    end_s: int


class HotTier:
    """ClickHouse as the source. Every method may raise StoreError (server unusable) or LabError (this query)."""

    def __init__(self, access: ClickHouseAccess) -> None:
        self._clickhouse = ClickHouse(access.url, access.user, access.password, QUERY_TIMEOUT_S)
        self._database = access.database

    def columns(self, tables: Sequence[str]) -> Mapping[str, Sequence[SourceColumn]]:
        """The columns of those tables that exist, in order."""
        names = ", ".join(f"'{table}'" for table in tables)
        found: dict[str, list[SourceColumn]] = {}
        for table, name, type_ in self._rows(
            f"SELECT table, name, type FROM system.columns WHERE database = '{self._database}' AND table IN ({names}) "
            "ORDER BY table, position"
        ):
            found.setdefault(table, []).append(SourceColumn(name, type_))
        return found

    def now_us(self) -> int:
        """ClickHouse's clock, microseconds since the epoch."""
        [[now]] = self._rows("SELECT toUnixTimestamp64Micro(now64(6))")
        return int(now)

    def heads(
        self, table: str, moved: Positions, written_at: str | None, since_us: int
    ) -> Mapping[TopicPartition, Head]:
        """What the table shows past the watermark, per partition.

        Rows written before `since_us` are left out where `written_at` names the column: parts of old days are then not
        opened at all.
        """
        rows = self._rows(
            "SELECT topic, kafka_partition, min(kafka_offset), max(kafka_offset), count() "
            f"FROM {self._database}.{table} WHERE {_since(written_at, since_us)} AND {_past(moved)} "
            "GROUP BY topic, kafka_partition"
        )
        return {
            TopicPartition(topic, int(number)): Head(int(first), int(last), int(count))
            for topic, number, first, last, count in rows
        }

    def count(self, table: str, chunk: Chunk) -> int:
        """How many rows of the chunk the table shows."""
        [[count]] = self._rows(f"SELECT count() FROM {self._database}.{table} WHERE {_within(chunk)}")
        return int(count)

    def read(
        self, table: str, columns: Sequence[Column], chunk: Chunk, written_at: str | None, since_us: int
    ) -> pa.Table:
        """The rows of the chunk."""
        return self._arrow(
            f"SELECT {_select(columns)} FROM {self._database}.{table} "
            f"WHERE {_since(written_at, since_us)} AND {_within(chunk)}"
        )

    def newest_change_us(self, table: str) -> int:
        """The newest updated_at of a candle table; 0 when it is empty."""
        [[newest]] = self._rows(f"SELECT toUnixTimestamp64Micro(max(updated_at)) FROM {self._database}.{table}")
        return int(newest)

    def changed_blocks(self, table: str, block_s: int, since_us: int) -> Sequence[Block]:
        """The blocks in which a candle changed at or after `since_us`, oldest first."""
        block = _block(block_s)
        source = f"{self._database}.{table}"
        rows = self._rows(
            f"SELECT {block} AS block, uniqExact(exchange, canonical_symbol, window_start) FROM {source} "
            f"WHERE {block} IN (SELECT DISTINCT {block} FROM {source} WHERE updated_at >= {_time(since_us)}) "
            "GROUP BY block ORDER BY block"
        )
        return [Block(int(start), int(count)) for start, count in rows]

    def digests(
        self, table: str, columns: Sequence[Column], block_s: int, stretches: Sequence[Stretch]
    ) -> Mapping[int, str]:
        """A fingerprint of each block's candles by its start, the same however their parts are merged."""
        names = ", ".join(f"`{column.name}`" for column in columns)
        rows = self._rows(
            f"SELECT {_block(block_s)} AS block, count(), groupBitXor(cityHash64({names})) "
            f"FROM {self._database}.{table} FINAL WHERE {_windows(stretches)} GROUP BY block"
        )
        return {int(start): f"{count}-{digest}" for start, count, digest in rows}

    def read_candles(self, table: str, columns: Sequence[Column], stretches: Sequence[Stretch]) -> pa.Table:
        """The candles in the stretches, each once."""
        return self._arrow(
            f"SELECT {_select(columns)} FROM {self._database}.{table} FINAL WHERE {_windows(stretches)} "
            "ORDER BY window_start, exchange, canonical_symbol"
        )

    # A DateTime is read as an expression of the same name (see columns.py): conditions mean the column.

    def _rows(self, sql: str) -> list[list[str]]:
        with _as_store_error():
            return self._clickhouse.rows(sql, prefer_column_name_to_alias=1)

    def _arrow(self, sql: str) -> pa.Table:
        with _as_store_error():
            answer = self._clickhouse.fetch(f"{sql} FORMAT ArrowStream", settings={"prefer_column_name_to_alias": 1})
        table = ipc.open_stream(pa.py_buffer(answer)).read_all()
        table.validate(full=True)  # text that is no UTF-8 must not get into Parquet, where readers trust it
        return table


@contextmanager
def _as_store_error() -> Iterator[None]:
    """A server that cannot be reached, or refuses us, fails every table; an error of one query only its own."""
    try:
        yield
    except (RefusedError, AmbiguousError) as error:
        raise StoreError(error.expected, error.seen, error.action) from error


def _select(columns: Sequence[Column]) -> str:
    return ", ".join(column.expression for column in columns)


def _time(us: int) -> str:
    return f"fromUnixTimestamp64Micro({us}, 'UTC')"


def _since(written_at: str | None, since_us: int) -> str:
    return f"{written_at} >= {_time(since_us)}" if written_at else "true"


def _partition(partition: TopicPartition) -> str:
    if not _TOPIC.fullmatch(partition.topic):
        raise ValueError(f"not a Kafka topic name: {partition.topic!r}")
    return f"topic = '{partition.topic}' AND kafka_partition = {partition.number}"


def _past(moved: Positions) -> str:
    """Rows after the watermark; all rows of partitions it does not name."""
    if not moved.offsets:
        return "true"
    known = sorted(moved.offsets.items())
    names = ", ".join(f"('{partition.topic}', {partition.number})" for partition, _ in known)
    later = " OR ".join(f"({_partition(partition)} AND kafka_offset > {offset})" for partition, offset in known)
    return f"({later} OR (topic, kafka_partition) NOT IN ({names}))"


def _within(chunk: Chunk) -> str:
    spans = " OR ".join(
        f"({_partition(partition)} AND kafka_offset > {span.after} AND kafka_offset <= {span.upto})"
        for partition, span in sorted(chunk.items())
    )
    return f"({spans})"


def _block(block_s: int) -> str:
    return f"intDiv(toUnixTimestamp(window_start), {block_s}) * {block_s}"


def _windows(stretches: Sequence[Stretch]) -> str:
    conditions = " OR ".join(
        f"(window_start >= toDateTime({stretch.start_s}, 'UTC') AND window_start < toDateTime({stretch.end_s}, 'UTC'))"
        for stretch in stretches
    )
    return f"({conditions})"
