# SPDX-License-Identifier: Apache-2.0
"""Where a load begins is known only if its topics came to rest before it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.load import mark
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.mark import mark_in_quiet, raw_topics
from ansible_collections.k2.hardening.plugins.module_utils.platform.broker import BrokerError, Extent, Partition
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

PROFILE = parse_profile(
    {
        "k2_platform": {
            "name": "p",
            "scale": "lab",
            "runtime": "supervisor",
            "runtimes": {"supervisor": {"socket": "/run/s.sock"}},
        },
        "k2_services": {"feed": {"kind": "feed-handler", "exchange": "nordic"}},
        "k2_clickhouse": {"host": "h", "port": 1, "username": "u", "password": "", "database": "d"},
        "k2_broker": {
            "bootstrap": "b:1",
            "topics": {"nordic": {"raw": "fish", "normalised": "fillets", "partitions": 1}},
        },
        "k2_tiers": [{"name": "landing", "store": "clickhouse", "table": "t"}],
    }
)
START_US = 10_000_000
STEP_US = 100_000


class Clock:
    """Time passes only where somebody waits."""

    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us


class Waiting(threading.Event):
    """Set once ``until_us`` has come."""

    def __init__(self, clock: Clock, until_us: int) -> None:
        super().__init__()
        self._clock = clock
        self._until_us = until_us

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._clock.now_us += round(timeout * 1e6)
        return self._clock.now_us >= self._until_us


class Topic:
    """Where the topic ends at each question: the next of ``ends``, at last the last one for good."""

    def __init__(self, clock: Clock, ends: Iterable[int], fails_at: int | None = None) -> None:
        self._ends: Iterator[int] = iter(ends)
        self._end = 0
        self._clock = clock
        self._fails_at = fails_at
        self.asked_at_us: list[int] = []

    def partitions(self, topics: Iterable[str]) -> tuple[Partition, ...]:
        assert list(topics) == ["fish"]
        return (Partition("fish", 0),)

    def extents(self, partitions: Iterable[Partition]) -> dict[Partition, Extent]:
        self.asked_at_us.append(self._clock.now_us)
        if len(self.asked_at_us) == self._fails_at:
            raise BrokerError("the broker did not answer")
        self._end = next(self._ends, self._end)
        return {partition: Extent(0, self._end) for partition in partitions}


def marked(
    monkeypatch: pytest.MonkeyPatch,
    ends: Iterable[int],
    quiet_s: float = 3,
    stopped_us: int = 10 * START_US,
    fails_at: int | None = None,
) -> tuple[mark.Watermark | None, Topic]:
    clock = Clock()
    topic = Topic(clock, ends, fails_at)
    monkeypatch.setattr(mark, "utc_us", clock)
    monkeypatch.setattr(mark, "BrokerReader", lambda _: topic)
    return mark_in_quiet(PROFILE, START_US, quiet_s, Waiting(clock, stopped_us)), topic


def test_a_topic_at_rest_is_marked_where_it_ends_and_nobody_asks_before_the_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, topic = marked(monkeypatch, [7])
    assert found == {"fish": {"0": 7}}
    assert topic.asked_at_us[0] == START_US - 3_000_000
    assert topic.asked_at_us[-1] - topic.asked_at_us[0] >= mark.STILL_S * 1e6


def test_the_last_record_of_before_begins_the_rest_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    found, topic = marked(monkeypatch, [7, 7, 7, 8, 8, 9])
    assert found == {"fish": {"0": 9}}
    assert topic.asked_at_us[-1] - topic.asked_at_us[5] >= mark.STILL_S * 1e6


def test_a_topic_that_does_not_come_to_rest_before_the_load_has_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    found, topic = marked(monkeypatch, range(10_000))
    assert found is None
    assert topic.asked_at_us[-1] <= START_US + STEP_US


def test_a_quiet_too_short_to_come_to_rest_in_has_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    assert marked(monkeypatch, [7], quiet_s=mark.STILL_S / 2)[0] is None


def test_whoever_is_stopped_has_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    assert marked(monkeypatch, [7], stopped_us=START_US - 2_800_000)[0] is None


@pytest.mark.parametrize("fails_at", [1, 3])
def test_a_broker_that_does_not_answer_gives_no_mark(monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    assert marked(monkeypatch, [7], fails_at=fails_at)[0] is None


def test_a_platform_without_a_broker_has_no_mark() -> None:
    assert mark_in_quiet(replace(PROFILE, broker=None), START_US, 3, threading.Event()) is None


def test_an_audit_begins_with_the_raw_topics() -> None:
    assert PROFILE.broker is not None
    assert raw_topics(PROFILE.broker) == ["fish"]
