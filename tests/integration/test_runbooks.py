# SPDX-License-Identifier: Apache-2.0
"""Runbooks are followed on services that do as they are told: a good page mends, and each wrong one is found out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.held import HeldKill
from ansible_collections.k2.hardening.plugins.module_utils.fault.journal import Journal
from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook import trial
from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook.page import read_page
from ansible_collections.k2.hardening.plugins.module_utils.measure.runbook.trial import TrialRequest, try_runbook
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import State
from ansible_collections.k2.hardening.plugins.module_utils.report.runbooks.measured import Evidence
from ansible_collections.k2.hardening.plugins.module_utils.report.runbooks.render import page_texts
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Scale, Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.runbook import decide_runbooks

from .scripted import Site, scripted

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
TEMPLATES = Path(__file__).resolve().parents[2] / "roles" / "runbooks" / "templates"
MODES: dict[str, dict[str, Any]] = {
    "crash_it": {"services": ["front"], "action": "kill", "max_recovery_s": 20, "affects": ["careful", "other"]},
    "restart_it": {"services": ["front"], "action": "restart", "max_recovery_s": 20},
    "freeze_it": {"services": ["front"], "action": "pause", "duration_s": 5, "max_recovery_s": 20},
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with scripted(tmp_path_factory.mktemp("runbooks")) as made:
        yield made


@pytest.fixture(autouse=True)
def site(platform: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(trial, "STEADY_S", 1.0)
    monkeypatch.setattr(trial, "PATIENCE_S", 1.0)
    monkeypatch.setattr(trial, "STEADY_AFTER_S", 6.0)
    platform.mend()
    return platform


def page(site: Site, mode: str) -> str:
    profile = site.profile(**MODES)
    return page_texts(profile, Evidence(None, Path("/nowhere"), profile.platform.name), TEMPLATES, "/state")[mode]


def followed(site: Site, tmp_path: Path, mode: str, text: str) -> tuple[GateResult, dict[str, Any]]:
    """What following the page comes to; afterwards all is as it was, whatever the page did."""
    profile = site.profile(**MODES)
    request = TrialRequest(mode, run_id="run-1", limit_s=60)
    found = try_runbook(profile, request, read_page(text), tmp_path).to_plain()
    (decided,) = decide_runbooks(profile, {"runbook": mode, "trial": found}, Scale.LAB)
    assert Journal(tmp_path / profile.platform.name / "undo").open_entries() == []
    assert site.states() == {State.RUNNING}
    return decided.result, found


@pytest.mark.parametrize("mode", MODES)
def test_the_page_as_it_is_rendered_shows_and_mends(site: Site, tmp_path: Path, mode: str) -> None:
    killed = site.pid("front")
    result, found = followed(site, tmp_path, mode, page(site, mode))
    assert result.verdict is PASS, result.reason
    assert site.pid("front") != killed
    assert (found["undone_by"], found["left"]) == ("runbook", ())
    assert result.low is not None
    assert result.high is not None
    assert 0 < result.low <= result.high < 60


def test_what_would_start_it_again_is_held_back_until_the_page_does(site: Site, tmp_path: Path) -> None:
    _, found = followed(site, tmp_path, "crash_it", page(site, "crash_it"))
    assert "its unit stopped" in found["proof"]["what"]
    # It was down for as long as the diagnosis took.
    assert found["diagnosis"][0]["output"].split()[1] == "STOPPED"


START = "start front\n```\n\n- **Expected:** the command succeeds."
WRONG = {
    "the wrong command mends nothing": ("start front\n", "start other\n", "its resolution"),
    "there is no such command": ("start front\n", "start front; no-such-tool\n", "no such command"),
    "it restarts and does not wait": (START, "pid front\n```\n\n- **Done:** the command succeeds.", "its resolution"),
    "its diagnosis shows nothing": ("lacks `RUNNING`", "contains `FATAL`", "its diagnosis"),
    "its diagnosis shows the symptom on a healthy platform": (
        "status front\n",
        "status none-such\n",
        "on the healthy platform",
    ),
    "its diagnosis asks another service": ("status front\n", "status other\n", "its diagnosis"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_page_fails_and_the_platform_is_as_it_was(site: Site, tmp_path: Path, what: str) -> None:
    old, new, reason = WRONG[what]
    text = page(site, "crash_it")
    assert old in text
    result, found = followed(site, tmp_path, "crash_it", text.replace(old, new))
    assert result.verdict is FAIL, result.reason
    assert reason in result.reason
    assert found["proof"]["proven"]


def test_a_page_whose_commands_all_succeed_and_mend_nothing_fails(site: Site, tmp_path: Path) -> None:
    head, _, rest = page(site, "crash_it").partition("## Resolution")
    _, _, tail = rest.partition("## Prevention")
    empty = "```bash\necho mended\n```\n\n- **Done:** the output contains `mended`."
    text = f"{head}## Resolution\n\n{empty}\n\n## Prevention{tail}"
    result, found = followed(site, tmp_path, "crash_it", text)
    assert result.verdict is FAIL
    assert "is not well" in result.reason
    assert found["undone_by"] == "tool"


def test_a_fault_without_effect_proves_nothing(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = site.pid("front")
    monkeypatch.setattr(HeldKill, "inject", lambda _: trial.Moment(1, 2))
    monkeypatch.setattr(HeldKill, "proof", lambda self, _: self._left_down())
    result, _ = followed(site, tmp_path, "crash_it", page(site, "crash_it"))
    assert result.verdict is INCONCLUSIVE
    assert f"process {killed} still runs" in result.reason
    assert site.pid("front") == killed
