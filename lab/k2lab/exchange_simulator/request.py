# SPDX-License-Identifier: Apache-2.0
"""Reading the JSON bodies of the control interface: each value is what was expected, or the client is told."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

Body = Mapping[str, object]
_MAX_TEXT = 200


class BadRequestError(Exception):
    """The request cannot be carried out; the text goes to the client with status 400."""


class ConflictError(Exception):
    """The request cannot be carried out now; the text goes to the client with status 409."""


def parsed(source: str) -> Body:
    """The JSON object in `source`; empty when there is none."""
    try:
        body = json.loads(source or "{}")
    except ValueError as error:
        raise BadRequestError(f"expected a JSON object: {error}") from error
    if not isinstance(body, dict):
        raise BadRequestError(f"expected a JSON object, got {source[:80]}")
    return body


def only(body: Body, *known: str) -> None:
    """Refuse keys that nobody reads."""
    unknown = sorted(body.keys() - set(known))
    if unknown:
        raise BadRequestError(f"unknown key {', '.join(unknown)}; expected {', '.join(known) or 'none'}")


def number(body: Body, key: str, maximum: float, default: float | None = None) -> float:
    """A number from 0 to `maximum`."""
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRequestError(f"{key}: expected a number, got {json.dumps(value)}")
    if not 0 <= value <= maximum:
        raise BadRequestError(f"{key}: expected 0 to {maximum:g}, got {value}")
    return float(value)


def whole(body: Body, key: str, default: int) -> int:
    """A whole number."""
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequestError(f"{key}: expected a whole number, got {json.dumps(value)}")
    return value


def text(body: Body, key: str, default: str) -> str:
    """A text that is not too long."""
    value = body.get(key, default)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise BadRequestError(f"{key}: expected a text of at most {_MAX_TEXT} characters, got {json.dumps(value)[:80]}")
    return value


def choice(body: Body, key: str, allowed: Sequence[str], default: str | None = None) -> str:
    """One of `allowed`."""
    value = body.get(key, default)
    if not isinstance(value, str) or value not in allowed:
        raise BadRequestError(f"{key}: expected one of {', '.join(allowed)}, got {json.dumps(value)}")
    return value
