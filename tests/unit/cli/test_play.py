# SPDX-License-Identifier: Apache-2.0
"""`k2h run` and its like play real playbooks through ansible-runner; what they found is the exit code."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.k2.hardening.plugins.module_utils.cli.plays import verdict_of
from ansible_collections.k2.hardening.plugins.module_utils.verdict.gate import Verdict
from ansible_collections.k2.hardening.plugins.module_utils.verdict.rundir import RunDir

PLAY = Path(__file__).parents[1] / "callback" / "play"


@pytest.fixture
def k2h(project_root: Path, tmp_path: Path) -> list[str]:
    """The program, with a playbook of ours in the place of phase7.yml."""
    shutil.copytree(PLAY, tmp_path / "playbooks")
    play = (tmp_path / "playbooks/play.yml").read_text()
    play = play.replace('"{{ artifacts }}"', '"{{ k2_artifacts_dir }}"')
    (tmp_path / "playbooks/phase7.yml").write_text(play)
    (tmp_path / "playbooks/undo.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - ansible.builtin.fail:\n        msg: nothing works\n"
    )
    start = tmp_path / "start.py"
    start.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from ansible.plugins.loader import init_plugin_loader\n"
        f"init_plugin_loader([{str(project_root / 'collections')!r}])\n"
        "from ansible_collections.k2.hardening.plugins.module_utils.cli import main, playing, plays\n"
        f"playing.PLAYBOOKS = plays.PLAYBOOKS = Path({str(tmp_path / 'playbooks')!r})\n"
        "sys.exit(main.main())\n"
    )
    return [sys.executable, str(start)]


@pytest.fixture
def environment(project_root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "K2_"))}
    paths = os.pathsep.join(str(project_root / name) for name in ("collections",))
    return kept | {"ANSIBLE_CONFIG": str(project_root / "ansible.cfg"), "PYTHONPATH": paths, "LC_ALL": "C.UTF-8"}


def arguments(folder: Path, *more: str, seconds: float = 0) -> list[str]:
    (folder / "hosts").write_text(f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    return [
        "run",
        "-i",
        str(folder / "hosts"),
        "--artifacts",
        str(folder / "runs"),
        "--",
        "-e",
        f"seconds={seconds}",
        *more,
    ]


def test_a_run_that_did_not_end_well_is_an_error_and_its_output_is_shown(
    k2h: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [*k2h, *arguments(tmp_path, "-e", "break_it=true")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert "TASK [Work]" in done.stdout
    assert "broken on purpose" in done.stdout
    results = RunDir.open(tmp_path / "runs" / "latest").results()
    assert results["state"] == "error"
    assert "broken on purpose" in results["error"]


def test_an_interrupt_is_passed_on_and_the_run_closed(
    k2h: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    latest = tmp_path / "runs" / "latest"
    with subprocess.Popen(
        [*k2h, *arguments(tmp_path, seconds=60)], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not ((latest / "progress.jsonl").exists() and "running" in (latest / "progress.jsonl").read_text()):
            assert time.monotonic() < deadline, "no progress within 60 s"
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 2
    assert RunDir.open(latest).results()["state"] == "interrupted"


def test_a_playbook_that_fails_is_an_error(k2h: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    arguments(tmp_path)
    done = subprocess.run(
        [*k2h, "undo", "-i", str(tmp_path / "hosts")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "nothing works" in done.stdout


@pytest.mark.parametrize(
    ("action", "result", "verdict"),
    [
        ("k2_tier_audit", {"audit": {"verdict": "EXACT"}}, Verdict.PASS),
        ("k2_tier_audit", {"audit": {"verdict": "LOSS"}}, Verdict.FAIL),
        ("k2_tier_audit", {"audit": {"verdict": "INCONCLUSIVE"}}, Verdict.INCONCLUSIVE),
        ("k2_tier_audit", {"msg": "no broker"}, None),
        ("k2_sign_off", {"missing": ["all"], "failed": True}, Verdict.FAIL),
        ("k2_sign_off", {"missing": []}, Verdict.PASS),
        ("k2_undo", {"entries": [], "failed": True}, Verdict.FAIL),
        ("k2_undo", {"failed": True, "msg": "no profile"}, None),
        ("debug", {"msg": "x"}, None),
    ],
)
def test_what_modules_say(action: str, result: dict[str, object], verdict: Verdict | None) -> None:
    assert verdict_of(action, result) is verdict


def test_a_shell_is_told_how_to_complete(project_root: Path, tmp_path: Path) -> None:
    program = str(project_root / "bin" / "k2h")
    told = subprocess.run([program, "completion", "bash"], capture_output=True, text=True, timeout=60, check=True)
    assert "_python_argcomplete" in told.stdout
    # What that code does when the user asks for completion: the answer comes through file descriptor 8.
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": "k2h com", "COMP_POINT": "7", "COMP_TYPE": "9", "_ARGCOMPLETE_IFS": " "}
    subprocess.run(
        ["bash", "-c", f"exec 8> {tmp_path}/answer 9>/dev/null; exec {program}"],
        env={**os.environ, **asked},
        timeout=60,
        check=False,
        capture_output=True,
    )
    assert (tmp_path / "answer").read_text().split() == ["compare", "completion"]
