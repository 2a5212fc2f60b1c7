# SPDX-License-Identifier: Apache-2.0
"""Runs as they lie on disk, made of gates; for tests of what reads them."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import failure_facts

from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile
from ansible_collections.k2.hardening.plugins.module_utils.verdict import catalogue
from ansible_collections.k2.hardening.plugins.module_utils.verdict.documents import expected_documents
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import (
    GateResult,
    GateSpec,
    Op,
    Scale,
    Verdict,
    decide,
)
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import Owner, RunDir, RunInfo, RunState

HOST = {"controller": "here", "kernel": "6", "cpus": 2, "memory_bytes": 2**30}


def full_data() -> dict[str, Any]:
    """A platform at full scale, as an inventory describes it."""
    data = copy.deepcopy(failure_facts.PROFILE_DATA)
    data["k2_platform"]["scale"] = "full"
    return data


def passing(spec: GateSpec, scale: Scale) -> GateResult:
    """A measurement that passes the gate."""
    target = 1 if spec.target is None else spec.target
    measured = target / 2 if spec.op is Op.LT else target
    return decide(GateSpec(spec.id, spec.title, spec.op, target, spec.unit, spec.blocking), scale, measured, 1, "")


def info(profile: Profile, quick: bool = False) -> RunInfo:
    """What a run of this platform knows of itself."""
    platform = profile.platform
    return RunInfo(
        platform.name, profile.digest(), "inventory/x", platform.scale.value, quick, {"k2.hardening": "1"}, None, HOST
    )


def whole_run(root: Path, profile: Profile | None = None, *, spoil: dict[str, GateResult] | None = None) -> RunDir:
    """A run under way in which every gate passed but those on documents and sign-off, and those in ``spoil``."""
    profile = profile or parse_profile(full_data())
    scale = Scale(profile.platform.scale.value)
    run = RunDir.create(root, info(profile), catalogue.not_run(profile, catalogue.STEPS), Owner.of(os.getpid()))
    for gate in run.gates():
        if gate.spec.id not in ("S5.documents", "S5.signoff") and gate.verdict is not Verdict.NOT_APPLICABLE:
            run.record((spoil or {}).get(gate.spec.id) or passing(gate.spec, scale), {}, "a test")
    return run


def documents(run: RunDir) -> None:
    """Documents of the report that are as they should be."""
    for name in expected_documents(run.gates()):
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        text = (
            f'<p id="x">{run.run_id} <a href="../results.json">r</a> <a href="#x">x</a></p>'
            if "html" in name
            else run.run_id
        )
        (run.path / name).write_text(text)


def small_run(root: Path, *gates: GateResult, platform: str = "p", ended: bool = True) -> RunDir:
    """A run of just these gates."""
    begun = [GateResult(gate.spec, Verdict.NOT_RUN, "not yet", Scale.LAB) for gate in gates]
    info_ = RunInfo(platform, "sha256:0", "inventory/x", "lab", False, {"k2.hardening": "1"}, None, HOST)
    run = RunDir.create(root, info_, begun, Owner.of(os.getpid()))
    for gate in gates:
        if gate.verdict is not Verdict.NOT_RUN:
            run.record(gate, {}, "a test")
    if ended:
        run.end(RunState.FINISHED)
    return run


def change(path: Path, **values: Any) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
