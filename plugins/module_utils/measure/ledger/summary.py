# SPDX-License-Identifier: Apache-2.0
"""The verdict over everything that an audit found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Optional

from ...core.text import grouped
from ...platform.broker import watermark_of
from .drain import Drain
from .ranges import BrokerSide, Chosen
from .result import (
    Audit,
    Basis,
    CandleResult,
    Cost,
    RangeResult,
    TierResult,
    UpstreamResult,
    ValuesResult,
    Verdict,
    weakest,
    worst,
)

# Verdict, whom it is about (nobody in particular: empty), and why.
Finding = tuple[Verdict, str, str]


def in_flight(result: TierResult, drain: Drain, useless: bool) -> TierResult:
    """A comparison without offsets, with what is not known of it: what is missing may still be on its way."""
    notes = [result.reason]
    verdict = result.verdict
    if useless:
        notes.append("its offset column is the same in all rows")
    if verdict is Verdict.LOST and (drain.lag or not drain.known):
        verdict = Verdict.DUPLICATED if result.duplicated else Verdict.INCONCLUSIVE
        notes.append(f"{drain.lag} records not taken in yet" if drain.lag else "; ".join(drain.unknown))
    return replace(result, verdict=verdict, reason="; ".join(notes))


def upstream(expected: Mapping[str, int], topics: Mapping[str, str], broker: BrokerSide) -> tuple[UpstreamResult, ...]:
    """What sources sent beside what the broker has of it."""
    results = []
    for exchange, count in sorted(expected.items()):
        seen = broker.count(topics[exchange])
        results.append(UpstreamResult(exchange, count, seen, max(0, count - seen), max(0, seen - count)))
    return tuple(results)


def summarise(
    chosen: Chosen,
    broker: BrokerSide,
    drain: Drain,
    cost: Cost,
    sources: tuple[UpstreamResult, ...],
    tiers: tuple[TierResult, ...],
    values: Optional[ValuesResult],
    candles: tuple[CandleResult, ...],
) -> Audit:
    """The whole result."""
    records = broker.count()
    audited = [tier for tier in tiers if not tier.reason.startswith(NOT_HERE)]
    findings = _range_findings(chosen, broker, drain, records)
    findings += _upstream_findings(sources, chosen)
    findings += [(tier.verdict, _name(tier), tier.reason) for tier in audited]
    findings += [(Verdict.INCONCLUSIVE, "", "no tier was compared")] if not audited else []
    findings += [(values.verdict, "", values.reason)] if values is not None else []
    made = [candle for candle in candles if candle.copy_of is None]
    copies = [candle for candle in candles if candle.copy_of is not None]
    compared = any(candle.compared for candle in made)
    # A day's candle is hardly ever closed: it counts for nothing as long as others were compared.
    findings += [(c.verdict, c.tier, c.reason) for c in made if not (compared and c.windows and not c.compared)]
    findings += [(c.verdict, c.tier, c.reason) for c in copies if not c.reason.startswith(NOT_HERE)]
    verdict = worst(found for found, _, _ in findings)
    bases = [tier.basis for tier in audited if tier.basis is not None]
    basis = weakest(bases)
    if verdict is Verdict.EXACT:
        reason = f"{records} records, each once in {len(audited)} tiers"
    else:
        reason = grouped((whom, why) for found, whom, why in findings if found is verdict)
    notes = [f"{chosen.bounded} older offsets left out (max_records)"] if chosen.bounded else []
    later = [f"{_name(tier)}: {tier.not_due} not due yet" for tier in audited if tier.not_due]
    notes += [f"up to the watermark ({', '.join(later)})"] if later else []
    return Audit(
        basis,
        _why_basis(basis, audited),
        verdict,
        "; ".join([reason, *notes]),
        tuple(
            RangeResult(partition.topic, partition.number, extent.low, extent.high, len(broker.offsets[partition]))
            for partition, extent in sorted(broker.extents.items())
        ),
        watermark_of(broker.extents),
        sources,
        tiers,
        values,
        candles,
        cost,
    )


NOT_HERE = "not audited here"


def _range_findings(chosen: Chosen, broker: BrokerSide, drain: Drain, records: int) -> list[Finding]:
    findings: list[Finding] = []
    if not records:
        findings.append((Verdict.INCONCLUSIVE, "", "the range holds no record"))
    gone = chosen.expired + sum(
        extent.low - chosen.extents[partition].low for partition, extent in broker.extents.items()
    )
    if gone:
        findings.append((Verdict.INCONCLUSIVE, "", f"the broker no longer had {gone} offsets of the range"))
    if drain.lag:
        findings.append((Verdict.INCONCLUSIVE, "", f"consumers had {drain.lag} records of the range still to take in"))
    return findings


def _upstream_findings(sources: Sequence[UpstreamResult], chosen: Chosen) -> list[Finding]:
    findings: list[Finding] = []
    if sources and (chosen.bounded or chosen.expired):
        return [(Verdict.INCONCLUSIVE, "", "what was sent cannot be held against a part of the range")]
    for source in sources:
        if source.lost:
            text = f"{source.lost} of {source.expected} never in the broker"
            findings.append((Verdict.LOST, source.exchange, text))
        if source.surplus:
            text = f"{source.surplus} records more in the broker than the {source.expected} sent"
            findings.append((Verdict.DUPLICATED, source.exchange, text))
    return findings


def _name(tier: TierResult) -> str:
    return f"{tier.tier} ({tier.exchange})" if tier.exchange else tier.tier


def _why_basis(basis: Basis, tiers: Sequence[TierResult]) -> str:
    if basis is Basis.OFFSETS:
        return "every tier carries topic, partition and offset of its records"
    return grouped((_name(tier), tier.reason) for tier in tiers if tier.basis is basis) or "no tier could be read"
