# SPDX-License-Identifier: Apache-2.0
"""Iceberg tables of an object store as ClickHouse reads them, by its table function ``iceberg``.

ClickHouse reads the files itself, so nothing needs to be installed on the target and a join with ClickHouse's own
tables stays there. By itself it takes the metadata file with the highest number. A writer that was killed between
writing that file and committing it leaves one that never counted: where the profile names the catalog, the file that
the catalog points at is the one that is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Optional, Protocol, Union

from ..core.errors import K2Error
from ..profile.model import Catalog, ObjectStore
from .clickhouse import QueryError, QueryResult, Setting
from .postgres import Login, PostgresClient, quote_name

_LOCATION = re.compile(r"s3[an]?://(?P<bucket>[^/]+)/(?P<path>.+)/(?P<file>metadata/[\w.=-]+\.json)")
_NOT_GRANTED, _UNKNOWN_FUNCTION, _S3_ERROR, _NO_FILE = 497, 46, 499, 107
# Without these an object store that is down holds a query far longer than its limit. Versions differ in what they know.
_IMPATIENT: Mapping[str, Setting] = {"s3_retry_attempts": 1, "s3_connect_timeout_ms": 2000}


class IcebergUnreadable(K2Error):  # noqa: N818 - see core.errors
    """ClickHouse cannot read a table of the object store."""


class Client(Protocol):
    """What asks ClickHouse; platform.clickhouse.ClickHouseClient does it."""

    def query(
        self,
        sql: str,
        params: Optional[Mapping[str, Union[str, int]]] = None,
        settings: Optional[Mapping[str, Setting]] = None,
        timeout_s: Optional[float] = None,
    ) -> QueryResult:
        """Run one SELECT; raises ClickHouseUnreachable, QueryError."""


@dataclass(frozen=True)
class IcebergTable:
    """A table as it can be put after FROM; the query has to bind ``params``."""

    expression: str
    params: Mapping[str, str]


def locations(catalog: Catalog) -> dict[str, str]:
    """The present metadata file of each table, by ``namespace/name``.

    Raises PostgresError, by its kind.
    """
    where = ""
    if catalog.name is not None:
        where = " WHERE catalog_name = '" + catalog.name.replace("'", "''") + "'"
    login = Login(catalog.host, catalog.port, catalog.database, catalog.username, catalog.password)
    (rows,) = PostgresClient(login).read(
        "SELECT replace(table_namespace::text, '.', '/') || '/' || table_name::text, metadata_location::text "
        f"FROM {quote_name(catalog.table)}{where}"
    )
    return {str(name): str(location) for name, location in rows if location is not None}


class Iceberg:
    """The tables of one object store. What the catalog says is asked once, when the first table is."""

    def __init__(self, store: ObjectStore, catalog: Optional[Callable[[Catalog], Mapping[str, str]]] = None) -> None:
        self._store = store
        self._catalog = catalog or locations
        self._known: Optional[Mapping[str, str]] = None

    def table(self, name: str) -> IcebergTable:
        """The table called ``name``.

        :raises IcebergUnreadable: the catalog has none of that name, or names a file elsewhere.
        :raises PostgresError: the catalog cannot be read.
        """
        path, file = name, None
        if self._store.catalog is not None:
            path, file = self._pinned(self._store.catalog, name)
        url = f"{(self._store.clickhouse_url or self._store.url).rstrip('/')}/{self._store.bucket}/{path}"
        pin = "" if file is None else f", SETTINGS iceberg_metadata_file_path = '{file}'"
        return IcebergTable(
            f"iceberg({{k2_cold_url:String}}, {{k2_cold_key:String}}, {{k2_cold_secret:String}}{pin})",
            {"k2_cold_url": url, "k2_cold_key": self._store.access_key, "k2_cold_secret": self._store.secret_key},
        )

    def _pinned(self, catalog: Catalog, name: str) -> tuple[str, str]:
        if self._known is None:
            self._known = self._catalog(catalog)
        location = self._known.get(name)
        found = None if location is None else _LOCATION.fullmatch(location)
        if found is None or found["bucket"] != self._store.bucket:
            raise IcebergUnreadable(
                f"no Iceberg table {name}",
                expected=f"one that {catalog.table} places in bucket {self._store.bucket}",
                seen=location or f"{len(self._known)} others",
                action="correct the tier's table in k2_tiers: it is NAMESPACE/NAME",
            )
        return found["path"], found["file"]


def limits(client: Client) -> dict[str, Setting]:
    """Settings that keep a query from waiting for a dead object store, as far as this ClickHouse has them.

    Raises ClickHouseUnreachable, QueryError.
    """
    names = ", ".join(f"'{name}'" for name in _IMPATIENT)
    known = {row[0] for row in client.query(f"SELECT name FROM system.settings WHERE name IN ({names})").rows}
    return {name: value for name, value in _IMPATIENT.items() if name in known}


def explain(error: QueryError, store: ObjectStore) -> K2Error:
    """What a refusal means where a query reads the object store."""
    url = store.clickhouse_url or store.url
    actions = {
        _NOT_GRANTED: "GRANT S3 ON *.* to the user of k2_clickhouse",
        _UNKNOWN_FUNCTION: "use a ClickHouse that has the table function iceberg",
        _S3_ERROR: f"check that ClickHouse reaches {url} (k2_object_store.clickhouse_url) and that the keys are right",
        _NO_FILE: "correct the tier's table in k2_tiers: it is the path in the bucket",
    }
    if error.code not in actions:
        return error
    return IcebergUnreadable(
        "ClickHouse cannot read the object store", seen=f"{error}"[:400], action=actions[error.code]
    )
