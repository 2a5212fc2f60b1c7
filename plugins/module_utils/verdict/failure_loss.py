# SPDX-License-Identifier: Apache-2.0
"""What a fault cost in records: of what was sent while it lasted, what the broker, the tiers and the cold tier lack.

Nothing lost says something only where something was sent. What is lost above the broker is counted by exchange, against
what the load itself sent; an outage may cost the records that arrived while it lasted and no others. Below the broker
nothing may be lost, and nothing may be there twice anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ..measure.ledger.result import Verdict as LedgerVerdict
from ..measure.ledger.summary import NOT_HERE
from ..measure.load.result import LoadResult, merge_loads
from ..profile.failures import affected_exchanges
from ..profile.model import FailureMode, FaultAction, LossAllowed, Profile, RecoveryPoint, ServiceKind
from .failure_facts import MeasuredFault

SIMULATOR = "simulator"
_ABOVE_THE_BROKER = (ServiceKind.BROKER, ServiceKind.FEED_HANDLER, ServiceKind.SOURCE)


@dataclass(frozen=True)
class Ledger:
    """What an audit found. ``wrong`` is below the broker; ``unknown`` are the reasons why that is not all.

    ``lost`` counts by exchange what was sent and is not in the broker; None for an exchange that nobody compared.
    """

    records: int
    wrong: int
    surplus: int
    unknown: tuple[str, ...]
    told: str
    lost: Mapping[str, Optional[int]] = field(default_factory=dict)

    @property
    def lost_above(self) -> int:
        """All that never came to the broker, as far as somebody compared."""
        return sum(count or 0 for count in self.lost.values())


def loads_of(plain: Sequence[Mapping[str, Any]]) -> tuple[LoadResult, ...]:
    """The loads, in order of time; shares of one schedule made one.

    :raises K2Error: they are none, or not shares of one schedule.
    """
    shares: dict[tuple[int, str, int], list[LoadResult]] = {}
    for one in plain:
        load = LoadResult.from_plain(one)
        shares.setdefault((load.start_us, load.load, load.seed), []).append(load)
    return tuple(merge_loads(group) for _, group in sorted(shares.items()))


def read_ledger(audit: Mapping[str, Any], loads: Sequence[LoadResult]) -> Ledger:
    """An audit with what the loads say was sent; raises KeyError, TypeError or ValueError if it is none."""
    tiers = [tier for tier in audit["tiers"] if not str(tier["reason"]).startswith(NOT_HERE)]
    wrong, unknown = 0, []
    for tier in tiers:
        counts = [tier[key] for key in ("missing", "duplicated", "unexpected")]
        if tier.get("not_due") is not None:
            # A copy in the cold tier is looked at for what it lacks and holds twice; there is no third thing.
            counts = counts[:2]
        if LedgerVerdict(tier["verdict"]) is LedgerVerdict.INCONCLUSIVE or None in counts:
            unknown.append(f"{tier['tier']}: {tier['reason']}")
        else:
            wrong += sum(counts)
    if not tiers:
        unknown.append("no tier was compared")
    candles, values = audit["candles"], audit["values"]
    compared = any(candle["compared"] for candle in candles)
    for candle in candles:
        wrong += candle["missing"] + candle["differing"]
        # The candle of a day is hardly ever closed: it counts for nothing as long as others were compared.
        still_open = compared and candle["windows"] and not candle["compared"]
        if LedgerVerdict(candle["verdict"]) is LedgerVerdict.INCONCLUSIVE and not still_open:
            unknown.append(f"{candle['tier']}: {candle['reason']}")
    if values is not None:
        wrong += values["differing"]
        if LedgerVerdict(values["verdict"]) is LedgerVerdict.INCONCLUSIVE:
            unknown.append(str(values["reason"]))
    records = sum(part["records"] for part in audit["range"])
    unknown += [] if records else ["the range holds no record"]
    unknown += _not_covered(audit["range"], loads)
    lost, surplus = _above(audit["upstream"], loads)
    verdict = LedgerVerdict(audit["verdict"])
    if verdict is LedgerVerdict.INCONCLUSIVE:
        unknown.append(str(audit["reason"]))
    elif verdict is not LedgerVerdict.EXACT and not (wrong or surplus or any(lost.values())):
        # A ledger that is not exact without a count of what is wrong: at least one record is.
        wrong = 1
    return Ledger(records, wrong, surplus, tuple(dict.fromkeys(unknown)), str(audit["reason"]), lost)


def _not_covered(ranges: Sequence[Mapping[str, Any]], loads: Sequence[LoadResult]) -> list[str]:
    """Parts of the topics that the loads were written to and the audit did not look at."""
    starts = {(part["topic"], str(part["partition"])): part["start"] for part in ranges}
    missing = set()
    for load in loads:
        for topic, partitions in (load.watermark or {}).items():
            for partition, offset in partitions.items():
                start = starts.get((topic, str(partition)))
                if start is None or start > offset:
                    missing.add(topic)
    return [f"the audit left out the beginning of a load in {', '.join(sorted(missing))}"] if missing else []


def _above(upstream: Sequence[Mapping[str, Any]], loads: Sequence[LoadResult]) -> tuple[dict[str, Optional[int]], int]:
    """Lost on the way to the broker by exchange, and what the broker has in excess.

    The load's own count stands where it is the greater: what nobody listened to was sent all the same.
    """
    sent = sent_by_exchange(loads) if loads and all(load.source == SIMULATOR for load in loads) else {}
    lost: dict[str, Optional[int]] = dict.fromkeys(sent)
    for row in upstream:
        counts = [row["lost"], row["expected"] - row["seen"], sent.get(row["exchange"], 0) - row["seen"]]
        lost[row["exchange"]] = max(0, *counts)
    return lost, sum(max(0, row["surplus"]) for row in upstream)


def sent_by_exchange(loads: Sequence[LoadResult]) -> dict[str, int]:
    """Messages that were sent, by exchange, over all loads."""
    counts: dict[str, int] = {}
    for load in loads:
        for exchange, count in load.exchanges.items():
            counts[exchange] = counts.get(exchange, 0) + count.sent
    return counts


def why_no_load(loads: Sequence[LoadResult], faults: Sequence[MeasuredFault]) -> str:
    """Why nothing lost would mean nothing: no message, or not while a fault lasted; empty where there was a load."""
    if not loads or not any(load.sent for load in loads):
        return "no message was sent"
    for load in loads:
        if load.interrupted:
            return f"the load was interrupted: {load.interrupted}"
        if load.unsent:
            return f"{load.unsent} of {load.scheduled} scheduled messages were not sent"
        failed = sum(load.errors.values())
        if failed:
            return f"{failed} messages were refused: {', '.join(sorted(load.errors))}"
    for fault in faults:
        window = _window_us(fault)
        if window is None:
            return f"nobody knows when {fault.service} was away"
        low_us, high_us = window
        covering = [load for load in loads if load.start_us <= low_us and load.end_us >= high_us]
        if not covering:
            return f"no load ran all the while that {fault.service} was away"
        expected = sum(load.sent / load.seconds for load in covering) * (high_us - low_us) / 1e6
        if expected < 1:
            return f"no message was due in the {(high_us - low_us) / 1e6:.3g} s that {fault.service} was away"
    return ""


def _window_us(fault: MeasuredFault) -> Optional[tuple[float, float]]:
    """From the fault to its end, by the target's clock of day, which was read as the baseline began."""
    if fault.injected is None or fault.fault_end_s is None:
        return None
    return fault.started_us + fault.injected.low_s * 1e6, fault.started_us + fault.fault_end_s * 1e6


def why_not_compared(profile: Profile, mode: FailureMode, ledger: Ledger, loads: Sequence[LoadResult]) -> str:
    """Why records may be lost above the broker without anybody knowing; empty where that was looked at, or cannot be.

    A load that is written to the broker passes no handler. What was acknowledged can still be lost by the broker, and
    by it alone.
    """
    missing = sorted(name for name, count in ledger.lost.items() if count is None)
    if missing:
        return f"what was sent of {', '.join(missing)} was not compared with the broker"
    simulated = bool(loads) and all(load.source == SIMULATOR for load in loads)
    kinds = {profile.services[name].kind for name in mode.services}
    above = mode.action is FaultAction.CUT_SOURCE or bool(kinds & set(_ABOVE_THE_BROKER))
    if not ledger.lost and (simulated or above):
        return "nobody compared what was sent with what the broker has"
    return ""


@dataclass(frozen=True)
class Cold:
    """What the cold tier lacks or holds twice after its next run, over all faults."""

    wrong: tuple[str, ...]
    unknown: tuple[str, ...]


def cold_of(mode: FailureMode, faults: Sequence[MeasuredFault]) -> Cold:
    """Exactly once, of modes that recover with the next run.

    That a run committed some tables and not others is told and no loss: each is committed for itself. That nothing is
    missing up to the watermark, and nothing there twice, is what shows that no commit was partial.
    """
    wrong: list[str] = []
    unknown: list[str] = []
    if mode.recovery_at is not RecoveryPoint.NEXT_RUN:
        return Cold((), ())
    for fault in faults:
        if fault.cold is None:
            unknown.append(f"{fault.service}: nobody watched the cold tier")
            continue
        why = str(fault.cold.get("why") or "nothing else is known")
        for key, text in (("missing", "rows are missing in"), ("duplicates", "rows are twice in")):
            count = fault.cold.get(key)
            if count is None:
                unknown.append(f"rows of the cold tier were not compared: {why}")
            elif count:
                wrong.append(f"{count} {text} the cold tier")
        if fault.cold.get("differing"):
            wrong.append(f"{fault.cold['differing']} rows have other values in the cold tier")
        held = fault.cold.get("watermark_held")
        if held is None:
            unknown.append(f"nobody knows whether the watermark held: {why}")
        elif held is not True:
            wrong.append(f"the watermark did not hold: {why}")
    return Cold(tuple(dict.fromkeys(wrong)), tuple(dict.fromkeys(unknown)))


@dataclass(frozen=True)
class LostTime:
    """How long an exchange's records were lost, as they arrive at ``rate`` (95 % bounds where they arrive at random).

    ``faults`` is how often the exchange was hit, ``gap_s`` how long it was away at most, None where nobody knows.
    """

    exchange: str
    records: int
    rate: float
    measured_s: float
    low_s: float
    high_s: float
    faults: int
    gap_s: Optional[float]


def lost_time(
    profile: Profile,
    mode: FailureMode,
    ledger: Ledger,
    loads: Sequence[LoadResult],
    hit: Sequence[tuple[MeasuredFault, Optional[float]]],
) -> tuple[LostTime, ...]:
    """The outage in lost records of every exchange that ``mode`` may cost some.

    :arg hit: each fault with the time in which it was back at most, in seconds from its time zero; None if not known.
    """
    seconds = sum(load.seconds for load in loads)
    sent = sent_by_exchange(loads)
    found = []
    assert mode.loss is LossAllowed.OUTAGE
    names = dict.fromkeys(
        name for fault, _ in hit for name in affected_exchanges(profile, mode, profile.services[fault.service])
    )
    for name in names:
        own = [
            (fault, back_s)
            for fault, back_s in hit
            if name in affected_exchanges(profile, mode, profile.services[fault.service])
        ]
        count = ledger.lost.get(name) or 0
        rate = sent.get(name, 0) / seconds if seconds else 0.0
        if not rate:
            continue
        low, high = _arrivals(count, all(load.arrivals.value == "constant" for load in loads))
        gaps = [_gap(fault, back_s) for fault, back_s in own]
        gap_s = None if None in gaps else sum(gap for gap in gaps if gap is not None)
        found.append(LostTime(name, count, rate, count / rate, low / rate, high / rate, len(own), gap_s))
    return tuple(found)


def _gap(fault: MeasuredFault, back_s: Optional[float]) -> Optional[float]:
    if fault.injected is None or fault.zero_at is None or back_s is None:
        return None
    return fault.zero_at.high_s - fault.injected.low_s + back_s


def _arrivals(count: int, constant: bool) -> tuple[float, float]:
    """In how many mean gaps ``count`` records arrive: 95 % bounds of a Poisson process (Garwood, 1936)."""
    if constant:
        return max(0.0, count - 1.0), count + 1.0
    from scipy.stats import gamma

    low = float(gamma.ppf(0.025, count)) if count else 0.0
    return low, float(gamma.ppf(0.975, count + 1))
