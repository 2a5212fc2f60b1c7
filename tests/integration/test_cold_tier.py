# SPDX-License-Identifier: Apache-2.0
"""The cold part on its own schedule: nothing lost, nothing doubled, and the schedule goes on whatever is killed."""

from __future__ import annotations

import pytest

from k2lab.offload.prefect_api import ENDED, RunState

from .cold_tier import FLOW_RUN_PROGRAM, LiveColdTier, until
from .lab import Lab

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def tier(lab: Lab) -> LiveColdTier:
    return LiveColdTier(lab)


def test_a_run_moves_all_tables_and_both_tiers_agree(tier: LiveColdTier) -> None:
    before = tier.marks()
    assert len(before) == 10
    run = tier.complete_one()
    assert "10 tables" in run.message
    after = tier.marks()
    assert all(after[table].as_of_us > before[table].as_of_us for table in before)
    tier.assert_same()


def test_a_worker_killed_in_the_middle_of_a_run_leaves_nothing_behind(tier: LiveColdTier) -> None:
    with tier.frozen("minio"):
        run = tier.at_work()
        working = tier.flow_run_processes()
        assert working, f"no {FLOW_RUN_PROGRAM} to see"
        tier.kill("prefect-worker")
        # Those, and not all: the worker comes back, and the schedule may be due meanwhile.
        until(lambda: not working & tier.flow_run_processes(), "the run died with its worker", 10)
    # Nobody was left to say that it died. The next run does.
    tier.complete_one()
    assert tier.prefect.run(run.id).state is RunState.CRASHED
    tier.assert_same()


def test_a_server_restarted_in_the_middle_of_a_run_gets_its_end_and_goes_on(tier: LiveColdTier) -> None:
    run = tier.at_work()
    tier.restart("prefect-server")
    ended = tier.ended(run)
    assert ended.state in ENDED
    tier.scheduled_after(run)
    tier.assert_same()


def test_without_the_object_store_a_run_fails_and_the_next_takes_up_there(tier: LiveColdTier) -> None:
    tier.complete_one()
    with tier.stopped("minio"):
        held = tier.marks()
        shown = tier.hot_count()
        while (failed := tier.ended(tier.start_run())).state is RunState.CANCELLED:
            pass  # a run of the schedule took over what was due
        assert failed.state is RunState.FAILED
        assert tier.config.object_store.url in failed.message
        assert tier.marks() == held
        until(lambda: tier.hot_count() > shown, "trades flow on in the hot tier")
    tier.complete_one()
    assert all(mark.as_of_us > held[name].as_of_us for name, mark in tier.marks().items())
    tier.assert_same()


def test_postgres_killed_comes_back_and_so_does_all_that_rests_on_it(tier: LiveColdTier) -> None:
    run = tier.at_work()
    tier.kill("postgres")
    tier.complete_one()
    assert tier.state(run) in ENDED
    tier.assert_same()
