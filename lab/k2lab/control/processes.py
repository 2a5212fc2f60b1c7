# SPDX-License-Identifier: Apache-2.0
"""Processes of one lab, known by the marker in their environment, and whoever else holds its ports."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Sequence

import psutil

from k2lab.control.lab import MARKER, Lab

COMMAND_MAX = 100


def of_lab(lab: Lab) -> list[psutil.Process]:
    """Every live process of this lab, whoever its parent is now. Zombies do not count: they hold nothing."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == lab.lab_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue  # gone meanwhile, or another user's: not ours either way
    return [process for process in found if process.pid != os.getpid()]


def describe(process: psutil.Process) -> str:
    """Pid and command, shortened."""
    try:
        command = " ".join(process.cmdline()) or process.name()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        command = "?"
    return f"pid {process.pid} ({command[:COMMAND_MAX]}{'...' if len(command) > COMMAND_MAX else ''})"


def end(processes: Sequence[psutil.Process], *, grace_s: float) -> None:
    """SIGTERM, then SIGKILL to those that are still there after grace_s."""
    for process in processes:
        _ignore_gone(process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=grace_s)
    for process in alive:
        _ignore_gone(process.kill)
    psutil.wait_procs(alive, timeout=grace_s)


def _ignore_gone(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return  # it ended by itself, which is what was wanted


def taken_ports(ports: Iterable[int], own: set[int]) -> dict[int, str]:
    """Ports of 127.0.0.1 that something outside the given pids listens on, and who that is."""
    wanted = set(ports)
    holders: dict[int, str] = {}
    for connection in psutil.net_connections("tcp"):
        port = connection.laddr.port if connection.laddr else 0
        if connection.status == psutil.CONN_LISTEN and port in wanted:
            wanted.discard(port)
            if connection.pid not in own:
                holders[port] = _holder(connection.pid)
    for port in wanted:
        # Another network namespace's view, or a socket bound without listening: only trying tells.
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                holders[port] = f"an unknown process ({error.strerror})"
    return holders


def _holder(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        return describe(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return f"pid {pid}, gone meanwhile"
