# SPDX-License-Identifier: Apache-2.0
"""What a simulator of sources answers to a cut, or does not, is told for what it is."""

from __future__ import annotations

import json

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.source import SourceControl
from ansible_collections.k2.hardening.plugins.module_utils.platform.simulator import SimulatorError

from ..platform.server import Script, serve  # noqa: TID252 - tests are no package that has a name

SERVING = {"connections": 2, "refusing_until_us": None}


def control(script: Script) -> SourceControl:
    return SourceControl(f"http://127.0.0.1:{script.port}/")


def test_a_refusal_is_asked_for_by_exchange_and_seconds() -> None:
    with serve(Script(body=b"{}")) as script:
        control(script).refuse("a", 30)
    (asked,) = script.requests
    assert (asked[0], json.loads(asked[2])) == ("/refuse", {"exchange": "a", "seconds": 30})


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (Script(status=404, body=b'{"error": "no exchange a"}'), "refused GET /state.*status 404.*no exchange a"),
        (Script(body=b"<html>"), "cannot be understood"),
        (Script(body=b"[]"), "cannot be understood"),
        (Script(body=json.dumps({"b": SERVING}).encode()), "does not tell whether it refuses"),
        (Script(body=b'{"a": {"connections": 2}}'), "does not tell whether it refuses"),
    ],
)
def test_what_it_says_instead_of_its_state_is_told(script: Script, says: str) -> None:
    with serve(script), pytest.raises(SimulatorError, match=f"(?s){says}"):
        control(script).state("a")


def test_its_state_is_that_of_the_exchange_asked_about() -> None:
    with serve(Script(body=json.dumps({"a": SERVING, "b": {}}).encode())) as script:
        assert control(script).state("a") == SERVING
