# SPDX-License-Identifier: Apache-2.0
"""What the report shows of a drill, from evidence alone."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.report.alerts import alert_section

S = 1_000_000
DRILLED: dict[str, Any] = {
    "kind": "live",
    "fault": "store_down on store",
    "why": "",
    "for_s": 30.0,
    "drilled_for_s": 2.0,
    "caused_us": [0, S],
    "seen": {
        "pending_us": 3 * S,
        "firing_us": 5 * S,
        "delivered_us": 6_500_000,
        "over_us": [9 * S, 11 * S],
        "resolved_delivered_us": None,
    },
}
SWITCH = {
    "alert": "Watchdog",
    "cut": "stop alertmanager",
    "within_s": 30,
    "cut_us": 0,
    "noticed_us": 31 * S,
    "back_us": 60 * S,
    "problems": [],
}


def gate(name: str, verdict: str = "PASS", reason: str = "") -> dict[str, Any]:
    return {"id": name, "verdict": verdict, "reason": reason}


def section(*alerts: tuple[dict[str, Any], dict[str, Any]], **more: Any) -> Any:
    evidence = {each["id"]: {"detail": detail} for each, detail in alerts}
    return alert_section([each for each, _ in alerts], evidence | more)


def test_times_count_from_the_cause_and_what_was_not_seen_is_told_so() -> None:
    found = section((gate("S4.alert.Down", "FAIL", "x"), {"drilled": DRILLED, "dead_man": None}))
    (row,) = found.rows
    assert (row.name, row.verdict, row.kind, row.cause) == ("Down", "FAIL", "live fault", "store_down on store")
    assert (row.pending, row.firing, row.delivered, row.resolved, row.resolved_delivered) == (
        "2.0",
        "4.0",
        "5.5",
        "10.0",
        "-",
    )
    assert row.waits == "30 s, in the drill 2 s"


def test_live_and_synthetic_are_counted_apart() -> None:
    fed = DRILLED | {"kind": "synthetic", "fault": None, "why": "nobody fills a disk"}
    found = section(
        (gate("S4.alert.Down"), {"drilled": DRILLED, "dead_man": SWITCH}),
        (gate("S4.alert.Full"), {"drilled": fed, "dead_man": None}),
        (gate("S4.alert.Other", "NOT_RUN"), {"drilled": None}),
    )
    assert (found.live, found.synthetic) == (1, 1)
    assert [row.kind for row in found.rows] == ["live fault", "synthetic series", "not drilled"]
    assert found.rows[1].cause == "nobody fills a disk"
    assert found.switch == (
        "Watchdog: stop alertmanager; its absence was noticed 31.0 s later (after 30 s without it), "
        "and it came again at 60.0 s"
    )


def test_an_absence_that_nobody_noticed_is_told() -> None:
    found = section((gate("S4.alert.Down"), {"drilled": DRILLED, "dead_man": SWITCH | {"noticed_us": None}}))
    assert found.switch == "Watchdog: its absence was not noticed"


def test_nothing_of_alerts_is_no_section() -> None:
    assert alert_section([gate("S0.services")], {"S0.services": {"detail": {}}}) is None


def test_evidence_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="another shape"):
        section((gate("S4.alert.Down"), {"drilled": {"kind": "live"}}))
