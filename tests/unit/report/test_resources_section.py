# SPDX-License-Identifier: Apache-2.0
"""What the report shows of step S2, from the evidence of a run alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resource_samples import Made, MadeWindow, profile

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.report.render import render
from ansible_collections.k2.hardening.plugins.module_utils.report.resources import ResourceSection, resource_section
from ansible_collections.k2.hardening.plugins.module_utils.report.svg import linear_axis
from ansible_collections.k2.hardening.plugins.module_utils.report.svg_area import intervals, stacked_area
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Scale
from ansible_collections.k2.hardening.plugins.module_utils.verdict.resources import decide_resources
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo, RunState

HOURS_8 = 8 * 720 + 1


def recorded(made: MadeWindow, folder: Path) -> RunDir:
    """A run that has decided step S2 of ``made``."""
    known = profile()
    info = RunInfo("shop", "sha256:0", "inv", "lab", False, {"k2.hardening": "0"}, None, HOST, ())
    owner = Owner.of(1)
    run = RunDir.create(folder / "artifacts", info, catalogue.not_run(known, {"S2"}), owner)
    for one in decide_resources(known, made.write(folder, known), Scale.LAB):
        for path, content in one.samples.items():
            run.keep(path, content)
        run.record(one.result.with_evidence(*one.samples), one.detail, one.mechanism)
    run.end(RunState.FINISHED)
    return run


HOST: dict[str, Any] = {"controller": "here", "kernel": "6", "cpus": 2, "memory_bytes": 2**33}


def section(run: RunDir) -> ResourceSection:
    results = run.results()
    evidence = {
        gate["id"]: json.loads((run.path / gate["evidence"][-1]).read_text())
        for gate in results["gates"]
        if gate["evidence"]
    }
    found = resource_section(results["gates"], evidence, run.path)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Eight hours in which one service leaks and the other had a spike."""
    hours = np.arange(HOURS_8) * 5 / 3600
    store = Made([0.2] * HOURS_8, (100 + 10 * hours).tolist())
    web = Made([0.9 if tick == 700 else 0.1 for tick in range(HOURS_8)], [50.0] * HOURS_8)
    made = MadeWindow({"store": store, "web": web}, HOURS_8, disks={"data": []})
    return recorded(made, tmp_path_factory.mktemp("eight-hours"))


def test_each_service_has_a_row_with_targets_beside_what_was_used(run: RunDir) -> None:
    total, store, web = section(run).rows
    assert (total.name, total.cpu_target, total.memory_target) == ("total", 1.5, 640.0)
    assert (store.cpu_target, store.memory_target) == (1.0, 256.0)
    assert store.cpu_p99 == pytest.approx(0.2)
    assert store.growth_verdict == "FAIL"
    assert store.growth.startswith("+")
    assert (web.spikes, web.verdict) == (1, "PASS")
    assert web.memory_max == pytest.approx(50.0)


def test_spikes_are_listed_with_their_time(run: RunDir) -> None:
    (spike,) = [each for each in section(run).spikes if each["service"] == "web"]
    assert spike["cores"] == pytest.approx(0.9)


def test_charts_show_the_budget_and_growth(run: RunDir) -> None:
    charts = dict(section(run).charts)
    assert list(charts) == ["CPU over time", "Memory over time", "Growth"]
    assert "budget: 1.5 cores" in charts["CPU over time"]
    assert "budget: 640 MiB" in charts["Memory over time"]
    assert charts["Growth"].count("<title>store") >= 1


def test_the_whole_report_is_rendered(run: RunDir, project_root: Path) -> None:
    render(run.path, project_root / "roles" / "report" / "templates")
    page = (run.path / "report" / "index.html").read_text()
    assert 'id="resources"' in page
    assert "target RAM" in page
    assert "| store | 1 |" in (run.path / "report" / "report.md").read_text()


def test_a_run_without_samples_has_no_section() -> None:
    assert resource_section([{"id": "S2.samples", "step": "S2"}], {}, Path()) is None
    skipped = {"S2.samples": {"detail": {}, "files": []}}
    assert resource_section([{"id": "S2.samples", "step": "S2"}], skipped, Path()) is None


def test_samples_that_are_gone_are_told(run: RunDir, tmp_path: Path) -> None:
    results = run.results()
    evidence = {
        gate["id"]: json.loads((run.path / gate["evidence"][-1]).read_text())
        for gate in results["gates"]
        if gate["evidence"]
    }
    with pytest.raises(K2Error, match="cannot be read"):
        resource_section(results["gates"], evidence, tmp_path)


def test_areas_lie_on_each_other() -> None:
    x, y = linear_axis("s", 0, 10), linear_axis("cores", 0, 4)
    chart = stacked_area("t", [0.0, 10.0], [("a", [1.0, 1.0]), ("b & c", [1.0, None])], x, y, (3.0, "budget"))
    assert chart.count("<polygon") == 2
    assert "b &amp; c" in chart
    first, second = (part.split('points="')[1].split('"')[0].split() for part in chart.split("<polygon")[1:])
    assert first[0].split(",")[1] > second[0].split(",")[1], "the second begins where the first ends, higher up"
    assert first[1] == second[1], "what is not known adds nothing"


def test_an_interval_is_as_wide_as_it_is() -> None:
    chart = intervals("t", [("a", -5.0, 0.0, 5.0, "PASS")], linear_axis("%", -10, 10), 10.0)
    assert "t-ok" in chart
    width = float(chart.split('fill-opacity=".5" ')[1].split('width="')[1].split('"')[0])
    assert width == pytest.approx((720 - 190 - 28) / 2, abs=0.2)


def test_many_services_share_the_last_colour(tmp_path: Path) -> None:
    from ansible_collections.k2.hardening.plugins.module_utils.report import resources as own

    services = {f"s{n}": {"cpu_mean": [float(n)]} for n in range(12)}
    layers = own._layers(services, "cpu_mean", 1.0)
    assert len(layers) == 8
    assert layers[0][0] == "s11"
    assert layers[-1] == ("5 others", [0.0 + 1 + 2 + 3 + 4])
