# SPDX-License-Identifier: Apache-2.0
"""What a person types to look at a service and to mend it, by the runtime that runs it.

Each command is one that the runtime's own tools understand; the words are what its answer holds.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ...platform.runtime.engine_setup import PROJECT_LABEL
from ...profile.model import Platform, RuntimeKind

# The shell's function that finds a container (``shell.setup_lines``).
BOX = "box"


@dataclass(frozen=True)
class Commands:
    """Commands on one unit. ``up`` is in the answer of ``status`` while it runs, ``frozen_word`` in that of ``frozen``
    while it stands still, ``killed_word`` in that of ``last_end`` when it ended by SIGKILL.
    """

    status: str
    up: str
    start: str
    logs: str
    last_end: str
    killed_word: str
    frozen: str
    frozen_word: str
    thaw: str
    thaw_note: str


def commands_for(platform: Platform, runtime: RuntimeKind, unit: str) -> Commands:
    """The commands on ``unit``, a name or what a shell puts in place of one (``$unit``)."""
    word = unit if unit.startswith("$") else unit_word(platform, runtime, unit)
    if runtime is RuntimeKind.DOCKER:
        return _docker(word)
    if runtime is RuntimeKind.SYSTEMD:
        return _systemd(word)
    return _supervisor(word, platform.runtimes[runtime.value].socket)


def unit_word(platform: Platform, runtime: RuntimeKind, unit: str) -> str:
    """What to type for a unit. A container of a Compose project may go by its key there: ``box`` finds its name."""
    word = shlex.quote(unit)
    settings = platform.runtimes.get(runtime.value)
    by_key = runtime is RuntimeKind.DOCKER and settings is not None and settings.project
    return f"$({BOX} {word})" if by_key else word


def overview(platform: Platform, units: Mapping[RuntimeKind, Sequence[str]]) -> tuple[str, ...]:
    """What shows the state of all units at once, a command for each runtime."""
    lines = []
    for runtime, names in units.items():
        words = " ".join(shlex.quote(name) for name in names)
        if runtime is RuntimeKind.DOCKER:
            lines.append("docker ps -a --format '{{.Names}} {{.Status}}'")
        elif runtime is RuntimeKind.SYSTEMD:
            lines.append(f"systemctl show -p Id,ActiveState {words}")
        else:
            lines.append(
                f"supervisorctl -s {shlex.quote('unix://' + platform.runtimes[runtime.value].socket)} status {words}"
            )
    return tuple(lines)


def preparation(platform: Platform) -> tuple[str, ...]:
    """What a shell needs once for these commands."""
    settings = platform.runtimes.get(RuntimeKind.DOCKER.value)
    if platform.runtime is RuntimeKind.DOCKER and settings and settings.socket != "/var/run/docker.sock":
        return (f"export DOCKER_HOST={shlex.quote('unix://' + settings.socket)}",)
    return ()


def project_network(platform: Platform) -> Optional[str]:
    """A shell command that names the network that the platform's containers share; None without containers."""
    settings = platform.runtimes.get(RuntimeKind.DOCKER.value)
    if settings is None:
        return None
    label = f" --filter label={PROJECT_LABEL}={settings.project}" if settings.project else ""
    # A project whose network the profile does not name has the one that Compose made for it, whatever that is called.
    names = "|".join(settings.networks) or ("" if settings.project else "default")
    which = f"grep -E -m 1 '(^|_)({names})$'" if names else "head -n 1"
    return f"docker network ls{label} --format '{{{{.Name}}}}' | {which}"


def _supervisor(unit: str, socket: str) -> Commands:
    control = f"supervisorctl -s {shlex.quote('unix://' + socket)}"
    return Commands(
        status=f"{control} status {unit}",
        up="RUNNING",
        start=f"{control} start {unit}",
        logs=f"{control} tail -4000 {unit} | tail -n 15",
        last_end=f'{control} maintail -200000 | grep -E "(spawned|exited|stopped): \'?{unit}\\b" | tail -n 1',
        killed_word="SIGKILL",
        frozen=f'ps -o stat= -p "$({control} pid {unit})"',
        frozen_word="T",
        # A frozen process hears no polite stop.
        thaw=f"{control} signal KILL {unit}",
        thaw_note="supervisord starts it again within a second or two",
    )


def _docker(unit: str) -> Commands:
    return Commands(
        status=f"docker ps -a --filter \"name=^/{unit}\\$\" --format '{{{{.Names}}}} {{{{.Status}}}}'",
        up=" Up ",
        start=f"docker start {unit}",
        logs=f"docker logs --tail 15 {unit} 2>&1",
        last_end="docker inspect -f 'exit code {{.State.ExitCode}}, OOMKilled {{.State.OOMKilled}}' " + unit,
        killed_word="exit code 137",
        frozen="docker inspect -f 'state {{.State.Status}}' " + unit,
        frozen_word="state paused",
        thaw=f"docker unpause {unit}",
        thaw_note="where it was not paused but hangs, `docker restart` instead",
    )


def _systemd(unit: str) -> Commands:
    return Commands(
        status=f"systemctl show -p ActiveState,SubState,Result {unit}",
        up="ActiveState=active",
        start=f"systemctl start {unit}",
        logs=f"journalctl -u {unit} -n 15 --no-pager",
        last_end=f"systemctl show -p Result,ExecMainStatus {unit}",
        killed_word="Result=signal",
        frozen=f'ps -o stat= -p "$(systemctl show -p MainPID --value {unit})"',
        frozen_word="T",
        thaw=f"systemctl kill -s KILL {unit}",
        thaw_note="systemd starts it again, as its unit says (Restart=)",
    )
