# SPDX-License-Identifier: Apache-2.0
"""S4.alert.*: each proof that is missing fails the alert, and what cannot be known makes it INCONCLUSIVE."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict.alert_drill import decide_drill
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Decided, Scale, Verdict

PASS, FAIL, INCONCLUSIVE, NOT_RUN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_RUN
S = 1_000_000
T0 = 1_800_000_000 * S
LABELS = {"severity": "critical", "component": "platform", "service": "store"}
SEEN = {
    "labels": {"alertname": "ServiceDown", **LABELS},
    "pending_us": T0 + 10 * S,
    "firing_us": T0 + 12 * S,
    "last_firing_us": T0 + 40 * S,
    "over_us": [T0 + 40 * S, T0 + 42 * S],
    "value": "0",
    "delivered_us": T0 + 14 * S,
    "delivered_labels": {"alertname": "ServiceDown", **LABELS},
    "annotations": {"runbook_url": "http://pages/crash.md"},
    "resolved_delivered_us": T0 + 45 * S,
}
ALERT: dict[str, Any] = {
    "name": "ServiceDown",
    "kind": "live",
    "why": "",
    "fault": "store_down on store",
    "mode": "store_down",
    "for_s": 30.0,
    "interval_s": 15.0,
    "drilled_for_s": 2.0,
    "expected_labels": LABELS,
    "caused_us": [T0, T0 + S],
    "ended_us": [T0 + 30 * S, T0 + 31 * S],
    "seen": SEEN,
    "others": [],
    "evaluation": None,
    "runbook": {"url": "http://pages/crash.md", "reachable": True, "what": "status 200"},
    "ended_by": "",
    "problems": [],
}
DRILL: dict[str, Any] = {
    "alerts": [],
    "not_put_back": [],
    "scaled": {"waits": ["ServiceDown: for 30 -> 2 s"], "unscaled": []},
    "receiver": "http://log/",
    "dead_man": None,
}
SWITCH = {
    "alert": "Watchdog",
    "cut": "stop alertmanager",
    "within_s": 30,
    "cut_us": T0,
    "heard_us": T0,
    "noticed_us": T0 + 31 * S,
    "back_us": T0 + 60 * S,
    "problems": [],
}


@pytest.fixture
def profile() -> Profile:
    return parse_profile(
        {
            "k2_platform": {"name": "spot", "scale": "lab", "runtime": "docker"},
            "k2_services": {"store": {"kind": "object-store", "allow_faults": True}},
            "k2_failure_modes": {
                "store_down": {
                    "services": ["store"],
                    "action": "stop",
                    "duration_s": 60,
                    "max_recovery_s": 30,
                    "max_detection_s": 60,
                }
            },
            "k2_alerting": {"prometheus_url": "http://p", "alertmanager_url": "http://a"},
            "k2_metric_names": {"service_processes": "processes"},
        }
    )


def changed(seen: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return deepcopy(ALERT) | {"seen": {**SEEN, **(seen or {})}} | more


def unseen(**more: Any) -> dict[str, Any]:
    return changed(**more) | {"seen": None}


def decided(profile: Profile, alert: dict[str, Any], **drill: Any) -> dict[str, Decided]:
    found = decide_drill(profile, {"drill": {**DRILL, "alerts": [alert], **drill}}, Scale.LAB)
    return {one.result.spec.id: one for one in found}


def gate(profile: Profile, alert: dict[str, Any], **drill: Any) -> Decided:
    return decided(profile, alert, **drill)[f"S4.alert.{alert['name']}"]


def test_an_alert_that_fires_arrives_and_resolves_passes(profile: Profile) -> None:
    one = gate(profile, changed())
    assert (one.result.verdict, one.result.measured, one.result.reason) == (PASS, 0, "")
    assert one.result.spec.blocking
    assert one.detail["drilled"]["seen"]["delivered_us"] == T0 + 14 * S


@pytest.mark.parametrize(
    ("alert", "told"),
    [
        (
            changed(
                seen={"firing_us": None, "delivered_us": None},
                evaluation={
                    "query": "up < 1",
                    "result": [],
                    "left_side": "up",
                    "left_values": [[{"service": "store"}, "1"]],
                    "error": "",
                },
            ),
            "its evaluation: up: service=store is 1",
        ),
        (changed(seen={"firing_us": None, "delivered_us": None}), "did not fire (pending only)"),
        (
            unseen(others=[{"alertname": "ServiceDown", "service": "other"}]),
            "it fired under other labels: service=other, expected component=platform",
        ),
        (
            changed(seen={"labels": {"alertname": "ServiceDown", **LABELS, "severity": "info"}}),
            "fired under other labels: severity='info' instead of 'critical'",
        ),
        (changed(seen={"delivered_us": None}), "fired (value 0), and did not arrive at the receiver"),
        (
            changed(seen={"delivered_labels": {"alertname": "ServiceDown", "service": "store"}}),
            "arrived under other labels: no severity, expected 'critical'",
        ),
        (changed(seen={"over_us": None}), "did not resolve in Prometheus"),
        (changed(seen={"resolved_delivered_us": None}), "resolved, and that did not arrive"),
        (changed(runbook=None), "names no runbook"),
        (changed(seen={"firing_us": T0 - S}), "fired before its fault"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_missing_proof_fails_it_and_says_which(profile: Profile, alert: dict[str, Any], told: str) -> None:
    one = gate(profile, alert)
    assert one.result.verdict is FAIL
    assert told in one.result.reason


@pytest.mark.parametrize(
    ("alert", "drill", "told"),
    [
        (changed(problems=["nothing shows that store_down took effect"]), {}, "nothing shows"),
        (unseen(problems=["the receiver's log cannot be read"]), {}, "log cannot be read"),
        (unseen(caused_us=None), {}, "not brought about"),
        (changed(), {"not_put_back": ["ServiceDown: for 30 -> 2 s"]}, "not as before the drill"),
        (changed(kind="", why="nobody can"), {}, "nobody can"),
    ],
)
def test_what_cannot_be_known_is_no_verdict(
    profile: Profile, alert: dict[str, Any], drill: dict[str, Any], told: str
) -> None:
    one = gate(profile, alert, **drill)
    assert one.result.verdict is INCONCLUSIVE
    assert told in one.result.reason


def test_a_missing_alert_whose_fault_is_in_doubt_does_not_fail(profile: Profile) -> None:
    alert = changed(seen={"firing_us": None}, problems=["nothing shows that it took effect"])
    assert gate(profile, alert).result.verdict is INCONCLUSIVE


def test_a_synthetic_alert_passes_as_that_and_is_no_live_one(profile: Profile) -> None:
    delivered = {**SEEN["delivered_labels"], "k2_drill": "synthetic"}
    alert = changed(seen={"delivered_labels": delivered}, kind="synthetic", why="nobody fills a disk", mode=None)
    found = decided(profile, alert)
    one = found["S4.alert.ServiceDown"]
    assert one.result.verdict is PASS
    assert one.result.reason.startswith("synthetic series, not seen live: nobody fills a disk")
    assert one.mechanism.startswith("synthetic")
    assert "S3.store_down.detection" not in found


@pytest.mark.parametrize(("kind", "mark"), [("synthetic", False), ("live", True)])
def test_a_synthetic_alert_without_its_mark_or_a_live_one_with_it_fails(
    profile: Profile, kind: str, mark: bool
) -> None:
    delivered = SEEN["delivered_labels"] | ({"k2_drill": "synthetic"} if mark else {})
    one = gate(profile, changed(seen={"delivered_labels": delivered}, kind=kind))
    assert one.result.verdict is FAIL
    assert "not told apart" in one.result.reason


def test_a_runbook_that_cannot_be_had_is_told_and_does_not_fail(profile: Profile) -> None:
    runbook = {"url": "http://pages/x", "reachable": False, "what": "connection refused"}
    one = gate(profile, changed(runbook=runbook))
    assert one.result.verdict is PASS
    assert "could not be had from the target: connection refused" in one.result.reason


@pytest.mark.parametrize(
    ("switch", "verdict", "told"),
    [
        (SWITCH, PASS, ""),
        (SWITCH | {"noticed_us": None}, FAIL, "its absence was not noticed"),
        (SWITCH | {"back_us": None}, FAIL, "did not arrive again"),
        (SWITCH | {"problems": ["not proven to be cut"]}, INCONCLUSIVE, "not proven to be cut"),
        (None, INCONCLUSIVE, "nobody tried"),
    ],
)
def test_an_alert_that_fires_always_also_has_to_be_missed(
    profile: Profile, switch: dict[str, Any] | None, verdict: Verdict, told: str
) -> None:
    labels = {"alertname": "Watchdog", "severity": "info"}
    alert = changed(
        seen={"labels": labels, "delivered_labels": labels, "over_us": None, "resolved_delivered_us": None},
        name="Watchdog",
        kind="always",
        expected_labels={"severity": "info"},
        caused_us=[T0, T0],
    )
    one = gate(profile, alert, dead_man=switch)
    assert one.result.verdict is verdict
    assert told in one.result.reason


def test_alerts_that_were_not_drilled_are_not_run(profile: Profile) -> None:
    found = decided(profile, changed())
    assert found["S4.alert.ObjectStoreDown"].result.verdict is NOT_RUN
    assert not found["S4.alert.ObjectStoreDown"].result.spec.blocking
    # Nothing on this platform tells of lag: that gate is NOT_APPLICABLE from the start, and stays so.
    assert "S4.alert.BrokerConsumerLagHigh" not in found
    skipped = decide_drill(profile, {"drill_skipped": "nobody said the name"}, Scale.LAB)
    assert {one.result.verdict for one in skipped} == {NOT_RUN}
    failed = decide_drill(profile, {"drill_failed": "Prometheus did not answer"}, Scale.LAB)
    assert {one.result.verdict for one in failed} == {INCONCLUSIVE}


@pytest.mark.parametrize("facts", [{"drill": {}}, {"drill": {**DRILL, "alerts": [{"name": "X"}]}}, {"drill": None}])
def test_facts_of_another_shape_are_refused(profile: Profile, facts: dict[str, Any]) -> None:
    with pytest.raises(K2Error, match="drill"):
        decide_drill(profile, facts, Scale.LAB)


# -- S3.<mode>.detection ---------------------------------------------------------------------------------------------


def test_detection_is_what_was_measured_and_what_the_deployed_rule_waits(profile: Profile) -> None:
    one = decided(profile, changed())["S3.store_down.detection"]
    # Pending 9 to 10 s after the fault, then 30 s and at most one evaluation of 15 s more.
    assert (one.result.low, one.result.high) == (39.0, 55.0)
    assert (one.result.verdict, one.result.spec.target, one.result.spec.blocking) == (PASS, 60.0, False)
    assert one.detail["shared"].startswith("live fault")


def test_detection_that_takes_too_long_fails(profile: Profile) -> None:
    one = decided(profile, changed(for_s=300.0))["S3.store_down.detection"]
    assert one.result.verdict is FAIL


def test_without_an_alert_detection_fails_and_with_a_doubt_it_is_open(profile: Profile) -> None:
    silent = decided(profile, changed(seen={"firing_us": None, "delivered_us": None}))
    assert silent["S3.store_down.detection"].result.verdict is FAIL
    doubt = decided(profile, unseen(problems=["not proven"]))
    assert doubt["S3.store_down.detection"].result.verdict is INCONCLUSIVE
