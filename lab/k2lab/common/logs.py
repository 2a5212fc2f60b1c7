# SPDX-License-Identifier: Apache-2.0
"""Logging set-up: one line per event on stderr, where the supervisor collects (and bounds) it."""

from __future__ import annotations

import logging
import sys
import time

LEVELS = ("debug", "info", "warning", "error")


def configure_logging(level: str = "info") -> None:
    """Send all log records at `level` (one of LEVELS) and above to stderr.

    Times are UTC with milliseconds, so that lines of several services sort into one sequence of events.
    """
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
