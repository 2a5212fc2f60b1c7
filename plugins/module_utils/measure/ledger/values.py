# SPDX-License-Identifier: Apache-2.0
"""Whether neighbouring tiers say the same of the same record.

Every row is compared by a checksum per block of 4096 offsets; only where a block's checksums differ are its rows
joined and compared value by value, exactly, up to a limit. Rows that the lower tier marks as invalid are kept as they
came, so their values may rightly differ, and none is held against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...core.errors import K2Error
from .database import Database, nested, whole
from .expressions import Role, Table, not_null, shared_roles
from .held import Scope
from .offsets import BLOCK
from .result import SHOWN, ValueDifference, ValuesResult, Verdict, worst

# Blocks that one query joins: about a quarter of a million rows on each side.
_BLOCKS_AT_ONCE = 64


@dataclass(frozen=True)
class Pair:
    """A tier, the one that it is made of, and the records that both should have."""

    upper: Table
    lower: Table
    scopes: tuple[Scope, ...]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.upper.tier.name} and {self.lower.tier.name}"


@dataclass(frozen=True)
class _Block:
    partition: int
    number: int
    rows: int


@dataclass
class _Tally:
    by_checksum: int = 0
    joined: int = 0
    looked_at: int = 0
    not_compared: int = 0
    differing: int = 0
    first: list[ValueDifference] = field(default_factory=list)
    spelt_otherwise: set[str] = field(default_factory=set)


def compare_values(database: Database, pairs: Sequence[Pair], limit: int) -> ValuesResult:
    """Compare every pair; of each at most ``limit`` rows value by value."""
    results = [_compare_pair(database, pair, limit) for pair in pairs]
    if not results:
        reason = "no two neighbouring tiers with offsets both have a price, a size or the exchange's time"
        return ValuesResult(Verdict.INCONCLUSIVE, reason)
    return ValuesResult(
        worst(result.verdict for result in results),
        "; ".join(result.reason for result in results),
        sum(result.compared for result in results),
        sum(result.by_checksum for result in results),
        sum(result.not_compared for result in results),
        sum(result.differing for result in results),
        tuple(difference for result in results for difference in result.first)[:SHOWN],
    )


def comparable(upper: Table, lower: Table) -> bool:
    """Whether the two have values in common that must be alike."""
    return any(not role.spelling for role in shared_roles(upper, lower))


def _compare_pair(database: Database, pair: Pair, limit: int) -> ValuesResult:
    tally = _Tally()
    roles = shared_roles(pair.upper, pair.lower)
    error = ""
    try:
        for scope in pair.scopes:
            _compare_scope(database, pair, scope, roles, tally, limit)
    except K2Error as failed:
        error = str(failed)
    compared = tally.by_checksum + tally.joined
    names = ", ".join(role.name for role in roles if role.name not in tally.spelt_otherwise)
    notes = [f"{pair.name} compared by {names}"]
    if tally.spelt_otherwise:
        notes.append(f"{', '.join(sorted(tally.spelt_otherwise))} left out, which they never have alike")
    if tally.not_compared:
        notes.append(f"{tally.not_compared} rows of blocks that differ not looked at (sample_rows)")
    if error:
        notes.append(error)
    if tally.differing:
        verdict = Verdict.DIFFERENT
        notes.append(f"{tally.differing} records differ")
    elif error or tally.not_compared or not compared:
        verdict = Verdict.INCONCLUSIVE
        notes += [] if compared else ["no record is in both"]
    else:
        verdict = Verdict.EXACT
    return ValuesResult(
        verdict,
        ", ".join(notes),
        compared,
        tally.by_checksum,
        tally.not_compared,
        tally.differing,
        tuple(sorted(tally.first, key=lambda each: each.id))[:SHOWN],
    )


def _compare_scope(
    database: Database, pair: Pair, scope: Scope, roles: Sequence[Role], tally: _Tally, limit: int
) -> None:
    upper = _sums(database, pair.upper, scope, [role.upper for role in roles])
    lower = _sums(database, pair.lower, scope, [role.lower for role in roles])
    suspects = _suspects(upper, lower)
    if suspects:
        # A symbol that every record has in another spelling than the tier above would make every block differ.
        join = _Join(pair, scope, roles, suspects[:1])
        otherwise = join.never_alike(database)
        if otherwise:
            tally.spelt_otherwise |= otherwise
            roles = [role for role in roles if role.name not in otherwise]
            upper = _sums(database, pair.upper, scope, [role.upper for role in roles])
            lower = _sums(database, pair.lower, scope, [role.lower for role in roles])
            suspects = _suspects(upper, lower)
    tally.by_checksum += sum(rows for rows, _ in lower.values()) - sum(block.rows for block in suspects)
    chosen = []
    for block in suspects:
        if tally.looked_at + block.rows <= limit:
            tally.looked_at += block.rows
            chosen.append(block)
        else:
            tally.not_compared += block.rows
    for begin in range(0, len(chosen), _BLOCKS_AT_ONCE):
        join = _Join(pair, scope, roles, chosen[begin : begin + _BLOCKS_AT_ONCE])
        joined, differing = join.count(database)
        tally.joined += joined
        tally.differing += differing
        if differing and len(tally.first) < SHOWN:
            tally.first += join.examples(database)


def _sums(
    database: Database, table: Table, scope: Scope, columns: Sequence[str]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Rows and the sum of their hashes by (partition, block)."""
    _, partition, offset = table.tier.offset_columns
    hashed = ", ".join(not_null(column) for column in columns)
    rows = database.rows(
        f"SELECT toUInt32({partition}) AS k2_partition, intDiv(toUInt64({offset}), {BLOCK}) AS k2_block, count(), "
        f"sum(cityHash64(toUInt64({offset}), {hashed})) FROM {table.source.table} WHERE {scope.where(table.tier)} "
        "GROUP BY k2_partition, k2_block",
        scope.params,
    )
    return {(whole(number), whole(block)): (whole(count), whole(total)) for number, block, count, total in rows}


def _suspects(
    upper: dict[tuple[int, int], tuple[int, int]], lower: dict[tuple[int, int], tuple[int, int]]
) -> list[_Block]:
    """Blocks to look into, scattered so that those within a limit tell of all, and the same ones every time."""
    found = [_Block(*place, held[0]) for place, held in lower.items() if upper.get(place) != held]
    return sorted(found, key=lambda each: (each.number * 2_654_435_761 + each.partition * 40_503) % 2**32)


class _Join:
    """The rows of some blocks in both tiers, side by side."""

    def __init__(self, pair: Pair, scope: Scope, roles: Sequence[Role], blocks: Sequence[_Block]) -> None:
        self._pair, self._scope, self._roles = pair, scope, roles
        valid = pair.lower.tier.valid_column or "1"
        upper = self._side(pair.upper, [role.upper for role in roles], "u", blocks, "1")
        lower = self._side(pair.lower, [role.lower for role in roles], "l", blocks, valid)
        self._from = f"({upper}) AS k2_upper INNER JOIN ({lower}) AS k2_lower USING (k2_partition, k2_offset)"
        self._differs = " OR ".join(f"k2_u{index} != k2_l{index}" for index in range(len(roles)))

    def _side(self, table: Table, columns: Sequence[str], side: str, blocks: Sequence[_Block], valid: str) -> str:
        _, partition, offset = table.tier.offset_columns
        places = " OR ".join(
            f"({partition} = {b.partition} AND {offset} >= {b.number * BLOCK} AND {offset} < {(b.number + 1) * BLOCK})"
            for b in blocks
        )
        values = ", ".join(f"{not_null(column)} AS k2_{side}{index}" for index, column in enumerate(columns))
        return (
            f"SELECT toUInt32({partition}) AS k2_partition, toUInt64({offset}) AS k2_offset, {values} "
            f"FROM {table.source.table} WHERE {self._scope.where(table.tier)} AND ({places}) AND {valid}"
        )

    def count(self, database: Database) -> tuple[int, int]:
        """Pairs of rows, and how many of them differ."""
        sql = f"SELECT count(), countIf({self._differs}) FROM {self._from}"
        ((joined, differing),) = database.rows(sql, self._scope.params)
        return whole(joined), whole(differing)

    def never_alike(self, database: Database) -> set[str]:
        """The names of those texts that no pair of rows has alike."""
        spellings = [(index, role.name) for index, role in enumerate(self._roles) if role.spelling]
        if not spellings:
            return set()
        alike = ", ".join(f"countIf(k2_u{index} = k2_l{index})" for index, _ in spellings)
        (counts,) = database.rows(f"SELECT count(), {alike} FROM {self._from}", self._scope.params)
        if not whole(counts[0]):
            return set()
        return {name for (_, name), count in zip(spellings, counts[1:]) if not whole(count)}

    def examples(self, database: Database) -> list[ValueDifference]:
        """The first records that differ, value by value."""
        columns = ", ".join(f"k2_u{index}, k2_l{index}" for index in range(len(self._roles)))
        rows = database.rows(
            f"SELECT k2_partition, k2_offset, array({columns}) FROM {self._from} WHERE {self._differs} "
            f"ORDER BY k2_partition, k2_offset LIMIT {SHOWN}",
            self._scope.params,
        )
        found = []
        for partition, offset, values in rows:
            texts = [str(value) for value in nested(values)]
            for role, upper, lower in zip(self._roles, texts[::2], texts[1::2]):
                if upper != lower:
                    place = f"{self._scope.topic}/{partition}/{offset}"
                    names = (self._pair.lower.tier.name, self._pair.upper.tier.name)
                    found.append(ValueDifference(*names, place, role.name, upper, lower))
        return found
