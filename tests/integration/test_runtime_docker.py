# SPDX-License-Identifier: Apache-2.0
"""What only containers can do, on a real Docker Engine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import (
    EventKind,
    NotRunning,
    RuntimeFailure,
    State,
    UnitAmbiguous,
)
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.docker import DockerRuntime
from ansible_collections.k2.hardening.plugins.module_utils.platform.unix_http import SocketUnavailable
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import RuntimeSettings

from .runtimes import Engine, events_until, eventually


@pytest.fixture(scope="module")
def network(engine: Engine) -> Iterator[str]:
    name = f"k2test-{uuid.uuid4().hex[:8]}"
    engine.docker("network", "create", "--subnet", "172.31.254.0/24", name)
    yield name
    engine.docker("network", "rm", name)


def test_disconnect_and_reconnect_keep_address_and_aliases(engine: Engine, network: str) -> None:
    runtime = engine.runtime()
    options = ("--network", network, "--ip", "172.31.254.20", "--network-alias", "db")
    with engine.container(*options) as name, runtime.events((name,)) as stream:
        (saved,) = runtime.attachments(name)
        assert (saved.network, saved.ipv4) == (network, "172.31.254.20")
        assert "db" in saved.aliases
        runtime.disconnect(name, saved)
        runtime.disconnect(name, saved)
        assert runtime.attachments(name) == ()
        assert runtime.status(name).state is State.RUNNING
        runtime.reconnect(name, saved)
        runtime.reconnect(name, saved)
        assert runtime.attachments(name) == (saved,)
        assert engine.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"] == "172.31.254.20"
        seen = [event.kind for event in events_until(stream, EventKind.CONNECTED)]
        assert seen[0] is EventKind.DISCONNECTED  # some engines say it twice


def test_containers_are_found_by_compose_service_and_project(engine: Engine) -> None:
    service = f"svc-{uuid.uuid4().hex[:6]}"

    def labels(project: str) -> tuple[str, ...]:
        named = {"com.docker.compose.service": service, "com.docker.compose.project": project}
        return tuple(part for key, value in named.items() for part in ("--label", f"{key}={value}"))

    with engine.container(*labels("one")):
        alone = engine.runtime().pid(service)
        with engine.container(*labels("two")) as second:
            with pytest.raises(UnitAmbiguous, match=second):
                engine.runtime().status(service)
            assert engine.runtime(project="one").pid(service) == alone
            assert engine.runtime(project="none").status(service).state is State.MISSING


def test_name_is_matched_in_full(engine: Engine) -> None:
    with engine.container() as name:
        assert engine.runtime().status(name[:-1]).state is State.MISSING
        assert engine.runtime().status(name.replace("k", ".")).state is State.MISSING


def test_killing_a_paused_container_is_refused(engine: Engine) -> None:
    runtime = engine.runtime()
    with engine.container() as name:
        runtime.pause(name)
        with pytest.raises(NotRunning, match="docker unpause"):
            runtime.kill(name)
        runtime.resume(name)


def test_one_shot_tells_its_exit_code(engine: Engine) -> None:
    with engine.container(command="echo done; exit 3") as name:
        status = eventually(lambda: engine.runtime().status(name), lambda s: s.state is State.EXITED)
        assert (status.pid, status.exit_code) == (None, 3)
        assert engine.runtime().logs(name, 5) == ["done"]


def test_terminal_logs_are_not_mistaken_for_frames(engine: Engine) -> None:
    with engine.container("-t", command="echo plain; sleep 60") as name:
        lines = eventually(lambda: engine.runtime().logs(name, 5), bool)
        assert lines == ["plain"]


def test_memory_limit_broken_is_an_oom_event(engine: Engine) -> None:
    runtime = engine.runtime()
    hog = "sleep 1; exec tail /dev/zero"
    limits = ("--memory", "16m", "--memory-swap", "16m")
    with engine.container(*limits, command=hog) as name, runtime.events((name,)) as stream:
        events_until(stream, EventKind.OOM, seconds=60)


def test_closed_stream_ends_and_may_be_closed_twice(engine: Engine) -> None:
    with engine.container() as name:
        stream = engine.runtime().events((name,))
        stream.close()
        stream.close()
        with pytest.raises(RuntimeFailure, match="stream broke"):
            stream.poll(1)


def test_absent_engine_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SocketUnavailable, match="does not exist"):
        DockerRuntime(RuntimeSettings(str(tmp_path / "none.sock"), 1.0)).status("x")
