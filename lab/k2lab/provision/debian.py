# SPDX-License-Identifier: Apache-2.0
"""Where Debian's build of Prometheus lies once unpacked, and under which name Postgres is known to set-up."""

from __future__ import annotations

import platform
from pathlib import Path

from k2lab.provision.paths import Paths

PROMETHEUS_PROGRAMS = ("prometheus", "promtool")
POSTGRES_KEY = "postgres"


def prometheus_entry(paths: Paths) -> Path:
    """Directory of the cache that holds (or will hold) Debian's prometheus and promtool."""
    return paths.cache / f"prometheus-debian-{platform.machine()}"
