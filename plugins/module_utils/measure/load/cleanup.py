# SPDX-License-Identifier: Apache-2.0
"""Removing what loads have left: the rows of the reserved symbols, tier by tier against the data path.

Only symbols that the profile reserves for loads are ever looked for. A symbol is found in a tier whatever sign that
tier puts between its parts (``A/B``, ``A-B``, ``AB``), since platforms spell symbols anew on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from ...core.errors import K2Error
from ...fault.journal import Journal
from ...platform.clickhouse import ClickHouseClient
from ...profile.model import ClickHouse, Profile, Store, Tier
from .leftover import end_left_loads
from .request import RequestError, section

# A mutation rewrites every part that holds such a row.
DELETE_TIMEOUT_S = 300.0
_TEXT_TYPES = ("String", "FixedString", "LowCardinality(String", "LowCardinality(FixedString")


@dataclass(frozen=True)
class Removal:
    """What became of one tier: rows found (None where nobody could look), rows removed (None where nobody tried), and
    why any of them stay.
    """

    tier: str
    table: str
    found: Optional[int]
    removed: Optional[int]
    why: Optional[str]


@dataclass(frozen=True)
class Cleanup:
    """Loads whose maker was killed and that are ended now, all tiers, last first, and what stays whatever is done."""

    ended: tuple[str, ...]
    tiers: tuple[Removal, ...]
    stays: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether a load was ended or a row removed or, where nobody tried, would be."""
        return bool(self.ended) or any(tier.found if tier.removed is None else tier.removed for tier in self.tiers)


def remove_loads(profile: Profile, state_dir: Path, *, only_look: bool) -> Cleanup:
    """End loads whose maker was killed, then remove every row of the reserved symbols that can be told apart.

    With ``only_look`` both are only counted. What cannot be looked at or removed is told in the result. A profile
    that reserves no symbols, or has no ClickHouse, has no such rows.

    :raises RequestError: the profile has no loads, or no user that may delete. :raises SimulatorError: a load that was
        left may still run. :raises JournalError: nobody can tell which loads were left.
    """
    load = section(profile)
    ended = end_left_loads(Journal(state_dir / profile.platform.name / "undo"), only_look=only_look)
    if not load.records or profile.clickhouse is None:
        return Cleanup(ended, (), ())
    if load.cleanup is None and not only_look:
        raise RequestError(
            "nobody may remove rows",
            expected="a user in k2_load.cleanup",
            seen="none",
            action="add one that may ALTER DELETE on the tables of k2_tiers",
        )
    symbols = {exchange: form.symbol for exchange, form in sorted(load.records.items())}
    reader = ClickHouseClient(profile.clickhouse)
    writer = None
    if load.cleanup is not None and not only_look:
        login: ClickHouse = replace(profile.clickhouse, username=load.cleanup.username, password=load.cleanup.password)
        writer = ClickHouseClient(login)
    tiers = tuple(_clean(tier, symbols, reader, writer) for tier in reversed(profile.tiers))
    topics = [profile.broker.topics[name].raw for name in symbols] if profile.broker else []
    return Cleanup(
        ended, tiers, tuple(f"topic {topic}: records stay until its retention removes them" for topic in topics)
    )


def _clean(
    tier: Tier, symbols: Mapping[str, str], reader: ClickHouseClient, writer: Optional[ClickHouseClient]
) -> Removal:
    blank = Removal(tier.name, tier.table, None, None, None)
    if tier.store is not Store.CLICKHOUSE:
        return replace(blank, why=f"no rows can be removed from a store of kind {tier.store.value}")
    try:
        columns = symbol_columns(tier, reader)
        if not columns:
            return replace(blank, why="no key or sequence column holds the symbol as a text: its rows age out")
        where, params = symbol_condition(tier, columns, symbols)
        found = _count(tier, where, params, reader)
        if writer is None or not found:
            return replace(blank, found=found, removed=None if writer is None else 0)
        try:
            # Synchronous: when it answers, the rows are gone from every replica.
            writer.execute(
                f"ALTER TABLE {tier.table} DELETE WHERE {where}", params, {"mutations_sync": 2}, DELETE_TIMEOUT_S
            )
        except K2Error as error:
            return replace(blank, found=found, removed=found - _count(tier, where, params, reader), why=str(error))
        left = _count(tier, where, params, reader)
        why = f"{left} rows have come since, or come back" if left else None
        return replace(blank, found=found, removed=max(0, found - left), why=why)
    except K2Error as error:
        return replace(blank, why=str(error))


def symbol_columns(tier: Tier, reader: ClickHouseClient) -> list[str]:
    """Columns that may hold a symbol: texts of the key or of a sequence, save the exchange and the place in a topic."""
    known = {*tier.offset_columns, tier.exchange_column}
    named = [name for name in dict.fromkeys((*tier.key_columns, *tier.sequence_columns)) if name not in known]
    if not named:
        return []
    described = reader.query(f"SELECT {', '.join(named)} FROM {tier.table} LIMIT 0").columns
    return [name for name, column in zip(named, described) if _is_text(column.type)]


def _is_text(kind: str) -> bool:
    inner = kind.removeprefix("Nullable(")
    return inner.startswith(_TEXT_TYPES)


def symbol_condition(tier: Tier, columns: Sequence[str], symbols: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Which rows are a load's, and the values to bind."""
    either: list[str] = []
    params: dict[str, str] = {}
    for number, (exchange, symbol) in enumerate(symbols.items()):
        if tier.exchange is not None and tier.exchange != exchange:
            continue
        params[f"symbol{number}"] = "".join(filter(str.isalnum, symbol))
        held = " OR ".join(
            f"replaceRegexpAll(toString({column}), '[^0-9A-Za-z]', '') = {{symbol{number}:String}}"
            for column in columns
        )
        if tier.exchange_column is not None:
            params[f"exchange{number}"] = exchange
            held = f"{tier.exchange_column} = {{exchange{number}:String}} AND ({held})"
        either.append(f"({held})")
    return " OR ".join(either) or "0", params


def _count(tier: Tier, where: str, params: Mapping[str, str], reader: ClickHouseClient) -> int:
    # Aggregated tiers may hold several rows of a key that are not merged yet: rows are what is removed, so they count.
    found = reader.query(f"SELECT count() FROM {tier.table} WHERE {where}", params).scalar()
    return int(str(found))
