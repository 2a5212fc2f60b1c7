# SPDX-License-Identifier: Apache-2.0
"""Ask another host for its time again and again through one program that stays connected, as ssh does.

A connection made anew for each reading costs tens of milliseconds, and the bounds of the skew are as wide as that.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Optional

from ..core.clock import Deadline
from ..core.errors import K2Error

# For a POSIX shell on the host: a line with its time for each line that it is sent.
ANSWER_EACH_LINE = "while read -r _; do date +%s%N; done"
ANSWER_S = 5.0
_END_S = 2.0


class ClockDialogue:
    """Runs ``argv``, which has to end up in ``ANSWER_EACH_LINE`` on the other host, until it is left."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)

    def __enter__(self) -> ClockDialogue:
        """Start it. Raises K2Error when there is no such program."""
        try:
            self._process = subprocess.Popen(
                self._argv, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise K2Error("cannot ask for the time", expected=f"a program {self._argv[0]}", seen=str(error)) from error
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        """Let it end, and end it if it does not."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def read_us(self) -> int:
        """The other host's time in microseconds since the epoch. Raises K2Error where no time comes back."""
        answer = self._line()
        if not answer.isdigit():
            raise K2Error(
                "cannot read the target's clock",
                expected=f"nanoseconds from date +%s%N within {ANSWER_S:g} s",
                seen=answer or "nothing",
            )
        return int(answer) // 1000

    def _line(self) -> str:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None, "a pipe was asked for"
        assert answers is not None, "a pipe was asked for"
        deadline, said = Deadline.after(ANSWER_S), b""
        try:
            asked.write(b"\n")
            while not said.endswith(b"\n") and select.select([answers], [], [], deadline.remaining())[0]:
                if not (more := os.read(answers.fileno(), 64)):
                    break
                said += more
        except OSError as error:
            raise K2Error("cannot ask for the time", expected="an open connection", seen=str(error)) from error
        return said.decode("ascii", "replace").strip()
