# SPDX-License-Identifier: Apache-2.0
"""S3.<mode>.loss: what is lost fails; nothing lost passes where a load ran through the fault and all was looked at."""

from __future__ import annotations

from typing import Any

import failure_facts as given
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.result import Counts
from ansible_collections.k2.hardening.plugins.module_utils.verdict.failure import decide_failure
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Scale, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
SENT = given.RATE * given.LOAD_S


def restart(**changes: Any) -> dict[str, Any]:
    facts = {"mode": "log_restart", "failures": [given.fault("log_restart", "log")], "loads": [given.load()]}
    return facts | {"audit": given.audit()} | changes


def crash(lost: dict[str, int] | None = None, back_s: float = 2.0, **changes: Any) -> dict[str, Any]:
    faults = [given.fault("odds_crash", name, back_s) for name in ("odds-uk", "odds-ie")]
    lost = {"uk": 200, "ie": 190} if lost is None else lost
    facts = {"mode": "odds_crash", "failures": faults, "loads": [given.load()], "audit": given.audit(lost=lost)}
    return facts | changes


def archive(cold: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    fault = given.fault("archive_killed", "archiver", cold=cold)
    return {"mode": "archive_killed", "failures": [fault], "loads": [given.load()], "audit": given.audit()} | changes


def loss(facts: dict[str, Any]) -> GateResult:
    gates = {one.result.spec.id: one.result for one in decide_failure(given.PROFILE, facts, Scale.LAB)}
    return gates[f"S3.{facts['mode']}.loss"]


def upstream(**changes: Any) -> list[dict[str, Any]]:
    rows = given.audit()["upstream"]
    rows[0] |= changes
    return rows


def test_nothing_lost_through_a_load_passes() -> None:
    result = loss(restart())
    assert (result.verdict, result.measured, result.n) == (PASS, 0, 2 * SENT)


LATE_LOAD = given.load(start_us=given.STARTED_US + 10_500_000)
EARLY_END = given.load(start_us=given.STARTED_US + 1_000_000, seconds=10.0)
UNKNOWN_TIER = given.tier("INCONCLUSIVE", reason="consumers had 9 records to take in")
SILENT = given.load(counts={name: Counts(0, 0, 0, 0) for name in given.PROFILE.exchanges})
RARE = given.load(seconds=120.0, counts={"uk": Counts(12, 12, 0, 12), "ie": Counts(12, 12, 0, 12)})
RARE_AUDIT = given.audit(
    upstream=[{"exchange": name, "expected": 12, "seen": 12, "lost": 0, "surplus": 0} for name in ("uk", "ie")]
)
REPLAYED = given.load(source="replay")
CANDLE = {
    "tier": "c", "verdict": "DIFFERENT", "reason": "", "windows": 1, "compared": 1, "missing": 0, "differing": 1,
}  # fmt: skip

# Every way in which nothing lost may mean nothing.
MEANS_NOTHING: dict[str, tuple[dict[str, Any], str]] = {
    "no load": ({"loads": []}, "no message was sent"),
    "a silent load": ({"loads": [SILENT], "audit": given.audit(upstream=[])}, "no message was sent"),
    "a load that began during the fault": ({"loads": [LATE_LOAD]}, "no load ran all the while"),
    "a load that ended during the fault": ({"loads": [EARLY_END]}, "no load ran all the while"),
    "so few messages that none was due": ({"loads": [RARE], "audit": RARE_AUDIT}, "no message was due"),
    "an interrupted load": ({"loads": [given.load(interrupted="stopped")]}, "interrupted"),
    "messages not sent": ({"loads": [given.load(unsent=3)]}, "3 of"),
    "messages refused": ({"loads": [given.load(errors={"timed out": 2})]}, "2 messages were refused"),
    "no audit": ({"audit": None}, "not audited"),
    "an audit of no record": (
        {
            "audit": given.audit(
                range=[{"topic": n, "partition": 0, "start": 100, "end": 100, "records": 0} for n in ("uk.in", "ie.in")]
            )
        },
        "holds no record",
    ),
    "an audit of no tier": ({"audit": given.audit(tiers=[])}, "no tier was compared"),
    "tiers that were not audited here": (
        {"audit": given.audit(tiers=[given.tier("INCONCLUSIVE", reason="not audited here: S3", missing=None)])},
        "no tier was compared",
    ),
    "an undecided audit": ({"audit": given.audit("INCONCLUSIVE", reason="read half")}, "read half"),
    "an undecided tier": ({"audit": given.audit(tiers=[given.tier(), UNKNOWN_TIER])}, "9 records to take in"),
    "a tier without counts": ({"audit": given.audit(tiers=[given.tier(missing=None)])}, "slips"),
    "undecided values": (
        {"audit": given.audit(values={"verdict": "INCONCLUSIVE", "reason": "too many", "differing": 0})},
        "too many",
    ),
    "an audit that began too late": (
        {
            "audit": given.audit(
                range=[
                    {"topic": n, "partition": 0, "start": 101, "end": 900, "records": 799} for n in ("uk.in", "ie.in")
                ]
            )
        },
        "left out the beginning",
    ),
    "an audit of one topic": (
        {"audit": given.audit(range=[{"topic": "uk.in", "partition": 0, "start": 100, "end": 900, "records": 800}])},
        "left out the beginning of a load in ie.in",
    ),
    "nobody compared with what was sent": ({"audit": given.audit(upstream=[])}, "not compared with the broker"),
    "one exchange not compared": ({"audit": given.audit(upstream=upstream()[:1])}, "what was sent of uk"),
    "a load written to the broker that is broken": (
        {"loads": [REPLAYED], "audit": given.audit(upstream=[])},
        "nobody compared",
    ),
    "an unproven fault": (
        {"failures": [given.fault("log_restart", "log", proof={"proven": False, "what": "pid 41"})]},
        "no proof",
    ),
    "no fault": ({"failures": []}, "log: not broken in this run"),
    "nobody knows when it was broken": (
        {"failures": [given.fault("log_restart", "log", injected=None)]},
        "no proof",
    ),
    "nobody knows when it was back": (
        {"failures": [given.fault("log_restart", "log", t2_s=None, recovery=None, shorter_than_s=None)]},
        "nobody knows when log was away",
    ),
}


@pytest.mark.parametrize("what", MEANS_NOTHING)
def test_nothing_lost_that_means_nothing_is_inconclusive_and_says_why(what: str) -> None:
    changes, says = MEANS_NOTHING[what]
    result = loss(restart(**changes))
    assert result.verdict is INCONCLUSIVE, result
    assert says in result.reason


@pytest.mark.parametrize(
    "audit",
    [
        given.audit("LOST", tiers=[given.tier("LOST", missing=17)]),
        given.audit("DUPLICATED", tiers=[given.tier("DUPLICATED", duplicated=5)]),
        given.audit("DUPLICATED", tiers=[given.tier("DUPLICATED", unexpected=5)]),
        given.audit("DIFFERENT", values={"verdict": "DIFFERENT", "reason": "", "differing": 1}),
        given.audit("DIFFERENT", candles=[CANDLE]),
        given.audit(lost={"uk": 1}),
        given.audit("DUPLICATED", upstream=upstream(seen=SENT + 1, surplus=1)),
        # One lost and one doubled are equal counts, and two wrongs.
        given.audit("LOST", tiers=[given.tier("LOST", missing=1, duplicated=1)]),
        # Not exact, and nobody counted what is wrong.
        given.audit("LOST"),
    ],
)  # fmt: skip
def test_what_is_wrong_fails(audit: dict[str, Any]) -> None:
    result = loss(restart(audit=audit))
    assert result.verdict is FAIL
    assert result.measured is not None
    assert result.measured >= 1


def test_17_lost_below_the_broker_are_17() -> None:
    assert loss(restart(audit=given.audit("LOST", tiers=[given.tier("LOST", missing=17)]))).measured == 17


def test_what_is_lost_is_lost_even_if_the_fault_or_the_load_is_in_doubt() -> None:
    audit = given.audit("LOST", tiers=[given.tier("LOST", missing=17)])
    assert loss(restart(audit=audit, loads=[])).verdict is FAIL
    unproven = given.fault("log_restart", "log", proof={"proven": False, "what": ""})
    assert loss(restart(audit=audit, failures=[unproven])).verdict is FAIL


def test_what_nobody_listened_to_was_sent_all_the_same() -> None:
    """An audit that was told what was heard finds nothing lost; the load knows better."""
    heard = SENT - 40
    rows = upstream(expected=heard, seen=heard)
    deaf = given.load(counts={"ie": Counts(SENT, SENT, 0, heard), "uk": Counts(SENT, SENT, 0, SENT)})
    result = loss(restart(audit=given.audit(upstream=rows), loads=[deaf]))
    assert result.verdict is FAIL
    assert result.measured == 40


def test_the_candle_of_a_day_that_is_still_open_counts_for_nothing() -> None:
    candle = {"tier": "c", "reason": "", "windows": 2, "missing": 0, "differing": 0}
    candles = [
        candle | {"verdict": "EXACT", "compared": 2},
        candle | {"verdict": "INCONCLUSIVE", "compared": 0},
    ]
    assert loss(restart(audit=given.audit(candles=candles))).verdict is PASS
    assert loss(restart(audit=given.audit(candles=candles[1:]))).verdict is INCONCLUSIVE


def test_a_copy_in_the_cold_tier_counts_as_far_as_it_is_due() -> None:
    copy = {"tier": "archive", "unexpected": None, "not_due": 40}
    assert loss(restart(audit=given.audit(tiers=[given.tier(), given.tier(**copy)]))).verdict is PASS
    lacking = given.tier("LOST", missing=3, **copy)
    assert loss(restart(audit=given.audit("LOST", tiers=[given.tier(), lacking]))).verdict is FAIL
    unread = given.tier(**{**copy, "missing": None})
    assert loss(restart(audit=given.audit(tiers=[given.tier(), unread]))).verdict is INCONCLUSIVE


def test_a_load_below_the_handlers_says_enough_of_what_is_below_the_broker() -> None:
    fault = given.fault("store_cut", "store")
    facts = {"mode": "store_cut", "failures": [fault], "loads": [REPLAYED], "audit": given.audit(upstream=[])}
    assert loss(facts).verdict is PASS


# -- an outage may cost what arrived meanwhile, and no more ------------------------------------------------------------


def test_an_outage_costs_the_time_that_its_records_take_to_arrive() -> None:
    result = loss(crash())
    assert (result.verdict, result.measured) == (PASS, 2.0)
    assert result.low is not None
    assert result.high is not None
    assert result.low < 2.0 < result.high < 5


def test_an_outage_that_cost_nothing_passes() -> None:
    assert loss(crash({"uk": 0, "ie": 0})).verdict is PASS


def test_an_outage_that_cost_too_much_fails() -> None:
    result = loss(crash({"uk": 900, "ie": 10}, back_s=20.0))
    assert result.verdict is FAIL
    assert "900 records of uk" in result.reason


def test_an_outage_that_may_have_cost_too_much_is_inconclusive() -> None:
    assert loss(crash({"uk": 495, "ie": 10}, back_s=4.7)).verdict is INCONCLUSIVE


def test_records_lost_beyond_the_outage_itself_fail() -> None:
    result = loss(crash({"uk": 400, "ie": 10}, back_s=1.0))
    assert result.verdict is FAIL
    assert "more than the outage" in result.reason


def test_an_outage_may_cost_nothing_of_other_exchanges() -> None:
    only_uk = given.profile(uk_crash={**given.MODES["odds_crash"], "services": ["odds-uk"]}, odds_crash=None)
    fault = given.fault("odds_crash", "odds-uk") | {"mode": "uk_crash"}
    for lost, expected in (({"uk": 200}, PASS), ({"uk": 200, "ie": 1}, FAIL)):
        facts = {"mode": "uk_crash", "failures": [fault], "loads": [given.load()], "audit": given.audit(lost=lost)}
        gates = {one.result.spec.id: one.result for one in decide_failure(only_uk, facts, Scale.LAB)}
        assert gates["S3.uk_crash.loss"].verdict is expected


@pytest.mark.parametrize(
    "tier",
    [given.tier("LOST", missing=1), given.tier("DUPLICATED", duplicated=1)],
)
def test_an_outage_may_cost_nothing_below_the_broker(tier: dict[str, Any]) -> None:
    audit = given.audit(lost={"uk": 200, "ie": 190}, tiers=[tier])
    assert loss(crash(audit=audit)).verdict is FAIL


def test_an_outage_does_not_hide_a_tier_that_nobody_could_compare() -> None:
    audit = given.audit(lost={"uk": 200, "ie": 190}, tiers=[UNKNOWN_TIER])
    assert loss(crash(audit=audit)).verdict is INCONCLUSIVE


def test_doubled_records_hide_no_outage() -> None:
    rows = upstream(seen=SENT + 3, surplus=3)
    assert loss(crash(audit=given.audit("DUPLICATED", upstream=rows))).verdict is FAIL


def test_an_exchange_that_sent_nothing_says_nothing_of_its_outage() -> None:
    quiet = given.load(counts={"ie": Counts(0, 0, 0, 0), "uk": Counts(SENT, SENT, 0, SENT)})
    rows = upstream(expected=0, seen=0)
    result = loss(crash(loads=[quiet], audit=given.audit(upstream=rows)))
    assert result.verdict is INCONCLUSIVE
    assert "no message of ie was sent" in result.reason


def test_an_outage_of_unknown_length_is_inconclusive() -> None:
    faults = [given.fault("odds_crash", name, recovery=None, t2_s=None) for name in ("odds-uk", "odds-ie")]
    assert loss(crash(failures=faults)).verdict is INCONCLUSIVE


@settings(deadline=None, max_examples=60)
@for_all(st.integers(0, 3000), st.floats(0.5, 30.0))
def test_an_outage_passes_only_if_its_records_arrive_in_less_than_allowed(lost: int, back_s: float) -> None:
    result = loss(crash({"uk": lost, "ie": 0}, back_s=back_s))
    if result.verdict is PASS:
        assert lost / given.RATE < 5
    if result.verdict is FAIL:
        assert lost / given.RATE >= min(5, back_s)


# -- the cold tier -----------------------------------------------------------------------------------------------------


def test_a_cold_tier_that_has_every_row_once_passes() -> None:
    assert loss(archive(given.cold())).verdict is PASS


@pytest.mark.parametrize(
    ("cold", "says"),
    [
        (given.cold(missing=4), "4 rows are missing"),
        (given.cold(duplicates=2), "2 rows are twice"),
        (given.cold(watermark_held=False, why="moved back: slips"), "moved back: slips"),
    ],
)
def test_a_cold_tier_that_is_not_exactly_once_fails(cold: dict[str, Any], says: str) -> None:
    result = loss(archive(cold))
    assert result.verdict is FAIL
    assert says in result.reason


def test_a_row_with_another_value_in_the_cold_tier_fails() -> None:
    assert loss(archive(given.cold(differing=1))).verdict is FAIL
    assert loss(archive(given.cold(differing=None))).verdict is PASS


@pytest.mark.parametrize(
    "cold",
    [None, given.cold(missing=None), given.cold(duplicates=None), given.cold(watermark_held=None)],
)
def test_a_cold_tier_that_nobody_compared_is_inconclusive(cold: dict[str, Any] | None) -> None:
    assert loss(archive(cold)).verdict is INCONCLUSIVE


def test_a_run_that_committed_some_tables_and_lost_nothing_is_told_and_no_loss() -> None:
    assert loss(archive(given.cold(partial_commit=True))).verdict is PASS


def test_loads_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(K2Error, match="do not belong together"):
        loss(restart(loads=[given.load(), given.load()]))


def test_several_loads_in_turn_are_one_ground() -> None:
    first = given.load(seconds=60.0)
    second = given.load(seconds=60.0, start_us=given.STARTED_US + 70_000_000)
    assert loss(restart(loads=[second, first])).verdict is PASS
