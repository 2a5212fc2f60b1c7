# SPDX-License-Identifier: Apache-2.0
"""The offload's configuration: offload.json, read once and checked key by key."""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from k2lab.common.errors import LabError

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")  # pasted into SQL
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # the object store's own rule
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9/._-]*)?")


class Variant(enum.Enum):
    """Where the watermark lives; `append-then-watermark` is known to be wrong and exists for tests of the tool."""

    EXACTLY_ONCE = "exactly-once"
    APPEND_THEN_WATERMARK = "append-then-watermark"


@dataclass(frozen=True)
class ClickHouseAccess:
    """The hot tier."""

    url: str
    user: str
    password: str = field(repr=False)
    database: str


@dataclass(frozen=True)
class PostgresAccess:
    """The catalog of the cold tier, and the mirror of the watermarks."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class ObjectStore:
    """The cold tier's files."""

    url: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True)
class Orchestrator:
    """Who calls the offload: Prefect's API, the work pool, seconds between two runs."""

    url: str
    work_pool: str
    interval_s: int


@dataclass(frozen=True)
class OffloadConfig:
    """All of offload.json. `lab_id` is what a bucket's owner marker must say."""

    clickhouse: ClickHouseAccess
    postgres: PostgresAccess
    object_store: ObjectStore
    orchestrator: Orchestrator
    lab_id: str
    variant: Variant
    namespace: str


def read_config(path: Path) -> OffloadConfig:
    """Read and check offload.json; raises LabError naming the key that is wrong."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabError(
            f"the offload's configuration {path}", str(error), "bring the lab up, or correct --config"
        ) from error
    except ValueError as error:
        raise LabError(f"JSON in {path}", str(error), "render the file again (make lab-up)") from error
    top = _Section(path, "", document)
    clickhouse, postgres = top.section("clickhouse"), top.section("postgres")
    store, orchestrator = top.section("object_store"), top.section("orchestrator")
    return OffloadConfig(
        clickhouse=ClickHouseAccess(
            url=clickhouse.text("url", _URL, "http://host:port"),
            user=clickhouse.text("user"),
            password=clickhouse.text("password", empty=True),
            database=clickhouse.text("database", _IDENTIFIER, "a plain identifier"),
        ),
        postgres=PostgresAccess(
            host=postgres.text("host"),
            port=postgres.whole("port", 1, 65535),
            database=postgres.text("database", _IDENTIFIER, "a plain identifier"),
            user=postgres.text("user"),
            password=postgres.text("password", empty=True),
        ),
        object_store=ObjectStore(
            url=store.text("url", _URL, "http://host:port"),
            bucket=store.text("bucket", _BUCKET, "a bucket name (3 to 63 of a-z 0-9 . -)"),
            access_key=store.text("access_key"),
            secret_key=store.text("secret_key"),
        ),
        orchestrator=Orchestrator(
            url=orchestrator.text("url", _URL, "http://host:port/api"),
            work_pool=orchestrator.text("work_pool"),
            interval_s=orchestrator.whole("interval_s", 1, 86400),
        ),
        lab_id=top.text("lab_id"),
        variant=top.variant("variant"),
        namespace=top.text("namespace", _IDENTIFIER, "a plain identifier"),
    )


class _Section:
    """One object of the document; each getter says where it looked."""

    def __init__(self, path: Path, where: str, value: object) -> None:
        self._path = path
        self._where = where
        if not isinstance(value, dict):
            raise self._wrong(where or "the whole document", "an object", value)
        self._values = value

    def section(self, key: str) -> _Section:
        """The object at `key`."""
        return _Section(self._path, key, self._get(key))

    def text(
        self, key: str, pattern: re.Pattern[str] | None = None, meaning: str = "text", *, empty: bool = False
    ) -> str:
        """The text at `key`, of the pattern's form where one is given."""
        value = self._get(key)
        if not isinstance(value, str) or not (value or empty) or (pattern and not pattern.fullmatch(value)):
            raise self._wrong(self._name(key), meaning, value)
        return value

    def whole(self, key: str, least: int, most: int) -> int:
        """The whole number at `key`, within bounds."""
        value = self._get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(self._name(key), f"a whole number from {least} to {most}", value)
        return value

    def variant(self, key: str) -> Variant:
        """The variant at `key`."""
        value = self._get(key)
        try:
            return Variant(value)
        except ValueError as error:
            raise self._wrong(self._name(key), " | ".join(variant.value for variant in Variant), value) from error

    def _get(self, key: str) -> object:
        if key not in self._values:
            raise LabError(f"the key {self._name(key)} in {self._path}", "none", "render the file again (make lab-up)")
        return self._values[key]

    def _name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def _wrong(self, name: str, meaning: str, value: object) -> LabError:
        secret = name.endswith(("password", "secret_key"))
        seen = "something else" if secret else repr(value)
        return LabError(f"{meaning} as {name} in {self._path}", seen, "render the file again (make lab-up)")
