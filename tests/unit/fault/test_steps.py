# SPDX-License-Identifier: Apache-2.0
"""Undo steps: each kind against the real thing, done twice without harm, tried again until done or time is up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.fault import steps
from ansible_collections.k2.hardening.plugins.module_utils.fault.steps import perform, problems, start_ticks


def within(seconds: float) -> int:
    return time.monotonic_ns() + int(seconds * 1e9)


class Server:
    """Answers ``answers`` one after the other, the last for ever, and keeps what it was asked."""

    def __init__(self, kind: type[socketserver.BaseServer], address: object) -> None:
        self.asked: list[tuple[str, str, str, str]] = []
        self.answers: list[tuple[int, str]] = [(200, "")]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def address_string(self) -> str:
                return "client"

            def log_message(self, *args: object) -> None: ...

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                outer.asked.append((self.command, self.path, body, self.headers.get("Content-Type", "")))
                status, text = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

        self.server = kind(address, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web() -> Iterator[Server]:
    server = Server(socketserver.ThreadingTCPServer, ("127.0.0.1", 0))
    yield server
    server.close()


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[Server]:
    server = Server(socketserver.ThreadingUnixStreamServer, str(tmp_path / "s.sock"))
    yield server
    server.close()


def http_step(web: Server, **more: object) -> dict[str, object]:
    url = f"http://127.0.0.1:{web.server.server_address[1]}/refuse?x=1"
    return {"op": "http", "method": "POST", "url": url, "body": {"seconds": 0}, "ok": [200, 204], **more}


def unix_step(unix: Server, **more: object) -> dict[str, object]:
    socket = str(unix.server.server_address)
    return {"op": "unix_http", "socket": socket, "method": "POST", "path": "/RPC2", "body": "<x/>",
            "content_type": "text/xml", "ok": [200], **more}  # fmt: skip


def test_an_http_step_sends_what_it_says(web, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    (outcome,) = perform([http_step(web)], within(2))
    assert (outcome.ok, outcome.attempts) == (True, 1)
    assert web.asked == [("POST", "/refuse?x=1", '{"seconds": 0}', "application/json")]


def test_a_refused_step_is_tried_again_until_it_succeeds(web):
    web.answers = [(500, "not yet"), (500, "not yet"), (204, "")]
    (outcome,) = perform([http_step(web)], within(5))
    assert (outcome.ok, outcome.attempts) == (True, 3)


CONTAINER = {
    "State": {"Status": "running", "Paused": False},
    "NetworkSettings": {
        "Networks": {"k2_net": {"Aliases": ["db", "4f1c0d5be2a9"], "IPAMConfig": {"IPv4": "10.0.0.2"}}}
    },
}


@pytest.mark.parametrize(
    ("holds", "lacks"),
    [
        ({"State": {"Status": "running"}}, ""),
        ({"NetworkSettings": {"Networks": {"k2_net": {"Aliases": ["db"], "IPAMConfig": {"IPv4": "10.0.0.2"}}}}}, ""),
        ({"NetworkSettings": {"Networks": {"k2_net": {"Aliases": []}}}}, ""),
        ({"State": {"Status": "exited"}}, 'answer.State.Status is "running", expected "exited"'),
        ({"NetworkSettings": {"Networks": {"k2_net": {"Aliases": ["api"]}}}}, 'Aliases lacks ["api"]'),
        ({"NetworkSettings": {"Networks": {"other": {"Aliases": ["db"]}}}}, 'other.Aliases lacks ["db"]: null'),
        ({"State": {"Health": {"Status": "healthy"}}}, "answer.State.Health.Status is null"),
    ],
)
def test_an_answer_has_to_hold_all_that_is_named_whatever_else_it_holds(web, holds, lacks):
    web.answers = [(200, json.dumps(CONTAINER))]
    (outcome,) = perform([http_step(web, holds=holds)], 0)
    assert outcome.ok is not bool(lacks)
    assert lacks in outcome.seen


def test_an_answer_that_is_no_json_holds_nothing(web):
    web.answers = [(200, "<html>")]
    (outcome,) = perform([http_step(web, holds={"State": {}})], 0)
    assert (outcome.ok, "JSONDecodeError" in outcome.seen) == (False, True)


@pytest.mark.parametrize(("status", "done"), [(404, True), (500, False)])
def test_what_a_step_is_about_may_be_gone_and_then_nothing_has_to_hold(web, status, done):
    web.answers = [(status, "not found")]
    (outcome,) = perform([http_step(web, gone=[404], holds={"status": {"state": "expired"}})], 0)
    assert (outcome.ok, outcome.seen == f"{status} gone") == (done, done)


def test_a_command_about_what_a_process_has_is_done_when_that_is_gone(tmp_path):
    child = subprocess.Popen(["sleep", "60"])
    try:
        whose = {"pid": child.pid, "start_ticks": start_ticks(child.pid)}
        step = {"op": "exec", "argv": ["touch", str(tmp_path / "done")], "ok": [0]}
        assert perform([{**step, **whose}], 0)[0].ok
        assert (tmp_path / "done").exists()
        (tmp_path / "done").unlink()
        # Its number may belong to another by then.
        assert perform([{**step, **whose, "start_ticks": 1}], 0)[0].seen == f"process {child.pid} is gone"
    finally:
        child.kill()
        child.wait()
    assert perform([{**step, **whose}], 0)[0].ok
    assert not (tmp_path / "done").exists()
    assert problems([{**step, "pid": child.pid}]) == ["step 0: a process of exec takes both pid and start_ticks"]


def test_one_that_fails_keeps_no_other_from_being_done_and_says_what_was_seen(web):
    nobody = {"op": "http", "method": "POST", "url": "http://127.0.0.1:1/", "ok": [200]}
    first, second = perform([nobody, http_step(web)], within(0.5))
    assert not first.ok
    assert first.attempts > 1
    assert "refused" in first.seen
    assert (second.ok, second.attempts, len(web.asked)) == (True, 1, 1)


def test_what_is_late_is_tried_once_all_the_same(web):
    assert [outcome.ok for outcome in perform([http_step(web)], 0)] == [True]


def test_an_xml_rpc_fault_is_a_success_only_where_the_step_says_so(unix):
    unix.answers = [(200, "<methodResponse><fault>ALREADY_STARTED: kafka</fault></methodResponse>")]
    assert not perform([unix_step(unix)], 0)[0].ok
    assert not perform([unix_step(unix, ok_contains=["NOT_RUNNING"])], 0)[0].ok
    assert perform([unix_step(unix, ok_contains=["ALREADY_STARTED"])], 0)[0].ok
    assert unix.asked[-1] == ("POST", "/RPC2", "<x/>", "text/xml")


def test_an_answer_has_to_show_what_the_step_asks_for(unix):
    unix.answers = [(200, "<string>BACKOFF</string>"), (200, "<string>RUNNING</string>")]
    (outcome,) = perform([unix_step(unix, shows="<string>RUNNING</string>")], within(5))
    assert (outcome.ok, outcome.attempts) == (True, 2)
    unix.answers = [(500, "<string>RUNNING</string>")]
    assert not perform([unix_step(unix, shows="<string>RUNNING</string>")], 0)[0].ok


def test_an_answer_that_never_comes_costs_no_more_than_the_steps_time(tmp_path):
    class Mute(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            time.sleep(3)

    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "mute"), Mute) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        step = {"op": "unix_http", "socket": str(tmp_path / "mute"), "method": "GET", "path": "/", "ok": [200]}
        begun = time.monotonic()
        (outcome,) = perform([{**step, "timeout_s": 0.3}], 0)
        assert (outcome.ok, time.monotonic() - begun < 1.5) == (False, True)
        server.shutdown()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("with_handle", [True, False])
def test_a_stopped_process_goes_on(sleeper, monkeypatch, with_handle):
    if not with_handle:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    step = {"op": "signal", "pid": sleeper.pid, "start_ticks": start_ticks(sleeper.pid), "number": signal.SIGCONT}
    sleeper.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
    for _ in range(2):
        assert perform([step], within(2))[0].ok
        assert not stopped(sleeper.pid)


def test_a_process_that_has_the_number_of_another_is_left_alone(sleeper):
    step = {"op": "signal", "pid": sleeper.pid, "start_ticks": 1, "number": int(signal.SIGKILL)}
    (outcome,) = perform([step], 0)
    assert (outcome.ok, sleeper.poll()) == (True, None)


def test_a_process_that_is_gone_needs_nothing(sleeper):
    step = {"op": "signal", "pid": sleeper.pid, "start_ticks": start_ticks(sleeper.pid), "number": 18}
    sleeper.kill()
    sleeper.wait()
    assert [(o.ok, o.seen) for o in perform([step], 0)] == [(True, "gone")]


@pytest.mark.parametrize(
    ("script", "ok", "seen"),
    [
        ("echo fine", True, "exit code 0 fine"),
        ("echo no such rule >&2; exit 1", True, "exit code 1 no such rule"),
        ("exit 2", False, "exit code 2"),
        ("sleep 30", False, "not done after 0.5 s"),
        ("setsid sleep 3 & echo started a daemon", True, "exit code 0 started a daemon"),
    ],
)
def test_a_command_is_judged_by_its_exit_code_within_its_time(script, ok, seen):
    begun = time.monotonic()
    (outcome,) = perform([{"op": "exec", "argv": ["sh", "-c", script], "ok": [0, 1], "timeout_s": 0.5}], 0)
    assert (outcome.ok, outcome.seen) == (ok, seen)
    assert time.monotonic() - begun < 2


def test_a_command_that_is_not_there_is_told():
    (outcome,) = perform([{"op": "exec", "argv": ["k2-no-such-program"], "ok": [0]}], 0)
    assert "No such file" in outcome.seen


def test_a_step_counts_only_when_its_check_holds(tmp_path):
    mark = tmp_path / "mark"
    act = {"op": "exec", "argv": ["sh", "-c", f"echo x >> {mark}"], "ok": [0]}
    twice = {"op": "exec", "argv": ["sh", "-c", f"test $(wc -l < {mark}) -ge 2"], "ok": [0]}
    (outcome,) = perform([{**act, "verify": twice}], within(5))
    assert (outcome.ok, outcome.attempts) == (True, 2)
    assert "verified" in outcome.seen


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"op": "unlink"}, "unknown op 'unlink', known: http, unix_http, signal, exec"),
        ({}, "unknown op"),
        ({"op": "signal", "pid": 5, "number": 18}, "signal lacks start_ticks"),
        ({"op": "exec", "argv": "rm x", "ok": [0]}, "argv of exec cannot be 'rm x'"),
        ({"op": "exec", "argv": [], "ok": [0]}, "one at least"),
        ({"op": "exec", "argv": ["x"], "ok": [0], "timeuot_s": 3}, "exec has no timeuot_s"),
        ({"op": "exec", "argv": ["x"], "ok": [0], "verify": {"op": "no"}}, "verify: unknown op"),
    ],
)
def test_what_can_never_be_done_is_known_beforehand(step, says):
    (problem,) = problems([step])
    assert says in problem
    assert problem.startswith("step 0: ")
    (outcome,) = perform([step], 0)
    assert not outcome.ok


def test_the_first_process_gets_no_signal():
    assert not perform([{"op": "signal", "pid": 1, "start_ticks": start_ticks(1), "number": 18}], 0)[0].ok


def test_the_file_runs_alone(tmp_path):
    """No package around it and no site-packages: so it is on a target."""
    alone = Path(shutil.copy(steps.__file__, tmp_path / "alone.py"))
    entry = tmp_path / "undo" / "1.json"
    (entry.parent / "closed").mkdir(parents=True)
    mark = tmp_path / "mark"
    entry.write_text(json.dumps({
        "id": "1", "deadline_ns": within(60), "boot_id": "x",
        "steps": [{"op": "exec", "argv": ["touch", str(mark)], "ok": [0]}],
    }))  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-S", alone, entry], stdin=subprocess.DEVNULL, timeout=20, check=False, env={}, cwd="/"
    )
    assert done.returncode == steps.UNDONE
    assert mark.exists()
    assert not entry.exists()
    closed = json.loads((entry.parent / "closed" / "1.json").read_text())
    assert (closed["undone_by"], closed["outcomes"][0]["ok"]) == ("watchdog", True)


def test_a_watchdog_that_cannot_read_its_entry_says_so(tmp_path, capfd):
    done = subprocess.run(
        [sys.executable, "-I", steps.__file__, tmp_path / "none.json"],
        stdin=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )
    assert done.returncode == steps.CANNOT_WATCH
    assert "none.json" in capfd.readouterr().out
