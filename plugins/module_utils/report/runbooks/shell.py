# SPDX-License-Identifier: Apache-2.0
"""The shell that runbooks' commands are typed into: functions for what would be long to type at night."""

from __future__ import annotations

import re
import shlex
from typing import Optional

from ...platform.runtime.engine_setup import PROJECT_LABEL, SERVICE_LABEL
from ...profile.model import HttpProbe, Probe, Profile, RuntimeKind, Service, SqlProbe, TcpProbe
from .commands import BOX, preparation

_ID = 'import json, sys; print(json.load(sys.stdin)["id"])'
_TYPE = 'import json, sys; print(json.load(sys.stdin)["state_type"])'
# The newest run that is due: one that is asked for is due at once.
_STATE = (
    "import json, sys; "
    'print(*(run["expected_start_time"][:19] + " " + run["state_type"] for run in json.load(sys.stdin)))'
)


def setup_lines(profile: Profile, used: Optional[str] = None) -> tuple[str, ...]:
    """Lines that prepare a shell on the platform's host.

    :arg used: commands; functions that none of them calls are left out. All of them by default.
    """
    lines = [*preparation(profile.platform), *profile.runbooks.prepare]
    for names, make in (
        ((BOX,), _box),
        (("ch",), _clickhouse),
        (("lag",), _lag),
        (("offload_now", "offload_last"), _offload),
    ):
        if used is None or any(re.search(rf"\b{name}\b", used) for name in names):
            lines += make(profile)
    return tuple(lines)


def _box(profile: Profile) -> list[str]:
    """A container's name, from that name or from its key in the Compose file."""
    settings = profile.platform.runtimes.get(RuntimeKind.DOCKER.value)
    if settings is None or not settings.project:
        return []
    name = "--format '{{.Names}}'"
    labels = f'--filter label={PROJECT_LABEL}={shlex.quote(settings.project)} --filter "label={SERVICE_LABEL}=$1"'
    return [rf'{BOX}() {{ docker ps -a {name} --filter "name=^/$1\$" | grep . || docker ps -a {name} {labels}; }}']


def _clickhouse(profile: Profile) -> list[str]:
    store = profile.clickhouse
    if store is None:
        return []
    url = f"{'https' if store.secure else 'http'}://{store.host}:{store.port}/?database={store.database}"
    headers = f'-H {shlex.quote("X-ClickHouse-User: " + store.username)} -H "X-ClickHouse-Key: $CLICKHOUSE_PASSWORD"'
    return [f'ch() {{ curl -sS --fail-with-body -m 5 {shlex.quote(url)} {headers} --data-binary "$1"; }}']


def _lag(profile: Profile) -> list[str]:
    return [] if profile.runbooks.lag is None else [f"lag() {{ {profile.runbooks.lag}; }}"]


def _offload(profile: Profile) -> list[str]:
    section = profile.orchestrator
    if section is None or not section.deployments:
        return []
    ask = f"curl -sS -f -m 5 -H 'Content-Type: application/json' {shlex.quote(section.url.rstrip('/'))}"
    newest = (
        '{\\"deployments\\": {\\"id\\": {\\"any_\\": [\\"$(prefect_id)\\"]}}, \\"limit\\": 1, '
        '\\"sort\\": \\"EXPECTED_START_TIME_DESC\\", '
        '\\"flow_runs\\": {\\"expected_start_time\\": {\\"before_\\": \\"$(date -u +%FT%TZ)\\"}}}'
    )
    name = shlex.quote(section.deployments[0].name)
    create = f"{ask}/deployments/\"$(prefect_id)\"/create_flow_run -d '{{}}' | python3 -c '{_ID}'"
    wait = (
        f"for i in $(seq 80); do sleep 2; state=$({ask}/flow_runs/$run | python3 -c '{_TYPE}'); "
        "case $state in COMPLETED | FAILED | CRASHED | CANCELLED) break ;; esac; done"
    )
    return [
        f"prefect_id() {{ {ask}/deployments/name/{name} | python3 -c '{_ID}'; }}",
        f'offload_now() {{ run=$({create}); {wait}; echo "run $run: $state"; }}',
        f"offload_last() {{ {ask}/flow_runs/filter -d \"{newest}\" | python3 -c '{_STATE}'; }}",
    ]


def probe_command(profile: Profile, service: Service) -> str:
    """What asks the service whether it is well; empty where the profile has no probe for it."""
    return "" if service.probe is None else _probe(profile, service.probe)


def _probe(profile: Profile, probe: Probe) -> str:
    limit = max(1, round(probe.timeout_s))
    if isinstance(probe, HttpProbe):
        command = f"curl -sS -f -m {limit} {shlex.quote(probe.url)}"
        return command if probe.contains is None else f"{command} | grep -F {shlex.quote(probe.contains)}"
    if isinstance(probe, TcpProbe):
        return f"timeout {limit} bash -c '</dev/tcp/{probe.host}/{probe.port}'"
    if isinstance(probe, SqlProbe):
        return f'ch "{probe.query}"' if profile.clickhouse is not None else ""
    return shlex.join(probe.argv)
