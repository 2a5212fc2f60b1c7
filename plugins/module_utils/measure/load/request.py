# SPDX-License-Identifier: Apache-2.0
"""What is asked for, checked against the profile, and the plan that follows from it before anything is touched."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ...core.clock import utc_us
from ...core.errors import K2Error
from ...core.suggest import did_you_mean
from ...profile.model import Load, Profile
from .records import check_templates
from .schedule import WHOLE, Arrivals, Schedule, Share, draw

RATE_LIMITS = (0.001, 1_000_000.0)
MAX_SECONDS = 86_400.0


class RequestError(K2Error):
    """The load that was asked for cannot be made on this platform."""


class Source(enum.Enum):
    """Where a load comes from."""

    SIMULATOR = "simulator"
    REPLAY = "replay"
    FILE = "file"


@dataclass(frozen=True)
class Request:
    """A load. ``rate`` overrides the profile's rate of it; without ``start_at_us`` it starts once all is ready.

    ``load_id`` is what a simulator is to call it; without one it gets a name that nobody else has.
    """

    load: str
    seconds: float
    source: Source
    rate: Optional[float] = None
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 1
    start_at_us: Optional[int] = None
    share: Share = WHOLE
    data_file: Optional[Path] = None
    replay_records: int = 10_000
    quiet_before_s: float = 0.0
    quiet_after_s: float = 0.0
    load_id: Optional[str] = None


@dataclass(frozen=True)
class Plan:
    """What a load is going to do. ``to`` is the simulator, or the topic by exchange.

    ``messages`` is the exact number for what this host sends itself; a simulator tells its own when it is asked.
    """

    source: str
    rate: float
    seconds: float
    messages: int
    exact: bool
    to: Mapping[str, str]
    symbols: Mapping[str, str]
    ends: str


def section(profile: Profile) -> Load:
    """The profile's ``k2_load``.

    :raises RequestError: there is none.
    """
    if profile.load is None:
        raise RequestError("the platform has no loads", expected="a section k2_load in the profile", seen="none")
    return profile.load


def rate_of(profile: Profile, request: Request) -> float:
    """Messages per second of all shares together.

    :raises RequestError: the profile has no such load, or the override is absurd.
    """
    rates = section(profile).rates
    if request.load not in rates:
        raise RequestError(
            f"there is no load {request.load!r}",
            expected="a load of k2_load.rates",
            seen=repr(request.load),
            action=did_you_mean(request.load, rates),
        )
    rate = rates[request.load] if request.rate is None else request.rate
    low, high = RATE_LIMITS
    if not low <= rate <= high:
        raise RequestError("no such rate", expected=f"{low:g} to {high:g} messages per second", seen=f"{rate:g}")
    return rate


def check(profile: Profile, request: Request) -> None:
    """Refuse what cannot be done, before anything is touched.

    :raises RequestError: by its text. :raises TemplateError: a record's template cannot be filled.
    """
    rate_of(profile, request)
    if not 0 < request.seconds <= MAX_SECONDS:
        raise RequestError(
            "no such time", expected=f"more than 0, up to {MAX_SECONDS:g} s", seen=f"{request.seconds:g}"
        )
    if request.start_at_us is not None and request.start_at_us < utc_us():
        late_s = (utc_us() - request.start_at_us) / 1e6
        raise RequestError("the start is over", expected="start_at_us in the future", seen=f"{late_s:.3f} s ago")
    share = request.share
    if not 0 <= share.index < share.of:
        raise RequestError(
            "no such share", expected="index from 0 and below of", seen=f"share {share.index} of {share.of}"
        )
    if share.of > 1 and request.start_at_us is None:
        raise RequestError("shares of a load have to start together", expected="start_at_us", seen="none")
    load = section(profile)
    if request.source is Source.SIMULATOR:
        if load.control_url is None:
            raise RequestError(
                "there is no simulator to make the load", expected="k2_load.control_url in the profile", seen="none"
            )
        if share.of > 1:
            raise RequestError("a simulator makes a load alone", expected="share 0 of 1", seen=f"{share.of} shares")
        return
    if profile.broker is None or not load.records:
        raise RequestError(
            "there is nothing to write records to, or by",
            expected="k2_broker and k2_load.records in the profile",
            seen="no k2_broker" if profile.broker is None else "no k2_load.records",
        )
    if request.quiet_before_s or request.quiet_after_s:
        raise RequestError(
            "only a simulator can be quiet before and after", expected="quiet_before_s and quiet_after_s 0", seen="more"
        )
    if request.source is Source.FILE and request.data_file is None:
        raise RequestError("there are no trades to send", expected="data_file with source file", seen="none")
    for exchange, form in load.records.items():
        check_templates(exchange, form)


def schedule_of(profile: Profile, request: Request) -> Schedule:
    """The records that this host has to send itself.

    :raises K2Error: none, or too many.
    """
    exchanges = sorted(section(profile).records)
    return draw(exchanges, rate_of(profile, request), request.seconds, request.arrivals, request.seed, request.share)


def topics_of(profile: Profile) -> dict[str, str]:
    """The raw topic of each exchange whose records can be written."""
    assert profile.broker is not None, "checked by check()"
    return {exchange: profile.broker.topics[exchange].raw for exchange in sorted(section(profile).records)}


def plan(profile: Profile, request: Request) -> Plan:
    """What the load would do. Touches nothing.

    :raises K2Error: it cannot be done.
    """
    check(profile, request)
    load, rate = section(profile), rate_of(profile, request)
    if request.source is Source.SIMULATOR:
        return Plan(
            source=request.source.value,
            rate=rate,
            seconds=request.seconds,
            messages=round(rate * request.seconds),
            exact=False,
            to={"simulator": str(load.control_url)},
            symbols={},
            ends=f"the simulator returns to its base rate by itself, after {request.quiet_after_s:g} s of quiet",
        )
    return Plan(
        source=request.source.value,
        rate=rate,
        seconds=request.seconds,
        messages=len(schedule_of(profile, request)),
        exact=True,
        to=topics_of(profile),
        symbols={exchange: form.symbol for exchange, form in sorted(load.records.items())},
        ends="sending ends by itself; what it wrote stays until k2_load with state absent",
    )
