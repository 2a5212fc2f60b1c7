# SPDX-License-Identifier: Apache-2.0
"""Child processes that leave a log, obey a deadline and never outlive set-up."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from k2lab.provision.errors import CancelledError, SetupError

POLL_S = 0.05
GRACE_S = 5.0
TAIL_LINES = 15


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


class Runner:
    """Runs commands in sessions of their own, so that an interrupt reaches them through us, once and in order."""

    def __init__(self, log_directory: Path) -> None:
        self._logs = log_directory
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Make every command that runs or is yet to run end with CancelledError."""
        self._cancelled.set()

    def log(self, name: str) -> Path:
        """Where the output of the command of that name goes."""
        return self._logs / f"{name}.log"

    @property
    def cancelled(self) -> bool:
        """True after cancel()."""
        return self._cancelled.is_set()

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        timeout_s: float,
        remedy: str,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Path:
        """Run to the end, in the directory; returns the log.

        Raises SetupError on a non-zero end or after timeout_s, CancelledError on cancel().
        """
        if self.cancelled:
            raise CancelledError
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self.log(name)
        text = " ".join(str(part) for part in command)
        with log.open("w") as output:
            output.write(f"$ {text}\n")
            output.flush()
            try:
                child = subprocess.Popen(
                    [str(part) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(environ or {})},
                    cwd=directory,
                    start_new_session=True,
                )
            except OSError as error:
                raise SetupError(f"{name}: cannot start {command[0]}", seen=str(error), remedy=remedy) from error
            try:
                code = self._wait(child, time.monotonic() + timeout_s)
            finally:
                _end_session(child)
        if code is None:
            raise SetupError(
                f"{name}: not finished after {timeout_s:.0f} s", seen=tail(log), remedy=f"{remedy}\nfull log: {log}"
            )
        if code != 0:
            raise SetupError(
                f"{name}: {Path(command[0]).name} ended with {code}",
                seen=tail(log),
                remedy=f"{remedy}\nfull log: {log}",
            )
        return log

    def _wait(self, child: subprocess.Popen[bytes], deadline: float) -> int | None:
        while time.monotonic() < deadline:
            if self._cancelled.is_set():
                raise CancelledError
            try:
                return child.wait(POLL_S)
            except subprocess.TimeoutExpired:
                continue
        return None


def _end_session(child: subprocess.Popen[bytes]) -> None:
    """End the child and its own children: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            continue
    child.poll()
