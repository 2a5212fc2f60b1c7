# SPDX-License-Identifier: Apache-2.0
"""Planned faults come from the journal that the faults themselves keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import monotonic_ns, utc_us
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Entry, Journal
from ansible_collections.k2.hardening.plugins.module_utils.measure.resources.planned import planned_faults


def broken(journal: Journal, kind: str = "fault") -> Entry:
    steps = [{"op": "exec", "argv": ["/bin/true"], "ok": [0]}]
    return journal.open(
        "run", "web", "kill", "start it", {"kind": kind}, steps=steps, deadline_ns=monotonic_ns() + 10**10
    )


def test_without_a_journal_nothing_was_planned(tmp_path: Path) -> None:
    assert planned_faults(tmp_path / "none", 0) == ()


def test_open_and_closed_faults_are_found_and_loads_are_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "undo")
    before_us = utc_us()
    closed, left = broken(journal), broken(journal)
    broken(journal, "load")
    journal.close(closed.id)
    first, second = planned_faults(journal.path, before_us)
    assert before_us <= first.opened_us <= (first.closed_us or 0) <= utc_us()
    assert second.closed_us is None
    assert second.deadline_ns == left.deadline_ns
    assert (first.target, first.action, first.run_id) == ("web", "kill", "run")


def test_what_was_over_before_the_window_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "undo")
    entry = broken(journal)
    journal.close(entry.id)
    assert planned_faults(journal.path, utc_us() + 1_000_000) == ()


def test_an_entry_that_cannot_be_read_excuses_nothing_and_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "undo")
    entry = broken(journal)
    journal.file(entry.id).write_text("{")
    with pytest.raises(K2Error, match=entry.id):
        planned_faults(journal.path, 0)
