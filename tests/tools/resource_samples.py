# SPDX-License-Identifier: Apache-2.0
"""Windows of samples made up for tests, in the very files that the sampler writes."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import rfc3339
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.plan import plan_of
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.samples import (
    DiskRow,
    ServiceRow,
    TickRow,
    header,
    line_of,
)
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

MIB = 2**20
START_US = 1_790_000_000_000_000
START_NS = 5_000_000_000_000
BOOT = "boot-1"

PROFILE: dict[str, Any] = {
    "k2_platform": {
        "name": "shop",
        "scale": "lab",
        "runtime": "supervisor",
        "runtimes": {"supervisor": {"socket": "/run/s.sock"}},
    },
    "k2_services": {
        "store": {
            "kind": "database",
            "budget": {"cpus": 1.0, "memory": "512M"},
            "limit": {"cpus": 2.0, "memory": "256M"},
        },
        "web": {"kind": "service", "budget": {"cpus": 0.5, "memory": "128M"}},
    },
    "k2_budget": {"cpus": 1.5, "memory": "640M"},
}


def profile(**sections: Any) -> Profile:
    """The profile of the made-up windows, with other sections."""
    return parse_profile({**PROFILE, **sections})


@dataclass
class Made:
    """One service: cores and MiB by tick (None: not readable), its pid by tick, and OOM kills so far by tick."""

    cores: Sequence[float]
    memory: Sequence[float | None]
    pids: Sequence[int | None] | None = None
    ooms: Sequence[int] | None = None
    restarts: Sequence[int] | None = None
    _sums: list[float] | None = None
    why: str = "permission denied"

    def used(self, tick: int) -> float:
        """Cores of all ticks up to this one, but for the first, before which nobody looked."""
        if self._sums is None:
            self._sums = [0.0, *accumulate(self.cores[1:])]
        return self._sums[tick]


@dataclass
class MadeWindow:
    """A window of ``ticks`` looks. ``late_s`` shifts the wall clock from a tick on, ``dropped`` ticks are missing,
    ``boots`` has the boot from a tick on.
    """

    services: Mapping[str, Made]
    ticks: int
    interval_s: float = 5.0
    seconds: float | None = None
    state: str = "finished"
    late_s: Mapping[int, float] = field(default_factory=dict)
    dropped: frozenset[int] = frozenset()
    boots: Mapping[int, str] = field(default_factory=dict)
    planned: Sequence[Mapping[str, Any]] = ()
    planned_error: str = ""
    runs: Sequence[Mapping[str, Any]] = ()
    rate: float = 50.0
    per_stretch: Sequence[int] = ()
    traffic_error: str = ""
    limits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    disks: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def wall_us(self, tick: int) -> int:
        """The wall clock at a tick."""
        late = sum(by for at, by in self.late_s.items() if tick >= at)
        return START_US + int((tick * self.interval_s + late) * 1e6)

    def monotonic_ns(self, tick: int) -> int:
        """The monotonic clock at a tick."""
        return START_NS + int(tick * self.interval_s * 1e9)

    def boot(self, tick: int) -> str:
        """The boot at a tick."""
        return [BOOT, *(name for at, name in sorted(self.boots.items()) if tick >= at)][-1]

    def write(self, folder: Path, known: Profile) -> dict[str, Any]:
        """Facts for the gates of step S2, with files in ``folder``."""
        seconds = self.seconds if self.seconds is not None else (self.ticks - 1) * self.interval_s
        there = [tick for tick in range(self.ticks) if tick not in self.dropped]
        rows: dict[str, list[Any]] = {"services": [], "ticks": [], "disks": []}
        for tick in there:
            now = rfc3339(self.wall_us(tick))
            rows["ticks"].append(
                TickRow(tick, now, self.monotonic_ns(tick), self.boot(tick), 9.0, 77, tick * 0.05, 15 * MIB, 10**9, 0)
            )
            rows["services"] += [self._row(name, made, tick, now) for name, made in self.services.items()]
            rows["disks"] += [
                DiskRow(tick, now, name, used[tick], 10**12) for name, used in self.disks.items() if tick < len(used)
            ]
        files = {}
        for kind, own in rows.items():
            path = folder / f"{kind}.csv.gz"
            with gzip.open(path, "wb") as out:
                out.write(line_of(header(kind)))
                out.writelines(line_of([getattr(row, name) for name in header(kind)]) for row in own)
            files[kind] = str(path)
        last = there[-1]
        end = {"utc_us": self.wall_us(last), "monotonic_ns": self.monotonic_ns(last), "boot_id": self.boot(last)}
        plan = plan_of(known, seconds, self.interval_s, list(self.services))
        return {
            "collected": {
                "window": {
                    "standing": {"state": self.state, "window": "/w"},
                    "start": {"utc_us": START_US, "monotonic_ns": START_NS, "boot_id": BOOT},
                    "ended": {"state": self.state, **end} if self.state in ("finished", "stopped") else None,
                    "now": end,
                    "plan": plan.to_plain(),
                    "snapshot": {"time": rfc3339(START_US), "services": dict(self.limits)},
                },
                "files": {},
                "planned": list(self.planned),
                "planned_error": self.planned_error,
                "runs": list(self.runs),
                "runs_error": "",
                "traffic": {
                    "tier": "raw",
                    "records": int(self.rate * seconds),
                    "seconds": seconds,
                    "stretch_s": 10,
                    "per_stretch": list(self.per_stretch),
                    "error": self.traffic_error,
                },
            },
            "files": files,
            "loads": [],
        }

    def _row(self, name: str, made: Made, tick: int, now: str) -> ServiceRow:
        pid = 100 if made.pids is None else made.pids[tick]
        memory = made.memory[tick]
        gone = pid is None or memory is None
        return ServiceRow(
            tick,
            now,
            name,
            "exited" if pid is None else "running",
            None if gone else pid,
            None if gone else (pid or 0) * 7,
            None if gone else made.used(tick) * self.interval_s,
            None if gone else int((memory or 0) * MIB),
            None if gone else "pss",
            None if gone else 1,
            None if gone else 2,
            None if gone else 3,
            0 if made.restarts is None else made.restarts[tick],
            0 if made.ooms is None else made.ooms[tick],
            made.why if gone else "",
        )
