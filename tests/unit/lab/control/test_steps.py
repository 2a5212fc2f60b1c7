# SPDX-License-Identifier: Apache-2.0
"""Steps begin when what they need is done; the first failure stops the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import pytest

from k2lab.control.steps import Step, Steps

DEADLINE_S = 10.0


def ignore(_name: str, _seconds: float, _left: Iterable[str]) -> None:
    return


def test_order_follows_needs() -> None:
    order: list[str] = []
    steps = [
        Step(name, needs, lambda name=name: order.append(name))
        for name, needs in {
            "candles": ("processor",),
            "processor": ("broker", "database"),
            "database": (),
            "broker": (),
        }.items()
    ]  # type: ignore[misc]
    Steps(ignore).run(steps)
    assert set(order[:2]) == {"broker", "database"}
    assert order[2:] == ["processor", "candles"]


def test_independent_steps_run_side_by_side() -> None:
    meeting = threading.Barrier(3, timeout=DEADLINE_S)
    Steps(ignore).run([Step(name, (), lambda: meeting.wait() and None) for name in "abc"])


def test_the_first_failure_stops_the_waiting_ones_and_is_the_one_raised() -> None:
    run = Steps(ignore)

    def wait_for_ever() -> None:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            run.check()
            time.sleep(0.01)

    def fail() -> None:
        raise OSError("disk on fire")

    later: list[str] = []
    with pytest.raises(OSError, match="disk on fire"):
        run.run(
            [Step("slow", (), wait_for_ever), Step("bad", (), fail), Step("later", ("bad",), lambda: later.append("x"))]
        )
    assert later == []


@pytest.mark.parametrize("needs", [("nobody",), ("a",)])
def test_needs_that_cannot_be_met_are_refused(needs: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="steps"):
        Steps(ignore).run([Step("a", needs, lambda: None)])
