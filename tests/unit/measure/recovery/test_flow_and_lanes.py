"""Which lanes a platform has, what a flow's age means, and that a process is asked for only when it is gone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.clock import NS_PER_S, Deadline, monotonic_ns
from ansible_collections.k2.hardening.plugins.module_utils.fault.inject.base import Moment
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.flow import (
    FlowBound,
    FlowWatch,
    age_query,
    flow_tier,
    learnt,
)
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.lanes import ProcessProbe, lanes_for
from ansible_collections.k2.hardening.plugins.module_utils.measure.recovery.samplers import Samplers
from ansible_collections.k2.hardening.plugins.module_utils.platform.clickhouse import ClickHouseUnreachable, QueryError
from ansible_collections.k2.hardening.plugins.module_utils.platform.procfs import read_stat
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import State, Status
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import RuntimeKind
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile


def profile(port=1):
    tier = {
        "store": "clickhouse",
        "exchange_column": "venue",
        "time_columns": {"in": {"column": "arrived"}},
        "freshness": {"hop": "in", "max_age_s": 60},
    }
    return parse_profile(
        {
            "k2_platform": {
                "name": "p",
                "scale": "lab",
                "runtime": "supervisor",
                "runtimes": {"supervisor": {"socket": "/run/s.sock", "timeout_s": 7}},
                "clock": {"host": "localhost", "max_skew_ms": 5},
            },
            "k2_services": {
                "handler": {"kind": "feed-handler", "exchange": "a", "probe": {"http": {"url": "http://h/"}}},
                "database": {"kind": "database", "probe": {"sql": {"query": "SELECT 1"}, "timeout_s": 5}},
                "slow": {"kind": "service", "probe": {"command": {"argv": ["/bin/true"]}, "timeout_s": 9}},
                "quiet": {"kind": "service"},
                "once": {"kind": "service", "lifecycle": "one-shot"},
                "absent": {"kind": "service", "not_available": "no such program"},
            },
            "k2_clickhouse": {"host": "127.0.0.1", "port": port, "username": "u", "password": "", "database": "d"},
            "k2_tiers": [
                {"name": "raw", "table": "t_raw", **tier},
                {"name": "silver", "table": "t_silver", **tier},
                {"name": "bare", "table": "t_bare", "store": "clickhouse", "exchange_column": "venue"},
            ],
        }
    )


class FakeRuntime:
    kind = RuntimeKind.SUPERVISOR

    def __init__(self):
        self.statuses: list[Status] = []
        self.asked = 0

    def status(self, unit):
        self.asked += 1
        return self.statuses[-1]


ALL = tuple(profile().services)


def lanes(closely=ALL):
    watches = lanes_for(profile(), lambda _service: FakeRuntime(), closely=closely)  # type: ignore[arg-type,return-value]
    return {lane.name: lane for watch in watches for lane in watch.lanes}


def test_every_available_long_running_service_has_lanes_and_every_exchange_a_flow():
    services = ("handler", "database", "slow")
    expected = {f"{kind}:{name}" for kind in ("process", "service") for name in services}
    assert set(lanes()) == expected | {"process:quiet", "flow:a"}


@pytest.mark.parametrize(
    ("name", "interval_s", "timeout_s"),
    [
        ("process:handler", 0.25, 7.0),
        ("service:handler", 0.25, 1.0),
        ("service:database", 1.0, 2.0),
        ("service:slow", 2.0, 9.0),
        ("flow:a", 0.5, 2.0),
    ],
)
def test_cadence_and_timeout_go_by_the_price_of_a_look(name, interval_s, timeout_s):
    assert (lanes()[name].interval_s, lanes()[name].timeout_s) == (interval_s, timeout_s)


def test_distant_services_are_looked_at_once_a_second():
    found = lanes(closely={"database"})
    assert found["process:database"].interval_s == 0.25
    assert found["process:handler"].interval_s == found["service:handler"].interval_s == 1.0
    assert found["service:slow"].interval_s == 2.0


def test_the_flow_is_watched_in_the_last_tier_before_the_candles():
    tier = flow_tier(profile())
    assert tier is not None
    assert tier.name == "silver"
    query = age_query(tier, 61)
    assert "FROM t_silver WHERE arrived >= now() - INTERVAL 61 SECOND GROUP BY" in query
    assert re.match(r"SELECT toString\(venue\) AS \w+, ", query)


def test_too_old_is_three_times_what_is_usual_at_least_a_second_and_never_beyond_the_profile():
    assert learnt([0.1] * 20, 60) == FlowBound(0.1, 1.0)
    assert learnt([1.0] * 19 + [50.0], 60) == FlowBound(1.0, 3.0)
    assert learnt([10.0] * 9, 20) == FlowBound(10.0, 20)
    assert learnt([0.1] * 4, 60) == FlowBound(None, 60)


def flows(answers):
    """A watch that has looked once for each of ``answers``."""
    left = iter(answers)

    def ask():
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    watch = FlowWatch(["a", "b"], 60.0, ask)
    for _ in answers:
        watch.look()
    return watch


def test_ages_are_judged_by_what_was_usual_in_the_baseline():
    left = iter([{"a": 0.5, "b": 5.0}] * 6 + [{"a": 2.0, "b": 2.0}])
    watch = FlowWatch(["a", "b"], 60.0, lambda: next(left))
    for _ in range(6):
        watch.look()
    assert all(sample.ok for lane in watch.lanes for sample in lane.samples)
    watch.end_baseline()
    assert (watch.bounds["a"], watch.bounds["b"]) == (FlowBound(0.5, 1.5), FlowBound(5.0, 15.0))
    watch.look()
    a, b = watch.lanes
    assert a.samples[-1].failed
    assert "2.000 s old" in a.samples[-1].error
    assert b.samples[-1].ok


def after_a_fault(usual_s, age_s, since_s, touched):
    """The last sample of a flow whose newest row is ``age_s`` old so long after a fault."""
    left = iter([{"a": usual_s}] * 6 + [{"a": age_s}])
    watch = FlowWatch(["a"], 60.0, lambda: next(left))
    for _ in range(6):
        watch.look()
    watch.end_baseline()
    long_ago_ns = monotonic_ns() - int(since_s * NS_PER_S)
    watch.note_fault(Moment(long_ago_ns, long_ago_ns), ["a"] if touched else [])
    watch.look()
    return watch.lanes[0].samples[-1]


@pytest.mark.parametrize(
    ("usual_s", "age_s", "since_s", "ok", "failed"),
    [
        (4.0, 9.0, 8.0, False, False),  # young enough, and from before: it may have stopped with the fault
        (4.0, 7.0, 8.0, True, False),
        (0.3, 0.5, 0.2, False, False),
        (0.3, 1.5, 1.0, False, True),
    ],
)
def test_a_flow_that_a_fault_may_stop_is_back_with_a_row_that_was_written_since(usual_s, age_s, since_s, ok, failed):
    sample = after_a_fault(usual_s, age_s, since_s, touched=True)
    assert (sample.ok, sample.failed) == (ok, failed)


@pytest.mark.parametrize(
    ("usual_s", "age_s", "ok", "failed"),
    [
        (0.3, 0.8, True, False),  # also if it is from before: it was not to be stopped
        (0.3, 3.0, False, False),  # a quiet market has gaps
        (0.3, 11.0, False, True),
        (2.0, 19.0, False, False),
        (2.0, 21.0, False, True),
        (9.0, 61.0, False, True),
    ],
)
def test_a_flow_beyond_reach_has_stopped_only_when_that_is_certain(usual_s, age_s, ok, failed):
    sample = after_a_fault(usual_s, age_s, 0.5, touched=False)
    assert (sample.ok, sample.failed) == (ok, failed)


@pytest.mark.parametrize(
    ("answer", "ok", "failed"),
    [
        ({"a": -0.1}, True, False),
        ({"b": 0.1}, False, True),
        (ClickHouseUnreachable("no answer"), False, True),
        (QueryError(60, "no such table"), False, True),
        (RuntimeError("a defect"), False, False),
    ],
)
def test_no_row_and_no_answer_are_failures_of_the_flow(answer, ok, failed):
    sample = flows([answer]).lanes[0].samples[0]
    assert (sample.ok, sample.failed) == (ok, failed)


@pytest.fixture
def process():
    started = subprocess.Popen(["sleep", "60"])
    yield started
    started.kill()
    started.wait()


def test_a_process_that_lives_on_is_not_asked_for_again(process):
    runtime = FakeRuntime()
    runtime.statuses.append(Status(State.RUNNING, process.pid))
    probe = ProcessProbe(runtime, "unit")  # type: ignore[arg-type]
    assert [probe() for _ in range(5)] == [(True, "")] * 5
    assert runtime.asked == 1


def test_a_process_that_died_or_is_paused_is_asked_for(process):
    runtime = FakeRuntime()
    runtime.statuses.append(Status(State.RUNNING, process.pid))
    probe = ProcessProbe(runtime, "unit")  # type: ignore[arg-type]
    probe()
    os.kill(process.pid, signal.SIGSTOP)
    deadline = Deadline.after(5)
    while (stat := read_stat(process.pid)) and stat.state != "T":
        assert not deadline.passed
        time.sleep(0.01)
    runtime.statuses.append(Status(State.PAUSED, process.pid))
    assert probe() == (False, "state paused")
    process.kill()  # a zombie: nobody has waited for it
    runtime.statuses.append(Status(State.STARTING, 1, detail="again"))
    assert probe() == (False, "state starting (again)")


def test_a_runtime_whose_processes_cannot_be_seen_is_asked_each_time(process):
    runtime = FakeRuntime()
    runtime.kind = RuntimeKind.DOCKER
    runtime.statuses.append(Status(State.RUNNING, process.pid))
    probe = ProcessProbe(runtime, "unit")  # type: ignore[arg-type]
    for _ in range(3):
        probe()
    assert runtime.asked == 3


def test_a_database_that_takes_connections_and_never_answers_makes_its_lanes_time_out_and_no_others():
    import socket

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(16)
        runtime = FakeRuntime()
        runtime.statuses.append(Status(State.RUNNING, os.getpid()))
        watches = lanes_for(profile(deaf.getsockname()[1]), lambda _service: runtime, closely=ALL)  # type: ignore[arg-type,return-value]
        with Samplers(watches) as samplers:
            deadline = Deadline.after(20)
            while True:
                seen = {each.name: each.samples for each in samplers.lanes()}
                looked = min(len(seen["process:database"]), len(seen["process:quiet"]))
                if looked >= 8 and seen["flow:a"] and seen["service:database"]:
                    break
                assert not deadline.passed
                time.sleep(0.05)
    for name in ("process:database", "process:quiet"):
        assert all(sample.ok for sample in seen[name])
    for name in ("flow:a", "service:database"):
        first = seen[name][0]
        assert first.failed
        assert 1.9 < (first.end_ns - first.start_ns) / 1e9 < 4.0
