# SPDX-License-Identifier: Apache-2.0
"""What a load writes: records made from the profile's templates, or recorded ones stamped anew.

Placeholders that are known before the load (symbol, price, size, side) are put in once, so that what is done at the
time of sending is one formatting of a text. Times are integers until they are text: exact to the microsecond.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, NamedTuple, Optional

from ...core.clock import rfc3339
from ...core.errors import K2Error
from ...core.suggest import did_you_mean
from ...profile.model import RecordFormat

Header = tuple[str, bytes]


class TemplateError(K2Error):
    """A template of ``k2_load.records`` cannot be used."""


@dataclass(frozen=True)
class Trade:
    """A real trade without its time: exact decimals as text, ``side`` of the taker (``buy`` or ``sell``)."""

    price: str
    size: str
    side: str


@dataclass(frozen=True)
class Recorded:
    """A record as it was found in a topic."""

    value: bytes
    headers: tuple[Header, ...]


class Stamp(NamedTuple):
    """What differs from record to record: scheduled time (us since the epoch), id, and place in its stream (from 1)."""

    time_us: int
    id: int
    sequence: int


class Message(NamedTuple):
    """A record ready to be sent."""

    key: bytes
    value: bytes
    headers: list[Header]


def _seconds(stamp: Stamp) -> str:
    return f"{stamp.time_us // 1_000_000}.{stamp.time_us % 1_000_000:06d}"


_STAMPED: Mapping[str, Callable[[Stamp], object]] = {
    "id": lambda stamp: stamp.id,
    "sequence": lambda stamp: stamp.sequence,
    "time_us": lambda stamp: stamp.time_us,
    "time_ms": lambda stamp: stamp.time_us // 1000,
    "time_s": _seconds,
    "time_rfc3339": lambda stamp: rfc3339(stamp.time_us),
}
_TRADED = ("price", "size", "side", "side_upper", "side_letter", "buyer_is_maker")
_KNOWN = ("symbol", *_STAMPED, *_TRADED)


Text = Callable[[Stamp], bytes]


@dataclass(frozen=True)
class Maker:
    """Makes the records that one trade, or one recorded record, is the model of."""

    key: Text
    value: Text
    headers: tuple[tuple[str, Text], ...]

    def at(self, stamp: Stamp) -> Message:
        """The record of one place in the schedule."""
        return Message(self.key(stamp), self.value(stamp), [(name, text(stamp)) for name, text in self.headers])


def _compiled(template: str, where: str, values: Mapping[str, str]) -> Text:
    """A template of which only what differs from record to record is still open."""
    parts: list[str] = []
    opened: list[Callable[[Stamp], object]] = []
    for text, name in _split(template, where):
        parts.append(text.replace("%", "%%"))
        if name in _STAMPED:
            parts.append("%s")
            opened.append(_STAMPED[name])
        elif name:
            parts.append(values[name].replace("%", "%%"))
    form = "".join(parts)
    if opened:
        return lambda stamp: (form % tuple([value(stamp) for value in opened])).encode()
    return _fixed((form % ()).encode())


def _fixed(content: bytes) -> Text:
    return lambda _stamp: content


def check_templates(exchange: str, form: RecordFormat) -> None:
    """Refuse templates with placeholders that nobody fills.

    :raises TemplateError: by its kind.
    """
    _split(form.key, f"k2_load.records.{exchange}.key")
    _split(form.value, f"k2_load.records.{exchange}.value")
    for name, template in form.headers.items():
        _split(template, f"k2_load.records.{exchange}.headers.{name}")


def from_trade(exchange: str, form: RecordFormat, trade: Trade) -> Maker:
    """Records as the profile's templates write ``trade``.

    :raises TemplateError: a template has an unknown placeholder.
    """
    path = f"k2_load.records.{exchange}"
    values = {
        "symbol": form.symbol,
        "price": trade.price,
        "size": trade.size,
        "side": trade.side,
        "side_upper": trade.side.upper(),
        "side_letter": trade.side[0],
        "buyer_is_maker": "true" if trade.side == "sell" else "false",
    }
    return Maker(
        _compiled(form.key, f"{path}.key", values),
        _compiled(form.value, f"{path}.value", values),
        _headers(form, path, values),
    )


class Restamper:
    """Makes recorded records of one exchange new: their time, id, symbol and sequence are overwritten.

    Which fields these are, the profile's template of the value tells: those whose text holds such a placeholder. The
    others, and headers that the template does not name, stay as they were recorded, numbers digit by digit.
    """

    def __init__(self, exchange: str, form: RecordFormat) -> None:
        """:raises TemplateError: the template is no JSON object, or names no field to overwrite."""
        self._path = f"k2_load.records.{exchange}"
        self._form = form
        for template in (form.key, *form.headers.values()):
            if unknown := [name for _, name in _split(template, self._path) if name in _TRADED]:
                raise TemplateError(
                    f"{self._path}: recorded records cannot be replayed",
                    expected="a key and headers without what only a trade can tell",
                    seen=f"${unknown[0]}",
                )
        self._fields = _overwritten(form.value, f"{self._path}.value")

    def maker(self, recorded: Recorded) -> Optional[Maker]:
        """The maker of records like ``recorded``; None where it is no JSON object."""
        template = _overwrite(recorded.value, self._fields)
        if template is None:
            return None
        values = {"symbol": self._form.symbol}
        own = {name.lower() for name in self._form.headers}
        kept = tuple((name, _fixed(value)) for name, value in recorded.headers if name.lower() not in own)
        return Maker(
            _compiled(self._form.key, f"{self._path}.key", values),
            _compiled(template, f"{self._path}.value", values),
            kept + _headers(self._form, self._path, values),
        )


def _headers(form: RecordFormat, path: str, values: Mapping[str, str]) -> tuple[tuple[str, Text], ...]:
    return tuple((name, _compiled(text, f"{path}.headers.{name}", values)) for name, text in form.headers.items())


def _split(template: str, where: str) -> list[tuple[str, str]]:
    """The template as (text, name of the placeholder behind it), the last name empty.

    Raises TemplateError.
    """
    pieces: list[tuple[str, str]] = []
    text, position = "", 0
    for match in Template.pattern.finditer(template):
        text += template[position : match.start()]
        position = match.end()
        name = match.group("named") or match.group("braced")
        if match.group("escaped") is not None:
            text += "$"
        elif name in _KNOWN:
            pieces.append((text, name))
            text = ""
        else:
            raise TemplateError(
                f"{where}: a template cannot be filled",
                expected="placeholders that a load knows, a dollar sign written $$",
                seen=repr(template[match.start() : match.start() + 20]),
                action=did_you_mean(name or "", _KNOWN),
            )
    return [*pieces, (text + template[position:], "")]


# -- recorded values ---------------------------------------------------------------------------------------------------

_OVERWRITTEN = ("symbol", *_STAMPED)
_Path = tuple[str, ...]
# What must reach the output as it stands is carried through JSON as a text between two NUL characters: the digits of a
# number (n), or the place (f) of a field that is overwritten.
_CARRIED = re.compile(r'"\\u0000([nf])([^"\\]*)\\u0000"')


def _overwritten(template: str, where: str) -> list[tuple[_Path, str]]:
    """Fields of the template to overwrite: where they are, and their text (a template, in quotes where it is a text).

    Raises TemplateError.
    """
    # Each placeholder becomes a number of its own, which is JSON inside quotes and outside of them.
    marks = {f"{70_000_000_007 + place}": name for place, name in enumerate(_KNOWN)}
    number_of = {name: mark for mark, name in marks.items()}
    filled = "".join(text + number_of.get(name, "") for text, name in _split(template, where))
    try:
        document = json.loads(filled)
    except ValueError as error:
        raise TemplateError(
            f"{where}: recorded records cannot be replayed", expected="the template of a JSON object", seen=str(error)
        ) from error
    found: list[tuple[_Path, str]] = []
    for path, value in _leaves(document, ()):
        text = json.dumps(value).replace("$", "$$")
        held = [name for mark, name in marks.items() if mark in text]
        for name in held:
            text = text.replace(number_of[name], f"${{{name}}}")
        if any(name in _OVERWRITTEN for name in held):
            if traded := [name for name in held if name in _TRADED]:
                raise TemplateError(
                    f"{where}: recorded records cannot be replayed",
                    expected="fields of time, id, symbol or sequence without what only a trade can tell",
                    seen=f"${traded[0]} in {'.'.join(path)}",
                )
            found.append((path, text))
    if not any(path and "${symbol}" in text for path, text in found):
        raise TemplateError(
            f"{where}: recorded records cannot be replayed",
            expected="a field with $symbol: what a load writes must be told apart",
            seen="a template that is no JSON object, or without it",
        )
    return found


def _leaves(value: object, path: _Path) -> list[tuple[_Path, object]]:
    if isinstance(value, dict):
        return [leaf for name, inner in value.items() for leaf in _leaves(inner, (*path, name))]
    return [(path, value)]


def _overwrite(value: bytes, fields: Sequence[tuple[_Path, str]]) -> Optional[str]:
    """The recorded value as a template, its fields overwritten; None where it is not an object with room for them."""
    try:
        document = json.loads(value, parse_int=_number, parse_float=_number)
    except ValueError:
        return None
    for place, (path, _) in enumerate(fields):
        inner: Any = document
        for name in path[:-1]:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or b"\\u0000" in value:
            return None
        inner[path[-1]] = f"\0f{place}\0"
    kept = json.dumps(document, separators=(",", ":")).replace("$", "$$")
    return _CARRIED.sub(lambda found: fields[int(found[2])][1] if found[1] == "f" else found[2], kept)


def _number(digits: str) -> str:
    return f"\0n{digits}\0"
