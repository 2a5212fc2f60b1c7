# SPDX-License-Identifier: Apache-2.0
"""The kernel's words about processes that it killed, as kernels 5.10 and 6.1 wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform import kernel_log
from ansible_collections.k2.hardening.plugins.module_utils.platform.kernel_log import KernelLog

RECORDS = [
    "6,100,5,-;eth0: link up\n",
    "3,101,6,-;Memory cgroup out of memory: Killed process 31969 (tail) total-vm:34656kB, anon-rss:32128kB, UID:0\n",
    "3,102,7,-;Out of memory: Killed process 77 (java) total-vm:1kB\n",
    "6,103,8,-;oom_reaper: reaped process 77 (java), now anon-rss:0kB\n",
]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[KernelLog, list[str]]:
    """A log that gives one record a read, as the device does."""
    path = tmp_path / "kmsg"
    path.write_text("")
    records: list[str] = []
    left: list[bytes] = []

    def opened(*arguments: object) -> int:
        left[:] = [record.encode() for record in records]
        return real_open(*arguments)  # type: ignore[arg-type]

    def read(handle: int, size: int) -> bytes:
        if not left:
            raise BlockingIOError
        return left.pop(0)

    real_open = kernel_log.os.open
    monkeypatch.setattr(kernel_log.os, "open", opened)
    monkeypatch.setattr(kernel_log.os, "read", read)
    return KernelLog(str(path)), records


def test_each_kill_is_told_once(log: tuple[KernelLog, list[str]]) -> None:
    reader, records = log
    records += RECORDS[:2]
    assert reader.killed() == {31969}
    assert reader.killed() == frozenset()
    records += RECORDS[2:]
    assert reader.killed() == {77}


def test_a_log_that_may_not_be_read_tells_nothing(tmp_path: Path) -> None:
    assert KernelLog(str(tmp_path / "none")).killed() is None
