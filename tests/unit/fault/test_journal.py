"""The undo journal: on disk before the change, whole or absent, open until closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal, JournalError

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
WRITER = """
import sys
from pathlib import Path
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
journal = Journal(Path(sys.argv[1]))
while True:
    print(journal.open("run", "kafka", "pause", "resume", {"unit": "kafka"}).id, flush=True)
"""


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "undo")


def test_a_journal_that_never_was_has_nothing_open(journal):
    assert journal.open_entries() == []


def test_an_entry_is_open_until_closed_and_may_be_closed_twice(journal):
    entry = journal.open("run", "kafka", "pause", "resume", {"unit": "kafka"})
    assert journal.open_entries() == [entry]
    journal.close(entry.id)
    journal.close(entry.id)
    assert journal.open_entries() == []


def test_closing_what_never_was_is_an_error(journal):
    journal.open("run", "kafka", "pause", "resume", {})
    with pytest.raises(JournalError, match="no entry"):
        journal.close("unknown")


def test_an_unreadable_entry_is_never_skipped(journal):
    journal.open("run", "kafka", "pause", "resume", {})
    (journal.path / "broken.json").write_text("{")
    with pytest.raises(JournalError, match="undo by hand"):
        journal.open_entries()


def test_a_journal_that_cannot_be_searched_is_not_an_empty_one(tmp_path):
    (tmp_path / "undo").write_text("")
    with pytest.raises(JournalError, match="cannot be searched"):
        Journal(tmp_path / "undo").open_entries()


def test_an_unwritable_journal_refuses(tmp_path):
    (tmp_path / "undo").write_text("")
    with pytest.raises(JournalError, match="cannot write"):
        Journal(tmp_path / "undo").open("run", "kafka", "pause", "resume", {})


def test_entries_survive_kill_9_of_the_writer(journal):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(journal.path)], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert writer.stdout is not None
    told = [writer.stdout.readline().strip() for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    told += writer.communicate(timeout=10)[0].split()
    assert set(told) <= {entry.id for entry in journal.open_entries()}
