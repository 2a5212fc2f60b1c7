# SPDX-License-Identifier: Apache-2.0
"""From the lanes to the platform: it has recovered when the last of those that must has, and is not before."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Optional

from .model import Lane, LaneKind, Span
from .timeline import Outage


class Expectation(enum.Enum):
    """What a fault may do to a lane."""

    FAILS = "fails"
    MAY_FAIL = "may fail"
    UNAFFECTED = "unaffected"


@dataclass(frozen=True)
class Recovery:
    """When the platform was back, from time zero.

    ``span`` is the latest T2 of the lanes, None where it is not known (``why`` says of which lane) or where no lane
    failed: then no lane was out for ``shorter_than_s``. It was not back before ``at_least_s`` (0 where nothing shows).
    ``last`` is the lane that was the last.
    """

    span: Optional[Span]
    shorter_than_s: Optional[float]
    at_least_s: float
    last: Optional[str]
    why: str


def combine(outages: Mapping[str, Outage]) -> Recovery:
    """The platform's recovery from the outages of the lanes that must be well again, by name."""
    at_least_s = max((each.not_before_s for each in outages.values()), default=0.0)
    if not outages:
        return Recovery(None, None, at_least_s, None, "no lane was watched")
    if relapsed := sorted(name for name, each in outages.items() if each.relapsed):
        return Recovery(
            None, None, at_least_s, relapsed[0], "failed again after it had settled: " + ", ".join(relapsed)
        )
    if unsettled := sorted(name for name, each in outages.items() if not each.settled):
        return Recovery(None, None, at_least_s, unsettled[0], "not seen to be well again: " + ", ".join(unsettled))
    unbounded = sorted(name for name, each in outages.items() if not each.fails and each.shorter_than_s is None)
    if unbounded:
        return Recovery(None, None, at_least_s, unbounded[0], "not watched all the time: " + ", ".join(unbounded))
    back = {name: each.t2 for name, each in outages.items() if each.t2 is not None}
    # What failed unseen when the fault began was back within this time.
    unseen_s = max((each.shorter_than_s for each in outages.values() if each.shorter_than_s is not None), default=0.0)
    if not back:
        return Recovery(None, unseen_s, at_least_s, None, "no look failed")
    last = max(back, key=lambda name: (back[name].high_s, back[name].low_s))
    low_s = max(span.low_s for span in back.values())
    return Recovery(Span(low_s, max(back[last].high_s, unseen_s)), None, at_least_s, last, "")


def first_symptom(outages: Collection[Outage]) -> Optional[Span]:
    """When the first of ``outages`` showed: the detection by health checks where they are those of service lanes."""
    seen = [each.symptom for each in outages if each.symptom is not None]
    if not seen:
        return None
    return Span(min(span.low_s for span in seen), min(span.high_s for span in seen))


def expectation(
    lane: Lane, targets: Collection[str], may_fail: Collection[str], exchanges: Collection[str]
) -> Expectation:
    """What a fault on the services ``targets`` may do to ``lane``.

    :arg may_fail: other services that it may take along. :arg exchanges: those whose flow it may interrupt, which it
        need not: a short one passes without a record being late.
    """
    if lane.kind is LaneKind.FLOW:
        return Expectation.MAY_FAIL if lane.exchange in exchanges else Expectation.UNAFFECTED
    if lane.service in targets:
        return Expectation.FAILS
    return Expectation.MAY_FAIL if lane.service in may_fail else Expectation.UNAFFECTED
