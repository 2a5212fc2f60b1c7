# SPDX-License-Identifier: Apache-2.0
"""The program of a server that runs: its own, also behind the init of a container."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.request import program_at


@pytest.mark.parametrize("command", [["sleep", "600"], ["sh", "-c", "sleep 600; true"]])
def test_theprogram_at_is_that_of_the_first_process_that_is_no_wrapper(command: list[str]) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 20
            while not (found := program_at(process.pid)) or not Path(found).samefile(sleep):
                assert time.monotonic() < deadline, found
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_there_is_none_of_a_process_that_is_gone() -> None:
    assert program_at(2**22 + 1) is None
