# SPDX-License-Identifier: Apache-2.0
"""What cannot be done is refused before anything is touched, and the plan tells what would be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.request import (
    Request,
    RequestError,
    Source,
    plan,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.load.schedule import Arrivals, Share
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

LOAD = {
    "rates": {"busy": 100},
    "control_url": "http://127.0.0.1:1",
    "records": {"nordic": {"symbol": "K2LOAD", "value": '{"area": "$symbol", "at": $time_us}'}},
}


def profile(**changed: Any) -> Profile:
    described = {
        "k2_platform": {"name": "spot", "scale": "lab", "runtime": "docker"},
        "k2_services": {"log": {"kind": "broker"}},
        "k2_broker": {"bootstrap": "127.0.0.1:1", "topics": {"nordic": {"raw": "deals.nordic"}}},
        "k2_load": LOAD,
    }
    return parse_profile({**described, **changed})


FILE = Request("busy", 10.0, Source.FILE, data_file=Path("trades.csv"), arrivals=Arrivals.CONSTANT)
SIMULATOR = Request("busy", 10.0, Source.SIMULATOR, quiet_after_s=5.0)


def test_the_plan_tells_where_what_would_be_sent() -> None:
    planned = plan(profile(), replace(FILE, rate=5.0))
    assert (planned.messages, planned.exact, planned.rate) == (50, True, 5.0)
    assert (planned.to, planned.symbols) == ({"nordic": "deals.nordic"}, {"nordic": "K2LOAD"})
    simulated = plan(profile(), SIMULATOR)
    assert (simulated.messages, simulated.exact, simulated.to) == (1000, False, {"simulator": "http://127.0.0.1:1"})
    assert "by itself, after 5 s of quiet" in simulated.ends
    half = replace(FILE, share=Share(1, 2), start_at_us=10**17)
    assert plan(profile(), half).messages == 500


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (replace(FILE, load="bussy"), "did you mean 'busy'"),
        (replace(FILE, rate=0.0), "no such rate"),
        (replace(FILE, rate=2e6), "no such rate"),
        (replace(FILE, rate=float("nan")), "no such rate"),
        (replace(FILE, seconds=0.0), "no such time"),
        (replace(FILE, start_at_us=5), "the start is over"),
        (replace(FILE, share=Share(2, 2), start_at_us=10**17), "no such share"),
        (replace(FILE, share=Share(0, 2)), "start together"),
        (replace(FILE, quiet_after_s=1.0), "only a simulator"),
        (replace(FILE, data_file=None), "data_file"),
        (replace(SIMULATOR, share=Share(0, 2), start_at_us=10**17), "makes a load alone"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(request_: Request, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        plan(profile(), request_)


@pytest.mark.parametrize(
    ("changed", "request_", "says"),
    [
        ({"k2_load": None}, FILE, "section k2_load"),
        ({"k2_load": {"rates": {"busy": 1}}}, SIMULATOR, "control_url"),
        ({"k2_load": {"rates": {"busy": 1}}}, FILE, "no k2_load.records"),
        (
            {"k2_load": {**LOAD, "records": {"nordic": {"symbol": "X", "value": "$areas"}}}},
            FILE,
            "records.nordic.value: a template",
        ),
    ],
)
def test_a_profile_that_does_not_allow_it_says_so(changed: dict[str, Any], request_: Request, says: str) -> None:
    with pytest.raises(K2Error, match=says):
        plan(profile(**changed), request_)


@pytest.mark.parametrize("rate", [0, 2_000_000, "fast"])
def test_absurd_rates_of_the_profile_are_refused_by_the_profile(rate: object) -> None:
    with pytest.raises(K2Error, match=r"k2_load\.rates\.busy"):
        profile(k2_load={**LOAD, "rates": {"busy": rate}})
