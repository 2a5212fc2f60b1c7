# SPDX-License-Identifier: Apache-2.0
"""Failures of the three stores in words: which one, what it said, what to do."""

from __future__ import annotations

import re
from typing import NamedTuple

from k2lab.common.errors import LabError


class StoreError(LabError):
    """A store as a whole cannot be used: the next table would fail in the same way."""


class ConflictError(LabError):
    """Somebody else committed to the Iceberg table first; nothing of ours is in it."""


_AWS = re.compile(r"AWS Error (?P<code>[A-Z_]+).*?: (?P<said>.*)", re.DOTALL)
_DOWN = "start it (make lab-up), or wait until it is back; the next run takes up where this one stopped"


class _Answer(NamedTuple):
    """What an answer of the object store contains, what was expected instead, what to do."""

    marks: tuple[str, ...]
    expected: str
    action: str


# The first that matches counts.
_ANSWERS = (
    _Answer(
        ("XMinioStorageFull", "StorageFull", "minimum free drive", "no space left", "NO_SPACE", "code 507"),
        "room in the object store",
        "free space on its disk, or run maintenance; the next run takes up where this one stopped",
    ),
    _Answer(
        ("INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "ACCESS_DENIED", "InvalidAccessKeyId", "code 403"),
        "the object store to accept the access key",
        "correct object_store.access_key and secret_key",
    ),
    _Answer(
        ("NO_SUCH_BUCKET", "NoSuchBucket"),
        "the bucket in the object store",
        "run the init command, or correct object_store.bucket",
    ),
    _Answer(
        ("NETWORK_CONNECTION", "curlCode", "REQUEST_TIMEOUT", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "INTERNAL_FAILURE",
         "timed out", "code 503"),
        "an answer from the object store",
        _DOWN,
    ),
)  # fmt: skip


def object_store_error(url: str, error: OSError) -> StoreError | None:
    """What an error of the S3 client means; None when it does not come from the store (a missing file, say)."""
    text = str(error)
    for answer in _ANSWERS:
        if any(mark in text for mark in answer.marks):
            return StoreError(f"{answer.expected} at {url}", _short(text), answer.action)
    return None


def postgres_error(where: str, error: Exception) -> StoreError:
    """What an error of Postgres (psycopg's, bare or in SQLAlchemy's wrapping) means."""
    text = str(error).partition("\n[SQL:")[0].partition("\n(Background")[0]
    if "password authentication failed" in text or "no password supplied" in text:
        action = "correct postgres.user and postgres.password"
    elif "does not exist" in text:
        action = "run the init command, or correct postgres.database"
    elif "statement timeout" in text or "lock timeout" in text:
        action = "look at pg_stat_activity for what holds it up; the next run tries again"
    else:
        action = _DOWN
    return StoreError(f"Postgres at {where}", _short(text), action)


def _short(text: str) -> str:
    match = _AWS.search(text)
    if match:
        text = f"{match['code']}: {match['said']}"
    return " ".join(text.split())[:300]
