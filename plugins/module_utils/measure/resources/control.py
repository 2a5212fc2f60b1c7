# SPDX-License-Identifier: Apache-2.0
"""Begin, ask after, end and collect a window of samples: the facade of ``k2_resources``."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ...core.clock import NS_PER_S, Deadline, boot_id, rfc3339, utc_us
from ...core.errors import DeadlineExceeded, K2Error
from ...profile.model import Profile
from .axis import Hole, moments_of
from .context import runs_of, traffic_of
from .home import STOPPED, Holder, Home, WindowError
from .install import PAUSE_S, install, start
from .plan import Plan
from .planned import planned_faults
from .samples import KINDS, files_of, header, line_of
from .snapshot import refuse_unreadable, take_snapshot

RUNNING, DIED, NONE = "running", "died", "none"
COLLECTED = "collected"
END_S = 30.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Standing:
    """How a window stands: ``none``, ``running``, ``died``, ``finished`` or ``stopped``, and how far it has come.

    ``holes`` are those between looks, without what is missing since the last one (``silent_s``).
    """

    state: str
    text: str
    window: Optional[str] = None
    started: Optional[str] = None
    seconds: Optional[float] = None
    interval_s: Optional[float] = None
    passed_s: Optional[float] = None
    ticks: int = 0
    silent_s: Optional[float] = None
    holes: tuple[Hole, ...] = ()
    pid: Optional[int] = None
    sampler_cores: Optional[float] = None
    sampler_memory_bytes: Optional[int] = None

    def to_plain(self) -> dict[str, Any]:
        """As data."""
        return asdict(self)


def standing(home: Home) -> Standing:
    """How the window in ``home`` stands. Raises WindowError for a window that cannot be read."""
    if not home.exists:
        return Standing(NONE, f"nothing was ever started in {home.path}")
    window, ended, busy, holder = home.window(), home.ended(), home.busy(), home.holder()
    ticks = home.ticks()
    axis = home.axis(ticks)
    state = RUNNING if busy else DIED if ended is None else str(ended["state"])
    silent_s = None
    if ticks and ended is None:
        last = moments_of(ticks[-1:])[0]
        same_boot = last.boot_id == boot_id()
        silent_s = (
            (time.monotonic_ns() - last.monotonic_ns) / NS_PER_S if same_boot else (utc_us() - last.wall_us) / 1e6
        )
    own = [tick for tick in ticks if tick.sampler_pid == ticks[-1].sampler_pid] if ticks else []
    cores = None
    if len(own) > 1:
        cores = (own[-1].sampler_cpu_s - own[0].sampler_cpu_s) / (
            (own[-1].monotonic_ns - own[0].monotonic_ns) / NS_PER_S
        )
    return Standing(
        state,
        _text(state, silent_s, window.plan.interval_s, holder, home),
        str(home.path),
        rfc3339(window.start.utc_us),
        window.plan.seconds,
        window.plan.interval_s,
        axis.at_s[-1] if axis.at_s else 0.0,
        len(ticks),
        silent_s,
        axis.holes,
        holder.pid if busy and holder is not None else None,
        cores,
        max((tick.sampler_memory_bytes or 0 for tick in own), default=0) or None,
    )


def _text(state: str, silent_s: Optional[float], interval_s: float, holder: Optional[Holder], home: Home) -> str:
    if state == RUNNING:
        if silent_s is not None and silent_s > 3 * interval_s:
            free = shutil.disk_usage(home.path).free
            return f"the sampler runs, but wrote nothing for {silent_s:.0f} s ({free} bytes are free): {home.tail(1)}"
        return "the sampler runs"
    if state == DIED:
        foreign = holder is not None and holder.foreign
        taken = f"; pid {holder.pid} is another process now, and is left alone" if holder and foreign else ""
        return f"the sampler died before the window was over{taken}: state: started goes on with it"
    return f"the window is over: {state}"


def begin(home: Home, plan: Plan, *, only_look: bool) -> tuple[bool, Standing, str]:
    """Have the window sampled; whether anything changed, how it stands, and what was done.

    Goes on with a window that died, whatever ``plan`` says; begins a new one where none is, or where the last is over:
    that is kept. Raises WindowError, and begins nothing, where a service that runs cannot be read.
    """
    now = standing(home)
    if now.state == RUNNING:
        return False, now, f"a window runs since {now.started}, nothing was started"
    if now.state == DIED:
        if not only_look:
            start(home, install(home.path.parent))
        return True, standing(home), f"went on with the window that began {now.started}"
    snapshot = take_snapshot(plan)
    refuse_unreadable(snapshot)
    if only_look:
        return True, now, "a window would begin"
    if now.state != NONE:
        home.set_aside()
    home.create(plan, snapshot.to_plain())
    start(home, install(home.path.parent))
    return True, standing(home), "a window began"


def stop(home: Home, *, only_look: bool) -> tuple[bool, Standing]:
    """End the window before its time; its samples stay.

    Raises WindowError where nothing was ever started, DeadlineExceeded where the sampler does not end.
    """
    home.window()
    if home.ended() is not None and not home.busy():
        return False, standing(home)
    if only_look:
        return True, standing(home)
    home.end(STOPPED)
    deadline = Deadline.after(END_S + PAUSE_S)
    while home.busy():
        holder = home.holder()
        # Nobody is told to end by a number alone.
        if holder is not None and holder.alive:
            try:
                os.kill(holder.pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        if deadline.passed:
            raise DeadlineExceeded(
                "the sampler does not end",
                expected=f"its end within {END_S:g} s",
                seen=home.tail() or "nothing",
                action=f"see who holds {home.path}/sampler.lock (fuser), and end that process",
            )
        time.sleep(_POLL_S)
    return True, standing(home)


@dataclass(frozen=True)
class Collection:
    """All that is needed to judge a window; files lie on the target, compressed. Times are microseconds, UTC."""

    window: Mapping[str, Any]
    files: Mapping[str, str]
    planned: tuple[Mapping[str, Any], ...]
    planned_error: str
    runs: tuple[Mapping[str, Any], ...]
    runs_error: str
    traffic: Mapping[str, Any]

    def to_plain(self) -> dict[str, Any]:
        """As data."""
        return asdict(self)


def collect(home: Home, profile: Profile, journal: Path, *, only_look: bool) -> Collection:
    """Bring together what a window has so far, whether it is over or not.

    Raises WindowError before anything was started, or before the first look.
    """
    window, now = home.window(), standing(home)
    if not now.ticks:
        raise WindowError(
            "there is nothing to collect yet",
            expected="one look of the sampler at least",
            seen=now.text,
            action="wait for it, or see " + str(home.path / "sampler.log"),
        )
    ended = home.ended()
    last = moments_of(home.ticks()[-1:])[0]
    try:
        planned, planned_error = planned_faults(journal, window.start.utc_us), ""
    except K2Error as error:
        planned, planned_error = (), str(error)
    runs, runs_error = runs_of(profile, window.start.utc_us)
    return Collection(
        {
            "standing": now.to_plain(),
            "start": asdict(window.start),
            "ended": ended,
            "now": {"utc_us": utc_us(), "monotonic_ns": time.monotonic_ns(), "boot_id": boot_id()},
            "plan": window.plan.to_plain(),
            "snapshot": window.snapshot,
        },
        {} if only_look else _pack(home),
        tuple(each.to_plain() for each in planned),
        planned_error,
        tuple(asdict(each) for each in runs if each.started_us <= last.wall_us),
        runs_error,
        asdict(traffic_of(profile, window.start.utc_us, last.wall_us)),
    )


def _pack(home: Home) -> dict[str, str]:
    """One compressed CSV file of each kind, days joined, with one header. Raises WindowError."""
    folder = home.path / COLLECTED
    packed = {}
    try:
        folder.mkdir(exist_ok=True)
        for kind in KINDS:
            path = folder / f"{kind}.csv.gz"
            beside = path.with_suffix(".part")
            with gzip.open(beside, "wb", compresslevel=6) as out:
                out.write(line_of(header(kind)))
                for part in files_of(home.path, kind):
                    with part.open("rb") as lines:
                        lines.readline()
                        # A sampler at work may be in the middle of a line; _append leaves only whole ones behind.
                        content = lines.read()
                        out.write(content[: content.rfind(b"\n") + 1])
            beside.replace(path)
            packed[kind] = str(path)
    except OSError as error:
        raise WindowError(
            f"the samples cannot be packed in {folder}",
            expected="free space",
            seen=str(error),
            action="free space; the samples themselves are untouched",
        ) from error
    return packed
