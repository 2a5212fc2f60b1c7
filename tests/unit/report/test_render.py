"""The report says what the evidence says, and nothing unmeasured looks green."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Finding
from ansible_collections.k2.hardening.plugins.module_utils.report.render import duration, number, render
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import (
    GateResult,
    GateSpec,
    Op,
    Scale,
    Verdict,
    decide,
)
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo, RunState

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "report" / "templates"
SERVICES = GateSpec("S0.services", "Every service is up", Op.EQ, 1, "services")
CLOCKS = GateSpec("S0.clocks", "Clocks agree", Op.LE, 5, "ms")
WATERMARKS = GateSpec("S0.watermarks", "Watermarks advance", Op.EQ, None, "watermarks")
SCHEDULE = GateSpec("S0.schedule", "Schedule completes", Op.EQ, None, "deployments")


@pytest.fixture
def run(tmp_path):
    gates = [GateResult(spec, Verdict.NOT_RUN, "not yet", Scale.LAB) for spec in (SERVICES, CLOCKS, SCHEDULE)]
    gates.append(GateResult(WATERMARKS, Verdict.NOT_APPLICABLE, "no cold tier", Scale.LAB))
    info = RunInfo(
        "p <b>&",
        "sha256:0",
        "inventory/lab",
        "lab",
        False,
        {"k2.hardening": "0.1.0"},
        None,
        {"controller": "here", "kernel": "6", "cpus": 2, "memory_bytes": 2**30},
        (Finding("k2_budget.cpus", "more | than <allowed>"),),
    )
    run = RunDir.create(tmp_path, info, gates, Owner.of(os.getpid()))
    service = {
        "state": "stopped",
        "pid": None,
        "uptime_s": 93784.2,
        "cpu_cores": 0.01234,
        "memory_bytes": 2**20,
        "port": None,
        "probe": None,
    }
    absent = service | {"state": "not available", "problem": "not available: no build", "not_available": "no build"}
    services = {"db": service, "charts": absent}
    seen = {"services": services, "mismatches": ["db: limit; expected: <1 GiB>; seen: none; do: so"]}
    run.record(decide(SERVICES, Scale.LAB, 0, 1, "db: <stopped>"), seen, "probes")
    skew = {"name": "db", "low_ms": -0.5, "high_ms": 1.25, "n": 5, "error": None}
    run.record(decide(CLOCKS, Scale.LAB, 1.25, 5, "", 0.0, 1.25), {"skews": [skew]}, "brackets")
    run.end(RunState.FINISHED)
    return run


def test_markdown_carries_verdicts_numbers_and_reasons(run):
    render(run.path, TEMPLATES)
    text = (run.path / "report" / "report.md").read_text()
    assert "# p <b>&: FAIL" in text
    assert "| `S0.services` Every service is up | **FAIL** | 0 | == 1 services | 1 | yes | db: <stopped> |" in text
    assert "1.25 (0 .. 1.25)" in text
    assert "| db | stopped | - | 1 d 02:03:04 | 0.01234 | 1 | - | no probe |" in text
    assert "| charts | not available | - |" in text
    assert "| not available: no build |" in text
    assert "`k2_budget.cpus`: more | than <allowed>" in text
    assert (
        "### Where the platform is not as its profile says\n\n- db: limit; expected: <1 GiB>; seen: none; do: so\n"
        in text
    )


def test_the_cold_tier_is_shown_row_by_row(run):
    marks = [
        {
            "source": "slips",
            "first": "t1",
            "at": "t2",
            "age_s": 999.5,
            "max_age_s": 300.0,
            "back_s": 2.5,
            "fresh": False,
        },
        {
            "source": "odds",
            "first": None,
            "at": None,
            "age_s": None,
            "max_age_s": 300.0,
            "back_s": None,
            "fresh": False,
        },
    ]
    watch = {"table": "t", "database": "h:1/d", "watermarks": marks, "readings": 4, "watched_s": 6.0, "clock": "now"}
    run.record(decide(WATERMARKS, Scale.LAB, 0, 2, "slips: <stale>"), watch | {"error": None}, "ages")
    sight = {"name": "f/d", "paused": True, "active_schedules": 1, "completed": "t3", "age_s": 7.0, "max_age_s": 180.0}
    sight |= {"recent": {"COMPLETED": 9, "FAILED": 1}, "on_time": False, "error": None, "missing": "no | such"}
    run.record(decide(SCHEDULE, Scale.LAB, 0, 1, "f/d: paused"), {"deployments": [sight]}, "ends")
    render(run.path, TEMPLATES)
    text = (run.path / "report" / "report.md").read_text()
    assert "`t` in `h:1/d`, 4 readings in 6 s; its clock: now\n" in text
    assert "| slips | t1 | t2 | 999.5 | 300 | 2.5 | no |" in text
    assert "| odds | - | - | - | 300 | - | no |" in text
    assert "| f/d | yes | 1 | t3 | 7 | 180 | 9 COMPLETED, 1 FAILED | no: no \\| such |" in text
    page = (run.path / "report" / "index.html").read_text()
    assert "slips: &lt;stale&gt;" in page
    assert "9 COMPLETED, 1 FAILED" in page


def test_html_escapes_what_platforms_say(run):
    render(run.path, TEMPLATES)
    text = (run.path / "report" / "index.html").read_text()
    assert "p &lt;b&gt;&amp;" in text
    assert "db: &lt;stopped&gt;" in text
    assert "<stopped>" not in text
    assert "expected: &lt;1 GiB&gt;" in text


def test_junit_shows_nothing_unmeasured_as_green(run):
    render(run.path, TEMPLATES)
    root = ET.parse(run.path / "report" / "junit.xml").getroot()
    outcomes = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert outcomes == {
        "S0.services": ["failure"],
        "S0.clocks": [],
        "S0.schedule": ["error"],
        "S0.watermarks": ["skipped"],
    }
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("4", "1", "1", "1")


def test_rendering_again_gives_the_same(run):
    first = [path.read_bytes() for path in render(run.path, TEMPLATES)]
    assert [path.read_bytes() for path in render(run.path, TEMPLATES)] == first


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


CLOCKS_FILE = "evidence/S0.clocks.json"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: (path / CLOCKS_FILE).unlink(), "S0.clocks.json; .* no such file"),
        (lambda path: (path / CLOCKS_FILE).write_text('{"schema": 1, "id": "S0.cl'), "no readable .*S0.clocks.json"),
        (lambda path: change(path / CLOCKS_FILE, schema=2), "schema that this release does not know; .*: schema 2"),
        (lambda path: change(path / CLOCKS_FILE, measured=4.5), "not of the same run; expected: measured 1.25"),
        (lambda path: change(path / CLOCKS_FILE, recorded="2020-01-01T00:00:00.000000Z"), "is of another run"),
        (lambda path: change(path / "run.json", run_id="other"), "not of the same run; .*: run_id 'other'"),
        (lambda path: (path / "run.json").write_text("[]"), "seen: list"),
        (lambda path: change(path / CLOCKS_FILE, detail={"skews": [{}]}), "cannot render run"),
    ],
)
def test_a_run_that_cannot_be_told_as_one_is_refused_and_nothing_is_overwritten(run, spoil, told):
    before = {path: path.read_bytes() for path in render(run.path, TEMPLATES)}
    spoil(run.path)
    with pytest.raises(K2Error, match=told):
        render(run.path, TEMPLATES)
    assert {path: path.read_bytes() for path in (run.path / "report").iterdir()} == before


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (3.0, "3"), (1234567, "1,234,567"), (86419.6, "86,420"), (0.123456, "0.1235")],
)
def test_numbers_for_people(value, text):
    assert number(value) == text


def test_durations_for_people():
    assert duration(None) == "-"
    assert duration(59.9) == "00:00:59"
