# SPDX-License-Identifier: Apache-2.0
"""A load made by a simulator of the sources: told over HTTP, sent by itself, ended by itself.

What is asked of it (``k2_load.control_url``): ``POST /load`` with rate, seconds, schedule, seed, start, quiet and id;
``GET /load`` for its state; ``POST /load/end`` with the id. It returns to its base rate even when the asker is gone.
"""

from __future__ import annotations

import http
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from ...core.clock import Deadline, utc_us
from ...core.errors import K2Error
from ...platform.simulator import SimulatorControl, SimulatorError, decoded
from .result import Counts
from .sketch import Sketch

POLL_INTERVAL_S = 0.5
# How long after the end of its schedule a simulator may take to send what is late, and a little for its answer.
GRACE_S = 15.0
_SENDING = ("waiting", "running")


class SimulatorRefused(SimulatorError):  # noqa: N818 - see core.errors
    """The simulator is too old for loads, is busy, or refused the order: no load of ours runs."""


@dataclass(frozen=True)
class SimulatedLoad:
    """What the simulator says of a load: ``state`` in its words; times in microseconds since the epoch."""

    id: str
    state: str
    start_us: int
    end_us: int
    ended_us: Optional[int]
    exchanges: Mapping[str, Counts]
    lateness: Sketch
    cpu_s: float
    interrupted: Optional[str]

    @property
    def sending(self) -> bool:
        """Whether it still sends, or is going to."""
        return self.state in _SENDING

    @property
    def sent(self) -> int:
        """Messages sent so far."""
        return sum(counts.sent for counts in self.exchanges.values())

    @property
    def scheduled(self) -> int:
        """Messages of the whole load."""
        return sum(counts.scheduled for counts in self.exchanges.values())


@dataclass(frozen=True)
class Order:
    """What is asked for; ``by`` tells others who is at it, ``id`` which load is meant when it is to end."""

    id: str
    trades_per_second: float
    seconds: float
    schedule: str
    seed: int
    start_at_us: int
    quiet_before_s: float
    quiet_after_s: float
    by: str


class SimulatorClient:
    """The control interface at one address. Stateless: a connection per question."""

    def __init__(self, url: str) -> None:
        self._control = SimulatorControl(url)

    def begin(self, order: Order) -> SimulatedLoad:
        """Ask for a load.

        :raises SimulatorError: it is not going to happen.
        """
        return self._read(self._ask("POST", "/load", asdict(order)))

    def look(self) -> Optional[SimulatedLoad]:
        """The current or last load; None where there was none since the simulator started.

        :raises SimulatorError: no readable answer.
        """
        answer = self._ask("GET", "/load")
        return None if answer.get("state") == "none" else self._read(answer)

    def end(self, load_id: str) -> None:
        """End the load of that id, and its quiet, at once. Where another runs, it is over already.

        :raises SimulatorError: it could not be told.
        """
        status, text = self._control.ask("POST", "/load/end", {"id": load_id})
        if status not in (http.HTTPStatus.OK, http.HTTPStatus.CONFLICT):
            raise _refusal(status, text, self._control.url + "/load/end")

    def _ask(self, method: str, path: str, body: Optional[Mapping[str, Any]] = None) -> Mapping[str, Any]:
        status, text = self._control.ask(method, path, body)
        if status != http.HTTPStatus.OK:
            raise _refusal(status, text, self._control.url + path)
        return decoded(text)

    def _read(self, answer: Mapping[str, Any]) -> SimulatedLoad:
        try:
            return SimulatedLoad(
                id=str(answer["id"]),
                state=str(answer["state"]),
                start_us=int(answer["start_us"]),
                end_us=int(answer["end_us"]),
                ended_us=None if answer["ended_us"] is None else int(answer["ended_us"]),
                exchanges={name: Counts(**counts) for name, counts in answer["exchanges"].items()},
                lateness=Sketch.from_plain(answer["lateness"]),
                cpu_s=float(answer["cpu_s"]),
                interrupted=answer["interrupted"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SimulatorError(
                "the simulator cannot be understood",
                expected=f"the state of a load from {self._control.url}/load",
                seen=f"{type(error).__name__}: {error}",
            ) from error


def _refusal(status: int, body: bytes, address: str) -> SimulatorRefused:
    try:
        said = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        said = body.decode("utf-8", "replace").strip()[:300] or "nothing"
    if status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.METHOD_NOT_ALLOWED):
        return SimulatorRefused(
            "the simulator is too old to run loads, or is none",
            expected=f"a control interface with {address}",
            seen=f"status {status}: {said}",
            action="start it anew from this release, or correct k2_load.control_url",
        )
    if status == http.HTTPStatus.CONFLICT:
        return SimulatorRefused(
            "the simulator is busy",
            expected="no other load",
            seen=said,
            action="wait for that load, or end it: POST /load/end",
        )
    return SimulatorRefused("the simulator refused the load", expected=f"status 200 from {address}", seen=said)


def follow(
    client: SimulatorClient,
    begun: SimulatedLoad,
    stop: threading.Event,
    progress: Callable[[SimulatedLoad], None],
) -> SimulatedLoad:
    """Watch a load until it sends no more, ``stop`` is set, or its time is over; what was seen last is the result.

    With ``stop`` the load is ended. A simulator that forgot the load, or fell silent, interrupts it.
    """
    seen = begun
    deadline = Deadline.after(max(0.0, (begun.end_us - utc_us()) / 1e6) + GRACE_S)
    silence: Optional[K2Error] = None
    while seen.sending:
        if stop.wait(min(POLL_INTERVAL_S, deadline.remaining())):
            return _ended(client, seen, "ended before its time: told to stop")
        try:
            now = client.look()
            silence = None
        except SimulatorError as error:
            now, silence = seen, error
        if now is None or now.id != begun.id:
            return _interrupted(seen, "the simulator was restarted and does not know of the load any more")
        seen = now
        progress(seen)
        if deadline.passed and seen.sending:
            return _ended(client, seen, str(silence) if silence else "it was still sending after its time was over")
    return seen


def _ended(client: SimulatorClient, seen: SimulatedLoad, why: str) -> SimulatedLoad:
    try:
        client.end(seen.id)
        last = client.look()
    except SimulatorError as error:
        return _interrupted(seen, f"{why}; it could not be told to end, and ends by itself: {error}")
    return _interrupted(seen if last is None or last.id != seen.id else last, why)


def _interrupted(seen: SimulatedLoad, why: str) -> SimulatedLoad:
    both = f"{seen.interrupted}; {why}" if seen.interrupted else why
    return replace(seen, interrupted=both)
