# SPDX-License-Identifier: Apache-2.0
"""Reads untyped mappings into typed values and collects every problem instead of stopping at the first.

Each read registers its key, so what remains at the end is unknown by construction: no list of keys is kept.
A value that is missing or wrong becomes a harmless one: the caller looks at the problems before using the result.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Optional, TypeVar

from ..core.suggest import did_you_mean, nearest

E = TypeVar("E", bound=enum.Enum)
T = TypeVar("T")

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$")
# K, M, G (as in Compose files) and KiB, MiB, GiB are powers of 1024; KB, MB, GB are the SI units, powers of 1000.
_SIZE_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _SIZE_UNITS[_letter] = _SIZE_UNITS[f"{_letter}i"] = _SIZE_UNITS[f"{_letter}ib"] = 1024**_power
    _SIZE_UNITS[f"{_letter}b"] = 1000**_power

SLUG = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?$")


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the inventory variables, and where."""

    path: str
    expected: str
    seen: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: expected {self.expected}; seen {self.seen}"
        return f"{text}; {self.hint}" if self.hint else text


def describe(value: object) -> str:
    """``value`` as a message shows it: short, with its type where that is the question."""
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, (str, int, float, bool)) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


@dataclass
class Node:
    """A mapping being read at ``path``; problems go to the list shared by the whole tree."""

    path: str
    data: Mapping[str, Any]
    problems: list[Problem]
    _known: dict[str, None] = field(default_factory=dict)

    @classmethod
    def root(cls, data: Mapping[str, Any]) -> Node:
        """The top of a tree, with an empty list of problems."""
        return cls(path="", data=data, problems=[])

    # -- plumbing ----------------------------------------------------------------------------------------------------

    def at(self, key: str) -> str:
        """The full path of ``key``."""
        return f"{self.path}.{key}" if self.path else key

    def reject(self, key: str, expected: str, seen: str, hint: str = "") -> None:
        """Record a problem with ``key`` (with the node itself if ``key`` is empty)."""
        self.problems.append(Problem(self.at(key) if key else self.path, expected, seen, hint))

    def _take(self, key: str, expected: str, required: bool) -> Any:
        self._known[key] = None
        value = self.data.get(key)
        if value is None and required:
            given = [k for k, v in self.data.items() if v is not None]
            near = nearest(key, [k for k in given if k not in self._known])
            self.reject(key, expected, "nothing", f"is {near!r} meant to be it?" if near else "")
        return value

    def has(self, key: str) -> bool:
        """Whether ``key`` is given (null counts as absent, so that a variable can switch a part off)."""
        self._known[key] = None
        return self.data.get(key) is not None

    def finish(self) -> None:
        """Refuse every key that nothing read."""
        for key in self.data:
            if key not in self._known:
                self.reject(str(key), "a known key", "an unknown key", did_you_mean(str(key), self._known))

    # -- scalars -----------------------------------------------------------------------------------------------------

    def opt_text(self, key: str, *, pattern: Optional[re.Pattern[str]] = None, what: str = "a text") -> Optional[str]:
        """A non-empty string that matches ``pattern`` in full, or None."""
        value = self._take(key, what, required=False)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or (pattern is not None and not pattern.match(value)):
            self.reject(key, what, describe(value))
            return None
        return str(value)

    def text(self, key: str, *, pattern: Optional[re.Pattern[str]] = None, what: str = "a text") -> str:
        """A required non-empty string."""
        if not self.has(key):
            self._take(key, what, required=True)
            return ""
        return self.opt_text(key, pattern=pattern, what=what) or ""

    def slug(self, key: str) -> str:
        """A required name of letters, digits and ``_ . -``."""
        return self.text(key, pattern=SLUG, what="a name of letters, digits and _ . -")

    def opt_parsed(self, key: str, what: str, parse: Callable[[str], object]) -> Optional[str]:
        """A string that ``parse`` takes without a ValueError, as ``parse`` writes it; or None."""
        value = self.opt_text(key, what=what)
        if value is None:
            return None
        try:
            return str(parse(value))
        except ValueError as error:
            self.reject(key, what, describe(value), str(error))
            return None

    def opt_url(self, key: str) -> Optional[str]:
        """An http(s) address, or None."""
        return self.opt_text(
            key, pattern=re.compile(r"^https?://[^/\s]+"), what="an address that starts http:// or https://"
        )

    def url(self, key: str) -> str:
        """A required http(s) address."""
        if not self.has(key):
            self._take(key, "an address that starts http:// or https://", required=True)
        return self.opt_url(key) or ""

    def secret(self, key: str) -> str:
        """A required string whose value no message may show; the empty string is allowed (no password)."""
        value = self._take(key, "a secret text", required=True)
        if value is not None and not isinstance(value, str):
            self.reject(key, "a secret text", f"a {type(value).__name__} (not shown)")
        return str(value) if isinstance(value, str) else ""

    def boolean(self, key: str, *, default: bool) -> bool:
        """A boolean; strings are refused, since ``"false"`` is true in some places and not in others."""
        value = self._take(key, "true or false", required=False)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.reject(key, "true or false", describe(value))
            return default
        return value

    def opt_number(self, key: str, *, low: float = 0.0, high: float = math.inf, unit: str = "") -> Optional[float]:
        """A number from ``low`` to ``high`` (numeric text is taken: templates yield text), or None."""
        expected = f"a number{f' of {unit}' if unit else ''} from {low:g}" + (
            "" if math.isinf(high) else f" to {high:g}"
        )
        value = self._take(key, expected, required=False)
        if value is None:
            return None
        number = _as_decimal(value)
        if number is None or not low <= number <= high:
            self.reject(key, expected, describe(value))
            return None
        return float(number)

    def number(
        self, key: str, *, low: float = 0.0, high: float = math.inf, unit: str = "", default: Optional[float] = None
    ) -> float:
        """A number; required unless it has a default."""
        if not self.has(key):
            if default is not None:
                return default
            self._take(key, f"a number{f' of {unit}' if unit else ''}", required=True)
        value = self.opt_number(key, low=low, high=high, unit=unit)
        return low if value is None else value

    def integer(self, key: str, *, low: int = 0, high: Optional[int] = None, default: Optional[int] = None) -> int:
        """A whole number; required unless it has a default."""
        expected = f"a whole number from {low}" + ("" if high is None else f" to {high}")
        value = self._take(key, expected, required=default is None)
        if value is None:
            return low if default is None else default
        number = _as_decimal(value)
        if (
            number is None
            or number != number.to_integral_value()
            or number < low
            or (high is not None and number > high)
        ):
            self.reject(key, expected, describe(value))
            return low
        return int(number)

    def opt_port(self, key: str) -> Optional[int]:
        """A TCP port, or None."""
        return self.integer(key, low=1, high=65535) if self.has(key) else None

    def opt_size(self, key: str) -> Optional[int]:
        """An amount of memory in bytes: a whole number, or text such as ``512M`` or ``1.5GiB``; or None."""
        expected = "an amount of memory such as 512M or 1.5GiB"
        value = self._take(key, expected, required=False)
        if value is None:
            return None
        match = _SIZE.match(str(value)) if not isinstance(value, bool) else None
        unit = match.group(2).lower() if match else ""
        if match is None or unit not in _SIZE_UNITS:
            self.reject(key, expected, describe(value))
            return None
        return int(Decimal(match.group(1)) * _SIZE_UNITS[unit])

    def choice(self, key: str, kind: type[E], *, default: Optional[E] = None) -> E:
        """A member of an enumeration by its value; required unless it has a default."""
        members = {str(member.value): member for member in kind}
        expected = "one of " + ", ".join(members)
        value = self._take(key, expected, required=default is None)
        if value is not None and str(value) in members:
            return members[str(value)]
        if value is not None:
            near = nearest(str(value), members)
            self.reject(key, expected, describe(value), f"did you mean {near!r}?" if near else "")
        return next(iter(kind)) if default is None else default

    def texts(self, key: str, *, required: bool = False) -> tuple[str, ...]:
        """A list of non-empty, distinct strings; empty when absent."""
        expected = "a list of texts"
        value = self._take(key, expected, required=required)
        if value is None:
            return ()
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, (list, tuple)):
            self.reject(key, expected, describe(value))
            return ()
        found: list[str] = []
        for index, item in enumerate(value):
            if not isinstance(item, str) or not item:
                self.reject(f"{key}[{index}]", "a text", describe(item))
            elif item in found:
                self.reject(f"{key}[{index}]", "distinct texts", f"{item!r} a second time")
            else:
                found.append(str(item))
        if required and not value:
            self.reject(key, "at least one text", "an empty list")
        return tuple(found)

    # -- structures --------------------------------------------------------------------------------------------------

    def opt_node(self, key: str) -> Optional[Node]:
        """The mapping under ``key``, or None."""
        value = self._take(key, "a mapping", required=False)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.reject(key, "a mapping", describe(value))
            return None
        return Node(self.at(key), value, self.problems)

    def opt(self, key: str, read: Callable[[Node], T]) -> Optional[T]:
        """``read`` applied to the mapping under ``key``; None when absent."""
        node = self.opt_node(key)
        if node is None:
            return None
        result = read(node)
        node.finish()
        return result

    def req(self, key: str, read: Callable[[Node], T]) -> Optional[T]:
        """As ``opt``, but absence is a problem."""
        if not self.has(key):
            self._take(key, "a mapping", required=True)
            return None
        return self.opt(key, read)

    def named(self, key: str, read: Callable[[str, Node], T]) -> dict[str, T]:
        """A mapping name -> mapping, each read by ``read(name, node)``; empty when absent."""
        outer = self.opt_node(key)
        if outer is None:
            return {}
        result: dict[str, T] = {}
        for name in list(outer.data):
            if not SLUG.match(str(name)):
                outer.reject(str(name), "a name of letters, digits and _ . -", describe(name))
                continue
            inner = outer.opt_node(name)
            if inner is None:
                if outer.data[name] is None:
                    outer.reject(name, "a mapping", "nothing")
                continue
            result[str(name)] = read(str(name), inner)
            inner.finish()
        return result

    def each(self, key: str) -> Iterator[Node]:
        """The mappings of a list; empty when absent."""
        value = self._take(key, "a list of mappings", required=False)
        if value is None:
            return
        if not isinstance(value, (list, tuple)):
            self.reject(key, "a list of mappings", describe(value))
            return
        for index, item in enumerate(value):
            if isinstance(item, Mapping):
                yield Node(self.at(f"{key}[{index}]"), item, self.problems)
            else:
                self.reject(f"{key}[{index}]", "a mapping", describe(item))

    def text_map(self, key: str) -> dict[str, str]:
        """A mapping name -> non-empty text; empty when absent."""
        node = self.opt_node(key)
        return {} if node is None else {str(name): node.text(str(name)) for name in node.data}

    def number_map(self, key: str, *, low: float = 0.0, high: float = math.inf, unit: str = "") -> dict[str, float]:
        """A mapping name -> number; empty when absent."""
        node = self.opt_node(key)
        if node is None:
            return {}
        return {str(name): node.number(str(name), low=low, high=high, unit=unit) for name in node.data}


def _as_decimal(value: object) -> Optional[Decimal]:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
