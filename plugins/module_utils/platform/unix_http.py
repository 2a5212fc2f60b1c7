# SPDX-License-Identifier: Apache-2.0
"""HTTP over a unix socket, which is how both supervisord and the Docker Engine are talked to."""

from __future__ import annotations

import http.client
import os
import socket
from typing import Optional

from ..core.errors import K2Error


class SocketUnavailable(K2Error):  # noqa: N818 - see core.errors
    """The control socket of a runtime cannot be used."""


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to the unix socket at ``path``; ``timeout_s`` bounds each operation on the socket."""

    def __init__(self, path: str, timeout_s: Optional[float]) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        """Connect, turning each usual failure into an error that says what to do.

        :raises SocketUnavailable: socket absent, permission refused, or nobody listening.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self.timeout)
        try:
            # A socket's address has 107 characters at most. Where a deep directory does not fit, the path may be a link
            # to a shorter one, and only the target of the link can be the address.
            sock.connect(os.path.realpath(self.path))
        except OSError as error:
            sock.close()
            raise _explain(self.path, error) from error
        self.sock = sock


def _explain(path: str, error: OSError) -> SocketUnavailable:
    expected = f"a server listening on {path}"
    if isinstance(error, FileNotFoundError):
        return SocketUnavailable(
            "the control socket does not exist",
            expected=expected,
            seen="no such file",
            action="start the runtime, or correct its socket under k2_platform.runtimes",
        )
    if isinstance(error, PermissionError):
        return SocketUnavailable(
            "the control socket may not be used by this user",
            expected=expected,
            seen="permission denied",
            action="run with become: true, or give the user the socket's group",
        )
    if isinstance(error, ConnectionRefusedError):
        return SocketUnavailable(
            "nobody listens on the control socket",
            expected=expected,
            seen="connection refused (left over from a runtime that died)",
            action="start the runtime",
        )
    return SocketUnavailable(
        "the control socket cannot be used",
        expected=expected,
        seen=f"{type(error).__name__}: {error}",
        action="check the socket's path and the runtime's log",
    )
