# SPDX-License-Identifier: Apache-2.0
"""The sampler: a process of its own that looks every few seconds until its window is over.

It runs from files that ``install`` put on the target, since a module's archive is gone when the module ends, and knows
its window by a directory. Started again after a kill or a reboot it goes on with the same window: what is missing stays
missing, for all to see. Exit codes: 0 the window is over, 2 it cannot be sampled, 3 another sampler is at work.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Optional

from ...core.clock import NS_PER_S, boot_id, rfc3339, utc_us
from ...core.errors import K2Error
from ...platform.procfs import pss_bytes
from .axis import Moment, moments_of
from .disks import DiskWatch
from .home import FINISHED, STOPPED, Home
from .reader import Reader
from .samples import KINDS, SampleFiles, TickRow, last_oom_kills, last_row, mend

DONE, CANNOT, TAKEN = 0, 2, 3
_MEMINFO = Path("/proc/meminfo")


class Sampler:
    """One run of the sampler over a window."""

    def __init__(self, home: Home) -> None:
        self._home = home
        window = home.window()
        self._plan = window.plan
        mend(home.path)
        ticks = home.ticks()
        axis = home.axis(ticks)
        moments = moments_of(ticks[-1:]) or [window.moment]
        self._passed_s = (axis.at_s[-1] if axis.at_s else 0.0) + _since(moments[-1])
        self._tick = 1 + max(int(last_row(home.path, kind).get("tick", -1)) for kind in KINDS)
        self._reader = Reader(self._plan, last_oom_kills(home.path), moments[-1].wall_us)
        self._disks = DiskWatch(self._plan.disks)
        self._files = SampleFiles(home.path)

    def run(self) -> int:
        """Look until the window is over or somebody ends it; the exit code."""
        began_ns = time.monotonic_ns() - int(self._passed_s * NS_PER_S)
        interval_ns = int(self._plan.interval_s * NS_PER_S)
        end_ns = began_ns + int(self._plan.seconds * NS_PER_S)
        while True:
            if self._home.ended() is not None:
                return self._over()
            self._look()
            now_ns = time.monotonic_ns()
            if now_ns >= end_ns:
                self._finish()
                return self._over()
            # Due at whole intervals since the window began, also after a hole, and when it ends.
            due_ns = min(began_ns + ((now_ns - began_ns) // interval_ns + 1) * interval_ns, end_ns)
            if _told_to_end(max(0.0, (due_ns - now_ns) / NS_PER_S)):
                self._home.end(STOPPED)

    def _look(self) -> None:
        began_ns, now_us = time.monotonic_ns(), utc_us()
        now = rfc3339(now_us)
        services = self._reader.look(self._tick, now)
        disks = self._disks.look(self._tick, now)
        used = resource.getrusage(resource.RUSAGE_SELF)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        tick = TickRow(
            self._tick,
            now,
            began_ns,
            boot_id(),
            round((time.monotonic_ns() - began_ns) / 1e6, 3),
            os.getpid(),
            round(used.ru_utime + used.ru_stime + children.ru_utime + children.ru_stime, 6),
            pss_bytes(os.getpid()),
            _available(),
            self._reader.host_oom_kills,
        )
        told = self._files.problem
        if not self._files.append(now_us, services, disks, tick) and not told:
            _say(self._files.problem)
        self._tick += 1

    def _finish(self) -> None:
        """Write what waits and note the end; a disk that is full now may have room later."""
        while not self._files.flush() or not self._noted():
            _told_to_end(self._plan.interval_s)

    def _noted(self) -> bool:
        try:
            self._home.end(FINISHED)
        except K2Error as error:
            _say(str(error))
            return False
        return True

    def _over(self) -> int:
        self._reader.close()
        _say("the window is over")
        return DONE


def _since(moment: Moment) -> float:
    """Seconds since ``moment``; over a reboot by the wall clock, the only one there is."""
    if moment.boot_id == boot_id():
        return (time.monotonic_ns() - moment.monotonic_ns) / NS_PER_S
    return max(0.0, (utc_us() - moment.wall_us) / 1e6)


def _told_to_end(seconds: float) -> bool:
    """Wait for ``seconds``, or until SIGTERM comes, which is blocked otherwise: no look is ever cut in two."""
    return signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, seconds) is not None


def _available() -> Optional[int]:
    for line in _MEMINFO.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _say(text: str) -> None:
    try:
        sys.stderr.write(f"{rfc3339(utc_us())} {os.getpid()} {text}\n")
        sys.stderr.flush()
    except OSError:
        # A disk that is full takes no words either.
        return


def main(arguments: list[str]) -> int:
    """Sample the window in the directory that the only argument names; the exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    home = Home(Path(arguments[0]))
    try:
        if home.take() is None:
            _say("another sampler is at work")
            return TAKEN
        home.sign()
        sampler = Sampler(home)
        _say("sampling")
        return sampler.run()
    except K2Error as error:
        _say(f"{type(error).__name__}: {error}")
        return CANNOT
