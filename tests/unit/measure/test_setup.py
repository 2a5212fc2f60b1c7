# SPDX-License-Identifier: Apache-2.0
"""Each way in which a running stack can differ from its profile is told: what was expected and seen, what to do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.measure import setup as measured
from ansible_collections.k2.hardening.plugins.module_utils.measure.mismatch import Mismatch, MismatchKind
from ansible_collections.k2.hardening.plugins.module_utils.measure.setup import compare_setup
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from ..platform.engine import Engine, compose_labels, container, network, serve  # noqa: TID252 - tests are no package that has a name

RECREATE = "docker compose -p k2 -f /srv/k2/docker-compose.v2.yml up -d --force-recreate --no-deps"
LABELS = {"com.k2.service": "feed-handler", "com.k2.exchange": "binance"}


def described(path: Path, **handler: Any) -> Profile:
    docker = {
        "socket": str(path),
        "timeout_s": 1,
        "start_command": "make up",
        "networks": ["k2-net", "default"],
        "subnet": "172.28.0.0/16",
    }
    service = {
        "unit": "k2-handler",
        "kind": "feed-handler",
        "limit": {"cpus": 0.5, "memory": "512M"},
        "heap": "256M",
        "ipv4": "172.28.0.50",
        "labels": LABELS,
        **handler,
    }
    once = {"unit": "k2-init", "kind": "service", "lifecycle": "one-shot"}
    return parse_profile(
        {
            "k2_platform": {"name": "p", "scale": "full", "runtime": "docker", "runtimes": {"docker": docker}},
            "k2_services": {"handler": service, "init": once, "gone": {"kind": "service", "not_available": "no"}},
        }
    )


def handler(**changed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "labels": compose_labels("handler", **LABELS),
        "cpus": 0.5,
        "memory": 512 * 2**20,
        "networks": {"k2-net": ("172.28.0.50", "172.28.0.50")},
        "environment": ("JAVA_OPTS=-Xmx256m",),
    }
    return container("k2-handler", **{**given, **changed})


def init(**changed: Any) -> dict[str, Any]:
    given = {
        "labels": compose_labels("init"),
        "status": "exited",
        "policy": "no",
        "networks": {"k2-net": (None, "")},
    }
    return container("k2-init", **{**given, **changed})


@pytest.fixture(name="engine")
def _engine(tmp_path: Path) -> Iterator[Engine]:
    with serve(Engine(tmp_path / "s", [handler(), init()], [network("bridge", ""), network("k2-net")])) as engine:
        yield engine


def compare(engine: Engine, **described_as: Any) -> list[Mismatch]:
    found = list(compare_setup(described(engine.socket, **described_as)))
    assert {method for method, _ in engine.requests} <= {"GET"}
    for mismatch in found:
        assert mismatch.expected
        assert mismatch.seen
        assert mismatch.action
    return found


def test_a_stack_that_is_as_described_has_no_mismatch(engine: Engine) -> None:
    assert compare(engine) == []


def test_a_container_that_is_missing(engine: Engine) -> None:
    engine.containers.pop(0)
    (mismatch,) = compare(engine)
    assert str(mismatch) == (
        "handler: missing; expected: k2-handler in docker; seen: nothing of that name; "
        "do: make up; or correct k2_services.handler.unit"
    )


def test_several_containers_with_the_label(engine: Engine) -> None:
    engine.containers[0] = container("a", labels=compose_labels("handler", "a"))
    engine.containers.append(container("b", labels=compose_labels("handler", "b")))
    (mismatch,) = compare(engine)
    assert (mismatch.kind, mismatch.seen) == (
        MismatchKind.AMBIGUOUS,
        "several containers are service 'handler': a, b",
    )


@pytest.mark.parametrize(
    ("status", "exit_code", "seen", "action"),
    [
        ("exited", 137, "exited (exit code 137)", "docker logs --tail 50 k2-handler, then: docker start k2-handler"),
        ("restarting", 1, "restarting (exit code 1)", "docker logs --tail 50 k2-handler, then: docker start"),
        ("paused", 0, "paused", "docker unpause k2-handler"),
        ("created", 0, "stopped", "docker logs"),
    ],
)
def test_a_container_that_does_not_run(engine: Engine, status: str, exit_code: int, seen: str, action: str) -> None:
    engine.containers[0] = handler(status=status, exit_code=exit_code)
    (mismatch,) = compare(engine)
    assert (mismatch.subject, mismatch.kind, mismatch.expected) == ("handler", MismatchKind.STATE, "running")
    assert mismatch.seen.startswith(seen)
    assert mismatch.action.startswith(action)


def test_a_one_shot_has_to_exit_with_0(engine: Engine) -> None:
    engine.containers[1] = init(exit_code=3)
    (mismatch,) = compare(engine)
    assert (mismatch.subject, mismatch.expected, mismatch.seen) == (
        "init",
        "running, or exited with 0",
        "exited (exit code 3)",
    )


@pytest.mark.parametrize(
    ("policy", "expected_to_restart", "told"),
    [
        ("no", True, "to be started again after a crash"),
        ("unless-stopped", False, "to stay down after a crash"),
        ("on-failure", True, None),
        ("no", False, None),
    ],
)
def test_a_restart_policy_that_contradicts_what_is_expected(
    engine: Engine, policy: str, expected_to_restart: bool, told: str | None
) -> None:
    engine.containers[0] = handler(policy=policy)
    found = compare(engine, restart_expected=expected_to_restart)
    assert [(each.kind, each.expected, each.seen) for each in found] == (
        [(MismatchKind.RESTART, told, f"restart policy {policy}")] if told else []
    )
    assert all(f"{RECREATE} handler, or correct k2_services.handler.restart_expected" in each.action for each in found)


def test_a_one_shot_that_is_started_again_and_again(engine: Engine) -> None:
    engine.containers[1] = init(policy="unless-stopped")
    (mismatch,) = compare(engine)
    assert (mismatch.subject, mismatch.kind) == ("init", MismatchKind.RESTART)
    engine.containers[1] = init(policy="on-failure")
    assert compare(engine) == []


def test_limits_that_differ_or_are_not_there(engine: Engine) -> None:
    engine.containers[0] = handler(cpus=0.0, memory=2**30)
    assert [(each.kind, each.expected, each.seen) for each in compare(engine)] == [
        (MismatchKind.LIMIT, "cpus 0.5 cores", "no limit"),
        (MismatchKind.LIMIT, "memory 512 MiB", "1.00 GiB"),
    ]


@pytest.mark.parametrize(("environment", "seen"), [("JAVA_OPTS=-Xmx512m", ["512 MiB"]), ("JAVA_OPTS=", [])])
def test_a_heap_that_differs_is_told_and_one_that_cannot_be_seen_is_not(
    engine: Engine, environment: str, seen: list[str]
) -> None:
    engine.containers[0] = handler(environment=(environment,))
    found = compare(engine)
    assert [each.seen for each in found] == seen
    assert all((each.kind, each.expected) == (MismatchKind.HEAP, "-Xmx of 256 MiB") for each in found)


def test_labels_that_differ_are_told_and_no_others(engine: Engine) -> None:
    engine.containers[0] = handler(labels=compose_labels("handler", **{"com.k2.service": "ui", "own": "1"}))
    (mismatch,) = compare(engine)
    assert (mismatch.kind, mismatch.expected, mismatch.seen) == (
        MismatchKind.LABELS,
        "com.k2.service=feed-handler, com.k2.exchange=binance",
        "com.k2.service=ui, no com.k2.exchange",
    )


def test_a_network_that_is_missing_is_told_once(engine: Engine) -> None:
    engine.networks.pop()
    (mismatch,) = compare(engine)
    assert (mismatch.subject, mismatch.kind) == ("network", MismatchKind.NETWORK)
    assert mismatch.expected == "k2-net or default of project k2"
    assert mismatch.seen == "the network is missing: bridge"


def test_a_network_of_another_range(engine: Engine) -> None:
    engine.networks[1] = network("k2-net", "172.20.0.0/16")
    (mismatch,) = compare(engine)
    assert (mismatch.expected, mismatch.seen) == ("a network of 172.28.0.0/16", "k2-net spans 172.20.0.0/16")


def test_a_container_that_is_not_on_the_network(engine: Engine) -> None:
    engine.containers[0] = handler(networks={"bridge": (None, "172.17.0.2")})
    (mismatch,) = compare(engine)
    assert (mismatch.kind, mismatch.expected, mismatch.seen) == (MismatchKind.NETWORK, "attached to k2-net", "bridge")


@pytest.mark.parametrize(
    ("fixed", "seen"), [("172.28.0.51", "172.28.0.51"), (None, "no static address, for now 172.28.0.50")]
)
def test_another_static_address_or_none(engine: Engine, fixed: str | None, seen: str) -> None:
    engine.containers[0] = handler(networks={"k2-net": (fixed, "172.28.0.50")})
    (mismatch,) = compare(engine)
    assert (mismatch.kind, mismatch.expected, mismatch.seen) == (
        MismatchKind.ADDRESS,
        "static address 172.28.0.50 on k2-net",
        seen,
    )


def test_one_container_that_cannot_be_inspected_does_not_hide_the_others(engine: Engine) -> None:
    engine.broken = {"k2-handler"}
    engine.containers[1] = init(exit_code=3)
    assert [(each.subject, each.kind) for each in compare(engine)] == [
        ("handler", MismatchKind.UNKNOWN),
        ("init", MismatchKind.STATE),
    ]


def nothing(path: Path) -> None:
    del path


def left_over(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


@pytest.mark.parametrize(
    ("make", "seen", "action"),
    [
        (nothing, "the control socket does not exist: no such file", "start the runtime"),
        (left_over, "nobody listens on the control socket: connection refused", "start the runtime"),
    ],
)
def test_an_engine_that_does_not_run_is_told_once(
    tmp_path: Path, make: Callable[[Path], None], seen: str, action: str
) -> None:
    make(tmp_path / "s")
    (mismatch,) = compare_setup(described(tmp_path / "s"))
    assert (mismatch.subject, mismatch.kind) == ("runtime docker", MismatchKind.RUNTIME)
    assert mismatch.seen.startswith(seen)
    assert mismatch.action.startswith(action)
    assert mismatch.action.endswith("make up")


def test_no_permission_on_the_socket_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Root may use any socket, and tests may run as root.
    monkeypatch.setattr(socket.socket, "connect", refuse)
    (mismatch,) = compare_setup(described(tmp_path / "s"))
    assert mismatch.seen == "the control socket may not be used by this user: permission denied"
    assert "become: true" in mismatch.action


def test_an_engine_that_hangs_is_waited_for_once(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen(16)
        accepted: list[socket.socket] = []
        threading.Thread(target=lambda: accepted.append(mute.accept()[0]), daemon=True).start()
        (mismatch,) = compare_setup(described(tmp_path / "s"))
    assert len(accepted) == 1
    assert mismatch.kind is MismatchKind.RUNTIME
    assert "did not answer GET /containers/json" in mismatch.seen


def test_a_runtime_that_is_not_there_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    platform = {"name": "p", "scale": "lab", "runtime": "systemd"}
    (mismatch,) = measured.compare_setup(
        parse_profile({"k2_platform": platform, "k2_services": {"a": {"kind": "service"}, "b": {"kind": "service"}}})
    )
    assert mismatch.kind is MismatchKind.RUNTIME
    assert mismatch.seen.startswith("systemd cannot be asked")
