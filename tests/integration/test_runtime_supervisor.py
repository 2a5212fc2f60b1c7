# SPDX-License-Identifier: Apache-2.0
"""What is particular to processes under supervisord."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.core.errors import UnsupportedOperation
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import RuntimeFailure, State
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.supervisor import SupervisorRuntime
from ansible_collections.k2.hardening.plugins.module_utils.platform.unix_http import SocketUnavailable
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import RuntimeSettings

from .runtimes import Bench, supervisord


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with supervisord() as made:
        yield made


def test_a_program_that_dies_at_start_shows_its_last_words(bench: Bench) -> None:
    with pytest.raises(RuntimeFailure, match="no licence found"):
        bench.runtime.start("broken", 20)
    status = bench.runtime.status("broken")
    assert (status.state, status.exit_code) == (State.FAILED, None)


def test_partition_is_refused_with_the_reason(bench: Bench) -> None:
    with pytest.raises(UnsupportedOperation, match="shares the host's network"):
        bench.runtime.attachments(bench.unit)


def test_events_survive_rotation_of_the_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = bench.runtime
    assert isinstance(runtime, SupervisorRuntime)
    stream = runtime.events((bench.unit,))
    fresh = [
        "2026-11-20 22:00:00,123 INFO spawned: 'ticker' with pid 7",
        "2026-11-20 22:00:00,124 INFO reaped unknown pid 9",
    ]
    monkeypatch.setattr(runtime, "log_tail", lambda: fresh)
    (event,) = stream.poll(0)
    assert (event.unit, event.detail, event.time_us % 1_000_000) == ("ticker", "with pid 7", 123_000)
    assert stream.poll(0) == []


def test_absent_supervisord_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SocketUnavailable, match="start the runtime"):
        SupervisorRuntime(RuntimeSettings(str(tmp_path / "none.sock"), 1.0)).status("x")
