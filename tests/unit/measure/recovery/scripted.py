"""A real HTTP server that is down when told: its socket is closed, so connections are refused as after a crash."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class ScriptedService:
    def __init__(self) -> None:
        self._socket = self._listen(0)
        self.port: int = self._socket.getsockname()[1]
        self._up = True
        self._ended = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
        listener.settimeout(0.02)
        return listener

    def _serve(self) -> None:
        while not self._ended:
            if not self._up:
                time.sleep(0.005)
                continue
            try:
                connection, _ = self._socket.accept()
            except OSError:
                continue
            with connection:
                try:
                    connection.recv(4096)
                    connection.sendall(_ANSWER)
                except OSError:
                    pass

    def down_for(self, seconds: float) -> tuple[int, int, int, int]:
        """Closes the socket and opens it again; readings before and after each of both acts."""
        before = time.monotonic_ns()
        self._up = False
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        down = time.monotonic_ns()
        time.sleep(max(0.0, seconds - (time.monotonic_ns() - down) / 1e9))
        back = time.monotonic_ns()
        self._socket = self._listen(self.port)
        up = time.monotonic_ns()
        self._up = True
        return before, down, back, up

    def close(self) -> None:
        self._ended = True
        self._socket.close()


@contextmanager
def scripted_service() -> Iterator[ScriptedService]:
    service = ScriptedService()
    try:
        yield service
    finally:
        service.close()
