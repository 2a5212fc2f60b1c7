# SPDX-License-Identifier: Apache-2.0
"""One run at a time on a platform: two would each take the other's fault for the platform's own trouble.

The kernel holds the lock for this process and lets go when it dies, however that happens; no file has to be removed.
Children that are other programs, such as the watchdog, do not inherit it.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Optional

from ..core.clock import now_rfc3339
from ..core.errors import K2Error

_NAME = "lock"


class PlatformBusy(K2Error):  # noqa: N818 - named after what is seen, as core.errors does
    """Another process works on this platform; the message names it."""


class LockError(K2Error):
    """Whether another process works on this platform cannot be told."""


class PlatformLock:
    """The lock of the platform whose state lies in ``directory`` on the target; a context manager."""

    def __init__(self, directory: Path, run_id: str = "") -> None:
        self.path = directory / _NAME
        self._run_id = run_id
        self._handle: Optional[int] = None

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises PlatformBusy when another holds it (in this process, too), LockError when the file cannot be used.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LockError(
                f"cannot use the lock {self.path}",
                expected="a writable directory",
                seen=str(error),
                action="run as a user who may write it, or correct k2_state_dir",
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            said = {"pid": os.getpid(), "run": self._run_id, "since": now_rfc3339()}
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(said).encode(), 0)
        except BlockingIOError as error:
            os.close(handle)
            raise PlatformBusy(
                "another run works on this platform",
                expected=f"nobody holding {self.path}",
                seen=self._holder(),
                action="wait for its end; when its process ends the lock is free",
            ) from error
        except OSError as error:
            os.close(handle)
            raise LockError(
                f"cannot take the lock {self.path}", expected="a lock and free space", seen=str(error)
            ) from error
        self._handle = handle

    def release(self) -> None:
        """Let go; without the lock nothing happens. The file stays: to remove it would let two hold one each."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> PlatformLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.release()

    def _holder(self) -> str:
        try:
            said = json.loads(self.path.read_text(encoding="utf-8"))
            return f"process {said['pid']} of run {said['run'] or 'without a name'} since {said['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "a process that has not said who it is"
