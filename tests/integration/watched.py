# SPDX-License-Identifier: Apache-2.0
"""Two services that are watched by a real Prometheus, which tells a real Alertmanager, which tells a receiver's log."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.k2.hardening.plugins.module_utils.platform.alertmanager import AlertmanagerClient
from ansible_collections.k2.hardening.plugins.module_utils.platform.prometheus import PrometheusClient
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.base import State
from ansible_collections.k2.hardening.plugins.module_utils.platform.runtime.supervisor import SupervisorRuntime
from ansible_collections.k2.hardening.plugins.module_utils.profile.model import Profile
from ansible_collections.k2.hardening.plugins.module_utils.profile.parse import parse_profile

from .runtimes import eventually, supervisord
from .scripted import _free_ports as free_ports
from .scripted import answers
from .stores import tool

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("front", "back", "prometheus", "alertmanager", "receiver")
SERVICE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
# The waits are those of a real platform: minutes that no drill would wait for.
RULES = """\
groups:
  - name: services
    rules:
      - alert: ServiceGone
        expr: up{job="services"} == 0
        for: 5m
        keep_firing_for: 1m
        labels:
          severity: critical
        annotations:
          summary: '{{ $labels.service }} is gone'
          runbook_url: http://127.0.0.1:{front}/gone
      - alert: NeverFires
        expr: up{job="services"} > 5
        for: 1m
        labels:
          severity: warning
        annotations:
          runbook_url: http://127.0.0.1:1/never
      - alert: Full
        expr: disk_free_bytes / disk_size_bytes < 0.15
        for: 10m
        labels:
          severity: warning
        annotations:
          runbook_url: http://127.0.0.1:{front}/full
      - alert: Unknown
        expr: absent_over_time(watermark_seconds[15m])
        labels:
          severity: warning
        annotations:
          runbook_url: http://127.0.0.1:{front}/unknown
  - name: watch
    interval: 30s
    rules:
      - alert: Watchdog
        expr: vector(1)
        labels:
          severity: info
        annotations:
          runbook_url: http://127.0.0.1:{front}/watchdog
"""
ROUTES = """\
route:
  receiver: log
  group_by: [alertname, service]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
receivers:
  - name: log
    webhook_configs:
      - url: http://127.0.0.1:{receiver}/
"""
SCRAPE = """\
global: {{scrape_interval: 1s, evaluation_interval: 15s}}
rule_files: [rules/*.yml]
alerting:
  alertmanagers:
    - static_configs: [{{targets: ["127.0.0.1:{alertmanager}"]}}]
scrape_configs:
  - job_name: services
    static_configs:
      - {{targets: ["127.0.0.1:{front}"], labels: {{service: front}}}}
      - {{targets: ["127.0.0.1:{back}"], labels: {{service: back}}}}
"""
PROGRAM = """
[program:{name}]
command={command}
environment=PYTHONPATH="{root}/lab"
startsecs=0
autorestart=true
redirect_stderr=true
stdout_logfile={folder}/{name}.log
"""


@dataclass(frozen=True)
class Watched:
    """The platform, its monitoring's files, and what is asked of it."""

    folder: Path
    runtime: SupervisorRuntime
    ports: dict[str, int]

    @property
    def rules(self) -> Path:
        return self.folder / "rules" / "rules.yml"

    @property
    def routes(self) -> Path:
        return self.folder / "alertmanager.yml"

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def data(self, **alerting: Any) -> dict[str, Any]:
        settings = {"socket": self.runtime._socket, "timeout_s": 10.0}
        kinds = {"prometheus": "monitoring", "alertmanager": "monitoring", "receiver": "monitoring"}
        return {
            "k2_platform": {
                "name": "watched",
                "scale": "lab",
                "runtime": "supervisor",
                "runtimes": {"supervisor": settings},
            },
            "k2_services": {
                name: {
                    "kind": kinds.get(name, "service"),
                    "allow_faults": True,
                    "port": port,
                    "probe": {"tcp": {"host": "127.0.0.1", "port": port}},
                }
                for name, port in self.ports.items()
            },
            "k2_failure_modes": {
                "front_down": {
                    "services": ["front"],
                    "action": "stop",
                    "duration_s": 5,
                    "max_recovery_s": 30,
                    "recovery_from": "heal",
                    "recovery_at": "served",
                }
            },
            "k2_alerting": {
                "prometheus_url": self.url("prometheus"),
                "alertmanager_url": self.url("alertmanager"),
                "log_url": self.url("receiver"),
                "prometheus": {"directory": str(self.folder)},
                "alertmanager": {"directory": str(self.folder)},
            }
            | alerting,
        }

    def profile(self, **alerting: Any) -> Profile:
        return parse_profile(self.data(**alerting))

    def state(self, name: str) -> State:
        return self.runtime.status(name).state

    def mend(self) -> None:
        """Have all up, and files as they were at first."""
        self.write()
        for name in NAMES:
            self.runtime.resume(name)
            if self.state(name) is not State.RUNNING:
                self.runtime.start(name, 20)
        self.await_up()
        PrometheusClient(self.url("prometheus")).reload()
        AlertmanagerClient(self.url("alertmanager")).reload()

    def write(self) -> None:
        self.rules.parent.mkdir(exist_ok=True)
        texts = {self.rules: RULES.replace("{front}", str(self.ports["front"])), self.routes: ROUTES}
        for path, text in texts.items():
            path.write_text(text.replace("{receiver}", str(self.ports["receiver"])), encoding="utf-8")
        (self.folder / "prometheus.yml").write_text(SCRAPE.format(**self.ports), encoding="utf-8")

    def await_up(self) -> None:
        eventually(
            lambda: [name for name, port in self.ports.items() if not answers("127.0.0.1", port)],
            lambda missing: not missing,
            30,
        )
        time.sleep(1)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
    script = folder / "service.py"
    script.write_text(SERVICE, encoding="utf-8")
    commands = {
        "front": f"{sys.executable} {script} {ports['front']}",
        "back": f"{sys.executable} {script} {ports['back']}",
        "prometheus": f"{tool('prometheus')} --config.file={folder}/prometheus.yml"
        f" --storage.tsdb.path={folder}/tsdb --web.listen-address=127.0.0.1:{ports['prometheus']}"
        " --web.enable-lifecycle --log.level=warn",
        "alertmanager": f"{tool('alertmanager')} --config.file={folder}/alertmanager.yml"
        f" --storage.path={folder}/am --web.listen-address=127.0.0.1:{ports['alertmanager']}"
        " --cluster.listen-address= --log.level=warn",
        "receiver": f"{sys.executable} -m k2lab.alert_receiver --data-dir {folder}/receiver"
        f" --http-port {ports['receiver']}",
    }
    programs = "".join(PROGRAM.format(name=name, command=commands[name], root=ROOT, folder=folder) for name in NAMES)
    early = Watched(folder, SupervisorRuntime.__new__(SupervisorRuntime), ports)
    early.write()
    with supervisord(programs) as bench:
        assert isinstance(bench.runtime, SupervisorRuntime)
        found = Watched(folder, bench.runtime, ports)
        found.await_up()
        yield found


def received(folder: Path) -> list[dict[str, Any]]:
    """What the receiver's log holds."""
    lines = (folder / "receiver" / "notifications.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
