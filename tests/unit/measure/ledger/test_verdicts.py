# SPDX-License-Identifier: Apache-2.0
"""How findings become verdicts: of one tier, and over everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.audit import expected_counts
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.database import Source
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.drain import Drain
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.expressions import Table
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.held import Held
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.offsets import OffsetSet
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.ranges import BrokerSide, Chosen
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.result import (
    Basis,
    CandleResult,
    Cost,
    TierResult,
    UpstreamResult,
    ValuesResult,
    Verdict,
    weakest,
    worst,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.summary import in_flight, summarise
from ansible_collections.k2.hardening.plugins.module_utils.measure.ledger.tiers import Sight, judge
from ansible_collections.k2.hardening.plugins.module_utils.platform.broker import Extent, Partition
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Store, Tier

P = Partition("a", 0)
TIER = Tier(
    "clean", Store.CLICKHOUSE, "clean", None, None, (), (), ("t", "p", "o"), {}, None, None, None, None, None, {}, None
)  # fmt: skip
GOOD = TierResult("clean", "clean", None, Basis.OFFSETS, Verdict.EXACT, "every record once")
COST = Cost(0, 0, 0, 0.0, 0, 0.0)
EXACT = ValuesResult(Verdict.EXACT, "alike", 3, 3)


class NoDatabase:
    """Ids of doubled rows are asked for; there are none to be had."""

    def rows(self, sql: str, params: object = None) -> tuple[()]:
        return ()


class Topics:
    def __init__(self, compacted: bool | None) -> None:
        self._compacted = compacted

    def is_compacted(self, topic: str) -> bool:
        if self._compacted is None:
            raise K2Error("not for you")
        return self._compacted


def sight(expected: set[int], held: set[int], rows: int, moving: bool = False) -> Sight:
    table = Table(TIER, Source("clean", {}))
    return Sight(table, Held({P: OffsetSet(held)}, rows), {P: OffsetSet(expected)}, (), moving=moving)


def verdict(seen: Sight, *above: Sight, lag: int = 0, compacted: bool | None = False) -> TierResult:
    database: Any = NoDatabase()
    reader: Any = Topics(compacted)
    return judge(database, reader, seen, above, lag)


@pytest.mark.parametrize(
    ("expected", "held", "rows", "wanted"),
    [
        ({1, 2, 3}, {1, 2, 3}, 3, Verdict.EXACT),
        ({1, 2, 3}, {1, 3}, 2, Verdict.LOST),
        ({1, 2, 3}, {1, 2, 3}, 4, Verdict.DUPLICATED),
        ({1, 2, 3}, {1, 3}, 3, Verdict.LOST),
        ({1, 2, 3}, {1, 2, 3, 9}, 4, Verdict.DIFFERENT),
        (set(), set(), 0, Verdict.INCONCLUSIVE),
    ],
)
def test_one_tier(expected: set[int], held: set[int], rows: int, wanted: Verdict) -> None:
    assert verdict(sight(expected, held, rows)).verdict is wanted


def test_what_the_tier_before_lacks_was_not_lost_here() -> None:
    found = verdict(sight({1, 2, 3, 4}, {1}, 1), sight({1, 2, 3, 4}, {1, 2, 3}, 3))
    assert (found.missing, found.lost_here) == (3, 2)
    assert found.first_missing == ("a/0/2", "a/0/3", "a/0/4")
    assert found.reason == "3 missing, 1 of them before"


def test_what_compaction_took_from_the_broker_is_nobodys_fault() -> None:
    seen = sight({1, 3}, {1, 2, 3}, 3)
    assert verdict(seen, compacted=True).verdict is Verdict.EXACT
    assert verdict(seen, compacted=False).first_unexpected == ("a/0/2",)
    assert verdict(seen, compacted=None).verdict is Verdict.DIFFERENT


def test_what_may_be_on_its_way_is_not_lost_but_a_doubled_row_stays_one() -> None:
    assert verdict(sight({1, 2}, {1}, 1), lag=1).verdict is Verdict.INCONCLUSIVE
    assert verdict(sight({1, 2}, {1}, 1, moving=True)).verdict is Verdict.INCONCLUSIVE
    assert verdict(sight({1, 2}, {1}, 2), lag=1).verdict is Verdict.DUPLICATED


def whole(**parts: Any) -> Any:
    broker = BrokerSide({P: Extent(0, 3)}, {P: OffsetSet({0, 1, 2})}, {}, {}, 3, 0.1)
    defaults: dict[str, Any] = {
        "chosen": Chosen(broker.extents),
        "broker": broker,
        "drain": Drain(0),
        "cost": COST,
        "sources": (),
        "tiers": (GOOD,),
        "values": EXACT,
        "candles": (),
    }
    return summarise(**{**defaults, **parts})


def candle(verdict: Verdict, windows: int, compared: int) -> CandleResult:
    return CandleResult("bar", "bars", verdict, "so", windows, compared, windows - compared)


OPEN = candle(Verdict.INCONCLUSIVE, 3, 0)


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ({}, Verdict.EXACT),
        ({"tiers": ()}, Verdict.INCONCLUSIVE),
        ({"tiers": (GOOD, replace(GOOD, basis=None, verdict=Verdict.INCONCLUSIVE))}, Verdict.INCONCLUSIVE),
        ({"tiers": (GOOD, replace(GOOD, reason="not audited here: x", verdict=Verdict.INCONCLUSIVE))}, Verdict.EXACT),
        ({"values": replace(EXACT, verdict=Verdict.DIFFERENT)}, Verdict.DIFFERENT),
        ({"values": None}, Verdict.EXACT),
        ({"drain": Drain(2)}, Verdict.INCONCLUSIVE),
        ({"chosen": Chosen({P: Extent(0, 3)}, expired=2)}, Verdict.INCONCLUSIVE),
        ({"chosen": Chosen({P: Extent(0, 3)}, bounded=2)}, Verdict.EXACT),
        ({"sources": (UpstreamResult("x", 5, 3, 2, 0),)}, Verdict.LOST),
        ({"sources": (UpstreamResult("x", 1, 3, 0, 2),)}, Verdict.DUPLICATED),
        (
            {"sources": (UpstreamResult("x", 5, 3, 2, 0),), "chosen": Chosen({P: Extent(0, 3)}, bounded=2)},
            Verdict.INCONCLUSIVE,
        ),
        ({"candles": (OPEN,)}, Verdict.INCONCLUSIVE),
        ({"candles": (OPEN, candle(Verdict.EXACT, 2, 2))}, Verdict.EXACT),
        ({"candles": (candle(Verdict.INCONCLUSIVE, 0, 0), candle(Verdict.EXACT, 2, 2))}, Verdict.INCONCLUSIVE),
        ({"candles": (candle(Verdict.DUPLICATED, 2, 2),), "drain": Drain(1)}, Verdict.DUPLICATED),
    ],
)
def test_everything(parts: dict[str, Any], wanted: Verdict) -> None:
    found = whole(**parts)
    assert found.verdict is wanted, found.reason
    assert found.reason


def test_tiers_that_share_a_reason_are_named_together() -> None:
    others = [replace(OPEN, tier=name) for name in ("bar_1m", "bar_5m")]
    unread = replace(GOOD, verdict=Verdict.INCONCLUSIVE, reason="no rights")
    found = whole(candles=tuple(others), tiers=(unread, replace(unread, exchange="x")), drain=Drain(2))
    assert found.reason == (
        "consumers had 2 records of the range still to take in; clean, clean (x): no rights; bar_1m, bar_5m: so"
    )


def test_the_watermark_is_the_end_of_the_range() -> None:
    assert whole().watermark == {"a": {"0": 3}}


def test_the_worse_comes_first_and_nothing_is_not_good() -> None:
    assert worst([Verdict.EXACT, Verdict.INCONCLUSIVE, Verdict.DIFFERENT]) is Verdict.DIFFERENT
    assert worst([Verdict.DUPLICATED, Verdict.LOST]) is Verdict.LOST
    assert worst([]) is Verdict.INCONCLUSIVE
    assert weakest([Basis.OFFSETS, Basis.MULTISETS, Basis.KEYS]) is Basis.MULTISETS


def test_without_offsets_what_is_missing_may_be_on_its_way() -> None:
    lost = replace(GOOD, basis=Basis.MULTISETS, verdict=Verdict.LOST, missing=2, duplicated=0)
    assert in_flight(lost, Drain(0), useless=False).verdict is Verdict.LOST
    assert in_flight(lost, Drain(4), useless=False).verdict is Verdict.INCONCLUSIVE
    assert in_flight(lost, Drain(0, ("nobody tells",)), useless=False).verdict is Verdict.INCONCLUSIVE
    assert in_flight(replace(lost, duplicated=1), Drain(4), useless=False).verdict is Verdict.DUPLICATED


@pytest.mark.parametrize("count", [-1, "many", True, None, 1.5])
def test_expected_counts_are_counts(count: object) -> None:
    with pytest.raises(K2Error, match="expected cannot be read"):
        expected_counts({"north": count})
    assert expected_counts({"north": "12", "south": 3}) == {"north": 12, "south": 3}
