# SPDX-License-Identifier: Apache-2.0
"""Which alerts told of a fault, by the samples that Prometheus itself wrote while it was watched."""

from __future__ import annotations

from typing import Any

from ...core.clock import utc_us
from ...core.errors import K2Error
from ...platform.prometheus import PrometheusClient
from ...profile.model import Profile
from ..drill.seen import occurrences

# An alert with samples before the fault was there already.
_BEFORE_S = 60

NO_RULES = "no alerting rule is deployed"


def alerts_told(profile: Profile, injected_us: tuple[int, int]) -> dict[str, Any]:
    """Alerts that fired since the injection (microseconds since the epoch, before and after it), and when.

    ``why`` says why that is not known; it is empty where it is. Spans are seconds from the injection.
    """
    url = profile.alerting.prometheus_url if profile.alerting is not None else None
    if url is None:
        return {"seen": [], "why": "the profile names no Prometheus"}
    now_us = utc_us()
    window_s = (now_us - injected_us[0]) // 1_000_000 + _BEFORE_S
    try:
        client = PrometheusClient(url)
        if not any(True for _ in client.alerting_rules()):
            return {"seen": [], "why": NO_RULES}
        series = client.query(f"ALERTS[{window_s}s]")
    except K2Error as error:
        return {"seen": [], "why": str(error)}
    earlier = [one for one in series if one.samples and one.samples[0][0] * 1e6 < injected_us[0]]
    new = [one for one in series if one not in earlier]
    found = occurrences(new, injected_us[0], now_us, _BEFORE_S)
    seen = [
        {
            "labels": dict(one.labels),
            "firing_s": [max(0.0, (one.firing_us - injected_us[1]) / 1e6), (one.firing_us - injected_us[0]) / 1e6],
        }
        for one in found
        if one.firing_us is not None
    ]
    return {"seen": seen, "why": ""}
