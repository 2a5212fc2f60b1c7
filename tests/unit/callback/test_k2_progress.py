# SPDX-License-Identifier: Apache-2.0
"""The callback plugin in real plays: what it shows, and that a run is closed however its playbook ends."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PLAY = Path(__file__).parent / "play" / "play.yml"


def command(artifacts: Path, seconds: float, *more: str) -> list[str]:
    playbook = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert playbook, "ansible-playbook is not on PATH"
    values = json.dumps(
        {"artifacts": str(artifacts), "seconds": str(seconds), "ansible_python_interpreter": sys.executable}
    )
    return [playbook, "-i", "localhost,", "-c", "local", str(PLAY), "-e", values, *more]


@pytest.fixture
def environment(project_root: Path, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "K2_"))}
    return kept | {
        "ANSIBLE_CONFIG": str(project_root / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(project_root / "collections"),
        "PYTHONPATH": str(project_root / "collections"),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
        "COLUMNS": "100",
    }


def results(artifacts: Path) -> dict[str, object]:
    loaded = json.loads((artifacts / "latest" / "results.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def wait_for_work(artifacts: Path) -> None:
    """Until the run's progress file shows that the long task works."""
    deadline = time.monotonic() + 60
    path = artifacts / "latest" / "progress.jsonl"
    while not (path.exists() and b'"running"' in path.read_bytes()):
        assert time.monotonic() < deadline, f"no event in {path} within 60 s"
        time.sleep(0.05)


def test_plain_lines_and_the_runs_own_progress_file(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, 3),
        env=environment | {"K2_PROGRESS_INTERVAL": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "counting to ten" in done.stderr
    assert "% (" in done.stderr
    assert 1 <= done.stderr.count("\n") <= 6, "few lines, not a flood"
    assert "\x1b" not in done.stderr
    assert "counting" not in done.stdout, "what the stdout callback writes stays as it is"
    states = [json.loads(line)["state"] for line in (tmp_path / "latest" / "progress.jsonl").read_text().splitlines()]
    assert states[0] == "started"
    assert states[-1] == "finished"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-e", "break_it=true"], "Break where asked to: broken on purpose"),
        ([], "the playbook ended before it had closed the run"),
    ],
)
def test_a_run_left_open_is_closed_as_an_error(
    environment: dict[str, str], tmp_path: Path, arguments: list[str], why: str
) -> None:
    subprocess.run(command(tmp_path, 0.1, *arguments), env=environment, capture_output=True, timeout=60, check=False)
    assert (results(tmp_path)["state"], results(tmp_path)["error"]) == ("error", why)


@pytest.mark.parametrize("broken", [False, True])
def test_where_the_report_is_stands_below_the_recap(environment: dict[str, str], tmp_path: Path, broken: bool) -> None:
    options = ["-e", "render_it=true", "-e", f"break_it={broken}"]
    done = subprocess.run(
        command(tmp_path, 0.1, *options),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode != 0) is broken, done.stdout
    assert done.stdout.strip().splitlines()[-1] == "report: /runs/1/report/index.html"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_is_closed_as_interrupted_by_a_signal(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    # A background job of a shell starts with SIGINT ignored, which Python would inherit.
    process = subprocess.Popen(
        command(tmp_path, 60),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 (no thread here)
    )
    try:
        wait_for_work(tmp_path)
        process.send_signal(number)
        # The pipe closes when the last process that holds it has gone: the work itself, too.
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode != 0, output
    assert (results(tmp_path)["state"], results(tmp_path)["error"]) == (
        "interrupted",
        f"ansible-playbook received {number.name}",
    )


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


@pytest.mark.parametrize("no_colour", [False, True])
def test_one_line_is_refreshed_on_a_terminal(
    environment: dict[str, str], tmp_path: Path, terminal: tuple[int, int], no_colour: bool
) -> None:
    ours, theirs = terminal
    extra = {"K2_PROGRESS_QUIET_FOR": "0.5"} | ({"NO_COLOR": "1"} if no_colour else {})
    process = subprocess.Popen(
        command(tmp_path, 3), env=environment | extra, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    screen = b""
    while chunk := read(ours):
        screen += chunk
    assert process.wait(timeout=30) == 0
    text = screen.decode()
    assert "counting to ten" in text
    assert ("\x1b[36m[" in text) is not no_colour
    # What remains on the screen: each line as the terminal shows it in the end.
    remains = [line.split("\x1b[2K")[-1].strip("\r") for line in text.split("\r\n")]
    assert not [line for line in remains if "counting" in line], remains
    assert any("ok: [localhost]" in line for line in remains)


def read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # the other side is closed: a terminal says EIO, not end of file
        return b""
