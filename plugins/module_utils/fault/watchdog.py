# SPDX-License-Identifier: Apache-2.0
"""Who undoes a fault when its maker cannot: a process of its own, up and proven to be before anything is touched.

It runs ``steps.py``, installed as a file beside the journal, and learns that its maker is gone from the end of a pipe
that nobody else holds. It has its own session, so that what kills the maker's process group leaves it alone, and takes
no lock of its maker with it.
"""

from __future__ import annotations

import hashlib
import os
import pkgutil
import select
import subprocess
import sys
from pathlib import Path
from typing import Optional

from ..core.clock import Deadline
from ..core.errors import K2Error
from .journal import Entry, Journal
from .steps import CANNOT_WATCH, NOT_UNDONE, NOTHING_TO_DO, UNDONE, write_durably

READY_S = 15.0
DONE_S = 60.0
_LOG_LINES = 3
_END_S = 5.0


class WatchdogError(K2Error):
    """The watchdog cannot be started, was not there, or could not undo."""


class Watchdog:
    """The guard over one open entry; made by ``guard``."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: int, log: Path) -> None:
        self._process = process
        self._pipe: int = pipe
        self._log = log

    @classmethod
    def guard(cls, journal: Journal, entry: Entry, timeout_s: float = READY_S) -> Watchdog:
        """Start the watchdog of ``entry`` and return when it watches. Call it before the fault.

        From then on the entry is undone when this process ends, or when the entry's deadline passes, unless it is
        closed by then. A child that is forked without becoming another program would hold the pipe open.

        Raises WatchdogError; nothing watches then.
        """
        if entry.deadline_ns is None:
            raise WatchdogError(
                "a watchdog needs to know until when", expected="an entry with deadline_ns", seen="none"
            )
        folder = journal.path.parent / "watchdog"
        log = folder / f"{entry.id}.log"
        ours, ready, hers = -1, -1, -1
        stdin = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            program = _installed(folder)
            stdin, ours = os.pipe()
            ready, hers = os.pipe()
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-I", str(program), str(journal.file(entry.id).absolute()), str(hers)],
                    stdin=stdin,
                    stdout=output,
                    stderr=output,
                    close_fds=True,
                    pass_fds=(hers,),
                    cwd="/",
                    start_new_session=True,
                    umask=0o022,
                )
        except (OSError, ValueError) as error:
            _close(ours, ready)
            raise WatchdogError(
                "the watchdog cannot be started",
                expected=f"a writable {folder} and a Python at {sys.executable!r}",
                seen=str(error),
            ) from error
        finally:
            _close(stdin, hers)
        try:
            _await_ready(process, ready, Deadline.after(timeout_s), log)
        except WatchdogError:
            # It may only be slow. Without a fault nothing is to be undone, and it must not come to it later.
            process.kill()
            process.wait()
            _close(ours)
            raise
        finally:
            _close(ready)
        return cls(process, ours, log)

    @property
    def alive(self) -> bool:
        """Whether it watches still. It ends by itself once it has undone the entry."""
        return self._process.poll() is None

    def done(self, timeout_s: float = DONE_S) -> bool:
        """Let go and wait for its end; whether it undid the entry, because its deadline was over or because the entry
        was not closed before this call.

        Raises WatchdogError: it could not undo, still tries after ``timeout_s``, or was ended by somebody, so that the
        fault was without a guard. Whether the entry is open is for the journal to tell.
        """
        _close(self._pipe)
        self._pipe = -1
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise WatchdogError(
                "the watchdog still tries to undo",
                expected=f"its end within {timeout_s:g} s",
                seen=_tail(self._log),
                action="run playbooks/undo.yml",
            ) from error
        if code == NOTHING_TO_DO:
            self._log.unlink(missing_ok=True)  # told nothing that anybody will ask for
        if code in (NOTHING_TO_DO, UNDONE):
            return code == UNDONE
        raise WatchdogError(
            "the watchdog could not undo" if code == NOT_UNDONE else "the watchdog ended before its time",
            expected="an end with the entry closed",
            seen=f"{f'signal {-code}' if code < 0 else f'exit code {code}'}: {_tail(self._log)}",
            action="run playbooks/undo.yml if the journal has an open entry",
        )


def _installed(folder: Path) -> Path:
    """The watchdog's program as a file in ``folder``, named by its content. Raises OSError."""
    # Also from within the archive that a module runs from.
    source = pkgutil.get_data(__package__, "steps.py")
    if source is None:
        raise FileNotFoundError("steps.py is not part of this module")
    path = folder / f"steps-{hashlib.sha256(source).hexdigest()[:12]}.py"
    if not path.exists() or path.read_bytes() != source:
        write_durably(path, source.decode("utf-8"))
    return path


def _await_ready(process: subprocess.Popen[bytes], ready: int, deadline: Deadline, log: Path) -> None:
    heard = select.select([ready], [], [], deadline.remaining())[0]
    if heard and os.read(ready, 16) == b"ready\n":
        return
    try:
        # A pipe that ended without a word is a process about to end: its exit code says why.
        code: Optional[int] = process.wait(_END_S if heard else 0)
    except subprocess.TimeoutExpired:
        code = None
    waited = "no sign of it in time" if code is None else f"exit code {code}"
    raise WatchdogError(
        "the watchdog does not watch" if code == CANNOT_WATCH else "the watchdog did not come up",
        expected="its word that it watches",
        seen=f"{waited}: {_tail(log)}",
        action=f"see {log}",
    )


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"its log cannot be read: {error}"
    return " | ".join(lines[-_LOG_LINES:]) or "its log is empty"


def _close(*handles: int) -> None:
    for handle in handles:
        if handle >= 0:
            os.close(handle)
