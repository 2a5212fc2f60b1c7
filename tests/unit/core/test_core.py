# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import Deadline, microseconds, read_clock, rfc3339
from ansible_collections.k2.hardening.plugins.module_utils.core.errors import K2Error
from ansible_collections.k2.hardening.plugins.module_utils.core.suggest import did_you_mean, nearest


def test_error_says_what_was_expected_seen_and_to_do() -> None:
    error = K2Error("the port is taken.", expected="a free port", seen="nginx", action="stop nginx")
    assert str(error) == "the port is taken; expected: a free port; seen: nginx; do: stop nginx"
    assert error.as_dict()["error"] == "K2Error"
    assert str(K2Error("only this")) == "only this"


def test_times_are_rfc3339_with_microseconds() -> None:
    assert rfc3339(1_700_000_000_000_007) == "2023-11-14T22:13:20.000007Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    "text",
    [
        "2023-11-14T22:13:20.000007Z",
        "2023-11-14T22:13:20.000007999Z",
        "2023-11-14T23:13:20.000007+01:00",
    ],
)
def test_a_moment_is_read_whatever_its_zone_and_decimals(text: str) -> None:
    assert microseconds(text) == 1_700_000_000_000_007


def test_a_moment_without_fraction_or_zone() -> None:
    assert microseconds("1970-01-01T00:00:01Z") == 1_000_000
    with pytest.raises(ValueError, match="without a zone"):
        microseconds("2023-11-14T22:13:20")


def test_clock_reading_carries_the_boot() -> None:
    first, second = read_clock(), read_clock()
    assert first.boot_id == second.boot_id
    assert second.monotonic_ns > first.monotonic_ns
    assert abs(first.utc_us - time.time() * 1e6) < 5e6


def test_deadline_passes_and_never_has_negative_time_left() -> None:
    assert Deadline.after(-1).passed
    assert Deadline.after(-1).remaining() == 0
    assert 59 < Deadline.after(60).remaining() <= 60


def test_nearest_name_or_all_of_them() -> None:
    assert nearest("memroy", ["cpus", "memory"]) == "memory"
    assert nearest("Memory", ["cpus", "memory"]) == "memory"
    assert nearest("zzz", ["cpus", "memory"]) is None
    assert did_you_mean("memroy", ["memory"]) == "did you mean 'memory'?"
    assert did_you_mean("zzz", ["b", "a"]) == "known names: a, b"
