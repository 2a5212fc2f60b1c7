# SPDX-License-Identifier: Apache-2.0
"""The interface of an adapter, and the strict readers the adapters share."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NoReturn

from k2lab.feed_handler.records import Frame, Reject

_DECIMAL = re.compile(r"-?[0-9]{1,38}(?:\.[0-9]{1,38})?")


class UnreadableError(Exception):
    """A message or trade does not have the shape the exchange documents; `reason` is short and of few values."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


class Adapter(ABC):
    """Knows one exchange's messages; one instance serves one connection."""

    has_message_sequence = False  # every message of a connection carries a number one above the last
    has_trade_sequence = False  # the trades of a symbol are numbered without holes

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = tuple(symbols)

    @abstractmethod
    def subscriptions(self) -> list[str]:
        """The frames to send after the connect."""

    @property
    @abstractmethod
    def to_confirm(self) -> frozenset[str]:
        """What has to be confirmed (see Frame.confirmed) before the subscription is complete."""

    @abstractmethod
    def _read(self, text: str) -> Frame:
        """Read one frame; raises UnreadableError when all of it is unreadable."""

    def read(self, text: str) -> Frame:
        """Read one frame. Whatever cannot be read comes back as rejects; nothing is raised."""
        try:
            return self._read(text)
        except UnreadableError as error:
            return Frame(rejects=(Reject(text, error.reason, str(error)),))


def parse_json(text: str) -> object:
    """Parse JSON; numbers with a fraction become their exact text, never a float. Raises UnreadableError."""
    try:
        return json.loads(text, parse_float=str, parse_constant=_no_constant)
    except ValueError as error:
        raise UnreadableError("invalid_json", str(error)) from error
    except RecursionError as error:
        raise UnreadableError("invalid_json", "nested too deeply") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def as_object(value: object, what: str) -> Mapping[str, object]:
    """Return `value` if it is a JSON object, else raise UnreadableError."""
    if not isinstance(value, dict):
        raise UnreadableError("unexpected_shape", f"{what}: expected an object, got {_short(value)}")
    return value


def as_array(value: object, what: str) -> Sequence[object]:
    """Return `value` if it is a JSON array, else raise UnreadableError."""
    if not isinstance(value, list):
        raise UnreadableError("unexpected_shape", f"{what}: expected an array, got {_short(value)}")
    return value


def as_text(value: object, what: str) -> str:
    """Return `value` if it is a string with something in it, else raise UnreadableError."""
    if not isinstance(value, str) or not value:
        raise UnreadableError("invalid_field", f"{what}: expected a string, got {_short(value)}")
    return value


def as_decimal(value: object, what: str) -> str:
    """Return `value` if it is a plain decimal number in a string, else raise UnreadableError.

    Zero and negative numbers pass: whether a trade makes sense is judged further down, where it is kept and flagged.
    """
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise UnreadableError("invalid_number", f"{what}: expected a decimal number in a string, got {_short(value)}")
    return value


def as_integer(value: object, what: str) -> int:
    """Return `value` if it is a non-negative JSON integer, else raise UnreadableError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnreadableError("invalid_field", f"{what}: expected an integer from 0, got {_short(value)}")
    return value


def decimal_seconds_to_us(text: str, what: str) -> int:
    """Seconds since the epoch as a decimal string, in microseconds; finer digits are cut off, nothing is rounded."""
    as_decimal(text, what)
    if text.startswith("-"):
        raise UnreadableError("invalid_time", f"{what}: expected a time after 1970, got {_short(text)}")
    whole, _, fraction = text.partition(".")
    return int(whole) * 1_000_000 + int(fraction[:6].ljust(6, "0"))


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."
