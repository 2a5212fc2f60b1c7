# SPDX-License-Identifier: Apache-2.0
"""Carries out undo steps, once each, and says what they say: enough to try faults without the engine around them."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Step = Mapping[str, Any]


def undo(steps: Iterable[Step]) -> None:
    for step in steps:
        _perform(step)
        if "verify" in step:
            _perform(step["verify"])


def _perform(step: Step) -> None:
    if step["op"] == "exec":
        done = subprocess.run(step["argv"], capture_output=True, timeout=step["timeout_s"], check=False)
        assert done.returncode in step["ok"], (step, done)
    elif step["op"] == "signal":
        try:
            started = int(Path(f"/proc/{step['pid']}/stat").read_text().rpartition(")")[2].split()[19])
        except FileNotFoundError:
            return
        if started == step["start_ticks"]:
            os.kill(step["pid"], step["number"])
    else:
        _ask(step)


def _ask(step: Step) -> None:
    if step["op"] == "http":
        parts = urlsplit(step["url"])
        connection, path = http.client.HTTPConnection(parts.netloc, timeout=10), parts.path
    else:
        connection, path = http.client.HTTPConnection("localhost", timeout=step["timeout_s"]), step["path"]
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(step["timeout_s"])
        connection.sock.connect(step["socket"])
    try:
        headers = {"Content-Type": step.get("content_type", "application/json")}
        connection.request(step["method"], path, step["body"], headers)
        answer = connection.getresponse()
        body = answer.read().decode()
    finally:
        connection.close()
    assert answer.status in step["ok"], (step, answer.status, body)
    if "<fault>" in body:
        assert any(text in body for text in step["ok_contains"]), (step, body)
