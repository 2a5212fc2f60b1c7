# SPDX-License-Identifier: Apache-2.0
"""One run at a time on a platform, and no lock that outlives its holder."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault.lock import LockError, PlatformBusy, PlatformLock

HOLDER = """
import sys, time
from pathlib import Path
from ansible_collections.k2.hardening.plugins.module_utils.fault.lock import PlatformLock
lock = PlatformLock(Path(sys.argv[1]), "run-7")
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_run_is_told_who_is_there_until_that_dies(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "spot")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(PlatformBusy, match=f"process {holder.pid} of run run-7 since 20"):
        PlatformLock(tmp_path / "spot").acquire()
    holder.kill()
    holder.wait()
    with PlatformLock(tmp_path / "spot"):
        pass


def test_two_platforms_do_not_meet(tmp_path):
    with PlatformLock(tmp_path / "spot"), PlatformLock(tmp_path / "bets"):
        pass


def test_it_is_free_when_it_was_let_go(tmp_path):
    lock = PlatformLock(tmp_path / "spot", "r")
    with lock, pytest.raises(PlatformBusy):
        PlatformLock(tmp_path / "spot").acquire()
    lock.release()
    with lock:
        pass


def test_a_directory_that_cannot_be_used_is_not_a_free_platform(tmp_path):
    (tmp_path / "spot").write_text("")
    with pytest.raises(LockError, match="k2_state_dir"):
        PlatformLock(tmp_path / "spot").acquire()
