# SPDX-License-Identifier: Apache-2.0
"""The guard around a fault, with a real journal and a real watchdog: whoever is left undoes it, or says what is not."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.fault import journal as journal_module
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.base import (
    Fault,
    FaultPlan,
    Mechanism,
    Moment,
    Proof,
    Step,
    bracket,
)
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal, JournalError
from ansible_collections.k2.hardening.plugins.module_utils.fault.watchdog import Watchdog, WatchdogError
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure import guard as guard_module
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.guard import (
    FaultGuard,
    LeftOpen,
    undo_earlier,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import RuntimeFailure

DEAD = 2**22 + 1


class Broken(Fault):
    """Makes a file; its undo is a program, by default the one that removes the file."""

    def __init__(self, folder: Path, undo: list[str] | None = None) -> None:
        self.file = folder / "broken"
        self.argv = undo or ["rm", "-f", str(self.file)]
        self.plan = FaultPlan("break it", "log", "the log", "mend it", False, Mechanism.HEALED_ITSELF)

    def check(self) -> None: ...

    def undo_steps(self) -> tuple[Step, ...]:
        return ({"op": "exec", "argv": self.argv, "ok": [0]},)

    def inject(self) -> Moment:
        return bracket(self.file.touch)

    def proof(self, timeout_s: float) -> Proof:
        return Proof(self.file.exists(), "the file")

    def heal(self) -> Moment | None:
        return bracket(self.file.unlink)

    def restored(self) -> tuple[str, ...]:
        return ()

    def mechanism(self) -> Mechanism | None:
        return Mechanism.HEALED_ITSELF


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "spot" / "undo")


Make = Callable[[Fault], FaultGuard]


@pytest.fixture
def guarded(journal: Journal) -> Iterator[Make]:
    made: list[FaultGuard] = []

    def guard(fault: Fault) -> FaultGuard:
        made.append(FaultGuard(journal, fault, "run-1", {"mode": "m", "service": "log"}, Deadline.after(60)))
        return made[-1]

    yield guard
    for each in made:
        # One that cannot undo tries on for minutes.
        each._watchdog._process.kill()
        each._watchdog._process.wait()


def closed(journal: Journal) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (journal.path / "closed").iterdir()]


def test_before_the_fault_its_undo_is_on_disk_and_somebody_watches(
    tmp_path: Path, journal: Journal, guarded: Make
) -> None:
    fault = Broken(tmp_path)
    guard = guarded(fault)
    (entry,) = journal.open_entries()
    assert (entry.run_id, entry.target, entry.action, entry.undo) == ("run-1", "log", "break it", "mend it")
    assert entry.parameters == {"kind": "fault", "mode": "m", "service": "log"}
    assert entry.steps == fault.undo_steps()
    assert (entry.maker_lives, guard._watchdog.alive) == (True, True)


def test_what_is_undone_is_closed_and_the_watchdog_goes_without_a_deed(
    tmp_path: Path, journal: Journal, guarded: Make
) -> None:
    fault = Broken(tmp_path)
    guard = guarded(fault)
    fault.inject()
    fault.heal()
    guard.healed()
    assert guard.end(undone=True) == ("tool", "")
    assert (journal.open_entries(), journal.closed_by(guard.entry.id)) == ([], "tool")
    assert not guard._watchdog.alive


def test_a_fault_that_is_over_by_itself_was_undone_by_nobody(tmp_path: Path, journal: Journal, guarded: Make) -> None:
    guard = guarded(Broken(tmp_path))
    assert guard.end(undone=True) == (None, "")
    assert journal.open_entries() == []


def test_what_is_not_undone_is_undone_by_the_watchdog(tmp_path: Path, journal: Journal, guarded: Make) -> None:
    fault = Broken(tmp_path)
    guard = guarded(fault)
    fault.inject()
    assert guard.end(undone=False) == ("watchdog", "")
    assert not fault.file.exists()
    assert (journal.open_entries(), journal.closed_by(guard.entry.id)) == ([], "watchdog")


def test_it_is_undone_here_as_often_as_asked(tmp_path: Path, journal: Journal, guarded: Make) -> None:
    fault = Broken(tmp_path)
    guard = guarded(fault)
    fault.inject()
    assert guard.undo() == ()
    assert not fault.file.exists()
    assert guard.undo() == ()
    assert guard.end(undone=True) == ("tool", "")


def test_a_watchdog_that_came_first_is_told(tmp_path: Path, journal: Journal, guarded: Make) -> None:
    fault = Broken(tmp_path)
    guard = guarded(fault)
    fault.inject()
    guard._watchdog._process.terminate()  # who ends it politely has the fault undone
    guard._watchdog._process.wait(20)
    assert not fault.file.exists()
    assert guard.end(undone=True) == ("watchdog", "")


def test_an_undo_that_cannot_succeed_leaves_the_entry_open_and_says_so(
    tmp_path: Path, journal: Journal, guarded: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "UNDO_TIMEOUT_S", 1.0)
    guard = guarded(Broken(tmp_path, ["false"]))
    (told,) = guard.undo()
    assert "false: exit code 1 after" in told
    undone_by, problem = guard.end(undone=False)
    assert undone_by is None
    assert "the watchdog still tries to undo" in problem
    assert "playbooks/undo.yml" in problem
    assert [entry.id for entry in journal.open_entries()] == [guard.entry.id]
    assert journal.closed_by(guard.entry.id) is None


def test_a_watchdog_that_was_killed_is_told_though_all_is_undone(
    tmp_path: Path, journal: Journal, guarded: Make
) -> None:
    guard = guarded(Broken(tmp_path))
    guard._watchdog._process.kill()
    _, problem = guard.end(undone=True)
    assert "signal 9" in problem
    assert journal.open_entries() == []


class TestWithoutAGuardNothingIsBroken:
    def test_a_full_disk(
        self, tmp_path: Path, journal: Journal, guarded: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path, text: str) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(journal_module, "write_durably", full)
        with pytest.raises(JournalError, match="No space left"):
            guarded(Broken(tmp_path))
        assert journal.open_entries() == []

    def test_a_file_where_the_journal_should_be(self, journal: Journal, tmp_path: Path, guarded: Make) -> None:
        journal.path.parent.mkdir()
        journal.path.touch()
        with pytest.raises(JournalError, match="a writable directory"):
            guarded(Broken(tmp_path))
        with pytest.raises(JournalError, match="cannot be searched"):
            undo_earlier(journal)

    def test_a_journal_without_room_for_what_is_closed(self, journal: Journal, tmp_path: Path, guarded: Make) -> None:
        journal.path.mkdir(parents=True)
        (journal.path / "closed").touch()
        with pytest.raises(JournalError, match="cannot write the undo journal"):
            guarded(Broken(tmp_path))

    def test_an_undo_that_could_never_be_carried_out(self, journal: Journal, tmp_path: Path, guarded: Make) -> None:
        with pytest.raises(JournalError, match="argv of exec"):
            guarded(Broken(tmp_path, [1]))  # type: ignore[list-item]
        assert journal.open_entries() == []

    def test_a_watchdog_that_cannot_be(self, journal: Journal, tmp_path: Path, guarded: Make) -> None:
        journal.path.parent.mkdir(parents=True)
        (journal.path.parent / "watchdog").touch()
        with pytest.raises(WatchdogError, match="cannot be started"):
            guarded(Broken(tmp_path))
        assert journal.open_entries() == []
        assert [entry["run_id"] for entry in closed(journal)] == ["run-1"]


def left(journal: Journal, argv: list[str], **more: Any) -> str:
    step = {"op": "exec", "argv": argv, "ok": [0], "timeout_s": 1}
    made = {"steps": [step], "deadline_ns": 1, "pid": DEAD} | more
    return journal.open("run-0", "log", "pause", "resume", {}, **made).id


class TestWhatAnEarlierRunHasLeft:
    def test_nothing_is_nothing(self, journal: Journal) -> None:
        assert undo_earlier(journal) == ()
        assert not journal.path.exists()

    def test_what_a_dead_maker_left_is_undone_and_told(self, journal: Journal, tmp_path: Path) -> None:
        entry = left(journal, ["touch", str(tmp_path / "undone")])
        assert undo_earlier(journal) == ("pause of log",)
        assert (tmp_path / "undone").exists()
        assert (journal.open_entries(), journal.closed_by(entry)) == ([], "undo")

    def test_what_cannot_be_undone_keeps_more_from_being_broken(
        self, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = guard_module.undo_left
        monkeypatch.setattr(guard_module, "undo_left", lambda *args, **kwargs: real(*args, **kwargs, timeout_s=0.5))
        stuck = left(journal, ["false"])
        fine = left(journal, ["touch", str(tmp_path / "undone")])
        with pytest.raises(LeftOpen, match=r"pause of log: false: exit code 1.*playbooks/undo\.yml"):
            undo_earlier(journal)
        assert [entry.id for entry in journal.open_entries()] == [stuck]
        assert journal.closed_by(fine) == "undo"

    def test_what_a_living_maker_will_undo_is_left_to_it(self, journal: Journal, tmp_path: Path) -> None:
        left(journal, ["touch", str(tmp_path / "undone")], pid=os.getpid())
        with pytest.raises(LeftOpen, match=f"process {os.getpid()} that made it still runs"):
            undo_earlier(journal)
        assert not (tmp_path / "undone").exists()

    def test_a_watchdog_that_is_at_it_is_waited_for_and_its_deed_not_done_twice(
        self, journal: Journal, tmp_path: Path
    ) -> None:
        slow = ["sh", "-c", f"echo x >> {tmp_path}/turns; sleep 0.5"]
        step = {"op": "exec", "argv": slow, "ok": [0], "timeout_s": 5}
        entry = journal.open(
            "run-0", "log", "pause", "resume", {}, steps=[step], deadline_ns=Deadline.after(60).at_ns, pid=DEAD
        )
        watchdog = Watchdog.guard(journal, entry)
        watchdog._process.terminate()  # it undoes before it goes
        end = time.monotonic() + 10
        while not (tmp_path / "turns").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        undo_earlier(journal)
        assert (tmp_path / "turns").read_text() == "x\n"
        assert (journal.open_entries(), journal.closed_by(entry.id)) == ([], "watchdog")
        assert watchdog.done(10) is True


def test_a_fault_that_cannot_be_brought_about_is_undone_and_closed(
    tmp_path: Path, journal: Journal, guarded: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Broken(tmp_path)
    guard = guarded(fault)

    def fail() -> None:
        raise K2Error("the runtime does not answer")

    monkeypatch.setattr(fault, "inject", fail)
    with pytest.raises(RuntimeFailure, match=r"m on log could not be brought about.*does not answer.*nothing is left"):
        guard.inject("m on log")
    assert journal.open_entries() == []


def test_where_nobody_can_tell_what_is_left_something_is(
    tmp_path: Path, guarded: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Broken(tmp_path)
    guard = guarded(fault)

    def fail() -> tuple[str, ...]:
        raise OSError("gone")

    monkeypatch.setattr(fault, "restored", fail)
    (told,) = guard.look_back(Deadline.after(0))
    assert "cannot be told whether all is as it was: OSError: gone" in told


def test_the_look_back_waits_until_nothing_differs(
    tmp_path: Path, guarded: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Broken(tmp_path)
    guard = guarded(fault)
    answers = [("its address",), ()]
    monkeypatch.setattr(fault, "restored", lambda: answers.pop(0))
    assert guard.look_back(Deadline.after(30)) == ()
