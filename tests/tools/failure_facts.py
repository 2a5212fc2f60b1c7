# SPDX-License-Identifier: Apache-2.0
"""Facts of step S3 as a target brings them back: a platform with a scripted outage, a load through it, an audit after.

A small platform that is not K2: two sources, a log, a store, an archive that is filled by a schedule, and a board.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ansible_collections.k2.hardening.plugins.module_utils.measure.load.result import Counts, LoadResult
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.schedule import Arrivals, Share
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.sketch import Sketch
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

MODES: dict[str, Any] = {
    "log_restart": {
        "services": ["log"],
        "action": "restart",
        "max_recovery_s": 10,
        "affects": ["odds-uk", "odds-ie"],
    },
    "odds_crash": {
        "services": ["odds-uk", "odds-ie"],
        "action": "kill",
        "max_recovery_s": 5,
        "recovery_at": "served",
        "loss": "outage",
        "max_loss_s": 5,
    },
    "store_cut": {
        "services": ["store"],
        "action": "disconnect",
        "duration_s": 30,
        "max_recovery_s": 30,
        "recovery_from": "heal",
    },
    "archive_off": {
        "services": ["archiver"],
        "action": "stop",
        "duration_s": 40,
        "recovery_from": "heal",
        "recovery_at": "next_run",
        "max_recovery_s": 120,
    },
    "archive_killed": {
        "services": ["archiver"],
        "action": "kill_run",
        "recovery_at": "next_run",
        "max_recovery_s": 120,
    },
}
PROFILE_DATA: dict[str, Any] = {
    "k2_platform": {
        "name": "betting",
        "scale": "lab",
        "runtime": "supervisor",
        "runtimes": {"supervisor": {"socket": "/run/s.sock"}},
    },
    "k2_services": {
        "odds-uk": {"kind": "feed-handler", "exchange": "uk", "tier": "hot", "allow_faults": True},
        "odds-ie": {"kind": "feed-handler", "exchange": "ie", "tier": "hot", "allow_faults": True},
        "log": {"kind": "broker", "tier": "hot", "allow_faults": True},
        "store": {"kind": "database", "port": 8123, "tier": "hot", "allow_faults": True},
        "archiver": {"kind": "worker", "tier": "cold", "allow_faults": True},
        "board": {"kind": "dashboard", "allow_faults": True},
    },
    "k2_broker": {"bootstrap": "b:9092", "topics": {"uk": {"raw": "uk.in"}, "ie": {"raw": "ie.in"}}},
    "k2_clickhouse": {"host": "h", "port": 8123, "username": "u", "password": "", "database": "d"},
    "k2_tiers": [
        {
            "name": "slips",
            "store": "clickhouse",
            "table": "slips",
            "exchange_column": "bookie",
            "time_columns": {"placed": {"column": "at"}},
            "freshness": {"hop": "placed", "max_age_s": 30},
        }
    ],
    "k2_watermarks": {
        "host": "h", "port": 1, "database": "d", "username": "u", "password": "", "table": "t",
        "name_column": "n", "time_column": "at", "max_age_s": 300,
    },
    "k2_orchestrator": {"url": "http://o/api", "deployments": [{"name": "archive", "interval_s": 30}]},
    "k2_failure_modes": MODES,
}  # fmt: skip

QUIET_S = 10.0
BASE_NS = 5_000_000_000_000
STARTED_US = 1_700_000_000_000_000
# Of the load, in messages per second and exchange, and how long it runs before and after the fault.
RATE = 100
LOAD_S = 120
MECHANISMS = {
    "kill": "restarted by its supervisor",
    "restart": "restarted by the tool",
    "stop": "restarted by the tool",
}


def profile(**modes: Any) -> Profile:
    """The platform, with modes changed or added (None: left out)."""
    data = copy.deepcopy(PROFILE_DATA)
    data["k2_failure_modes"] = {
        name: mode for name, mode in (data["k2_failure_modes"] | modes).items() if mode is not None
    }
    return parse_profile(data)


PROFILE = profile()


def lane(
    name: str,
    kind: str = "service",
    exchange: str | None = None,
    down: Sequence[tuple[float, float]] = (),
    hole: tuple[float, float] | None = None,
    until: float = 30.0,
    interval: float = 0.25,
) -> dict[str, Any]:
    """Looks at something that is down between these seconds after the fault and is not looked at in ``hole``."""
    samples = []
    for number in range(round((QUIET_S + until) / interval)):
        at = number * interval - QUIET_S
        if hole is None or not hole[0] <= at < hole[1]:
            fails = any(low <= at < high for low, high in down)
            start = (at + QUIET_S) * 1e3
            samples.append([start, start + 5.0, int(not fails), "refused" if fails else ""])
    return {
        "name": f"{kind}:{exchange or name}",
        "kind": kind,
        "service": None if exchange else name,
        "exchange": exchange,
        "expected": "unaffected",
        "interval_s": interval,
        "timeout_s": 1.0,
        "skipped": 0,
        "samples": samples,
        "outage": {
            "symptom": [down[0][0], down[0][0] + interval] if down else None,
            "lower_s": max((high - low for low, high in down), default=0.0),
            "upper_s": max((high - low + interval for low, high in down), default=None),
            "t1": None,
            "t2": None,
            "shorter_than_s": None if down else 2 * interval,
            "fails": sum(not sample[2] for sample in samples),
            "n": len(samples),
        },
    }


def lanes(
    target: str, down: Sequence[tuple[float, float]], flows_down: Sequence[str] = (), until: float = 30.0
) -> list[dict[str, Any]]:
    """Lanes of the whole platform while ``target`` is down, with the flows of some exchanges."""
    found = []
    for service in PROFILE.services:
        own = down if service == target else ()
        found += [lane(service, kind, down=own, until=until) for kind in ("process", "service")]
    for exchange in PROFILE.exchanges:
        hit = down if exchange in flows_down else ()
        found.append(lane("", "flow", exchange, down=hit, until=until, interval=0.5))
    return found


def fault(mode: str, service: str, back_s: float = 2.0, **changes: Any) -> dict[str, Any]:
    """A fault that hit ``service`` and from which it was back after ``back_s``, measured to a quarter of a second.

    Seconds count from the injection, or from the heal of what is held.
    """
    written = MODES.get(mode) or {"action": "kill", "max_recovery_s": 30, "recovery_at": "served"}
    held_s = float(written.get("duration_s", 0.0))
    heals = written.get("recovery_from") == "heal"
    point = written.get("recovery_at") or "drained"
    until = held_s + back_s + 30.0
    untouched = written["action"] == "kill_run"
    flows = {"odds-uk": ["uk"], "odds-ie": ["ie"], "log": ["uk", "ie"], "store": ["uk", "ie"]}.get(service, [])
    down = [] if untouched else [(0.0, held_s + back_s)]
    span = [max(0.0, back_s - 0.25), back_s + 0.25]
    later = [span[0], span[1] + 1.0]
    run_s = [back_s + 40.0, back_s + 41.0]
    ends = {"served": span, "drained": later, "next_run": run_s}
    if point == "next_run":
        until += 60.0
    plain: dict[str, Any] = {
        "mode": mode,
        "service": service,
        "unit": service,
        "runtime": "supervisor",
        "action": written["action"],
        "boot_id": "b",
        "started_us": STARTED_US,
        "duration_s": held_s,
        "plan": {"action": "x", "expected_mechanism": MECHANISMS.get(written["action"], "healed itself")},
        "zero": "heal" if heals else "injection",
        "baseline_start_ns": BASE_NS,
        "injected": [at(0), at(0.01)],
        "healed": [at(held_s), at(held_s + 0.01)] if held_s else None,
        "ended_ns": at(until),
        "proof": {"proven": True, "what": "pid 41 became pid 97"},
        "mechanism": MECHANISMS.get(written["action"], "healed itself"),
        "lanes": lanes(service, down, flows, until),
        "t1_s": span,
        "t2_s": None if untouched else span,
        "t3_s": later if point == "drained" else None,
        "t4_s": run_s if point == "next_run" else None,
        "recovery": {"point": point, "low_s": ends[point][0], "high_s": ends[point][1]},
        "shorter_than_s": 0.26 if untouched else None,
        "at_least_s": 0.0,
        "why": "",
        "detection": {"health": [0.1, 0.4], "alerts": None},
        "drain": {"target": {"uk.in": {"0": 900}}, "reached": True, "why": ""} if point == "drained" else None,
        "cold": cold() if point == "next_run" else None,
        "restored": {"differences": []},
        "undone_by": "tool" if held_s else None,
        "steady_before": True,
        "steady_after": True,
        "n": 1,
        "problems": [],
        "error": None,
    }
    unknown = set(changes) - set(plain)
    assert not unknown, unknown
    return plain | changes


def at(seconds: float) -> int:
    """The moment so many seconds after the fault began."""
    return BASE_NS + round((QUIET_S + seconds) * 1e9)


def cold(**changes: Any) -> dict[str, Any]:
    """A cold tier that a fault hit and the next run put right."""
    return {
        "watermark_before": {"slips": "2026-01-01T00:00:00Z"},
        "watermark_held": True,
        "failed_run": {"id": "r1", "state": "CRASHED", "started_us": STARTED_US},
        "next_run": {"id": "r2", "state": "COMPLETED", "started_us": STARTED_US},
        "duplicates": 0,
        "missing": 0,
        "partial_commit": False,
        "why": "",
    } | changes


def load(**changes: Any) -> dict[str, Any]:
    """A load of both exchanges that ran from before the fault until long after it."""
    seconds = float(changes.pop("seconds", LOAD_S))
    start_us = int(changes.pop("start_us", STARTED_US + 5_000_000))
    count = round(RATE * seconds)
    counts = changes.pop("counts", {name: Counts(count, count, 0, count) for name in PROFILE.exchanges})
    sent = sum(each.sent for each in counts.values())
    lateness = Sketch()
    lateness.add(0.2, 100)
    end_us = start_us + round(seconds * 1e6)
    made = LoadResult(
        "simulator", "1x", 2.0 * RATE, seconds, Arrivals.POISSON, 1, Share(), start_us, end_us, end_us,
        sum(each.scheduled for each in counts.values()), sent, 0, None, {}, counts, lateness, None, 0.1, None,
        {"uk.in": {"0": 100}, "ie.in": {"0": 100}},
    ).to_plain()  # fmt: skip
    return made | changes


def audit(verdict: str = "EXACT", lost: dict[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    """An audit of the load, with so many records of an exchange that never came to the broker."""
    lost = lost or {}
    sent = RATE * LOAD_S
    seen = {name: sent - lost.get(name, 0) for name in PROFILE.exchanges}
    return {
        "verdict": "LOST" if any(lost.values()) and verdict == "EXACT" else verdict,
        "reason": "",
        "range": [
            {
                "topic": f"{name}.in",
                "partition": 0,
                "start": 100,
                "end": 100 + sent,
                "records": seen[name],
            }
            for name in PROFILE.exchanges
        ],
        "upstream": [
            {
                "exchange": name,
                "expected": sent,
                "seen": seen[name],
                "lost": lost.get(name, 0),
                "surplus": 0,
            }
            for name in PROFILE.exchanges
        ],
        "tiers": [tier()],
        "values": {"verdict": "EXACT", "reason": "", "differing": 0},
        "candles": [],
    } | changes


def tier(verdict: str = "EXACT", **changes: Any) -> dict[str, Any]:
    """One tier of an audit."""
    counts = {"missing": 0, "duplicated": 0, "unexpected": 0}
    return {"tier": "slips", "verdict": verdict, "reason": "all of it", **counts} | changes
