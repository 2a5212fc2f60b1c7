# SPDX-License-Identifier: Apache-2.0
"""The Docker Engine's event stream."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import threading
from collections.abc import Mapping
from typing import Any, Optional

from ..unix_http import UnixConnection
from .base import Event, EventKind, EventStream, RuntimeFailure
from .engine_api import EngineApi

# `stop` and `kill` tell of the request, `die` of the end; `die` with its exit code is what happened in every case.
_CONTAINER = {
    "start": EventKind.STARTED,
    "die": EventKind.EXITED,
    "stop": EventKind.STOPPED,
    "kill": EventKind.KILLED,
    "oom": EventKind.OOM,
    "pause": EventKind.PAUSED,
    "unpause": EventKind.RESUMED,
}
_NETWORK = {"connect": EventKind.CONNECTED, "disconnect": EventKind.DISCONNECTED}


class EngineEvents(EventStream):
    """Reads the stream in a thread: a timeout in the middle of a chunk would break the decoder for good."""

    def __init__(self, api: EngineApi, units: Mapping[str, str], since_us: int) -> None:
        self._units = units
        self._queue: queue.SimpleQueue[Optional[Event]] = queue.SimpleQueue()
        self._closing = False
        self._failure = ""
        self._connection = UnixConnection(api.socket, api.timeout_s)
        query = {
            "since": f"{since_us // 1_000_000}.{since_us % 1_000_000:06d}",
            "filters": json.dumps({"type": ["container", "network"]}),
        }
        try:
            self._response = api.send(self._connection, "GET", "/events", query)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise RuntimeFailure("the Docker Engine's events cannot be read", seen=str(error)) from error
        # From here on silence is normal: the engine sends only when something happens.
        self._socket = self._connection.sock
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._read, name="engine-events", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in self._response:
                event = self._decode(json.loads(line))
                if event is not None:
                    self._queue.put(event)
            self._failure = "the engine ended the stream"
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._failure = f"{type(error).__name__}: {error}"
        self._queue.put(None)

    def _decode(self, data: dict[str, Any]) -> Optional[Event]:
        actor = data["Actor"]
        attributes = actor.get("Attributes", {})
        if data["Type"] == "network":
            kind, container = _NETWORK.get(data["Action"]), attributes.get("container", "")
            detail = str(attributes.get("name", ""))
        else:
            kind, container = _CONTAINER.get(data["Action"]), actor["ID"]
            detail = f"exit code {attributes['exitCode']}" if "exitCode" in attributes else ""
        if kind is None or container not in self._units:
            return None
        return Event(self._units[container], kind, int(data["timeNano"]) // 1000, detail)

    def poll(self, timeout_s: float) -> list[Event]:
        """See ``EventStream``."""
        found: list[Event] = []
        try:
            item = self._queue.get(timeout=timeout_s)
            while item is not None:
                found.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return found
        if found:
            self._queue.put(None)  # what was seen first; the break is told by the next call
            return found
        raise RuntimeFailure(
            "the Docker Engine's event stream broke",
            expected="events until the subscription is closed",
            seen=self._failure,
            action="check that the engine runs; subscribe again",
        )

    def close(self) -> None:
        """See ``EventStream``."""
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(OSError):  # the engine closed it first, which is what is wanted
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)
        self._response.close()
        self._connection.close()
