# SPDX-License-Identifier: Apache-2.0
"""Errors that end a program with one readable line instead of a traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable


class LabError(Exception):
    """Something the operator has to act on: what was expected, what was seen, what to do next."""

    def __init__(self, expected: str, seen: str, action: str) -> None:
        super().__init__(f"expected {expected}; seen: {seen}; what to do: {action}")
        self.expected = expected
        self.seen = seen
        self.action = action

    @property
    def brief(self) -> str:
        """The error in one line, without what to do."""
        return f"expected {self.expected}; seen: {self.seen.splitlines()[0] if self.seen else 'nothing'}"


def run_program(main: Callable[[], int]) -> None:
    """Run `main`, exit with its code; a LabError is logged in one line and exits 1."""
    try:
        code = main()
    except LabError as error:
        logging.getLogger("k2lab").error("%s", error)  # noqa: TRY400 - the message is the whole story
        code = 1
    sys.exit(code)
