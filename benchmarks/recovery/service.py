# SPDX-License-Identifier: Apache-2.0
"""A service in a process of its own, down when told: ``python -m benchmarks.recovery.service``.

It tells its port, then reads one downtime (seconds) per line. To each it answers with four readings of
CLOCK_MONOTONIC: before and after it stopped listening, before and after it listened again. The clock is that of the
machine, so the truth can be held against what another process measured.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Truth:
    """One downtime: it was down from within the first two readings until within the last two."""

    down_low_ns: int
    down_high_ns: int
    up_low_ns: int
    up_high_ns: int

    @property
    def least_s(self) -> float:
        return (self.up_low_ns - self.down_high_ns) / 1e9

    @property
    def most_s(self) -> float:
        return (self.up_high_ns - self.down_low_ns) / 1e9


@dataclass(frozen=True)
class Service:
    """The process from outside."""

    port: int
    process: subprocess.Popen[str]

    def down_for(self, seconds: float) -> Truth:
        """Take it down for so long, and wait until it is up again."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return Truth(*(int(reading) for reading in self.process.stdout.readline().split()))


@contextlib.contextmanager
def service() -> Iterator[Service]:
    """A service that lives as long as the context."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.recovery.service"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Service(int(process.stdout.readline()), process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(_TIMEOUT_S)


class _Listening:
    """Listens and answers in a thread until it is closed."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen(128)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_TIMEOUT_S)
                connection.recv(4096)
                connection.sendall(_ANSWER)

    def close(self) -> None:
        # Wakes the thread that accepts, which would hold the socket open.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def main() -> int:
    """Serve until stdin ends."""
    listening = _Listening(0)
    port = listening.port
    print(port, flush=True)
    for line in sys.stdin:
        readings = [time.monotonic_ns()]
        listening.close()
        readings.append(time.monotonic_ns())
        time.sleep(max(0.0, float(line) - (time.monotonic_ns() - readings[0]) / 1e9))
        readings.append(time.monotonic_ns())
        listening = _Listening(port)
        readings.append(time.monotonic_ns())
        print(*readings, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
