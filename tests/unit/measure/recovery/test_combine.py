"""The platform is back when the last lane is; one lane that is not known to be back is enough for no number."""

from __future__ import annotations

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.combine import (
    Expectation,
    combine,
    expectation,
    first_symptom,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.model import Lane, LaneKind, Span
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.timeline import outage

from .test_timeline import ZERO, looks


def of(text: str):
    return outage(looks(text), ZERO, settle_s=3.0)


WELL = "++++++++++++"
SHORT = "+++-+++++++++"
LONG = "+++-----++++++++"


def test_the_latest_lane_decides():
    found = combine({"service:a": of(SHORT), "process:a": of(WELL), "flow:x": of(LONG)})
    assert found.last == "flow:x"
    assert found.span == Span(pytest.approx(5.0), pytest.approx(6.1))  # type: ignore[arg-type]
    assert found.shorter_than_s is None
    assert found.why == ""


def test_what_may_have_passed_unseen_counts_for_the_upper_bound():
    unseen = outage([one for one in looks(WELL) if not 10 <= one.start_ns / 1e9 < 18], ZERO, settle_s=0.5, settle_k=2)
    found = combine({"service:a": of(SHORT), "service:b": unseen})
    assert found.span is not None
    assert found.span.high_s == pytest.approx(9.1)


def test_without_a_fail_there_is_a_bound_and_no_span():
    found = combine({"a": of(WELL), "b": of(WELL)})
    assert found.span is None
    assert found.shorter_than_s == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("+++---------", "not seen to be well again: bad"),
        ("+++--+++++++-++++++++", "failed again after it had settled: bad"),
        ("    ++++++++++", "not watched all the time: bad"),
    ],
)
def test_one_lane_that_is_not_known_to_be_back_leaves_no_number(text, why):
    found = combine({"good": of(LONG), "bad": of(text)})
    assert (found.span, found.shorter_than_s) == (None, None)
    assert found.why == why
    assert found.at_least_s >= 4.0


def test_no_lane_is_no_recovery():
    assert combine({}).why == "no lane was watched"


def test_the_first_lane_to_fail_detects():
    assert first_symptom([of(WELL)]) is None
    seen = first_symptom([of(LONG), of("++-++++++++")])
    assert seen is not None
    assert seen.high_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("kind", "service", "exchange", "expected"),
    [
        (LaneKind.SERVICE, "a", None, Expectation.FAILS),
        (LaneKind.PROCESS, "b", None, Expectation.MAY_FAIL),
        (LaneKind.SERVICE, "c", None, Expectation.UNAFFECTED),
        (LaneKind.FLOW, None, "x", Expectation.MAY_FAIL),
        (LaneKind.FLOW, None, "y", Expectation.UNAFFECTED),
    ],
)
def test_what_a_fault_may_do_to_a_lane(kind, service, exchange, expected):
    assert expectation(Lane("l", kind, service, exchange, 1, 1), {"a"}, {"b"}, {"x"}) is expected
