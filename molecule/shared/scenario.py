# SPDX-License-Identifier: Apache-2.0
"""What the tests of the monitoring scenarios share: where the scenario is, its server, and plays of its role."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path(os.environ["K2_SCENARIO_DIR"])
ETC = PLACE / "etc"
URL = os.environ["K2_SCENARIO_URL"]
TOOLS: dict[str, str] = json.loads(
    subprocess.run([sys.executable, f"{ROOT}/molecule/shared/tools.py"], check=True, capture_output=True).stdout
)
T = TypeVar("T")


def get(path: str) -> Any:
    with urllib.request.urlopen(URL + path, timeout=10) as answer:
        return json.loads(answer.read())


def play(role: str, *arguments: str, **variables: object) -> tuple[int, str]:
    """Play the role of the scenario once more; the exit code and all that was said."""
    done = subprocess.run(
        [
            "ansible-playbook",
            f"--inventory={ROOT}/molecule/{role}/inventory",
            f"--extra-vars={json.dumps(variables)}",
            *arguments,
            f"{ROOT}/molecule/{role}/converge.yml",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg", "ANSIBLE_FORCE_COLOR": "0"},
    )
    return done.returncode, done.stdout + done.stderr


def contents() -> dict[str, str]:
    """Every file of the configuration, with its text."""
    return {
        str(path.relative_to(ETC)): path.read_text(encoding="utf-8")
        for path in sorted(ETC.rglob("*"))
        if path.is_file()
    }


@contextmanager
def webhook(port: int) -> Iterator[list[tuple[str, str]]]:
    """What receivers of alerts lead to; gives path and body of everything that it gets."""
    got: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            answer = b'{"ok": true, "result": {"message_id": 1, "date": 1, "chat": {"id": -100, "type": "group"}}}'
            self.send_response(202 if "pagerduty" in self.path else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield got
    finally:
        server.shutdown()
        server.server_close()


def eventually(look: Callable[[], T], is_right: Callable[[T], bool], timeout_s: float = 20) -> T:
    deadline = time.monotonic() + timeout_s
    while not is_right(seen := look()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s; last seen: {seen}"
        time.sleep(0.25)
    return seen
