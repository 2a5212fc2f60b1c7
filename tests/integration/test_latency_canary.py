# SPDX-License-Identifier: Apache-2.0
"""A canary through a real engine's views; the broker and the way from it are the test's own: an insert per record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency import canary
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.canary import Canary, CanaryWish, Look
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.model import Span
from ansible_collections.k2.hardening.plugins.module_utils.measure.latency.session import Limits
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.generator import Sending, Stream
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.schedule import Schedule
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile

from .betting import SECOND_US, Bookmaker, Stake, clickhouse

pytestmark = pytest.mark.measures

LIMITS = Limits(30, 50_000_000)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bookmaker]:
    with clickhouse(tmp_path_factory.mktemp("canary")) as port:
        own = Bookmaker(port)
        for table, span in (("odds_1m", "MINUTE"), ("odds_1h", "HOUR")):
            own.client.execute(
                f"CREATE MATERIALIZED VIEW {own.name}.{table}_view TO {own.name}.{table} AS SELECT house, horse, "
                f"toStartOfInterval(placed, INTERVAL 1 {span}, 'UTC') AS minute, count() AS stakes "
                f"FROM {own.name}.stakes WHERE valid GROUP BY house, horse, minute"
            )
        yield own
        own.close()


def profile_of(course: Bookmaker) -> Profile:
    slips = {"ascot": {"symbol": "K2-TEST", "value": '{"horse": "$symbol"}'}}
    broker = {"bootstrap": "127.0.0.1:1", "topics": {"ascot": {"raw": "slips"}, "epsom": {"raw": "calls"}}}
    return course.profile(k2_broker=broker, k2_load={"records": slips})


def wish(directory: Path, **changed: Any) -> CanaryWish:
    return replace(CanaryWish("ascot", 5.0, None, "bookmaker", directory), **changed)


def now_us() -> int:
    return time.time_ns() // 1000


def traffic(course: Bookmaker, per_second: int) -> None:
    now = now_us()
    course.add([Stake(now, now - i % 20 * SECOND_US) for i in range(30 * per_second)])


def test_each_record_is_seen_between_two_looks(
    course: Bookmaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[int] = []

    class Inserting:
        def __init__(self, _: str, schedule: Schedule, streams: Mapping[str, Stream], start_us: int) -> None:
            assert streams["ascot"].topic == "slips"
            self.dues = [start_us + due for due in schedule.due_us]

        def run(self, _stop: threading.Event, _progress: Callable[[Sending], None]) -> Sending:
            sending = Sending()
            for due in self.dues:
                time.sleep(max(0.0, (due - now_us()) / 1e6))
                sending.lateness_us.append(now_us() - due)
                course.add([Stake(due, now_us(), horse="K2/TEST")])
                returned.append(now_us() - due)
            return sending

    monkeypatch.setattr(canary, "Generator", Inserting)
    traffic(course, 100)
    window = Span(now_us() + SECOND_US, now_us() + 4 * SECOND_US)
    seen = Canary(profile_of(course), wish(tmp_path), window, LIMITS).run(30.0)
    assert (seen.sent, seen.seen, seen.unseen) == (len(returned), len(returned), 0)
    assert seen.symbol == "K2-TEST"
    assert str(seen.why).startswith("sent at ") is (seen.rate_per_s < 5.0)
    assert {tier.tier for tier in seen.tiers} == {"odds_1m", "odds_1h"}
    for tier in seen.tiers:
        assert tier.low_ms[-1] <= max(returned) / 1000
        assert all(low <= high for low, high in zip(tier.low_ms, tier.high_ms, strict=True))
    assert not Journal(tmp_path / "bookmaker" / "undo").open_entries()


def test_at_most_a_twentieth_of_the_traffic_is_sent(course: Bookmaker, tmp_path: Path) -> None:
    traffic(course, 10)
    window = Span(now_us(), now_us() + 10 * SECOND_US)
    asked = Canary(profile_of(course), wish(tmp_path, rate_per_s=1e6), window, LIMITS)
    assert 0 < asked.rate_per_s < 1000


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"confirm": None}, "a canary changes the platform"),
        ({"confirm": "another"}, "a canary changes the platform"),
        ({"exchange": "epsom"}, "nothing to write the canary's records to"),
        ({"rate_per_s": 0.0}, "a canary cannot be sent"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_touched(
    course: Bookmaker, tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    window = Span(now_us(), now_us() + 10 * SECOND_US)
    with pytest.raises(K2Error, match=told):
        Canary(profile_of(course), wish(tmp_path, **changed), window, LIMITS)
    assert not list(tmp_path.iterdir())


def test_records_that_never_show_are_counted_as_unseen() -> None:
    looks = [Look(0, 5, {"odds": 7}), Look(100, 110, {"odds": 7}), Look(200, 210, {"odds": 9})]
    found = canary.visible("odds", [50, 60, 90], looks)
    assert (found.n, found.unseen) == (2, 1)
    assert (found.low_ms, found.high_ms) == ((0.04, 0.05, 0.05), (0.15, 0.16, 0.16))
