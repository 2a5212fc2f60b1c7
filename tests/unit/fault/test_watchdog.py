# SPDX-License-Identifier: Apache-2.0
"""The watchdog, a real detached process: whatever becomes of the maker, what it changed is put back, and only then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.fault import steps
from ansible_collections.k2.hardening.plugins.module_utils.fault import watchdog as watchdog_module
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.fault.lock import PlatformLock
from ansible_collections.k2.hardening.plugins.module_utils.fault.watchdog import Watchdog, WatchdogError

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
# Changes something (makes the file "broken"), says so, and stands there until it is ended.
MAKER = """
import sys, time
from pathlib import Path
from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.fault.lock import PlatformLock
from ansible_collections.k2.hardening.plugins.module_utils.fault.watchdog import Watchdog
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
with PlatformLock(folder / "spot", "run-1"):
    journal = Journal(folder / "spot" / "undo")
    undo = {"op": "exec", "argv": ["rm", "-f", str(folder / "broken")], "ok": [0]}
    entry = journal.open("run-1", "kafka", "break", "mend", {}, steps=[undo], deadline_ns=Deadline.after(seconds).at_ns)
    guard = Watchdog.guard(journal, entry)
    (folder / "broken").touch()
    print(guard._process.pid, flush=True)
    time.sleep(60)
"""


class Maker:
    """A process that has broken something under guard; in a process group of its own."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder = folder
        self.journal = Journal(folder / "spot" / "undo")
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAKER, str(folder), str(seconds)],
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.watchdog_pid = int(self.process.stdout.readline())
        (self.entry,) = self.journal.open_entries()

    @property
    def broken(self) -> bool:
        return (self.folder / "broken").exists()

    def is_mended(self) -> bool:
        return not self.broken and self.journal.closed_by(self.entry.id) == "watchdog"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[float], Maker]]:
    made: list[Maker] = []

    def start(seconds: float) -> Maker:
        made.append(Maker(tmp_path, seconds))
        return made[-1]

    yield start
    for maker in made:
        maker.process.kill()
        maker.process.wait()
        eventually(lambda pid=maker.watchdog_pid: steps.start_ticks(pid) is None)


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_maker_killed_leaves_nothing_broken(make):
    maker = make(60)
    assert maker.broken
    maker.process.kill()
    eventually(maker.is_mended)
    assert maker.journal.open_entries() == []


def test_what_kills_the_makers_process_group_leaves_the_watchdog(make):
    maker = make(60)
    os.killpg(maker.process.pid, signal.SIGKILL)
    eventually(maker.is_mended)


def test_a_maker_that_hangs_is_not_waited_for_beyond_the_deadline(make):
    maker = make(1.5)
    maker.process.send_signal(signal.SIGSTOP)
    assert maker.broken
    eventually(maker.is_mended)
    assert maker.process.poll() is None


def test_a_watchdog_that_is_asked_to_end_undoes_first(make):
    maker = make(60)
    os.kill(maker.watchdog_pid, signal.SIGTERM)
    eventually(maker.is_mended)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_terminal_that_goes_away_does_not_end_the_guard(make, number):
    maker = make(60)
    status = Path(f"/proc/{maker.watchdog_pid}/status").read_text()
    ignored = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:"))
    assert int(ignored, 16) >> (number - 1) & 1
    os.kill(maker.watchdog_pid, number)
    assert maker.broken
    maker.process.kill()
    eventually(maker.is_mended)


def test_the_watchdog_holds_no_lock_of_its_maker(make):
    maker = make(60)
    os.kill(maker.watchdog_pid, signal.SIGSTOP)
    maker.process.kill()
    maker.process.wait()
    try:
        with PlatformLock(maker.folder / "spot"):
            assert maker.broken
    finally:
        os.kill(maker.watchdog_pid, signal.SIGCONT)
    eventually(maker.is_mended)


def entry_of(journal: Journal, argv: list[str], seconds: float = 60.0):
    undo = {"op": "exec", "argv": argv, "ok": [0]}
    return journal.open("r", "kafka", "break", "mend", {}, steps=[undo], deadline_ns=Deadline.after(seconds).at_ns)


def test_what_its_maker_closed_is_not_undone_again(tmp_path):
    journal = Journal(tmp_path / "undo")
    entry = entry_of(journal, ["touch", str(tmp_path / "undone")])
    guard = Watchdog.guard(journal, entry)
    assert guard.alive
    journal.close(entry.id)
    assert guard.done() is False
    assert not guard.alive
    assert not (tmp_path / "undone").exists()
    assert journal.closed_by(entry.id) == "tool"
    # Nothing but the program itself is left, for the next.
    assert [path.suffix for path in (tmp_path / "watchdog").iterdir()] == [".py"]


def test_letting_go_of_an_open_entry_has_it_undone(tmp_path):
    journal = Journal(tmp_path / "undo")
    entry = entry_of(journal, ["touch", str(tmp_path / "undone")])
    guard = Watchdog.guard(journal, entry)
    assert guard.done() is True
    assert (tmp_path / "undone").exists()
    assert journal.closed_by(entry.id) == "watchdog"
    journal.close(entry.id)  # its maker need not know


def test_what_cannot_be_undone_stays_open_and_says_why(tmp_path):
    journal = Journal(tmp_path / "undo")
    entry = entry_of(journal, ["sh", "-c", "echo the disk is on fire; exit 7"])
    short = tmp_path / "short.py"
    short.write_text(Path(steps.__file__).read_text().replace("RETRY_S = 600.0", "RETRY_S = 0.5"))
    ended = subprocess.run(
        [sys.executable, "-I", short, journal.file(entry.id)], stdin=subprocess.DEVNULL, timeout=20, check=False
    )
    assert ended.returncode == steps.NOT_UNDONE
    assert journal.open_entries() == [entry]
    assert "exit code 7 the disk is on fire" in journal.last_failure(entry.id)
    assert journal.last_failure(entry.id).startswith("watchdog at ")
    journal.close(entry.id)
    assert journal.last_failure(entry.id) == ""


def test_a_watchdog_that_still_tries_is_told_of(tmp_path):
    journal = Journal(tmp_path / "undo")
    guard = Watchdog.guard(journal, entry_of(journal, ["false"]))
    with pytest.raises(WatchdogError, match="still tries"):
        guard.done(0.5)
    guard._process.kill()
    with pytest.raises(WatchdogError, match=r"ended before its time.*signal 9"):
        guard.done()


def test_a_watchdog_that_does_not_come_up_is_told_before_anything_is_touched(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "undo")
    entry = entry_of(journal, ["true"])
    journal.close(entry.id)
    with pytest.raises(WatchdogError, match=r"does not watch.*No such file"):
        Watchdog.guard(journal, entry)
    monkeypatch.setattr(watchdog_module.sys, "executable", "/nowhere/python")
    with pytest.raises(WatchdogError, match="cannot be started"):
        Watchdog.guard(journal, entry)
    monkeypatch.setattr(watchdog_module.sys, "executable", "/bin/cat")
    with pytest.raises(WatchdogError, match="did not come up"):
        Watchdog.guard(journal, entry)


def test_an_entry_without_a_deadline_has_no_watchdog(tmp_path):
    journal = Journal(tmp_path / "undo")
    with pytest.raises(WatchdogError, match="until when"):
        Watchdog.guard(journal, journal.open("r", "kafka", "load", "end", {}))


def test_a_damaged_program_is_written_anew(tmp_path):
    journal = Journal(tmp_path / "undo")
    for text in ("", "raise SystemExit(1)"):
        entry = entry_of(journal, ["true"])
        guard = Watchdog.guard(journal, entry)
        journal.close(entry.id)
        assert guard.done() is False
        (program,) = (tmp_path / "watchdog").glob("steps-*.py")
        program.write_text(text)


def test_an_entry_is_undone_by_one_process_at_a_time(tmp_path):
    journal = Journal(tmp_path / "undo")
    count = tmp_path / "count"
    entry = entry_of(journal, ["sh", "-c", f"echo x >> {count}; sleep 0.5"])
    path = journal.file(entry.id)
    both = [subprocess.Popen([sys.executable, "-I", steps.__file__, path], stdin=subprocess.DEVNULL) for _ in range(2)]
    assert sorted(each.wait(20) for each in both) == [steps.NOTHING_TO_DO, steps.UNDONE]
    assert count.read_text() == "x\n"


def test_a_full_disk_does_not_keep_open_what_is_undone(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "undo")
    entry = entry_of(journal, ["true"])

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(steps, "write_durably", full)
    assert steps.undo_entry(journal.file(entry.id), "watchdog", Deadline.after(5).at_ns).code == steps.UNDONE
    assert journal.open_entries() == []


def test_signals_of_an_earlier_boot_reach_nobody(tmp_path):
    journal = Journal(tmp_path / "undo")
    with subprocess.Popen(["sleep", "30"]) as bystander:
        kill = {"op": "signal", "pid": bystander.pid, "start_ticks": steps.start_ticks(bystander.pid), "number": 9}
        entry = journal.open("r", "kafka", "pause", "resume", {}, steps=[kill], deadline_ns=1)
        fields = json.loads(journal.file(entry.id).read_text())
        journal.file(entry.id).write_text(json.dumps({**fields, "boot_id": "an earlier one"}))
        assert steps.undo_entry(journal.file(entry.id), "undo", Deadline.after(5).at_ns).code == steps.UNDONE
        assert bystander.poll() is None
        bystander.kill()
