# SPDX-License-Identifier: Apache-2.0
"""How the gates of step S1 are decided at one load, from what load, latency and audit brought back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from ..core.errors import K2Error
from ..measure.latency.model import Cell, Latency
from ..measure.latency.plain import read_latency
from ..measure.ledger.result import Verdict as LedgerVerdict
from ..measure.load.result import Counts, LoadResult, merge_loads
from ..profile.model import Profile
from ..verdict.baseline import Baseline, compare
from ..verdict.quantiles import QuantileBounds, Sample, bound_quantile, needed_for_upper_bound
from . import catalogue
from .gate import Decided, GateResult, GateSpec, Scale, Verdict, decide

# A generator whose sends are later than this share of the target measures itself.
LATENESS_SHARE = 0.1
# A latency that is certain to have grown by this share of the target during the load is that of a platform that does
# not keep up: its p99 depends on how long the load lasts.
GROWTH_SHARE = 0.1
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

_LATENCY_MECHANISM = (
    "from {start} to {end}; order statistics taken inside ClickHouse, {n} trades in {blocks} insert blocks worth "
    "{effective:.0f} independent ones; bounds by the sign test at 95 %"
)


@dataclass(frozen=True)
class LoadFacts:
    """What was brought back of one load. ``load`` is None where nothing was sent and natural traffic was measured.

    ``audit`` is the plain result of ``k2_tier_audit`` over the load, where there was one.
    """

    name: str
    target_ms: float
    rate: float
    load: Optional[LoadResult]
    latency: Latency
    audit: Optional[Mapping[str, Any]]

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.latency.window.end_us - self.latency.window.start_us) / 1e6

    @property
    def natural_rate(self) -> float:
        """Messages per second that entered during the window, whoever sent them."""
        return self.latency.rows_in_window / self.seconds if self.seconds else 0.0

    @property
    def missing(self) -> int:
        """Trades that had a listener and are in no row: as slow as one likes."""
        if self.load is None:
            return 0
        heard = [counts.sent if counts.heard is None else counts.heard for counts in self.load.exchanges.values()]
        return max(0, sum(heard) - self.latency.rows_in_window)


def decide_latency(
    profile: Profile, facts: Mapping[str, Any], scale: Scale, baseline: Optional[Baseline] = None
) -> list[Decided]:
    """All gates of step S1 at the load ``facts["load"]``.

    ``facts["skipped"]`` is the reason where the load was not brought about, ``facts["failed"]`` where that or the
    measurement went wrong. Otherwise ``facts["loads"]`` holds the
    results of ``k2_load`` by host (empty: natural traffic), ``facts["latency"]`` that of ``k2_latency`` and
    ``facts["audit"]`` that of ``k2_tier_audit``, which only the highest load has. Raises K2Error when these are
    something else.
    """
    assert profile.load is not None
    try:
        name = str(facts["load"])
        specs = catalogue.load_gates(profile, name)
        for key, verdict in (("skipped", Verdict.NOT_RUN), ("failed", Verdict.INCONCLUSIVE)):
            if facts.get(key):
                return [
                    Decided(GateResult(spec, verdict, str(facts[key]), scale), {}, "not measured") for spec in specs
                ]
        shares = [LoadResult.from_plain(share) for share in facts["loads"]]
        seen = LoadFacts(
            name,
            profile.load.targets[name],
            profile.load.rates[name],
            merge_loads(shares) if shares else None,
            read_latency(facts["latency"]),
            facts.get("audit"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise K2Error(
            "cannot decide step S1",
            expected="facts.load with facts.loads from k2_load and facts.latency from k2_latency",
            seen=f"{type(error).__name__}: {error}",
        ) from error
    cells = {(cell.kind, cell.name): cell for cell in seen.latency.cells}
    trouble = why_not_this_load(seen)
    decided = [
        _quantile_gate(spec, cells.get(_cell_of(profile, spec)), seen, trouble, scale, baseline)
        for spec in specs
        if spec.id.endswith(".p99") or ".segment_" in spec.id
    ]
    decided.append(decide_delivered(seen, scale))
    if name == profile.load.by_rate[-1]:
        decided.append(decide_no_loss(seen, trouble, scale))
    if name in profile.load.stretch:
        slowest = max(
            (cell for cell in seen.latency.cells if cell.kind == "exchange"), key=_p99, default=Cell("exchange", "")
        )
        total = catalogue.total_gate(name, profile.load.stretch[name])
        decided.append(_quantile_gate(total, slowest, seen, trouble, scale, None))
    return decided


def why_not_this_load(seen: LoadFacts) -> str:
    """Why nothing measured under this load says anything about it; empty when it does."""
    limit_ms = LATENESS_SHARE * seen.target_ms
    load = seen.load
    if load is None:
        if seen.natural_rate >= seen.rate:
            return ""
        return (
            f"nothing was sent, and natural traffic was {seen.natural_rate:.4g} msg/s where this load is "
            f"{seen.rate:g} msg/s: choose a source with k2_load_source"
        )
    reasons = [load.interrupted] if load.interrupted else []
    if load.unsent or not load.scheduled:
        reasons.append(f"{load.unsent} of {load.scheduled} scheduled messages were not sent")
    failed = sum(load.errors.values())
    if failed:
        reasons.append(f"{failed} messages were refused: {', '.join(sorted(load.errors))}")
    deaf = [f"{count} of {name}" for name, counts in load.exchanges.items() if (count := _unheard(counts))]
    if deaf:
        reasons.append(f"sent to nobody, since no feed handler was connected: {', '.join(deaf)}")
    lateness = load.lateness.quantile(0.99)
    if lateness is not None and lateness > limit_ms:
        share = f"{LATENESS_SHARE:.0%} of the target"
        reasons.append(f"the generator sent late: p99 {lateness:.1f} ms, at most {limit_ms:g} ms ({share})")
    return "the load was not what it should be: " + "; ".join(reasons) if reasons else ""


def decide_delivered(seen: LoadFacts, scale: Scale) -> Decided:
    """S1.<load>.delivered: everything that was scheduled was sent, in time, and had a listener; else INCONCLUSIVE.

    A generator that is short of its schedule is no fault of the platform's, and no ground for any verdict about it.
    """
    spec = catalogue.delivered_gate(seen.name)
    load = seen.load
    if load is None:
        share, n = min(100.0, 100 * seen.natural_rate / seen.rate), seen.latency.rows_in_window
    else:
        share, n = 100 * load.sent / load.scheduled if load.scheduled else 0.0, load.scheduled
    trouble = why_not_this_load(seen)
    if trouble or not n:
        reason = trouble or "nothing was scheduled"
        result = GateResult(spec, Verdict.INCONCLUSIVE, reason, scale, share, n=n)
    else:
        result = decide(spec, scale, share, n, "")
    return Decided(
        result,
        {"load": None if load is None else load_summary(load), "natural_rate": seen.natural_rate},
        "messages sent against the schedule's own count, lateness of each send against its scheduled time",
    )


def decide_no_loss(seen: LoadFacts, trouble: str, scale: Scale) -> Decided:
    """S1.<highest load>.no_loss: broker, tiers and candles hold every record of the load once.

    A loss is one whatever the load was; that nothing was lost says something only about a load that was delivered.
    """
    spec = catalogue.no_loss_gate(seen.name)
    audit = seen.audit
    mechanism = "ledger of every record between the broker's offsets before and after the load"
    if audit is None:
        return Decided(GateResult(spec, Verdict.INCONCLUSIVE, "the load was not audited", scale), {}, "not measured")
    records = sum(part["records"] for part in audit["range"])
    upstream = sum(part["lost"] for part in audit["upstream"])
    wrong = _wrong_records(audit) + upstream
    verdict = LedgerVerdict(audit["verdict"])
    reason = str(audit["reason"])
    if verdict in (LedgerVerdict.LOST, LedgerVerdict.DUPLICATED, LedgerVerdict.DIFFERENT) or upstream:
        result = GateResult(spec, Verdict.FAIL, reason or f"{wrong} records differ", scale, wrong, n=records)
    elif verdict is LedgerVerdict.INCONCLUSIVE or not records:
        result = GateResult(spec, Verdict.INCONCLUSIVE, reason or "no record was compared", scale, wrong, n=records)
    elif trouble:
        result = GateResult(spec, Verdict.INCONCLUSIVE, trouble, scale, wrong, n=records)
    else:
        result = decide(spec, scale, wrong, records, "")
    return Decided(result, {"audit": dict(audit)}, mechanism)


def _wrong_records(audit: Mapping[str, Any]) -> int:
    """Records or candles that are lost, doubled, unexpected or different, each tier for itself."""
    tiers = sum(tier[key] or 0 for tier in audit["tiers"] for key in ("missing", "duplicated", "unexpected"))
    candles = sum(candle[key] for candle in audit["candles"] for key in ("missing", "differing"))
    return int(tiers + candles + (audit["values"]["differing"] if audit["values"] else 0))


def load_summary(load: LoadResult) -> dict[str, Any]:
    """A load for evidence: sketches as their quantiles beside the mergeable form."""
    plain = load.to_plain()
    for name, sketch in (("lateness", load.lateness), ("ack", load.ack)):
        plain[f"{name}_ms"] = sketch and {level: sketch.quantile(share) for level, share in QUANTILES.items()}
    return plain


def sample_of(cell: Cell, missing: int) -> Sample:
    """A cell as a sample; trades without a known commit, and those that are missing, count as slow."""
    quantiles = cell.quantiles
    assert quantiles is not None
    above = {
        level: [(n, hits[place]) for _, n, hits in cell.exceeding]
        for place, level in enumerate(cell.exceeding_levels)
        if cell.exceeding
    }
    return Sample(
        cell.n,
        cell.sum_squares,
        quantiles.levels,
        quantiles.low_ms,
        quantiles.high_ms,
        above,
        cell.unattributed + missing,
    )


def _quantile_gate(
    spec: GateSpec,
    cell: Optional[Cell],
    seen: LoadFacts,
    trouble: str,
    scale: Scale,
    baseline: Optional[Baseline],
) -> Decided:
    latency = seen.latency
    context: dict[str, Any] = {
        "start": asdict(latency.start),
        "end": asdict(latency.end),
        "window": asdict(latency.window),
        "measured": asdict(latency.measured),
        "warm_up": asdict(latency.warm_up),
        "refused": [asdict(refusal) for refusal in latency.refused],
        "cost": asdict(latency.cost),
        "missing": seen.missing,
        "bottleneck": bottleneck(latency.cells),
    }
    if cell is None or cell.quantiles is None or not cell.n:
        why = (cell.why if cell else None) or "no trade was seen"
        detail = context | {"cell": asdict(cell) if cell else None}
        return Decided(GateResult(spec, Verdict.INCONCLUSIVE, why, scale, n=0), detail, "not measured")
    if not cell.sum_squares:
        return _histogram_gate(spec, cell, seen, scale, context)
    # What a segment misses is another segment's; the whole path has to answer for all that entered it.
    sample = sample_of(cell, seen.missing if cell.kind != "segment" else 0)
    bounds = {name: bound_quantile(sample, level) for name, level in QUANTILES.items()}
    p99 = bounds["p99"]
    reasons = (
        trouble,
        cell.why or "",
        "" if latency.start.gated or cell.kind == "segment" else latency.start.why,
        why_unsteady(cell, seen.target_ms),
    )
    why_not = next((reason for reason in reasons if reason), "")
    detail = context | {
        "cell": asdict(cell),
        "quantiles": {name: asdict(bound) for name, bound in bounds.items()},
        "baseline": asdict(compare(baseline, spec.id, sample, p99)) if baseline else None,
    }
    mechanism = _LATENCY_MECHANISM.format(
        start=f"{latency.start.moment} ({latency.start.tier}.{latency.start.column})",
        end=f"the commit of its candle, by {latency.end.source}",
        n=cell.n,
        blocks=cell.blocks,
        effective=p99.n_effective,
    )
    return Decided(_p99_result(spec, p99, cell, why_not, scale), detail, mechanism)


def why_unsteady(cell: Cell, target_ms: float) -> str:
    """Whether the latency grew during the load, so that its p99 is no property of the platform; empty when it did not.

    Theil-Sen slope of each second's median with its 95 % bounds (P. K. Sen, 1968): a few slow seconds do not move it.
    """
    from scipy.stats import theilslopes

    if len(cell.series) < 10:
        return ""
    seconds = [row[0] for row in cell.series]
    slope = theilslopes([row[2] for row in cell.series], seconds, alpha=0.95)
    span_s = seconds[-1] - seconds[0]
    if slope.low_slope * span_s <= GROWTH_SHARE * target_ms:
        return ""
    return (
        f"the platform does not keep up: its median latency grew by {slope.slope * span_s:.0f} ms in {span_s} s "
        f"(at least {slope.low_slope * span_s:.0f} ms), so its p99 depends on how long the load lasts"
    )


def _histogram_gate(spec: GateSpec, cell: Cell, seen: LoadFacts, scale: Scale, context: Mapping[str, Any]) -> Decided:
    """A segment told by a histogram: between bounds of buckets, and no verdict.

    Nothing tells which of its values belong together, so nobody knows how many independent ones they are worth.
    """
    assert cell.quantiles is not None
    place = cell.quantiles.levels.index(QUANTILES["p99"])
    low, high = cell.quantiles.low_ms[place], cell.quantiles.high_ms[place]
    reason = (
        f"p99 lies between {low:g} and {high:g} ms by a histogram that the services keep, which does not tell how its "
        "values depend on each other: no bounds for other times follow from it"
    )
    quantiles = {
        name: asdict(QuantileBounds(level, _at(cell.quantiles.high_ms, level, cell), None, None, 0.0))
        for name, level in QUANTILES.items()
    }
    result = GateResult(spec, Verdict.INCONCLUSIVE, reason, scale, high, low, high, cell.n)
    detail = dict(context) | {"cell": asdict(cell), "quantiles": quantiles, "baseline": None}
    return Decided(result, detail, f"difference of two scrapes of a histogram around the load {seen.name}")


def _at(values: Sequence[float], level: float, cell: Cell) -> float:
    assert cell.quantiles is not None
    return values[cell.quantiles.levels.index(level)]


def _p99_result(spec: GateSpec, p99: QuantileBounds, cell: Cell, why_not: str, scale: Scale) -> GateResult:
    told = GateResult(spec, Verdict.INCONCLUSIVE, why_not or "-", scale, p99.estimate, p99.low, p99.high, cell.n)
    assert spec.target is not None
    if why_not or p99.estimate is None:
        return told if why_not else replace(told, reason="more than one trade in a hundred has no known commit")
    if p99.high is not None:
        low = min(p99.estimate, cell.min_ms or 0.0) if p99.low is None else p99.low
        result = decide(spec, scale, p99.estimate, cell.n, "", low, p99.high)
        return replace(result, low=p99.low)
    if p99.low is not None and not spec.op.holds(p99.low, spec.target):
        reason = f"p99 is at least {p99.low:.4g} ms, expected {spec.op} {spec.target:g} ms"
        return replace(told, verdict=Verdict.FAIL, reason=reason)
    needed = needed_for_upper_bound(QUANTILES["p99"])
    if p99.n_effective < needed:
        reason = (
            f"{cell.n} trades in {cell.blocks} insert blocks are worth {p99.n_effective:.0f} independent ones; "
            f"an upper bound of a p99 needs {needed}: measure for longer"
        )
    else:
        reason = "too many trades have no known commit to bound the p99 from above"
    return replace(told, reason=reason)


def bottleneck(cells: Sequence[Cell]) -> Optional[str]:
    """The segment with the greatest p99 among those that could be measured."""
    segments = [cell for cell in cells if cell.kind == "segment" and cell.quantiles is not None]
    return max(segments, key=_p99).name if segments else None


def _p99(cell: Cell) -> float:
    if cell.quantiles is None:
        return -1.0
    return cell.quantiles.high_ms[cell.quantiles.levels.index(0.99)]


def _cell_of(profile: Profile, spec: GateSpec) -> tuple[str, str]:
    """Kind and name of the cell that a gate is about. Candle cells are called as their tier is."""
    _, _, rest = spec.id.split(".", 2)
    if rest.startswith("segment_"):
        return "segment", rest[len("segment_") :]
    name = rest[: -len(".p99")]
    for tier in profile.tiers:
        if tier.timeframe and name == f"candle_{tier.timeframe}":
            return "candle", tier.name
    return "exchange", name


def _unheard(counts: Counts) -> int:
    """Messages that had no listener, where the source can tell."""
    return 0 if counts.heard is None else counts.sent - counts.heard
