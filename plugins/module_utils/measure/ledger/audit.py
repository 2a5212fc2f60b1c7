# SPDX-License-Identifier: Apache-2.0
"""Every record of a range of the broker, accounted for in every tier. Reads only, joins no group, commits nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...core.progress import Progress
from ...platform.broker import BrokerReader, watermark_of
from ...platform.clickhouse import ClickHouseClient
from ...profile.model import Profile
from .candle_work import CandleWork
from .comparison import Comparison
from .database import Client, Database
from .drain import await_drained
from .path import topics_of
from .ranges import Reader, Watermark, choose, read_broker
from .result import Audit, Cost
from .summary import summarise, upstream


@dataclass(frozen=True)
class Options:
    """What an audit covers, and what it may cost."""

    from_watermark: Optional[Watermark] = None
    expected: Mapping[str, int] = field(default_factory=dict)
    max_records: int = 10_000_000
    drain_timeout_s: float = 60.0
    read_timeout_s: float = 300.0
    sample_rows: int = 1_000_000
    query_timeout_s: float = 60.0
    max_rows_to_read: int = 200_000_000
    compare_candles: bool = True
    compare_cold: bool = True


def connect(profile: Profile) -> tuple[BrokerReader, ClickHouseClient]:
    """Clients of the platform; nothing is asked yet.

    :raises K2Error: the profile lacks a section that this takes.
    """
    topics_of(profile)
    assert profile.broker is not None
    assert profile.clickhouse is not None
    return BrokerReader(profile.broker.bootstrap), ClickHouseClient(profile.clickhouse)


def expected_counts(given: Mapping[str, object]) -> dict[str, int]:
    """Counts by exchange, as numbers or as texts of numbers.

    :raises K2Error: one is none.
    """
    for exchange, count in given.items():
        if isinstance(count, bool) or not str(count).isdigit():
            raise K2Error(
                "expected cannot be read",
                expected="the number of records that each exchange sent",
                seen=f"{exchange}: {count!r}",
                action="give whole numbers by exchange",
            )
    return {exchange: int(str(count)) for exchange, count in given.items()}


def mark(profile: Profile, reader: Reader) -> dict[str, dict[str, int]]:
    """The end of every raw topic now, to go on from later.

    Raises K2Error.
    """
    topics = tuple(sorted(set(topics_of(profile).values())))
    return watermark_of(reader.extents(reader.partitions(topics)))


def audit(profile: Profile, reader: Reader, client: Client, options: Options, progress_file: Optional[Path]) -> Audit:
    """Audit from ``options.from_watermark`` to what the broker holds now.

    A tier that cannot be read is part of the result. Raises K2Error where there is no range to audit: the broker does
    not answer, a topic or the driver is missing, the watermark or ``expected`` is not of this platform.
    """
    topics = topics_of(profile)
    strangers = sorted(set(options.expected) - set(topics))
    if strangers:
        raise K2Error(
            "expected names an exchange that the platform does not have",
            expected=", ".join(sorted(topics)),
            seen=", ".join(strangers),
            action="name exchanges as k2_broker.topics does",
        )
    partitions = reader.partitions(tuple(sorted(set(topics.values()))))
    chosen = choose(reader.extents(partitions), options.from_watermark, options.max_records)
    with Progress(progress_file, "reading the range from the broker", unit="offsets") as progress:
        broker = read_broker(reader, chosen, Deadline.after(options.read_timeout_s), progress.update)
    groups = profile.broker.groups if profile.broker is not None else ()
    deadline = Deadline.after(options.drain_timeout_s)
    with Progress(progress_file, "waiting for consumers to take in the range", unit="records to go") as progress:
        drain = await_drained(reader, groups, broker, deadline, progress.update)
    database = Database(client, options.query_timeout_s, options.max_rows_to_read)
    with Progress(progress_file, "comparing the tiers", unit="tiers") as progress:
        comparison = Comparison(
            profile,
            topics,
            reader,
            database,
            broker,
            drain,
            deadline,
            progress,
            with_cold=options.compare_cold,
            with_candles=options.compare_candles,
        )
        tiers = comparison.tiers()
        values = comparison.values(options.sample_rows)
        candles = CandleWork(comparison).results() if options.compare_candles else ()
    cost = Cost(
        database.queries,
        database.rows_read,
        database.bytes_read,
        round(database.elapsed_s, 3),
        broker.records_read,
        round(broker.reading_s, 3),
    )
    sources = upstream(options.expected, topics, broker)
    candles += comparison.cold_candles()
    return summarise(chosen, broker, drain, cost, sources, tiers, values, candles)
