# SPDX-License-Identifier: Apache-2.0
"""What a user sees of parts that run side by side."""

from __future__ import annotations

import io
import re
import time

import pytest

from k2lab.provision import progress as progress_module
from k2lab.provision.progress import Progress

PARTS = ("environment", "kafka", "minio", "grafana")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_ends_are_lines_except_where_nothing_was_to_be_done() -> None:
    out = io.StringIO()
    with Progress(out, PARTS) as progress:
        for part in PARTS:
            progress.start(part)
        progress.doing("kafka", "Maven fetches 54 jars")
        progress.built("kafka", "Kafka 4.3.1")
        progress.reused("environment")
        progress.unavailable("minio", "the disk is full")
        progress.failed("grafana", "broken")
    lines = [re.sub(r"\d+\.\d s", "T", line) for line in out.getvalue().splitlines()]
    assert [line.split() for line in lines] == [
        ["...", "kafka:", "Maven", "fetches", "54", "jars"],
        ["ok", "kafka", "T", "Kafka", "4.3.1"],
        ["none", "minio", "T", "not", "available:", "the", "disk", "is", "full"],
        ["FAIL", "grafana", "T", "broken"],
    ]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_who_works_and_who_waits_is_told_again_and_again(
    stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "REDRAW_S", 0.01)
    monkeypatch.setattr(progress_module, "HEARTBEAT_S", 0.01)
    monkeypatch.setenv("COLUMNS", "200")
    told = _Told(stream())
    with Progress(told.stream, PARTS) as progress:
        progress.start("environment")
        progress.reused("environment")
        progress.start("kafka")
        with progress.aside("removing what only the builds needed"):
            told.wait_for("waiting: minio, grafana")
    text = told.stream.getvalue()
    assert "1/4" in text
    assert "kafka 0 s: checking; removing what only the builds needed; waiting: minio, grafana" in text


class _Told:
    """Waits until something has been written."""

    def __init__(self, stream: io.StringIO) -> None:
        self.stream = stream

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 10
        while text not in self.stream.getvalue():
            assert time.monotonic() < deadline, self.stream.getvalue()
            time.sleep(0.005)
