# SPDX-License-Identifier: Apache-2.0
"""The directory of one window on the target, and who is at work in it.

``window.json`` holds the plan and when the window began; ``ended.json`` is there once it is over; ``sampler.pid`` names
the sampler. Whoever samples holds ``sampler.lock``, which the kernel frees when its holder dies, so there is never a
second one; a number in a pid file alone proves nothing, since pids are used again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ...core.clock import ClockReading, boot_id, read_clock, rfc3339
from ...core.errors import K2Error
from ...fault.steps import sync_directory, write_durably
from ...platform.procfs import read_stat
from .axis import Axis, Moment, axis_of, moments_of
from .plan import Plan
from .samples import TickRow, read_ticks

WINDOW, ENDED, PID, LOCK, LOG = "window.json", "ended.json", "sampler.pid", "sampler.lock", "sampler.log"
FINISHED, STOPPED = "finished", "stopped"


class WindowError(K2Error):
    """A window of samples cannot be made, read or gone on with."""


@dataclass(frozen=True)
class Window:
    """A window as it began: its plan, the clocks at its start, and what was seen of the services then."""

    plan: Plan
    start: ClockReading
    snapshot: Mapping[str, Any]

    @property
    def moment(self) -> Moment:
        """Its start on the axis of time."""
        return Moment(self.start.utc_us, self.start.monotonic_ns, self.start.boot_id)


@dataclass(frozen=True)
class Holder:
    """The process that a pid file names, and whether it is that very process that runs."""

    pid: int
    started: int
    boot_id: str

    @property
    def alive(self) -> bool:
        """Whether the process that wrote the file still runs."""
        stat = read_stat(self.pid)
        return self.boot_id == boot_id() and stat is not None and not stat.ended and stat.start_ticks == self.started

    @property
    def foreign(self) -> bool:
        """Whether another process has its number now."""
        return not self.alive and read_stat(self.pid) is not None


class Home:
    """One window's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether a window was ever begun here."""
        return (self.path / WINDOW).exists()

    def create(self, plan: Plan, snapshot: Mapping[str, Any]) -> None:
        """Begin a window now. Raises WindowError."""
        start = read_clock()
        content = {"plan": plan.to_plain(), "start": asdict(start), "utc": rfc3339(start.utc_us), "snapshot": snapshot}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_durably(self.path / WINDOW, json.dumps(content))
        except OSError as error:
            raise WindowError(
                f"cannot begin a window in {self.path}",
                expected="a writable directory with free space",
                seen=str(error),
                action="free space, run with become: true, or correct state_dir",
            ) from error

    def window(self) -> Window:
        """The window as it began. Raises WindowError."""
        path = self.path / WINDOW
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return Window(Plan.from_plain(data["plan"]), ClockReading(**data["start"]), data["snapshot"])
        except FileNotFoundError as error:
            raise WindowError(
                "nothing was ever started here",
                expected=f"a window in {self.path}",
                seen="none",
                action="start one with state: started",
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WindowError(
                f"{path} cannot be read",
                expected="a window of this tool",
                seen=f"{type(error).__name__}: {error}",
                action="move the directory away and start anew",
            ) from error

    def ended(self) -> Optional[Mapping[str, Any]]:
        """How and when the window ended, None while it has not. Raises WindowError."""
        try:
            found: Mapping[str, Any] = json.loads((self.path / ENDED).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise WindowError(f"{self.path / ENDED} cannot be read", seen=str(error)) from error
        return found

    def end(self, how: str) -> None:
        """Note that the window is over; the first note counts. Raises WindowError."""
        if self.ended() is not None:
            return
        try:
            write_durably(self.path / ENDED, json.dumps({"state": how, **asdict(read_clock())}))
        except OSError as error:
            raise WindowError(f"the end cannot be noted in {self.path}", seen=str(error)) from error

    # -- who samples -------------------------------------------------------------------------------------------------

    def take(self) -> Optional[int]:
        """The lock as a handle to hold for life, or None where somebody else holds it. Raises OSError."""
        handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    def busy(self) -> bool:
        """Whether a sampler is at work here. Raises WindowError."""
        if not self.exists:
            return False
        try:
            handle = self.take()
        except OSError as error:
            raise WindowError(f"{self.path / LOCK} cannot be used", seen=str(error)) from error
        if handle is None:
            return True
        os.close(handle)
        return False

    def sign(self) -> None:
        """Write this process into the pid file. Raises OSError."""
        stat = read_stat(os.getpid())
        assert stat is not None
        write_durably(self.path / PID, json.dumps(asdict(Holder(stat.pid, stat.start_ticks, boot_id()))))

    def holder(self) -> Optional[Holder]:
        """Whom the pid file names; None where there is none, or nothing in it that can be read."""
        try:
            return Holder(**json.loads((self.path / PID).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    # -- what is there -----------------------------------------------------------------------------------------------

    def ticks(self) -> list[TickRow]:
        """Every tick so far. Raises WindowError."""
        try:
            return read_ticks(self.path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WindowError(
                f"the samples in {self.path} cannot be read",
                expected="files of this tool",
                seen=f"{type(error).__name__}: {error}",
            ) from error

    def axis(self, ticks: list[TickRow]) -> Axis:
        """The time axis of ``ticks``. Raises WindowError."""
        window = self.window()
        return axis_of(window.moment, moments_of(ticks), window.plan.interval_s)

    def tail(self, lines: int = 3) -> str:
        """The last lines that a sampler said of itself."""
        try:
            said = (self.path / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return " | ".join(said[-lines:])

    def set_aside(self) -> Path:
        """Keep an ended window under the name of its start, so that another can begin. Raises WindowError."""
        stamp = rfc3339(self.window().start.utc_us)[:19].replace("-", "").replace(":", "")
        kept = self.path.with_name(f"{self.path.name}-{stamp}Z")
        try:
            self.path.rename(kept)
            sync_directory(kept.parent)
        except OSError as error:
            raise WindowError(f"{self.path} cannot be set aside as {kept.name}", seen=str(error)) from error
        return kept
