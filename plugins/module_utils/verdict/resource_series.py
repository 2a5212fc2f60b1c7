# SPDX-License-Identifier: Apache-2.0
"""Samples of a window as arrays on one axis of time. Needs numpy, so it runs on the controller."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ..core.errors import K2Error
from ..measure.resources.axis import HOLE_FACTOR, Axis, Hole, Moment, axis_of, wall_us
from ..measure.resources.home import FINISHED
from ..measure.resources.plan import Plan

# A service that recovers in time has done so by then; what comes later counts again.
SETTLE_S = 60.0
_RUNNING = "running"


@dataclass(frozen=True)
class PlannedWindow:
    """A stretch of time (microseconds, UTC) in which something was broken on purpose, recovery included."""

    start_us: int
    end_us: int
    what: str
    run_id: str


@dataclass(frozen=True)
class End:
    """A main process that was there and is gone, at a tick; ``times`` where the runtime knows of several."""

    service: str
    tick: int
    times: int
    planned: Optional[str] = None


@dataclass(frozen=True)
class OomKill:
    """Processes of a service that the kernel killed for want of memory, by a tick."""

    service: str
    tick: int
    times: int
    planned: Optional[str] = None


@dataclass(frozen=True)
class ServiceSeries:
    """One service over all ticks. Arrays have a value per tick, NaN where there is none.

    ``cores`` of a tick is the mean since the tick before. ``missing`` counts ticks at which it should have been read
    and was not, outside planned windows; ``why`` is what was said of the last of them.
    """

    name: str
    cores: Any
    memory: Any
    fds: Any
    threads: Any
    memory_kind: str
    missing: int
    why: str


@dataclass(frozen=True)
class Window:
    """A window as it was sampled. ``planned`` marks ticks that do not count; ``seconds`` is how long it has lasted."""

    plan: Plan
    state: str
    seconds: float
    axis: Axis
    wall_us: Any
    planned: Any
    planned_windows: tuple[PlannedWindow, ...]
    services: Mapping[str, ServiceSeries]
    ends: tuple[End, ...]
    ooms: tuple[OomKill, ...]
    reboots: tuple[float, ...]
    sampler_cores: Optional[float]
    sampler_memory_bytes: Optional[int]
    disks: Mapping[str, Any]
    snapshot: Mapping[str, Any]

    @property
    def missing_s(self) -> float:
        """Seconds of the window without samples."""
        return sum(hole.missing_s for hole in self.axis.holes)

    def total(self, what: str) -> Any:
        """``cores`` or ``memory`` of all services by tick; NaN where one that runs is not known."""
        return sum(getattr(each, what) for each in self.services.values())


def read_window(collected: Mapping[str, Any], files: Mapping[str, str]) -> Window:
    """The window of ``collected`` (from ``k2_resources``) with the samples in ``files`` (CSV, by kind, here).

    Raises K2Error for files that are none, or that have no tick.
    """
    try:
        about = collected["window"]
        plan = Plan.from_plain(about["plan"])
        ticks = _rows(files["ticks"])
        moments = [Moment(wall_us(row["time"]), int(row["monotonic_ns"]), row["boot_id"]) for row in ticks]
        if not moments:
            raise ValueError("no tick")
        start = Moment(about["start"]["utc_us"], about["start"]["monotonic_ns"], about["start"]["boot_id"])
        axis, seconds = _to_the_end(axis_of(start, moments, plan.interval_s), moments[-1], about, plan)
        planned_windows = tuple(_planned(each, moments, about["now"]["utc_us"]) for each in collected["planned"])
        planned = _mark(moments, planned_windows)
        index = {int(row["tick"]): place for place, row in enumerate(ticks)}
        services, ends, ooms = _services(plan, _rows(files["services"]), index, moments, planned)
        reboots = tuple(hole.at_s for hole in axis.holes if hole.reboot)
        cores, memory = _sampler(ticks, moments)
        return Window(
            plan,
            str(about["standing"]["state"]),
            seconds,
            axis,
            _array([moment.wall_us for moment in moments]),
            planned,
            planned_windows,
            services,
            tuple(replace(each, planned=_during(each.tick, moments, planned_windows)) for each in ends),
            tuple(replace(each, planned=_during(each.tick, moments, planned_windows)) for each in ooms),
            reboots,
            cores,
            memory,
            _disks(_rows(files["disks"]), index, axis),
            about["snapshot"],
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise K2Error(
            "the samples of the window cannot be read",
            expected="what k2_resources collected, and its files on the controller",
            seen=f"{type(error).__name__}: {error}",
        ) from error


def _rows(path: str) -> list[dict[str, str]]:
    with gzip.open(Path(path), "rt", encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _array(values: Sequence[Any]) -> Any:
    import numpy as np

    return np.asarray(values, dtype=float)


def _to_the_end(axis: Axis, last: Moment, about: Mapping[str, Any], plan: Plan) -> tuple[Axis, float]:
    """The axis with what is missing behind its last tick: of a sampler that died, or writes no more."""
    passed_s = axis.at_s[-1]
    ended = about["ended"]
    end = ended if ended is not None else about["now"]
    same_boot = end["boot_id"] == last.boot_id
    silent_s = (end["monotonic_ns"] - last.monotonic_ns) / 1e9 if same_boot else (end["utc_us"] - last.wall_us) / 1e6
    until_s = min(max(plan.seconds, passed_s), passed_s + max(0.0, silent_s))
    if ended is not None and ended["state"] == FINISHED:
        until_s = max(passed_s, plan.seconds)
    silent_s = until_s - passed_s
    if silent_s <= HOLE_FACTOR * plan.interval_s:
        return axis, passed_s
    return replace(axis, holes=(*axis.holes, Hole(passed_s, silent_s, not same_boot))), until_s


def _planned(entry: Mapping[str, Any], moments: Sequence[Moment], now_us: int) -> PlannedWindow:
    """What a fault excuses: all until its undo, or until its watchdog's deadline where that is sooner, and recovery."""
    end_us = now_us if entry["closed_us"] is None else int(entry["closed_us"])
    own = [moment for moment in moments if moment.boot_id == entry["boot_id"]]
    if entry["deadline_ns"] is not None and own:
        near = min(own, key=lambda moment: abs(moment.monotonic_ns - entry["deadline_ns"]))
        end_us = min(end_us, near.wall_us + (entry["deadline_ns"] - near.monotonic_ns) // 1000)
    start_us = int(entry["opened_us"])
    what = f"{entry['action']} of {entry['target']}"
    return PlannedWindow(start_us, max(start_us, end_us) + int(SETTLE_S * 1e6), what, str(entry["run_id"]))


def _mark(moments: Sequence[Moment], windows: Iterable[PlannedWindow]) -> Any:
    """Ticks that tell of a planned window: what a tick tells began at the tick before."""
    import numpy as np

    walls = np.asarray([moment.wall_us for moment in moments])
    before = np.concatenate([walls[:1], walls[:-1]])
    marked = np.zeros(len(walls), dtype=bool)
    for window in windows:
        marked |= (walls >= window.start_us) & (before <= window.end_us)
    return marked


def _during(tick: int, moments: Sequence[Moment], windows: Iterable[PlannedWindow]) -> Optional[str]:
    """The planned window in which something happened that was seen at ``tick``; None where there is none."""
    walls = (moments[max(0, tick - 1)].wall_us, moments[tick].wall_us)
    return next((each.what for each in windows if walls[1] >= each.start_us and walls[0] <= each.end_us), None)


def _services(
    plan: Plan, rows: Iterable[Mapping[str, str]], index: Mapping[int, int], moments: Sequence[Moment], planned: Any
) -> tuple[dict[str, ServiceSeries], list[End], list[OomKill]]:
    by_service: dict[str, list[Optional[Mapping[str, str]]]] = {
        target.service: [None] * len(moments) for target in plan.targets
    }
    for row in rows:
        place = index.get(int(row["tick"]))
        if place is not None and row["service"] in by_service:
            by_service[row["service"]][place] = row
    found, ends, ooms = {}, [], []
    for target in plan.targets:
        own = by_service[target.service]
        found[target.service] = _series(target.service, target.one_shot, own, moments, plan.interval_s, planned)
        ends += _ends(target.service, target.one_shot, own, moments)
        ooms += _ooms(target.service, own)
    return found, ends, ooms


def _series(
    name: str,
    one_shot: bool,
    rows: Sequence[Optional[Mapping[str, str]]],
    moments: Sequence[Moment],
    interval_s: float,
    planned: Any,
) -> ServiceSeries:
    import numpy as np

    def column(key: str) -> Any:
        return _array([float(row[key]) if row and row[key] != "" else float("nan") for row in rows])

    cpu, memory = column("cpu_s"), column("memory_bytes")
    idle = np.asarray([one_shot and row is not None and row["pid"] == "" and row["state"] != "unknown" for row in rows])
    cores = np.full(len(rows), np.nan)
    for place in range(1, len(rows)):
        apart_s = (moments[place].monotonic_ns - moments[place - 1].monotonic_ns) / 1e9
        same = _identity(rows[place], moments[place]) == _identity(rows[place - 1], moments[place - 1])
        if same and moments[place].boot_id == moments[place - 1].boot_id and 0 < apart_s <= HOLE_FACTOR * interval_s:
            used = cpu[place] - cpu[place - 1]
            # A process tree may lose a child that nobody waited for: its time is not known, and not less than nothing.
            cores[place] = used / apart_s if used >= 0 else np.nan
    memory[idle], cores[idle] = 0.0, 0.0
    absent = ~np.isfinite(memory) & ~planned
    kinds = [row["memory_kind"] for row in rows if row and row["memory_kind"]]
    whys = [row["why"] or row["state"] for row, gone in zip(rows, absent) if row and gone]
    return ServiceSeries(
        name,
        cores,
        memory,
        column("fds"),
        column("threads"),
        kinds[-1] if kinds else "",
        int(absent.sum()),
        whys[-1] if whys else "",
    )


def _identity(row: Optional[Mapping[str, str]], moment: Moment) -> Optional[tuple[str, str, str]]:
    if row is None or row["pid"] == "":
        return None
    return row["pid"], row["started"], moment.boot_id


def _ends(
    name: str, one_shot: bool, rows: Sequence[Optional[Mapping[str, str]]], moments: Sequence[Moment]
) -> list[End]:
    """Where the main process became another, or none. A reboot is told once, not of each service."""
    found = []
    last: Optional[tuple[str, str, str]] = None
    counted: Optional[int] = None
    for place, row in enumerate(rows):
        if row is None or row["state"] == "unknown":
            continue
        now = _identity(row, moments[place])
        counter = int(row["restarts"]) if row["restarts"] else None
        rebooted = last is not None and moments[place].boot_id != last[2]
        over = one_shot and now is None and row["state"] == "exited" and row["why"] == ""
        lost = last is not None and now != last and not rebooted and not over
        if now is None and row["why"] and row["state"] == _RUNNING:
            continue  # there, only not to be read
        known = counter is not None and counted is not None and not rebooted
        times = max(int(lost), counter - counted if known and counter is not None and counted is not None else 0)
        if times > 0:
            found.append(End(name, place, times))
        last = now
        counted = counter if counter is not None else counted
    return found


def _ooms(name: str, rows: Sequence[Optional[Mapping[str, str]]]) -> list[OomKill]:
    found = []
    before = 0
    for place, row in enumerate(rows):
        if row is None:
            continue
        now = int(row["oom_kills"] or 0)
        if now > before:
            found.append(OomKill(name, place, now - before))
        before = now
    return found


def _sampler(ticks: Sequence[Mapping[str, str]], moments: Sequence[Moment]) -> tuple[Optional[float], Optional[int]]:
    """What the sampler used: cores over the stretches in which one process of it was at work, and its most memory."""
    used = passed = 0.0
    for place in range(1, len(ticks)):
        if ticks[place]["sampler_pid"] == ticks[place - 1]["sampler_pid"]:
            used += float(ticks[place]["sampler_cpu_s"]) - float(ticks[place - 1]["sampler_cpu_s"])
            passed += (moments[place].monotonic_ns - moments[place - 1].monotonic_ns) / 1e9
    memory = [int(row["sampler_memory_bytes"]) for row in ticks if row["sampler_memory_bytes"]]
    return (used / passed if passed > 0 else None), (max(memory) if memory else None)


def _disks(rows: Iterable[Mapping[str, str]], index: Mapping[int, int], axis: Axis) -> dict[str, Any]:
    """By disk: seconds, bytes used, bytes free, and what went wrong last."""
    found: dict[str, Any] = {}
    for row in rows:
        place = index.get(int(row["tick"]))
        if place is None:
            continue
        own = found.setdefault(row["disk"], {"at_s": [], "used": [], "free": None, "why": ""})
        own["why"] = row["why"]
        if row["used_bytes"]:
            own["at_s"].append(axis.at_s[place])
            own["used"].append(int(row["used_bytes"]))
            own["free"] = int(row["free_bytes"])
    return found
