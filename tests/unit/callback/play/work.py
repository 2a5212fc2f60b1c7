# SPDX-License-Identifier: Apache-2.0
"""A program that tells of its progress, as the lab's programs do: counts to ten in the given number of seconds."""

from __future__ import annotations

import sys
import time

from ansible_collections.k2.hardening.plugins.module_utils.core.progress import Progress

with Progress.from_environment("counting to ten", unit="steps", total=10) as progress:
    for step in range(10):
        progress.update(step)
        time.sleep(float(sys.argv[1]) / 10)
