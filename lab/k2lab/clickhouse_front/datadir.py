# SPDX-License-Identifier: Apache-2.0
"""One process per data directory and per port, and a clear word about who has it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import Final

import psutil

_LOCK_NAME: Final = "front.lock"


class InUseError(RuntimeError):
    """Another process holds the data directory or the port; the message says which process, if it can be told."""


class DataDirLock:
    """Holds a data directory for this process; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._file = (data_dir / _LOCK_NAME).open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise InUseError(
                f"the data directory {data_dir} is held by {_describe(int(holder) if holder.isdigit() else None)}; "
                "stop that process or use another --data-dir"
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let another process have the directory."""
        self._file.close()


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; raises InUseError naming the process that has the port, or OSError for another reason."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise InUseError(
            f"port {port} of {host} is taken by {_describe(_holder_of(port))}; stop that process or use another --port"
        ) from error
    return sock


def _holder_of(port: int) -> int | None:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return None
    return next(
        (c.pid for c in connections if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port), None
    )


def _describe(pid: int | None) -> str:
    if pid is None:
        return "another process (which one cannot be told without more rights)"
    try:
        return f"pid {pid} ({' '.join(psutil.Process(pid).cmdline())})"
    except psutil.Error:
        return f"pid {pid}"
