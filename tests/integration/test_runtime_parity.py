# SPDX-License-Identifier: Apache-2.0
"""The same failure mode on a process under supervisord and on a container gives the same kind of evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure.failure import experiment, watching
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.experiment import break_and_measure
from ansible_collections.k2.hardening.plugins.module_utils.measure.failure.request import FailureRequest
from ansible_collections.k2.hardening.plugins.module_utils.verdict.failure import decide_failure
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import GateResult, Scale, Verdict

from .boxes import Boxes, boxes
from .runtimes import Engine
from .scripted import Site, scripted

pytestmark = pytest.mark.measures

DELAY_S = 1.5
MODE = {"max_recovery_s": 20, "affects": ["careful", "other"]}
MECHANISMS = {"kill": "restarted by its supervisor", "restart": "restarted by the tool"}
# Of a lane they differ by what was seen; of an event by what its runtime has to say.
LISTS_OF_ANY_LENGTH = ("samples", "seen")


@contextmanager
def site_on(runtime: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Site | Boxes]:
    if runtime == "supervisor":
        with scripted(folder) as site:
            site.mend()
            yield site
        return
    engine: Engine = request.getfixturevalue("engine")
    with boxes(engine, folder) as made:
        yield made


def measured(site: Site | Boxes, action: str, state_dir: Path) -> dict[str, Any]:
    asked = FailureRequest("it", run_id="run-1", steady_s=1, settle_s=1)
    result = break_and_measure(site.profile(it=MODE | {"action": action}), asked, state_dir)
    plain: dict[str, Any] = json.loads(json.dumps(result.to_plain()))
    return plain


def decided(site: Site | Boxes, action: str, found: dict[str, Any]) -> dict[str, GateResult]:
    facts = {"mode": "it", "failures": [found], "loads": [], "audit": None}
    gates = decide_failure(site.profile(it=MODE | {"action": action}), facts, Scale.LAB)
    return {one.result.spec.id: one.result for one in gates}


def shape(value: Any, name: str = "") -> Any:
    """Keys and kinds of values, without the values."""
    if name == "outage":
        return sorted(value)  # which of them is not known depends on how the machine was just then
    if isinstance(value, dict):
        return {key: shape(inner, key) for key, inner in value.items()}
    if isinstance(value, list) and name in LISTS_OF_ANY_LENGTH:
        return {json.dumps(shape(inner)) for inner in value}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # These services do at once as they are told: nothing shows late.
    monkeypatch.setattr(experiment, "LEAST_WATCH_S", 1.0)
    monkeypatch.setattr(watching, "SYMPTOM_S", 1.0)


@pytest.mark.parametrize("action", ["kill", "restart"])
def test_evidence_is_of_the_same_kind(action: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found: dict[str, dict[str, Any]] = {}
    gates: dict[str, dict[str, GateResult]] = {}
    for runtime in ("supervisor", "docker"):
        folder = tmp_path / runtime
        folder.mkdir()
        with site_on(runtime, folder, request) as site:
            site.script("front", delay_s=DELAY_S)
            known = len(site.ups("front"))
            one = found[runtime] = measured(site, action, folder / "state")
            gates[runtime] = decided(site, action, one)
            ((up_low, up_high),) = site.ups("front")[known:]
        # The truth lies within the bounds on both.
        inject_low, inject_high = one["injected"]
        (lane,) = (each["outage"] for each in one["lanes"] if each["name"] == "service:front")
        assert lane["t2"][0] <= (up_high - inject_low) / 1e9
        assert lane["t2"][1] >= (up_low - inject_high) / 1e9
        assert (one["mechanism"], one["proof"]["proven"]) == (MECHANISMS[action], True)
        assert (one["error"], one["problems"], one["restored"]["differences"]) == (None, [], [])
        kinds = [each["kind"] for each in one["events"]["seen"] if each["service"] == "front"]
        assert one["events"]["why"] == ""
        # A supervisor calls an end that it was asked for a stop, an engine tells of both.
        end = "exited" if action == "kill" or runtime == "docker" else "stopped"
        assert kinds.index(end) < kinds.index("started")
    assert shape(found["docker"]) == shape(found["supervisor"])
    assert [lane["name"] for lane in found["docker"]["lanes"]] == [
        lane["name"] for lane in found["supervisor"]["lanes"]
    ]
    for name, on_docker in gates["docker"].items():
        on_supervisor = gates["supervisor"][name]
        assert on_docker.verdict is on_supervisor.verdict, f"{name}: {on_docker.reason} / {on_supervisor.reason}"
        assert [value is None for value in (on_docker.measured, on_docker.low, on_docker.high)] == [
            value is None for value in (on_supervisor.measured, on_supervisor.low, on_supervisor.high)
        ]
    assert gates["docker"]["S3.it.recovery"].verdict is Verdict.PASS
    assert gates["docker"].keys() == gates["supervisor"].keys()
