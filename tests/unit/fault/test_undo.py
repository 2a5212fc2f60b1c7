# SPDX-License-Identifier: Apache-2.0
"""What killed runs left is undone, closed and told; what a living process holds is not touched unless that is meant."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Entry, Journal, JournalError
from ansible_collections.k2.hardening.plugins.module_utils.fault.undo import State, undo_left

DEAD = 2**22 + 1  # above the greatest pid there can be


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "undo")


def left(journal: Journal, argv: list[str], **more: object) -> Entry:
    """An entry of a killed maker."""
    undo = {"op": "exec", "argv": argv, "ok": [0]}
    given = {"parameters": {}, "steps": [undo], "deadline_ns": 1, "pid": DEAD, **more}
    return journal.open("run", "kafka", "pause", "resume", **given)


def test_what_was_left_is_undone_and_closed_the_newest_first(journal, tmp_path):
    told = tmp_path / "told"
    entries = [left(journal, ["sh", "-c", f"echo {n} >> {told}"]) for n in range(3)]
    done = undo_left(journal, only_look=False)
    assert [(each.entry, each.state) for each in done] == [(entry, State.UNDONE) for entry in reversed(entries)]
    assert told.read_text().split() == ["2", "1", "0"]
    assert journal.open_entries() == []
    assert {journal.closed_by(entry.id) for entry in entries} == {"undo"}
    assert undo_left(journal, only_look=False) == ()


def test_looking_touches_nothing(journal, tmp_path):
    entry = left(journal, ["touch", str(tmp_path / "touched")])
    (seen,) = undo_left(journal, only_look=True)
    assert (seen.entry, seen.state, seen.why) == (entry, State.LEFT, "")
    assert not (tmp_path / "touched").exists()
    assert journal.open_entries() == [entry]


def test_one_that_fails_stays_open_with_its_reason_and_keeps_no_other_from_being_undone(journal):
    left(journal, ["true"])
    bad = left(journal, ["sh", "-c", "echo stuck; exit 1"])
    left(journal, ["true"])
    states = [each.state for each in undo_left(journal, only_look=False, timeout_s=0.3)]
    assert states == [State.UNDONE, State.FAILED, State.UNDONE]
    assert journal.open_entries() == [bad]
    (again,) = undo_left(journal, only_look=True)
    assert "stuck" in again.why


@pytest.mark.parametrize("only_look", [True, False])
def test_what_a_living_process_made_is_left_to_it(journal, tmp_path, only_look):
    with subprocess.Popen(["sleep", "30"]) as maker:
        entry = left(journal, ["touch", str(tmp_path / "touched")], pid=maker.pid)
        (seen,) = undo_left(journal, only_look=only_look)
        assert (seen.state, f"process {maker.pid}" in seen.why) == (State.REFUSED, True)
        assert not (tmp_path / "touched").exists()
        assert journal.open_entries() == [entry]
        maker.kill()


def test_force_undoes_under_a_process_that_hangs(journal):
    with subprocess.Popen(["sleep", "30"]) as maker:
        left(journal, ["true"], pid=maker.pid)
        (seen,) = undo_left(journal, only_look=False, force=True)
        assert seen.state is State.UNDONE
        maker.kill()


def test_a_process_that_has_the_makers_number_or_comes_after_a_reboot_is_not_the_maker(journal):
    with subprocess.Popen(["sleep", "30"]) as other:
        for changed in ({"pid_start": 1}, {"boot_id": "an earlier one"}):
            entry = left(journal, ["true"], pid=other.pid)
            fields = json.loads(journal.file(entry.id).read_text())
            journal.file(entry.id).write_text(json.dumps({**fields, **changed}))
        assert [each.state for each in undo_left(journal, only_look=False)] == [State.UNDONE] * 2
        other.kill()


def test_a_maker_that_ended_but_was_not_asked_for_its_exit_code_is_dead(journal):
    with subprocess.Popen(["true"]) as zombie:
        left(journal, ["true"], pid=zombie.pid)
        Path(f"/proc/{zombie.pid}/stat").read_text()  # it is there, whatever its state
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert [each.state for each in undo_left(journal, only_look=False)] == [State.UNDONE]


def test_entries_of_loads_are_left_to_who_knows_how(journal):
    entry = journal.open("run", "simulator", "load", "end it", {"kind": "load"}, pid=DEAD)
    assert undo_left(journal, only_look=False) == ()
    assert journal.open_entries() == [entry]


def test_an_entry_of_an_earlier_release_is_read_and_left_to_a_person(journal):
    entry = journal.open("run", "kafka", "pause", "resume kafka", {}, pid=DEAD)
    fields = json.loads(journal.file(entry.id).read_text())
    for key in ("steps", "deadline_ns", "pid", "pid_start"):
        del fields[key]
    journal.file(entry.id).write_text(json.dumps(fields))
    (seen,) = undo_left(journal, only_look=False)
    assert seen.state is State.FAILED
    assert "by hand (resume kafka)" in seen.why
    assert len(journal.open_entries()) == 1


def test_a_fault_that_needs_no_undo_is_closed(journal):
    left(journal, [], steps=[])
    assert [each.state for each in undo_left(journal, only_look=False)] == [State.UNDONE]


def test_steps_that_could_never_be_carried_out_are_refused_before_the_fault(journal):
    with pytest.raises(JournalError, match="unknown op 'pray'"):
        journal.open("run", "kafka", "pause", "resume", {}, steps=[{"op": "pray"}])
    assert journal.open_entries() == []


def test_steps_survive_the_journal(journal):
    entry = left(journal, ["true"])
    assert journal.open_entries() == [entry]
    plain = undo_left(journal, only_look=True)[0].to_plain()
    assert json.loads(json.dumps(plain)) == plain
