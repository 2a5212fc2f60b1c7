# SPDX-License-Identifier: Apache-2.0
"""Step S2 from samples to verdicts, on windows that were made up: a minute, an hour, and a whole day."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resource_samples import BOOT, MIB, START_NS, START_US, Made, MadeWindow, profile

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Decided, Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.resource_gates import (
    absent_resources,
    resource_gates,
)
from ansible_collections.k2.hardening.plugins.module_utils.verdict.resources import decide_resources

TICKS = 31
DAY = 17_281


def steady(ticks: int, cores: float = 0.2, memory: float = 100.0) -> Made:
    return Made([cores] * ticks, [memory] * ticks)


def window(ticks: int = TICKS, **changes: Any) -> MadeWindow:
    services = {"store": steady(ticks), "web": steady(ticks, 0.1, 50.0)} | changes.pop("services", {})
    return MadeWindow(services, ticks, **changes)


def decided(made: MadeWindow, folder: Path, known: Profile | None = None) -> dict[str, Decided]:
    known = known or profile()
    found = decide_resources(known, made.write(folder, known), Scale.LAB)
    assert [one.result.spec.id for one in found] == [
        spec.id for spec in resource_gates(known) if spec.id not in absent_resources(known)
    ]
    return {one.result.spec.id: one for one in found}


def verdicts(found: dict[str, Decided]) -> dict[str, str]:
    return {name: str(one.result.verdict) for name, one in found.items()}


def fault(opened_s: float, closed_s: float | None, deadline_s: float | None = None) -> dict[str, Any]:
    return {
        "target": "web",
        "action": "kill",
        "run_id": "r1",
        "opened_us": START_US + int(opened_s * 1e6),
        "closed_us": None if closed_s is None else START_US + int(closed_s * 1e6),
        "deadline_ns": None if deadline_s is None else START_NS + int(deadline_s * 1e9),
        "boot_id": BOOT,
    }


# -- a healthy window ------------------------------------------------------------------------------------------------


def test_a_healthy_window_passes_all_but_what_takes_hours(tmp_path: Path) -> None:
    found = decided(window(), tmp_path)
    late = {"S2.burn_in_24h", "S2.store.growth", "S2.web.growth"}
    assert {name for name, verdict in verdicts(found).items() if verdict == "NOT_RUN"} == late
    assert {verdict for name, verdict in verdicts(found).items() if name not in late} == {"PASS"}
    assert not any(found[name].result.spec.blocking for name in late)
    assert found["S2.total.cpu"].result.measured == pytest.approx(0.3)
    assert found["S2.total.memory"].result.measured == pytest.approx(150.0)
    assert "150 s" in found["S2.burn_in_24h"].result.reason
    assert "over 150 s" in found["S2.web.cpu"].result.reason


def test_the_smaller_of_budget_and_limit_decides_and_the_contradiction_is_told(tmp_path: Path) -> None:
    found = decided(window(services={"store": steady(TICKS, memory=300.0)}), tmp_path)
    gate = found["S2.store.memory"].result
    assert (gate.spec.target, gate.verdict) == (256.0, Verdict.FAIL)
    told = found["S2.total.memory"].detail["contradictions"]
    assert any("exceed the limit of 256 MiB" in each["text"] for each in told)


def test_a_limit_that_the_runtime_enforces_counts_too(tmp_path: Path) -> None:
    limits = {"web": {"limit_cpus": None, "limit_memory_bytes": 40 * MIB}}
    found = decided(window(limits=limits), tmp_path)
    assert found["S2.web.memory"].result.verdict is Verdict.FAIL
    assert found["S2.web.memory"].result.spec.target == 40.0


# -- CPU -------------------------------------------------------------------------------------------------------------


def spiky(ticks: int, at: dict[int, float], cores: float = 0.1) -> Made:
    return Made([at.get(tick, cores) for tick in range(ticks)], [50.0] * ticks)


@pytest.mark.parametrize(
    ("ticks", "at", "verdict"),
    [
        (TICKS, {7: 0.6, 8: 0.6}, Verdict.FAIL),  # two of thirty are no brief spike
        (TICKS, {7: 0.6}, Verdict.INCONCLUSIVE),  # one of thirty may be
        (TICKS, {7: 1.0}, Verdict.FAIL),  # twice the budget is too much at any length
        (401, {7: 0.6, 70: 0.7, 200: 0.9, 300: 0.6}, Verdict.PASS),  # one in a hundred
        (401, {7: 0.6, 70: 0.7, 200: 0.9, 300: 0.6, 301: 0.6}, Verdict.FAIL),
        (401, {7: 1.2}, Verdict.FAIL),
        (401, dict.fromkeys(range(401), 0.501), Verdict.FAIL),
        (401, dict.fromkeys(range(401), 0.5), Verdict.PASS),
    ],
)
def test_cpu_over_its_budget(tmp_path: Path, ticks: int, at: dict[int, float], verdict: Verdict) -> None:
    gate = decided(window(ticks, services={"web": spiky(ticks, at)}), tmp_path)["S2.web.cpu"]
    assert gate.result.verdict is verdict, gate.result.reason
    beyond = {tick for tick, cores in at.items() if cores > 0.5 and tick}
    assert gate.detail["spikes_in_all"] == len(beyond)


def test_the_p99_is_that_of_all_samples_not_of_summaries(tmp_path: Path) -> None:
    """A burst of a twentieth of the time fills some summaries and not others; the order statistic of all counts."""
    rng = np.random.default_rng(3)
    cores = np.where(rng.random(2001) < 0.05, 0.45, 0.1).tolist()
    gate = decided(window(2001, services={"web": Made(cores, [50.0] * 2001)}), tmp_path)["S2.web.cpu"].result
    assert gate.measured == pytest.approx(np.sort(cores[1:])[int(np.ceil(0.99 * 2000)) - 1])


def test_a_spike_is_explained_by_the_run_that_was_at_work(tmp_path: Path) -> None:
    run = {"deployment": "d/o", "name": "fox", "state": "COMPLETED", "started_us": START_US + 32_000_000}
    run["ended_us"] = START_US + 38_000_000
    gate = decided(window(401, services={"web": spiky(401, {7: 0.6, 300: 0.6})}, runs=[run]), tmp_path)["S2.web.cpu"]
    assert [spike["runs"] for spike in sorted(gate.detail["spikes"], key=lambda s: s["time"])] == [["d/o fox"], []]
    assert "of which 1 while a scheduled run was at work" in gate.result.reason


def test_totals_count_services_of_the_same_moment(tmp_path: Path) -> None:
    """Peaks that never meet are no peak of the whole."""
    store = Made([0.9 if tick % 2 else 0.1 for tick in range(TICKS)], [200.0] * TICKS)
    web = Made([0.1 if tick % 2 else 0.45 for tick in range(TICKS)], [100.0] * TICKS)
    found = decided(window(services={"store": store, "web": web}), tmp_path)
    assert found["S2.total.cpu"].result.measured == pytest.approx(1.0)


# -- events ----------------------------------------------------------------------------------------------------------


def crashing(at: int, ticks: int = TICKS, gone: int = 0) -> Made:
    pids = [100 if tick < at else None if tick < at + gone else 200 for tick in range(ticks)]
    return Made([0.1] * ticks, [50.0] * ticks, pids)


def test_an_end_that_nobody_planned_fails(tmp_path: Path) -> None:
    gate = decided(window(services={"web": crashing(12)}), tmp_path)["S2.restarts"].result
    assert (gate.verdict, gate.measured) == (Verdict.FAIL, 1)
    assert "web" in gate.reason


def test_a_service_that_stays_down_is_one_end_and_no_number_passes(tmp_path: Path) -> None:
    found = decided(window(services={"web": crashing(12, gone=99)}), tmp_path)
    assert found["S2.restarts"].result.measured == 1
    assert found["S2.web.cpu"].result.verdict is Verdict.INCONCLUSIVE
    assert found["S2.web.memory"].result.verdict is Verdict.INCONCLUSIVE
    assert found["S2.samples"].result.verdict is Verdict.INCONCLUSIVE


def test_restarts_that_the_runtime_counted_between_two_looks_count(tmp_path: Path) -> None:
    made = crashing(12)
    made.restarts = [0 if tick < 12 else 3 for tick in range(TICKS)]
    assert decided(window(services={"web": made}), tmp_path)["S2.restarts"].result.measured == 3


def test_an_oom_kill_fails(tmp_path: Path) -> None:
    made = steady(TICKS, 0.1, 50.0)
    made.ooms = [0 if tick < 9 else 2 for tick in range(TICKS)]
    found = decided(window(services={"web": made}), tmp_path)
    assert (found["S2.oom_kills"].result.verdict, found["S2.oom_kills"].result.measured) == (Verdict.FAIL, 2)


def test_planned_faults_are_left_out_and_listed(tmp_path: Path) -> None:
    made = crashing(100, 401)
    made.memory = [120.0 if tick < 100 or tick > 105 else 600.0 for tick in range(401)]
    made.ooms = [0 if tick < 101 else 1 for tick in range(401)]
    found = decided(window(401, services={"web": made}, planned=[fault(497, 503)]), tmp_path)
    assert verdicts(found)["S2.restarts"] == verdicts(found)["S2.oom_kills"] == "PASS"
    assert verdicts(found)["S2.web.memory"] == "PASS"
    (event,) = found["S2.restarts"].detail["events"]
    assert event["planned"] == "kill of web"
    assert found["S2.samples"].detail["planned_ticks"] > 0
    assert decided(window(401, services={"web": made}), tmp_path)["S2.restarts"].result.verdict is Verdict.FAIL


@pytest.mark.parametrize(("opened", "closed", "deadline"), [(497, 1990, 510), (497, None, 510), (300, 420, None)])
def test_a_fault_excuses_no_longer_than_it_was(
    tmp_path: Path, opened: float, closed: float | None, deadline: float | None
) -> None:
    """A file that a backup touched, or an entry that nobody closed, would otherwise excuse all that follows."""
    found = decided(
        window(401, services={"web": crashing(300, 401)}, planned=[fault(opened, closed, deadline)]), tmp_path
    )
    assert found["S2.restarts"].result.verdict is Verdict.FAIL


def test_mostly_planned_faults_prove_nothing(tmp_path: Path) -> None:
    found = decided(window(planned=[fault(0, 80)]), tmp_path)
    assert verdicts(found)["S2.web.cpu"] == "INCONCLUSIVE"


def test_a_reboot_is_a_restart_and_a_hole(tmp_path: Path) -> None:
    found = decided(window(401, boots={200: "boot-2"}), tmp_path)
    assert (found["S2.restarts"].result.measured, found["S2.restarts"].result.verdict) == (1, Verdict.FAIL)
    assert found["S2.samples"].detail["holes"][0]["reboot"]


# -- samples ---------------------------------------------------------------------------------------------------------


def test_a_hole_of_two_percent_is_inconclusive(tmp_path: Path) -> None:
    found = decided(window(1001, dropped=frozenset(range(500, 520))), tmp_path)
    assert found["S2.samples"].result.verdict is Verdict.INCONCLUSIVE
    assert found["S2.samples"].result.measured == pytest.approx(2.0)
    assert verdicts(found)["S2.restarts"] == "INCONCLUSIVE"


def test_a_hole_of_half_a_percent_is_shown_and_passes(tmp_path: Path) -> None:
    found = decided(window(1001, dropped=frozenset(range(500, 505))), tmp_path)
    assert found["S2.samples"].result.verdict is Verdict.PASS
    (hole,) = found["S2.samples"].detail["holes"]
    assert hole["missing_s"] == pytest.approx(25.0)


def test_what_a_dead_sampler_did_not_see_is_a_hole_up_to_now(tmp_path: Path) -> None:
    known = profile()
    facts = window(401, state="died", seconds=4000).write(tmp_path, known)
    facts["collected"]["window"]["now"]["monotonic_ns"] += 100 * 10**9
    by_id = {one.result.spec.id: one for one in decide_resources(known, facts, Scale.LAB)}
    assert by_id["S2.samples"].result.verdict is Verdict.INCONCLUSIVE
    assert by_id["S2.samples"].result.measured == pytest.approx(100 * 100 / 2100, rel=0.01)


def test_a_service_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    made = steady(TICKS)
    made.memory = [None if tick > 20 else 50.0 for tick in range(TICKS)]
    made.pids = [100] * TICKS
    found = decided(window(services={"web": made}), tmp_path)
    assert found["S2.web.memory"].result.verdict is Verdict.INCONCLUSIVE
    assert "permission denied" in found["S2.web.memory"].result.reason
    assert verdicts(found)["S2.restarts"] == "PASS"


@pytest.mark.parametrize("by_s", [-3600.0, 7.5])
def test_a_step_of_the_clock_is_told_and_makes_no_hole(tmp_path: Path, by_s: float) -> None:
    found = decided(window(401, late_s={200: by_s}), tmp_path)
    gate = found["S2.samples"]
    assert gate.result.verdict is Verdict.PASS
    assert gate.detail["holes"] == []
    (step,) = gate.detail["clock_steps"]
    assert step["by_s"] == pytest.approx(by_s)
    assert f"{by_s:+.3f} s" in gate.result.reason
    assert verdicts(found)["S2.web.cpu"] == "PASS"


# -- load ------------------------------------------------------------------------------------------------------------

LOAD = {"rates": {"1x": 50}, "targets": {"1x": 200}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rate": 3.0}, "a platform at rest fits any budget"),
        ({"traffic_error": "no answer"}, "nobody can tell"),
        ({"per_stretch": [500] * 7 + [10] * 3 + [0]}, "3 of 10 stretches"),
    ],
)
def test_a_platform_without_load_passes_no_budget(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    found = decided(window(**changes), tmp_path, profile(k2_load=LOAD))
    for name in ("S2.total.cpu", "S2.total.memory", "S2.web.cpu", "S2.web.memory"):
        assert found[name].result.verdict is Verdict.INCONCLUSIVE
        assert told in found[name].result.reason


def test_a_platform_without_load_may_fail(tmp_path: Path) -> None:
    made = window(rate=3.0, services={"web": steady(TICKS, 0.9, 500.0)})
    found = verdicts(decided(made, tmp_path, profile(k2_load=LOAD)))
    assert found["S2.web.cpu"] == found["S2.web.memory"] == "FAIL"


# -- a day -----------------------------------------------------------------------------------------------------------


def day(memory: Any, **changes: Any) -> MadeWindow:
    rng = np.random.default_rng(1)
    cores = (0.1 + 0.02 * rng.random(DAY)).tolist()
    return MadeWindow({"store": steady(DAY), "web": Made(cores, np.asarray(memory).tolist())}, DAY, **changes)


HOURS = np.arange(DAY) * 5 / 3600
NOISE = np.random.default_rng(2).normal(size=DAY)


def test_a_day_within_budget_passes_the_burn_in(tmp_path: Path) -> None:
    found = decided(day(50 + NOISE), tmp_path)
    assert set(verdicts(found).values()) == {"PASS"}
    assert found["S2.burn_in_24h"].result.measured == pytest.approx(24.0)
    series = found["S2.samples"].samples["samples/S2.series.json"]
    assert len(series["at_s"]) <= 289
    assert series["width_s"] == pytest.approx(300.0)


def test_a_leak_of_a_mib_a_minute_is_caught(tmp_path: Path) -> None:
    known = profile(k2_services={"store": {"kind": "service"}, "web": {"kind": "service", "budget": {"memory": "8G"}}})
    found = decided(day(200 + 60 * HOURS + NOISE), tmp_path, known)
    assert found["S2.web.growth"].result.verdict is Verdict.FAIL
    assert "60 MiB per hour" in found["S2.web.growth"].result.reason
    assert found["S2.burn_in_24h"].result.verdict is Verdict.FAIL


def test_a_sawtooth_is_no_leak(tmp_path: Path) -> None:
    """A collector that frees every 25 minutes what came up 40 MiB."""
    found = decided(day(60 + 40 * ((HOURS * 60 / 25) % 1) + NOISE), tmp_path)
    assert found["S2.web.growth"].result.verdict is Verdict.PASS


def test_a_restart_hides_no_leak(tmp_path: Path) -> None:
    made = day(50 + NOISE)
    made.services["web"].pids = [100 if tick < 9000 else 101 for tick in range(DAY)]
    assert decided(made, tmp_path)["S2.web.growth"].result.verdict is Verdict.INCONCLUSIVE


def test_a_day_with_a_hole_is_no_burn_in(tmp_path: Path) -> None:
    found = decided(day(50 + NOISE, dropped=frozenset(range(5000, 5400))), tmp_path)
    assert found["S2.burn_in_24h"].result.verdict is Verdict.INCONCLUSIVE
    assert "S2.samples" in found["S2.burn_in_24h"].result.reason


def test_less_than_a_day_is_never_the_burn_in(tmp_path: Path) -> None:
    found = decided(window(DAY - 10), tmp_path)
    assert found["S2.burn_in_24h"].result.verdict is Verdict.NOT_RUN


def test_a_disk_that_grows_faster_than_planned_is_told(tmp_path: Path) -> None:
    known = profile(
        k2_budget={"cpus": 1.5, "memory": "640M", "disks": {"data": {"path": "/data", "growth_per_day": "1G"}}}
    )
    per_tick = 2 * 2**30 * 5 / 86400
    used = [int(10**9 + tick * per_tick) for tick in range(401)]
    (disk,) = decided(window(401, disks={"data": used}), tmp_path, known)["S2.samples"].detail["disks"]
    assert disk["per_day_bytes"] == pytest.approx(2 * 2**30, rel=1e-3)
    assert disk["beyond"]
    assert disk["full_in_days"] == pytest.approx(1e12 / 2**31, rel=0.01)


# -- what there is to decide -----------------------------------------------------------------------------------------


def test_blocking_depends_on_scale() -> None:
    for scale, blocking in (("lab", False), ("full", True)):
        known = profile(
            k2_platform={
                "name": "p",
                "scale": scale,
                "runtime": "supervisor",
                "runtimes": {"supervisor": {"socket": "/s"}},
            }
        )
        found = {spec.id: spec.blocking for spec in resource_gates(known)}
        assert found["S2.burn_in_24h"] == found["S2.web.growth"] == blocking
        assert found["S2.web.cpu"]
        assert found["S2.samples"]


def test_what_a_profile_does_not_state_is_not_applicable_with_the_reason() -> None:
    known = profile(
        k2_services={"web": {"kind": "service"}, "job": {"kind": "service", "lifecycle": "one-shot"}}, k2_budget=None
    )
    found = {gate.spec.id: gate for gate in catalogue.not_run(known, {"S2"})}
    for name in ("S2.total.cpu", "S2.total.memory", "S2.web.cpu", "S2.web.memory"):
        assert found[name].verdict is Verdict.NOT_APPLICABLE
    assert not [name for name in found if "job" in name and name.startswith("S2")]
    assert found["S2.web.growth"].verdict is Verdict.NOT_RUN


@pytest.mark.parametrize(("key", "verdict"), [("skipped", Verdict.NOT_RUN), ("failed", Verdict.INCONCLUSIVE)])
def test_what_was_not_sampled_passes_nothing(key: str, verdict: Verdict) -> None:
    found = decide_resources(profile(), {key: "the reason"}, Scale.LAB)
    assert {one.result.verdict for one in found} == {verdict}
    assert {one.result.reason for one in found} == {"the reason"}


def test_facts_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(K2Error, match=r"facts\.collected"):
        decide_resources(profile(), {"collected": 3}, Scale.LAB)
    facts = window().write(tmp_path, profile())
    (tmp_path / "ticks.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(K2Error, match="cannot be read"):
        decide_resources(profile(), facts, Scale.LAB)
