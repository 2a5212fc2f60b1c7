# SPDX-License-Identifier: Apache-2.0
"""The sender against a client that is not there: it ends, counts, and says why."""

from __future__ import annotations

import itertools
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import utc_us
from ansible_collections.k2.hardening.plugins.module_utils.measure.load import generator
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.generator import Generator, Sending, Stream
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.records import Trade, from_trade
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.schedule import WHOLE, Arrivals, draw
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import RecordFormat

FORM = RecordFormat(symbol="LOAD", key="$symbol", value="$id $sequence $time_us", headers={"at": "$time_us"})


class RefusedError(Exception):
    pass


class Producer:
    """Takes records as ``room`` allows and acknowledges those it took when polled, unless it is ``silent``."""

    def __init__(self, room: int = 10**9, silent: bool = False, refuse_after: int = 10**9) -> None:
        self.room, self.silent, self.refuse_after = room, silent, refuse_after
        self.taken: list[tuple[str, bytes, bytes]] = []
        self.open: list[Any] = []

    def produce(self, topic: str, value: bytes, key: bytes, headers: Any, on_delivery: Any) -> None:
        if len(self.taken) >= self.refuse_after:
            raise RefusedError(SimpleNamespace(str=lambda: "too large"))
        if len(self.taken) >= self.room:
            raise BufferError
        self.taken.append((topic, key, value))
        self.open.append(on_delivery)

    def list_topics(self, topic: str, timeout: float) -> None:
        pass

    def poll(self, seconds: float) -> int:
        if not self.silent:
            while self.open:
                self.open.pop()(None, SimpleNamespace(latency=lambda: 0.002))
        return 0


@pytest.fixture(autouse=True)
def often_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "_CHECK_NS", 1_000_000)


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "GRACE_S", 1.0)  # a busy machine holds the sender up


@pytest.fixture
def short_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "STALL_S", 0.2)


def send(
    producer: Producer, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 0.4, stop: bool = False
) -> tuple[Sending, int]:
    fake = SimpleNamespace(Producer=lambda _settings: producer, KafkaException=RefusedError)
    monkeypatch.setattr(generator, "driver", lambda: fake)
    schedule = draw(("a",), 500.0, seconds, Arrivals.CONSTANT, 1, WHOLE)
    streams = {"a": Stream("topic", [from_trade("a", FORM, Trade("1", "2", "buy"))])}
    asked = threading.Event()
    if stop:
        asked.set()
    return Generator("x:1", schedule, streams, utc_us()).run(asked, lambda _: None), len(schedule)


def test_all_of_the_schedule_is_sent_under_its_own_times_and_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = Producer()
    sending, scheduled = send(producer, monkeypatch)
    assert (sending.sent, len(sending.ack_us), dict(sending.errors)) == (scheduled, scheduled, {})
    assert sending.interrupted is None
    values = [list(map(int, value.split())) for _, _, value in producer.taken]
    assert [row[1] for row in values] == list(range(1, scheduled + 1))
    assert len({row[0] for row in values}) == scheduled
    gaps = [later[2] - earlier[2] for earlier, later in itertools.pairwise(values)]
    assert set(gaps) == {2000}  # as scheduled, however late each was sent
    assert min(sending.lateness_us) >= 0
    assert set(sending.ack_us) == {2000}


@pytest.mark.usefixtures("short_grace")
def test_a_full_queue_ends_after_the_schedule_with_the_rest_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    sending, scheduled = send(Producer(room=20), monkeypatch)
    assert sending.sent == len(sending.ack_us) == 20 < scheduled
    assert "not sent within 1 s after the end" in str(sending.interrupted)


@pytest.mark.usefixtures("short_stall")
def test_a_broker_that_acknowledges_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    sending, scheduled = send(Producer(silent=True), monkeypatch, seconds=60.0)
    assert sending.sent < scheduled
    assert "acknowledged nothing for 0.2 s" in str(sending.interrupted)
    assert dict(sending.errors) == {"neither acknowledged nor refused within 0.2 s": sending.sent}


def test_what_the_client_refuses_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sending, scheduled = send(Producer(refuse_after=50), monkeypatch)
    assert (sending.sent, len(sending.ack_us), dict(sending.errors)) == (scheduled, 50, {"too large": scheduled - 50})


def test_told_to_stop_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    sending, _ = send(Producer(), monkeypatch, stop=True)
    assert (sending.sent, sending.interrupted) == (0, "ended before its time: told to stop")


def test_a_wall_clock_that_is_stepped_ends_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = Producer()

    def stepped() -> int:
        return utc_us() + (3_600_000_000 if len(producer.taken) > 20 else 0)

    monkeypatch.setattr(generator, "utc_us", stepped)
    sending, scheduled = send(producer, monkeypatch, seconds=60.0)
    assert 20 < sending.sent < scheduled
    assert "wall clock was moved by +3600" in str(sending.interrupted)
