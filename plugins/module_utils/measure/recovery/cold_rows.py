# SPDX-License-Identifier: Apache-2.0
"""The rows of the cold tier after a fault, over all its tables: how many are missing, how many are there too often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

from ...core.text import grouped
from ...platform.clickhouse import ClickHouseClient
from ...platform.iceberg import limits
from ...profile.model import Profile
from ..ledger.cold import ColdLedger, ColdResult, cold_tiers
from ..ledger.database import Database
from .cold_marks import Marks

# A run moves what was written since the watermark, and what it had to leave: some more than one run is compared.
LOOK_BACK_S = 600.0
_QUERY_TIMEOUT_S = 60.0
_MAX_ROWS = 200_000_000


@dataclass(frozen=True)
class RowCounts:
    """What comparing the rows of the cold tier with the hot one came to, over all tables.

    Counts are None where not everything could be compared and nothing wrong was found; ``tables`` is the detail.
    """

    missing: Optional[int]
    duplicates: Optional[int]
    why: str
    differing: Optional[int] = None
    tables: tuple[Mapping[str, Any], ...] = ()


def comparable(profile: Profile) -> bool:
    """Whether the profile says where the cold tables are."""
    return bool(cold_tiers(profile)) and profile.object_store is not None and profile.clickhouse is not None


def compare_rows(profile: Profile, before: Marks, after: Marks) -> RowCounts:
    """Compare what was written since ``before``, up to ``after`` (watermarks in seconds since the epoch by name).

    Raises K2Error where ClickHouse cannot be asked.
    """
    assert profile.clickhouse is not None
    client = ClickHouseClient(profile.clickhouse)
    database = Database(client, _QUERY_TIMEOUT_S, _MAX_ROWS, limits(client))
    known = [at for at in before.values() if at is not None]
    since_us = round((min(known) - LOOK_BACK_S) * 1e6) if len(known) == len(before) and known else None
    return counted(ColdLedger(profile, database).compare(after, since_us))


def counted(results: Sequence[ColdResult]) -> RowCounts:
    """Added up. What is proven wrong in one table is wrong, whatever is not known of another."""
    wrong = [(each.tier, each.why) for each in results if each.missing or each.duplicated or each.differing]
    unknown = [(each.tier, each.why) for each in results if each.missing is None or each.duplicated is None]
    notes = [*wrong, *(each for each in unknown if each not in wrong)]
    return RowCounts(
        _sum([each.missing for each in results]),
        _sum([each.duplicated for each in results]),
        f"rows: {grouped(notes)}" if notes else "",
        _sum([each.differing for each in results if each.differing is not None]),
        tuple({**asdict(each), "basis": each.basis.value if each.basis else None} for each in results),
    )


def _sum(counts: Sequence[Optional[int]]) -> Optional[int]:
    known = sum(count for count in counts if count is not None)
    return known if known or (counts and None not in counts) else None
