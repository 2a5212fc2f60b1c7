# SPDX-License-Identifier: Apache-2.0
"""A load from beginning to end: checked, journalled, made, told."""

from __future__ import annotations

import os
import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Optional

from ...core.clock import monotonic_ns, rfc3339, utc_us
from ...core.progress import Progress
from ...fault.journal import Journal
from ...platform.broker import BrokerReader, watermark_of
from ...profile.model import Profile
from . import simulator
from .file_source import read_trades
from .generator import Generator, Sending, Stream
from .leftover import parameters
from .mark import mark_in_quiet, raw_topics
from .records import Maker, Restamper, from_trade
from .replay import NothingToReplay, newest_records
from .request import Request, Source, check, rate_of, schedule_of, section, topics_of
from .result import Counts, LoadResult
from .schedule import Schedule
from .simulator import Order, SimulatedLoad, SimulatorClient, SimulatorRefused
from .sketch import Sketch

# From the moment all is ready to the first message, or to the quiet before it, where no start is asked for.
LEAD_S = 1.0
_SHOWN_NS = 1_000_000_000


def run_load(
    profile: Profile, request: Request, state_dir: Path, progress_file: Optional[Path], stop: threading.Event
) -> LoadResult:
    """Make the load and wait for its end. ``stop`` ends it early.

    An entry of the undo journal is open from before the first message until the load has ended; where this process is
    killed it stays, and says what ends the load, or has to be removed.

    :raises K2Error: it could not begin; nothing was sent then, and no entry is open.
    """
    check(profile, request)
    Sketch()  # without its library nothing could be told afterwards
    journal = Journal(state_dir / profile.platform.name / "undo")
    task = f"load {request.load}: {rate_of(profile, request):g}/s for {request.seconds:g} s"
    with Progress(progress_file, task, unit="messages") as progress:
        shown = _Shown(progress)
        if request.source is Source.SIMULATOR:
            return _simulated(profile, request, journal, shown, stop)
        return _generated(profile, request, journal, shown, stop)


class _Shown:
    """Tells progress at most once a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._shown_ns = 0
        self._sent = 0

    def __call__(self, sent: int, scheduled: int, end_us: int) -> None:
        now_ns = monotonic_ns()
        since_ns = now_ns - self._shown_ns
        if since_ns < _SHOWN_NS:
            return
        rate = (sent - self._sent) / since_ns * 1e9 if self._shown_ns else 0.0
        left_s = max(0.0, (end_us - utc_us()) / 1e6)
        self._progress.update(sent, scheduled, f"{rate:.0f}/s, {left_s:.0f} s left")
        self._shown_ns, self._sent = now_ns, sent


# -- a simulator makes the load ----------------------------------------------------------------------------------------


def _simulated(
    profile: Profile, request: Request, journal: Journal, shown: _Shown, stop: threading.Event
) -> LoadResult:
    url = section(profile).control_url or ""
    client = SimulatorClient(url)
    client.look()  # what cannot be asked is told before an entry says that something was done
    rate = rate_of(profile, request)
    start_us = request.start_at_us or utc_us() + round((LEAD_S + request.quiet_before_s) * 1e6)
    end_us = start_us + round((request.seconds + request.quiet_after_s) * 1e6)
    # Of our own making, so that the entry can name it before there is a load to be asked for its name.
    load_id = request.load_id or uuid.uuid4().hex
    entry = journal.open(
        run_id="",
        target=url,
        action=f"load {request.load}: {rate:g}/s for {request.seconds:g} s",
        undo=f"the simulator returns to its base rate by itself at {rfc3339(end_us)}; POST {url}/load/end does it now",
        parameters=parameters(url=url, load_id=load_id, end_us=end_us),
    )
    try:
        begun = client.begin(
            Order(
                id=load_id,
                trades_per_second=rate,
                seconds=request.seconds,
                schedule=request.arrivals.value,
                seed=request.seed,
                start_at_us=start_us,
                quiet_before_s=request.quiet_before_s,
                quiet_after_s=request.quiet_after_s,
                by=f"k2_load {request.load} of {profile.platform.name}"[:200],
            )
        )
    except SimulatorRefused:
        # Any other failure leaves it unknown whether the load runs: then the entry stays.
        journal.close(entry.id)
        raise
    mark = mark_in_quiet(profile, begun.start_us, request.quiet_before_s, stop) if request.quiet_before_s else None
    seen = simulator.follow(client, begun, stop, lambda now: shown(now.sent, now.scheduled, now.end_us))
    journal.close(entry.id)
    return replace(_of_simulator(seen, request, rate), watermark=mark)


def _of_simulator(seen: SimulatedLoad, request: Request, rate: float) -> LoadResult:
    ended_us = seen.ended_us or utc_us()
    return LoadResult(
        source=request.source.value,
        load=request.load,
        rate=rate,
        # Not what was asked for: somebody may have told the simulator that it is enough.
        seconds=(seen.end_us - seen.start_us) / 1e6,
        arrivals=request.arrivals,
        seed=request.seed,
        share=request.share,
        start_us=seen.start_us,
        end_us=seen.end_us,
        ended_us=ended_us,
        scheduled=seen.scheduled,
        sent=seen.sent,
        unsent=seen.scheduled - seen.sent,
        acked=None,
        errors={},
        exchanges=seen.exchanges,
        lateness=seen.lateness,
        ack=None,
        cpu_cores=seen.cpu_s / max((ended_us - seen.start_us) / 1e6, 1e-3),
        interrupted=seen.interrupted,
    )


# -- this host sends the load ------------------------------------------------------------------------------------------


def _generated(
    profile: Profile, request: Request, journal: Journal, shown: _Shown, stop: threading.Event
) -> LoadResult:
    assert profile.broker is not None, "checked by check()"
    topics = topics_of(profile)
    broker = BrokerReader(profile.broker.bootstrap)
    partitions = broker.partitions(raw_topics(profile.broker))
    makers = _from_file(profile, request) if request.source is Source.FILE else _from_topics(profile, request)
    schedule = schedule_of(profile, request)
    start_us = request.start_at_us or utc_us() + round(LEAD_S * 1e6)
    end_us = start_us + round(request.seconds * 1e6)
    streams = {exchange: Stream(topics[exchange], makers[exchange]) for exchange in topics}
    generator = Generator(profile.broker.bootstrap, schedule, streams, start_us)
    entry = journal.open(
        run_id="",
        target=profile.broker.bootstrap,
        action=f"load {request.load}: {len(schedule)} messages to {', '.join(topics.values())}",
        undo=f"sending ended with process {os.getpid()}; k2_load with state absent removes what it wrote",
        parameters=parameters(),
    )
    mark = watermark_of(broker.extents(partitions))
    sending = generator.run(stop, lambda so_far: shown(so_far.sent, len(schedule), end_us))
    journal.close(entry.id)
    result = _of_generator(sending, schedule, replace(request, start_at_us=start_us), rate_of(profile, request))
    return replace(result, watermark=mark)


def _from_file(profile: Profile, request: Request) -> dict[str, list[Maker]]:
    records = section(profile).records
    assert request.data_file is not None, "checked by check()"
    trades = read_trades(request.data_file, sorted(records))
    return {name: [from_trade(name, records[name], trade) for trade in found] for name, found in trades.items()}


def _from_topics(profile: Profile, request: Request) -> dict[str, list[Maker]]:
    assert profile.broker is not None, "checked by check()"
    makers: dict[str, list[Maker]] = {}
    for exchange, topic in topics_of(profile).items():
        restamper = Restamper(exchange, section(profile).records[exchange])
        found = newest_records(profile.broker.bootstrap, topic, request.replay_records)
        makers[exchange] = [maker for maker in map(restamper.maker, found) if maker is not None]
        if not makers[exchange]:
            raise NothingToReplay(
                f"topic {topic} has nothing to replay",
                expected="JSON objects like those of the template in k2_load.records",
                seen=f"{len(found)} records, none of them such",
            )
    return makers


def _of_generator(sending: Sending, schedule: Schedule, request: Request, rate: float) -> LoadResult:
    start_us = request.start_at_us or 0
    sent_by, all_by = schedule.counts(sending.sent), schedule.counts()
    return LoadResult(
        source=request.source.value,
        load=request.load,
        rate=rate,
        seconds=request.seconds,
        arrivals=request.arrivals,
        seed=request.seed,
        share=request.share,
        start_us=start_us,
        end_us=start_us + round(request.seconds * 1e6),
        ended_us=sending.ended_us,
        scheduled=len(schedule),
        sent=sending.sent,
        unsent=len(schedule) - sending.sent,
        acked=len(sending.ack_us),
        errors=dict(sending.errors),
        exchanges={name: Counts(n, sent_by[name], n - sent_by[name]) for name, n in all_by.items()},
        lateness=_sketch(Counter(sending.lateness_us)),
        ack=_sketch(Counter(sending.ack_us)),
        cpu_cores=sending.cpu_cores,
        interrupted=sending.interrupted,
    )


def _sketch(values_us: Mapping[int, int]) -> Sketch:
    """Milliseconds of microseconds, each as often as it was seen."""
    sketch = Sketch()
    for value_us, times in values_us.items():
        sketch.add(value_us / 1000, times)
    return sketch
