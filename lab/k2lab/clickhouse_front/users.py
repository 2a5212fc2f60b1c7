# SPDX-License-Identifier: Apache-2.0
"""Who may do what: users from a JSON file, checked in constant time."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from .errors import AUTHENTICATION_FAILED, ClickHouseError

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = frozenset({"name", "password_sha256", "readonly", "settings"})
_NOBODY: Final = "0" * 64  # compared against for unknown names, so that they take as long as known ones


class ReadOnly(IntEnum):
    """ClickHouse's setting `readonly`: 1 forbids writes and changes of settings, 2 only writes."""

    NO = 0
    STRICT = 1
    WITH_SETTINGS = 2


class UsersFileError(ValueError):
    """The users file is not what it should be; the message names the place and what was expected there."""


@dataclass(frozen=True, slots=True)
class User:
    """One entry of the users file; `settings` are in force before those of a request."""

    name: str
    password_sha256: str
    readonly: ReadOnly = ReadOnly.NO
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about who it comes from."""

    name: str
    password: str

    @classmethod
    def from_request(cls, headers: Mapping[str, str], query: Mapping[str, str]) -> Credentials | None:
        """From X-ClickHouse-User / -Key, else Basic, else `user` and `password` of the URL, else None."""
        if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
            return cls(headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", ""))
        authorization = headers.get("Authorization")
        if authorization is not None:
            return cls(*_basic(authorization))
        if "user" in query or "password" in query:
            return cls(query.get("user", "default"), query.get("password", ""))
        return None


class Users:
    """All users of the server."""

    def __init__(self, users: tuple[User, ...]) -> None:
        self._users = {user.name: user for user in users}

    @classmethod
    def load(cls, path: Path) -> Users:
        """Read ``[{"name", "password_sha256", "readonly": 0|1|2, "settings": {}}]``; raises UsersFileError."""
        try:
            entries = json.loads(path.read_text())
        except OSError as error:
            raise UsersFileError(f"cannot read the users file {path}: {error.strerror}") from error
        except ValueError as error:
            raise UsersFileError(f"the users file {path} is not JSON: {error}") from error
        if not isinstance(entries, list) or not entries:
            raise UsersFileError(f"the users file {path}: expected a list of at least one user")
        users = tuple(_user(entry, f"the users file {path}, entry {index}") for index, entry in enumerate(entries))
        if len({user.name for user in users}) != len(users):
            raise UsersFileError(f"the users file {path}: two users have the same name")
        return cls(users)

    def authenticate(self, credentials: Credentials | None) -> User:
        """The user the credentials prove; raises ClickHouseError 516 (401 without credentials, 403 with wrong ones)."""
        claimed = credentials or Credentials("default", "")
        user = self._users.get(claimed.name)
        digest = hashlib.sha256(claimed.password.encode()).hexdigest()
        matches = hmac.compare_digest(digest, user.password_sha256 if user else _NOBODY)
        if user is None or not matches:
            message = (
                f"{claimed.name}: Authentication failed: password is incorrect, or there is no user with such name."
            )
            raise ClickHouseError.of(AUTHENTICATION_FAILED, message, status=403 if credentials else 401)
        return user


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(f"scheme {scheme!r}")
        name, colon, password = b64decode(encoded, validate=True).decode().partition(":")
        if not colon:
            raise ValueError("no colon between name and password")
    except (Base64Error, ValueError) as error:
        message = f"Authentication failed: expected `Authorization: Basic base64(user:password)`, seen {error}"
        raise ClickHouseError.of(AUTHENTICATION_FAILED, message) from error
    return name, password


def _user(entry: Any, where: str) -> User:
    if not isinstance(entry, dict):
        raise UsersFileError(f"{where}: expected an object, seen {entry!r}")
    if unknown := entry.keys() - _KEYS:
        raise UsersFileError(f"{where}: unknown keys {sorted(unknown)}, expected some of {sorted(_KEYS)}")
    name, digest = entry.get("name"), entry.get("password_sha256")
    if not isinstance(name, str) or not name:
        raise UsersFileError(f"{where}: `name` must be a non-empty string, seen {name!r}")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest.lower()):
        raise UsersFileError(f"{where} ({name}): `password_sha256` must be 64 hexadecimal digits")
    readonly, settings = entry.get("readonly", 0), entry.get("settings", {})
    if readonly not in tuple(ReadOnly):
        raise UsersFileError(f"{where} ({name}): `readonly` must be 0, 1 or 2, seen {readonly!r}")
    if not isinstance(settings, dict) or not all(isinstance(value, str | int | float) for value in settings.values()):
        raise UsersFileError(f"{where} ({name}): `settings` must map names to strings or numbers")
    plain = {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in settings.items()}
    return User(name, digest.lower(), ReadOnly(readonly), plain)
