# SPDX-License-Identifier: Apache-2.0
"""A Prometheus of our own for series that nobody scrapes: on the loopback, in a directory that goes with it.

It runs the rules that it is given, takes samples by remote write, and tells the platform's Alertmanager. What it sends
carries the label ``k2_drill: synthetic``, so that nobody takes it for the platform's own.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Optional
from urllib.parse import urlsplit

from ...core.clock import Deadline
from ...core.errors import K2Error
from ...fault.journal import Entry, Journal
from ...fault.steps import start_ticks
from ...fault.watchdog import Watchdog, WatchdogError
from ...platform.http_api import ApiUnreachable
from ...platform.prometheus import PrometheusClient, RuleRun
from .scaling import scaled_s

MARK = {"k2_drill": "synthetic"}
INTERVAL_S = 1
GROUP = "k2-drill"
READY_S = 30.0
_END_S = 10.0
_LOOK_S = 0.1


class ThrowawayFailed(K2Error):  # noqa: N818 - see core.errors
    """The throwaway Prometheus did not come up, or does not run what it was given."""


def rule_of(rule: RuleRun, factor: float) -> dict[str, Any]:
    """A rule as it is deployed, with shorter waits, for a rule file."""
    plain: dict[str, Any] = {
        "alert": rule.name,
        "expr": rule.query,
        "for": f"{scaled_s('for', rule.duration_s, factor):g}s",
        "labels": dict(rule.labels),
        "annotations": dict(rule.annotations),
    }
    if rule.keep_firing_for_s:
        plain["keep_firing_for"] = f"{scaled_s('keep_firing_for', rule.keep_firing_for_s, factor):g}s"
    return plain


class Throwaway:
    """A context manager: the process ends with it, or by a watchdog where this process is gone first."""

    def __init__(self, program: str, journal: Journal, run_id: str, alertmanager_url: Optional[str]) -> None:
        self._program = program
        self._journal = journal
        self._run_id = run_id
        self._alertmanager_url = alertmanager_url
        self._directory: Optional[Path] = None
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._entry: Optional[Entry] = None
        self._watchdog: Optional[Watchdog] = None
        self.url = ""

    def __enter__(self) -> Throwaway:
        return self

    def start(self, rules: Sequence[dict[str, Any]], deadline: Deadline) -> PrometheusClient:
        """Start it with these rules and wait until it is ready.

        :raises ThrowawayFailed, JournalError, WatchdogError: it did not come up, or would outlive us.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="k2-drill-"))
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        rules_file = self._directory / "rules.yml"
        group = {"name": GROUP, "interval": f"{INTERVAL_S}s", "rules": list(rules)}
        # JSON is YAML: nothing here needs a library for it.
        rules_file.write_text(json.dumps({"groups": [group]}), encoding="utf-8")
        config = self._directory / "prometheus.yml"
        config.write_text(json.dumps(self._config(rules_file)), encoding="utf-8")
        log = self._directory / "log"
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    [
                        self._program,
                        f"--config.file={config}",
                        f"--storage.tsdb.path={self._directory / 'data'}",
                        "--storage.tsdb.retention.time=90d",
                        f"--web.listen-address=127.0.0.1:{port}",
                        "--web.enable-remote-write-receiver",
                        "--web.enable-admin-api",
                        # What it sent ends by itself soon after it is gone: four times this.
                        "--rules.alert.resend-delay=5s",
                        "--log.level=warn",
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            raise ThrowawayFailed(
                "the throwaway Prometheus cannot be started",
                expected=f"a program {self._program}",
                seen=str(error),
                action="give prometheus_program the path of a Prometheus on the target",
            ) from error
        self._guard(self._process.pid, deadline)
        client = PrometheusClient(self.url)
        self._await_ready(client, log)
        return client

    def _config(self, rules_file: Path) -> dict[str, Any]:
        config: dict[str, Any] = {
            "global": {"evaluation_interval": f"{INTERVAL_S}s", "external_labels": MARK},
            "rule_files": [str(rules_file)],
            "storage": {"tsdb": {"out_of_order_time_window": "90d"}},
        }
        if self._alertmanager_url is not None:
            parts = urlsplit(self._alertmanager_url)
            manager = {"static_configs": [{"targets": [parts.netloc]}], "scheme": parts.scheme}
            if parts.path.strip("/"):
                manager["path_prefix"] = parts.path
            config["alerting"] = {"alertmanagers": [manager]}
        return config

    def _guard(self, pid: int, deadline: Deadline) -> None:
        started = start_ticks(pid)
        if started is None:
            raise ThrowawayFailed("the throwaway Prometheus ended at once", expected="it to run", seen=self._said())
        step = {"op": "signal", "pid": pid, "start_ticks": started, "number": int(signal.SIGKILL)}
        self._entry = self._journal.open(
            self._run_id,
            "a throwaway Prometheus",
            f"process {pid} for synthetic series",
            f"kill process {pid}",
            {"kind": "fault"},
            steps=[step],
            deadline_ns=deadline.at_ns,
        )
        try:
            self._watchdog = Watchdog.guard(self._journal, self._entry)
        except WatchdogError:
            self._stop()
            raise

    def _await_ready(self, client: PrometheusClient, log: Path) -> None:
        deadline = Deadline.after(READY_S)
        while not deadline.passed and self._process is not None and self._process.poll() is None:
            try:
                if client.ready():
                    return
            except ApiUnreachable:
                pass
            time.sleep(_LOOK_S)
        raise ThrowawayFailed(
            "the throwaway Prometheus did not come up", expected=f"ready within {READY_S:g} s", seen=self._said(log)
        )

    def _said(self, log: Optional[Path] = None) -> str:
        if log is None or not log.exists():
            return "nothing"
        return " | ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]) or "nothing"

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._entry is not None:
            self._journal.close(self._entry.id)
            self._entry = None
        if self._watchdog is not None:
            self._watchdog.done()
            self._watchdog = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


def _free_port() -> int:
    with socket.socket() as handle:
        handle.bind(("127.0.0.1", 0))
        return int(handle.getsockname()[1])
