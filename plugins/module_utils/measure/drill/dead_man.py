# SPDX-License-Identifier: Apache-2.0
"""The dead man's switch: an alert that always fires, and somebody who notices when it stops coming.

What notices is the rule that any switch has: so many seconds without the alert at the end of its path. The drill cuts
the path and sees that the rule trips, then mends it and sees that the alert comes again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Optional

from ...core.clock import Deadline, utc_us
from ...core.errors import K2Error
from ...fault.inject.factory import fault_for
from ...platform.alert_receiver import AlertReceiver, Delivered
from ...platform.runtime.factory import runtime_of
from ...profile.model import FaultAction, Profile
from .held import HeldFaults
from .plan import AlertPlan, mode_named
from .request import service_at
from .result import DeadManSeen
from .seen import FIRING

# Beyond the limit: a look, and what an orderly stop takes.
_BEYOND_S = 15.0
# Prometheus tells again of what fires once a minute.
_BACK_S = 90.0
_LOOK_S = 1.0


def last_heard(record: Sequence[Delivered], labels: Mapping[str, str]) -> Optional[int]:
    """When an alert with these labels last arrived as firing (microseconds since the epoch)."""
    times = [
        one.received_us
        for one in record
        if one.status == FIRING and all(one.labels.get(key) == value for key, value in labels.items())
    ]
    return max(times, default=None)


def is_missed(heard_us: Optional[int], now_us: int, within_s: float) -> bool:
    """What a switch asks: nothing heard for longer than it may be silent."""
    return heard_us is None or now_us - heard_us > within_s * 1e6


def drill_dead_man(
    profile: Profile, plan: AlertPlan, receiver: AlertReceiver, within_s: float, faults: HeldFaults
) -> DeadManSeen:
    """Stop Alertmanager and see that the alert of ``plan`` is missed, start it and see that it comes again."""
    labels = {**plan.labels, "alertname": plan.name}
    seen = DeadManSeen(plan.name, "", within_s)
    service = service_at(profile, profile.alerting.alertmanager_url if profile.alerting else None)
    if service is None:
        return replace(seen, problems=("no service of k2_services listens at k2_alerting.alertmanager_url",))
    try:
        since_us = utc_us()
        heard_us = _await_heard(receiver, labels, since_us, Deadline.after(within_s))
        seen = replace(seen, cut=f"stop {service.name}", heard_us=heard_us)
        if heard_us is None:
            return replace(seen, problems=(f"{plan.name} did not arrive within {within_s:g} s though nothing was cut",))
        like = mode_named(profile, f"crash_{service.name}")
        mode = replace(like, action=FaultAction.STOP, duration_s=within_s + _BEYOND_S)
        fault = fault_for(profile, mode, service, runtime_of(profile, service))
        (held,) = faults.bring_about([(f"stop {service.name}", fault)])
        if held.injected_us is None or not held.proven:
            return replace(seen, problems=(*held.problems, f"not proven to be cut: {held.proof}"))
        seen = replace(seen, cut_us=held.injected_us[1])
        seen = replace(seen, noticed_us=_await_missed(receiver, labels, since_us, within_s))
        faults.end()
        healed_us = held.healed_us[0] if held.healed_us is not None else utc_us()
        back_us = _await_heard(receiver, labels, healed_us, Deadline.after(_BACK_S))
        return replace(seen, back_us=back_us, problems=(*held.problems, *held.differences))
    except K2Error as error:
        return replace(seen, problems=(str(error),))


def _await_heard(
    receiver: AlertReceiver, labels: Mapping[str, str], since_us: int, deadline: Deadline
) -> Optional[int]:
    while True:
        heard_us = last_heard(receiver.since(since_us), labels)
        if heard_us is not None or deadline.passed:
            return heard_us
        time.sleep(_LOOK_S)


def _await_missed(receiver: AlertReceiver, labels: Mapping[str, str], since_us: int, within_s: float) -> Optional[int]:
    deadline = Deadline.after(within_s + _BEYOND_S)
    while not deadline.passed:
        now_us = utc_us()
        if is_missed(last_heard(receiver.since(since_us), labels), now_us, within_s):
            return now_us
        time.sleep(_LOOK_S)
    return None
