# SPDX-License-Identifier: Apache-2.0
"""How far the cold tier has come: the watermark of each source, its age, and that it never moves back.

Age is taken on Postgres' own clock. A watermark younger than the profile's limit has advanced within that time, so one
look that finds all of them fresh is enough; otherwise they are watched, since the first offload of a new platform takes
a while.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Optional

from ..core.clock import Deadline, rfc3339
from ..core.errors import K2Error
from ..platform.postgres import DriverMissing, Login, NotThere, PostgresClient, Value, quote_name
from ..profile.model import Watermarks

POLL_INTERVAL_S = 2.0


@dataclass(frozen=True)
class Reading:
    """All watermarks when the server's clock showed ``now_s``; seconds since the epoch, None where a row has none."""

    rows: Mapping[str, Optional[float]]
    now_s: float


@dataclass(frozen=True)
class Watermark:
    """What was last seen of one source.

    ``found`` tells whether it has a row, ``first`` and ``at`` are the row's time at the first and the last sight,
    ``age_s`` the age of ``at``, ``back_s`` the furthest it fell behind a time it had reached before.
    """

    source: str
    max_age_s: float
    max_ahead_s: float
    found: bool = False
    first: Optional[str] = None
    at: Optional[str] = None
    age_s: Optional[float] = None
    back_s: Optional[float] = None

    @property
    def fresh(self) -> bool:
        """It is young enough, does not lie in the future, and never moved back."""
        return self.back_s is None and self.age_s is not None and -self.max_ahead_s <= self.age_s <= self.max_age_s


@dataclass(frozen=True)
class WatermarkWatch:
    """The watch as a whole. ``clock`` is the server's at the last reading.

    ``error`` says why the last reading failed, or why none was tried; ``absent`` that the server itself said that the
    table, or what holds it, does not exist.
    """

    table: str
    database: str
    watermarks: tuple[Watermark, ...]
    clock: Optional[str] = None
    readings: int = 0
    watched_s: float = 0.0
    error: Optional[str] = None
    absent: bool = False


def login(section: Watermarks) -> Login:
    """How to reach the table of ``section``."""
    return Login(section.host, section.port, section.database, section.username, section.password)


def statements(section: Watermarks) -> tuple[str, str]:
    """What is asked of Postgres: the newest time per name, then the server's clock.

    The clock is read last, so a row written meanwhile cannot seem to lie in the future. In a transaction of time zone
    UTC a time without a zone is UTC, and a date is its midnight. Names are quoted: they are exactly what the profile
    says.
    """
    name, moment, table = quote_name(section.name_column), quote_name(section.time_column), quote_name(section.table)
    return (
        f"SELECT {name}::text, extract(epoch FROM max({moment}))::float8 FROM {table} GROUP BY 1",
        "SELECT extract(epoch FROM clock_timestamp())::float8",
    )


def read_watermarks(section: Watermarks) -> Reading:
    """Ask Postgres once.

    Raises PostgresError, by its kind.
    """
    rows, ((now_s,),) = PostgresClient(login(section)).read(*statements(section))
    return Reading({str(name): _seconds(moment) for name, moment in rows}, _seconds(now_s) or 0.0)


def not_watched(section: Watermarks, why: str) -> WatermarkWatch:
    """The result of a watch that was not begun."""
    return WatermarkWatch(section.table, str(login(section)), (), error=why)


def watch_watermarks(
    section: Watermarks,
    max_ahead_s: float,
    read: Callable[[], Reading],
    deadline: Deadline,
    progress: Optional[Callable[[int, int], None]] = None,
) -> WatermarkWatch:
    """Read until every watermark is fresh, nothing more can change that, or ``deadline`` passes.

    Watched are the sources that ``section`` names or, where it names none, whatever rows there are. ``progress`` is
    called with (fresh, all). What goes wrong is part of the result and never raised.
    """
    began = time.monotonic()
    blank = Watermark("", section.max_age_s, max_ahead_s)
    watch = WatermarkWatch(
        section.table, str(login(section)), tuple(replace(blank, source=name) for name in section.sources)
    )
    furthest: dict[str, float] = {}
    hopeless = False
    while True:
        try:
            reading = read()
        except K2Error as error:
            watch = replace(watch, error=str(error), absent=isinstance(error, NotThere))
            hopeless = isinstance(error, DriverMissing)
        else:
            known = {mark.source: mark for mark in watch.watermarks}
            names = section.sources or sorted({*known, *reading.rows})
            marks = tuple(_sight(known.get(n, replace(blank, source=n)), reading, furthest) for n in names)
            clock = rfc3339(round(reading.now_s * 1e6))
            watch = replace(watch, watermarks=marks, clock=clock, readings=watch.readings + 1, error=None, absent=False)
        watch = replace(watch, watched_s=time.monotonic() - began)
        if progress is not None:
            progress(sum(mark.fresh for mark in watch.watermarks), len(watch.watermarks))
        settled = all(mark.fresh or mark.back_s is not None for mark in watch.watermarks)
        if hopeless or deadline.passed or (settled and watch.watermarks and watch.error is None):
            return watch
        time.sleep(min(POLL_INTERVAL_S, deadline.remaining()))


def _sight(mark: Watermark, reading: Reading, furthest: dict[str, float]) -> Watermark:
    """``mark`` after one more reading; ``furthest`` keeps how far each source has been seen."""
    moment = reading.rows.get(mark.source)
    if moment is None:
        return replace(mark, found=mark.source in reading.rows, at=None, age_s=None)
    at = _text(moment)
    sight = replace(mark, found=True, first=mark.first or at, at=at, age_s=None)
    if not math.isfinite(moment):
        return sight
    back_s = furthest.get(mark.source, moment) - moment
    furthest[mark.source] = max(moment, furthest.get(mark.source, moment))
    return replace(
        sight,
        age_s=reading.now_s - moment,
        back_s=max(back_s, mark.back_s or 0.0) if back_s > 0 or mark.back_s is not None else None,
    )


def _text(moment_s: float) -> str:
    """A time as RFC 3339; Postgres also knows times that no calendar of Python's holds."""
    try:
        return rfc3339(round(moment_s * 1e6))
    except (ValueError, OverflowError):
        return f"{moment_s:g} s after 1970" if math.isfinite(moment_s) else str(moment_s).replace("inf", "infinity")


def _seconds(value: Value) -> Optional[float]:
    if value is not None and not isinstance(value, (int, float)):
        raise K2Error("unexpected answer from Postgres", expected="seconds since the epoch", seen=repr(value))
    return value
