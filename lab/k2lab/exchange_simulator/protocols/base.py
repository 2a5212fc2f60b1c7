# SPDX-License-Identifier: Apache-2.0
"""The interface between an exchange's server and its message shapes."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum

from k2lab.exchange_simulator.truth import SentTrade


class Malformed(Enum):
    """Frames no exchange should send, for the dead-letter test."""

    JSON = "json"  # text that is not JSON
    TRADE = "trade"  # a trade message whose price is not a number


class Session(ABC):
    """The conversation with one client, from its connect on."""

    def __init__(self) -> None:
        self.subscribed: set[str] = set()  # symbols whose trades this client gets

    @abstractmethod
    def greeting(self) -> list[str]:
        """Frames sent at once after the connect."""

    @abstractmethod
    def answer(self, text: str) -> list[str]:
        """Frames that answer the client's frame `text`; updates `subscribed`."""

    @abstractmethod
    def trade(self, trade: SentTrade) -> str:
        """The frame that carries `trade` to this client."""

    @abstractmethod
    def malformed(self, kind: Malformed, symbol: str) -> str:
        """A frame that cannot be read, as this client would get it."""

    def heartbeat(self, idle_s: float) -> list[str]:  # noqa: ARG002 - not every exchange has heartbeats
        """Frames due now, asked once a second; `idle_s`: seconds since the last frame to this client."""
        return []


def compact(document: Mapping[str, object]) -> str:
    """JSON without blanks, as the exchanges send it."""
    return json.dumps(document, separators=(",", ":"))
