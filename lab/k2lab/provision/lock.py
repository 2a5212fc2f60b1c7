# SPDX-License-Identifier: Apache-2.0
"""Locks between set-ups: two in one clone, or two clones that fill the shared cache."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from k2lab.provision.errors import CancelledError, SetupError

POLL_S = 0.1


@contextmanager
def exclusive(
    path: Path, *, timeout_s: float, waiting: Callable[[str], None], cancelled: Callable[[], bool]
) -> Iterator[None]:
    """Hold the lock file. The kernel drops the lock when its holder ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        deadline = time.monotonic() + timeout_s
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip() or "unknown"
                if not told:
                    waiting(f"waiting for the set-up that holds {path} (pid {holder})")
                    told = True
                if cancelled():
                    raise CancelledError from None
                if time.monotonic() > deadline:
                    raise SetupError(
                        f"another set-up has held {path} for {timeout_s:.0f} s",
                        seen=f"pid {holder}",
                        remedy="wait for it, or end it, then run again",
                    ) from None
                time.sleep(POLL_S)
        handle.seek(0)
        handle.truncate()
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield
