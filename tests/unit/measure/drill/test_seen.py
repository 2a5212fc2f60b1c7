# SPDX-License-Identifier: Apache-2.0
"""What samples of ALERTS and a receiver's record tell of one alert."""

from __future__ import annotations

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.dead_man import is_missed, last_heard
from ansible_collections.k2.hardening.plugins.module_utils.measure.drill.seen import (
    Occurrence,
    occurrences,
    with_deliveries,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.alert_receiver import Delivered
from ansible_collections.k2.hardening.plugins.module_utils.platform.prometheus import Series

S = 1_000_000
DOWN = {"alertname": "Down", "service": "store"}


def series(state: str, *times_s: float, **labels: str) -> Series:
    return Series({"__name__": "ALERTS", "alertstate": state, **DOWN, **labels}, tuple((at, "1") for at in times_s))


def delivered(at_s: float, status: str = "firing", **labels: str) -> Delivered:
    return Delivered(round(at_s * S), status, "log", {**DOWN, **labels}, {"runbook_url": "http://x"}, 0)


def test_times_are_those_of_evaluations() -> None:
    (one,) = occurrences([series("pending", 10, 11), series("firing", 12, 13, 14)], 5 * S, 30 * S, 1.0)
    assert one.labels == DOWN
    assert (one.pending_us, one.firing_us, one.last_us, one.over_us) == (10 * S, 12 * S, 14 * S, (14 * S, 16 * S))


def test_one_that_fires_still_is_not_over() -> None:
    (one,) = occurrences([series("firing", 12, 13, 29)], 5 * S, 30 * S, 1.0)
    assert one.over_us is None


def test_without_a_wait_it_was_pending_when_it_fired() -> None:
    (one,) = occurrences([series("firing", 12)], 5 * S, 30 * S, 1.0)
    assert one.pending_us == 12 * S


def test_samples_before_the_fault_and_label_sets_that_fired_already_tell_nothing() -> None:
    assert occurrences([series("firing", 1, 2)], 5 * S, 30 * S, 1.0) == ()
    assert occurrences([series("firing", 8)], 5 * S, 30 * S, 1.0, [DOWN]) == ()


def test_the_first_to_fire_comes_first_and_each_label_set_is_one() -> None:
    found = occurrences(
        [series("firing", 20), series("firing", 12, table="t"), series("pending", 9, x="y")], 0, 30 * S, 1
    )
    assert [one.firing_us for one in found] == [12 * S, 20 * S, None]


def test_it_arrived_when_all_of_its_labels_did() -> None:
    one = Occurrence(DOWN, firing_us=12 * S)
    record = [delivered(13, service="other"), delivered(14, cluster="k2"), delivered(20, "resolved")]
    found = with_deliveries(one, record, 10 * S)
    assert (found.delivered_us, found.resolved_delivered_us) == (14 * S, 20 * S)
    assert found.annotations == {"runbook_url": "http://x"}


@pytest.mark.parametrize("record", [[], [delivered(9)], [delivered(13, service="other")], [delivered(13, "resolved")]])
def test_it_did_not_arrive(record: list[Delivered]) -> None:
    assert with_deliveries(Occurrence(DOWN, firing_us=12 * S), record, 10 * S).delivered_us is None


def test_the_end_of_an_earlier_one_is_not_its_end() -> None:
    found = with_deliveries(Occurrence(DOWN, firing_us=12 * S), [delivered(11, "resolved"), delivered(13)], 10 * S)
    assert (found.delivered_us, found.resolved_delivered_us) == (13 * S, None)


def test_a_dead_mans_switch_counts_from_the_last_firing() -> None:
    record = [delivered(10), delivered(20), delivered(25, "resolved"), delivered(29, service="other")]
    assert last_heard(record, DOWN) == 20 * S
    assert not is_missed(20 * S, 50 * S, 30.0)
    assert is_missed(20 * S, 50 * S + 1, 30.0)
    assert is_missed(None, 0, 30.0)
