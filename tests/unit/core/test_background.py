# SPDX-License-Identifier: Apache-2.0
"""Work beside the main thread: its result, its error, and that nobody waits for it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.background import in_background

FOREVER = """
import threading
from ansible_collections.k2.hardening.plugins.module_utils.core.background import in_background
in_background(threading.Event().wait)
"""


def test_results_and_errors_come_from_the_future() -> None:
    gate = threading.Event()
    first = in_background(lambda: gate.wait(60))
    second = in_background(gate.set)
    assert second.result(60) is None
    assert first.result(60) is True
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 // 0).result(60)


def test_the_process_ends_without_it(project_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FOREVER],
        env={"PYTHONPATH": str(project_root / "collections")},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
