# SPDX-License-Identifier: Apache-2.0
"""What a Prometheus histogram tells of a segment, and when it tells nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.platform.server import Script, serve

from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.histogram import (
    UNBOUNDED_MS,
    Scrape,
    growth,
    read_all,
    wanted,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.exposition import ScrapeFailed, histograms, scrape
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Segment
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

SEGMENT = Segment("line_to_log", "heard", "logged", 2.0, "ack_seconds")
METRIC = "collector_ack_seconds"


def text(*counts: int, labels: str = 'market="nordic",', total: float = 0.0) -> str:
    """An exposition with the bounds 1 ms, 10 ms and infinity."""
    lines = [
        f'{METRIC}_bucket{{{labels}le="{bound}"}} {count}.0'
        for bound, count in zip(("0.001", "0.01", "+Inf"), counts, strict=True)
    ]
    return "\n".join([f"# TYPE {METRIC} histogram", *lines, f"{METRIC}_sum{{{labels.rstrip(',')}}} {total}", "other 1"])


def read(*texts: str) -> Scrape:
    """A scrape of one service per text."""
    found = {
        (str(number), key): value
        for number, each in enumerate(texts)
        for key, value in histograms(each, METRIC).items()
    }
    return Scrape({METRIC: found})


def test_all_services_and_labels_count_together() -> None:
    one, other = text(90, 99, 100, total=0.1), text(0, 100, 100, labels="", total=0.3)
    cell = growth(SEGMENT, METRIC, read(text(0, 0, 0), text(0, 0, 0, labels="")), read(one, other))
    assert (cell.n, cell.mean_ms, cell.why) == (200, 2.0, None)
    assert cell.histogram == ((1.0, 90), (10.0, 109), (UNBOUNDED_MS, 1))
    assert cell.quantiles is not None
    at = cell.quantiles.levels.index
    assert (cell.quantiles.low_ms[at(0.4)], cell.quantiles.high_ms[at(0.4)]) == (0.0, 1.0)
    assert (cell.quantiles.low_ms[at(0.99)], cell.quantiles.high_ms[at(0.99)]) == (1.0, 10.0)
    assert (cell.quantiles.low_ms[-1], cell.quantiles.high_ms[-1]) == (10.0, UNBOUNDED_MS)


def test_only_what_grew_during_the_watch_counts() -> None:
    cell = growth(SEGMENT, METRIC, read(text(90, 99, 100, total=5.0)), read(text(90, 109, 110, total=5.05)))
    assert (cell.n, cell.mean_ms, cell.histogram) == (10, 5.0, ((10.0, 10),))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (read(), read(), "no service has the histogram"),
        (read(), replace(read(), trouble={"till": "refused"}), r"no service has the histogram .* \(till: refused\)"),
        (read(text(5, 5, 5)), read(text(5, 5, 5)), "did not grow"),
        (read(text(5, 5, 5)), read(text(1, 1, 1)), "began anew during the watch: the service was restarted"),
        (read(text(5, 5, 5), text(1, 1, 1)), read(text(6, 6, 6)), "a service went away"),
    ],
)
def test_a_histogram_that_tells_nothing_says_why(before: Scrape, after: Scrape, why: str) -> None:
    cell = growth(SEGMENT, METRIC, before, after)
    assert (cell.n, cell.quantiles) == (0, None)
    assert cell.why is not None
    assert cell.why.startswith("not measurable here: ")
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(cell.why)


def test_every_service_with_metrics_is_scraped() -> None:
    with serve(Script(by_path={"/metrics": (200, text(1, 2, 3).encode())})) as script:
        address = f"http://127.0.0.1:{script.port}"
        profile = parse_profile(
            {
                "k2_platform": {"name": "power", "scale": "lab", "runtime": "docker"},
                "k2_services": {
                    "collector": {"kind": "feed-handler", "metrics": {"url": f"{address}/metrics", "job": "c"}},
                    "gone": {"kind": "service", "metrics": {"url": f"{address}/gone", "job": "g"}},
                    "mute": {"kind": "service"},
                },
                "k2_metric_names": {"ack_seconds": METRIC},
            }
        )
        script.status = 503
        seen = read_all(profile, wanted(profile, [SEGMENT]))
    assert list(seen.by_metric[METRIC]) == [("collector", 'market="nordic"')]
    assert list(seen.trouble) == ["gone"]


def test_what_is_no_exposition_is_refused() -> None:
    with pytest.raises(ScrapeFailed, match="Prometheus' text format"):
        histograms(f'{METRIC}_bucket{{le="1"}} many', METRIC)
    with pytest.raises(ScrapeFailed, match="metrics cannot be read"):
        scrape("http://127.0.0.1:1/metrics")
