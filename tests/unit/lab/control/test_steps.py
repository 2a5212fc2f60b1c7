# SPDX-License-Identifier: Apache-2.0
"""Steps begin when what they need is done; the first failure stops the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import pytest

from k2lab.common.errors import LabError
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


def test_a_failure_that_can_be_done_without_costs_only_what_needs_it() -> None:
    done: list[str] = []

    def fail() -> None:
        raise LabError("a disk", "smoke", "buy one")

    run = Steps(ignore)
    run.run(
        [
            Step("store", (), fail, required=False),
            Step("bucket", ("store",), lambda: done.append("bucket"), required=False),
            Step("worker", ("bucket", "broker"), lambda: done.append("worker"), required=False),
            Step("broker", (), lambda: done.append("broker")),
        ]
    )
    assert done == ["broker"]
    assert run.failed["store"].seen == "smoke"
    assert run.skipped == {"bucket": "store", "worker": "bucket"}


def test_a_defect_is_never_done_without() -> None:
    def fail() -> None:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        Steps(ignore).run([Step("store", (), fail, required=False)])


def test_what_is_required_cannot_need_what_is_not() -> None:
    def fail() -> None:
        raise LabError("a disk", "smoke", "buy one")

    with pytest.raises(ValueError, match="broker is required"):
        Steps(ignore).run([Step("store", (), fail, required=False), Step("broker", ("store",), lambda: None)])


@pytest.mark.parametrize("needs", [("nobody",), ("a",)])
def test_needs_that_cannot_be_met_are_refused(needs: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="steps"):
        Steps(ignore).run([Step("a", needs, lambda: None)])
