# SPDX-License-Identifier: Apache-2.0
"""A segment that columns cannot tell, from the histogram that services keep of it: what it grew by during the watch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...core.errors import K2Error
from ...platform.exposition import Histogram, histograms, scrape
from ...profile.model import Profile, Segment
from .model import LEVELS, Cell, Quantiles

# The last bucket has no upper bound, and JSON no infinity.
UNBOUNDED_MS = 1e9

Readings = Mapping[tuple[str, str], Histogram]


@dataclass(frozen=True)
class Scrape:
    """The histograms of all metrics by name, each by service and labels; ``trouble`` by service that was not read."""

    by_metric: Mapping[str, Readings] = field(default_factory=dict)
    trouble: Mapping[str, str] = field(default_factory=dict)


def wanted(profile: Profile, segments: Sequence[Segment]) -> tuple[str, ...]:
    """The metrics, as the platform calls them, that ``segments`` name and the profile knows."""
    names = {profile.metric_names.get(segment.histogram or "") for segment in segments}
    return tuple(sorted(name for name in names if name))


def read_all(profile: Profile, metrics: Sequence[str]) -> Scrape:
    """Scrape every service that exposes metrics, once, for those of ``metrics`` that it has."""
    by_metric: dict[str, dict[tuple[str, str], Histogram]] = {name: {} for name in metrics}
    trouble: dict[str, str] = {}
    for service in profile.services.values() if metrics else ():
        if service.metrics is None or service.not_available is not None:
            continue
        try:
            text = scrape(service.metrics.url)
            for name in metrics:
                for labels, histogram in histograms(text, name).items():
                    by_metric[name][service.name, labels] = histogram
        except K2Error as error:
            trouble[service.name] = str(error)
    return Scrape(by_metric, trouble)


def growth(segment: Segment, metric: str, before: Scrape, after: Scrape) -> Cell:
    """The cell of what ``metric`` grew by between two scrapes; a cell without values says why.

    The quantiles lie between the bounds of their bucket. How values depend on one another is not known: no blocks.
    """
    first, last = before.by_metric.get(metric, {}), after.by_metric.get(metric, {})
    blank = Cell("segment", segment.name)
    if not last:
        lost = "; ".join(f"{name}: {why}" for name, why in after.trouble.items())
        return _why(blank, f"no service has the histogram {metric}" + (f" ({lost})" if lost else ""))
    if set(first) - set(last):
        return _why(blank, f"{metric} was there at the begin of the watch and not at its end: a service went away")
    counts: dict[float, float] = {}
    total = 0.0
    for key, histogram in last.items():
        earlier = first.get(key, Histogram({}, 0.0))
        for bound, count in histogram.buckets.items():
            counts[bound] = counts.get(bound, 0.0) + count - earlier.buckets.get(bound, 0.0)
            if count < earlier.buckets.get(bound, 0.0):
                return _why(blank, f"{metric} of {key[0]} began anew during the watch: the service was restarted")
        total += histogram.total - earlier.total
    n = round(max(counts.values()))
    if not n:
        return _why(blank, f"{metric} did not grow during the watch")
    bounds = sorted(counts)
    spans = [_bucket(bounds, counts, level, n) for level in LEVELS]
    return Cell(
        "segment",
        segment.name,
        n=n,
        mean_ms=round(total / n * 1000, 6),
        quantiles=Quantiles(LEVELS, tuple(low for low, _ in spans), tuple(high for _, high in spans)),
        histogram=_steps(bounds, counts),
    )


def _bucket(bounds: Sequence[float], counts: Mapping[float, float], level: float, n: int) -> tuple[float, float]:
    """The bounds, in milliseconds, of the bucket that holds the order statistic of ``level``."""
    rank = min(n, math.floor(level * n) + 1)
    place = next((i for i, bound in enumerate(bounds) if counts[bound] >= rank), len(bounds) - 1)
    return (_ms(bounds[place - 1]) if place else 0.0), _ms(bounds[place])


def _ms(bound_s: float) -> float:
    return min(UNBOUNDED_MS, round(bound_s * 1000, 6)) if math.isfinite(bound_s) else UNBOUNDED_MS


def _steps(bounds: Sequence[float], counts: Mapping[float, float]) -> tuple[tuple[float, int], ...]:
    steps, before = [], 0.0
    for bound in bounds:
        steps.append((_ms(bound), round(counts[bound] - before)))
        before = counts[bound]
    return tuple((bound, count) for bound, count in steps if count)


def _why(blank: Cell, reason: str) -> Cell:
    return Cell(blank.kind, blank.name, f"not measurable here: {reason}")
