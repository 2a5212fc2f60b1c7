# SPDX-License-Identifier: Apache-2.0
"""A platform and a load generator on hosts that are reached over SSH. Both are this machine, by its own servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from .lab import Lab
from .remote import LOAD, PLATFORM, Remote, two_hosts
from .test_step_latency import detail, gates

pytestmark = pytest.mark.measures

MODE = "silver_processor_crash"


def play(lab: Lab, remote: Remote, name: str, *arguments: str, check: bool = True, **variables: object) -> str:
    """Run a playbook over SSH; returns what was printed."""
    environment = {
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(remote.directory / "cp"),
        "ANSIBLE_LOCAL_TEMP": str(remote.directory),
    }
    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment.items():
            patch.setenv(key, value)
        there = replace(lab, inventory=str(remote.inventory))
        done = there.playbook(name, *arguments, check=check, timeout_s=170, **variables)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return said


@pytest.fixture(scope="module")
def remote(lab: Lab) -> Iterator[Remote]:
    """Two hosts, prepared by the role."""
    with two_hosts() as hosts:
        yield hosts


@pytest.fixture(scope="module")
def prepared(lab: Lab, remote: Remote) -> str:
    """What was said by the playbook that prepared the two hosts."""
    return play(lab, remote, "bench_host")


def test_a_check_tells_what_would_be_made_and_makes_nothing(lab: Lab, remote: Remote) -> None:
    said = play(lab, remote, "bench_host", "--check")
    assert f"{remote.venv(LOAD)}: there is none, so it would be made with" in said
    assert "changed=1" in said
    assert not remote.venv(PLATFORM).exists()


def test_a_second_time_there_is_nothing_to_do(lab: Lab, remote: Remote, prepared: str) -> None:
    assert (remote.venv(PLATFORM) / "bin" / "python").exists()
    said = play(lab, remote, "bench_host")
    assert said.count("changed=0") == 2
    assert f"{remote.venv(LOAD)}: as it should be" in said


def test_the_preflight_passes_over_ssh(lab: Lab, remote: Remote, prepared: str, tmp_path: Path) -> None:
    play(lab, remote, "preflight", k2_artifacts_dir=str(tmp_path), k2_fail_on=["FAIL"])
    found = {name: gate["verdict"] for name, gate in gates(tmp_path).items()}
    # How narrowly a clock can be told depends on how busy this machine is; that it is right does not.
    assert found.pop("S0.clocks") in ("PASS", "INCONCLUSIVE")
    (skew,) = (each for each in detail(tmp_path, "S0.clocks")["skews"] if each["name"] == "target against controller")
    assert skew["error"] is None
    assert skew["low_ms"] <= 0 <= skew["high_ms"]
    assert {verdict for name, verdict in found.items() if name.startswith("S0.")} == {"PASS"}


def test_a_failure_mode_is_measured_over_ssh_while_another_host_sends(
    lab: Lab, remote: Remote, prepared: str, tmp_path: Path
) -> None:
    before, journals = remote.commands(LOAD), sorted((lab.directory / "state").glob("**/*"))
    play(lab, remote, "step3_failure_modes", k2_artifacts_dir=str(tmp_path), k2_failure_modes_only=[MODE], check=False)
    found = gates(tmp_path)
    for word in ("recovery", "loss", "isolation", "restored"):
        assert (found[f"S3.{MODE}.{word}"]["verdict"], found[f"S3.{MODE}.{word}"]["reason"]) == ("PASS", ""), word
    assert detail(tmp_path, f"S3.{MODE}.loss")["loads"][0]["sent"] > 0
    # The load was ordered from its host, journal and watchdog were on the platform's, the evidence is here.
    assert remote.commands(LOAD) > before
    assert list((remote.state / "k2-lab" / "watchdog").glob("steps-*.py"))
    assert list((remote.state / "k2-lab" / "undo").glob("*.json")) == []
    assert sorted((lab.directory / "state").glob("**/*")) == journals
    assert list((tmp_path / "latest" / "samples").glob(f"S3.{MODE}.*"))


def test_what_was_prepared_is_taken_away_again(lab: Lab, remote: Remote, prepared: str) -> None:
    said = play(lab, remote, "bench_host", k2_bench_host_state="absent")
    assert said.count("changed=1") == 2
    assert not remote.venv(PLATFORM).exists()
    assert not remote.venv(LOAD).exists()
