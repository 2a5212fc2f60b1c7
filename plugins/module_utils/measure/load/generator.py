# SPDX-License-Identifier: Apache-2.0
"""The open-loop sender: each record is handed to the broker's client when it is due, a late one at once.

One thread sends and takes the acknowledgements. Whatever the broker does, sending ends: with the schedule, a while
after it, when nothing is acknowledged any more, when told to stop, or when the wall clock is stepped. What was not sent
by then is counted as unsent, with the reason.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ...core.clock import Deadline, monotonic_ns, utc_us
from ...platform.broker import BrokerError, driver
from .records import Maker, Stamp
from .schedule import Schedule

CONNECT_TIMEOUT_S = 10.0
# How long after the end of the schedule late records are still sent.
GRACE_S = 10.0
# Without any acknowledgement for this long the broker counts as gone; records it has by then not taken are errors.
STALL_S = 10.0
# A wall clock that moves this far against the monotonic one was set, not slewed.
STEP_US = 100_000
_CHECK_NS = 200_000_000
_LONGEST_SLEEP_NS = 100_000_000
_SENDS_PER_POLL = 64
_QUEUE = 200_000


@dataclass(frozen=True)
class Stream:
    """Where the records of one exchange go, and their models, used in turn."""

    topic: str
    makers: Sequence[Maker]


@dataclass
class Sending:
    """How sending went so far. Microseconds; ``lateness_us`` holds one value for each record sent, in their order."""

    lateness_us: array[int] = field(default_factory=lambda: array("q"))
    ack_us: array[int] = field(default_factory=lambda: array("q"))
    errors: Counter[str] = field(default_factory=Counter)
    interrupted: Optional[str] = None
    ended_us: int = 0
    cpu_cores: float = 0.0

    @property
    def sent(self) -> int:
        """Records handed to the broker's client."""
        return len(self.lateness_us)

    @property
    def settled(self) -> int:
        """Records of which the broker's client has told the end."""
        return len(self.ack_us) + sum(self.errors.values())


class Generator:
    """Sends one schedule to one broker, once."""

    def __init__(self, bootstrap: str, schedule: Schedule, streams: Mapping[str, Stream], start_us: int) -> None:
        """Connect, so that the first record need not wait for it.

        :raises DriverMissing: without confluent-kafka. :raises BrokerError: no answer.
        """
        self._schedule = schedule
        self._streams = [streams[exchange] for exchange in schedule.exchanges]
        self._start_us = start_us
        self._sending = Sending()
        self._kafka = driver()
        self._producer = self._kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                # A record that is sent again after a lost answer is not stored twice: what was acknowledged is there
                # exactly once.
                "enable.idempotence": True,
                "linger.ms": 1,
                "message.timeout.ms": int(STALL_S * 1000),
                "queue.buffering.max.messages": _QUEUE,
                "queue.buffering.max.kbytes": 262_144,
                "topic.metadata.refresh.interval.ms": 60_000,
                "allow.auto.create.topics": False,
                "log_level": 0,
            }
        )
        try:
            for stream in self._streams:
                self._producer.list_topics(stream.topic, timeout=CONNECT_TIMEOUT_S)
        except self._kafka.KafkaException as error:
            raise BrokerError(
                "the broker does not take records",
                expected=f"an answer from {bootstrap} within {CONNECT_TIMEOUT_S:g} s",
                seen=error.args[0].str(),
            ) from error

    def run(self, stop: threading.Event, progress: Callable[[Sending], None]) -> Sending:
        """Send, wait for what is not yet acknowledged, and tell. Ends by itself; ``stop`` ends it early.

        :arg progress: called several times a second with how far it is.
        """
        sending, cpu_s = self._sending, _cpu_s()
        begins = Deadline.after((self._start_us - utc_us()) / 1e6)
        # A collection of garbage would stop the sender for longer than it may be late.
        collecting = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            self._send_all(stop, progress)
        finally:
            if collecting:
                gc.enable()
        sending.ended_us = utc_us()
        sending.cpu_cores = (_cpu_s() - cpu_s) / max((monotonic_ns() - begins.at_ns) / 1e9, 1e-3)
        self._settle()
        return sending

    def _send_all(self, stop: threading.Event, progress: Callable[[Sending], None]) -> None:
        schedule, sending, produce, poll = self._schedule, self._sending, self._producer.produce, self._producer.poll
        streams, lateness, delivered = self._streams, sending.lateness_us, self._delivered
        due_us, dealt, numbers, sequences = schedule.due_us, schedule.exchange, schedule.numbers, schedule.sequences
        start_us, refused = self._start_us, self._kafka.KafkaException
        start_ns = monotonic_ns() + (start_us - utc_us()) * 1000
        watch = _Watch(start_us, start_ns, due_us[-1])
        place, count, check_ns = 0, len(due_us), 0
        while place < count:
            at_us = due_us[place]
            due_ns = start_ns + at_us * 1000
            now_ns = monotonic_ns()
            if now_ns >= check_ns:
                check_ns = now_ns + _CHECK_NS
                sending.interrupted = watch.reason_to_end(now_ns, sending, stop)
                if sending.interrupted:
                    return
                progress(sending)
            if now_ns < due_ns:
                poll(0)
                time.sleep(min(due_ns - now_ns, _LONGEST_SLEEP_NS) / 1e9)
                continue
            stream, number = streams[dealt[place]], numbers[place]
            makers = stream.makers
            # Ids count on from the start in microseconds: no two runs share one, nor do the shares of a run.
            message = makers[number % len(makers)].at(Stamp(start_us + at_us, start_us + number, sequences[place]))
            try:
                produce(stream.topic, message.value, message.key, headers=message.headers, on_delivery=delivered)
            except BufferError:
                poll(0.01)  # full: the record stays due, and is late when there is room
                continue
            except refused as error:
                sending.errors[error.args[0].str()] += 1
            lateness.append((monotonic_ns() - due_ns) // 1000)
            place += 1
            if not place % _SENDS_PER_POLL:
                poll(0)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            self._sending.ack_us.append(int(message.latency() * 1e6))
        else:
            self._sending.errors[error.str()] += 1

    def _settle(self) -> None:
        """Wait for what is still under way; what is not acknowledged in time is an error."""
        sending, deadline = self._sending, Deadline.after(STALL_S + 1.0)
        while sending.settled < sending.sent and not deadline.passed:
            self._producer.poll(min(0.1, deadline.remaining()))
        unknown = sending.sent - sending.settled
        if unknown:
            sending.errors[f"neither acknowledged nor refused within {STALL_S:g} s"] += unknown


@dataclass
class _Watch:
    """Tells when going on makes no sense; looked at a few times a second."""

    start_us: int
    start_ns: int
    last_due_us: int
    acked: int = 0
    acked_ns: int = 0

    def reason_to_end(self, now_ns: int, sending: Sending, stop: threading.Event) -> Optional[str]:
        """Why sending has to end now, or None."""
        if stop.is_set():
            return "ended before its time: told to stop"
        moved_us = utc_us() - self.start_us - (now_ns - self.start_ns) // 1000
        if abs(moved_us) > STEP_US:
            return f"the wall clock was moved by {moved_us / 1e6:+.3f} s while it ran"
        if now_ns > self.start_ns + self.last_due_us * 1000 + int(GRACE_S * 1e9):
            return f"what was due was not sent within {GRACE_S:g} s after the end of the schedule"
        if len(sending.ack_us) != self.acked or sending.sent == sending.settled:
            self.acked, self.acked_ns = len(sending.ack_us), now_ns
        if now_ns - self.acked_ns > STALL_S * 1e9:
            return f"the broker acknowledged nothing for {STALL_S:g} s"
        return None


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system
